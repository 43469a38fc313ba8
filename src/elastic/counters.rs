//! What the transfer has done, for the log and `/metrics`.

use crate::telemetry::ByTopic;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// All since the start.
#[derive(Debug, Default)]
pub struct ElasticCounters {
    /// Documents that were created.
    pub created: AtomicU64,
    /// Documents that were there already (409): sent again after a failure.
    pub conflicts: AtomicU64,
    /// Documents that had to be sent again.
    pub retried: AtomicU64,
    /// Records that name an entry and go without its labels and index, because no etcd is configured.
    pub without_entry: AtomicU64,
    /// Records kept as dead letters.
    pub dead: AtomicU64,
    /// Refused records that wait because their topic is paused by the 10 % rule.
    pub held: AtomicU64,
    /// Bulk requests with any answer or none.
    pub requests: AtomicU64,
    /// Bulk requests that failed as a whole.
    pub failed_requests: AtomicU64,
    /// Bulk requests that were split because they were too large.
    pub split: AtomicU64,
    /// Bytes of bulk requests.
    pub bytes: AtomicU64,
    /// Time from building a request to its answer, microseconds, summed up.
    pub request_micros: AtomicU64,
    /// Documents that were created or there already, by their records' topic.
    pub by_topic: ByTopic,
    /// Topics, indices, or all of Elasticsearch, that take nothing at the moment, and why.
    paused: Mutex<BTreeMap<String, String>>,
}

impl ElasticCounters {
    /// What takes nothing at the moment, and why.
    pub fn paused(&self) -> BTreeMap<String, String> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_paused(&self, paused: BTreeMap<String, String>) {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = paused;
    }

    pub(super) fn request(&self, bytes: u64, took: Duration) {
        self.requests.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.request_micros.fetch_add(took.as_micros() as u64, Relaxed);
    }
}
