//! Which days go. The problem: a disk is finite, and whoever asks for thirty days must not find the forty-first; but a
//! clock that jumps must not cost the day that is being written.

use super::Day;

/// How much is kept; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// So many days, today included.
    pub days: Option<u32>,
    /// Bytes of all days together. The newest day stays in any case.
    pub bytes: Option<u64>,
}

impl Retention {
    /// The days to be removed of these (oldest first, each with its bytes).
    pub fn doomed(&self, days: &[(Day, u64)], today: Day) -> Vec<Day> {
        let mut doomed = Vec::new();
        let mut kept: u64 = days.iter().map(|(_, bytes)| bytes).sum();
        let Some(((newest, _), older)) = days.split_last() else { return doomed };
        for &(day, bytes) in older {
            let too_old = self.is_over(day, today);
            let too_much = self.bytes.is_some_and(|limit| kept > limit);
            if too_old || too_much {
                kept -= bytes;
                doomed.push(day);
            }
        }
        if self.is_over(*newest, today) {
            doomed.push(*newest);
        }
        doomed
    }

    /// Whether a day is older than what is kept.
    pub fn is_over(&self, day: Day, today: Day) -> bool {
        self.days.is_some_and(|limit| day.0.saturating_add(limit) <= today.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doomed(retention: Retention, days: &[(u32, u64)], today: u32) -> Vec<u32> {
        let days: Vec<_> = days.iter().map(|&(day, bytes)| (Day(day), bytes)).collect();
        retention.doomed(&days, Day(today)).into_iter().map(|day| day.0).collect()
    }

    #[test]
    fn the_oldest_days_go_and_no_more_than_needed() {
        let days = [(1, 10), (2, 10), (3, 10), (4, 50)];
        assert_eq!(doomed(Retention::default(), &days, 400), [0; 0]);
        assert_eq!(doomed(Retention { days: Some(2), bytes: None }, &days, 4), [1, 2]);
        assert_eq!(doomed(Retention { days: Some(2), bytes: None }, &days, 5), [1, 2, 3]);
        assert_eq!(doomed(Retention { days: Some(2), bytes: None }, &days, 9), [1, 2, 3, 4]);
        assert_eq!(doomed(Retention { days: None, bytes: Some(65) }, &days, 9), [1, 2]);
        assert_eq!(doomed(Retention { days: None, bytes: Some(1) }, &days, 4), [1, 2, 3], "the newest stays");
        assert_eq!(doomed(Retention { days: Some(9), bytes: Some(70) }, &days, 4), [1]);
        assert_eq!(doomed(Retention { days: Some(1), bytes: Some(1) }, &[], 4), [0; 0]);
        assert_eq!(doomed(Retention { days: Some(1), bytes: None }, &[(9, 1)], 4), [0; 0], "a clock that went back");
    }
}
