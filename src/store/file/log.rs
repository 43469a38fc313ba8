//! The audit of a store that is a file. The problem: it only grows, by thousands of records a day where many people work,
//! and in a file that is replaced as a whole each change would write all of it again. So its keys stand in a folder beside
//! that file, a record a line, each line written once:
//!
//! ```text
//! console.audit/1795246112111.jsonl       {"key": "/logweir/audit/1795246112111-0a1b2c3d", "revision": 7, "text": "{...}"}
//! ```
//! A piece begins with the time in its name and ends where the next one begins, so keys are in order from piece to piece,
//! and a reader needs one or two of them. Whoever writes holds the store's lock. A line that a crash has cut off belongs to a
//! change that was not made, for its record is written first; the next writer cuts it away.

use super::content::{Record, item};
use crate::store::{AUDIT, Access, Item, StoreError, replace_file};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Digits of the time in a key, and in a piece's name.
const DIGITS: usize = 13;
/// A piece isn't made larger, mostly.
const PIECE_BYTES: u64 = 1 << 20;
/// Nor does it reach further: what was written while the clock stood years ahead is a piece by itself. In one with others it
/// would be the last for years, and none could begin behind it.
const PIECE_MS: u64 = 30 * 24 * 3600 * 1000;
/// Pieces that are kept, however young the oldest is.
const MOST_PIECES: usize = 256;

type Records = BTreeMap<String, Record>;

/// The folder.
#[derive(Clone, Debug)]
pub struct Log {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    #[serde(flatten)]
    record: Record,
}

/// The time in the key of a record; `None`: the key is none of the log's.
fn time(key: &str) -> Option<&str> {
    let digits = key.strip_prefix(AUDIT)?.get(..DIGITS)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then_some(digits)
}

/// Whether a record of this time may stand in a piece that begins then.
fn is_near(piece: &str, time: &str) -> bool {
    let ms = |digits: &str| digits.parse::<u64>().unwrap_or(0);
    ms(time).saturating_sub(ms(piece)) <= PIECE_MS
}

/// Whether a key stands in the log.
pub fn holds(key: &str) -> bool {
    time(key).is_some()
}

/// What pieces were like before something was added.
#[derive(Debug, Default)]
pub struct Added(Vec<(PathBuf, u64)>);

impl Added {
    /// What was told didn't happen.
    pub fn take_back(self) {
        for (path, length) in self.0 {
            let cut = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(length));
            if let Err(error) = cut {
                slog_scope::warn!("the audit tells of a change that was not made"; "file" => %path.display(), "reason" => %error);
            }
        }
    }
}

impl Log {
    /// `store`: the file that it belongs to.
    pub fn beside(store: &Path) -> Self {
        Self { folder: store.with_extension("audit") }
    }

    fn failed(&self, error: impl std::fmt::Display) -> StoreError {
        StoreError::Unavailable(format!("{}: {error}", self.folder.display()))
    }

    fn path(&self, piece: &str) -> PathBuf {
        self.folder.join(format!("{piece}.jsonl"))
    }

    /// Times at which the pieces begin, in order.
    fn pieces(&self) -> Result<Vec<String>, StoreError> {
        let files = match fs::read_dir(&self.folder) {
            Ok(files) => files,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(self.failed(e)),
        };
        let mut pieces = Vec::new();
        for file in files {
            let name = file.map_err(|e| self.failed(e))?.file_name();
            let begin = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
            let is_time = |begin: &&str| begin.len() == DIGITS && begin.bytes().all(|b| b.is_ascii_digit());
            pieces.extend(begin.filter(is_time).map(str::to_owned));
        }
        pieces.sort_unstable();
        Ok(pieces)
    }

    /// A piece's lines, each with its end. A piece that has gone meanwhile was too old.
    fn text(&self, piece: &str) -> Result<Vec<u8>, StoreError> {
        let mut text = match fs::read(self.path(piece)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(self.failed(e)),
        };
        // What stands behind the last line's end is being written, or was cut off.
        text.truncate(text.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1));
        Ok(text)
    }

    fn read(&self, piece: &str) -> Result<Records, StoreError> {
        let mut records = Records::new();
        for line in self.text(piece)?.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice::<Line>(line) {
                Ok(Line { key, record }) => _ = records.insert(key, record),
                Err(error) => slog_scope::warn!("a record of the audit can't be read";
                    "file" => %self.path(piece).display(), "reason" => %error),
            }
        }
        Ok(records)
    }

    pub fn get(&self, key: &str) -> Result<Option<Item>, StoreError> {
        let Some(time) = time(key) else { return Ok(None) };
        let pieces = self.pieces()?;
        let Some(at) = pieces.partition_point(|piece| piece.as_str() <= time).checked_sub(1) else { return Ok(None) };
        Ok(self.read(&pieces[at])?.get_key_value(key).map(item))
    }

    /// Whether keys with this prefix may be here: most calls ask for others, and cost nothing.
    fn may_have(prefix: &str) -> bool {
        AUDIT.starts_with(prefix) || prefix.starts_with(AUDIT)
    }

    /// At most `limit` records behind `after`, in order.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::new();
        if !Self::may_have(prefix) {
            return Ok(found);
        }
        let pieces = self.pieces()?;
        let begun = after.and_then(time).map_or(0, |time| pieces.partition_point(|piece| piece.as_str() <= time));
        for piece in &pieces[begun.saturating_sub(1)..] {
            let records = self.read(piece)?;
            let wanted =
                records.iter().filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|a| key.as_str() > a));
            found.extend(wanted.take(limit - found.len()).map(item));
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// At most `limit` records before `before`, the last one first.
    pub fn list_last(&self, prefix: &str, before: Option<&str>, limit: usize) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::new();
        if !Self::may_have(prefix) {
            return Ok(found);
        }
        let pieces = self.pieces()?;
        let end =
            before.and_then(time).map_or(pieces.len(), |time| pieces.partition_point(|piece| piece.as_str() <= time));
        for piece in pieces[..end].iter().rev() {
            let records = self.read(piece)?;
            let wanted =
                |(key, _): &(&String, &Record)| key.starts_with(prefix) && before.is_none_or(|b| key.as_str() < b);
            found.extend(records.iter().rev().filter(wanted).take(limit - found.len()).map(item));
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// Adds records, and they are on the disk.
    pub fn add(&self, records: Records) -> Result<Added, StoreError> {
        let mut added = Added::default();
        if records.is_empty() {
            return Ok(added);
        }
        self.make_folder().map_err(|e| self.failed(e))?;
        let mut pieces = self.pieces()?;
        let mut texts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut newest = String::new();
        for (key, record) in records {
            let Some(time) = time(&key).map(str::to_owned) else { continue };
            let piece = self.piece_for(&pieces, &texts, &time, &newest)?;
            if let Err(at) = pieces.binary_search(&piece) {
                pieces.insert(at, piece.clone());
            }
            let text = texts.entry(piece).or_default();
            serde_json::to_writer(&mut *text, &Line { key, record }).map_err(|e| self.failed(e))?;
            text.push(b'\n');
            newest = time;
        }
        for (piece, text) in texts {
            match self.append(&piece, &text) {
                Ok(length) => added.0.push((self.path(&piece), length)),
                Err(error) => {
                    added.take_back();
                    return Err(self.failed(error));
                }
            }
        }
        self.forget_oldest(&pieces)?;
        Ok(added)
    }

    /// Where a record of this time belongs. A new piece begins only behind everything that the one before it has: the clock
    /// may have been set back.
    fn piece_for(
        &self,
        pieces: &[String],
        texts: &BTreeMap<String, Vec<u8>>,
        time: &str,
        newest: &str,
    ) -> Result<String, StoreError> {
        let at = pieces.partition_point(|piece| piece.as_str() <= time);
        let Some(piece) = at.checked_sub(1).map(|at| &pieces[at]) else { return Ok(time.into()) };
        let there = fs::metadata(self.path(piece)).map_or(0, |meta| meta.len());
        let bytes = there + texts.get(piece).map_or(0, |text| text.len() as u64);
        if (bytes < PIECE_BYTES && is_near(piece, time)) || time <= newest {
            return Ok(piece.clone());
        }
        let last = self.read(piece)?.into_keys().next_back();
        let is_behind = last.as_deref().and_then(self::time).is_none_or(|last| time > last);
        Ok(if is_behind { time.into() } else { piece.clone() })
    }

    /// Answers how long the piece was.
    fn append(&self, piece: &str, text: &[u8]) -> io::Result<u64> {
        let path = self.path(piece);
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        let length = file.metadata()?.len();
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        let whole = match last {
            [b'\n'] => length,
            _ => fs::read(&path)?.iter().rposition(|b| *b == b'\n').map_or(0, |end| end as u64 + 1),
        };
        if whole < length {
            slog_scope::warn!("a record of the audit that a crash has cut off is removed"; "file" => %path.display());
            file.set_len(whole)?;
        }
        let written = file.write_all(text).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Best effort: what isn't whole counts for nothing.
            let _ = file.set_len(whole);
            return Err(error);
        }
        if whole == 0 {
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(whole)
    }

    fn make_folder(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
            Ok(()) => {
                let parent = self.folder.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
                File::open(parent)?.sync_all()
            }
        }
    }

    fn forget_oldest(&self, pieces: &[String]) -> Result<(), StoreError> {
        for piece in &pieces[..pieces.len().saturating_sub(MOST_PIECES)] {
            slog_scope::warn!("the audit is too large, its oldest records go"; "until_ms" => piece);
            fs::remove_file(self.path(piece)).map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    /// Removes records; most are the oldest.
    pub fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        let pieces = self.pieces()?;
        let mut by_piece: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for key in keys {
            let at = time(key).map_or(0, |time| pieces.partition_point(|piece| piece.as_str() <= time));
            if at > 0 {
                by_piece.entry(&pieces[at - 1]).or_default().push(key);
            }
        }
        for (piece, keys) in by_piece {
            // A line that can't be read stays, for somebody who can.
            let stays = |line: &&[u8]| {
                serde_json::from_slice::<Line>(line).map_or(true, |line| !keys.contains(&line.key.as_str()))
            };
            let whole = self.text(piece)?;
            let text = whole.split_inclusive(|b| *b == b'\n').filter(stays).collect::<Vec<_>>().concat();
            let path = self.path(piece);
            let done = if text.is_empty() { fs::remove_file(&path) } else { replace_file(&path, &text, Access::Owner) };
            done.map_err(|e| self.failed(e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
