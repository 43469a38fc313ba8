//! How long to wait before the next attempt: doubled after each failure up to a limit, with jitter, so that many
//! that failed together don't come back together.

use std::{ops::RangeInclusive, time::Duration};

/// First and longest wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// `first` is at least a millisecond, `longest` at least `first`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        let least = Duration::from_millis(1);
        let first = if first.as_nanos() < least.as_nanos() { least } else { first };
        let longest = if longest.as_nanos() < first.as_nanos() { first } else { longest };
        Self { first, longest }
    }

    /// What the wait after this many failures in a row (from 1) is between: a half and the whole of the doubled value.
    pub fn bounds(&self, failures: u32) -> RangeInclusive<Duration> {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.longest);
        doubled / 2..=doubled
    }

    /// The wait after this many failures in a row: somewhere within [`Self::bounds`].
    pub fn wait(&self, failures: u32) -> Duration {
        let (least, most) = self.bounds(failures).into_inner();
        // Without randomness the waits are only less spread.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        least + (most - least).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// A [`Backoff`] and how often it was needed in a row.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    backoff: Backoff,
    failures: u32,
}

impl Retries {
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0 }
    }

    /// It failed again: how long to wait before the next attempt.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.backoff.wait(self.failures)
    }

    /// It went well.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_never_vanish() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        for failures in 0..200u32 {
            let full = Duration::from_millis(100u64 << (failures.clamp(1, 20) - 1)).min(Duration::from_secs(30));
            let wait = backoff.wait(failures);
            assert!(wait >= full / 2 && wait <= full, "{failures}: {wait:?} of {full:?}");
            assert_eq!(backoff.bounds(failures), full / 2..=full, "{failures}");
        }
        assert!(Backoff::new(Duration::ZERO, Duration::ZERO).wait(1) > Duration::ZERO);
    }

    #[test]
    fn success_begins_anew() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut retries = Retries::new(backoff);
        for failures in 1..=5 {
            let wait = retries.failed();
            assert!(backoff.bounds(failures).contains(&wait), "{failures}: {wait:?}");
        }
        retries.succeeded();
        assert!(backoff.bounds(1).contains(&retries.failed()));
    }
}
