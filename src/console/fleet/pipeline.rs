//! How lines flow: what waits before Kafka and behind it, topic by topic, how fast it is carried, and what was refused.
//! The problem: each process knows a part; a topic's lag is the sum of what all agents and all transfers tell of it. Those
//! that are gone are left out: their figures are old.

use super::Known;
use crate::telemetry::{BulkStatus, DeadLetterSample};
use serde::Serialize;
use std::collections::BTreeMap;

/// One topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Topic {
    pub topic: String,
    /// Agents that collect into it.
    pub agents: usize,
    /// Bytes of files that are not delivered to Kafka yet.
    pub lag_bytes: u64,
    pub lines_per_second_in: f64,
    /// Transfers that read it.
    pub transfers: usize,
    /// Records in Kafka that no transfer has read yet.
    pub lag_records: u64,
    pub lines_per_second_out: f64,
    /// Why it waits.
    pub paused: Option<String>,
}

/// Records that went to the dead letters for one reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Letters {
    pub reason: String,
    /// Since the start of the transfers that live.
    pub count: u64,
    /// The latest ones, one of each transfer at most.
    pub samples: Vec<DeadLetterSample>,
}

/// What waits, and is no topic: an index, or all of Elasticsearch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paused {
    pub name: String,
    pub reason: String,
}

/// The whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pipeline {
    /// Those with the most lag first.
    pub topics: Vec<Topic>,
    pub bulk: BulkStatus,
    /// The most frequent first.
    pub dead_letters: Vec<Letters>,
    pub paused: Vec<Paused>,
    pub agents: usize,
    pub transfers: usize,
    pub bytes_lost: u64,
}

impl Known {
    /// `sees`: whether who asks may know of a topic.
    pub fn pipeline(&self, sees: impl Fn(&str) -> bool) -> Pipeline {
        let mut whole = Pipeline::default();
        let mut topics: BTreeMap<String, Topic> = BTreeMap::new();
        for agent in self.collecting() {
            whole.agents += 1;
            whole.bytes_lost += agent.status.bytes_lost;
            for (name, figures) in agent.status.topics.iter().filter(|(name, _)| sees(name)) {
                let topic = topics.entry(name.clone()).or_default();
                topic.agents += 1;
                topic.lag_bytes += figures.lag;
                topic.lines_per_second_in += figures.lines_per_second;
            }
        }
        let mut letters: BTreeMap<String, Letters> = BTreeMap::new();
        let mut paused: BTreeMap<String, String> = BTreeMap::new();
        for transfer in self.alive("transfer") {
            whole.transfers += 1;
            let status = &transfer.status;
            for (name, figures) in status.topics.iter().filter(|(name, _)| sees(name)) {
                let topic = topics.entry(name.clone()).or_default();
                topic.transfers += 1;
                topic.lag_records += figures.lag;
                topic.lines_per_second_out += figures.lines_per_second;
            }
            let bulk = status.bulk.unwrap_or_default();
            whole.bulk.requests += bulk.requests;
            whole.bulk.retries += bulk.retries;
            whole.bulk.documents_per_second += bulk.documents_per_second;
            for (reason, told) in &status.dead_letters {
                let of = letters.entry(reason.clone()).or_default();
                of.count += told.count;
                // A sample may repeat a part of the line.
                of.samples.extend(Some(told.sample.clone()).filter(|sample| sees(&sample.topic)));
            }
            // An index that waits is named after its topic, mostly; a topic may have no figures and wait still.
            paused.extend(status.paused.clone().into_iter().filter(|(name, _)| sees(name)));
        }
        whole.finish(topics, letters, paused);
        whole
    }
}

impl Pipeline {
    fn finish(
        &mut self,
        mut topics: BTreeMap<String, Topic>,
        letters: BTreeMap<String, Letters>,
        paused: BTreeMap<String, String>,
    ) {
        for (name, reason) in paused {
            match topics.get_mut(&name) {
                Some(topic) => topic.paused = Some(reason),
                None => self.paused.push(Paused { name, reason }),
            }
        }
        self.topics = topics.into_iter().map(|(topic, figures)| Topic { topic, ..figures }).collect();
        self.topics
            .sort_by_key(|topic| std::cmp::Reverse((topic.paused.is_some(), topic.lag_records, topic.lag_bytes)));
        self.dead_letters = letters.into_iter().map(|(reason, of)| Letters { reason, ..of }).collect();
        for letters in &mut self.dead_letters {
            letters.samples.sort_by_key(|sample| std::cmp::Reverse(sample.time_ms));
            letters.samples.truncate(5);
        }
        self.dead_letters.sort_by_key(|letters| std::cmp::Reverse(letters.count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        console::fleet::{
            Fleet,
            tests::{deleted, put, status},
        },
        telemetry::{DeadLetterStatus, Status, TopicStatus},
    };

    fn of_topic(kind: &str, host: &str, topic: &str, lag: u64) -> Status {
        let topics = [(topic.to_owned(), TopicStatus { lag, lines_per_second: 2.0 })];
        Status { topics: topics.into(), ..status(kind, host) }
    }

    fn letters(topic: &str, time_ms: u64) -> DeadLetterStatus {
        let sample = DeadLetterSample { topic: topic.into(), time_ms, ..DeadLetterSample::default() };
        DeadLetterStatus { count: 3, sample }
    }

    #[test]
    fn a_topics_lag_is_the_sum_of_what_the_living_tell() {
        let fleet = Fleet::default();
        put(&fleet, &of_topic("agent", "a", "web", 100));
        put(&fleet, &of_topic("agent", "b", "web", 50));
        put(&fleet, &of_topic("agent", "gone", "web", 1_000));
        deleted(&fleet, "agent", "gone");
        put(&fleet, &of_topic("agent", "c", "secret", 1));
        for (host, time_ms) in [("x", 5), ("y", 9)] {
            let mut transfer = of_topic("transfer", host, "web", 7);
            transfer.bulk = Some(BulkStatus { requests: 10, retries: 1, documents_per_second: 4.0 });
            transfer.dead_letters =
                [("parse".to_owned(), letters("web", time_ms)), ("other".to_owned(), letters("secret", 1))].into();
            transfer.paused = ["web", "secret", "idx-1"].map(|name| (name.to_owned(), "refused".to_owned())).into();
            put(&fleet, &transfer);
        }
        let pipeline = fleet.known().pipeline(|topic| topic != "secret");
        let web = Topic {
            topic: "web".into(),
            agents: 2,
            lag_bytes: 150,
            lines_per_second_in: 4.0,
            transfers: 2,
            lag_records: 14,
            lines_per_second_out: 4.0,
            paused: Some("refused".into()),
        };
        assert_eq!(pipeline.topics, [web], "another topic is nobody's business");
        assert_eq!(pipeline.bulk, BulkStatus { requests: 20, retries: 2, documents_per_second: 8.0 });
        assert_eq!(pipeline.paused, [Paused { name: "idx-1".into(), reason: "refused".into() }]);
        assert_eq!((pipeline.agents, pipeline.transfers), (3, 2));
        let of = |reason: &str| pipeline.dead_letters.iter().find(|letters| letters.reason == reason).unwrap();
        assert_eq!((of("parse").count, of("other").count), (6, 6));
        let times = |letters: &Letters| letters.samples.iter().map(|sample| sample.time_ms).collect::<Vec<_>>();
        assert_eq!((times(of("parse")), times(of("other"))), (vec![9, 5], vec![]));
    }
}
