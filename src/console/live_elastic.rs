//! New documents out of Elasticsearch, for those who watch. The problem: nobody is told by Elasticsearch, it has to be
//! asked, and fifty people who watch the same must not ask fifty times. So there is one who asks for each query that is
//! watched, as long as somebody watches it.

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
/// Events that wait for a watcher who is slow; with more it misses the oldest, and is told how many.
const WAITING: usize = 4_096;

/// Who asks for one query tells it here.
type Told = broadcast::Sender<LiveEvent>;

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
        let (mut retries, mut follow, mut failing) = (Retries::new(BACKOFF), None, None);
        while !self.ended(&name, &told) {
            match look(&self.hot, &query, &mut follow).await {
                Ok(events) => {
                    retries.succeeded();
                    let well = std::mem::take(&mut failing).map(|_: String| LiveEvent::Trouble(None));
                    // Whoever went meanwhile needs none of it.
                    well.into_iter().chain(events).for_each(|event| drop(told.send(event)));
                    turn.tick().await;
                }
                Err(error) => {
                    let reason = error.to_string();
                    if failing.replace(reason.clone()) != Some(reason.clone()) {
                        drop(told.send(LiveEvent::Trouble(Some(reason))));
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
        stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(RecvError::Lagged(count)) => Some((LiveEvent::Skipped(count), receiver)),
                Err(RecvError::Closed) => None,
            }
        })
        .boxed()
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
}
