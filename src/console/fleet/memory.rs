//! What outlives the console. The problem: an agent that dies while no console runs leaves no trace, and people expect to
//! hear of hosts that used to tell and don't. So what is known of each process is kept in the store too ([`Seen`]), when it
//! appears, when it goes, and a few times an hour between: never once for each status, of which two thousand agents tell a
//! hundred a second.
//!
//! ```text
//! appears, comes back, or has told for 15 minutes since the record   put    if the record is as it was seen
//! went                                                               put    and if the process isn't back
//! went long ago                                                      delete if the record is as it was seen
//! ```
//! Several consoles do this side by side. Each watches the records as well, so what another has written is no longer due;
//! where two are at it at the same moment the second finds another revision, and writes nothing. A record that somebody
//! deletes is a process that is dismissed: on all consoles, unless it lives.

use super::{Fleet, Known, Process, named};
use crate::{
    etcd::Kv,
    flow::{Backoff, Retries},
    store::{Check, Committed, Item, Store, StoreError, Write},
    telemetry::{SEEN_PREFIX, Seen, Status, brief, now_ms},
};
use std::time::Duration;

/// What a process that lives has told last is written down this often.
const AGAIN_MS: u64 = 15 * 60 * 1000;
/// Records of one commit, each with two checks at most.
const MOST: usize = 64;
const MOST_BYTES: usize = 256 << 10;
/// From one commit to the next; not the same for two consoles.
const TURN: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(2));
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(4), Duration::from_secs(60));

/// The record of one process, as it is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    revision: i64,
    pub first_ms: u64,
    told_ms: u64,
    /// Which run of the process it tells of.
    started_ms: u64,
    went: bool,
}

/// One record that is to be written, or removed.
struct Due {
    checks: Vec<Check>,
    write: Write,
}

impl Due {
    /// `now`: what the checked keys are.
    fn holds(&self, now: &[Item]) -> bool {
        let revision = |key: &str| now.iter().find(|item| item.key == key).map_or(0, |item| item.revision);
        self.checks.iter().all(|Check::Revision { key, revision: seen }| revision(key) == *seen)
    }
}

fn read(key: &str, kv: &Kv, now_ms: u64) -> Seen {
    // One that can't be read says at least that there was one.
    let there_was = || Seen { first_ms: now_ms, told_ms: now_ms, ..Seen::default() };
    let seen: Seen = serde_json::from_slice(&kv.value).unwrap_or_else(|_| there_was());
    // Whose it is says the key, whatever stands in it.
    let Status { kind, host, instance, .. } = named(key);
    Seen { status: Status { kind, host, instance, ..seen.status }, ..seen }
}

impl Known {
    /// The record of the process with this liveness key is another one now.
    pub(super) fn note(&mut self, key: String, kv: &Kv, now_ms: u64) {
        let seen = self.take_over(&key, kv, now_ms);
        // Of one that lives its own key tells soon.
        if seen.went_ms.is_some() {
            self.processes.entry(key).or_insert_with(|| process_of(seen, now_ms));
        }
    }

    /// All records there are; the liveness keys are known by now.
    pub(super) fn list_noted(&mut self, kvs: &[Kv], now_ms: u64) {
        let before = std::mem::take(&mut self.noted);
        for (key, kv) in kvs.iter().filter_map(|kv| Some((Seen::status_key(&kv.key)?, kv))) {
            let seen = self.take_over(&key, kv, now_ms);
            self.processes.entry(key).or_insert_with(|| process_of(seen, now_ms));
        }
        for key in before.keys().filter(|key| !self.noted.contains_key(*key)).cloned().collect::<Vec<_>>() {
            self.dismiss(&key);
        }
    }

    fn take_over(&mut self, key: &str, kv: &Kv, now_ms: u64) -> Seen {
        let seen = read(key, kv, now_ms);
        let started_ms = seen.status.started_ms;
        if let Some(process) = self.processes.get_mut(key) {
            process.first_ms = process.first_ms.min(seen.first_ms);
            // Who has seen it go knows more than a record, but not more than the process itself, which says that it leaves.
            let known = process.status.started_ms;
            let knows_better =
                started_ms > known || (started_ms == known && (process.unwatched || seen.status.leaving));
            if !process.is_alive() && seen.went_ms.is_some() && knows_better {
                *process = process_of(seen.clone(), now_ms);
            }
        }
        let (first_ms, told_ms, went) = (seen.first_ms, seen.told_ms, seen.went_ms.is_some());
        self.noted.insert(key.to_owned(), Noted { revision: kv.revision, first_ms, told_ms, started_ms, went });
        seen
    }

    /// Its record has gone.
    pub(super) fn dismiss(&mut self, key: &str) {
        self.noted.remove(key);
        if self.processes.get(key).is_some_and(|process| !process.is_alive()) {
            self.processes.remove(key);
        }
    }

    /// What is to be written now, as much as goes into one commit.
    fn due(&self) -> Vec<Due> {
        let written = self.processes.iter().filter_map(|(key, process)| self.to_write(key, process));
        let over = |(key, noted): (&String, &Noted)| {
            let over = noted.went && !self.processes.contains_key(key);
            let key = Seen::key(key).filter(|_| over)?;
            Some(Due { checks: vec![Check::revision(&key, noted.revision)], write: Write::delete(key) })
        };
        let mut bytes = 0;
        let fits = |due: &Due| {
            let first = bytes == 0;
            bytes += due.write.bytes();
            first || bytes <= MOST_BYTES
        };
        written.chain(self.noted.iter().filter_map(over)).take(MOST).take_while(fits).collect()
    }

    fn to_write(&self, key: &str, process: &Process) -> Option<Due> {
        let noted = self.noted.get(key);
        let lives = process.is_alive();
        let wanted = match noted {
            // It says itself how it left.
            _ if lives && process.status.leaving => false,
            None => true,
            Some(noted) if lives => noted.went || process.told_ms >= noted.told_ms.saturating_add(AGAIN_MS),
            Some(noted) => !noted.went || process.status.started_ms > noted.started_ms,
        };
        let name = Seen::key(key).filter(|_| wanted)?;
        let mut checks = vec![Check::revision(&name, noted.map_or(0, |noted| noted.revision))];
        if !lives {
            checks.push(Check::absent(key));
        }
        let seen = Seen {
            first_ms: process.first_ms,
            told_ms: process.told_ms,
            went_ms: process.went_ms,
            unwatched: process.unwatched,
            status: brief(&process.status),
        };
        Some(Due { checks, write: Write::put(name, serde_json::to_vec(&seen).ok()?) })
    }
}

/// One that went before this console knew of it.
fn process_of(seen: Seen, now_ms: u64) -> Process {
    Process {
        told_ms: seen.told_ms,
        first_ms: seen.first_ms,
        unwatched: seen.unwatched || seen.went_ms.is_none(),
        went_ms: Some(seen.went_ms.unwrap_or(now_ms)),
        status: seen.status,
        dead_grew_ms: None,
        lost_grew_ms: None,
        unreadable: None,
    }
}

/// What came of dismissing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissed {
    Done,
    /// There is no record of it yet.
    TooSoon,
    /// Somebody, or the process itself, was faster.
    Conflict,
}

impl Fleet {
    /// Writes down what outlives this console, for ever; at once back where nothing does.
    pub async fn keep(&self) {
        let Some(store) = &self.memory else { return };
        let mut retries = Retries::new(BACKOFF);
        loop {
            let wait = match self.write_down(&**store, now_ms()).await {
                Ok(_) => {
                    retries.succeeded();
                    TURN.wait(1)
                }
                Err(error) => {
                    if retries.failures() == 0 {
                        slog_scope::warn!("which processes there are is not kept, trying again"; "reason" => %error,
                            "keys" => SEEN_PREFIX);
                    }
                    retries.failed()
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// One commit, if something is due. Answers how many records were written.
    async fn write_down(&self, store: &dyn Store, now_ms: u64) -> Result<usize, StoreError> {
        let mut due = {
            let mut known = self.to_change();
            // While etcd can't be watched nobody knows who is there.
            if !known.listed || known.away.is_some() {
                return Ok(0);
            }
            known.forget(now_ms);
            known.due()
        };
        while !due.is_empty() {
            let checks = due.iter().flat_map(|due| due.checks.clone()).collect();
            let writes = due.iter().map(|due| due.write.clone()).collect();
            match store.commit(checks, writes).await? {
                Committed::Done(_) => return Ok(due.len()),
                // Another console was faster with some; the watch tells of them.
                Committed::Conflict(now) => {
                    let before = due.len();
                    due.retain(|due| due.holds(&now));
                    if due.len() == before {
                        break;
                    }
                }
            }
        }
        Ok(0)
    }

    /// Removes the record of a process that isn't alive, together with `audit`; so it's gone from all consoles.
    ///
    /// # Errors
    /// The store doesn't answer.
    pub async fn forget(&self, store: &dyn Store, status_key: &str, audit: Write) -> Result<Dismissed, StoreError> {
        let Some(key) = Seen::key(status_key) else { return Ok(Dismissed::TooSoon) };
        let Some(item) = store.get(&key).await? else { return Ok(Dismissed::TooSoon) };
        let checks = vec![Check::unchanged(&item), Check::absent(status_key)];
        Ok(match store.commit(checks, vec![Write::delete(key), audit]).await? {
            Committed::Done(_) => {
                self.to_change().dismiss(status_key);
                Dismissed::Done
            }
            Committed::Conflict(_) => Dismissed::Conflict,
        })
    }
}

#[cfg(test)]
mod tests;
