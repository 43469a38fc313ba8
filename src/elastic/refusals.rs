//! The 10 % rule. The problem: a changed mapping can make every line of a topic its "own fault", and the topic would
//! empty itself into the dead letters within minutes. So per topic the verdicts of the last minute are counted; when
//! too many are refused for one reason, the topic's refused records are held and tried again instead, which uses up
//! its credit and so pauses it, until the share is fine again.

use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;

const SLICE: Duration = Duration::from_secs(10);
const SLICES: usize = 6;

/// When a topic pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseRule {
    /// Share of a minute's records, for one reason; 100 never pauses.
    pub over_percent: u32,
    /// Fewer refused records than this in a minute never pause a topic: one bad line of a quiet topic is no trend.
    pub at_least: u32,
}

#[derive(Debug, Default)]
struct Slice {
    number: u64,
    all: u64,
    refused: HashMap<Box<str>, u64>,
}

#[derive(Debug, Default)]
struct Minute {
    slices: [Slice; SLICES],
    paused: bool,
    worst: Box<str>,
}

/// The counts of all topics.
#[derive(Debug)]
pub(super) struct Refusals {
    rule: PauseRule,
    start: Instant,
    topics: HashMap<Arc<str>, Minute>,
}

impl Refusals {
    pub(super) fn new(rule: PauseRule, start: Instant) -> Self {
        Self { rule, start, topics: HashMap::new() }
    }

    /// Counts what one answer said about a topic's records: how many there were, and how many were refused for which
    /// reason. Answers whether the topic is paused now, where that has changed.
    pub(super) fn count(
        &mut self,
        topic: &Arc<str>,
        all: u64,
        refused: &HashMap<Box<str>, u64>,
        now: Instant,
    ) -> Option<bool> {
        let number = now.saturating_duration_since(self.start).as_secs() / SLICE.as_secs();
        let minute = self.topics.entry(topic.clone()).or_default();
        let slice = &mut minute.slices[number as usize % SLICES];
        if slice.number != number {
            *slice = Slice { number, ..Slice::default() };
        }
        slice.all += all;
        for (kind, n) in refused {
            *slice.refused.entry(kind.clone()).or_default() += n;
        }
        if let Some((worst, _)) = refused.iter().max_by_key(|(_, n)| **n) {
            minute.worst = worst.clone();
        }
        let paused = minute.is_over(self.rule, number);
        let changed = paused != minute.paused;
        minute.paused = paused;
        changed.then_some(paused)
    }

    pub(super) fn is_paused(&self, topic: &Arc<str>) -> bool {
        self.topics.get(topic).is_some_and(|minute| minute.paused)
    }

    /// The topics that pause, each with the reason that was the most frequent when it was last seen.
    pub(super) fn paused(&self) -> Vec<(Arc<str>, Box<str>)> {
        let paused = self.topics.iter().filter(|(_, minute)| minute.paused);
        paused.map(|(topic, minute)| (topic.clone(), minute.worst.clone())).collect()
    }
}

impl Minute {
    fn recent(&self, number: u64) -> impl Iterator<Item = &Slice> {
        self.slices.iter().filter(move |slice| number - slice.number < SLICES as u64)
    }

    fn is_over(&self, rule: PauseRule, number: u64) -> bool {
        let all: u64 = self.recent(number).map(|slice| slice.all).sum();
        let mut refused: HashMap<&str, u64> = HashMap::new();
        for (kind, n) in self.recent(number).flat_map(|slice| &slice.refused) {
            *refused.entry(kind).or_default() += n;
        }
        let most = refused.values().copied().max().unwrap_or(0);
        // A paused topic stays so at any number: its held records are few, and all refused.
        let enough = self.paused || most >= u64::from(rule.at_least);
        enough && most * 100 > all * u64::from(rule.over_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(n: u64) -> HashMap<Box<str>, u64> {
        if n == 0 { HashMap::new() } else { [("document_parsing_exception".into(), n)].into() }
    }

    fn refusals() -> (Refusals, Arc<str>, Instant) {
        let now = Instant::now();
        (Refusals::new(PauseRule { over_percent: 10, at_least: 10 }, now), "t".into(), now)
    }

    #[test]
    fn over_a_tenth_of_a_minute_pauses_and_a_good_minute_resumes() {
        let (mut refusals, topic, now) = refusals();
        assert_eq!(refusals.count(&topic, 100, &refused(10), now), None);
        assert_eq!(refusals.count(&topic, 100, &refused(11), now), Some(true));
        assert!(refusals.is_paused(&topic));
        let later = now + Duration::from_secs(30);
        assert_eq!(refusals.count(&topic, 5, &refused(5), later), None);
        assert_eq!(refusals.count(&topic, 100, &refused(0), later), Some(false));
        assert!(!refusals.is_paused(&topic));
    }

    #[test]
    fn one_bad_line_of_a_quiet_topic_does_not_pause_it() {
        let (mut refusals, topic, now) = refusals();
        for minute in 0..10 {
            assert_eq!(refusals.count(&topic, 1, &refused(1), now + Duration::from_secs(60 * minute)), None);
        }
    }

    #[test]
    fn a_minute_ago_does_not_count_any_more() {
        let (mut refusals, topic, now) = refusals();
        assert_eq!(refusals.count(&topic, 9, &refused(9), now), None);
        assert_eq!(refusals.count(&topic, 9, &refused(9), now + Duration::from_secs(61)), None);
        assert_eq!(refusals.count(&topic, 9, &refused(9), now + Duration::from_secs(62)), Some(true));
        // Still refused long after: still paused.
        assert_eq!(refusals.count(&topic, 1, &refused(1), now + Duration::from_secs(600)), None);
        assert!(refusals.is_paused(&topic));
    }

    #[test]
    fn different_reasons_are_not_added_up() {
        let (mut refusals, topic, now) = refusals();
        let two = [("a".into(), 10), ("b".into(), 10)].into();
        assert_eq!(refusals.count(&topic, 100, &two, now), None);
    }
}
