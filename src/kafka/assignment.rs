//! Which partitions this process has, and how far each one is. The problem: settled marks come from other threads
//! and may be late: for a partition that was taken away meanwhile nothing may be stored any more, even if it came
//! back. Each assignment gets a number of its own, and a mark of an earlier one is ignored.

use super::prefix::Prefix;
use crate::{
    flow::{OriginId, PartitionOrigin},
    messages::Settled,
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Numbers of assignments are unique in the process, also after a restart of the consumer.
static NEXT_ORIGIN: AtomicU64 = AtomicU64::new(1);

/// One assigned partition.
#[derive(Debug)]
struct Assigned {
    origin: Arc<PartitionOrigin>,
    prefix: Prefix,
    /// Offset that is expected next; `None` before the first record.
    next: Option<i64>,
    /// End of the settled prefix, not yet stored.
    to_store: Option<i64>,
}

/// The partitions assigned at the moment; shared by the polling thread and those who settle.
#[derive(Debug, Default)]
pub struct Assignment {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    partitions: HashMap<OriginId, Assigned>,
    origins: HashMap<(Arc<str>, i32), OriginId>,
}

/// A partition's place in the run of offsets, as a record arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Follows on.
    Expected,
    /// First record since the assignment.
    First,
    /// The offsets from here on to the record's are missing: compacted, transactional, or lost.
    Gap(i64),
}

impl Assignment {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition was assigned.
    pub fn add(&self, topic: &str, partition: i32) {
        let mut inner = self.lock();
        inner.remove(topic, partition);
        let id = NEXT_ORIGIN.fetch_add(1, Relaxed);
        let origin = Arc::new(PartitionOrigin { id, topic: topic.into(), partition });
        inner.origins.insert((origin.topic.clone(), partition), id);
        let assigned = Assigned { origin, prefix: Prefix::default(), next: None, to_store: None };
        inner.partitions.insert(id, assigned);
    }

    /// A partition was taken away: what isn't settled belongs to its next owner.
    pub fn remove(&self, topic: &str, partition: i32) {
        self.lock().remove(topic, partition);
    }

    pub fn clear(&self) {
        *self.lock() = Inner::default();
    }

    pub fn origin(&self, topic: &str, partition: i32) -> Option<Arc<PartitionOrigin>> {
        let inner = self.lock();
        let id = inner.origins.get(&(Arc::from(topic), partition))?;
        inner.partitions.get(id).map(|a| a.origin.clone())
    }

    /// Numbers of the topic's partitions that are assigned.
    pub fn partitions(&self, topic: &str) -> Vec<i32> {
        let inner = self.lock();
        inner.origins.keys().filter(|(name, _)| **name == *topic).map(|(_, partition)| *partition).collect()
    }

    /// Whether this assignment still holds.
    pub fn holds(&self, id: OriginId) -> bool {
        self.lock().partitions.contains_key(&id)
    }

    /// Notes that records up to `end` arrive, the first at `offset`.
    pub fn arrive(&self, id: OriginId, offset: i64, end: i64) -> Arrival {
        let mut inner = self.lock();
        let Some(assigned) = inner.partitions.get_mut(&id) else { return Arrival::Expected };
        match assigned.next.replace(end) {
            None => Arrival::First,
            Some(next) if next < offset => Arrival::Gap(next),
            Some(_) => Arrival::Expected,
        }
    }

    /// A batch of this assignment goes on its way; the answer is its number.
    pub fn deliver(&self, id: OriginId, end: i64) -> Option<u64> {
        self.lock().partitions.get_mut(&id).map(|a| a.prefix.deliver(end as u64))
    }

    /// A batch is settled. Answers whether a position moved.
    pub fn settle(&self, settled: &Settled) -> bool {
        let mut inner = self.lock();
        let Some(assigned) = inner.partitions.get_mut(&settled.origin) else { return false };
        let moved = assigned.prefix.settle(settled.seq).map(|end| end as i64);
        assigned.to_store = moved.or(assigned.to_store);
        moved.is_some()
    }

    /// Positions that moved since the last call: topic, partition, offset after the last settled record.
    pub fn take_positions(&self) -> Vec<(Arc<str>, i32, i64)> {
        let mut inner = self.lock();
        let moved = inner.partitions.values_mut().filter_map(|a| {
            let offset = a.to_store.take()?;
            Some((a.origin.topic.clone(), a.origin.partition, offset))
        });
        moved.collect()
    }

    /// Batches on their way.
    pub fn open(&self) -> usize {
        self.lock().partitions.values().map(|a| a.prefix.open()).sum()
    }

    /// For each partition: topic, number, offset expected next.
    pub fn positions(&self) -> Vec<(Arc<str>, i32, Option<i64>)> {
        let inner = self.lock();
        inner.partitions.values().map(|a| (a.origin.topic.clone(), a.origin.partition, a.next)).collect()
    }
}

impl Inner {
    fn remove(&mut self, topic: &str, partition: i32) {
        if let Some(id) = self.origins.remove(&(Arc::from(topic), partition)) {
            self.partitions.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(origin: OriginId, seq: u64) -> Settled {
        Settled { origin, seq, delivered: 1, dead: 0 }
    }

    #[test]
    fn a_late_mark_of_an_earlier_assignment_moves_nothing() {
        let assignment = Assignment::default();
        assignment.add("t", 0);
        let old = assignment.origin("t", 0).expect("assigned").id;
        let seq = assignment.deliver(old, 10).expect("assigned");
        assignment.remove("t", 0);
        assignment.add("t", 0);
        let new = assignment.origin("t", 0).expect("assigned").id;
        assert_eq!(assignment.deliver(new, 10), Some(seq));
        assert!(!assignment.settle(&settled(old, seq)));
        assert_eq!(assignment.take_positions(), []);
        assert!(assignment.settle(&settled(new, seq)));
        assert_eq!(assignment.take_positions(), [("t".into(), 0, 10)]);
        assert_eq!(assignment.take_positions(), [], "each position is stored once");
    }

    #[test]
    fn gaps_in_the_offsets_are_seen() {
        let assignment = Assignment::default();
        assignment.add("t", 3);
        let id = assignment.origin("t", 3).expect("assigned").id;
        assert_eq!(assignment.arrive(id, 5, 8), Arrival::First);
        assert_eq!(assignment.arrive(id, 8, 9), Arrival::Expected);
        assert_eq!(assignment.arrive(id, 20, 21), Arrival::Gap(9));
    }
}
