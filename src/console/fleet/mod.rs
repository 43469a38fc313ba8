//! Who collects and carries, and how they are. The problem: each process tells of itself at a key of its own, and people
//! ask other questions: who is worst, who is gone, what has become of my change, where does it wait. So all keys are kept
//! in memory as they change, and every question is answered from there, also while etcd is away.
//!
//! A key that has gone is remembered for a day with what it told last: its process ended without a word (`gone`) or said
//! that it leaves (`stopped`). A console that has just started can't know of those that went before.

pub mod agents;
mod answers;
pub mod api;
pub mod banner;
mod files;
pub mod pipeline;

pub use answers::{Answer, Answers, Refusal};
pub use files::{AgentFiles, FilesByEtcd, OwnFiles};

use crate::{
    etcd::{Event, Kv, Mirror},
    telemetry::{Health, STATUS_PREFIX, Status, now_ms},
};
use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

/// How long one that went is shown.
const REMEMBERED_MS: u64 = 24 * 3600 * 1000;
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
    pub went_ms: Option<u64>,
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
        self.processes.get(&format!("{STATUS_PREFIX}{kind}/{host}/{instance}"))
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
        let mut process =
            Process { status, told_ms: now_ms, went_ms: None, dead_grew_ms: None, lost_grew_ms: None, unreadable };
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
        self.processes.retain(|_, process| process.went_ms.is_none_or(|went| went + REMEMBERED_MS > now_ms));
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
        let gone: Vec<String> =
            self.processes.keys().filter(|key| !there.contains_key(key.as_str())).cloned().collect();
        for key in gone {
            self.went(&key, now_ms);
        }
        for (key, kv) in there {
            self.put(key, read(&kv.value), now_ms);
        }
        (self.away, self.listed) = (None, true);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Fleet {
    known: RwLock<Known>,
    /// Of the console itself: whether what it searches answers.
    health: Health,
}

fn read(value: &[u8]) -> Result<Status, String> {
    serde_json::from_slice(value).map_err(|error| format!("its key can't be read: {error}"))
}

/// What the key itself says.
fn named(key: &str) -> Status {
    let mut names = key.strip_prefix(STATUS_PREFIX).unwrap_or(key).splitn(3, '/').map(str::to_owned);
    let mut next = || names.next().unwrap_or_default();
    Status { kind: next(), host: next(), instance: next(), ..Status::default() }
}

impl Fleet {
    pub fn new(health: Health) -> Self {
        Self { known: RwLock::default(), health }
    }

    /// What is known now.
    pub fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The only process there is tells of itself; for where there is no etcd.
    pub fn tell(&self, status: Status) {
        let key = format!("{STATUS_PREFIX}{}/{}/{}", status.kind, status.host, status.instance);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.put(&key, Ok(status), now_ms());
        known.listed = true;
    }

    fn apply_at(&self, event: &Event, now_ms: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Snapshot { kvs, .. } => known.list(kvs, now_ms),
            Event::Put(kv) if kv.key.starts_with(STATUS_PREFIX) => known.put(&kv.key, read(&kv.value), now_ms),
            Event::Delete { key, .. } if key.starts_with(STATUS_PREFIX) => known.went(key, now_ms),
            Event::Lost(error) => {
                let since_ms = known.away.as_ref().map_or(now_ms, |away| away.since_ms);
                known.away = Some(Away { reason: error.to_string(), since_ms });
            }
            Event::Put(_) | Event::Delete { .. } => {}
        }
    }
}

impl Mirror for Fleet {
    fn apply(&self, event: &Event) {
        self.apply_at(event, now_ms());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::etcd::EtcdError;

    pub fn kv(status: &Status) -> Kv {
        let key = format!("{STATUS_PREFIX}{}/{}/{}", status.kind, status.host, status.instance);
        Kv { key, value: serde_json::to_vec(status).unwrap(), revision: 1 }
    }

    pub fn status(kind: &str, host: &str) -> Status {
        Status { kind: kind.into(), host: host.into(), instance: "1".into(), ..Status::default() }
    }

    pub fn put(fleet: &Fleet, status: &Status) {
        fleet.apply(&Event::Put(kv(status)));
    }

    pub fn deleted(fleet: &Fleet, kind: &str, host: &str) {
        fleet.apply(&Event::Delete { key: format!("{STATUS_PREFIX}{kind}/{host}/1"), revision: 2 });
    }

    fn state(fleet: &Fleet, host: &str) -> Option<State> {
        fleet.known().get("agent", host, "1").map(Process::state)
    }

    #[test]
    fn one_that_went_is_shown_for_a_day_and_comes_back_with_its_key() {
        let fleet = Fleet::default();
        put(&fleet, &status("agent", "a"));
        put(&fleet, &Status { leaving: true, ..status("agent", "b") });
        let delete = |host: &str| Event::Delete { key: format!("{STATUS_PREFIX}agent/{host}/1"), revision: 2 };
        fleet.apply_at(&delete("a"), 1_000);
        fleet.apply_at(&delete("b"), 1_000);
        assert_eq!((state(&fleet, "a"), state(&fleet, "b")), (Some(State::Gone), Some(State::Stopped)));
        put(&fleet, &status("agent", "b"));
        assert_eq!(state(&fleet, "b"), Some(State::Alive));
        fleet.apply_at(&delete("nobody"), 1_000 + REMEMBERED_MS);
        assert_eq!((state(&fleet, "a"), state(&fleet, "b")), (None, Some(State::Alive)));
    }

    #[test]
    fn a_list_says_who_is_gone_and_that_etcd_is_back() {
        let fleet = Fleet::default();
        put(&fleet, &status("agent", "a"));
        put(&fleet, &status("agent", "b"));
        let lost = EtcdError::Failed { endpoints: "e".into(), call: "watch", reason: "refused".into() };
        fleet.apply_at(&Event::Lost(lost.clone()), 5);
        fleet.apply_at(&Event::Lost(lost), 9);
        assert_eq!(fleet.known().away.as_ref().map(|away| away.since_ms), Some(5), "since the first");
        assert_eq!(state(&fleet, "a"), Some(State::Alive), "what is known stays");
        let other = Kv { key: "/logweir/collect/all".into(), value: b"[]".to_vec(), revision: 1 };
        fleet.apply(&Event::Snapshot { kvs: vec![kv(&status("agent", "a")), other], revision: 3 });
        assert!(fleet.known().away.is_none());
        assert_eq!((state(&fleet, "a"), state(&fleet, "b")), (Some(State::Alive), Some(State::Gone)));
        assert_eq!(fleet.known().all().count(), 2);
    }

    #[test]
    fn a_key_that_cannot_be_read_is_shown_by_its_name() {
        let fleet = Fleet::default();
        let key = format!("{STATUS_PREFIX}agent/<b>/1");
        fleet.apply(&Event::Put(Kv { key, value: b"\xff{".to_vec(), revision: 1 }));
        let known = fleet.known();
        let process = known.get("agent", "<b>", "1").unwrap();
        assert!(process.unreadable.is_some() && process.is_alive());
        assert_eq!(process.status.host, "<b>");
    }

    #[test]
    fn what_became_more_is_noticed_and_a_restart_is_no_growth() {
        let fleet = Fleet::default();
        let lost = |bytes, started| Status { bytes_lost: bytes, started_ms: started, ..status("agent", "a") };
        let grew = |fleet: &Fleet| fleet.known().get("agent", "a", "1").unwrap().lost_grew_ms;
        fleet.apply_at(&Event::Put(kv(&lost(5, 1))), 10);
        assert_eq!(grew(&fleet), None, "it may be long ago");
        fleet.apply_at(&Event::Put(kv(&lost(5, 1))), 20);
        assert_eq!(grew(&fleet), None);
        fleet.apply_at(&Event::Put(kv(&lost(7, 1))), 30);
        fleet.apply_at(&Event::Put(kv(&lost(7, 1))), 40);
        assert_eq!(grew(&fleet), Some(30));
        fleet.apply_at(&Event::Put(kv(&lost(0, 50))), 50);
        assert_eq!(grew(&fleet), Some(30));
        fleet.apply_at(&Event::Put(kv(&lost(1, 50))), 60);
        assert_eq!(grew(&fleet), Some(60));
    }

    #[test]
    fn those_that_went_are_bounded() {
        let fleet = Fleet::default();
        for n in 0..MOST_GONE as u64 + 10 {
            let host = format!("h{n}");
            put(&fleet, &status("agent", &host));
            fleet.apply_at(&Event::Delete { key: format!("{STATUS_PREFIX}agent/{host}/1"), revision: 2 }, now_ms() + n);
        }
        assert_eq!(fleet.known().all().count(), MOST_GONE);
        assert_eq!((state(&fleet, "h0"), state(&fleet, "h5009")), (None, Some(State::Gone)));
    }
}
