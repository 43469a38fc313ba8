//! What a process is doing, in one place. The problem: its liveness key, `/health` and the console want the same picture,
//! and it comes from several actors on several threads. They write here; whoever shows it reads here.

use super::log::LastError;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::Notify;

/// What is known of one watched key or file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// Revision that is in force.
    pub applied_revision: Option<i64>,
    /// Why a newer value was refused, with its place.
    pub refused: Option<String>,
}

/// The figures at one moment, as they stand in the liveness key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// `agent`, `transfer` or `console`.
    pub kind: String,
    pub host: String,
    pub instance: String,
    pub version: String,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    pub sources: BTreeMap<String, SourceStatus>,
    /// Files that are read (agent) or partitions that are consumed (transfer).
    pub files: u64,
    /// What is there and not yet delivered; bytes (agent) or records (transfer).
    pub lag: u64,
    pub lines_per_second: f64,
    pub bytes_per_second: f64,
    /// Text of the last ERROR in the log, and when it came; milliseconds since 1970.
    pub last_error: Option<String>,
    pub last_error_ms: Option<u64>,
}

#[derive(Debug, Default)]
struct Told {
    sources: BTreeMap<String, SourceStatus>,
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
            changed: Notify::new(),
            awaited_changed: Notify::new(),
            errors: OnceLock::new(),
        }
    }

    /// The key under which this process shows that it lives.
    pub fn key(&self) -> String {
        format!("/logweir/status/{}/{}/{}", self.kind, self.host, self.instance)
    }

    /// The value of a key or file is in force.
    pub fn applied(&self, source: &str, revision: Option<i64>) {
        self.tell(|told| {
            told.sources.insert(source.into(), SourceStatus { applied_revision: revision, refused: None });
        });
    }

    /// A value was refused; what was in force stays.
    pub fn refused(&self, source: &str, reason: String) {
        self.tell(|told| told.sources.entry(source.into()).or_default().refused = Some(reason));
    }

    /// A key has gone.
    pub fn gone(&self, source: &str) {
        self.tell(|told| {
            told.sources.remove(source);
        });
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
        self.told.lock().unwrap_or_else(PoisonError::into_inner).awaited.contains_key(what)
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
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.awaited.iter().next().map(|(what, reason)| format!("the {what}: {reason}"))
    }

    /// Shows the errors of this log. To be called once, before anybody waits for a change.
    pub fn show_errors(&self, errors: LastError) {
        // Only a second call has no effect.
        drop(self.errors.set(errors));
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
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

    /// Lines and bytes delivered since the start.
    pub fn totals(&self) -> (u64, u64) {
        (self.lines.load(Relaxed), self.bytes.load(Relaxed))
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
    pub fn status(&self, before: (u64, u64), seconds: f64) -> Status {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, bytes) = self.totals();
        let (last_error, last_error_ms) = self.errors.get().and_then(LastError::get).unzip();
        let rate =
            |now: u64, before: u64| if seconds > 0.0 { now.saturating_sub(before) as f64 / seconds } else { 0.0 };
        Status {
            kind: self.kind.clone(),
            host: self.host.clone(),
            instance: self.instance.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_ms: self.started_ms,
            sources: told.sources.clone(),
            files: self.files.load(Relaxed),
            lag: self.lag.load(Relaxed),
            lines_per_second: rate(lines, before.0),
            bytes_per_second: rate(bytes, before.1),
            last_error,
            last_error_ms,
        }
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
        board.refused("k", "line 1 column 2: no".into());
        board.delivered(10, 1000);
        let status = board.status((0, 0), 2.0);
        assert_eq!(status.sources["k"].applied_revision, Some(3));
        assert!(status.sources["k"].refused.is_some());
        assert_eq!((status.lines_per_second, status.bytes_per_second), (5.0, 500.0));
        board.applied("k", Some(4));
        assert_eq!(board.status((0, 0), 0.0).sources["k"].refused, None);
        board.gone("k");
        assert!(board.status((0, 0), 0.0).sources.is_empty());
    }
}
