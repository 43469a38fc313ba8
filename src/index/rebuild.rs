//! Fills the place of a damaged day. The problem: its lines may still stand in the files, but nobody wrote down which of
//! them were read on that day. What the journal says is settled and no day has, was on the damaged one.
//!
//! What can't be had again: when exactly a line was read (it gets the day's first millisecond), labels, and lines of
//! files that are gone.

use super::{Committed, Day, DayWriter, Fields, IndexError, IndexSet, Lines, WriterMemory};
use crate::{
    collection::Entry,
    document::FileDocuments,
    flow::{Credit, FileId, FileOrigin, PartitionRule},
    journal::FileRecord,
    messages::Line,
    tail,
};
use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc, time::Instant};
use tantivy::{DocSet, TERMINATED, Term, schema::IndexRecordOption};

/// Read at a time; more than the longest line.
const PIECE_BYTES: u64 = 4 << 20;

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    pub lines: u64,
    /// Files that the journal knows and that are not there any more (or hold something else).
    pub gone: Vec<PathBuf>,
}

/// Indexes again, as lines of `day`, what is settled in these files and in no day. Nobody else may write meanwhile.
///
/// # Errors
/// The index can't be read or written. Doing it again is safe.
pub fn rebuild(
    set: &IndexSet,
    day: Day,
    records: &[FileRecord],
    host: &str,
    memory: WriterMemory,
) -> Result<Rebuilt, IndexError> {
    let mut rebuilt = Rebuilt::default();
    let payload = set.payload(day)?;
    let mut writer = DayWriter::open(set, day, memory)?;
    for record in records.iter().filter(|record| record.settled > 0) {
        let Some(file) = open_known(record) else {
            rebuilt.gone.push(record.current_path.clone());
            continue;
        };
        let known = offsets(set, record.file).map_err(|error| IndexError::opening(day, &error))?;
        rebuilt.lines += add_missing(&mut writer, record, &file, &known, host)?;
    }
    // The day keeps what it says of the files: that is about batches, which these lines are not.
    writer.commit(&payload.unwrap_or_else(|| Committed::default().payload(&HashMap::new(), Instant::now())))?;
    set.finish(writer);
    Ok(rebuilt)
}

fn open_known(record: &FileRecord) -> Option<File> {
    let opened = tail::open(&record.current_path).ok()?;
    let same = (opened.dev, opened.ino) == (record.dev, record.ino) && opened.size >= record.settled;
    (same && tail::starts_like(&opened.file, &record.head).ok()?).then_some(opened.file)
}

/// Where the lines of this file begin that any day has, sorted.
fn offsets(set: &IndexSet, file: FileId) -> tantivy::Result<Vec<u64>> {
    let fields = Fields::get();
    let term = Term::from_field_u64(fields.file, file.0);
    let mut offsets = Vec::new();
    for day in set.snapshot() {
        for segment in day.searcher.segment_readers() {
            let column = segment.fast_fields().u64("offset")?;
            let postings = segment.inverted_index(fields.file)?.read_postings(&term, IndexRecordOption::Basic)?;
            let Some(mut postings) = postings else { continue };
            let mut doc = postings.doc();
            while doc != TERMINATED {
                offsets.extend(column.first(doc));
                doc = postings.advance();
            }
        }
    }
    offsets.sort_unstable();
    Ok(offsets)
}

fn add_missing(
    writer: &mut DayWriter,
    record: &FileRecord,
    file: &File,
    known: &[u64],
    host: &str,
) -> Result<u64, IndexError> {
    let origin = origin(record, host);
    let mut documents = FileDocuments::new(&origin, None);
    let shared: Arc<[_]> = documents.fields().iter().filter(|(name, _)| writer.limit().admits(name)).cloned().collect();
    let (mut begin, mut parts, mut added) = (0, 0, 0);
    while begin < record.settled {
        let piece = piece(file, begin, record.settled).map_err(|e| IndexError::io(&record.current_path, e))?;
        let last = begin + piece.len() as u64 == record.settled;
        let rest = if last { tail::Rest::File } else { tail::Rest::Wait };
        let cut = tail::cut(&piece, parts, Entry::DEFAULT_MAX_LINE_BYTES, rest, tail::MOST_LINES);
        let missing = |line: &Line| known.binary_search(&(begin + u64::from(line.start))).is_err();
        let lines: Vec<Line> = cut.lines.into_iter().filter(missing).collect();
        added += lines.len() as u64;
        if !lines.is_empty() {
            let read_ms = day_ms(writer.day());
            let lines = Lines::of(
                (piece.into(), lines, begin, read_ms),
                Credit::none(),
                origin.file,
                &mut documents,
                shared.clone(),
            );
            writer.add(lines)?;
        }
        if cut.consumed == 0 {
            break;
        }
        (begin, parts) = (begin + cut.consumed as u64, cut.parts_after);
    }
    Ok(added)
}

fn day_ms(day: Day) -> u64 {
    u64::try_from(day.begin_ms()).unwrap_or(0)
}

fn piece(file: &File, begin: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; (end - begin).min(PIECE_BYTES) as usize];
    file.read_exact_at(&mut piece, begin)?;
    Ok(piece)
}

fn origin(record: &FileRecord, host: &str) -> FileOrigin {
    use std::os::unix::ffi::OsStrExt;
    FileOrigin {
        id: record.id,
        topic: record.topic.as_str().into(),
        partition: PartitionRule::File,
        host: host.into(),
        file: record.file,
        entry: None,
        path: record.path.as_os_str().as_bytes().into(),
    }
}
