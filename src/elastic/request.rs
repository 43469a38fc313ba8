//! What goes out of the queue and comes back: a request, what is to be done next, what an answer brought about.

use super::{
    batches::{Item, Notice},
    lanes::LaneKey,
    refusals::PauseRule,
    verdict::Reason,
};
use crate::{
    document::Place,
    flow::{Backoff, EntryId},
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How requests are made up.
#[derive(Clone, Copy, Debug)]
pub struct QueueSettings {
    /// A request is sent when it has this many bytes,
    pub bulk_bytes: usize,
    /// or this many documents,
    pub bulk_documents: usize,
    /// or when its first line has waited this long.
    pub linger: Duration,
    /// Requests under way at once; as many again for lines that are sent again.
    pub in_flight: usize,
    pub backoff: Backoff,
    pub pause: PauseRule,
    /// Whether an index template has to be there before the first write.
    pub install_templates: bool,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            bulk_bytes: 5 << 20,
            bulk_documents: 20_000,
            linger: Duration::from_millis(100),
            in_flight: 2,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(30)),
            pause: PauseRule { over_percent: 10, at_least: 10 },
            install_templates: true,
        }
    }
}

/// One document of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) item: Item,
    pub(super) place: u32,
}

/// One bulk request.
#[derive(Debug)]
pub struct Request {
    pub(super) lane: LaneKey,
    pub(super) items: Vec<Sent>,
    pub(super) places: Vec<Arc<Place>>,
    pub(super) built: Instant,
    pub body: Bytes,
}

impl Request {
    /// Number of documents.
    pub fn documents(&self) -> usize {
        self.items.len()
    }
}

/// What is to be done next.
#[derive(Debug)]
pub enum Next {
    /// Send it, and tell [`Queue::answered`].
    Send(Request),
    /// Ask for this entry, and tell [`Queue::entry_answered`].
    LookUp(EntryId),
    /// Install the index template, and tell [`Queue::template_answered`] with the number.
    Install(Box<str>, u64),
    /// Nothing before this time, or an answer or a batch.
    Wait(Instant),
    /// Nothing before an answer or a batch.
    Idle,
}

/// A document that was refused by its own fault.
#[derive(Debug)]
pub struct DeadItem {
    pub(super) item: Item,
    pub(super) place: Arc<Place>,
    pub(super) reason: Reason,
}

/// What an answer brought about.
#[derive(Debug, Default)]
pub struct Outcome {
    pub settled: Vec<Notice>,
    /// To be kept, and told to [`Queue::dead_kept`].
    pub dead: Vec<DeadItem>,
}
