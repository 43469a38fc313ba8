//! Reading a segment whatever is left of it. The problem: a crash tears the last record, a bad disk damages one
//! anywhere, and neither may cost more than the records concerned, or be passed over in silence.

use super::{
    JournalError, Range,
    format::{self, HEADER, VERSION},
    record::{self, Record},
    state::State,
};
use crate::flow::FileId;
use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
};

/// What was found wrong with a journal and how it was read around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalvageReport {
    pub path: PathBuf,
    /// First byte concerned.
    pub offset: u64,
    /// Bytes concerned.
    pub len: u64,
    pub damage: Damage,
}

impl SalvageReport {
    pub(super) fn unfinished(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: 0, len: 0, damage: Damage::Unfinished }
    }
}

/// See [`SalvageReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The last record was not written whole: usual after a power failure, and cut off.
    TornTail,
    /// The header is not readable. The records were read all the same.
    Header,
    /// One or several records are not readable. Their ranges are sent again.
    Records,
    /// A sound record that means nothing to this program.
    UnknownRecord,
    /// The segment's snapshot has fewer records (by at least this number) than it was written with.
    MissingRecords { missing: u64 },
    /// Records of files whose own record is lost: those files are collected again under new identities.
    LostFiles { records: u64 },
    /// A range between others is lost: the file is read again from there.
    Hole { file: FileId, begin: u64, end: u64 },
    /// The segment holds no record at all.
    Unreadable,
    /// A segment that was to replace the one before it, when the power failed: that one is used.
    Unfinished,
}

impl Damage {
    /// Something that was written down, and promised to be, is lost. What isn't is usual after a power failure.
    pub fn is_loss(&self) -> bool {
        !matches!(self, Self::TornTail | Self::Unfinished)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornTail => write!(f, "the last record was not written whole and is cut off"),
            Self::Header => write!(f, "the header is damaged"),
            Self::Records => write!(f, "records are damaged; what they said is sent again"),
            Self::UnknownRecord => write!(f, "a record of an unknown kind is skipped"),
            Self::MissingRecords { missing } => write!(f, "{missing} records of the snapshot are missing"),
            Self::LostFiles { records } => {
                write!(f, "{records} records belong to lost files, which are collected again under new identities")
            }
            Self::Hole { file, begin, end } => {
                write!(f, "the range {begin}..{end} of file {file} is lost; it is read again from there")
            }
            Self::Unreadable => write!(f, "nothing in the segment is readable"),
            Self::Unfinished => write!(f, "the segment was not complete; the one before it is used"),
        }
    }
}

impl fmt::Display for SalvageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ({} bytes): {}", self.path.display(), self.offset, self.len, self.damage)
    }
}

/// A segment, read.
#[derive(Debug)]
pub(super) struct Replay {
    pub state: State,
    pub reports: Vec<SalvageReport>,
    /// Bytes up to the end of the last sound record.
    pub good_len: u64,
    /// Bytes of its snapshot.
    pub base_len: u64,
    /// Sound records.
    pub records: u64,
    /// What the segment began with is all there.
    pub whole: bool,
}

impl Replay {
    pub fn is_readable(&self) -> bool {
        self.records > 0
    }
}

struct Reading<'a> {
    bytes: &'a [u8],
    path: &'a Path,
    number: u64,
    replay: Replay,
    orphans: u64,
    /// Records that the snapshot should have, from its first record.
    expected: Option<u64>,
}

/// Reads segment `number` from its bytes.
///
/// # Errors
/// [`JournalError::Version`] when a newer program wrote it.
pub(super) fn replay(bytes: &[u8], path: &Path, number: u64) -> Result<Replay, JournalError> {
    let replay = Replay {
        state: State::default(),
        reports: Vec::new(),
        good_len: HEADER as u64,
        base_len: 0,
        records: 0,
        whole: false,
    };
    let mut reading = Reading { bytes, path, number, replay, orphans: 0, expected: None };
    match format::read_header(bytes, number) {
        Some(found) if found > VERSION => {
            return Err(JournalError::Version { path: path.to_owned(), found, known: VERSION });
        }
        Some(_) => {}
        None => reading.report(0, bytes.len().min(HEADER), Damage::Header),
    }
    reading.records();
    reading.finish();
    Ok(reading.replay)
}

/// All ranges in the bytes of segment `number`, also settled ones, in the order in which they were written.
pub(super) fn ranges(bytes: &[u8], number: u64) -> Vec<(FileId, Range)> {
    let (mut files, mut ranges, mut at) = (HashMap::new(), Vec::new(), HEADER);
    while let Some(found) = format::next_record(bytes, number, at) {
        let Some(payload) = format::record_at(bytes, number, found) else { break };
        at = found + format::FRAME + payload.len();
        match record::decode(payload) {
            Some(Record::File(file)) => _ = files.insert(file.id, file.file),
            Some(Record::Range { id, range, .. }) => ranges.extend(files.get(&id).map(|&file| (file, range))),
            _ => {}
        }
    }
    ranges
}

impl Reading<'_> {
    fn report(&mut self, offset: usize, len: usize, damage: Damage) {
        let (offset, len) = (offset as u64, len as u64);
        self.replay.reports.push(SalvageReport { path: self.path.to_owned(), offset, len, damage });
    }

    fn records(&mut self) {
        let mut at = HEADER;
        while at < self.bytes.len() {
            if let Some(payload) = format::record_at(self.bytes, self.number, at) {
                self.record(at, payload);
                at += format::FRAME + payload.len();
                self.replay.good_len = at as u64;
            } else if let Some(next) = format::next_record(self.bytes, self.number, at) {
                self.report(at, next - at, Damage::Records);
                at = next;
            } else {
                self.report(at, self.bytes.len() - at, Damage::TornTail);
                return;
            }
        }
    }

    fn record(&mut self, at: usize, payload: &[u8]) {
        self.replay.records += 1;
        let len = format::FRAME + payload.len();
        let Some(record) = record::decode(payload) else { return self.report(at, len, Damage::UnknownRecord) };
        match record {
            Record::Base { records, .. } => self.expected = Some(records),
            Record::TakenOver => {
                self.replay.base_len = (at + len) as u64;
                self.replay.whole = self.replay.reports.is_empty();
            }
            _ => {}
        }
        if !self.replay.state.apply(record) {
            self.orphans += 1;
        }
    }

    fn finish(&mut self) {
        let len = self.bytes.len();
        if self.replay.records == 0 {
            return self.report(0, len, Damage::Unreadable);
        }
        // Records that were appended later make up for the number, not for the loss; that was reported where it is.
        let missing = self.expected.map_or(0, |expected| (expected + 1).saturating_sub(self.replay.records));
        // Without the record that ends the beginning, nobody knows what stood before it.
        let cut_off = !self.replay.whole && !self.replay.reports.iter().any(|report| report.damage.is_loss());
        if missing > 0 || cut_off {
            self.report(0, len, Damage::MissingRecords { missing: missing.max(1) });
        }
        if self.orphans > 0 {
            self.report(0, len, Damage::LostFiles { records: self.orphans });
        }
        for hole in self.replay.state.close_holes() {
            self.report(0, len, Damage::Hole { file: hole.file, begin: hole.begin, end: hole.end });
        }
    }
}
