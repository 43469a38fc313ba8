//! What the producer counts, for `/metrics` and the log.

use super::Verdict;
use crate::messages::LineBatch;
use std::{
    sync::{
        Arc,
        atomic::{
            AtomicI64, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    time::Duration,
};
use tokio::sync::Notify;

/// Kinds of errors, as they are labelled in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Records that the broker refuses for good.
    Refused,
    /// Records to be sent again.
    Again,
    /// A topic that can't be written to.
    Topic,
    /// The client ended.
    Client,
    /// Connections, resolving, log in.
    Broker,
    /// The dead-letter file could not be written.
    DeadLetterFile,
}

impl ErrorKind {
    pub const ALL: [Self; 6] =
        [Self::Refused, Self::Again, Self::Topic, Self::Client, Self::Broker, Self::DeadLetterFile];

    /// Label in the metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Again => "again",
            Self::Topic => "topic",
            Self::Client => "client",
            Self::Broker => "broker",
            Self::DeadLetterFile => "dead_letter_file",
        }
    }
}

impl From<Verdict> for ErrorKind {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Refused => Self::Refused,
            Verdict::Again => Self::Again,
            Verdict::Topic => Self::Topic,
            Verdict::Client => Self::Client,
        }
    }
}

/// Counters of the producer, since the process started; they outlive a restart of the actor.
#[derive(Debug, Default)]
pub struct ProducerCounters {
    records: AtomicU64,
    bytes: AtomicU64,
    batches: AtomicU64,
    unsettled: AtomicI64,
    dead_letters: AtomicU64,
    recreations: AtomicU64,
    errors: [AtomicU64; ErrorKind::ALL.len()],
}

impl ProducerCounters {
    /// Records acknowledged by the broker.
    pub fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    /// Bytes of their values.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Batches settled.
    pub fn batches(&self) -> u64 {
        self.batches.load(Relaxed)
    }

    /// Batches accepted and not settled at the moment.
    pub fn unsettled(&self) -> u64 {
        self.unsettled.load(Relaxed).max(0) as u64
    }

    /// Records in the dead-letter file.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Relaxed)
    }

    /// How often the client was made anew.
    pub fn recreations(&self) -> u64 {
        self.recreations.load(Relaxed)
    }

    pub fn errors(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize].load(Relaxed)
    }

    pub(crate) fn recreated(&self) {
        self.recreations.fetch_add(1, Relaxed);
    }

    pub(crate) fn error(&self, kind: ErrorKind, count: u64) {
        self.errors[kind as usize].fetch_add(count, Relaxed);
    }
}

/// What one life of the actor has accepted and not settled. Apart from the counters, because the thread of an earlier
/// life may still settle while a new one has begun.
#[derive(Debug)]
pub struct Unsettled {
    counters: Arc<ProducerCounters>,
    count: AtomicI64,
    idle: Notify,
}

impl Unsettled {
    pub fn new(counters: Arc<ProducerCounters>) -> Arc<Self> {
        Arc::new(Self { counters, count: AtomicI64::new(0), idle: Notify::new() })
    }

    pub fn counters(&self) -> &ProducerCounters {
        &self.counters
    }

    /// A batch is accepted.
    pub fn accept(&self) {
        self.count.fetch_add(1, Relaxed);
        self.counters.unsettled.fetch_add(1, Relaxed);
    }

    /// Settles a batch of which every line is acknowledged or in the dead-letter file (`dead` of them).
    pub fn settle(&self, batch: LineBatch, dead: u32) {
        let bytes = batch.lines.iter().map(|line| u64::from(line.len)).sum();
        let settled = batch.settled(dead);
        let settle_to = batch.settle_to.clone();
        // The memory and its credit first: whoever hears of the settling may rely on them.
        drop(batch);
        self.counters.records.fetch_add(u64::from(settled.delivered), Relaxed);
        self.counters.bytes.fetch_add(bytes, Relaxed);
        self.counters.dead_letters.fetch_add(u64::from(dead), Relaxed);
        self.counters.batches.fetch_add(1, Relaxed);
        self.counters.unsettled.fetch_sub(1, Relaxed);
        settle_to.tell(settled);
        if self.count.fetch_sub(1, AcqRel) == 1 {
            self.idle.notify_one();
        }
    }

    /// Waits until everything is settled; false after `deadline`.
    pub async fn wait_idle(&self, deadline: Duration) -> bool {
        let idle = async {
            while self.count.load(Acquire) > 0 {
                self.idle.notified().await;
            }
        };
        tokio::time::timeout(deadline, idle).await.is_ok()
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.counters.unsettled.fetch_sub(*self.count.get_mut(), Relaxed);
    }
}
