//! The agent's own dead letters: records that the broker refuses for good. The problem: they can't go to Kafka, and
//! they must not disappear. So they are appended to one file, synced to the disk before the batch settles.
//!
//! One JSON object a line: `time_ms`, `topic`, `partition` (absent where none was chosen), `code` and `reason` of the
//! broker, `key` and `value` in base64, `part` where the line was split. At least once: the same key may stand there
//! twice after a crash. The file never exceeds its bound and is never rotated away: when it is full, the topics that
//! need it wait, with an ERROR, until an operator moves the file; so nothing is dropped in silence.

use crate::messages::Part;
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

/// A record that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    pub topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// Kafka's error code.
    pub code: i32,
    pub reason: String,
    /// Header `part`: `1`, `2`, ... `last`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    #[serde(with = "base64")]
    pub key: Vec<u8>,
    #[serde(with = "base64")]
    pub value: Vec<u8>,
}

impl DeadLetter {
    /// The header's text.
    pub fn part_text(part: Part) -> Option<String> {
        match part {
            Part::Whole => None,
            Part::Nth(n) => Some(n.to_string()),
            Part::Last => Some("last".to_owned()),
        }
    }
}

/// Why dead letters could not be kept; nothing of them counts as written.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterFileError {
    #[error("the dead-letter file {} has reached its bound of {max_bytes} bytes; move it away", path.display())]
    Full { path: PathBuf, max_bytes: u64 },
    #[error("dead-letter file {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Where dead letters go. Opened for each write, which is rare, so that a file that was moved away is made anew.
#[derive(Clone, Debug)]
pub struct DeadLetterFile {
    path: PathBuf,
    max_bytes: u64,
}

impl DeadLetterFile {
    /// `max_bytes`: the file never grows over this.
    pub fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self { path, max_bytes }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends all, or none where that fails, and syncs. Blocks on the disk.
    ///
    /// # Errors
    /// The bound is reached, or the disk says no.
    pub fn append(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterFileError> {
        let io = |source| DeadLetterFileError::Io { path: self.path.clone(), source };
        let mut lines = Vec::new();
        for letter in letters {
            serde_json::to_writer(&mut lines, letter).map_err(|error| io(error.into()))?;
            lines.push(b'\n');
        }
        let new = !self.path.exists();
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(io)?;
        let before = file.metadata().map_err(io)?.len();
        if before + lines.len() as u64 > self.max_bytes {
            return Err(DeadLetterFileError::Full { path: self.path.clone(), max_bytes: self.max_bytes });
        }
        if let Err(error) = file.write_all(&lines).and_then(|()| file.sync_data()) {
            // Half a line must not stay in front of the next one.
            file.set_len(before).map_err(io)?;
            return Err(io(error));
        }
        if new {
            self.sync_folder().map_err(io)?;
        }
        Ok(())
    }

    /// The file's name must be on the disk, too.
    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// Reads a dead-letter file, line by line.
///
/// # Errors
/// The file can't be read, or (per item) a line is none of ours.
pub fn read_dead_letters(path: &Path) -> io::Result<impl Iterator<Item = io::Result<DeadLetter>>> {
    let lines = BufReader::new(File::open(path)?).split(b'\n');
    Ok(lines.map(|line| serde_json::from_slice(&line?).map_err(io::Error::from)))
}

/// Bytes as base64 text (RFC 4648, with padding), in JSON.
mod base64 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub fn encode(bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let at = |i: usize| chunk.get(i).copied().map_or(0, u32::from);
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for digit in 0..4 {
                let known = digit <= chunk.len();
                text.push(if known { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize].into() } else { '=' });
            }
        }
        text
    }

    pub fn decode(text: &str) -> Option<Vec<u8>> {
        let digits = text.trim_end_matches('=');
        let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
        for chunk in digits.as_bytes().chunks(4) {
            let mut bits = 0;
            for i in 0..4 {
                let digit = chunk.get(i).map_or(Some(0), |c| DIGITS.iter().position(|d| d == c))?;
                bits = bits << 6 | digit as u32;
            }
            bytes.extend_from_slice(&bits.to_be_bytes()[1..][..chunk.len() - 1]);
        }
        text.len().is_multiple_of(4).then_some(bytes)
    }

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        decode(&text).ok_or_else(|| D::Error::custom("not base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letter(value: &[u8]) -> DeadLetter {
        DeadLetter {
            time_ms: 5,
            topic: "t".into(),
            partition: Some(1),
            code: 10,
            reason: "too large".into(),
            part: DeadLetter::part_text(Part::Last),
            key: b"k /\xff".to_vec(),
            value: value.to_vec(),
        }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = DeadLetterFile::new(folder.path().join("dead"), 1 << 20);
        file.append(&[letter(b"one"), letter(b"two\n\0")]).unwrap();
        file.append(&[letter(b"")]).unwrap();
        let read: Vec<DeadLetter> = read_dead_letters(file.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, [letter(b"one"), letter(b"two\n\0"), letter(b"")]);
    }

    #[test]
    fn a_full_file_takes_nothing_until_it_is_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let file = DeadLetterFile::new(folder.path().join("dead"), 300);
        file.append(&[letter(b"one")]).unwrap();
        let size = std::fs::metadata(file.path()).unwrap().len();
        assert!(matches!(file.append(&[letter(&[7; 200])]), Err(DeadLetterFileError::Full { max_bytes: 300, .. })));
        assert_eq!(std::fs::metadata(file.path()).unwrap().len(), size);
        std::fs::rename(file.path(), folder.path().join("moved")).unwrap();
        file.append(&[letter(b"two")]).unwrap();
        assert_eq!(read_dead_letters(file.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let error = DeadLetterFile::new("/nowhere/dead".into(), 1000).append(&[letter(b"")]).unwrap_err();
        assert!(error.to_string().starts_with("dead-letter file /nowhere/dead: "), "{error}");
    }

    proptest! {
        #[test]
        fn base64_is_read_again(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            prop_assert_eq!(base64::decode(&base64::encode(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn base64_is_the_standard_one() {
        assert_eq!(base64::encode(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
        assert_eq!(base64::encode(b"\xfb\xff"), "+/8=");
        assert_eq!(base64::decode("a"), None);
        assert_eq!(base64::decode("a-=="), None);
    }
}
