//! Fills the place of a damaged day of the index. The problem: its lines may still stand in the files, but a file doesn't
//! say which of them were read on that day, when, and with which labels. Three know something of that ([`Memory`]): the
//! damaged day's own columns, where they can be read; the journal, of the last megabytes of its ranges; and the other
//! days, by what they have themselves.
//!
//! What can't be had again: lines of files that are gone; time and labels of lines of which nobody knows any more. Those
//! stand at the day's first millisecond, and how many they are is told.

mod cuts;
mod find;
mod memory;
#[cfg(test)]
mod tests;

pub use memory::Memory;

use crate::{
    collection::Delivery,
    document::FileDocuments,
    flow::{Credit, FileOrigin, PartitionRule},
    index::{Committed, DayWriter, IndexError, IndexSet, Lines, WriterMemory},
    journal::FileRecord,
    messages::Line,
};
use cuts::Cuts;
use memory::{Told, When};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    pub lines: u64,
    /// Lines among them of which nobody knows when they were read, and with which labels.
    pub without_time: u64,
    /// Files that the journal knows and that are not there any more (or hold something else).
    pub gone: Vec<PathBuf>,
    /// Files that can't be read now; doing it again adds what is missing.
    pub unreadable: Vec<PathBuf>,
}

/// Indexes again what is settled in these files, in no day, and of the day of `memory`. Nobody else may write meanwhile.
///
/// # Errors
/// The index can't be read or written. Doing it again is safe.
pub fn rebuild(
    set: &IndexSet,
    memory: &Memory,
    records: &[FileRecord],
    host: &str,
    writer: WriterMemory,
) -> Result<Rebuilt, IndexError> {
    let (mut rebuilt, day) = (Rebuilt::default(), memory.day());
    // What is settled is on the disk, and what isn't is sent again: so nothing is missing, and nothing comes twice.
    let payload = set.payload(day)?;
    let mut writer = DayWriter::mend(set, day, writer)?;
    for record in records.iter().filter(|record| record.settled > 0) {
        let path = record.current_path.clone();
        let file = match find::find(record) {
            Ok(Some(file)) => file,
            Ok(None) => {
                rebuilt.gone.push(path);
                continue;
            }
            Err(error) => {
                slog_scope::warn!("a file can't be read now"; "path" => %path.display(), "reason" => %error);
                rebuilt.unreadable.push(path);
                continue;
            }
        };
        let known = set.offsets(record.file)?;
        let cuts = memory.cuts(record, &known);
        let origin = origin(record, host);
        Filling { writer: &mut writer, memory, known, cuts, documents: BTreeMap::new(), origin, rebuilt: &mut rebuilt }
            .fill(record, &file)?;
    }
    // The day keeps what it says of the files: that is about batches, which these lines are not.
    writer.commit(&payload.unwrap_or_else(|| Committed::default().payload(&HashMap::new(), Instant::now())))?;
    set.finish(writer);
    Ok(rebuilt)
}

/// One file on its way into the day.
struct Filling<'a> {
    writer: &'a mut DayWriter,
    memory: &'a Memory,
    /// Where the lines begin that some day has, sorted.
    known: Vec<u64>,
    cuts: Cuts,
    documents: BTreeMap<BTreeMap<String, String>, Documents>,
    origin: FileOrigin,
    rebuilt: &'a mut Rebuilt,
}

/// What lines of one file with the same labels share.
struct Documents {
    documents: FileDocuments,
    shared: Arc<[(Box<str>, Box<str>)]>,
}

impl Filling<'_> {
    fn fill(&mut self, record: &FileRecord, file: &File) -> Result<(), IndexError> {
        let (mut begin, mut parts) = (record.start, 0);
        while let Some(piece) = self.cuts.piece(begin) {
            let mut data = vec![0; (piece.end - begin) as usize];
            if let Err(error) = file.read_exact_at(&mut data, begin) {
                let path = record.current_path.clone();
                slog_scope::warn!("a file can't be read now"; "path" => %path.display(), "reason" => %error);
                self.rebuilt.unreadable.push(path);
                break;
            }
            let cut = self.cuts.cut(piece, &data, parts);
            self.add(&data, begin, &cut.lines)?;
            (begin, parts) = (begin + cut.consumed as u64, cut.parts_after);
        }
        Ok(())
    }

    /// Adds those that are missing, neighbours of one moment together.
    fn add(&mut self, piece: &[u8], begin: u64, lines: &[Line]) -> Result<(), IndexError> {
        let memory = self.memory;
        let mut group: Vec<Line> = Vec::new();
        let mut of: Option<Told<'_>> = None;
        for &line in lines {
            let offset = begin + u64::from(line.start);
            let missing = self.known.binary_search(&offset).is_err();
            let told = missing.then(|| memory.line(self.origin.file, offset)).flatten();
            if told != of {
                self.add_group(piece, begin, std::mem::take(&mut group), of.as_ref())?;
                of.clone_from(&told);
            }
            group.extend(told.is_some().then_some(line));
        }
        self.add_group(piece, begin, group, of.as_ref())
    }

    fn add_group(
        &mut self,
        piece: &[u8],
        begin: u64,
        mut lines: Vec<Line>,
        told: Option<&Told<'_>>,
    ) -> Result<(), IndexError> {
        let (Some(told), Some(first), Some(last)) = (told, lines.first().copied(), lines.last().copied()) else {
            return Ok(());
        };
        let count = lines.len() as u64;
        self.rebuilt.lines += count;
        if told.when == When::Unknown {
            self.rebuilt.without_time += count;
        }
        let data = piece[first.start as usize..(last.start + last.len) as usize].to_vec();
        lines.iter_mut().for_each(|line| line.start -= first.start);
        let bytes = (data.into(), lines, begin + u64::from(first.start), self.memory.read_ms(told));
        let file = self.origin.file;
        let documents = self.documents(&told.labels);
        let lines = Lines::of(bytes, Credit::none(), file, &mut documents.documents, documents.shared.clone());
        self.writer.add(lines)
    }

    fn documents(&mut self, labels: &BTreeMap<String, String>) -> &mut Documents {
        let (origin, limit) = (&self.origin, self.writer.limit());
        self.documents.entry(labels.clone()).or_insert_with(|| {
            let delivery = Delivery { labels: labels.clone(), index: None };
            let documents = FileDocuments::new(origin, Some(&delivery));
            let shared = documents.fields().iter().filter(|(name, _)| limit.admits(name)).cloned().collect();
            Documents { documents, shared }
        })
    }
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
