//! What a day that was set aside still says of its lines. The problem: damage is mostly in one file of several, and the
//! columns, each segment's own small file, tell of every line where it stood, when it was read and which labels it had:
//! what the log files themselves can't tell. A file counts only when its checksum is right.

use super::{IndexError, checksum, folder::META};
use crate::flow::FileId;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
};
use tantivy::{
    columnar::{Column, ColumnarReader, DynamicColumn, StrColumn},
    directory::FileSlice,
};

type Labels = BTreeMap<String, String>;

/// Between the names of a path in a column's name.
const DIVIDER: char = '\u{1}';

/// Lines of one day, by file and offset.
#[derive(Debug, Default)]
pub struct Salvage {
    /// FILE, offset, READ_MS and number of the labels; sorted.
    lines: Vec<(u64, u64, u64, u32)>,
    labels: Vec<Labels>,
    numbers: HashMap<Labels, u32>,
    /// All lines of the day are among these.
    whole: bool,
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Meta {
    segments: Vec<MetaSegment>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct MetaSegment {
    segment_id: String,
}

impl Meta {
    fn read(aside: &Path) -> Option<Self> {
        fs::read(aside.join(META)).ok().and_then(|text| serde_json::from_slice(&text).ok())
    }
}

impl Salvage {
    /// Reads what there is. What can't be read is left out.
    pub fn read(aside: &Path) -> Self {
        let mut salvage = Self::default();
        let (columns, whole) = columns_of(aside);
        salvage.whole = whole;
        for path in columns {
            // tantivy relies on what it checks elsewhere.
            let read = std::panic::catch_unwind(|| Segment::open(&path).and_then(|segment| segment.lines()));
            match read.unwrap_or_else(|_| Err(io::Error::other("it makes no sense"))) {
                Ok(lines) => salvage.add(lines),
                Err(error) => {
                    salvage.whole = false;
                    slog_scope::warn!("columns of a damaged day can't be read"; "path" => %path.display(), "reason" => %error);
                }
            }
        }
        salvage.lines.sort_unstable();
        salvage
    }

    /// Says that a day had these segments, too: what named them may be gone, or name others since.
    pub(super) fn name_segments(aside: &Path, ids: Vec<String>) -> Result<(), IndexError> {
        let path = aside.join(META);
        let mut meta = Meta::read(aside).unwrap_or_default();
        meta.segments.extend(ids.into_iter().map(|segment_id| MetaSegment { segment_id }));
        let text = serde_json::to_vec(&meta).map_err(io::Error::from);
        text.and_then(|text| fs::write(&path, text)).map_err(|error| IndexError::io(path, error))
    }

    fn add(&mut self, SegmentLines { lines, labels }: SegmentLines) {
        let mut number = |of: Labels| {
            *self.numbers.entry(of).or_insert_with_key(|of| {
                self.labels.push(of.clone());
                self.labels.len() as u32 - 1
            })
        };
        let numbers: Vec<u32> = labels.into_iter().map(&mut number).collect();
        let known = |(file, offset, time, labels): (u64, u64, u64, u32)| (file, offset, time, numbers[labels as usize]);
        self.lines.extend(lines.into_iter().map(known));
    }

    /// READ_MS and labels of a line of this day.
    pub fn line(&self, file: FileId, offset: u64) -> Option<(u64, &Labels)> {
        let at = self.lines.partition_point(|line| (line.0, line.1) < (file.0, offset));
        let line = self.lines.get(at).filter(|line| (line.0, line.1) == (file.0, offset))?;
        Some((line.2, &self.labels[line.3 as usize]))
    }

    /// Where the lines of this file begin, in their order.
    pub fn offsets(&self, file: FileId) -> Vec<u64> {
        let from = self.lines.partition_point(|line| line.0 < file.0);
        self.lines[from..].iter().take_while(|line| line.0 == file.0).map(|line| line.1).collect()
    }

    /// Whether a line that isn't here was not of this day.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Of how many lines it knows.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// The files of columns, and whether those are all there ever were.
fn columns_of(aside: &Path) -> (Vec<PathBuf>, bool) {
    if let Some(meta) = Meta::read(aside) {
        let name = |segment: &MetaSegment| format!("{}.fast", segment.segment_id.replace('-', ""));
        // Some are named twice: by the day itself, and when it was set aside.
        let names: BTreeSet<String> = meta.segments.iter().map(name).collect();
        return (names.into_iter().map(|name| aside.join(name)).collect(), true);
    }
    let files = fs::read_dir(aside).into_iter().flatten().flatten().map(|file| file.path());
    (files.filter(|path| path.extension().is_some_and(|end| end == "fast")).collect(), false)
}

/// The lines of one segment, each with its number among the labels.
struct SegmentLines {
    lines: Vec<(u64, u64, u64, u32)>,
    labels: Vec<Labels>,
}

struct Segment {
    docs: u32,
    time: Column<i64>,
    offset: Column<u64>,
    file: Column<u64>,
    labels: Vec<(String, StrColumn)>,
}

impl Segment {
    fn open(path: &Path) -> io::Result<Self> {
        let bytes = checksum::content(path)?.ok_or_else(|| io::Error::other("wrong checksum"))?;
        let reader = ColumnarReader::open(FileSlice::from(bytes))?;
        let (mut time, mut offset, mut file, mut labels) = (None, None, None, Vec::new());
        let prefix = format!("{}{DIVIDER}labels{DIVIDER}", super::Fields::DYNAMIC);
        for (name, handle) in reader.list_columns()? {
            match (handle.open()?, name.as_str()) {
                (DynamicColumn::I64(column), "time") => time = Some(column),
                (DynamicColumn::U64(column), "offset") => offset = Some(column),
                (DynamicColumn::U64(column), "file") => file = Some(column),
                (DynamicColumn::Str(column), name) => {
                    if let Some(label) = name.strip_prefix(&prefix) {
                        labels.push((label.replace(DIVIDER, "."), column));
                    }
                }
                _ => {}
            }
        }
        let missing = || io::Error::other("a column is missing");
        let (time, offset) = (time.ok_or_else(missing)?, offset.ok_or_else(missing)?);
        Ok(Self { docs: reader.num_docs(), time, offset, file: file.ok_or_else(missing)?, labels })
    }

    fn lines(&self) -> io::Result<SegmentLines> {
        let (mut lines, mut labels) = (Vec::with_capacity(self.docs as usize), Vec::new());
        let mut known: HashMap<Vec<(usize, u64)>, u32> = HashMap::new();
        let mut key = Vec::new();
        for doc in 0..self.docs {
            let (Some(file), Some(offset), Some(time)) =
                (self.file.first(doc), self.offset.first(doc), self.time.first(doc))
            else {
                return Err(io::Error::other("a line without a place"));
            };
            key.clear();
            let values = self.labels.iter().enumerate();
            key.extend(values.filter_map(|(label, (_, column))| Some((label, column.term_ords(doc).next()?))));
            let number = match known.get(&key) {
                Some(number) => *number,
                None => {
                    labels.push(self.labels(&key)?);
                    *known.entry(key.clone()).insert_entry(labels.len() as u32 - 1).get()
                }
            };
            lines.push((file, offset, u64::try_from(time).unwrap_or(0), number));
        }
        Ok(SegmentLines { lines, labels })
    }

    fn labels(&self, key: &[(usize, u64)]) -> io::Result<Labels> {
        let mut labels = Labels::new();
        for &(label, value) in key {
            let (name, column) = &self.labels[label];
            let mut text = String::new();
            column.ord_to_str(value, &mut text)?;
            labels.insert(name.clone(), text);
        }
        Ok(labels)
    }
}
