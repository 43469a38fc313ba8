//! The entries of several keys as one set, and what changed in it. The problem: a change of one key, or a value that is
//! refused, must touch nothing but what it is about. So every key keeps its last good entries, and only the difference
//! between the merged sets goes out.

use super::entry::{Entry, EntryKey};
use std::collections::BTreeMap;

/// What changed between two merged sets of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectionDiff {
    pub added: Vec<Entry>,
    /// Entries of a known key with other fields (their new state).
    pub changed: Vec<Entry>,
    pub removed: Vec<EntryKey>,
}

impl CollectionDiff {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// The last good entries of each key (or file), and what they are together.
#[derive(Debug, Default)]
pub struct Collections {
    /// Keys in the order of the templates: for the same path and topic the later one wins.
    order: Vec<String>,
    values: BTreeMap<String, Vec<Entry>>,
    merged: BTreeMap<EntryKey, Entry>,
}

impl Collections {
    /// `order`: the keys; a later one wins. Keys that come without being named here are in alphabetical order before.
    pub fn new(order: Vec<String>) -> Self {
        Self { order, ..Self::default() }
    }

    /// New keys, for example because the machine has another address now; the values of keys that are gone go at the
    /// next [`Collections::diff`].
    pub fn reorder(&mut self, order: Vec<String>) {
        self.values.retain(|key, _| order.contains(key));
        self.order = order;
    }

    /// A key's value was taken over.
    pub fn set(&mut self, key: &str, entries: Vec<Entry>) {
        self.values.insert(key.into(), entries);
    }

    /// A key was deleted.
    pub fn remove(&mut self, key: &str) {
        self.values.remove(key);
    }

    /// Keys that have a value.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The entries of each key, unmerged.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.values.iter().flat_map(|(key, entries)| entries.iter().map(move |entry| (key.as_str(), entry)))
    }

    /// The merged entries as of the last [`Collections::diff`].
    pub fn merged(&self) -> impl Iterator<Item = &Entry> {
        self.merged.values()
    }

    /// The difference to the last call.
    pub fn diff(&mut self) -> CollectionDiff {
        let unnamed = self.values.iter().filter(|(key, _)| !self.order.contains(key)).map(|(_, entries)| entries);
        let named = self.order.iter().filter_map(|key| self.values.get(key));
        let all = unnamed.chain(named).flatten();
        let new: BTreeMap<EntryKey, Entry> = all.map(|entry| (entry.key(), entry.clone())).collect();
        let old = std::mem::replace(&mut self.merged, new);
        let mut diff = CollectionDiff::default();
        for (key, entry) in &self.merged {
            match old.get(key) {
                None => diff.added.push(entry.clone()),
                Some(before) if before != entry => diff.changed.push(entry.clone()),
                Some(_) => {}
            }
        }
        diff.removed = old.into_keys().filter(|key| !self.merged.contains_key(key)).collect();
        diff
    }

    /// Nothing has been told to anyone: the next diff names every entry as added.
    pub fn forget_told(&mut self) {
        self.merged.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, bytes: u32) -> Entry {
        Entry { max_line_bytes: bytes, ..Entry::plain(path, "t") }
    }

    #[test]
    fn only_what_changed_is_told_and_the_later_key_wins() {
        let mut all = Collections::new(vec!["b".into(), "a".into()]);
        all.set("b", vec![entry("/1", 100), entry("/2", 100)]);
        assert_eq!(all.diff().added, [entry("/1", 100), entry("/2", 100)]);
        assert!(all.diff().is_empty());
        all.set("a", vec![entry("/2", 200), entry("/3", 100)]);
        let diff = all.diff();
        assert_eq!((diff.added, diff.changed), (vec![entry("/3", 100)], vec![entry("/2", 200)]));
        all.remove("a");
        let diff = all.diff();
        assert_eq!((diff.changed, diff.removed), (vec![entry("/2", 100)], vec![entry("/3", 100).key()]));
        all.set("b", vec![]);
        assert_eq!(all.diff().removed.len(), 2);
    }

    #[test]
    fn after_a_restart_of_the_receiver_everything_is_told_again() {
        let mut all = Collections::default();
        all.set("any", vec![entry("/1", 100)]);
        assert_eq!(all.diff().added.len(), 1);
        all.forget_told();
        assert_eq!(all.diff().added.len(), 1);
    }
}
