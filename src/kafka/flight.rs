//! A batch on its way through librdkafka, and how it came back. The problem: the batch's memory is lent to librdkafka
//! and its lines are answered one by one, by another thread.

use super::ErrorCode;
use crate::{flow::Origin, messages::LineBatch};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
};

/// A batch with what is to be sent of it.
#[derive(Debug)]
pub struct Flight {
    pub batch: LineBatch,
    /// Rising over all batches of the producer: what comes back is sent again in this order.
    pub order: u64,
    /// Lines that are sent now.
    pub lines: Range<u32>,
    /// Lines to be sent after these, the next ones last.
    pub rest: Vec<Range<u32>>,
    /// Nothing else of its topic is on its way: a refusal is about these lines.
    pub alone: bool,
    /// Lines refused for good, each with the reason.
    pub dead: Vec<(u32, ErrorCode)>,
    /// The broker refused something of it.
    pub refused: bool,
    /// What its lines weigh with librdkafka, in bytes: see [`Flight::weigh`].
    pub load: u64,
    /// Where it was last sent.
    pub partition: Option<i32>,
    pub flow: Arc<TopicFlow>,
}

impl Flight {
    /// All lines of `batch`, at once.
    pub fn new(batch: LineBatch, order: u64, flow: Arc<TopicFlow>) -> Self {
        let lines = 0..batch.lines.len() as u32;
        Self {
            batch,
            order,
            lines,
            rest: Vec::new(),
            alone: false,
            dead: Vec::new(),
            refused: false,
            load: 0,
            partition: None,
            flow,
        }
    }

    /// Bytes of these lines.
    pub fn bytes(&self, lines: &Range<u32>) -> u64 {
        self.batch.lines[lines.start as usize..lines.end as usize].iter().map(|line| u64::from(line.len)).sum()
    }

    /// Bytes that the lines to be sent make in a record batch before compression: values, keys, framing.
    pub fn weigh(&self) -> u64 {
        // FILE, OFFSET, READ_MS, ENTRY and their spaces, and the record's own framing.
        const RECORD: usize = 16 + 12 + 13 + 8 + 5 + 14;
        let names = match &self.batch.origin {
            Origin::File(origin) => origin.host.len() + origin.path.len(),
            Origin::Partition(_) => 0,
        };
        self.bytes(&self.lines) + (self.lines.len() * (RECORD + names)) as u64
    }

    /// Cuts what is to be sent into groups of at most `bytes` (or one line), each sent alone.
    pub fn regroup(&mut self, bytes: u64) {
        let (mut start, mut sum, mut groups) = (self.lines.start, 0, Vec::new());
        for index in self.lines.clone() {
            let len = u64::from(self.batch.lines[index as usize].len);
            if index > start && sum + len > bytes {
                groups.push(start..index);
                (start, sum) = (index, 0);
            }
            sum += len;
        }
        groups.push(start..self.lines.end);
        groups.reverse();
        self.lines = groups.pop().unwrap_or_default();
        self.rest.extend(groups);
        self.alone = true;
    }
}

/// A line that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Index in the batch's lines.
    pub line: u32,
    pub code: ErrorCode,
    /// librdkafka said so before it was sent.
    pub local: bool,
}

/// All lines of a sending are answered; those not listed were acknowledged.
#[derive(Debug)]
pub struct Landed {
    pub flight: Flight,
    pub failed: Vec<Failed>,
}

impl Landed {
    /// Everything of the batch is acknowledged and nothing is to be learned from it.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.flight.rest.is_empty() && self.flight.dead.is_empty() && !self.flight.alone
    }
}

/// How many bytes of a topic are on their way: added by the actor, taken off by the thread that hears of deliveries.
#[derive(Debug)]
pub struct TopicFlow {
    pub topic: Arc<str>,
    in_flight: AtomicI64,
    delivered: AtomicBool,
    open: AtomicBool,
    /// Wake the actor at this many or fewer; -1: it doesn't wait.
    wake_at: AtomicI64,
}

impl TopicFlow {
    pub fn new(topic: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            topic,
            in_flight: AtomicI64::new(0),
            delivered: AtomicBool::new(false),
            open: AtomicBool::new(false),
            wake_at: AtomicI64::new(-1),
        })
    }

    pub fn in_flight(&self) -> i64 {
        self.in_flight.load(SeqCst)
    }

    pub fn add(&self, load: u64) {
        self.in_flight.fetch_add(load as i64, SeqCst);
    }

    /// Something of the topic was delivered.
    pub fn delivered(&self) {
        self.delivered.store(true, SeqCst);
        self.open.store(true, SeqCst);
    }

    /// Whether something was delivered since the last call.
    pub fn take_delivered(&self) -> bool {
        self.delivered.swap(false, SeqCst)
    }

    /// The broker doesn't take the topic's lines for now.
    pub fn refused(&self) {
        self.open.store(false, SeqCst);
    }

    /// Whether the broker takes the topic's lines: something was delivered and nothing refused since.
    pub fn is_open(&self) -> bool {
        self.open.load(SeqCst)
    }

    /// Takes off; whether the actor is to be woken.
    pub fn take_off(&self, load: u64) -> bool {
        let now = self.in_flight.fetch_sub(load as i64, SeqCst) - load as i64;
        let at = self.wake_at.load(SeqCst);
        at >= now && at >= 0 && self.wake_at.compare_exchange(at, -1, SeqCst, SeqCst).is_ok()
    }

    /// Asks to be woken at `load` or fewer. True: it is so already, nobody will wake.
    pub fn wake_at(&self, load: i64) -> bool {
        self.wake_at.store(load, SeqCst);
        self.in_flight() <= load && self.wake_at.compare_exchange(load, -1, SeqCst, SeqCst).is_ok()
    }
}
