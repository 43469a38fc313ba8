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
/// Bytes of a key's records.
pub const KEPT_BYTES: usize = 4 << 20;
/// A record up to here isn't weighed: even [`KEPT`] of them are small beside [`KEPT_BYTES`], and to weigh the records is to
/// read them all.
const LIGHT: usize = 8 << 10;
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
    /// Of a change from outside: when one of this key was last told in the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audited_ms: Option<i64>,
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
    /// Whether this value is what it records.
    pub(super) fn holds(&self, value: &[u8]) -> bool {
        self.omitted_bytes.is_none() && self.text.as_ref().is_some_and(|text| text.as_bytes() == value)
    }

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

/// The oldest records that have to go, so that with these new ones (and what else is written) there are neither too many
/// nor too many bytes of them. The new ones stay, whatever they weigh.
///
/// # Errors
/// The store doesn't answer.
pub(super) async fn too_old(store: &dyn Store, key: &str, writes: &[Write]) -> Result<Vec<Write>, StoreError> {
    let own = |write: &&Write| matches!(write, Write::Put { .. }) && digits(key, write.key()).is_some();
    let (new, bytes) = writes.iter().filter(own).fold((0, 0), |(n, bytes), write| (n + 1, bytes + write.bytes()));
    let all = store.keys(&begin(key)).await?;
    let all: Vec<String> = all.into_iter().map(|(name, _)| name).filter(|name| digits(key, name).is_some()).collect();
    let room = KEPT.saturating_sub(new);
    let room =
        if bytes > LIGHT { room.min(fitting(store, key, KEPT_BYTES.saturating_sub(bytes)).await?) } else { room };
    let many = all.len().saturating_sub(room).min(PRUNED_AT_ONCE);
    Ok(all.into_iter().take(many).map(Write::delete).collect())
}

/// How many of the newest records fit into so many bytes.
async fn fitting(store: &dyn Store, key: &str, mut bytes: usize) -> Result<usize, StoreError> {
    const PIECE: usize = 8;
    let (mut count, mut before) = (0, None::<String>);
    loop {
        let items = store.list_last(&begin(key), before.as_deref(), PIECE).await?;
        for item in items.iter().filter(|item| digits(key, &item.key).is_some()) {
            match bytes.checked_sub(item.key.len() + item.value.len()) {
                Some(left) => bytes = left,
                None => return Ok(count),
            }
            count += 1;
        }
        if items.len() < PIECE {
            return Ok(count);
        }
        before = items.into_iter().last().map(|item| item.key);
    }
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
            audited_ms: None,
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
        assert!(too_old(&store, "/x", &[]).await.unwrap().is_empty());
        let new = [200, 201].map(|at| Write::put(place("/x", at), "{}"));
        assert_eq!(
            too_old(&store, "/x", &new).await.unwrap(),
            [Write::delete(place("/x", 0)), Write::delete(place("/x", 1))]
        );
    }

    #[actix_rt::test]
    async fn of_many_bytes_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::new(dir.path().join("console.json"));
        let large = |at: i64| Write::put(place("/x", at), "x".repeat(1 << 20));
        for at in 1..7 {
            store.commit(vec![], vec![large(at)]).await.unwrap();
        }
        // A key below it is another one.
        store.commit(vec![], vec![Write::put(place("/x/000001", 1), "x".repeat(1 << 20))]).await.unwrap();
        assert!(
            too_old(&store, "/x", &[Write::put(place("/x", 7), "{}")]).await.unwrap().is_empty(),
            "nothing is weighed"
        );
        let gone = too_old(&store, "/x", &[large(7)]).await.unwrap();
        assert_eq!(gone, [1, 2, 3, 4].map(|at| Write::delete(place("/x", at))), "two and the new one stay");
        let huge = Write::put(place("/x", 7), "x".repeat(KEPT_BYTES + 1));
        assert_eq!(too_old(&store, "/x", &[huge]).await.unwrap().len(), 6, "the new one stays alone");
    }
}
