//! Batches that wait for credit. The problem: a paused partition loses what librdkafka has prefetched of it, which is
//! then fetched, decompressed and cut into records again; with a sink that is just slower than Kafka that would happen
//! all the time. So while nobody else is held up the loop takes nothing more and waits for credit; what is parked is
//! paused for the sake of the others, or when no credit comes for long.
//!
//! What is parked has no credit, so it is bounded here: the partitions of a topic share its credit and are paused
//! together, which leaves about [`ROOM`] a topic however many partitions it has; and whatever there is of topics, nothing
//! more is fetched with [`MOST`] parked. In both cases one fetch may come on top.

use super::gather::Gathered;
use crate::flow::{OriginId, PartitionOrigin};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Parked bytes of topics that are not paused up to which the loop goes on fetching, to find records of others.
const ROOM: usize = 1 << 20;
/// Parked bytes in all up to which anything is fetched. A topic that is stuck by itself holds its whole share of the
/// credits, an eighth: this is reached where there is no credit for anybody.
const MOST: usize = 32 << 20;
/// How long nothing is fetched while no credit comes.
const PATIENCE: Duration = Duration::from_millis(500);
/// Other topics are there when they had records within this time.
const OTHERS: Duration = Duration::from_secs(1);

/// One partition's batches without credit.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) origin: Arc<PartitionOrigin>,
    pub(super) pieces: VecDeque<Gathered>,
}

/// What the loop is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing waits, or there is room for what else comes.
    Fetch,
    /// Wait for credit.
    Wait,
    /// Pause the topics of what is parked, then fetch.
    Pause,
}

/// All that is parked, in the order in which it was.
#[derive(Debug, Default)]
pub(super) struct Parking {
    parked: Vec<Parked>,
    /// Topics that have paused partitions, and whether these are all of them: one that is assigned later is not.
    paused: BTreeMap<Arc<str>, bool>,
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

    pub(super) fn bytes(&self) -> usize {
        self.parked.iter().map(Parked::bytes).sum()
    }

    /// Whether something of this partition is parked, and what else comes has to stay behind it.
    pub(super) fn holds(&self, id: OriginId) -> bool {
        self.parked.iter().any(|parked| parked.origin.id == id)
    }

    /// Parks what has just been fetched.
    pub(super) fn park(&mut self, origin: Arc<PartitionOrigin>, mut pieces: VecDeque<Gathered>) {
        if let Some(all) = self.paused.get_mut(&origin.topic) {
            *all = false;
        }
        match self.parked.iter_mut().find(|parked| parked.origin.id == origin.id) {
            Some(parked) => parked.pieces.append(&mut pieces),
            None => self.parked.push(Parked { origin, pieces }),
        }
    }

    /// For trying again; what still waits is to be [put back](Self::put_back).
    pub(super) fn take(&mut self) -> Vec<Parked> {
        std::mem::take(&mut self.parked)
    }

    pub(super) fn put_back(&mut self, parked: Parked) {
        self.parked.push(parked);
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
        if self.bytes() >= MOST {
            return Step::Wait;
        }
        let running = self.parked.iter().filter(|parked| !self.is_paused(&parked.origin.topic));
        if running.map(Parked::bytes).sum::<usize>() < ROOM {
            return Step::Fetch;
        }
        let since = *self.stuck_since.get_or_insert(now);
        let others = self.others_at.is_some_and(|at| now.saturating_duration_since(at) < OTHERS);
        if others || now.saturating_duration_since(since) >= PATIENCE { Step::Pause } else { Step::Wait }
    }

    fn is_paused(&self, topic: &Arc<str>) -> bool {
        self.paused.get(topic).copied().unwrap_or(false)
    }

    /// Marks the topics of all that is parked as paused and names those that were not.
    pub(super) fn pause_all(&mut self) -> BTreeSet<Arc<str>> {
        let topics = self.parked.iter().map(|parked| parked.origin.topic.clone());
        let running: BTreeSet<_> = topics.filter(|topic| !self.is_paused(topic)).collect();
        self.paused.extend(running.iter().map(|topic| (topic.clone(), true)));
        running
    }

    /// The paused topics of which nothing is parked any more; they are to be resumed.
    pub(super) fn resume(&mut self) -> Vec<Arc<str>> {
        let parked = &self.parked;
        let free = |topic: &Arc<str>| parked.iter().all(|parked| parked.origin.topic != *topic);
        self.paused.extract_if(.., |topic, _| free(topic)).map(|(topic, _)| topic).collect()
    }
}

impl Parked {
    fn bytes(&self) -> usize {
        self.pieces.iter().map(Gathered::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Chunk;

    fn park(parking: &mut Parking, topic: &str, id: OriginId, bytes: usize) {
        let data = Chunk::from(vec![0; bytes]);
        let piece = Gathered { first_offset: 0, end_offset: 1, data, lines: vec![], records: vec![], nulls: 0 };
        let origin = Arc::new(PartitionOrigin { id, topic: topic.into(), partition: id as i32 });
        parking.park(origin, [piece].into());
    }

    fn topics(topics: impl IntoIterator<Item = Arc<str>>) -> String {
        topics.into_iter().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_topic_is_waited_for_while_credit_comes_and_nobody_else_is_held_up() {
        let (mut parking, start) = (Parking::default(), Instant::now());
        assert_eq!(parking.step(start), Step::Fetch);
        park(&mut parking, "t", 1, ROOM - 1);
        assert_eq!(parking.step(start), Step::Fetch, "there may be records of others");
        park(&mut parking, "u", 2, 1);
        assert_eq!(parking.step(start), Step::Wait);
        parking.moved();
        assert_eq!(parking.step(start + PATIENCE), Step::Wait, "something moved: patience begins anew");
        assert_eq!(parking.step(start + PATIENCE * 2), Step::Pause);
        assert_eq!(topics(parking.pause_all()), "t u");
        assert_eq!(parking.step(start + PATIENCE * 3), Step::Fetch, "what is paused comes no more");
        assert!(parking.pause_all().is_empty() && parking.resume().is_empty());
        let mut parked = parking.take();
        parking.put_back(parked.remove(1));
        assert_eq!((topics(parking.resume()), parking.bytes()), ("t".into(), 1));
        parking.take();
        assert_eq!(topics(parking.resume()), "u");
        assert!(parking.resume().is_empty());
    }

    #[test]
    fn a_topic_is_paused_at_once_where_others_have_records() {
        let (mut parking, start) = (Parking::default(), Instant::now());
        park(&mut parking, "t", 1, ROOM);
        parking.passed(&"t".into(), start);
        assert_eq!(parking.step(start), Step::Wait, "the same topic has the same credit");
        parking.passed(&"other".into(), start);
        assert_eq!(parking.step(start), Step::Pause);
        parking.moved();
        assert_eq!(parking.step(start + OTHERS), Step::Wait, "the others are quiet");
    }

    #[test]
    fn a_partition_that_is_assigned_to_a_paused_topic_is_paused_too_and_all_are_resumed() {
        let (mut parking, start) = (Parking::default(), Instant::now());
        park(&mut parking, "t", 1, ROOM);
        parking.pause_all();
        park(&mut parking, "t", 2, ROOM);
        parking.step(start);
        assert_eq!(parking.step(start + PATIENCE), Step::Pause);
        park(&mut parking, "t", 3, 1);
        parking.take();
        assert_eq!(topics(parking.resume()), "t", "also those that were paused before");
    }

    #[test]
    fn nothing_is_fetched_with_too_much_parked_whatever_is_paused() {
        let (mut parking, start) = (Parking::default(), Instant::now());
        for id in 1..=31 {
            park(&mut parking, &format!("t{id}"), id, ROOM);
            parking.passed(&"other".into(), start);
            assert_eq!(parking.step(start), Step::Pause);
            parking.pause_all();
            assert_eq!(parking.step(start), Step::Fetch);
        }
        park(&mut parking, "t1", 1, ROOM);
        assert_eq!(parking.step(start + PATIENCE * 9), Step::Wait);
        let rest = parking.take().split_off(1);
        rest.into_iter().for_each(|parked| parking.put_back(parked));
        assert_eq!(parking.step(start), Step::Fetch);
    }
}
