//! What is still known of the lines of one day.

use super::cuts::Cuts;
use crate::{
    collection::Delivery,
    flow::{EntryId, FileId},
    index::{Day, Salvage},
    journal::{FileRecord, Range},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// When a line was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    AtMs(u64),
    /// Nobody knows, and it may have been on this day.
    Unknown,
}

/// What is told of a line of this day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told<'a> {
    pub when: When,
    pub labels: Cow<'a, BTreeMap<String, String>>,
}

/// Who knows something of the lines of a damaged day.
pub struct Memory {
    day: Day,
    salvage: Salvage,
    /// In order, none over another.
    ranges: HashMap<FileId, Vec<Range>>,
    delivery: Box<dyn Fn(EntryId) -> Option<Arc<Delivery>>>,
    limit: Box<Limit>,
}

/// How long the lines of a file may be by now, where that is known.
type Limit = dyn Fn(&FileRecord) -> Option<u32>;

impl Memory {
    /// `salvage`: of the damaged day's folder. `ranges`: what the journal still has, in the order in which it was written.
    pub fn new(
        day: Day,
        salvage: Salvage,
        ranges: &[(FileId, Range)],
        delivery: impl Fn(EntryId) -> Option<Arc<Delivery>> + 'static,
    ) -> Self {
        let mut by_file: HashMap<FileId, Vec<Range>> = HashMap::new();
        for (file, range) in ranges {
            let known = by_file.entry(*file).or_default();
            // What was written later counts.
            while known.pop_if(|last| last.end > range.begin).is_some() {}
            known.push(*range);
        }
        Self { day, salvage, ranges: by_file, delivery: Box::new(delivery), limit: Box::new(|_| None) }
    }

    /// Knows how long the lines of a file may be, by the entry that it belongs to now.
    #[must_use]
    pub fn with_limits(mut self, limit: impl Fn(&FileRecord) -> Option<u32> + 'static) -> Self {
        self.limit = Box::new(limit);
        self
    }

    /// How a file was cut. `known`: where the lines begin that some day has, sorted.
    pub(super) fn cuts(&self, record: &FileRecord, known: &[u64]) -> Cuts {
        let mut starts = self.salvage.offsets(record.file);
        starts.extend(known);
        starts.sort_unstable();
        starts.dedup();
        let ranges = self.ranges.get(&record.file).map_or(&[][..], Vec::as_slice);
        Cuts::new(record, ranges, starts, self.salvage.is_whole(), (self.limit)(record))
    }

    pub fn day(&self) -> Day {
        self.day
    }

    /// `None`: the line was read on another day.
    pub(super) fn line(&self, file: FileId, offset: u64) -> Option<Told<'_>> {
        if let Some((read_ms, labels)) = self.salvage.line(file, offset) {
            return Some(Told { when: When::AtMs(read_ms), labels: Cow::Borrowed(labels) });
        }
        if let Some(range) = self.range(file, offset) {
            let delivery = range.entry.and_then(|entry| (self.delivery)(entry));
            let labels = delivery.map(|delivery| delivery.labels.clone()).unwrap_or_default();
            let told = Told { when: When::AtMs(range.read_ms), labels: Cow::Owned(labels) };
            return (Day::of_ms(range.read_ms) == self.day).then_some(told);
        }
        let unknown = Told { when: When::Unknown, labels: Cow::Owned(BTreeMap::new()) };
        (!self.salvage.is_whole()).then_some(unknown)
    }

    fn range(&self, file: FileId, offset: u64) -> Option<&Range> {
        let ranges = self.ranges.get(&file)?;
        let behind = ranges.partition_point(|range| range.begin <= offset);
        ranges[..behind].last().filter(|range| offset < range.end)
    }

    /// The time that the line gets.
    pub(super) fn read_ms(&self, told: &Told<'_>) -> u64 {
        match told.when {
            When::AtMs(ms) => ms,
            When::Unknown => u64::try_from(self.day.begin_ms()).unwrap_or(0),
        }
    }
}
