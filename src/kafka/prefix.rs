//! The contiguous settled prefix. The problem: batches settle in any order, but an origin's position may only move to
//! the end of what is settled without a gap, or a crash would jump over the gap. Kafka's offsets themselves have gaps
//! (transactions, compaction), so the order is that of delivery.

use std::collections::BTreeMap;

/// Batches of one origin in the order they were delivered in. Only those that are not settled are kept, and each of them
/// holds credit: one that never settles costs no memory for the thousands that settle after it.
#[derive(Debug, Default)]
pub struct Prefix {
    /// Number of the next batch.
    next: u64,
    /// Where the last batch ends.
    end: u64,
    /// Each batch that is not settled, and where the one before it ends.
    open: BTreeMap<u64, u64>,
}

impl Prefix {
    /// A batch was delivered; the answer is its number.
    pub fn deliver(&mut self, end: u64) -> u64 {
        let seq = self.next;
        self.open.insert(seq, self.end);
        (self.next, self.end) = (seq + 1, end);
        seq
    }

    /// A batch is settled. The answer is the new end of the prefix, if it moved.
    pub fn settle(&mut self, seq: u64) -> Option<u64> {
        let first = self.open.first_key_value().is_some_and(|(first, _)| *first == seq);
        self.open.remove(&seq)?;
        first.then(|| self.open.first_key_value().map_or(self.end, |(_, before)| *before))
    }

    /// Batches that are not settled.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_prefix_never_passes_a_gap() {
        let mut prefix = Prefix::default();
        let seqs: Vec<u64> = [10, 25, 26].map(|end| prefix.deliver(end)).into();
        assert_eq!(prefix.settle(seqs[1]), None);
        assert_eq!(prefix.settle(seqs[0]), Some(25));
        assert_eq!(prefix.settle(seqs[0]), None, "twice is once");
        assert_eq!(prefix.settle(99), None, "a stranger's number moves nothing");
        assert_eq!((prefix.settle(seqs[2]), prefix.open()), (Some(26), 0));
    }

    #[test]
    fn a_batch_that_never_settles_costs_no_memory_for_those_after_it() {
        let mut prefix = Prefix::default();
        let stuck = prefix.deliver(1);
        for end in 2..=1_000_000 {
            let seq = prefix.deliver(end);
            assert_eq!(prefix.settle(seq), None);
        }
        assert_eq!(prefix.open(), 1);
        assert_eq!((prefix.settle(stuck), prefix.open()), (Some(1_000_000), 0));
    }

    proptest! {
        #[test]
        fn any_order_gives_the_end_of_the_settled_prefix(order in Just((0u64..40).collect::<Vec<_>>()).prop_shuffle()) {
            let mut prefix = Prefix::default();
            for n in 0..40 {
                prop_assert_eq!(prefix.deliver(100 + n), n);
            }
            let (mut settled, mut position) = (std::collections::BTreeSet::new(), None);
            for seq in order {
                settled.insert(seq);
                let run = (0..40).take_while(|n| settled.contains(n)).count() as u64;
                position = prefix.settle(seq).or(position);
                prop_assert_eq!(position, (run > 0).then(|| 99 + run));
            }
        }
    }
}
