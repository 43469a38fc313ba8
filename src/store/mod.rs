//! Keys with revisions: etcd or files. The problem: what people change on the console (entries, users, sessions, saved
//! searches) lives in etcd where there is one, and in the data folder where `logweir standalone` is all there is; and
//! wherever it lives, two people change it at once, and a change and the record of it have to be there both or not at
//! all. So there is one small contract, [`Store`]: a [`Store::commit`] writes several keys, or none if one of the keys
//! that its author saw is another by now.
//!
//! ```text
//! EtcdStore   one etcd transaction a commit
//! FileStore   one file, replaced as a whole; single keys may be mounted on files that people edit, too, and the audit is
//!             only ever added to, in files of its own
//! ```
//! One test holds both to the contract (`conformance`).

mod etcd;
mod file;
mod place;

pub use etcd::EtcdStore;
pub use file::FileStore;
pub use place::{Access, replace_file};

use futures_util::future::BoxFuture;
use std::fmt;

/// Keys of records that are only ever added: who did what. They go on with the time (13 digits, milliseconds since 1970).
pub const AUDIT: &str = "/logweir/audit/";
/// Largest commit, keys and values together: what etcd takes as one request, less what the request itself needs.
pub const MAX_COMMIT_BYTES: usize = (3 << 19) - (16 << 10);
/// Most checks, and most writes, of one commit: etcd's own limit.
pub const MAX_COMMIT_KEYS: usize = 128;

/// One key with its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    pub key: String,
    pub value: Vec<u8>,
    /// Of its last change. All keys of one commit have the same, and a later commit has a higher one.
    pub revision: i64,
}

impl fmt::Debug for Item {
    /// Without the value: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Item({} at revision {}, {} bytes)", self.key, self.revision, self.value.len())
    }
}

/// What a commit rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The key's revision is still this (0: it isn't there).
    Revision { key: String, revision: i64 },
}

impl Check {
    pub fn revision(key: impl Into<String>, revision: i64) -> Self {
        Self::Revision { key: key.into(), revision }
    }

    pub fn absent(key: impl Into<String>) -> Self {
        Self::revision(key, 0)
    }

    /// The key is still as it was read.
    pub fn unchanged(item: &Item) -> Self {
        Self::revision(&item.key, item.revision)
    }

    pub fn key(&self) -> &str {
        let Self::Revision { key, .. } = self;
        key
    }
}

/// One change of a commit.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    Put {
        key: String,
        value: Vec<u8>,
    },
    /// A key that isn't there stays so.
    Delete {
        key: String,
    },
}

impl Write {
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put { key: key.into(), value: value.into() }
    }

    pub fn delete(key: impl Into<String>) -> Self {
        Self::Delete { key: key.into() }
    }

    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// Key and value together.
    pub fn bytes(&self) -> usize {
        self.key().len() + if let Self::Put { value, .. } = self { value.len() } else { 0 }
    }
}

impl fmt::Debug for Write {
    /// Without the value: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value } => write!(f, "Put({key}, {} bytes)", value.len()),
            Self::Delete { key } => write!(f, "Delete({key})"),
        }
    }
}

/// How a commit went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Everything is written; the revision of it.
    Done(i64),
    /// Somebody else was faster, nothing is written: what the checked keys are now. One that isn't there isn't named.
    Conflict(Vec<Item>),
}

/// A call that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store doesn't answer, or what it holds can't be read. Of a commit the text says where it isn't known whether
    /// it was done; to make the same commit again is safe if it checks what it writes.
    #[error("{0}")]
    Unavailable(String),
    /// More than fits into one commit; nothing is written.
    #[error("{0}")]
    TooLarge(String),
    /// The commit itself is none: a key stands twice in it. Nothing is written.
    #[error("{0}")]
    Refused(String),
}

/// Keys with revisions, in order of their names.
pub trait Store: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Item>, StoreError>>;

    /// At most `limit` keys that begin with `prefix`, in order; `after`: those behind this key.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Item>, StoreError>>;

    /// The same from the end, for histories, whose newest key is the last one; `before`: those before this key.
    fn list_last<'a>(
        &'a self,
        prefix: &'a str,
        before: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Item>, StoreError>>;

    /// The names and revisions of all keys that begin with `prefix`, in order.
    fn keys<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, i64)>, StoreError>>;

    /// Makes all writes if all checks hold, else none. The writes have no order.
    fn commit(&self, checks: Vec<Check>, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, StoreError>>;
}

/// What both stores refuse alike.
fn allowed(checks: &[Check], writes: &[Write]) -> Result<(), StoreError> {
    if checks.len() > MAX_COMMIT_KEYS || writes.len() > MAX_COMMIT_KEYS {
        let reason = format!("a commit has at most {MAX_COMMIT_KEYS} checks and {MAX_COMMIT_KEYS} writes");
        return Err(StoreError::TooLarge(reason));
    }
    let bytes: usize = writes.iter().map(Write::bytes).sum();
    if bytes > MAX_COMMIT_BYTES {
        let reason = format!("the change has {bytes} bytes, at most {MAX_COMMIT_BYTES} can be written at once");
        return Err(StoreError::TooLarge(reason));
    }
    let mut keys: Vec<&str> = writes.iter().map(Write::key).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(StoreError::Refused(format!("{} stands twice in one commit", pair[0]))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "../../tests/support/store_conformance.rs"]
mod conformance;
