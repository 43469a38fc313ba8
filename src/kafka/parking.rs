//! Batches that wait for credit. The problem: a paused partition loses what librdkafka has prefetched of it, which is
//! then fetched, decompressed and cut into records again; with a sink that is just slower than Kafka that would happen
//! all the time. So while nobody else is held up the loop takes nothing more and waits for credit; a partition is
//! paused for the sake of the others, or when no credit comes for long.

use super::gather::Gathered;
use crate::flow::{OriginId, PartitionOrigin};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Parked bytes up to which the loop goes on fetching, to find records of others.
const ROOM: usize = 1 << 20;
/// How long nothing is fetched while no credit comes.
const PATIENCE: Duration = Duration::from_millis(500);
/// Other topics are there when they had records within this time.
const OTHERS: Duration = Duration::from_secs(1);

/// One partition's batches without credit.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) origin: Arc<PartitionOrigin>,
    pub(super) pieces: VecDeque<Gathered>,
    pub(super) paused: bool,
}

/// What the loop is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing waits, or there is room for what else comes.
    Fetch,
    /// Wait for credit.
    Wait,
    /// Pause what is parked, then fetch.
    Pause,
}

/// All that is parked, in the order in which it was.
#[derive(Debug, Default)]
pub(super) struct Parking {
    parked: Vec<Parked>,
    /// Since when nothing that was parked went on its way.
    stuck_since: Option<Instant>,
    others_at: Option<Instant>,
}

impl Parking {
    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// What is parked of this partition.
    pub(super) fn of(&mut self, id: OriginId) -> Option<&mut Parked> {
        self.parked.iter_mut().find(|parked| parked.origin.id == id)
    }

    pub(super) fn park(&mut self, parked: Parked) {
        self.parked.push(parked);
    }

    /// For trying again; what still waits is to be parked again.
    pub(super) fn take(&mut self) -> Vec<Parked> {
        std::mem::take(&mut self.parked)
    }

    /// Something that was parked went on its way.
    pub(super) fn moved(&mut self) {
        self.stuck_since = None;
    }

    /// Records of this topic went on their way. Partitions of one topic share its credit, so only those of another topic
    /// than what is parked are held up by it.
    pub(super) fn passed(&mut self, topic: &Arc<str>, now: Instant) {
        if !self.parked.is_empty() && self.parked.iter().all(|parked| parked.origin.topic != *topic) {
            self.others_at = Some(now);
        }
    }

    pub(super) fn step(&mut self, now: Instant) -> Step {
        let waiting = self.parked.iter().filter(|parked| !parked.paused);
        let bytes: usize = waiting.flat_map(|parked| &parked.pieces).map(|piece| piece.data.len()).sum();
        if bytes < ROOM {
            return Step::Fetch;
        }
        let since = *self.stuck_since.get_or_insert(now);
        let others = self.others_at.is_some_and(|at| now.saturating_duration_since(at) < OTHERS);
        if others || now.saturating_duration_since(since) >= PATIENCE { Step::Pause } else { Step::Wait }
    }

    /// Marks all as paused and names those that were not.
    pub(super) fn pause_all(&mut self) -> Vec<Arc<PartitionOrigin>> {
        let running = self.parked.iter_mut().filter(|parked| !parked.paused);
        running
            .map(|parked| {
                parked.paused = true;
                parked.origin.clone()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Chunk;

    fn parked(id: OriginId, bytes: usize) -> Parked {
        let data = Chunk::from(vec![0; bytes]);
        let piece = Gathered { first_offset: 0, end_offset: 1, data, lines: vec![], records: vec![], nulls: 0 };
        let origin = Arc::new(PartitionOrigin { id, topic: "t".into(), partition: id as i32 });
        Parked { origin, pieces: [piece].into(), paused: false }
    }

    #[test]
    fn a_partition_is_waited_for_while_credit_comes_and_nobody_else_is_held_up() {
        let (mut parking, start) = (Parking::default(), Instant::now());
        assert_eq!(parking.step(start), Step::Fetch);
        parking.park(parked(1, ROOM - 1));
        assert_eq!(parking.step(start), Step::Fetch, "there may be records of others");
        parking.park(parked(2, 1));
        assert_eq!(parking.step(start), Step::Wait);
        parking.moved();
        assert_eq!(parking.step(start + PATIENCE), Step::Wait, "something moved: patience begins anew");
        assert_eq!(parking.step(start + PATIENCE * 2), Step::Pause);
        assert_eq!(parking.pause_all().iter().map(|origin| origin.id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(parking.step(start + PATIENCE * 3), Step::Fetch, "what is paused comes no more");
        assert!(parking.pause_all().is_empty());
    }

    #[test]
    fn a_partition_is_paused_at_once_where_others_have_records() {
        let (mut parking, start) = (Parking::default(), Instant::now());
        parking.park(parked(1, ROOM));
        parking.passed(&"t".into(), start);
        assert_eq!(parking.step(start), Step::Wait, "the same topic has the same credit");
        parking.passed(&"other".into(), start);
        assert_eq!(parking.step(start), Step::Pause);
        parking.moved();
        assert_eq!(parking.step(start + OTHERS), Step::Wait, "the others are quiet");
    }
}
