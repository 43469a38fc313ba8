//! The journal of one data folder: state, segment, lock and recovery put together. The problem: nothing is known in
//! memory that isn't written first, and whatever fails leaves both as they were, so that it can be tried again.

use super::{
    FileRecord, Inspection, JournalError, NewFile, Opened, Range,
    away::is_away,
    file::FIRST_SEQ,
    format::{Batch, MAX_PAYLOAD},
    lock::Lock,
    open,
    record::{FileEntry, Record},
    recovery,
    segment::{Replaced, Segment, SyncHandle, Synced, error},
    snapshot::{SnapshotJob, WrittenSnapshot},
    state::{Settlement, State},
};
use crate::flow::{FileId, OriginId};
use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// How a journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// A snapshot is made when this many bytes were appended since the last one, and as many as that one has.
    pub snapshot_bytes: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { snapshot_bytes: 4 << 20 }
    }
}

/// The journal, open for writing.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    options: JournalOptions,
    state: State,
    segment: Segment,
    /// Old segments to delete with the next sync.
    replaced: Option<Replaced>,
    /// What was appended since a snapshot was begun.
    since: Option<Batch>,
    /// What the disk holds is unknown since a sync failed: only a new segment helps.
    must_snapshot: bool,
    batch: Batch,
    lock: Option<Lock>,
}

/// More than this is not kept aside for a snapshot that a slow disk doesn't get done; another one is begun.
const MAX_SINCE: usize = 8 << 20;

impl Journal {
    /// Opens the journal in `dir`, which is made if it isn't there. Blocks.
    ///
    /// # Errors
    /// [`JournalError::Locked`], [`JournalError::Version`] (nothing is changed then), no room, or no access.
    pub fn open(dir: &Path, options: JournalOptions) -> Result<(Self, Opened), JournalError> {
        std::fs::create_dir_all(dir).map_err(|source| error(dir, source))?;
        let mut lock = Lock::take(dir)?;
        let (state, segment, opened) = open::resume_or_renew(dir, lock.used_before)?;
        lock.used()?;
        let mut journal = Self {
            dir: dir.to_owned(),
            options,
            state,
            segment,
            replaced: None,
            since: None,
            must_snapshot: false,
            batch: Batch::default(),
            lock: Some(lock),
        };
        journal.mutate()?;
        Ok((journal, opened))
    }

    fn mutate(&mut self) -> Result<(), JournalError> {
        let (fresh, skip) = (crate::crash::mutation("fresh_id_at_restart"), crate::crash::mutation("skip_pending"));
        if fresh || skip {
            let ids = (0..self.state.len()).map(|_| draw()).collect::<Result<Vec<_>, _>>()?;
            let mut ids = ids.into_iter();
            self.state.mutate(fresh, skip, || ids.next().unwrap_or(FileId(0)));
        }
        Ok(())
    }

    /// Reads the journal in `dir` without a lock and without changing anything, also while an agent appends to it.
    ///
    /// # Errors
    /// No access, or a newer version.
    pub fn inspect(dir: &Path) -> Result<Inspection, JournalError> {
        open::inspect(dir)
    }

    /// The disk has room for this many bytes of the segment.
    #[cfg(test)]
    pub(crate) fn set_room(&mut self, room: Option<u64>) {
        self.segment.room = room;
    }

    /// Lets another journal open the folder; this one may not be written to any more.
    pub fn release(&mut self) {
        self.lock = None;
    }

    /// Files that the journal knows.
    pub fn files(&self) -> usize {
        self.state.len()
    }

    /// Ranges that are journalled and not in a settled prefix.
    pub fn pending(&self) -> usize {
        self.state.pending()
    }

    /// Bytes of the live segment.
    pub fn bytes(&self) -> u64 {
        self.segment.len()
    }

    pub fn look_up(&self, id: OriginId) -> Option<FileRecord> {
        self.state.look_up(id)
    }

    /// The ranges that are still written down, also settled ones, in the order in which they were: those since the last
    /// snapshot, and what was pending then. Blocks.
    ///
    /// # Errors
    /// The segment can't be read.
    pub fn history(&self) -> Result<Vec<(FileId, Range)>, JournalError> {
        let path = self.segment.path();
        let bytes = std::fs::read(path).map_err(|source| error(path, source))?;
        Ok(recovery::ranges(&bytes, self.segment.number()))
    }

    pub fn list(&self) -> Vec<FileRecord> {
        self.state.records().collect()
    }

    /// Writes records down, then takes them over.
    fn write(&mut self, records: Vec<Record>) -> Result<(), JournalError> {
        self.batch.clear();
        for record in &records {
            if !self.batch.push(record) {
                return Err(JournalError::TooLong("a path, topic or key"));
            }
        }
        self.write_batch()?;
        for record in records {
            self.state.apply(record);
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), JournalError> {
        self.segment.append(&self.batch)?;
        if let Some(since) = &mut self.since {
            since.extend(&self.batch);
        }
        self.since.take_if(|since| since.len() > MAX_SINCE);
        Ok(())
    }

    /// Draws identities for files and writes them down. No line may be sent before a sync that was begun after this
    /// has ended.
    ///
    /// # Errors
    /// No room or no access: nothing is registered. No random numbers.
    pub fn register(&mut self, files: Vec<NewFile>, now_ms: u64) -> Result<Vec<FileRecord>, JournalError> {
        let first = self.state.next_id();
        let mut records = Vec::with_capacity(files.len());
        for (id, new) in (first..).zip(files) {
            let NewFile { path, topic, dev, ino, head, start } = new;
            let file = draw()?;
            let entry =
                FileEntry { id, file, path, topic, dev, ino, head, start, seen_ms: now_ms, next_seq: FIRST_SEQ };
            records.push(Record::File(Box::new(entry)));
        }
        let last = first + records.len() as u64;
        self.write(records)?;
        crate::crash::point("journal_registered");
        Ok((first..last).filter_map(|id| self.state.look_up(id)).collect())
    }

    /// Journals a range; answers its `seq`.
    ///
    /// # Errors
    /// [`JournalError::UnknownFile`], [`JournalError::OutOfOrder`]; no room or no access: nothing is journalled.
    pub fn append(&mut self, id: OriginId, range: Range) -> Result<u64, JournalError> {
        let seq = self.state.seq_for(id, &range)?;
        let record = Record::Range { id, seq, range };
        self.batch.clear();
        let _fits = self.batch.push(&record);
        self.write_batch()?;
        self.state.apply(record);
        crate::crash::point("journal_appended");
        Ok(seq)
    }

    /// A batch is delivered. In memory only: [`Journal::flush`] writes it down.
    pub fn settle(&mut self, id: OriginId, seq: u64) -> Settlement {
        self.state.settle(id, seq)
    }

    /// The topic of a file's lines.
    pub fn topic(&self, id: OriginId) -> Option<&std::sync::Arc<str>> {
        self.state.topic(id)
    }

    /// The last `seq` of a file, and the last one of its settled prefix; `None` for an unknown file.
    pub fn progress(&self, id: OriginId) -> Option<(u64, u64)> {
        self.state.progress(id)
    }

    /// Marks of this file have moved and are not written down.
    pub fn is_file_dirty(&self, id: OriginId) -> bool {
        self.state.is_file_dirty(id)
    }

    /// Something is not written down, or not synced.
    pub fn is_dirty(&self) -> bool {
        self.state.is_dirty() || !self.segment.is_synced() || self.replaced.is_some()
    }

    /// Writes the marks that have moved, one record for each file. Answers how many.
    ///
    /// # Errors
    /// No room or no access: they are written by a later call.
    pub fn flush(&mut self) -> Result<usize, JournalError> {
        if !self.state.is_dirty() {
            return Ok(0);
        }
        self.batch.clear();
        for record in self.state.marks() {
            let _fits = self.batch.push(&record);
        }
        self.write_batch()?;
        self.state.marks_written();
        crate::crash::point("journal_settled");
        Ok(self.batch.count())
    }

    /// The file has another name or a longer head.
    ///
    /// # Errors
    /// Unknown file, no room, no access.
    pub fn update(
        &mut self,
        id: OriginId,
        path: Option<PathBuf>,
        head: Option<super::Fingerprint>,
    ) -> Result<(), JournalError> {
        self.known(id)?;
        self.write(vec![Record::Update { id, path, head }])
    }

    /// Nothing will be read from the file again. What is pending of it is forgotten, too.
    ///
    /// # Errors
    /// Unknown file, no room, no access.
    pub fn forget(&mut self, id: OriginId) -> Result<(), JournalError> {
        self.known(id)?;
        self.write(vec![Record::Forget { id }])
    }

    fn known(&self, id: OriginId) -> Result<(), JournalError> {
        if self.state.contains(id) { Ok(()) } else { Err(JournalError::UnknownFile(id)) }
    }

    /// Forgets files that are settled, of which nothing was written for `unused_ms`, and that are not under their last
    /// name any more; not those whose file system is away. Looks at the file system. Answers them.
    ///
    /// # Errors
    /// No room or no access: none is forgotten.
    pub fn forget_gone(&mut self, now_ms: u64, unused_ms: u64) -> Result<Vec<PathBuf>, JournalError> {
        let is_there = |path: &Path, dev, ino| match std::fs::metadata(path) {
            Ok(found) => found.dev() == dev && found.ino() == ino,
            // What can't be looked at may be there.
            Err(e) => e.kind() != io::ErrorKind::NotFound,
        };
        let (mut gone, mut paths) = (Vec::new(), Vec::new());
        for (id, path, dev, ino) in self.state.idle_since(now_ms.saturating_sub(unused_ms)) {
            if !is_there(path, dev, ino) && !is_away(path, dev) {
                gone.push(Record::Forget { id });
                paths.push(path.to_owned());
            }
        }
        if !gone.is_empty() {
            self.write(gone)?;
        }
        Ok(paths)
    }

    /// An entry has been applied. Answers whether that is new.
    ///
    /// # Errors
    /// No room, no access, or a key of more than 256 KiB.
    pub fn remember_entry(&mut self, key: String) -> Result<bool, JournalError> {
        if self.state.has_entry(&key) {
            return Ok(false);
        }
        if key.len() >= MAX_PAYLOAD {
            return Err(JournalError::TooLong("the key of an entry"));
        }
        self.write(vec![Record::Entry(key)])?;
        Ok(true)
    }

    /// Syncs, on any thread, what is written by now; its answer goes to [`Journal::synced`] or
    /// [`Journal::sync_failed`].
    pub fn sync_handle(&self) -> SyncHandle {
        self.segment.sync_handle(self.replaced.clone())
    }

    /// What the sync reached is safe. `false`: the segment was replaced meanwhile, so only another sync makes safe what
    /// was written before this one.
    pub fn synced(&mut self, done: Synced) -> bool {
        let live = self.segment.synced(done);
        if live && done.cleaned {
            self.replaced = None;
        }
        live
    }

    /// A sync failed. The system may have dropped what it couldn't write, so a new segment is made.
    pub fn sync_failed(&mut self) {
        self.must_snapshot = true;
    }

    /// It is time for [`Journal::begin_snapshot`].
    pub fn is_snapshot_due(&self) -> bool {
        let grown = self.segment.grown() > self.options.snapshot_bytes.max(self.segment.base_len());
        self.since.is_none() && (self.must_snapshot || grown)
    }

    /// Begins to replace the segment; the job's answer goes to [`Journal::finish_snapshot`] or
    /// [`Journal::give_up_snapshot`].
    ///
    /// # Errors
    /// No random numbers.
    pub fn begin_snapshot(&mut self) -> Result<SnapshotJob, JournalError> {
        let job = SnapshotJob::new(&self.dir, self.segment.number() + 1, self.state.snapshot())?;
        self.since = Some(Batch::default());
        Ok(job)
    }

    /// The new segment takes the old one's place; the old one is deleted with the next sync.
    ///
    /// # Errors
    /// No room or no access: the old one stays.
    pub fn finish_snapshot(&mut self, written: WrittenSnapshot) -> Result<(), JournalError> {
        let Some(since) = self.since.take() else { return written.discard() };
        let segment = written.take_over(since)?;
        let old = std::mem::replace(&mut self.segment, segment);
        let replaced = self.replaced.get_or_insert_with(|| Replaced { dir: self.dir.clone(), old: Vec::new() });
        replaced.old.push(old.path().to_owned());
        self.must_snapshot = false;
        Ok(())
    }

    /// The job failed; the old segment stays.
    pub fn give_up_snapshot(&mut self) {
        self.since = None;
    }

    /// Replaces the segment now. Blocks.
    ///
    /// # Errors
    /// No room or no access.
    pub fn snapshot(&mut self) -> Result<(), JournalError> {
        let job = self.begin_snapshot()?;
        let done = job.write().and_then(|written| self.finish_snapshot(written));
        self.since = None;
        done?;
        self.sync()
    }

    /// Syncs now. Blocks.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        let done = self.sync_handle().sync().inspect_err(|_| self.must_snapshot = true)?;
        self.synced(done);
        Ok(())
    }

    /// Writes everything down in order, as a snapshot where there is something new. Blocks.
    ///
    /// # Errors
    /// No room or no access. Marks that couldn't be written only repeat.
    pub fn close(&mut self) -> Result<(), JournalError> {
        let flushed = self.flush().map(drop);
        let worth_it = self.segment.grown() > 0 || flushed.is_err();
        if worth_it && self.snapshot().is_ok() {
            return Ok(());
        }
        // A full disk may have no room for a snapshot; the segment as it is will do.
        self.sync()?;
        flushed
    }
}

/// A random identity.
fn draw() -> Result<FileId, JournalError> {
    getrandom::u64().map(FileId).map_err(JournalError::Random)
}
