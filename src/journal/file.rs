//! One file in the journal's memory: what is pending, and the mark up to which all is settled.

use super::{
    FileRecord, Fingerprint, Range,
    record::{FileEntry, Mark, Record},
};
use crate::flow::{FileId, OriginId};
use std::{collections::VecDeque, path::Path, sync::Arc};

/// A journalled range that isn't in the settled prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub seq: u64,
    /// Settled, but one before it isn't.
    pub done: bool,
    pub range: Range,
}

/// The `seq` of a file's first range.
pub(super) const FIRST_SEQ: u64 = 1;

/// One file. There may be tens of thousands, nearly all idle, so it has no buffers and shares its topic.
#[derive(Clone, Debug)]
pub(super) struct FileState {
    pub file: FileId,
    pub path: Box<Path>,
    /// The name it was last seen under, where that is another one.
    pub current_path: Option<Box<Path>>,
    pub topic: Arc<str>,
    pub dev: u64,
    pub ino: u64,
    pub head: Fingerprint,
    /// Where reading began; 0 where nobody knows.
    pub start: u64,
    pub seen_ms: u64,
    pub next_seq: u64,
    pub mark: Mark,
    /// `mark` is not written down yet.
    pub dirty: bool,
    pub pending: VecDeque<Pending>,
}

impl FileState {
    pub fn new(entry: FileEntry, topic: Arc<str>) -> Self {
        Self {
            file: entry.file,
            path: entry.path.into_boxed_path(),
            current_path: None,
            topic,
            dev: entry.dev,
            ino: entry.ino,
            head: entry.head,
            // A snapshot says there how far all is settled, unless nothing was read yet.
            start: if entry.next_seq == FIRST_SEQ { entry.start } else { 0 },
            seen_ms: entry.seen_ms,
            next_seq: entry.next_seq,
            mark: Mark { position: entry.start, ..Mark::default() },
            dirty: false,
            pending: VecDeque::new(),
        }
    }

    /// All of it, as records. A file that wasn't read from its beginning has two of its own: as it was registered, and as
    /// it is.
    pub fn snapshot(&self, id: OriginId, mut push: impl FnMut(Record)) {
        let entry = |start, next_seq| FileEntry {
            id,
            file: self.file,
            path: self.path.to_path_buf(),
            topic: self.topic.to_string(),
            dev: self.dev,
            ino: self.ino,
            head: self.head,
            start,
            seen_ms: self.seen_ms,
            next_seq,
        };
        if self.start > 0 && self.next_seq > FIRST_SEQ {
            push(Record::File(Box::new(entry(self.start, FIRST_SEQ))));
        }
        push(Record::File(Box::new(entry(self.mark.position, self.next_seq))));
        if let Some(path) = &self.current_path {
            push(Record::Update { id, path: Some(path.to_path_buf()), head: None });
        }
        if self.mark.seq > 0 {
            push(Record::Settled { id, mark: self.mark });
        }
        for one in &self.pending {
            push(Record::Range { id, seq: one.seq, range: one.range });
        }
    }

    /// Gives back what a busy time took.
    pub fn trim(&mut self) {
        if self.pending.is_empty() {
            self.pending = VecDeque::new();
        }
    }

    /// Where reading goes on: position, parts before it, fingerprint before it.
    pub fn front(&self) -> (u64, u32, Fingerprint) {
        match self.pending.back() {
            Some(last) => (last.range.end, last.range.parts_after, last.range.back),
            None => (self.mark.position, self.mark.parts_before, self.mark.back),
        }
    }

    pub fn record(&self, id: OriginId) -> FileRecord {
        let (position, parts_before, back) = self.front();
        FileRecord {
            id,
            file: self.file,
            path: self.path.to_path_buf(),
            current_path: self.current_path.as_ref().unwrap_or(&self.path).to_path_buf(),
            topic: self.topic.to_string(),
            dev: self.dev,
            ino: self.ino,
            head: self.head,
            start: self.start,
            settled: self.mark.position,
            position,
            parts_before,
            back,
            pending: self.pending.iter().map(|one| (one.seq, one.range)).collect(),
        }
    }

    /// Moves the mark over the settled ranges at the front. Answers whether it moved.
    pub fn advance(&mut self) -> bool {
        let before = self.mark.seq;
        while let Some(Pending { seq, range, .. }) = self.pending.pop_front_if(|first| first.done) {
            self.mark = Mark { seq, position: range.end, parts_before: range.parts_after, back: range.back };
        }
        self.mark.seq != before
    }
}
