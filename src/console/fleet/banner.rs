//! What needs a person, on every page. The problem: nobody looks at a table of two thousand lines every hour; and a line
//! that only says that something is wrong makes people look elsewhere for what to do. So each notice is of a kind whose
//! text, in the reader's language, says both; here are its facts.

use super::{Fleet, Known, Process, State};
use crate::console::gate::HIDDEN;
use serde::Serialize;
use std::collections::BTreeMap;

/// What became more is told for so long.
const GROWING_MS: u64 = 15 * 60 * 1000;
/// Lost bytes are told for so long.
const LOST_MS: u64 = 24 * 3600 * 1000;
/// Names that are told of many.
const NAMED: usize = 3;
/// Notices of one kind; more are summed up.
const MOST: usize = 5;

/// How much it hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Data is at risk, or waits until somebody acts.
    Bad,
    Warn,
}

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Names the text.
    pub kind: &'static str,
    pub level: Level,
    /// How many processes, records or bytes.
    pub count: u64,
    /// Who or what: a host, a key, a topic; several with commas between.
    pub who: String,
    pub reason: String,
    pub since_ms: Option<u64>,
}

impl Notice {
    fn new(kind: &'static str, level: Level) -> Self {
        Self { kind, level, count: 0, who: String::new(), reason: String::new(), since_ms: None }
    }

    /// Whether it tells of a key of entries: what is wrong with it names any of their topics.
    pub fn is_of_entries(&self) -> bool {
        self.kind == "key_refused"
    }

    /// What Elasticsearch says may name indices, and those topics.
    pub fn hide_servers_words(&mut self) {
        if self.kind == "elastic_away" {
            self.reason = HIDDEN.into();
        }
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> (u64, String) {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let count = names.len() as u64;
    names.dedup();
    let more = if names.len() > NAMED { ", …" } else { "" };
    (count, format!("{}{more}", names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ")))
}

impl Fleet {
    /// What needs a person now, the worst first. `sees`: whether who asks may know of a topic.
    pub fn banner(&self, now_ms: u64, sees: impl Fn(&str) -> bool) -> Vec<Notice> {
        let known = self.known();
        let mut notices = Vec::new();
        if let Some(away) = &known.away {
            let notice = Notice::new("etcd_away", Level::Bad);
            notices.push(Notice { reason: away.reason.clone(), since_ms: Some(away.since_ms), ..notice });
        }
        let conditions = self.health.report().conditions;
        if let Some(elastic) = conditions.get("elasticsearch")
            && let Some(reason) = &elastic.reason
        {
            let notice = Notice::new("elastic_away", Level::Bad);
            notices.push(Notice { reason: reason.clone(), since_ms: Some(elastic.since_ms), ..notice });
        }
        // While etcd is away nobody knows who is gone.
        notices.extend(gone(&known, "agent", "agent_gone"));
        notices.extend(gone(&known, "transfer", "transfer_gone"));
        notices.extend(no_transfer(&known));
        notices.extend(refused(&known));
        notices.extend(paused(&known, &sees));
        notices.extend(dead_letters(&known, now_ms, &sees));
        notices.extend(bytes_lost(&known, now_ms));
        notices.sort_by_key(|notice| notice.level);
        notices
    }
}

fn gone(known: &Known, kind: &str, notice: &'static str) -> Option<Notice> {
    let gone: Vec<&Process> =
        known.all().filter(|process| process.status.kind == kind && process.state() == State::Gone).collect();
    // Of one that nobody watched is known when it lived last.
    let since = |process: &&Process| if process.unwatched { Some(process.told_ms) } else { process.went_ms };
    let since_ms = gone.iter().filter_map(since).min()?;
    let (count, who) = listed(gone.iter().map(|process| process.status.host.as_str()));
    Some(Notice { count, who, since_ms: Some(since_ms), ..Notice::new(notice, Level::Bad) })
}

/// Agents send into Kafka, and nobody takes it out.
fn no_transfer(known: &Known) -> Option<Notice> {
    let sends = |agent: &&Process| agent.status.lines_per_second > 0.0 || agent.status.lag > 0;
    let sending = known.alive("agent").filter(sends).count() as u64;
    let standalone = known.alive("standalone").next().is_some();
    let none = known.alive("transfer").next().is_none() && !standalone;
    (none && known.listed && sending > 0).then(|| Notice { count: sending, ..Notice::new("no_transfer", Level::Bad) })
}

/// Each refused key, with the agents that refuse it.
fn refused(known: &Known) -> Vec<Notice> {
    let mut by_key: BTreeMap<&str, (Vec<&str>, &str)> = BTreeMap::new();
    for process in known.all().filter(|process| process.is_alive()) {
        for (key, source) in &process.status.sources {
            if let Some(reason) = &source.refused {
                let of = by_key.entry(key).or_insert((Vec::new(), reason));
                of.0.push(&process.status.host);
            }
        }
    }
    let notices = by_key.into_iter().map(|(key, (hosts, reason))| {
        let (count, _) = listed(hosts.into_iter());
        let notice = Notice::new("key_refused", Level::Bad);
        // The reason begins with the key itself.
        let reason = reason.strip_prefix(key).map_or(reason, |rest| rest.trim_start_matches([':', ' ']));
        Notice { count, who: key.to_owned(), reason: reason.to_owned(), ..notice }
    });
    notices.take(MOST).collect()
}

fn paused(known: &Known, sees: impl Fn(&str) -> bool) -> Vec<Notice> {
    let mut by_name: BTreeMap<&str, &str> = BTreeMap::new();
    for transfer in known.alive("transfer") {
        // An index is named after its topic, mostly.
        let seen = transfer.status.paused.iter().filter(|(name, _)| sees(name));
        by_name.extend(seen.map(|(name, reason)| (name.as_str(), reason.as_str())));
    }
    let notices = by_name.into_iter().map(|(name, reason)| Notice {
        who: name.to_owned(),
        reason: reason.to_owned(),
        ..Notice::new("paused", Level::Bad)
    });
    notices.take(MOST).collect()
}

fn dead_letters(known: &Known, now_ms: u64, sees: impl Fn(&str) -> bool) -> Option<Notice> {
    let mut notice = Notice::new("dead_letters", Level::Bad);
    let mut newest = 0;
    for transfer in known.alive("transfer") {
        let last = transfer.status.dead_letters.values().map(|letters| letters.sample.time_ms).max();
        let grew = transfer.dead_grew_ms.max(last);
        if grew.is_none_or(|grew| grew + GROWING_MS <= now_ms) {
            continue;
        }
        notice.count += transfer.dead_letters();
        for letters in transfer.status.dead_letters.values() {
            if letters.sample.time_ms >= newest && sees(&letters.sample.topic) {
                newest = letters.sample.time_ms;
                (notice.who, notice.reason) = (letters.sample.topic.clone(), letters.sample.error.clone());
            }
        }
    }
    (notice.count > 0).then_some(notice)
}

fn bytes_lost(known: &Known, now_ms: u64) -> Option<Notice> {
    // Whether it was lately isn't known of one that lost before this console saw it: then its start counts.
    let lately = |process: &&Process| {
        let at = process.lost_grew_ms.unwrap_or(process.status.started_ms);
        process.status.bytes_lost > 0 && at + LOST_MS > now_ms
    };
    let losing: Vec<&Process> = known.all().filter(|process| process.is_alive()).filter(lately).collect();
    let (_, who) = listed(losing.iter().map(|process| process.status.host.as_str()));
    let count = losing.iter().map(|process| process.status.bytes_lost).sum();
    (count > 0).then(|| Notice { count, who, ..Notice::new("bytes_lost", Level::Bad) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        console::fleet::tests::{deleted, put, status},
        etcd::{EtcdError, Event, Mirror as _},
        telemetry::{DeadLetterSample, DeadLetterStatus, SourceStatus, Status, now_ms},
    };

    fn kinds(fleet: &Fleet) -> Vec<&'static str> {
        fleet.banner(now_ms(), |_| true).iter().map(|notice| notice.kind).collect()
    }

    fn listed_fleet() -> Fleet {
        let fleet = Fleet::default();
        fleet.apply(&Event::Snapshot { kvs: Vec::new(), revision: 1 });
        fleet
    }

    #[test]
    fn while_all_is_well_nothing_is_said() {
        let fleet = listed_fleet();
        put(&fleet, &Status { lag: 5, ..status("agent", "a") });
        put(&fleet, &status("transfer", "t"));
        put(&fleet, &Status { leaving: true, ..status("agent", "stopped") });
        deleted(&fleet, "agent", "stopped");
        assert_eq!(kinds(&fleet), [""; 0]);
    }

    #[test]
    fn those_that_are_gone_are_counted_and_three_are_named() {
        let fleet = listed_fleet();
        for host in ["d", "b", "a", "c"] {
            put(&fleet, &status("agent", host));
            deleted(&fleet, "agent", host);
        }
        let banner = fleet.banner(now_ms(), |_| true);
        assert_eq!(banner.len(), 1);
        assert_eq!((banner[0].kind, banner[0].count, &*banner[0].who), ("agent_gone", 4, "a, b, c, …"));
    }

    #[test]
    fn agents_that_send_while_nobody_takes_are_told() {
        let fleet = listed_fleet();
        put(&fleet, &Status { lag: 1, ..status("agent", "a") });
        assert_eq!(kinds(&fleet), ["no_transfer"]);
        put(&fleet, &status("transfer", "t"));
        assert_eq!(kinds(&fleet), [""; 0]);
        deleted(&fleet, "transfer", "t");
        assert_eq!(kinds(&fleet), ["transfer_gone", "no_transfer"]);
    }

    #[test]
    fn a_refused_key_is_told_once_with_the_number_of_agents() {
        let fleet = listed_fleet();
        let refused = SourceStatus { refused: Some("k (revision 5) line 3: no".into()), ..SourceStatus::default() };
        for host in ["a", "b"] {
            put(&fleet, &Status { sources: [("k".to_owned(), refused.clone())].into(), ..status("agent", host) });
        }
        let banner = fleet.banner(now_ms(), |_| true);
        assert_eq!(banner.len(), 1);
        assert_eq!((banner[0].count, &*banner[0].who, &*banner[0].reason), (2, "k", "(revision 5) line 3: no"));
    }

    #[test]
    fn dead_letters_are_told_while_they_grow_and_a_reason_only_to_who_may_see_its_topic() {
        let fleet = listed_fleet();
        let now = now_ms();
        let letters = |count, time_ms| {
            let sample = DeadLetterSample {
                topic: "web".into(),
                error: "bad date".into(),
                time_ms,
                ..DeadLetterSample::default()
            };
            [("parse".to_owned(), DeadLetterStatus { count, sample })].into()
        };
        put(&fleet, &Status { dead_letters: letters(3, now - GROWING_MS), ..status("transfer", "t") });
        assert_eq!(kinds(&fleet), [""; 0], "they are old");
        put(&fleet, &Status { dead_letters: letters(4, now), ..status("transfer", "t") });
        let banner = fleet.banner(now, |_| true);
        assert_eq!((banner[0].kind, banner[0].count, &*banner[0].reason), ("dead_letters", 4, "bad date"));
        let banner = fleet.banner(now, |_| false);
        assert_eq!((banner[0].count, &*banner[0].who, &*banner[0].reason), (4, "", ""));
    }

    #[test]
    fn what_waits_is_lost_or_away_is_told() {
        let fleet = listed_fleet();
        put(&fleet, &Status { paused: [("web".to_owned(), "refused".to_owned())].into(), ..status("transfer", "t") });
        put(&fleet, &Status { bytes_lost: 7, started_ms: now_ms(), ..status("agent", "a") });
        fleet.health.ready_but("elasticsearch", "401");
        let lost = EtcdError::Failed { endpoints: "e".into(), call: "watch", reason: "refused".into() };
        fleet.apply(&Event::Lost(lost));
        assert_eq!(kinds(&fleet), ["etcd_away", "elastic_away", "paused", "bytes_lost"]);
        let mut banner = fleet.banner(now_ms(), |_| true);
        banner.iter_mut().for_each(Notice::hide_servers_words);
        let reasons: Vec<&str> = banner.iter().map(|notice| notice.reason.as_str()).collect();
        assert!(reasons[0].contains("refused") && reasons[2] == "refused", "{reasons:?}");
        assert_eq!(reasons[1], HIDDEN, "it may name any index");
    }
}
