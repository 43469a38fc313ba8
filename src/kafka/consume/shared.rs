//! What the polling thread shares with the actor that owns it.

use crate::{kafka::assignment::Assignment, messages::Settled, telemetry::ByTopic};
use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// What operators see of the consumer.
#[derive(Debug, Default)]
pub struct ConsumerCounters {
    pub records: AtomicU64,
    pub bytes: AtomicU64,
    /// Records with a null value: settled, nothing to deliver.
    pub null_values: AtomicU64,
    /// Records that Kafka deleted before they were read.
    pub lost_records: AtomicU64,
    pub rebalances: AtomicU64,
    pub errors: AtomicU64,
    /// Commits that the broker has acknowledged.
    pub commits: AtomicU64,
    /// Partitions with batches that wait for credit at the moment, and the bytes of these.
    pub parked: AtomicU64,
    pub parked_bytes: AtomicU64,
    /// Records between what was read and the end of the partitions, at the last look.
    pub lag_records: AtomicU64,
    /// The same by topic.
    pub lag_by_topic: ByTopic,
    /// Partitions that this process has at the moment.
    pub partitions: AtomicU64,
}

/// What the loop shares with the actor that owns it.
#[derive(Debug, Default)]
pub struct ConsumerShared {
    pub assignment: Assignment,
    pub counters: Arc<ConsumerCounters>,
    pub(super) stop: AtomicBool,
    /// Fetch nothing more, but stay in the group and store what settles.
    pub(super) draining: AtomicBool,
    topics: Mutex<Option<Vec<String>>>,
    /// Number of settled batches, and who waits for the next one.
    settled: (Mutex<u64>, Condvar),
}

impl ConsumerShared {
    pub fn new(counters: Arc<ConsumerCounters>) -> Self {
        Self { counters, ..Self::default() }
    }

    /// Ends the loop within its next turn: stored offsets are committed, the group is left.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// A batch is settled: its position may be stored, its credit is free.
    pub fn settle(&self, settled: &Settled) {
        self.assignment.settle(settled);
        *self.settled.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.settled.1.notify_all();
    }

    pub(super) fn settled(&self) -> u64 {
        *self.settled.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until more than `seen` batches are settled, or for the time given.
    pub(super) fn wait_settled(&self, seen: u64, time: Duration) {
        let settled = self.settled.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Woken or not: the caller looks at what there is.
        drop(self.settled.1.wait_timeout_while(settled, time, |now| *now == seen));
    }

    /// Subscribes to other topics at the loop's next turn.
    pub fn use_topics(&self, topics: Vec<String>) {
        *self.topics.lock().unwrap_or_else(PoisonError::into_inner) = Some(topics);
    }

    pub(super) fn take_topics(&self) -> Option<Vec<String>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
