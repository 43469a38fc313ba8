//! Changes that went past the console: by `etcdctl`, an older `logweir entries`, an editor. The problem: their history has
//! to be kept, too, and every console hears of every change, its own ones and other consoles' among them. So what was
//! noticed waits here until somebody has looked whether it is recorded already, and if not records it; several consoles
//! would write the same key, so one of them does.

use super::{
    Book, change,
    history::{self, From, Record},
};
use crate::{
    console::gate::Author,
    flow::{Backoff, Retries},
    store::{Check, Committed, Item, MAX_COMMIT_BYTES, Store, StoreError, Write},
    telemetry::now_ms,
};
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// What waits; more than that and somebody rewrites everything at once, which nobody will read change by change.
const MOST_WAITING: usize = 10_000;
/// Bytes that wait.
const MOST_BYTES: usize = 32 << 20;
/// From one record in the audit to the next one of the same key; the history has all that was between.
const AUDITED_MS: i64 = 3_600_000;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// A change that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    pub key: String,
    /// As it was known before.
    pub before: Option<Item>,
    /// Its value and revision; `None`: it has gone.
    pub now: Option<(Vec<u8>, i64)>,
}

impl Noticed {
    fn bytes(&self) -> usize {
        let before = self.before.as_ref().map_or(0, |item| item.value.len());
        before + self.now.as_ref().map_or(0, |(value, _)| value.len())
    }
}

#[derive(Debug, Default)]
pub struct Outside {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    noticed: VecDeque<Noticed>,
    bytes: usize,
    left_out: u64,
}

impl Outside {
    pub fn notice(&self, noticed: Noticed) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.noticed.len() >= MOST_WAITING || waiting.bytes + noticed.bytes() > MOST_BYTES {
            waiting.left_out += 1;
        } else {
            waiting.bytes += noticed.bytes();
            waiting.noticed.push_back(noticed);
        }
        drop(waiting);
        self.more.notify_one();
    }

    fn next(&self) -> Option<Noticed> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = waiting.noticed.pop_front();
        waiting.bytes -= next.as_ref().map_or(0, Noticed::bytes);
        let left_out = if next.is_none() { std::mem::take(&mut waiting.left_out) } else { 0 };
        drop(waiting);
        if left_out > 0 {
            slog_scope::warn!("entries were changed faster than their history could be kept";
                "changes_without_history" => left_out);
        }
        next
    }
}

impl Book {
    /// Records what goes past, for ever. It waits for news, and for a store that doesn't answer.
    pub async fn keep_history(&self) {
        let mut retries = Retries::new(BACKOFF);
        loop {
            let Some(noticed) = self.outside.next() else {
                self.outside.more.notified().await;
                continue;
            };
            while let Err(error) = record(&*self.store, &noticed).await {
                if let StoreError::Unavailable(_) = error {
                    tokio::time::sleep(retries.failed()).await;
                } else {
                    slog_scope::warn!("a change of entries has no history"; "key" => &noticed.key, "reason" => %error);
                    break;
                }
            }
            retries.succeeded();
        }
    }

    /// Records what has gone past until now.
    ///
    /// # Errors
    /// The store doesn't answer; what wasn't recorded is not tried again.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        while let Some(noticed) = self.outside.next() {
            record(&*self.store, &noticed).await?;
        }
        Ok(())
    }
}

/// Records one change, unless it is recorded. Answers whether it was new.
async fn record(store: &dyn Store, noticed: &Noticed) -> Result<bool, StoreError> {
    /// Records that are looked at; a change is noticed soon.
    const LOOKED_AT: usize = 8;
    let key = noticed.key.as_str();
    let last = history::records(store, key, None, LOOKED_AT).await?;
    let made = |revision: i64| last.iter().any(|placed| placed.made == Some(revision));
    let replaced = noticed.before.as_ref().map_or(0, |item| item.revision);
    let (at, mut new) = match &noticed.now {
        Some((_, revision)) if made(*revision) => return Ok(false),
        // The same again.
        Some((value, _)) if last.first().is_some_and(|placed| placed.record.holds(value)) => return Ok(false),
        Some((value, revision)) => {
            let item = Item { key: key.into(), value: value.clone(), revision: *revision };
            (revision - 1, change::found(&item, now_ms() as i64, MAX_COMMIT_BYTES / 2))
        }
        None if last.iter().any(|placed| placed.at == replaced) => return Ok(false),
        None => (replaced, gone()),
    };
    let audited = last.iter().filter_map(|placed| placed.record.audited_ms).max();
    new.audited_ms = audited.filter(|audited| (0..AUDITED_MS).contains(&(new.time_ms - audited)));
    let audit = new.audited_ms.is_none().then(|| audit(key, &new)).transpose()?;
    new.audited_ms.get_or_insert(new.time_ms);
    let mut checks = vec![Check::absent(history::place(key, at))];
    let mut writes = vec![new.write(key, at)];
    writes.extend(audit);
    let newest = last.first().map_or(-1, |placed| placed.at);
    let is_news = |before: &Item| {
        let holds = last.first().is_some_and(|placed| placed.record.holds(&before.value));
        !holds && !made(before.revision) && before.revision - 1 > newest
    };
    if let Some(before) = noticed.before.as_ref().filter(|before| is_news(before)) {
        let place = before.revision - 1;
        checks.push(Check::absent(history::place(key, place)));
        writes.push(change::found(before, now_ms() as i64, MAX_COMMIT_BYTES / 4).write(key, place));
    }
    let too_old = history::too_old(store, key, &writes).await?;
    writes.extend(too_old);
    // A conflict: another console has recorded it.
    Ok(matches!(store.commit(checks, writes).await?, Committed::Done(_)))
}

fn audit(key: &str, new: &Record) -> Result<Write, StoreError> {
    let author = Author { name: "unknown".into(), address: "outside".into() };
    let audit = author.did("entries.outside", key, if new.text.is_none() { "deleted" } else { "" });
    audit.map_err(|e| StoreError::Unavailable(e.to_string()))
}

fn gone() -> Record {
    let (time_ms, author) = (now_ms() as i64, String::new());
    Record { time_ms, author, from: From::Outside, text: None, revision: None, omitted_bytes: None, audited_ms: None }
}

#[cfg(test)]
mod tests;
