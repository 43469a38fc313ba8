//! What the page of `logweir standalone` stands on: the embedded index, its feed of new documents, and the file of
//! entries.

use super::{Exit, Failure, agent};
use crate::{
    actors::agent_supervisor::{AgentParts, SinkParts},
    console::{
        Console, ConsoleError, Entrance, Fleet, LiveEvent, LiveSource, OwnFiles, Parts,
        entries::{Book, Source},
        import_searches,
    },
    index::{LiveFeed, LiveReader},
    messages::FilesAnswer,
    search::{Embedded, matcher::Matcher, model::Hit, query::Query, value::flat},
    settings::StandaloneSettings,
    store::FileStore,
    telemetry::{Health, Registry, StatusBoard, Totals},
};
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use serde_json::Value;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How often the process tells its own page how it is, at least.
const TELL: Duration = Duration::from_secs(5);
/// The entries' file, as the console names it.
const ENTRIES: &str = "collect.json";

/// Starts the web server of the page, and of `/metrics` and `/health`.
pub async fn start(
    settings: &StandaloneSettings,
    entrance: Entrance,
    parts: &AgentParts,
    registry: &Registry,
    health: &Health,
) -> Result<Console, Failure> {
    let SinkParts::Index(index) = &parts.sink else {
        return Err(Failure::new(Exit::Software, "the page searches an index, and there is none"));
    };
    let files = agent::files_page(parts);
    let store = FileStore::new(settings.agent.data_dir.join("console.json")).mount(ENTRIES, settings.entries_file());
    if let Err(error) = import_searches(&store, &settings.agent.data_dir.join("searches.json")).await {
        slog_scope::error!("the saved searches of an earlier version are not taken over yet"; "reason" => %error);
    }
    let store = Arc::new(store);
    let source = Source::Asked { key: ENTRIES.into(), file: settings.entries_file() };
    let entries = Book::new(store.clone(), source, Some(settings.agent.base_dir.clone()));
    let fleet = Arc::new(Fleet::default());
    actix_rt::spawn(tell(parts.board.clone(), settings.entries_file().display().to_string(), fleet.clone()));
    let parts = Parts {
        backend: Arc::new(Embedded::new(index.set.clone())),
        live: Arc::new(Feed(index.feed.clone())),
        entries: Arc::new(entries),
        store,
        entrance,
        connection: None,
        fleet: fleet.clone(),
        agent_files: Arc::new(OwnFiles(files.clone())),
        paths: Some(settings.paths()),
        registry: registry.clone(),
        health: health.clone(),
        pages: vec![("/files", files)],
    };
    Console::start(&settings.metrics.listen, parts).await.map_err(|error| match error {
        ConsoleError::Listen { .. } => {
            let hint = "is another logweir running? --listen 127.0.0.1:PORT takes another port";
            Failure::new(Exit::Unavailable, format!("{error}; {hint}"))
        }
        ConsoleError::NotLoopback { .. } | ConsoleError::Tls(_) => Failure::new(Exit::Usage, error),
        ConsoleError::NotNow { .. } => Failure::new(Exit::Unavailable, error),
        ConsoleError::Assets(_) => Failure::new(Exit::Software, error),
    })
}

/// Tells the page what other processes tell by their keys in etcd.
async fn tell(board: Arc<StatusBoard>, file: String, fleet: Arc<Fleet>) {
    let (mut before, mut at) = (Totals::default(), Instant::now());
    loop {
        let mut status = board.status(&before, at.elapsed().as_secs_f64());
        (before, at) = (board.totals(), Instant::now());
        status.kind = "standalone".into();
        status.can.push(FilesAnswer::CAN.into());
        status.keys.iter_mut().filter(|key| **key == file).for_each(|key| *key = ENTRIES.into());
        if let Some(source) = status.sources.remove(&file) {
            status.sources.insert(ENTRIES.into(), source);
        }
        fleet.tell(status);
        // A change is told at once, but rates need a while.
        tokio::select! {
            () = board.changed() => tokio::time::sleep(TELL / 10).await,
            () = tokio::time::sleep(TELL) => {}
        }
    }
}

/// New documents as the index takes them, before they are committed.
struct Feed(LiveFeed);

impl LiveSource for Feed {
    fn subscribe(&self, query: Query) -> BoxStream<'static, LiveEvent> {
        let watching = Watching { reader: self.0.subscribe(), matcher: Matcher::new(&query), waiting: VecDeque::new() };
        stream::unfold(watching, |mut watching| async move { Some((watching.next().await?, watching)) }).boxed()
    }
}

/// One who watches.
struct Watching {
    reader: LiveReader,
    matcher: Matcher,
    /// Of the batch that came last.
    waiting: VecDeque<LiveEvent>,
}

impl Watching {
    async fn next(&mut self) -> Option<LiveEvent> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            let live = self.reader.next().await?;
            if live.skipped > 0 {
                self.waiting.push_back(LiveEvent::Skipped(live.skipped));
            }
            let hits = live.documents.iter().filter_map(hit).filter(|hit| self.matcher.matches(&hit.fields));
            self.waiting.extend(hits.map(|hit| LiveEvent::Line(Box::new(hit))));
            // Work between two waits is bounded by a batch; others have their turn.
            tokio::task::yield_now().await;
        }
    }
}

/// A document as the index got it; `None` for what is none, which the index has never been given.
fn hit(json: &[u8]) -> Option<Hit> {
    let fields = flat(serde_json::from_slice(json).ok()?);
    let time = fields.get("@timestamp").and_then(Value::as_str)?;
    Some(Hit {
        time_ms: crate::search::span::absolute(time).ok()?,
        file: fields.get("logweir.file").and_then(Value::as_str).map(str::to_owned),
        offset: fields.get("log.offset").and_then(Value::as_u64),
        fields,
        cursor: String::new(),
    })
}
