//! Whether a topic keeps the promise. The problem: Kafka's defaults lose acknowledged records with a broker, and a record
//! that is larger than the topic allows is only refused when it comes.

use super::report::{Fault, Report};
use rdkafka::admin::ConfigResource;

pub const CHECK: &str = "kafka";

/// What a record has beside the line: its key with host and path, headers, the batch around it; bytes.
const AROUND_A_LINE: u64 = 5 << 10;

/// A topic that the process uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    /// Longest line that is sent to it; bytes. `None`: it is only read.
    pub longest_line: Option<u32>,
    /// It is written to: its lines wait where it doesn't exist.
    pub written: bool,
}

/// What is known of a topic, or of those to come. `None`: it couldn't be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub replicas: Option<u64>,
    pub min_in_sync: Option<u64>,
    pub unclean: Option<bool>,
    pub max_bytes: Option<u64>,
    pub auto_create: Option<bool>,
}

impl Limits {
    /// From the configuration of a topic or a broker; the same thing has other names there.
    pub fn of(config: &ConfigResource) -> Self {
        Self::from(|name| config.get(name).and_then(|entry| entry.value.clone()))
    }

    fn from(value: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name| value(name).and_then(|text| text.parse().ok());
        let truth = |name| value(name).and_then(|text| text.parse().ok());
        Self {
            replicas: number("default.replication.factor"),
            min_in_sync: number("min.insync.replicas"),
            unclean: truth("unclean.leader.election.enable"),
            max_bytes: number("max.message.bytes").or_else(|| number("message.max.bytes")),
            auto_create: truth("auto.create.topics.enable"),
        }
    }
}

/// One topic's partitions, from the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions {
    pub count: usize,
    /// Of the partition with the fewest.
    pub replicas: usize,
    /// Of the partition with the fewest.
    pub in_sync: usize,
    pub without_leader: usize,
}

/// A topic that exists. `limits`: `None` where its configuration can't be asked.
pub fn existing(topic: &Wanted, partitions: Partitions, limits: Option<Limits>, report: &mut Report) {
    let name = &topic.name;
    let Partitions { count, replicas, in_sync, without_leader } = partitions;
    report.ok(CHECK, format!("topic {name}: partitions: {count}, replicas: {replicas}"));
    if without_leader > 0 {
        let text = format!("topic {name}: {without_leader} of {count} partitions have no leader");
        report.fail(CHECK, Fault::Server, text, "start the brokers that hold them");
    }
    let limits = Limits { replicas: Some(replicas as u64), ..limits.unwrap_or_default() };
    if let Some(min) = limits.min_in_sync.filter(|min| without_leader == 0 && (in_sync as u64) < *min) {
        let text = format!("topic {name}: {in_sync} replicas are in sync, {min} are needed to write");
        report.fail(CHECK, Fault::Server, text, "start the brokers that are missing");
    }
    promise(topic, &limits, report);
}

/// A topic that doesn't exist; `defaults`: what the brokers would give it.
pub fn missing(topic: &Wanted, defaults: Option<Limits>, report: &mut Report) {
    let name = &topic.name;
    if !topic.written {
        return report.ok(CHECK, format!("topic {name}: doesn't exist yet, so there is nothing to transfer"));
    }
    let advice = format!("create it: kafka-topics.sh --create --topic {name} --replication-factor 3 --partitions 4");
    match defaults.and_then(|defaults| defaults.auto_create) {
        Some(false) => {
            let text = format!("topic {name}: doesn't exist, and the brokers create none; its records wait");
            report.fail(CHECK, Fault::Server, text, &advice);
        }
        Some(true) => {
            report.ok(CHECK, format!("topic {name}: doesn't exist yet; the brokers create it at the first record"));
            promise(topic, &defaults.unwrap_or_default(), report);
        }
        None => {
            let text = format!("topic {name}: doesn't exist, or this user may not see it");
            report.warn(CHECK, text, &advice);
        }
    }
}

/// The limits under which every line arrives.
fn promise(topic: &Wanted, limits: &Limits, report: &mut Report) {
    let name = &topic.name;
    if let Some(replicas) = limits.replicas.filter(|replicas| *replicas < 2) {
        let text = format!("topic {name}: replicas: {replicas}; a lost disk loses its lines");
        report.warn(CHECK, text, "give it a replication factor of 3");
    }
    if let Some(min) = limits.min_in_sync.filter(|min| *min < 2) {
        let text = format!("topic {name}: min.insync.replicas = {min}; what one broker alone has taken can be lost");
        report.warn(CHECK, text, "set min.insync.replicas = 2 with a replication factor of 3");
    }
    if limits.unclean == Some(true) {
        let text = format!("topic {name}: unclean.leader.election.enable = true; a stale replica may lose lines");
        report.warn(CHECK, text, "set it to false");
    }
    let (longest, max) = (topic.longest_line.map(u64::from), limits.max_bytes);
    if let (Some(longest), Some(max)) = (longest, max)
        && longest + AROUND_A_LINE > max
    {
        let text = format!("topic {name}: max.message.bytes = {max}, but max_line_bytes = {longest} of an entry");
        report.warn(
            CHECK,
            text,
            "raise the first or lower the second: longer lines are refused and go to the dead letters",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Exit, check::report::Level};

    const GOOD: Limits = Limits {
        replicas: None,
        min_in_sync: Some(2),
        unclean: Some(false),
        max_bytes: Some(1_048_588),
        auto_create: None,
    };
    const THREE: Partitions = Partitions { count: 4, replicas: 3, in_sync: 3, without_leader: 0 };

    fn wanted(written: bool) -> Wanted {
        Wanted { name: "t".into(), longest_line: written.then_some(512 << 10), written }
    }

    fn warnings(partitions: Partitions, limits: Limits) -> String {
        let mut report = Report::default();
        existing(&wanted(true), partitions, Some(limits), &mut report);
        let warned = report.lines.iter().filter(|line| line.level == Level::Warn);
        warned.map(|line| line.text.clone()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_topic_that_keeps_the_promise_is_ok_and_each_limit_that_does_not_hold_is_a_warning() {
        assert_eq!(warnings(THREE, GOOD), "");
        let one = Partitions { replicas: 1, in_sync: 1, ..THREE };
        assert!(warnings(one, Limits { min_in_sync: Some(1), ..GOOD }).contains("replicas: 1"));
        assert!(warnings(THREE, Limits { min_in_sync: Some(1), ..GOOD }).contains("min.insync.replicas = 1"));
        assert!(warnings(THREE, Limits { unclean: Some(true), ..GOOD }).contains("unclean"));
        assert!(warnings(THREE, Limits { max_bytes: Some(100_000), ..GOOD }).contains("max.message.bytes = 100000"));
    }

    #[test]
    fn what_can_not_be_written_now_is_a_failure() {
        for partitions in [Partitions { without_leader: 1, ..THREE }, Partitions { in_sync: 1, ..THREE }] {
            let mut report = Report::default();
            existing(&wanted(true), partitions, Some(GOOD), &mut report);
            assert_eq!(report.exit(), Exit::Unavailable);
        }
    }

    #[test]
    fn a_missing_topic_matters_only_where_it_is_written_and_nobody_creates_it() {
        let judged = |written, auto_create| {
            let mut report = Report::default();
            missing(&wanted(written), Some(Limits { auto_create, replicas: Some(1), ..GOOD }), &mut report);
            (report.exit(), report.lines.len())
        };
        assert_eq!(judged(false, Some(false)), (Exit::Ok, 1));
        assert_eq!(judged(true, Some(false)), (Exit::Unavailable, 1));
        assert_eq!(judged(true, None), (Exit::Ok, 1));
        assert_eq!(judged(true, Some(true)), (Exit::Ok, 2), "with the brokers' defaults it would not be safe");
    }

    #[test]
    fn topics_and_brokers_call_the_size_limit_by_different_names() {
        for name in ["max.message.bytes", "message.max.bytes"] {
            let limits = Limits::from(|asked| (asked == name).then(|| "7".into()));
            assert_eq!(limits, Limits { max_bytes: Some(7), ..Limits::default() });
        }
    }
}
