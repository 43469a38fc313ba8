//! The contiguous settled prefix. The problem: batches settle in any order, but an origin's position may only move to
//! the end of what is settled without a gap, or a crash would jump over the gap. Kafka's offsets themselves have gaps
//! (transactions, compaction), so the order is that of delivery.

use std::collections::VecDeque;

/// Batches of one origin in the order they were delivered in.
#[derive(Debug, Default)]
pub struct Prefix {
    /// Number of the first batch in `waiting`.
    first: u64,
    /// Where each batch ends, and whether it is settled.
    waiting: VecDeque<(u64, bool)>,
}

impl Prefix {
    /// A batch was delivered; the answer is its number.
    pub fn deliver(&mut self, end: u64) -> u64 {
        self.waiting.push_back((end, false));
        self.first + self.waiting.len() as u64 - 1
    }

    /// A batch is settled. The answer is the new end of the prefix, if it moved.
    pub fn settle(&mut self, seq: u64) -> Option<u64> {
        let place = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.waiting.get_mut(place)?.1 = true;
        let mut moved = None;
        while let Some(&(end, true)) = self.waiting.front() {
            self.waiting.pop_front();
            self.first += 1;
            moved = Some(end);
        }
        moved
    }

    /// Batches delivered and not yet part of the prefix.
    pub fn open(&self) -> usize {
        self.waiting.len()
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
