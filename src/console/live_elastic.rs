//! New documents out of Elasticsearch, for those who watch. The problem: nobody is told by Elasticsearch, it has to be
//! asked, and fifty people who watch the same must not ask fifty times. So there is one who asks for each query that is
//! watched, as long as somebody watches it. What waits for a watcher who is slow are a few batches of bounded size, however
//! long the lines are.

use super::{LiveEvent, LiveSource};
use crate::{
    flow::{Backoff, Retries},
    search::{Follow, HotElastic, model::SearchError, query::Query},
};
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{MissedTickBehavior, interval},
};

/// How often new lines are asked for; a line can be found within a second of its writing, unless set otherwise.
const EVERY: Duration = Duration::from_secs(1);
/// After a failure; it doubles up to the longest.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));
/// Batches that wait for a watcher who is slow; with more it misses the oldest, and is told how many lines those were.
const WAITING: usize = 64;
/// Bytes of a batch's lines; a line that is larger is a batch by itself.
const BATCH: usize = 512 << 10;
/// Bytes of a line; a larger one, as no agent sends it, is counted only.
const LINE: usize = 1 << 20;

/// Who asks for one query tells it here.
type Told = broadcast::Sender<Arc<Batch>>;

/// What is told at once.
#[derive(Debug)]
struct Batch {
    /// Lines that were told or counted before.
    before: u64,
    events: Vec<LiveEvent>,
}

impl Batch {
    fn lines(&self) -> u64 {
        self.events.iter().map(lines).sum()
    }
}

fn lines(event: &LiveEvent) -> u64 {
    match event {
        LiveEvent::Line(_) => 1,
        LiveEvent::Skipped(count) => *count,
        LiveEvent::Trouble(_) => 0,
    }
}

/// Tells the events in batches; `before`: lines that were told before, and then with these. Nobody may be there to hear.
fn tell(told: &Told, before: &mut u64, events: Vec<LiveEvent>) {
    let (mut waiting, mut bytes) = (Vec::new(), 0);
    let mut send = |events: Vec<LiveEvent>| {
        let batch = Batch { before: *before, events };
        *before += batch.lines();
        drop(told.send(Arc::new(batch)));
    };
    for event in events {
        let (event, of_event) = match event {
            LiveEvent::Line(hit) => match hit.bytes() {
                bytes if bytes > LINE => (LiveEvent::Skipped(1), 0),
                bytes => (LiveEvent::Line(hit), bytes),
            },
            other => (other, 0),
        };
        if bytes + of_event > BATCH && !waiting.is_empty() {
            send(std::mem::take(&mut waiting));
            bytes = 0;
        }
        bytes += of_event;
        waiting.push(event);
    }
    if !waiting.is_empty() {
        send(waiting);
    }
}

/// One who watches.
struct Watching {
    receiver: broadcast::Receiver<Arc<Batch>>,
    /// The batch that is handed out, and how far.
    batch: Option<(Arc<Batch>, usize)>,
    /// Lines up to which this one was told or knows that it missed them.
    known: Option<u64>,
}

impl Watching {
    async fn next(&mut self) -> Option<LiveEvent> {
        loop {
            if let Some((batch, at)) = &mut self.batch {
                if let Some(event) = batch.events.get(*at) {
                    *at += 1;
                    return Some(event.clone());
                }
                self.batch = None;
            }
            match self.receiver.recv().await {
                Ok(batch) => {
                    let missed = self.known.map_or(0, |known| batch.before - known);
                    self.known = Some(batch.before + batch.lines());
                    self.batch = Some((batch, 0));
                    if missed > 0 {
                        return Some(LiveEvent::Skipped(missed));
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct LiveElastic {
    hot: Arc<HotElastic>,
    /// By the query, as it is understood.
    watched: Arc<Mutex<HashMap<String, Told>>>,
}

impl LiveElastic {
    pub fn new(hot: Arc<HotElastic>) -> Self {
        Self { hot, watched: Arc::default() }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<String, Told>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries that are asked for at the moment.
    pub fn queries(&self) -> usize {
        self.watched().len()
    }

    /// Asks until nobody watches any more.
    async fn follow(self, query: Query, name: String, told: Told) {
        let mut turn = interval(EVERY);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut retries, mut follow, mut failing, mut before) = (Retries::new(BACKOFF), None, None, 0);
        while !self.ended(&name, &told) {
            match look(&self.hot, &query, &mut follow).await {
                Ok(events) => {
                    retries.succeeded();
                    let well = std::mem::take(&mut failing).map(|_: String| LiveEvent::Trouble(None));
                    tell(&told, &mut before, well.into_iter().chain(events).collect());
                    turn.tick().await;
                }
                Err(error) => {
                    let reason = error.to_string();
                    if failing.replace(reason.clone()) != Some(reason.clone()) {
                        tell(&told, &mut before, vec![LiveEvent::Trouble(Some(reason))]);
                    }
                    tokio::time::sleep(retries.failed()).await;
                }
            }
        }
    }

    /// Whether nobody watches: then the next one starts anew.
    fn ended(&self, name: &str, told: &Told) -> bool {
        let mut watched = self.watched();
        let ended = told.receiver_count() == 0;
        if ended {
            watched.remove(name);
        }
        ended
    }
}

/// Follows the present servers; others than before are followed from now on.
async fn look(
    hot: &HotElastic,
    query: &Query,
    follow: &mut Option<(u64, Follow)>,
) -> Result<Vec<LiveEvent>, SearchError> {
    let (elastic, generation) = hot.current()?;
    let (_, follow) = match follow {
        Some(known) if known.0 == generation => known,
        other => other.insert((generation, Follow::begin(&elastic, query.clone()).await?)),
    };
    let news = follow.look(&elastic).await?;
    let skipped = Some(news.skipped).filter(|&skipped| skipped > 0).map(LiveEvent::Skipped);
    Ok(news.hits.into_iter().map(|hit| LiveEvent::Line(Box::new(hit))).chain(skipped).collect())
}

impl LiveSource for LiveElastic {
    fn subscribe(&self, query: Query) -> BoxStream<'static, LiveEvent> {
        let name = format!("{query:?}");
        let mut watched = self.watched();
        let receiver = match watched.get(&name) {
            Some(told) => told.subscribe(),
            None => {
                let (told, receiver) = broadcast::channel(WAITING);
                watched.insert(name.clone(), told.clone());
                tokio::spawn(self.clone().follow(query, name, told));
                receiver
            }
        };
        let watching = Watching { receiver, batch: None, known: None };
        stream::unfold(watching, |mut watching| async move { Some((watching.next().await?, watching)) }).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[actix_rt::test]
    async fn many_watchers_of_one_query_are_one_who_asks_and_the_last_to_go_ends_it() {
        tokio::time::pause();
        let live = LiveElastic::new(Arc::new(HotElastic::new(vec!["a".into()], Duration::from_secs(1))));
        let mut many: Vec<_> = (0..50).map(|_| live.subscribe(Query::All)).collect();
        let other = live.subscribe(Query::Not(Box::new(Query::All)));
        assert_eq!(live.queries(), 2);
        for watcher in &mut many {
            assert!(matches!(watcher.next().await, Some(LiveEvent::Trouble(Some(_)))), "there is no Elasticsearch");
        }
        drop(many);
        // It ends with its next turn, which is at most as far away as the longest wait after a failure.
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(live.queries(), 1);
        drop(other);
    }

    fn line(n: u64, bytes: usize) -> LiveEvent {
        let fields = serde_json::Map::from_iter([("message".to_owned(), "x".repeat(bytes).into())]);
        let hit = crate::search::model::Hit { time_ms: 1, file: None, offset: Some(n), fields, cursor: String::new() };
        LiveEvent::Line(Box::new(hit))
    }

    #[actix_rt::test]
    async fn a_slow_watcher_holds_a_few_batches_however_long_the_lines_and_is_told_what_it_missed() {
        let (told, receiver) = broadcast::channel(WAITING);
        let mut slow = Watching { receiver, batch: None, known: None };
        let mut before = 0;
        tell(&told, &mut before, vec![line(0, 10)]);
        assert_eq!(slow.next().await, Some(line(0, 10)));
        for n in 0..20 {
            // Some small ones to a batch, each large one by itself, and what the search itself has left out.
            let events = (0..10).map(|i| line(n * 10 + i, if i < 5 { 100 } else { 400_000 }));
            tell(&told, &mut before, events.chain([LiveEvent::Skipped(3)]).collect());
        }
        assert_eq!(before, 1 + 20 * 13);
        assert_eq!(slow.receiver.len(), 20 * 5);
        drop(told);
        let mut known = 0;
        while let Some(event) = slow.next().await {
            known += lines(&event);
        }
        assert_eq!(known, 20 * 13, "each was told or counted");
    }

    #[actix_rt::test]
    async fn a_line_larger_than_any_agent_sends_is_counted_only() {
        let (told, receiver) = broadcast::channel(WAITING);
        let mut watching = Watching { receiver, batch: None, known: None };
        tell(&told, &mut 0, vec![line(0, LINE - 100), line(1, LINE), line(2, 10)]);
        for event in [line(0, LINE - 100), LiveEvent::Skipped(1), line(2, 10)] {
            assert!(watching.next().await == Some(event));
        }
    }
}
