//! What a process is doing, in one place. The problem: its liveness key, `/health` and the console want the same picture,
//! and it comes from several actors on several threads. They write here; whoever shows it reads here.

use super::log::LastError;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::Notify;

/// Prefix of the liveness keys; kind, host and instance follow.
pub const STATUS_PREFIX: &str = "/logweir/status/";
/// Where an agent is asked for its files, and where it answers.
pub fn files_keys(host: &str, instance: &str) -> (String, String) {
    (format!("/logweir/ask/files/{host}/{instance}"), format!("/logweir/answer/files/{host}/{instance}"))
}

/// Topics whose figures are told one by one; those with the most lag.
const MOST_TOPICS: usize = 200;

/// What is known of one watched key or file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceStatus {
    /// Revision that is in force.
    pub applied_revision: Option<i64>,
    /// Why a newer value was refused, with its place.
    pub refused: Option<String>,
    /// Revision that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_revision: Option<i64>,
}

/// One topic's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicStatus {
    /// What is there and not yet delivered; bytes (agent) or records (transfer).
    pub lag: u64,
    pub lines_per_second: f64,
}

/// What a transfer's bulk requests do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BulkStatus {
    /// Requests since the start.
    pub requests: u64,
    /// Documents that were sent again since the start.
    pub retries: u64,
    pub documents_per_second: f64,
}

/// Records that went to the dead letters for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadLetterStatus {
    /// Since the start.
    pub count: u64,
    /// The last of them.
    pub sample: DeadLetterSample,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadLetterSample {
    pub index: String,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub error: String,
    pub time_ms: u64,
}

/// The figures at one moment, as they stand in the liveness key. Who reads one of another version finds defaults for what
/// isn't there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// `agent`, `transfer` or `console`.
    pub kind: String,
    pub host: String,
    pub instance: String,
    pub version: String,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// It ends in order, and its key with it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// What it can be asked, for example `files`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub can: Vec<String>,
    /// Keys (or the file) of the collection entries that are watched; for the same path and topic a later one wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    pub sources: BTreeMap<String, SourceStatus>,
    /// Files that are read (agent) or partitions that are consumed (transfer).
    pub files: u64,
    /// What is there and not yet delivered; bytes (agent) or records (transfer).
    pub lag: u64,
    pub lines_per_second: f64,
    pub bytes_per_second: f64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, TopicStatus>,
    /// Bytes that were destroyed before they could be read, since the start.
    pub bytes_lost: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulk: Option<BulkStatus>,
    /// By reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dead_letters: BTreeMap<String, DeadLetterStatus>,
    /// Topics and indices that wait, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub paused: BTreeMap<String, String>,
    /// Text of the last ERROR in the log, and when it came; milliseconds since 1970.
    pub last_error: Option<String>,
    pub last_error_ms: Option<u64>,
}

/// What was done since the start, by which rates are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub lines: u64,
    pub bytes: u64,
    /// Lines by topic.
    pub topics: BTreeMap<String, u64>,
    /// Documents of bulk requests.
    pub documents: u64,
}

/// What a transfer tells of its sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkWork {
    pub requests: u64,
    pub retries: u64,
    pub documents: u64,
    pub dead_letters: BTreeMap<String, DeadLetterStatus>,
    pub paused: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Told {
    sources: BTreeMap<String, SourceStatus>,
    keys: Vec<String>,
    can: Vec<String>,
    /// Lag by topic, and lines since the start.
    topics: BTreeMap<String, (u64, u64)>,
    sink: Option<SinkWork>,
    /// What the process needs before it can do its work and hasn't had yet, each with the reason.
    awaited: BTreeMap<&'static str, String>,
}

/// Shared by all actors of a process.
#[derive(Debug)]
pub struct StatusBoard {
    kind: String,
    host: String,
    instance: String,
    started_ms: u64,
    told: Mutex<Told>,
    files: AtomicU64,
    lag: AtomicU64,
    lines: AtomicU64,
    bytes: AtomicU64,
    bytes_lost: AtomicU64,
    changed: Notify,
    awaited_changed: Notify,
    errors: OnceLock<LastError>,
}

impl StatusBoard {
    /// `kind`: agent, transfer or console; `instance`: tells several of a kind on one host apart.
    pub fn new(kind: &str, host: &str, instance: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            kind: kind.into(),
            host: host.into(),
            instance: instance.into(),
            started_ms: now.as_millis() as u64,
            told: Mutex::default(),
            files: AtomicU64::new(0),
            lag: AtomicU64::new(0),
            lines: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            bytes_lost: AtomicU64::new(0),
            changed: Notify::new(),
            awaited_changed: Notify::new(),
            errors: OnceLock::new(),
        }
    }

    /// The key under which this process shows that it lives.
    pub fn key(&self) -> String {
        format!("{STATUS_PREFIX}{}/{}/{}", self.kind, self.host, self.instance)
    }

    /// Where it is asked for its files.
    pub fn ask_key(&self) -> String {
        files_keys(&self.host, &self.instance).0
    }

    /// Where it answers.
    pub fn answer_key(&self) -> String {
        files_keys(&self.host, &self.instance).1
    }

    /// The value of a key or file is in force.
    pub fn applied(&self, source: &str, revision: Option<i64>) {
        self.tell(|told| {
            let status = SourceStatus { applied_revision: revision, ..SourceStatus::default() };
            told.sources.insert(source.into(), status);
        });
    }

    /// A value was refused; what was in force stays.
    pub fn refused(&self, source: &str, revision: Option<i64>, reason: String) {
        self.tell(|told| {
            let source = told.sources.entry(source.into()).or_default();
            (source.refused, source.refused_revision) = (Some(reason), revision);
        });
    }

    /// A key has gone.
    pub fn gone(&self, source: &str) {
        self.tell(|told| {
            told.sources.remove(source);
        });
    }

    /// The watched keys of the entries, in their order.
    pub fn watches(&self, keys: Vec<String>) {
        self.tell(|told| told.keys = keys);
    }

    /// The process can be asked this.
    pub fn can(&self, what: &str) {
        self.tell(|told| {
            if !told.can.iter().any(|known| known == what) {
                told.can.push(what.into());
            }
        });
    }

    /// What is known of each key and file.
    pub fn sources(&self) -> BTreeMap<String, SourceStatus> {
        self.told().sources.clone()
    }

    /// The process can't do its work before it has this: the first list of entries, the first credentials.
    pub fn awaits(&self, what: &'static str) {
        self.tell(|told| _ = told.awaited.insert(what, "not read yet".into()));
    }

    /// Why it hasn't come; without a meaning once it has.
    pub fn still_awaits(&self, what: &str, reason: String) {
        self.tell(|told| {
            if let Some(known) = told.awaited.get_mut(what) {
                *known = reason;
            }
        });
        self.awaited_changed.notify_one();
    }

    /// Whether it hasn't come yet.
    pub fn is_awaited(&self, what: &str) -> bool {
        self.told().awaited.contains_key(what)
    }

    /// It has come and is in force.
    pub fn has(&self, what: &str) {
        self.tell(|told| _ = told.awaited.remove(what));
        self.awaited_changed.notify_one();
    }

    /// Waits until something that is awaited has come, or the reason is another. For one waiter.
    pub async fn awaited_changed(&self) {
        self.awaited_changed.notified().await;
    }

    /// What is awaited and why it hasn't come; `None`: everything has.
    pub fn awaited(&self) -> Option<String> {
        let told = self.told();
        told.awaited.iter().next().map(|(what, reason)| format!("the {what}: {reason}"))
    }

    /// Shows the errors of this log. To be called once, before anybody waits for a change.
    pub fn show_errors(&self, errors: LastError) {
        // Only a second call has no effect.
        drop(self.errors.set(errors));
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told());
        self.changed.notify_one();
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lag of each topic; those that aren't named have none. Figures are written with the next change or now and then.
    pub fn set_topic_lags(&self, lags: impl IntoIterator<Item = (String, u64)>) {
        let mut told = self.told();
        told.topics.values_mut().for_each(|(lag, _)| *lag = 0);
        for (topic, lag) in lags {
            told.topics.entry(topic).or_default().0 = lag;
        }
    }

    /// Lines of each topic that were delivered since the start.
    pub fn set_topic_lines(&self, lines: impl IntoIterator<Item = (String, u64)>) {
        let mut told = self.told();
        for (topic, lines) in lines {
            told.topics.entry(topic).or_default().1 = lines;
        }
    }

    /// What the sink does; that something pauses or goes on is a change.
    pub fn set_sink(&self, work: SinkWork) {
        let mut told = self.told();
        let before = told.sink.replace(work);
        let (before, now) = (before.unwrap_or_default(), told.sink.as_ref());
        let changed = now.is_some_and(|now| {
            now.paused.keys().ne(before.paused.keys()) || now.dead_letters.keys().ne(before.dead_letters.keys())
        });
        drop(told);
        if changed {
            self.changed.notify_one();
        }
    }

    /// Bytes that were destroyed before they could be read, since the start.
    pub fn set_bytes_lost(&self, bytes: u64) {
        if self.bytes_lost.swap(bytes, Relaxed) != bytes {
            self.changed.notify_one();
        }
    }

    /// Number of files (or partitions) and what is not yet delivered; see [`Status`].
    pub fn set_work(&self, files: u64, lag: u64) {
        self.files.store(files, Relaxed);
        self.lag.store(lag, Relaxed);
    }

    /// So many lines and bytes were delivered.
    pub fn delivered(&self, lines: u64, bytes: u64) {
        self.lines.fetch_add(lines, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// What was done since the start.
    pub fn totals(&self) -> Totals {
        let told = self.told();
        Totals {
            lines: self.lines.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            topics: told.topics.iter().map(|(topic, (_, lines))| (topic.clone(), *lines)).collect(),
            documents: told.sink.as_ref().map_or(0, |sink| sink.documents),
        }
    }

    /// Waits until something was told since the last wait. For one waiter.
    pub async fn changed(&self) {
        match self.errors.get() {
            Some(errors) => tokio::select! {
                () = self.changed.notified() => {}
                () = errors.changed() => {}
            },
            None => self.changed.notified().await,
        }
    }

    /// The picture now; the rates are those since `before` ([`StatusBoard::totals`]), `seconds` ago.
    pub fn status(&self, before: &Totals, seconds: f64) -> Status {
        let totals = self.totals();
        let told = self.told();
        let (last_error, last_error_ms) = self.errors.get().and_then(LastError::get).unzip();
        let rate =
            |now: u64, before: u64| if seconds > 0.0 { now.saturating_sub(before) as f64 / seconds } else { 0.0 };
        let sink = told.sink.as_ref();
        Status {
            kind: self.kind.clone(),
            host: self.host.clone(),
            instance: self.instance.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_ms: self.started_ms,
            leaving: false,
            can: told.can.clone(),
            keys: told.keys.clone(),
            sources: told.sources.clone(),
            files: self.files.load(Relaxed),
            lag: self.lag.load(Relaxed),
            lines_per_second: rate(totals.lines, before.lines),
            bytes_per_second: rate(totals.bytes, before.bytes),
            topics: told
                .worst_topics(|topic, lines| rate(lines, before.topics.get(topic).copied().unwrap_or_default())),
            bytes_lost: self.bytes_lost.load(Relaxed),
            bulk: sink.map(|sink| BulkStatus {
                requests: sink.requests,
                retries: sink.retries,
                documents_per_second: rate(totals.documents, before.documents),
            }),
            dead_letters: sink.map(|sink| sink.dead_letters.clone()).unwrap_or_default(),
            paused: sink.map(|sink| sink.paused.clone()).unwrap_or_default(),
            last_error,
            last_error_ms,
        }
    }
}

impl Told {
    /// Those with lag before the others: the value of a key is bounded.
    fn worst_topics(&self, rate: impl Fn(&str, u64) -> f64) -> BTreeMap<String, TopicStatus> {
        let mut worst: Vec<_> = self.topics.iter().collect();
        worst.sort_by_key(|(_, (lag, lines))| std::cmp::Reverse((*lag, *lines)));
        let status = |topic: &str, (lag, lines): (u64, u64)| TopicStatus { lag, lines_per_second: rate(topic, lines) };
        worst.into_iter().take(MOST_TOPICS).map(|(topic, figures)| (topic.clone(), status(topic, *figures))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_once_is_not_awaited_again() {
        let board = StatusBoard::new("agent", "web-01", "1");
        board.awaits("entries");
        board.still_awaits("entries", "etcd is away".into());
        board.still_awaits("credentials", "nobody awaits them".into());
        assert_eq!(board.awaited().as_deref(), Some("the entries: etcd is away"));
        board.has("entries");
        board.still_awaits("entries", "etcd is away again".into());
        assert_eq!(board.awaited(), None);
    }

    #[test]
    fn a_refusal_stands_beside_what_is_in_force() {
        let board = StatusBoard::new("agent", "web-01", "1");
        assert_eq!(board.key(), "/logweir/status/agent/web-01/1");
        board.applied("k", Some(3));
        board.refused("k", Some(4), "line 1 column 2: no".into());
        board.delivered(10, 1000);
        let status = board.status(&Totals::default(), 2.0);
        assert_eq!(status.sources["k"].applied_revision, Some(3));
        assert!(status.sources["k"].refused.is_some());
        assert_eq!(status.sources["k"].refused_revision, Some(4));
        assert_eq!((status.lines_per_second, status.bytes_per_second), (5.0, 500.0));
        board.applied("k", Some(4));
        assert_eq!(board.sources()["k"], SourceStatus { applied_revision: Some(4), ..SourceStatus::default() });
        board.gone("k");
        assert!(board.sources().is_empty());
    }

    #[test]
    fn a_topic_has_its_lag_and_the_rate_of_its_own_lines() {
        let board = StatusBoard::new("agent", "web-01", "1");
        board.set_topic_lines([("a".to_owned(), 100), ("b".to_owned(), 7)]);
        let before = board.totals();
        board.set_topic_lines([("a".to_owned(), 160)]);
        board.set_topic_lags([("b".to_owned(), 4096)]);
        let status = board.status(&before, 2.0);
        assert_eq!(status.topics["a"], TopicStatus { lag: 0, lines_per_second: 30.0 });
        assert_eq!(status.topics["b"], TopicStatus { lag: 4096, lines_per_second: 0.0 });
        board.set_topic_lags([]);
        assert_eq!(board.status(&before, 2.0).topics["b"].lag, 0, "what isn't named has none");
    }

    #[test]
    fn a_status_is_read_back_and_one_of_an_older_version_has_defaults() {
        let board = StatusBoard::new("transfer", "es-01", "1");
        board.watches(vec!["k".into()]);
        let paused = BTreeMap::from([("t".to_owned(), "refused".to_owned())]);
        board.set_sink(SinkWork { requests: 3, documents: 10, paused, ..SinkWork::default() });
        let status = board.status(&Totals::default(), 2.0);
        assert_eq!(status.bulk.unwrap().documents_per_second, 5.0);
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
        let old: Status = serde_json::from_str(
            r#"{"kind":"agent","host":"h","lag":3,"sources":{"k":{"applied_revision":1}},"of_tomorrow":1}"#,
        )
        .unwrap();
        assert_eq!((old.lag, old.keys.len(), old.sources["k"].applied_revision), (3, 0, Some(1)));
    }

    #[test]
    fn more_topics_than_a_key_may_hold_leave_out_those_without_lag() {
        let board = StatusBoard::new("agent", "web-01", "1");
        board.set_topic_lines((0..1_000).map(|n| (format!("t{n}"), n)));
        board.set_topic_lags([("t0".to_owned(), 5)]);
        let topics = board.status(&Totals::default(), 1.0).topics;
        assert_eq!(topics.len(), MOST_TOPICS);
        assert!(topics.contains_key("t0") && topics.contains_key("t999") && !topics.contains_key("t1"));
    }
}
