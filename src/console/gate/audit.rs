//! Who did what: records that are only ever added. The problem: a change and its record have to be there both or not at
//! all, so a record is a write of the same commit; and a flood of refused logins must not flood the store, so those are
//! folded: the first of a minute has a record of its own, the rest of that minute one together.

use super::secret::{NoRandom, random};
use crate::store::{Store, StoreError, Write};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Keys go on with the time (13 digits, milliseconds since 1970) and 8 random hex digits.
pub const PREFIX: &str = crate::store::AUDIT;
/// Names and addresses that a folded record tells.
const TOLD: usize = 10;
/// From one record of refused logins to the next.
const FOLD_MS: i64 = 60_000;

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub time_ms: i64,
    pub author: String,
    /// Where it came from: a network address, or `command line`.
    pub address: String,
    /// Like `login.refused`, `entries.put`, `user.add`.
    pub action: String,
    /// What it was done to: a key, a user.
    pub subject: String,
    #[serde(default)]
    pub detail: String,
}

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    pub name: String,
    pub address: String,
}

impl From<&super::Person> for Author {
    fn from(person: &super::Person) -> Self {
        Self { name: person.name.clone(), address: person.address.clone() }
    }
}

impl Author {
    /// Who uses the command line: `user@machine`.
    pub fn of_command_line() -> Self {
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
        let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { name: format!("{user}@{machine}"), address: "command line".into() }
    }

    /// The record of what this author does now, to be written with it.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn did(&self, action: &str, subject: &str, detail: impl Into<String>) -> Result<Write, NoRandom> {
        Record {
            time_ms: crate::telemetry::now_ms() as i64,
            author: self.name.clone(),
            address: self.address.clone(),
            action: action.into(),
            subject: subject.into(),
            detail: detail.into(),
        }
        .write()
    }
}

impl Record {
    fn write(&self) -> Result<Write, NoRandom> {
        let key = format!("{PREFIX}{:013}-{}", self.time_ms.max(0), random::<4>()?);
        Ok(Write::put(key, serde_json::to_vec(self).unwrap_or_default()))
    }
}

/// Which records are wanted; empty texts mean any.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub author: String,
    /// What the action begins with.
    pub action: String,
    /// What stands anywhere in the subject or the detail.
    pub text: String,
    /// Those before this key.
    pub before: Option<String>,
    pub size: usize,
}

/// Newest first, each with its key, and the key to go on before; `None`: that is all.
///
/// # Errors
/// The store doesn't answer.
pub async fn read(store: &dyn Store, wanted: &Wanted) -> Result<(Vec<(String, Record)>, Option<String>), StoreError> {
    const PIECE: usize = 500;
    /// Records that are looked at for one answer.
    const LOOKED_AT: usize = 20_000;
    let (mut found, mut before, mut looked_at) = (Vec::new(), wanted.before.clone(), 0);
    loop {
        let piece = store.list_last(PREFIX, before.as_deref(), PIECE).await?;
        let last = piece.len() < PIECE;
        looked_at += piece.len();
        for item in piece {
            before = Some(item.key.clone());
            // What no console wrote is no record.
            let Ok(record) = serde_json::from_slice::<Record>(&item.value) else { continue };
            if wanted.fits(&record) {
                found.push((item.key, record));
                if found.len() >= wanted.size {
                    return Ok((found, before));
                }
            }
        }
        if last {
            return Ok((found, None));
        }
        if looked_at >= LOOKED_AT {
            return Ok((found, before));
        }
    }
}

impl Wanted {
    fn fits(&self, record: &Record) -> bool {
        let text = self.text.to_lowercase();
        let has = |of: &str| of.to_lowercase().contains(&text);
        (self.author.is_empty() || record.author == self.author)
            && record.action.starts_with(&self.action)
            && (text.is_empty() || has(&record.subject) || has(&record.detail) || has(&record.address))
    }
}

/// Removes records from before `until_ms`; the number of those that are gone.
///
/// # Errors
/// The store doesn't answer.
pub async fn forget(store: &dyn Store, until_ms: i64) -> Result<usize, StoreError> {
    let end = format!("{PREFIX}{:013}", until_ms.max(0));
    let mut gone = 0;
    loop {
        let old = store.list(PREFIX, None, 100).await?;
        let writes: Vec<Write> = old.into_iter().filter(|item| item.key < end).map(|i| Write::delete(i.key)).collect();
        if writes.is_empty() {
            return Ok(gone);
        }
        gone += writes.len();
        store.commit(Vec::new(), writes).await?;
    }
}

/// Refused logins, folded.
#[derive(Debug, Default)]
pub struct Refused {
    folded: Mutex<Folded>,
}

#[derive(Debug, Default)]
struct Folded {
    /// When the last record was made.
    told_ms: i64,
    count: u64,
    by_name: BTreeMap<String, u64>,
    by_address: BTreeMap<String, u64>,
}

impl Refused {
    /// A login was refused: the record to be written now, if any. `name`: of a user that there is; what else was typed
    /// there may be a password.
    pub fn add(&self, name: Option<&str>, address: &str, now_ms: i64) -> Option<Record> {
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name.unwrap_or("an unknown name");
        folded.count += 1;
        for (map, key) in [(0, name), (1, address)] {
            let map = if map == 0 { &mut folded.by_name } else { &mut folded.by_address };
            if map.len() < TOLD || map.contains_key(key) {
                *map.entry(key.to_owned()).or_default() += 1;
            }
        }
        folded.due(now_ms)
    }

    /// The record of what was folded, once it is time.
    pub fn due(&self, now_ms: i64) -> Option<Record> {
        self.folded.lock().unwrap_or_else(PoisonError::into_inner).due(now_ms)
    }
}

impl Folded {
    fn due(&mut self, now_ms: i64) -> Option<Record> {
        if self.count == 0 || now_ms < self.told_ms + FOLD_MS {
            return None;
        }
        let told = std::mem::take(self);
        self.told_ms = now_ms;
        let list = |map: &BTreeMap<String, u64>| map.keys().cloned().collect::<Vec<_>>().join(", ");
        let detail = if told.count == 1 {
            String::new()
        } else {
            format!("{} refused logins; among the addresses: {}", told.count, list(&told.by_address))
        };
        let address = told.by_address.keys().next().cloned().unwrap_or_default();
        let (author, action) = ("nobody".into(), "login.refused".into());
        Some(Record { time_ms: now_ms, author, address, action, subject: list(&told.by_name), detail })
    }
}

/// Writes one record by itself.
///
/// # Errors
/// The store doesn't answer, or there are no random numbers.
pub async fn tell(store: &dyn Store, record: &Record) -> Result<(), StoreError> {
    let write = record.write().map_err(|e| StoreError::Unavailable(e.to_string()))?;
    store.commit(Vec::new(), vec![write]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FileStore;

    #[test]
    fn ten_thousand_refused_logins_of_a_minute_are_two_records() {
        let refused = Refused::default();
        let first = refused.add(Some("anna"), "10.0.0.1", 1_000_000).unwrap();
        assert_eq!((first.subject.as_str(), first.detail.as_str()), ("anna", ""));
        for i in 0..10_000 {
            let address = format!("10.1.{}.{}", i / 256, i % 256);
            assert_eq!(refused.add(None, &address, 1_000_001 + i), None);
        }
        assert_eq!(refused.due(1_059_999), None);
        let rest = refused.due(1_060_000).unwrap();
        assert!(rest.detail.starts_with("10000 refused logins") && rest.detail.len() < 300, "{rest:?}");
        assert_eq!(rest.subject, "an unknown name");
        assert_eq!(refused.due(2_000_000), None);
    }

    #[actix_rt::test]
    async fn records_are_read_newest_first_by_what_is_wanted_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::new(dir.path().join("console.json"));
        for time_ms in 0..1_200_i64 {
            let (author, action) = (format!("user{}", time_ms % 2), if time_ms == 7 { "login" } else { "entries.put" });
            let (address, action, subject) = ("10.0.0.1".into(), action.to_owned(), format!("key {time_ms}"));
            let record = Record { time_ms, author, address, action, subject, detail: String::new() };
            tell(&store, &record).await.unwrap();
        }
        let wanted = Wanted { author: "user1".into(), size: 3, ..Wanted::default() };
        let (found, before) = read(&store, &wanted).await.unwrap();
        assert_eq!(found.iter().map(|(_, r)| r.time_ms).collect::<Vec<_>>(), [1199, 1197, 1195]);
        let (found, _) = read(&store, &Wanted { before, ..wanted }).await.unwrap();
        assert_eq!(found[0].1.time_ms, 1193);
        let login = Wanted { action: "login".into(), text: "KEY 7".into(), size: 10, ..Wanted::default() };
        assert_eq!(read(&store, &login).await.unwrap().0.len(), 1);
        assert_eq!(forget(&store, 1_000).await.unwrap(), 1_000);
        let all = Wanted { size: 1_000, ..Wanted::default() };
        let (left, more) = read(&store, &all).await.unwrap();
        assert_eq!((left.len(), left.last().unwrap().1.time_ms, more), (200, 1_000, None));
    }
}
