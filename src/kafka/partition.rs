//! Which partition a chunk goes to, chosen once per chunk. The problem: lines of a file must stay in order, so they
//! share a partition, while files spread evenly over the partitions.

use crate::flow::{FileId, PartitionRule};

/// The partition of a file: its identity is 64 random bits, so scaling them to the number of partitions spreads
/// files evenly. The same for every run as long as the number of partitions stays.
pub fn partition_of_file(file: FileId, partitions: i32) -> i32 {
    ((u128::from(file.0) * partitions.max(1) as u128) >> 64) as i32
}

/// The memory of a topic's rules: where the round is, and the state of its random numbers.
#[derive(Debug)]
pub struct Chooser {
    next: u32,
    random: u64,
}

impl Chooser {
    pub fn new(seed: u64) -> Self {
        Self { next: seed as u32, random: seed }
    }

    /// A partition of `partitions` (at least 1) for a chunk of `file`.
    ///
    /// # Errors
    /// The number that the rule names, where the topic has no such partition.
    pub fn choose(&mut self, rule: PartitionRule, file: FileId, partitions: i32) -> Result<i32, i32> {
        match rule {
            PartitionRule::File => Ok(partition_of_file(file, partitions)),
            PartitionRule::Random => Ok(partition_of_file(FileId(self.random()), partitions)),
            PartitionRule::RoundRobin => {
                self.next = self.next.wrapping_add(1);
                Ok((self.next % partitions.max(1) as u32) as i32)
            }
            PartitionRule::Number(n) if (0..partitions).contains(&n) => Ok(n),
            PartitionRule::Number(n) => Err(n),
        }
    }

    /// SplitMix64: every state gives another number, no state is bad.
    pub fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_spread_evenly_and_each_keeps_its_partition() {
        let mut chooser = Chooser::new(7);
        let mut counts = [0; 5];
        for _ in 0..5000 {
            let file = FileId(chooser.random());
            let partition = partition_of_file(file, 5);
            assert_eq!(chooser.choose(PartitionRule::File, file, 5), Ok(partition));
            counts[partition as usize] += 1;
        }
        assert!(counts.iter().all(|c| (800..1200).contains(c)), "{counts:?}");
        assert_eq!(partition_of_file(FileId(u64::MAX), 5), 4);
        assert_eq!(partition_of_file(FileId(0), 1), 0);
    }

    #[test]
    fn the_round_visits_each_partition_and_random_stays_in_range() {
        let mut chooser = Chooser::new(u64::from(u32::MAX) - 2);
        let round: Vec<i32> =
            (0..8).map(|_| chooser.choose(PartitionRule::RoundRobin, FileId(1), 4).unwrap()).collect();
        let mut first = round[..4].to_vec();
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2, 3]);
        assert!((0..99).all(|_| (0..3).contains(&chooser.choose(PartitionRule::Random, FileId(1), 3).unwrap())));
    }

    #[test]
    fn a_partition_that_does_not_exist_is_named() {
        let mut chooser = Chooser::new(0);
        assert_eq!(chooser.choose(PartitionRule::Number(3), FileId(1), 4), Ok(3));
        assert_eq!(chooser.choose(PartitionRule::Number(4), FileId(1), 4), Err(4));
        assert_eq!(chooser.choose(PartitionRule::Number(-1), FileId(1), 4), Err(-1));
    }
}
