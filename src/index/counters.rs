//! What the index has done, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Since the start of the process, where nothing else is said.
#[derive(Debug, Default)]
pub struct IndexCounters {
    /// Lines that were added.
    pub lines: AtomicU64,
    /// Their bytes in the files.
    pub bytes: AtomicU64,
    /// Lines that were committed.
    pub committed_lines: AtomicU64,
    pub commits: AtomicU64,
    /// Time that commits took, in milliseconds.
    pub commit_ms: AtomicU64,
    /// Batches that were in the index already.
    pub repeated_batches: AtomicU64,
    /// Batches that are added and not committed, now.
    pub unsettled_batches: AtomicU64,
    /// Fields that were not indexed on the current day, for there were too many.
    pub left_out_fields: AtomicU64,
    /// Bytes of all days on the disk, as of the last look.
    pub index_bytes: AtomicU64,
    /// Waits for the disk or the journal, and writes that failed.
    pub failures: AtomicU64,
}

impl IndexCounters {
    pub(super) fn add(&self, which: impl Fn(&Self) -> &AtomicU64, more: u64) {
        which(self).fetch_add(more, Relaxed);
    }

    pub(super) fn set(&self, which: impl Fn(&Self) -> &AtomicU64, now: u64) {
        which(self).store(now, Relaxed);
    }
}
