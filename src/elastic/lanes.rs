//! Lanes: where lines wait, and for what. The problem: one index that fails must not hold up another. New lines go by
//! the main lane, all indices mixed; what has to wait goes to a lane of its own cause, with its own backoff and
//! requests of its own.

use super::batches::Item;
use crate::flow::Backoff;
use crate::flow::EntryId;
use std::{collections::VecDeque, sync::Arc};
use tokio::time::Instant;

/// What the lines of a lane have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LaneKey {
    Main,
    /// Refused by this index, not by their own fault.
    Index(Box<str>),
    /// Refused by their own fault, of a topic that has too many of these.
    Topic(Arc<str>),
    /// Their entry's labels and index are not known yet.
    Entry(EntryId),
    /// The index template for this pattern is not installed yet.
    Pattern(Box<str>),
}

/// How many documents and bytes a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) items: usize,
    pub(super) bytes: usize,
}

/// Successful requests after which a limit that was halved is doubled again.
const GOOD_RUN: u32 = 16;

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) items: VecDeque<Item>,
    /// Requests, or questions, that are under way.
    pub(super) in_flight: usize,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Not before this time.
    pub(super) until: Option<Instant>,
    /// Of an index: it takes nothing at the moment, so new lines come here instead of into the main lane.
    pub(super) diverting: bool,
    /// Why the last request of it failed; told while it does.
    pub(super) why: Option<Box<str>>,
    pub(super) limit: Limit,
    good: u32,
}

impl Lane {
    pub(super) fn new(limit: Limit) -> Self {
        Self {
            items: VecDeque::new(),
            in_flight: 0,
            failures: 0,
            until: None,
            diverting: false,
            why: None,
            limit,
            good: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.items.is_empty() && self.in_flight == 0 && !self.diverting
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// One more failure. Requests that were under way together fail together: only the first of them counts.
    pub(super) fn failed(&mut self, backoff: &Backoff, sent: Instant, now: Instant) {
        if self.until.is_none_or(|until| until <= sent) {
            self.failures = self.failures.saturating_add(1);
            self.until = Some(now + backoff.wait(self.failures));
        }
    }

    /// A request of this size was answered.
    pub(super) fn grow(&mut self, full: Limit) {
        self.good += 1;
        if self.good >= GOOD_RUN {
            self.good = 0;
            self.limit.items = (self.limit.items * 2).min(full.items);
            self.limit.bytes = (self.limit.bytes * 2).min(full.bytes);
        }
    }

    /// The request was too large with this many documents and bytes.
    pub(super) fn halve(&mut self, items: usize, bytes: usize) {
        self.limit = Limit { items: (items / 2).max(1), bytes: (bytes / 2).max(1) };
        self.good = 0;
    }

    /// Puts items back, in their order, before all others.
    pub(super) fn put_back(&mut self, items: impl DoubleEndedIterator<Item = Item>) {
        for item in items.rev() {
            self.items.push_front(item);
        }
    }
}
