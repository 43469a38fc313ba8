//! From values to a difference. The problem: values come in any order, repeatedly, some of them wrong, and what runs may
//! only be touched by a good one that says something new. So each key remembers the last value it has judged, and a
//! refused one leaves the key's last good entries as they were.

use super::{CollectionDiff, Collections, Entry, Refusal, parse_entries};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// A key (or file) and its value as it was found.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    pub source: &'a str,
    pub bytes: &'a [u8],
    /// etcd's mod revision; `None` for a file, which is judged anew each time.
    pub revision: Option<i64>,
}

/// What became of one key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Taken over; so many entries.
    Accepted {
        source: String,
        revision: Option<i64>,
        entries: usize,
    },
    Refused(Refusal),
    /// The key has gone, and its entries with it.
    Gone {
        source: String,
    },
}

/// The entries of all keys of this process, and what its neighbours were told. It outlives the actor that feeds it, so
/// that after a restart only what changed meanwhile is told.
#[derive(Debug)]
pub struct Intake {
    base_dir: PathBuf,
    /// Entries may have labels or an index: there is an etcd where the transfer can look them up.
    delivery_fields: bool,
    collections: Collections,
    /// Revision of the last value that was judged, good or not.
    judged: BTreeMap<String, i64>,
}

impl Intake {
    /// `order`: the keys; for the same path and topic a later one wins.
    pub fn new(base_dir: PathBuf, order: Vec<String>, delivery_fields: bool) -> Self {
        Self { base_dir, delivery_fields, collections: Collections::new(order), judged: BTreeMap::new() }
    }

    /// Judges the value of one key.
    pub fn put(&mut self, value: &Value<'_>) -> Option<Judgement> {
        let source = value.source.to_owned();
        if let Some(revision) = value.revision
            && self.judged.insert(source.clone(), revision).is_some_and(|before| before == revision)
        {
            return None;
        }
        let judged = parse_entries(value.bytes, &self.base_dir);
        let refuse = |mistake| Some(Judgement::Refused(Refusal::new(&source, value.revision, mistake)));
        let entries = match judged {
            Ok(entries) => entries,
            Err(mistake) => return refuse(mistake),
        };
        if let Some(entry) = entries.iter().find(|e| !self.delivery_fields && e.id().is_some()) {
            let reason = format!(
                "the entry for {:?} has labels or an index, which the transfer looks up in etcd, but [etcd] endpoints is empty",
                entry.path
            );
            return refuse(super::Mistake { place: None, reason });
        }
        let count = entries.len();
        self.collections.set(&source, entries);
        Some(Judgement::Accepted { source, revision: value.revision, entries: count })
    }

    /// The key was deleted.
    pub fn delete(&mut self, source: &str) -> Option<Judgement> {
        let known = self.judged.remove(source).is_some();
        self.collections.remove(source);
        known.then(|| Judgement::Gone { source: source.into() })
    }

    /// Everything there is: a key that isn't named is gone.
    pub fn snapshot(&mut self, values: &[Value<'_>]) -> Vec<Judgement> {
        let there: BTreeSet<&str> = values.iter().map(|v| v.source).collect();
        let gone: Vec<String> = self.judged.keys().filter(|k| !there.contains(k.as_str())).cloned().collect();
        let gone = gone.iter().filter_map(|key| self.delete(key)).collect::<Vec<_>>();
        gone.into_iter().chain(values.iter().filter_map(|value| self.put(value))).collect()
    }

    /// This machine has other keys now (another address).
    pub fn reorder(&mut self, order: Vec<String>) {
        self.judged.retain(|key, _| order.contains(key));
        self.collections.reorder(order);
    }

    /// What is new since the last call.
    pub fn diff(&mut self) -> CollectionDiff {
        self.collections.diff()
    }

    /// All entries as one difference, for a neighbour that has forgotten everything.
    pub fn all(&mut self) -> CollectionDiff {
        self.collections.forget_told();
        self.collections.diff()
    }

    /// The topics of all entries.
    pub fn topics(&self) -> BTreeSet<String> {
        self.collections.merged().map(|e: &Entry| e.topic.clone()).collect()
    }

    /// Every topic with the key or file that names it.
    pub fn named_topics(&self) -> impl Iterator<Item = (&str, &str)> {
        self.collections.entries().map(|(source, entry)| (source, entry.topic.as_str()))
    }

    /// Number of merged entries.
    pub fn entries(&self) -> usize {
        self.collections.merged().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = br#"[{"path":"/a","topic":"t"}]"#;

    fn value<'a>(source: &'a str, bytes: &'a [u8], revision: i64) -> Value<'a> {
        Value { source, bytes, revision: Some(revision) }
    }

    fn intake() -> Intake {
        Intake::new("/".into(), vec!["k".into(), "l".into()], true)
    }

    #[test]
    fn a_refused_value_leaves_what_runs_and_a_later_good_one_is_taken() {
        let mut intake = intake();
        assert!(matches!(intake.put(&value("k", GOOD, 1)), Some(Judgement::Accepted { entries: 1, .. })));
        assert_eq!(intake.diff().added.len(), 1);
        let Some(Judgement::Refused(refusal)) = intake.put(&value("k", b"[{\n\"path\":\"\",\"topic\":\"t\"}]", 2))
        else {
            panic!("must be refused")
        };
        assert_eq!(refusal.to_string(), "k (revision 2) line 2 column 8: \"path\" is empty");
        assert!(intake.diff().is_empty());
        intake.put(&value("k", b"[]", 3));
        assert_eq!(intake.diff().removed.len(), 1);
    }

    #[test]
    fn a_refused_value_of_one_key_touches_no_other() {
        let mut intake = intake();
        let judged = intake.snapshot(&[value("k", b"{}", 1), value("l", GOOD, 2)]);
        assert!(matches!(&judged[..], [Judgement::Refused(_), Judgement::Accepted { .. }]));
        assert_eq!(intake.diff().added.len(), 1);
    }

    #[test]
    fn a_value_is_judged_once_and_a_key_that_a_list_does_not_name_is_gone() {
        let mut intake = intake();
        assert_eq!(intake.snapshot(&[value("k", GOOD, 1), value("l", b"no", 2)]).len(), 2);
        assert!(intake.snapshot(&[value("k", GOOD, 1), value("l", b"no", 2)]).is_empty());
        assert_eq!(intake.diff().added.len(), 1);
        let gone = intake.snapshot(&[value("l", b"no", 2)]);
        assert_eq!(gone, [Judgement::Gone { source: "k".into() }]);
        assert_eq!(intake.diff().removed.len(), 1);
    }

    #[test]
    fn without_etcd_an_entry_that_needs_it_is_refused() {
        let mut intake = Intake::new("/".into(), vec![], false);
        let labelled = br#"[{"path":"/a","topic":"t","labels":{"a":"b"}}]"#;
        let Some(Judgement::Refused(refusal)) = intake.put(&Value { source: "f", bytes: labelled, revision: None })
        else {
            panic!("must be refused")
        };
        assert!(refusal.reason.contains("[etcd] endpoints is empty"), "{refusal}");
    }
}
