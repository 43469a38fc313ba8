//! One collection entry: which files, to which topic, how. The problem: two things must know "the same entry" again.
//! The agent, when a value changes (its path and topic identify it), and the transfer, which gets only eight hex
//! digits in a record's key and has to find labels and index by them, also after the entry has changed or gone.

use crate::flow::{EntryId, PartitionRule};
use std::collections::BTreeMap;

/// Where a file is read from when it is first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Beginning,
    /// Only for files that are there when the entry is first applied; later files are read from their beginning.
    End,
}

/// One collection entry, validated: which files, to which topic, how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A file, a glob or a folder; absolute (already joined to `base_dir`), without a `/` at its end.
    pub path: String,
    /// Kafka topic.
    pub topic: String,
    /// Globs of files to leave out, absolute or beginning with `**/`.
    pub exclude: Vec<String>,
    pub start: Start,
    /// A longer line is split; bytes.
    pub max_line_bytes: u32,
    pub partition: PartitionRule,
    pub labels: BTreeMap<String, String>,
    /// Template of the Elasticsearch index.
    pub index: Option<String>,
}

/// The fields of an entry that the transfer needs; what ENTRY in the Kafka key is the hash of.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
}

/// What identifies an entry among all merged ones: its path (pattern) and topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    pub path: String,
    pub topic: String,
}

impl std::fmt::Display for EntryKey {
    /// Stable: the journal remembers entries by it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.topic, self.path)
    }
}

impl Entry {
    /// Split length of lines without a `max_line_bytes` of their own; bytes.
    pub const DEFAULT_MAX_LINE_BYTES: u32 = 512 << 10;

    /// An entry without optional fields.
    pub fn plain(path: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            topic: topic.into(),
            exclude: Vec::new(),
            start: Start::default(),
            max_line_bytes: Self::DEFAULT_MAX_LINE_BYTES,
            partition: PartitionRule::default(),
            labels: BTreeMap::new(),
            index: None,
        }
    }

    pub fn key(&self) -> EntryKey {
        EntryKey { path: self.path.clone(), topic: self.topic.clone() }
    }

    /// What the transfer needs of this entry.
    pub fn delivery(&self) -> Delivery {
        Delivery { labels: self.labels.clone(), index: self.index.clone() }
    }

    /// ENTRY; `None` for an entry without delivery fields.
    pub fn id(&self) -> Option<EntryId> {
        self.delivery().id()
    }
}

impl Delivery {
    /// The text that is kept under `/logweir/entry/<ENTRY>`: JSON with its fields and labels in a fixed order, so that
    /// equal fields have an equal text. A field added by a later version is left out while it is empty, so the text of
    /// an entry that doesn't use it stays.
    pub fn canonical(&self) -> String {
        // A map of strings and a string can't fail to serialize.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// CRC-32C of the canonical text: 8 hex digits, and texts that differ little never collide. Two that do collide are
    /// told when the second is published: it is refused, not mixed up. `None` without delivery fields.
    pub fn id(&self) -> Option<EntryId> {
        (*self != Self::default()).then(|| EntryId(crc32c::crc32c(self.canonical().as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_without_delivery_fields_has_no_id_and_one_with_them_a_stable_one() {
        let mut entry = Entry::plain("/a", "t");
        assert_eq!(entry.id(), None);
        entry.index = Some("app-%Y".into());
        entry.labels = [("team", "shop"), ("env", "live")].map(|(k, v)| (k.into(), v.into())).into();
        let text = r#"{"labels":{"env":"live","team":"shop"},"index":"app-%Y"}"#;
        assert_eq!(entry.delivery().canonical(), text);
        assert_eq!(entry.id(), Some(EntryId(crc32c::crc32c(text.as_bytes()))));
        assert_eq!(entry.id().map(|id| id.to_string()).as_deref(), Some("415fcdc5"), "stable over versions");
        assert_eq!(serde_json::from_str::<Delivery>(text).unwrap(), entry.delivery());
    }
}
