//! Writes one day. Documents that were added are there after the next commit, all of them or none.

use super::{Day, FieldLimit, Fields, IndexError, IndexSet, LineDocument, Lines};
use crate::{allocator, crash};
use std::{sync::Arc, thread::JoinHandle, time::Duration};
use tantivy::{
    Index, IndexWriter, TantivyError,
    directory::error::LockError,
    indexer::{IndexWriterOptions, LogMergePolicy, UserOperation},
};

/// Documents that go to one of tantivy's threads together.
const GROUP: usize = 128;
/// Segments of more documents are not merged any more: a merge stays within seconds.
const MAX_MERGED_DOCUMENTS: usize = 2_000_000;

/// What a writer may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterMemory {
    pub threads: usize,
    /// Of each thread; at least 15 MB.
    pub bytes: usize,
}

impl Default for WriterMemory {
    fn default() -> Self {
        Self { threads: 1, bytes: 64 << 20 }
    }
}

/// The writer of one day; there is at most one for each.
pub struct DayWriter {
    day: Day,
    set: IndexSet,
    writer: IndexWriter<LineDocument>,
    limit: FieldLimit,
}

/// How often, and after how long each time, the lock of a day is tried again.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The writer of an index. Its lock is tantivy's, which ends when all copies of its descriptor are closed: a child that
/// was just being started when the writer before ended holds one until its `exec`, and nothing tells of that.
fn lock_and_open(index: &Index, options: &IndexWriterOptions) -> tantivy::Result<IndexWriter<LineDocument>> {
    for _ in 1..LOCK_TRIES {
        match index.writer_with_options(options.clone()) {
            Err(TantivyError::LockFailure(LockError::LockBusy, _)) => std::thread::park_timeout(LOCK_PAUSE),
            done => return done,
        }
    }
    index.writer_with_options(options.clone())
}

impl DayWriter {
    /// Opens the day, and makes it where it isn't there.
    ///
    /// # Errors
    /// The day is damaged, or its folder can't be written.
    pub fn open(set: &IndexSet, day: Day, memory: WriterMemory) -> Result<Self, IndexError> {
        set.await_finished(day);
        let index = set.open_day(day)?;
        let options = IndexWriterOptions::builder()
            .num_worker_threads(memory.threads)
            .memory_budget_per_thread(memory.bytes)
            .num_merge_threads(1)
            .build();
        let failed = |error: TantivyError| IndexError::writing(day, &error);
        let writer = lock_and_open(&index, &options).map_err(failed)?;
        let mut policy = LogMergePolicy::default();
        policy.set_max_docs_before_merge(MAX_MERGED_DOCUMENTS);
        writer.set_merge_policy(Box::new(policy));
        // What a failed writer has left.
        writer.garbage_collect_files().wait().map_err(failed)?;
        let limit = FieldLimit::new(dynamic_fields(set, day)?);
        Ok(Self { day, set: set.clone(), writer, limit })
    }

    pub fn day(&self) -> Day {
        self.day
    }

    /// Which dynamic fields are indexed.
    pub fn limit(&mut self) -> &mut FieldLimit {
        &mut self.limit
    }

    /// Adds all lines. Waits while tantivy has enough to do.
    ///
    /// # Errors
    /// The writer can't be used any more; nothing since the last commit is there.
    pub fn add(&mut self, lines: Lines) -> Result<(), IndexError> {
        let lines = Arc::new(lines);
        let mut documents = LineDocument::all(&lines);
        while documents.len() > 0 {
            let group: Vec<_> = documents.by_ref().take(GROUP).map(UserOperation::Add).collect();
            self.writer.run(group).map_err(|error| IndexError::writing(self.day, &error))?;
        }
        Ok(())
    }

    /// Writes everything that was added to the disk, and lets it be found.
    ///
    /// # Errors
    /// The writer can't be used any more; nothing since the last commit is there.
    pub fn commit(&mut self, payload: &str) -> Result<(), IndexError> {
        let failed = |error: TantivyError| IndexError::writing(self.day, &error);
        crash::point("index_commit");
        let mut prepared = self.writer.prepare_commit().map_err(failed)?;
        if !crash::mutation("no_payload") {
            prepared.set_payload(payload);
        }
        crash::point("index_prepared");
        prepared.commit().map_err(failed)?;
        crash::point("index_committed");
        self.set.reload(self.day)
    }

    /// Ends the writing of this day; its merges go on until they are done.
    pub fn finish(self) -> JoinHandle<()> {
        let Self { day, set, writer, .. } = self;
        std::thread::spawn(move || {
            if let Err(error) = writer.wait_merging_threads() {
                slog_scope::warn!("a merge failed, its segments stay as they are"; "day" => %day, "reason" => %error);
            }
            if let Err(error) = set.reopen(day) {
                slog_scope::warn!("merged segments are not used yet"; "day" => %day, "reason" => %error);
            }
            allocator::give_back();
        })
    }
}

/// Names of the dynamic fields that a day has.
fn dynamic_fields(set: &IndexSet, day: Day) -> Result<Vec<String>, IndexError> {
    let mut names = Vec::new();
    for one in set.snapshot().iter().filter(|one| one.day == day) {
        for segment in one.searcher.segment_readers() {
            let fields = segment.fields_metadata().map_err(|error| IndexError::opening(day, &error))?;
            let dynamic = |name: &str| Some(name.strip_prefix(Fields::DYNAMIC)?.strip_prefix('.')?.to_owned());
            names.extend(fields.iter().filter_map(|field| dynamic(&field.field_name)));
        }
    }
    Ok(names)
}
