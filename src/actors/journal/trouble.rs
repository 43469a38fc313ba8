//! A disk that is full or fails. The problem: every write tells of it, but the log should say it once a minute, and what
//! failed should be tried again at its own pace, not with each change.

use crate::{
    flow::{Backoff, Retries},
    journal::JournalError,
};
use std::time::Duration;
use tokio::time::Instant;

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// A failure that goes on is logged this often.
const LOG_AGAIN: Duration = Duration::from_secs(60);

/// The disk is full or fails, or did before.
#[derive(Debug)]
pub(super) struct Trouble {
    retries: Retries,
    retry_at: Instant,
    logged: Instant,
    /// Failures since that.
    silent: u64,
    /// The last thing said was that it fails.
    said_failing: bool,
}

impl Trouble {
    pub fn new(now: Instant) -> Self {
        let never = now.checked_sub(LOG_AGAIN).unwrap_or(now);
        Self { retries: Retries::new(BACKOFF), retry_at: now, logged: never, silent: 0, said_failing: false }
    }

    pub fn failed(&mut self, failed: &JournalError, what: &str) {
        let now = Instant::now();
        if !self.is_waiting() {
            self.retry_at = now + self.retries.failed();
        }
        self.silent += 1;
        if now >= self.logged + LOG_AGAIN {
            slog_scope::error!("{}: {}", what, failed; "failures" => self.silent);
            (self.logged, self.silent, self.said_failing) = (now, 0, true);
        }
    }

    pub fn worked(&mut self) {
        self.retries.succeeded();
        if std::mem::take(&mut self.said_failing) {
            slog_scope::info!("the journal is written again");
        }
    }

    /// What failed before is tried at its own time, not with each change.
    pub fn is_waiting(&self) -> bool {
        self.retries.failures() > 0 && Instant::now() < self.retry_at
    }
}

/// The same failure, for each who waits: an `io::Error` can't be cloned.
pub(super) fn same(error: &JournalError) -> JournalError {
    let copy = |e: &std::io::Error| e.raw_os_error().map_or_else(|| e.kind().into(), std::io::Error::from_raw_os_error);
    match error {
        JournalError::Full { path, source } => JournalError::Full { path: path.clone(), source: copy(source) },
        JournalError::Io { path, source } => JournalError::Io { path: path.clone(), source: copy(source) },
        other => JournalError::Io { path: Default::default(), source: std::io::Error::other(other.to_string()) },
    }
}

/// The disk's fault, not the asker's.
pub(super) fn is_of_disk(error: &JournalError) -> bool {
    !matches!(error, JournalError::UnknownFile(_) | JournalError::OutOfOrder { .. } | JournalError::TooLong(_))
}
