//! One change of one key. The problem: its author saw the key at some revision, and may only replace that; and the change,
//! its history and its record in the audit are there together or not at all. The page and `logweir entries` change keys
//! by this and by nothing else.

use super::history::{self, From, Record};
use crate::store::{Check, Committed, Item, MAX_COMMIT_BYTES, Store, StoreError, Write};

/// Largest value that is written: it stands in the history, too, where quotes need more room.
pub const MAX_TEXT_BYTES: usize = 600 << 10;
/// Whoever notices a change from outside may write a record at the same moment.
const TRIES: usize = 4;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Change {
    pub key: String,
    /// The revision that the author saw; 0: the key wasn't there.
    pub seen: i64,
    /// `None`: delete it.
    pub text: Option<Vec<u8>>,
    pub author: String,
    pub from: From,
    pub time_ms: i64,
    /// Records of the audit, written with it.
    pub audit: Vec<Write>,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Done, at this revision.
    Done(i64),
    /// Somebody else was faster: what the key is now.
    Conflict(Option<Item>),
}

/// Makes the change, if the key is still what its author saw.
///
/// # Errors
/// The store doesn't answer (see [`StoreError`]; the same change can be made again), or it is too much for one commit.
pub async fn change(store: &dyn Store, change: &Change) -> Result<Changed, StoreError> {
    if let Some(text) = change.text.as_ref().filter(|text| text.len() > MAX_TEXT_BYTES) {
        let reason = format!(
            "the entries have {} bytes, at most {MAX_TEXT_BYTES} can be written to one key with their history; \
             spread them over the keys of groups or hosts",
            text.len()
        );
        return Err(StoreError::TooLarge(reason));
    }
    let mut now = None;
    for _ in 0..TRIES {
        let before = store.get(&change.key).await?;
        if before.as_ref().map_or(0, |item| item.revision) != change.seen {
            return Ok(Changed::Conflict(before));
        }
        let (checks, writes) = prepared(store, change, before.as_ref()).await?;
        match store.commit(checks, writes).await? {
            Committed::Done(revision) => return Ok(Changed::Done(revision)),
            Committed::Conflict(found) => now = found.into_iter().find(|item| item.key == change.key),
        }
    }
    if now.as_ref().map_or(0, |item| item.revision) == change.seen {
        return Err(StoreError::Unavailable(format!("the history of {} changes all the time", change.key)));
    }
    Ok(Changed::Conflict(now))
}

async fn prepared(
    store: &dyn Store,
    change: &Change,
    before: Option<&Item>,
) -> Result<(Vec<Check>, Vec<Write>), StoreError> {
    let key = &change.key;
    let last = history::records(store, key, None, 1).await?.into_iter().next();
    let free = last.as_ref().map_or(0, |last| last.at + 1);
    let at = change.seen.max(free);
    let text = change.text.as_ref().map(|text| String::from_utf8_lossy(text).into_owned());
    let record = Record {
        time_ms: change.time_ms,
        author: change.author.clone(),
        from: change.from,
        text,
        revision: None,
        omitted_bytes: None,
        audited_ms: None,
    };
    let mut checks = vec![Check::revision(key, change.seen), Check::absent(history::place(key, at))];
    let mut writes = vec![match &change.text {
        Some(text) => Write::put(key, text.clone()),
        None => Write::delete(key),
    }];
    writes.push(record.write(key, at));
    writes.extend(change.audit.iter().cloned());
    // What is replaced has to be there to go back to, whoever wrote it.
    let unknown = |item: &&Item| {
        last.as_ref().is_none_or(|last| last.made != Some(item.revision) && !last.record.holds(&item.value))
    };
    if let Some(item) = before.filter(unknown).filter(|item| item.revision > free) {
        let at = item.revision - 1;
        let room = MAX_COMMIT_BYTES.saturating_sub(writes.iter().map(Write::bytes).sum::<usize>() + (16 << 10));
        checks.push(Check::absent(history::place(key, at)));
        writes.push(found(item, change.time_ms, room).write(key, at));
    }
    let too_old = history::too_old(store, key, &writes).await?;
    writes.extend(too_old);
    Ok((checks, writes))
}

/// The record of a value that was found, and that nobody knows who wrote. `room`: bytes that it may take.
pub(super) fn found(item: &Item, time_ms: i64, room: usize) -> Record {
    let text = String::from_utf8_lossy(&item.value).into_owned();
    let mut record = Record {
        time_ms,
        author: String::new(),
        from: From::Outside,
        text: Some(text),
        revision: Some(item.revision),
        omitted_bytes: None,
        audited_ms: None,
    };
    if serde_json::to_vec(&record).map_or(usize::MAX, |text| text.len()) > room {
        record.omitted_bytes = Some(item.value.len());
        record.text = Some(String::new());
    }
    record
}

#[cfg(test)]
mod tests;
