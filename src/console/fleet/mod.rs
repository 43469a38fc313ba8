//! Who collects and carries, and how they are. The problem: each process tells of itself at a key of its own, and people
//! ask other questions: who is worst, who is gone, what has become of my change, where does it wait. So all keys are kept
//! in memory as they change, and every question is answered from there, also while etcd is away.
//!
//! A key that has gone is remembered with what it told last: its process ended without a word (`gone`, for a week) or said
//! that it leaves (`stopped`, for a day). What is remembered outlives the console ([`memory`]).

pub mod agents;
mod answers;
pub mod api;
pub mod banner;
mod files;
mod memory;
pub mod pipeline;

pub use answers::{Answer, Answers, Refusal};
pub use files::{AgentFiles, FilesByEtcd, OwnFiles};

use crate::{
    etcd::{Event, Kv, Mirror},
    store::Store,
    telemetry::{Health, STATUS_PREFIX, Seen, Status, now_ms},
};
use memory::Noted;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

const DAY_MS: u64 = 24 * 3600 * 1000;
/// How long one that stopped in order is shown.
const STOPPED_MS: u64 = DAY_MS;
/// How long one is shown that went without a word: who died on a weekend has to be seen on Monday.
const GONE_MS: u64 = 7 * DAY_MS;
/// Of those that went, the newest are shown.
const MOST_GONE: usize = 5_000;

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Alive,
    /// It said that it leaves.
    Stopped,
    /// Its key went without a word.
    Gone,
}

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    pub status: Status,
    /// When it told something last, as this console saw it; milliseconds since 1970.
    pub told_ms: u64,
    /// When it was seen first, by any console that is remembered.
    pub first_ms: u64,
    pub went_ms: Option<u64>,
    /// Nobody watched when it went: it was some time between `told_ms` and `went_ms`.
    pub unwatched: bool,
    /// When its dead letters, and its lost bytes, became more.
    pub dead_grew_ms: Option<u64>,
    pub lost_grew_ms: Option<u64>,
    /// Its key holds something that can't be read.
    pub unreadable: Option<String>,
}

impl Process {
    pub fn state(&self) -> State {
        match (self.went_ms, self.status.leaving) {
            (None, _) => State::Alive,
            (Some(_), true) => State::Stopped,
            (Some(_), false) => State::Gone,
        }
    }

    pub fn is_alive(&self) -> bool {
        self.went_ms.is_none()
    }

    /// Whether it went so long ago that nobody asks any more.
    fn is_over(&self, now_ms: u64) -> bool {
        let shown_ms = if self.state() == State::Stopped { STOPPED_MS } else { GONE_MS };
        self.went_ms.is_some_and(|went| went.saturating_add(shown_ms) <= now_ms)
    }

    /// Whether it reads files.
    fn collects(&self) -> bool {
        matches!(self.status.kind.as_str(), "agent" | "standalone")
    }

    fn dead_letters(&self) -> u64 {
        self.status.dead_letters.values().map(|letters| letters.count).sum()
    }
}

/// etcd can't be watched.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Away {
    pub reason: String,
    pub since_ms: u64,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub struct Known {
    /// By key.
    processes: BTreeMap<String, Process>,
    /// What is kept of each in the store, by the same keys.
    noted: BTreeMap<String, Noted>,
    pub away: Option<Away>,
    /// Whether everything was listed once.
    listed: bool,
}

impl Known {
    pub fn all(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// Those of a kind that are alive.
    pub fn alive<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Process> {
        self.all().filter(move |process| process.is_alive() && process.status.kind == kind)
    }

    /// Those that read files, and are alive.
    fn collecting(&self) -> impl Iterator<Item = &Process> {
        self.all().filter(|process| process.is_alive() && process.collects())
    }

    pub fn get(&self, kind: &str, host: &str, instance: &str) -> Option<&Process> {
        self.processes.get(&status_key(kind, host, instance))
    }

    fn put(&mut self, key: &str, read: Result<Status, String>, now_ms: u64) {
        let before = self.processes.get(key);
        let (status, unreadable) = match read {
            Ok(status) => (status, None),
            // What it told before is better than nothing.
            Err(reason) => {
                let known = before.map(|before| before.status.clone());
                (known.unwrap_or_else(|| named(key)), Some(reason))
            }
        };
        let first_ms = before.map(|before| before.first_ms).or(self.noted.get(key).map(|noted| noted.first_ms));
        let mut process = Process {
            status,
            told_ms: now_ms,
            first_ms: first_ms.unwrap_or(now_ms),
            went_ms: None,
            unwatched: false,
            dead_grew_ms: None,
            lost_grew_ms: None,
            unreadable,
        };
        if let Some(before) = before {
            // After a restart it counts from 0 again.
            let same = before.status.started_ms == process.status.started_ms;
            let (dead, lost) = if same { (before.dead_letters(), before.status.bytes_lost) } else { (0, 0) };
            let grew = |grew: bool, before: Option<u64>| if grew { Some(now_ms) } else { before };
            process.dead_grew_ms = grew(process.dead_letters() > dead, before.dead_grew_ms);
            process.lost_grew_ms = grew(process.status.bytes_lost > lost, before.lost_grew_ms);
        }
        self.processes.insert(key.to_owned(), process);
    }

    fn went(&mut self, key: &str, now_ms: u64) {
        if let Some(process) = self.processes.get_mut(key) {
            process.went_ms.get_or_insert(now_ms);
        }
        self.forget(now_ms);
    }

    /// Those that went long ago, and those that are too many.
    fn forget(&mut self, now_ms: u64) {
        self.processes.retain(|_, process| !process.is_over(now_ms));
        let mut went: Vec<u64> = self.all().filter_map(|process| process.went_ms).collect();
        if went.len() > MOST_GONE {
            went.sort_unstable_by(|a, b| b.cmp(a));
            let oldest = went[MOST_GONE - 1];
            self.processes.retain(|_, process| process.went_ms.is_none_or(|went| went >= oldest));
        }
    }

    fn list(&mut self, kvs: &[Kv], now_ms: u64) {
        let there: BTreeMap<&str, &Kv> =
            kvs.iter().filter(|kv| kv.key.starts_with(STATUS_PREFIX)).map(|kv| (kv.key.as_str(), kv)).collect();
        for (_, process) in self.processes.iter_mut().filter(|(key, _)| !there.contains_key(key.as_str())) {
            process.went_ms.get_or_insert(now_ms);
        }
        for (key, kv) in there {
            self.put(key, read(&kv.value), now_ms);
        }
        self.list_noted(kvs, now_ms);
        self.forget(now_ms);
        (self.away, self.listed) = (None, true);
    }
}

/// See the module.
#[derive(Default)]
pub struct Fleet {
    known: RwLock<Known>,
    /// Where is kept what outlives the console; `None`: nothing does.
    memory: Option<Arc<dyn Store>>,
    /// Of the console itself: whether what it searches answers.
    health: Health,
}

fn read(value: &[u8]) -> Result<Status, String> {
    serde_json::from_slice(value).map_err(|error| format!("its key can't be read: {error}"))
}

fn status_key(kind: &str, host: &str, instance: &str) -> String {
    format!("{STATUS_PREFIX}{kind}/{host}/{instance}")
}

/// What the key itself says.
fn named(key: &str) -> Status {
    let mut names = key.strip_prefix(STATUS_PREFIX).unwrap_or(key).splitn(3, '/').map(str::to_owned);
    let mut next = || names.next().unwrap_or_default();
    Status { kind: next(), host: next(), instance: next(), ..Status::default() }
}

impl Fleet {
    pub fn new(health: Health) -> Self {
        Self { health, ..Self::default() }
    }

    /// What is known outlives this console: it is kept in the store, and has to be watched there, too.
    #[must_use]
    pub fn remembered_by(self, store: Arc<dyn Store>) -> Self {
        Self { memory: Some(store), ..self }
    }

    /// What is known now.
    pub fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn to_change(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The only process there is tells of itself; for where there is no etcd.
    pub fn tell(&self, status: Status) {
        let key = status_key(&status.kind, &status.host, &status.instance);
        let mut known = self.to_change();
        known.put(&key, Ok(status), now_ms());
        known.listed = true;
    }

    fn apply_at(&self, event: &Event, now_ms: u64) {
        let mut known = self.to_change();
        match event {
            Event::Snapshot { kvs, .. } => known.list(kvs, now_ms),
            Event::Put(kv) if kv.key.starts_with(STATUS_PREFIX) => known.put(&kv.key, read(&kv.value), now_ms),
            Event::Delete { key, .. } if key.starts_with(STATUS_PREFIX) => known.went(key, now_ms),
            Event::Lost(error) => {
                let since_ms = known.away.as_ref().map_or(now_ms, |away| away.since_ms);
                known.away = Some(Away { reason: error.to_string(), since_ms });
            }
            Event::Put(kv) => {
                if let Some(key) = Seen::status_key(&kv.key) {
                    known.note(key, kv, now_ms);
                }
            }
            Event::Delete { key, .. } => {
                if let Some(key) = Seen::status_key(key) {
                    known.dismiss(&key);
                }
            }
        }
    }
}

impl Mirror for Fleet {
    fn apply(&self, event: &Event) {
        self.apply_at(event, now_ms());
    }
}

#[cfg(test)]
pub(super) mod tests;
