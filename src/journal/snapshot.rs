//! A new segment in the place of the old one. The problem: the journal may not grow for ever, and at every instant of
//! its replacement there has to be one whole journal on the disk, while appends go on.
//!
//! 1. Everything that is known is written to a `.tmp` file and synced: [`SnapshotJob::write`], on any thread. What is
//!    appended to the old segment meanwhile is kept aside as well.
//! 2. That, and a record that says so, is appended to the new file, which is renamed and from then on appended to.
//! 3. The next sync takes in the new file and the folder, and then deletes the old segment. Until then no answer that
//!    promises a sync is given, so the old segment is whole as far as anybody was told.
//!
//! A `.tmp` file that a crash leaves is deleted at the next start. Of two segments the newer one counts if that record
//! of step 2 is in it, else a power failure came before step 3 and the older one has everything that was promised.

use super::{
    JournalError,
    format::{self, Batch},
    record::Record,
    segment::{Segment, error, file_name},
};
use rustix::fs::fdatasync;
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

/// The first step, to be done on any thread.
#[must_use]
#[derive(Debug)]
pub struct SnapshotJob {
    dir: PathBuf,
    number: u64,
    tmp: PathBuf,
    batch: Batch,
}

/// The first step is done; for [`Journal::finish_snapshot`](super::Journal::finish_snapshot).
#[must_use]
#[derive(Debug)]
pub struct WrittenSnapshot {
    pub(super) segment: Segment,
    dir: PathBuf,
}

impl SnapshotJob {
    pub(super) fn new(dir: &Path, number: u64, batch: Batch) -> Result<Self, JournalError> {
        // A name of its own, because the job of a journal that was closed meanwhile may still be writing.
        let random = getrandom::u32().map_err(JournalError::Random)?;
        let tmp = dir.join(file_name(number, &format!("{random:08x}.tmp")));
        Ok(Self { dir: dir.to_owned(), number, tmp, batch })
    }

    /// Writes and syncs the file; blocks.
    ///
    /// # Errors
    /// The disk is full or failed. The old segment stays in use.
    pub fn write(self) -> Result<WrittenSnapshot, JournalError> {
        let made = self.make().map_err(|source| error(&self.tmp, source));
        if made.is_err() {
            // A leftover is deleted at the next start as well; here it would take room where there is none.
            let _later = std::fs::remove_file(&self.tmp);
        }
        let (file, len) = made?;
        Ok(WrittenSnapshot { segment: Segment::new(file, self.tmp, self.number, len, len), dir: self.dir })
    }

    fn make(&self) -> std::io::Result<(File, u64)> {
        let mut bytes = format::header(self.number).to_vec();
        for payload in self.batch.payloads() {
            let offset = bytes.len() as u64;
            format::frame(&mut bytes, self.number, offset, payload);
        }
        let mut file = File::options().create_new(true).read(true).write(true).open(&self.tmp)?;
        let (first, second) = bytes.split_at(bytes.len() / 2);
        file.write_all(first)?;
        crate::crash::point("snapshot_begun");
        file.write_all(second)?;
        fdatasync(&file)?;
        crate::crash::point("snapshot_tmp");
        Ok((file, bytes.len() as u64))
    }
}

impl WrittenSnapshot {
    /// The second step: the new segment, with what was appended to the old one since.
    pub(super) fn take_over(self, mut since: Batch) -> Result<Segment, JournalError> {
        let Self { mut segment, dir } = self;
        let _fits = since.push(&Record::TakenOver);
        let path = dir.join(file_name(segment.number(), "log"));
        let renamed = segment
            .append(&since)
            .and_then(|()| std::fs::rename(segment.path(), &path).map_err(|source| error(&path, source)));
        if let Err(failed) = renamed {
            let _later = std::fs::remove_file(segment.path());
            return Err(failed);
        }
        segment.begins_here(path);
        crate::crash::point("snapshot_renamed");
        Ok(segment)
    }

    /// The new segment isn't wanted any more.
    pub(super) fn discard(self) -> Result<(), JournalError> {
        std::fs::remove_file(self.segment.path()).map_err(|source| error(self.segment.path(), source))
    }
}
