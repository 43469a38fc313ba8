//! How often commits are made, what they may use, and what is kept. The problem: lines should be found at once, and commits
//! cost the machine that is being watched.

use crate::index::{Retention, WriterMemory};
use std::{ops::RangeInclusive, time::Duration};

/// See [`EngineSettings::interval`].
const PAUSE_FACTOR: u32 = 20;

/// How the index is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    pub memory: WriterMemory,
    /// From one commit to the next: twenty times as long as the last one took, but not less and not more than this. So
    /// lines are found early where commits are cheap, and commits never take more than a twentieth of the time.
    pub interval: RangeInclusive<Duration>,
    /// From the first line of a commit to it, at least: its neighbours mostly come at the same time.
    pub soon: Duration,
    /// A writer for which nothing comes for so long ends, and gives back its memory: a hundred MiB and more after much was
    /// written. It has to be without merges for as long.
    pub idle: Duration,
    pub retention: Retention,
    /// With less room on the disk nothing more is written.
    pub reserve_bytes: u64,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            memory: WriterMemory::default(),
            interval: Duration::from_millis(250)..=Duration::from_secs(1),
            soon: Duration::from_millis(100),
            idle: Duration::from_secs(20),
            retention: Retention::default(),
            reserve_bytes: 64 << 20,
        }
    }
}

impl EngineSettings {
    /// How long to wait after a commit that took so long.
    pub(super) fn pause_after(&self, commit: Duration) -> Duration {
        commit.saturating_mul(PAUSE_FACTOR).min(*self.interval.end()).max(*self.interval.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commits_take_bounds_how_often_they_are() {
        let ms = Duration::from_millis;
        let settings = EngineSettings::default();
        let pauses = [0, 5, 20, 40, 900].map(|cost| settings.pause_after(ms(cost)));
        assert_eq!(pauses, [ms(250), ms(250), ms(400), ms(800), ms(1000)]);
    }
}
