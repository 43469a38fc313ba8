//! What a record of the journal says, and its bytes: a kind byte, then LEB128 numbers, lengths before texts, and hashes
//! as they are. The problem: a busy agent writes thousands of ranges a second, and no payload, however wrong, may do
//! more than be refused.

use super::{Fingerprint, Range, RangeEnd};
use crate::flow::{EntryId, FileId, OriginId, PartitionRule};
use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// Everything up to a position of a file is settled, and what stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Of the last range of the settled prefix; 0 before the first.
    pub seq: u64,
    pub position: u64,
    /// Parts of the line at `position` that are settled.
    pub parts_before: u32,
    /// Of the 64 bytes before `position`.
    pub back: Fingerprint,
}

/// A file as the journal first writes it down, or as a snapshot does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileEntry {
    pub id: OriginId,
    pub file: FileId,
    pub path: PathBuf,
    pub topic: String,
    pub dev: u64,
    pub ino: u64,
    pub head: Fingerprint,
    pub start: u64,
    /// When something was last written about it, milliseconds since 1970.
    pub seen_ms: u64,
    pub next_seq: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The first one of a segment: its snapshot has this many records after this one.
    Base {
        next_id: OriginId,
        records: u64,
    },
    File(Box<FileEntry>),
    Range {
        id: OriginId,
        seq: u64,
        range: Range,
    },
    Settled {
        id: OriginId,
        mark: Mark,
    },
    Update {
        id: OriginId,
        path: Option<PathBuf>,
        head: Option<Fingerprint>,
    },
    Forget {
        id: OriginId,
    },
    Entry(String),
    /// The snapshot, and what was written while it was made, are complete: the older segment isn't needed.
    TakenOver,
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_path(out: &mut Vec<u8>, path: &Path) {
    put_bytes(out, path.as_os_str().as_bytes());
}

fn put_fingerprint(out: &mut Vec<u8>, of: &Fingerprint) {
    out.push(of.len);
    if of.len > 0 {
        out.extend_from_slice(&of.hash.to_le_bytes());
    }
}

/// Bits of a range's flags: 0-1 what stands at the end, 2 an entry follows, 3-4 the partition rule.
fn put_range(out: &mut Vec<u8>, range: &Range) {
    let end = match range.ends_with {
        RangeEnd::Line => 0,
        RangeEnd::Part => 1,
        RangeEnd::File => 2,
    };
    let (rule, number) = match range.partition {
        PartitionRule::File => (0, None),
        PartitionRule::Random => (1, None),
        PartitionRule::RoundRobin => (2, None),
        PartitionRule::Number(number) => (3, Some(number)),
    };
    out.push(end | u8::from(range.entry.is_some()) << 2 | rule << 3);
    put(out, range.begin);
    put(out, range.end.saturating_sub(range.begin));
    put(out, range.read_ms);
    put(out, u64::from(range.parts_before));
    if range.ends_with == RangeEnd::Part {
        put(out, u64::from(range.parts_after));
    }
    put(out, u64::from(range.max_line_bytes));
    if let Some(EntryId(entry)) = range.entry {
        out.extend_from_slice(&entry.to_le_bytes());
    }
    if let Some(number) = number {
        out.extend_from_slice(&number.to_le_bytes());
    }
    put_fingerprint(out, &range.back);
}

fn put_file(out: &mut Vec<u8>, file: &FileEntry) {
    put(out, file.id);
    out.extend_from_slice(&file.file.0.to_le_bytes());
    put_path(out, &file.path);
    put_bytes(out, file.topic.as_bytes());
    put(out, file.dev);
    put(out, file.ino);
    put_fingerprint(out, &file.head);
    put(out, file.start);
    put(out, file.seen_ms);
    put(out, file.next_seq);
}

/// Appends the payload of a record.
pub(super) fn encode(out: &mut Vec<u8>, record: &Record) {
    match record {
        Record::Base { next_id, records } => {
            out.push(1);
            put(out, *next_id);
            put(out, *records);
        }
        Record::File(file) => {
            out.push(2);
            put_file(out, file);
        }
        Record::Range { id, seq, range } => {
            out.push(3);
            put(out, *id);
            put(out, *seq);
            put_range(out, range);
        }
        Record::Settled { id, mark } => {
            out.push(4);
            put(out, *id);
            put(out, mark.seq);
            put(out, mark.position);
            put(out, u64::from(mark.parts_before));
            put_fingerprint(out, &mark.back);
        }
        Record::Update { id, path, head } => {
            out.push(5);
            put(out, *id);
            out.push(u8::from(path.is_some()) | u8::from(head.is_some()) << 1);
            if let Some(path) = path {
                put_path(out, path);
            }
            if let Some(head) = head {
                put_fingerprint(out, head);
            }
        }
        Record::Forget { id } => {
            out.push(6);
            put(out, *id);
        }
        Record::Entry(key) => {
            out.push(7);
            put_bytes(out, key.as_bytes());
        }
        Record::TakenOver => out.push(8),
    }
}

/// What is left of a payload.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return None;
            }
            n |= bits << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.number()?.try_into().ok()?;
        self.take(len)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(PathBuf::from(OsString::from_vec(self.bytes()?.to_vec())))
    }

    fn fingerprint(&mut self) -> Option<Fingerprint> {
        let len = self.byte()?;
        let hash = if len > 0 { u64::from_le_bytes(self.array()?) } else { 0 };
        Some(Fingerprint { len, hash })
    }

    fn range(&mut self) -> Option<Range> {
        let flags = self.byte()?;
        let begin = self.number()?;
        let end = begin.checked_add(self.number()?)?;
        let (read_ms, parts_before) = (self.number()?, self.small()?);
        let ends_with = match flags & 3 {
            0 => RangeEnd::Line,
            1 => RangeEnd::Part,
            2 => RangeEnd::File,
            _ => return None,
        };
        let parts_after = if ends_with == RangeEnd::Part { self.small()? } else { 0 };
        let max_line_bytes = self.small()?;
        let entry = if flags & 4 != 0 { Some(EntryId(u32::from_le_bytes(self.array()?))) } else { None };
        let partition = match flags >> 3 {
            0 => PartitionRule::File,
            1 => PartitionRule::Random,
            2 => PartitionRule::RoundRobin,
            3 => PartitionRule::Number(i32::from_le_bytes(self.array()?)),
            _ => return None,
        };
        let back = self.fingerprint()?;
        Some(Range {
            begin,
            end,
            read_ms,
            parts_before,
            ends_with,
            parts_after,
            max_line_bytes,
            entry,
            partition,
            back,
        })
    }

    fn file(&mut self) -> Option<FileEntry> {
        Some(FileEntry {
            id: self.number()?,
            file: FileId(u64::from_le_bytes(self.array()?)),
            path: self.path()?,
            topic: self.text()?,
            dev: self.number()?,
            ino: self.number()?,
            head: self.fingerprint()?,
            start: self.number()?,
            seen_ms: self.number()?,
            next_seq: self.number()?,
        })
    }

    fn mark(&mut self) -> Option<Mark> {
        Some(Mark {
            seq: self.number()?,
            position: self.number()?,
            parts_before: self.small()?,
            back: self.fingerprint()?,
        })
    }

    fn record(&mut self) -> Option<Record> {
        Some(match self.byte()? {
            1 => Record::Base { next_id: self.number()?, records: self.number()? },
            2 => Record::File(Box::new(self.file()?)),
            3 => Record::Range { id: self.number()?, seq: self.number()?, range: self.range()? },
            4 => Record::Settled { id: self.number()?, mark: self.mark()? },
            5 => {
                let id = self.number()?;
                let flags = self.byte()?;
                let path = if flags & 1 != 0 { Some(self.path()?) } else { None };
                let head = if flags & 2 != 0 { Some(self.fingerprint()?) } else { None };
                Record::Update { id, path, head }
            }
            6 => Record::Forget { id: self.number()? },
            7 => Record::Entry(self.text()?),
            8 => Record::TakenOver,
            _ => return None,
        })
    }
}

/// The record of a payload; `None` when it isn't one of this version, to its last byte.
pub(super) fn decode(payload: &[u8]) -> Option<Record> {
    let mut reader = Reader(payload);
    let record = reader.record()?;
    reader.0.is_empty().then_some(record)
}
