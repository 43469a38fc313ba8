//! What stands in the store's own file: all keys but those of the audit.

use crate::store::Item;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Bound};

/// The whole store.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Content {
    pub version: u32,
    /// Of the last commit.
    pub revision: i64,
    pub items: BTreeMap<String, Record>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub revision: i64,
    #[serde(flatten)]
    pub value: Value,
}

/// A value as it stands in the file, where people can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|e| Self::Bytes(e.into_bytes()), Self::Text)
    }
}

impl Value {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Content {
    pub fn put(&mut self, key: String, value: Option<Vec<u8>>) {
        match value {
            Some(value) => _ = self.items.insert(key, Record { revision: self.revision, value: value.into() }),
            None => _ = self.items.remove(&key),
        }
    }

    /// Takes out all keys of which this holds.
    pub fn take_out(&mut self, holds: impl Fn(&str) -> bool) -> BTreeMap<String, Record> {
        let (out, left) = std::mem::take(&mut self.items).into_iter().partition(|(key, _)| holds(key));
        self.items = left;
        out
    }

    pub fn item(&self, key: &str) -> Option<Item> {
        self.items.get_key_value(key).map(item)
    }

    pub fn range(&self, prefix: &str, after: Option<&str>) -> impl DoubleEndedIterator<Item = (&String, &Record)> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        // The last bound of a prefix is no text, so it is found by looking.
        let end = self.items.range::<str, _>((from, Bound::Unbounded)).find(|(key, _)| !key.starts_with(prefix));
        let to = end.map_or(Bound::Unbounded, |(key, _)| Bound::Excluded(key.as_str()));
        self.items.range::<str, _>((from, to))
    }
}

pub fn item((key, record): (&String, &Record)) -> Item {
    Item { key: key.clone(), value: record.value.bytes().to_vec(), revision: record.revision }
}
