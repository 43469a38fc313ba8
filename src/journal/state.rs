//! What the journal knows, in memory. The problem: settled marks come in any order, and a position may only move over
//! what is settled without a gap. All changes that a record describes go through [`State::apply`], live and when the
//! journal is read again, so that both end the same.

use super::{
    FileRecord, JournalError, Range,
    file::{FIRST_SEQ, FileState, Pending},
    format::Batch,
    record::{FileEntry, Mark, Record},
};
use crate::flow::{FileId, OriginId};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
    sync::Arc,
};

/// A range that is missing between others: it and what comes after it is read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub file: FileId,
    pub begin: u64,
    pub end: u64,
}

/// What became of a settled batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The journal has no such range pending: it was settled before, or its file is forgotten.
    Unknown,
    /// Settled; the position can't move yet, because an earlier range isn't.
    Waiting,
    /// The position has moved.
    Moved,
}

/// Files and remembered entries.
#[derive(Clone, Debug)]
pub(super) struct State {
    files: BTreeMap<OriginId, FileState>,
    entries: BTreeSet<String>,
    next_id: OriginId,
    topics: HashSet<Arc<str>>,
    dirty: Vec<OriginId>,
    pending: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            entries: BTreeSet::new(),
            next_id: 1,
            topics: HashSet::new(),
            dirty: Vec::new(),
            pending: 0,
        }
    }
}

impl State {
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Ranges that are journalled and not in a settled prefix.
    pub fn pending(&self) -> usize {
        self.pending
    }

    pub fn next_id(&self) -> OriginId {
        self.next_id
    }

    /// Leaves room for numbers that lost records may have named.
    pub fn skip_ids(&mut self) {
        self.next_id = self.next_id.saturating_add(1 << 20);
    }

    pub fn has_entry(&self, key: &str) -> bool {
        self.entries.contains(key)
    }

    pub fn look_up(&self, id: OriginId) -> Option<FileRecord> {
        self.files.get(&id).map(|file| file.record(id))
    }

    pub fn contains(&self, id: OriginId) -> bool {
        self.files.contains_key(&id)
    }

    pub fn records(&self) -> impl Iterator<Item = FileRecord> {
        self.files.iter().map(|(&id, file)| file.record(id))
    }

    pub fn entries(&self) -> impl Iterator<Item = &String> {
        self.entries.iter()
    }

    /// Files of which nothing is pending and nothing was written since `before_ms`: number and last known name.
    pub fn idle_since(&self, before_ms: u64) -> impl Iterator<Item = (OriginId, &Path, u64, u64)> {
        let idle = move |file: &&FileState| file.pending.is_empty() && file.seen_ms < before_ms;
        self.files
            .iter()
            .filter(move |(_, file)| idle(file))
            .map(|(&id, file)| (id, file.current_path.as_deref().unwrap_or(&file.path), file.dev, file.ino))
    }

    /// The `seq` that a range gets.
    ///
    /// # Errors
    /// The file is unknown, or the range doesn't begin where the last one ends.
    pub fn seq_for(&self, id: OriginId, range: &Range) -> Result<u64, JournalError> {
        let file = self.files.get(&id).ok_or(JournalError::UnknownFile(id))?;
        let (position, ..) = file.front();
        if range.begin != position || range.end <= range.begin {
            return Err(JournalError::OutOfOrder { file: id, position, begin: range.begin, end: range.end });
        }
        Ok(file.next_seq)
    }

    /// Takes a record over. `false`: it is of a file that isn't known.
    pub fn apply(&mut self, record: Record) -> bool {
        match record {
            Record::Base { next_id, .. } => self.next_id = self.next_id.max(next_id),
            Record::File(file) => self.insert(*file),
            Record::Range { id, seq, range } => return self.append(id, seq, range),
            Record::Settled { id, mark } => return self.set_mark(id, mark),
            Record::Update { id, path, head } => {
                let Some(file) = self.files.get_mut(&id) else { return false };
                if let Some(path) = path {
                    file.current_path = (*path != *file.path).then(|| path.into_boxed_path());
                }
                file.head = head.unwrap_or(file.head);
            }
            Record::Forget { id } => match self.files.remove(&id) {
                Some(file) => self.pending -= file.pending.len(),
                None => return false,
            },
            Record::Entry(key) => _ = self.entries.insert(key),
            Record::TakenOver => {}
        }
        true
    }

    fn insert(&mut self, entry: FileEntry) {
        let topic = match self.topics.get(entry.topic.as_str()) {
            Some(topic) => topic.clone(),
            None => {
                let topic: Arc<str> = entry.topic.as_str().into();
                self.topics.insert(topic.clone());
                topic
            }
        };
        self.next_id = self.next_id.max(entry.id.saturating_add(1));
        let (id, mut file) = (entry.id, FileState::new(entry, topic));
        if let Some(replaced) = self.files.remove(&id) {
            self.pending -= replaced.pending.len();
            if replaced.file == file.file && file.next_seq > FIRST_SEQ {
                file.start = replaced.start;
            }
        }
        self.files.insert(id, file);
    }

    fn append(&mut self, id: OriginId, seq: u64, range: Range) -> bool {
        // Of a lost file only its number is known: it isn't given to another.
        self.next_id = self.next_id.max(id.saturating_add(1));
        let Some(file) = self.files.get_mut(&id) else { return false };
        file.next_seq = file.next_seq.max(seq.saturating_add(1));
        file.seen_ms = file.seen_ms.max(range.read_ms);
        if seq <= file.mark.seq {
            return true;
        }
        // After a hole the file was read again from there: what is written later counts.
        while file.pending.pop_back_if(|last| last.range.end > range.begin || last.seq >= seq).is_some() {
            self.pending -= 1;
        }
        file.pending.push_back(Pending { seq, done: false, range });
        self.pending += 1;
        true
    }

    fn set_mark(&mut self, id: OriginId, mark: Mark) -> bool {
        let Some(file) = self.files.get_mut(&id) else { return false };
        file.next_seq = file.next_seq.max(mark.seq.saturating_add(1));
        if mark.seq >= file.mark.seq {
            file.mark = mark;
            while file.pending.pop_front_if(|first| first.seq <= mark.seq).is_some() {
                self.pending -= 1;
            }
        }
        true
    }

    /// Ends the reading of a journal: ranges behind a hole are dropped, so that reading goes on at the hole.
    pub fn close_holes(&mut self) -> Vec<Hole> {
        let mut holes = Vec::new();
        for file in self.files.values_mut() {
            let mut position = file.mark.position;
            let gap = file.pending.iter().position(|one| {
                let gap = one.range.begin != position;
                if !gap {
                    position = one.range.end;
                }
                gap
            });
            if let Some(gap) = gap {
                holes.push(Hole { file: file.file, begin: position, end: file.pending[gap].range.begin });
                self.pending -= file.pending.len() - gap;
                file.pending.truncate(gap);
            }
        }
        holes
    }

    /// A batch is delivered.
    pub fn settle(&mut self, id: OriginId, seq: u64) -> Settlement {
        let Some(file) = self.files.get_mut(&id) else { return Settlement::Unknown };
        let Ok(at) = file.pending.binary_search_by_key(&seq, |one| one.seq) else { return Settlement::Unknown };
        let one = &mut file.pending[at];
        if std::mem::replace(&mut one.done, true) {
            return Settlement::Unknown;
        }
        let before = file.pending.len();
        let moved = file.advance();
        self.pending -= before - file.pending.len();
        if !moved {
            return Settlement::Waiting;
        }
        if !std::mem::replace(&mut file.dirty, true) {
            self.dirty.push(id);
        }
        Settlement::Moved
    }

    pub fn topic(&self, id: OriginId) -> Option<&Arc<str>> {
        Some(&self.files.get(&id)?.topic)
    }

    /// The last `seq` that was given out for a file, and the last one of its settled prefix.
    pub fn progress(&self, id: OriginId) -> Option<(u64, u64)> {
        let file = self.files.get(&id)?;
        Some((file.pending.back().map_or(file.mark.seq, |last| last.seq), file.mark.seq))
    }

    /// Whether marks have moved that aren't written down.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub fn is_file_dirty(&self, id: OriginId) -> bool {
        self.files.get(&id).is_some_and(|file| file.dirty)
    }

    /// The moved marks.
    pub fn marks(&self) -> impl Iterator<Item = Record> {
        self.dirty.iter().filter_map(|&id| Some(Record::Settled { id, mark: self.files.get(&id)?.mark }))
    }

    /// The moved marks are written down.
    pub fn marks_written(&mut self) {
        for id in self.dirty.drain(..) {
            if let Some(file) = self.files.get_mut(&id) {
                file.dirty = false;
                file.trim();
            }
        }
    }

    /// Everything, as the records that a new segment begins with.
    pub fn snapshot(&self) -> Batch {
        let mut body = Batch::default();
        let mut push = |record: Record| {
            // Each part of a snapshot was a record before, so it fits.
            let fits = body.push(&record);
            debug_assert!(fits);
        };
        for (&id, file) in &self.files {
            file.snapshot(id, &mut push);
        }
        for key in &self.entries {
            push(Record::Entry(key.clone()));
        }
        let mut all = Batch::default();
        let _fits = all.push(&Record::Base { next_id: self.next_id, records: body.count() as u64 });
        all.extend(&body);
        all
    }

    /// For an oracle that has to notice: other identities, or no pending ranges.
    pub fn mutate(&mut self, fresh_ids: bool, skip_pending: bool, mut draw: impl FnMut() -> FileId) {
        for file in self.files.values_mut() {
            if fresh_ids {
                file.file = draw();
            }
            if let (true, Some(last)) = (skip_pending, file.pending.back().copied()) {
                self.pending -= file.pending.len();
                file.pending.clear();
                let Range { end, back, .. } = last.range;
                file.mark = Mark { seq: last.seq, position: end, parts_before: last.range.parts_after, back };
            }
        }
    }
}
