//! Whether the files of a day are as they were written. The problem: tantivy checks no content when it opens a file, and a
//! damaged one shows as a wrong answer much later. Each file ends with a checksum; here they are compared, by plain reads,
//! for what is mapped stays in the process's memory.

use super::{Day, IndexError};
use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read},
    path::Path,
};
use tantivy::{Index, SegmentMeta};

/// At the end of a file: a JSON text, its length and this number, both little-endian.
const MAGIC: u32 = 1337;
const TAIL_BYTES: u64 = 8;
const LONGEST_FOOTER: u64 = 50_000;

/// Files that every segment has.
const NEEDED: [&str; 5] = ["store", "fast", "idx", "term", "pos"];

#[derive(serde::Deserialize)]
struct Footer {
    crc: u32,
}

/// Looks whether the files of the day's last commit are there; answers its segments.
///
/// # Errors
/// [`IndexError::Damaged`], or they can't be read.
pub(super) fn all_there(index: &Index, folder: &Path, day: Day) -> Result<Vec<SegmentMeta>, IndexError> {
    let segments = || index.searchable_segment_metas().map_err(|error| IndexError::opening(day, &error));
    let found = segments()?;
    for segment in &found {
        let file = |end: &str| folder.join(format!("{}.{end}", segment.id().uuid_string()));
        let Some(missing) = NEEDED.iter().map(|end| file(end)).find(|file| !file.exists()) else { continue };
        // A merge may just have taken it away, with its segment.
        if segments()?.iter().any(|still| still.id() == segment.id()) {
            return Err(IndexError::Damaged { day, reason: format!("{}: it is gone", missing.display()) });
        }
    }
    Ok(found)
}

/// Compares all files of the day's last commit.
///
/// # Errors
/// [`IndexError::Damaged`], or they can't be read.
pub(super) fn verify(index: &Index, folder: &Path, day: Day) -> Result<(), IndexError> {
    let segments = all_there(index, folder, day)?;
    let ids: HashSet<String> = segments.iter().map(|segment| segment.id().uuid_string()).collect();
    let files = std::fs::read_dir(folder).map_err(|e| IndexError::io(folder, e))?;
    for path in files.flatten().map(|file| file.path()) {
        let id = path.file_name().and_then(|name| name.to_str()?.split('.').next().map(str::to_owned));
        if !id.is_some_and(|id| ids.contains(&id)) {
            continue;
        }
        match is_whole(&path) {
            Ok(true) => {}
            Ok(false) => {
                return Err(IndexError::Damaged { day, reason: format!("{}: wrong checksum", path.display()) });
            }
            // A merge may just have taken it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(IndexError::io(path, error)),
        }
    }
    Ok(())
}

fn is_whole(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let Some(footer) = footer(&file, size)? else { return Ok(false) };
    let mut rest = footer.0;
    let (mut hasher, mut buffer) = (crc32fast::Hasher::new(), vec![0; 1 << 20]);
    while rest > 0 {
        let want = buffer.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..want])?;
        hasher.update(&buffer[..want]);
        rest -= want as u64;
    }
    Ok(hasher.finalize() == footer.1.crc)
}

/// The content of a small file as a whole; `None` where its checksum is wrong.
pub(super) fn content(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut content = std::fs::read(path)?;
    let Some((length, known)) = footer(&File::open(path)?, content.len() as u64)? else { return Ok(None) };
    content.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    Ok((crc32fast::hash(&content) == known.crc).then_some(content))
}

/// Length of the content before the footer, and the footer; `None` where there is none.
fn footer(file: &File, size: u64) -> io::Result<Option<(u64, Footer)>> {
    use std::os::unix::fs::FileExt;
    let Some(end) = size.checked_sub(TAIL_BYTES) else { return Ok(None) };
    let mut tail = [0; TAIL_BYTES as usize];
    file.read_exact_at(&mut tail, end)?;
    let [a, b, c, d, rest @ ..] = tail;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    if u32::from_le_bytes(rest) != MAGIC || length > LONGEST_FOOTER.min(end) {
        return Ok(None);
    }
    let mut text = vec![0; length as usize];
    file.read_exact_at(&mut text, end - length)?;
    Ok(serde_json::from_slice(&text).ok().map(|footer| (end - length, footer)))
}
