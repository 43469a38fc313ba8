//! The segment file that is appended to. The problem: a write that the disk had no room for must leave a journal that
//! is still valid, and a sync must not hold up the appends that go on meanwhile.

use super::{
    JournalError,
    format::{self, Batch},
};
use rustix::fs::{fdatasync, fsync};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An error of this file or folder; a full disk (or quota) is one of its own.
pub(super) fn error(path: &Path, source: io::Error) -> JournalError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JournalError::Full { path, source },
        _ => JournalError::Io { path, source },
    }
}

/// The name of a segment, or of what becomes one.
pub(super) fn file_name(number: u64, ending: &str) -> String {
    format!("journal-{number:016x}.{ending}")
}

/// Number and ending of a file of the journal.
pub(super) fn parse_name(name: &str) -> Option<(u64, &str)> {
    let (number, ending) = name.strip_prefix("journal-")?.split_once('.')?;
    let number = u64::from_str_radix(number, 16).ok().filter(|_| number.len() == 16)?;
    Some((number, ending))
}

/// A folder, to be synced after a change of names in it.
pub(super) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    let synced = File::open(dir).and_then(|dir| Ok(fsync(&dir)?));
    synced.map_err(|source| error(dir, source))
}

/// The live segment.
#[derive(Debug)]
pub(super) struct Segment {
    file: Arc<File>,
    path: PathBuf,
    number: u64,
    /// Bytes up to the end of the last whole record; the next one is written here, whatever stands there.
    len: u64,
    /// Bytes of the snapshot that it began with.
    base_len: u64,
    /// `len` at the last sync.
    synced: u64,
    /// Bytes of a failed write may stand behind `len`.
    torn: bool,
    scratch: Vec<u8>,
    /// The disk has room for this many bytes of the file.
    #[cfg(test)]
    pub room: Option<u64>,
}

impl Segment {
    pub fn new(file: File, path: PathBuf, number: u64, len: u64, base_len: u64) -> Self {
        Self {
            file: Arc::new(file),
            path,
            number,
            len,
            base_len,
            synced: 0,
            torn: false,
            scratch: Vec::new(),
            #[cfg(test)]
            room: None,
        }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn grown(&self) -> u64 {
        self.len - self.base_len
    }

    pub fn base_len(&self) -> u64 {
        self.base_len
    }

    pub fn is_synced(&self) -> bool {
        self.synced == self.len
    }

    /// Its file has this name now, and what is in it is what it begins with.
    pub fn begins_here(&mut self, path: PathBuf) {
        self.path = path;
        self.base_len = self.len;
    }

    /// Writes records into the page cache, all or none.
    ///
    /// # Errors
    /// [`JournalError::Full`] or [`JournalError::Io`]; the segment is as before and the same can be tried again.
    pub fn append(&mut self, batch: &Batch) -> Result<(), JournalError> {
        if self.torn {
            self.cut()?;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        for payload in batch.payloads() {
            let offset = self.len + scratch.len() as u64;
            format::frame(&mut scratch, self.number, offset, payload);
        }
        let written = self.write(&scratch);
        let len = scratch.len() as u64;
        // A snapshot's worth of records is not kept as a buffer.
        if scratch.capacity() <= 64 * 1024 {
            self.scratch = scratch;
        }
        match written {
            Ok(()) => {
                self.len += len;
                Ok(())
            }
            Err(source) => {
                self.torn = true;
                let failed = error(&self.path, source);
                // If even that fails it is done before the next write; until then it reads as a torn tail.
                let _later = self.cut();
                Err(failed)
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if let Some(room) = self.room.filter(|room| self.len + bytes.len() as u64 > *room) {
            let part = room.saturating_sub(self.len) as usize;
            self.file.write_all_at(&bytes[..part], self.len)?;
            return Err(rustix::io::Errno::NOSPC.into());
        }
        self.file.write_all_at(bytes, self.len)
    }

    fn cut(&mut self) -> Result<(), JournalError> {
        self.file.set_len(self.len).map_err(|source| error(&self.path, source))?;
        self.torn = false;
        Ok(())
    }

    /// What makes everything up to now outlast a power failure.
    pub fn sync_handle(&self, replaced: Option<Replaced>) -> SyncHandle {
        SyncHandle {
            file: self.file.clone(),
            path: self.path.clone(),
            done: Synced { number: self.number, len: self.len, cleaned: replaced.is_some() },
            replaced,
        }
    }

    /// Answers whether it was this segment that was synced.
    pub fn synced(&mut self, done: Synced) -> bool {
        let this = done.number == self.number;
        if this {
            self.synced = self.synced.max(done.len);
        }
        this
    }
}

/// Segments that a rename has put out of use; they are deleted when that rename outlasts a power failure.
#[derive(Clone, Debug)]
pub(super) struct Replaced {
    pub dir: PathBuf,
    pub old: Vec<PathBuf>,
}

impl Replaced {
    fn clean(&self) -> Result<(), JournalError> {
        sync_dir(&self.dir)?;
        for path in &self.old {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(error(path, e)),
                _ => {}
            }
        }
        crate::crash::point("snapshot_cleaned");
        Ok(())
    }
}

/// Syncs what was appended before it was made, on any thread, while appends go on.
#[must_use]
#[derive(Debug)]
pub struct SyncHandle {
    file: Arc<File>,
    path: PathBuf,
    replaced: Option<Replaced>,
    done: Synced,
}

/// How far a sync reached; for [`Journal::synced`](super::Journal::synced).
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    number: u64,
    len: u64,
    pub(super) cleaned: bool,
}

impl SyncHandle {
    /// Blocks until the disk has it (`fdatasync`).
    ///
    /// # Errors
    /// The disk failed: what it holds is unknown, [`Journal::sync_failed`](super::Journal::sync_failed) has to know.
    pub fn sync(self) -> Result<Synced, JournalError> {
        fdatasync(&*self.file).map_err(|errno| error(&self.path, errno.into()))?;
        if let Some(replaced) = &self.replaced {
            replaced.clean()?;
        }
        Ok(self.done)
    }
}
