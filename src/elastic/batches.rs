//! The batches whose lines are not all delivered yet. The problem: a line that has to be sent again needs its bytes,
//! and keeping rendered documents would cost three times the memory. So only the batches are kept (their credit bounds
//! them), a line is two numbers, and a document is written anew whenever a request is built.

use crate::{
    messages::{LineBatch, Settled},
    telemetry::Mailbox,
};
use tokio::time::Instant;

/// One line of one held batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub(super) slot: u32,
    pub(super) line: u32,
}

/// Who has to be told that a batch is done.
pub type Notice = (Mailbox<Settled>, Settled);

#[derive(Debug)]
struct Held {
    batch: LineBatch,
    since: Instant,
    remaining: u32,
    dead: u32,
}

/// Slots are used again, so that an item stays eight bytes.
#[derive(Debug, Default)]
pub(super) struct Batches {
    slots: Vec<Option<Held>>,
    free: Vec<u32>,
}

impl Batches {
    /// `batch` has at least one line.
    pub(super) fn insert(&mut self, batch: LineBatch, now: Instant) -> u32 {
        let held = Some(Held { remaining: batch.lines.len() as u32, since: now, batch, dead: 0 });
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = held;
                slot
            }
            None => {
                self.slots.push(held);
                self.slots.len() as u32 - 1
            }
        }
    }

    pub(super) fn get(&self, slot: u32) -> Option<&LineBatch> {
        self.slots.get(slot as usize)?.as_ref().map(|held| &held.batch)
    }

    /// When the batch came.
    pub(super) fn since(&self, slot: u32) -> Option<Instant> {
        self.slots.get(slot as usize)?.as_ref().map(|held| held.since)
    }

    /// `lines` more are done, all of them `dead` or none. Answers the notice when that was the last; the batch and its
    /// credit are gone then.
    pub(super) fn done(&mut self, slot: u32, lines: u32, dead: bool) -> Option<Notice> {
        let place = self.slots.get_mut(slot as usize)?;
        let held = place.as_mut()?;
        held.remaining = held.remaining.saturating_sub(lines);
        held.dead += if dead { lines } else { 0 };
        if held.remaining > 0 {
            return None;
        }
        let held = place.take()?;
        self.free.push(slot);
        Some((held.batch.settle_to.clone(), held.batch.settled(held.dead)))
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
