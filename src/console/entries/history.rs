//! What a key held, who changed it and when. A record stands at
//!
//! ```text
//! /logweir/history/<key>/<20 digits>      {time_ms, author, from, text, revision?, omitted_bytes?}
//! ```
//! and holds the text *after* the change (`null`: the key was deleted). The digits are the revision that was replaced; for
//! a key that was not there, one more than the record before; for a change from outside, one less than what it made, so
//! that several consoles that notice it write the same key. A record that was written with its change has the change's
//! revision as its own; one that was written afterwards names it in `revision`.

use crate::store::{Item, Store, StoreError, Write};
use serde::{Deserialize, Serialize};

/// Before the key.
pub const PREFIX: &str = "/logweir/history/";
/// Records of a key.
pub const KEPT: usize = 200;
/// Old records that go with one change.
pub(super) const PRUNED_AT_ONCE: usize = 50;

/// Which way a change came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum From {
    #[serde(rename = "console")]
    Console,
    #[serde(rename = "command line")]
    CommandLine,
    /// By another etcd client, or an editor. Nobody knows who it was.
    #[serde(rename = "outside")]
    Outside,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub time_ms: i64,
    pub author: String,
    pub from: From,
    /// What the key held then; `None`: it was deleted.
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// The text was too long to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted_bytes: Option<usize>,
}

/// A record with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The digits of its key.
    pub at: i64,
    /// Of the key's value after this change; `None`: it was deleted from outside.
    pub made: Option<i64>,
    pub record: Record,
}

impl Record {
    pub(super) fn write(&self, key: &str, at: i64) -> Write {
        // Strings and numbers: it can't fail.
        Write::put(place(key, at), serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The key of a record.
pub(super) fn place(key: &str, at: i64) -> String {
    format!("{PREFIX}{key}/{at:020}")
}

/// What the records of a key begin with. The digits of revisions that there are begin like that; the names of keys
/// below this one don't.
fn begin(key: &str) -> String {
    format!("{PREFIX}{key}/00000")
}

fn digits<'r>(key: &str, record_key: &'r str) -> Option<&'r str> {
    let digits = record_key.strip_prefix(PREFIX)?.strip_prefix(key)?.strip_prefix('/')?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

fn read(key: &str, item: &Item) -> Option<Placed> {
    let at = digits(key, &item.key)?.parse().ok()?;
    let record: Record = serde_json::from_slice(&item.value).ok()?;
    let made = match record.from {
        From::Outside => record.revision,
        _ => Some(item.revision),
    };
    Some(Placed { at, made, record })
}

/// The records of a key, newest first; `before`: those before this one.
///
/// # Errors
/// The store doesn't answer.
pub async fn records(
    store: &dyn Store,
    key: &str,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<Placed>, StoreError> {
    let (mut found, mut before) = (Vec::new(), before.map(|at| place(key, at)));
    while found.len() < limit {
        let wanted = limit - found.len();
        let items = store.list_last(&begin(key), before.as_deref(), wanted).await?;
        found.extend(items.iter().filter_map(|item| read(key, item)));
        if items.len() < wanted {
            break;
        }
        before = items.into_iter().last().map(|item| item.key);
    }
    Ok(found)
}

/// One record.
///
/// # Errors
/// The store doesn't answer.
pub async fn record(store: &dyn Store, key: &str, at: i64) -> Result<Option<Placed>, StoreError> {
    Ok(store.get(&place(key, at)).await?.and_then(|item| read(key, &item)))
}

/// The oldest records that have to go, so that with `new` more there are not too many.
///
/// # Errors
/// The store doesn't answer.
pub(super) async fn too_old(store: &dyn Store, key: &str, new: usize) -> Result<Vec<Write>, StoreError> {
    let all = store.keys(&begin(key)).await?;
    let all: Vec<String> = all.into_iter().map(|(name, _)| name).filter(|name| digits(key, name).is_some()).collect();
    let many = (all.len() + new).saturating_sub(KEPT).min(PRUNED_AT_ONCE);
    Ok(all.into_iter().take(many).map(Write::delete).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FileStore;

    #[actix_rt::test]
    async fn the_records_of_a_key_are_its_own_whatever_other_keys_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::new(dir.path().join("console.json"));
        let record = |text: &str| Record {
            time_ms: 1,
            author: "a".into(),
            from: From::Console,
            text: Some(text.into()),
            revision: None,
            omitted_bytes: None,
        };
        for (key, at) in [("/x", 3), ("/x", 40), ("/x/000001", 5), ("/x/10.0.0.1", 6), ("x", 7)] {
            let write = record(&format!("{key} {at}")).write(key, at);
            store.commit(vec![], vec![write]).await.unwrap();
        }
        store.commit(vec![], vec![Write::put(place("/x", 50), "no record")]).await.unwrap();
        // Those of keys below it, which stand behind, take no room on the page.
        let found = records(&store, "/x", None, 3).await.unwrap();
        assert_eq!(found.iter().map(|p| p.record.text.clone().unwrap()).collect::<Vec<_>>(), ["/x 40", "/x 3"]);
        assert_eq!(records(&store, "/x", Some(40), 9).await.unwrap()[0].at, 3);
        assert_eq!(record_of(&store).await, "/x/10.0.0.1 6");
    }

    async fn record_of(store: &FileStore) -> String {
        super::record(store, "/x/10.0.0.1", 6).await.unwrap().unwrap().record.text.unwrap()
    }

    #[actix_rt::test]
    async fn of_many_records_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::new(dir.path().join("console.json"));
        for from in [0, 100] {
            let writes = (from..from + 100).map(|at| Write::put(place("/x", at), "{}")).collect();
            store.commit(vec![], writes).await.unwrap();
        }
        assert!(too_old(&store, "/x", 0).await.unwrap().is_empty());
        assert_eq!(
            too_old(&store, "/x", 2).await.unwrap(),
            [Write::delete(place("/x", 0)), Write::delete(place("/x", 1))]
        );
    }
}
