//! What stays of a process when its liveness key has gone. The problem: whoever looks only later has to see that there was
//! one, how it was, and whether it left in order; also where nobody looked on as it went. So consoles keep a small record
//! of each process at a key without a lease, and a process that stops in order says so there as well.

use super::status::{STATUS_PREFIX, Status};
use serde::{Deserialize, Serialize};

/// Prefix of these keys; kind, host and instance follow, as in the liveness key.
pub const SEEN_PREFIX: &str = "/logweir/seen/";

/// What is kept of a status, so that a record stays small: topics and keys, and characters of a reason.
const MOST_TOPICS: usize = 10;
const MOST_KEYS: usize = 50;
const MOST_CHARS: usize = 500;

/// The record of one process. Who reads one of another version finds defaults for what isn't there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// When it was seen first, and when it told something last, as far as this record knows; milliseconds since 1970.
    pub first_ms: u64,
    pub told_ms: u64,
    /// When it went; `None`: it lived as this was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub went_ms: Option<u64>,
    /// Nobody watched when it went: it was some time between `told_ms` and `went_ms`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unwatched: bool,
    pub status: Status,
}

impl Seen {
    /// The key of the record that belongs to a liveness key; `None` for what is none.
    pub fn key(status_key: &str) -> Option<String> {
        status_key.strip_prefix(STATUS_PREFIX).map(|name| format!("{SEEN_PREFIX}{name}"))
    }

    /// The liveness key that a record belongs to; `None` for what is no record's key.
    pub fn status_key(key: &str) -> Option<String> {
        key.strip_prefix(SEEN_PREFIX).map(|name| format!("{STATUS_PREFIX}{name}"))
    }

    /// It leaves in order; `last`: what it tells last.
    #[must_use]
    pub fn left(self, last: &Status, now_ms: u64) -> Self {
        Self { told_ms: now_ms, went_ms: Some(now_ms), unwatched: false, status: brief(last), ..self }
    }
}

/// The part of a status that is of use when its process has gone.
pub fn brief(status: &Status) -> Status {
    let mut brief = Status {
        can: Vec::new(),
        bulk: None,
        dead_letters: Default::default(),
        paused: Default::default(),
        ..status.clone()
    };
    brief.keys.truncate(MOST_KEYS);
    brief.sources = brief.sources.into_iter().take(MOST_KEYS).collect();
    for reason in brief.sources.values_mut().filter_map(|source| source.refused.as_mut()).chain(&mut brief.last_error) {
        cut(reason);
    }
    let mut topics: Vec<_> = brief.topics.into_iter().collect();
    topics.sort_by_key(|(_, figures)| std::cmp::Reverse(figures.lag));
    brief.topics = topics.into_iter().take(MOST_TOPICS).collect();
    brief
}

fn cut(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(MOST_CHARS) {
        text.truncate(at);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{SourceStatus, TopicStatus};

    #[test]
    fn a_record_is_small_and_has_what_a_page_shows_of_one_that_went() {
        let topic = |n: u64| (format!("t{n}"), TopicStatus { lag: n, lines_per_second: 1.0 });
        let refused = SourceStatus { refused: Some("é".repeat(9_000)), ..SourceStatus::default() };
        let status = Status {
            version: "0.1.0".into(),
            lag: 7,
            topics: (0..200).map(topic).collect(),
            sources: (0..1_000).map(|n| (format!("k{n}"), refused.clone())).collect(),
            keys: (0..1_000).map(|n| format!("k{n}")).collect(),
            last_error: Some("x".repeat(1 << 20)),
            paused: [("t".to_owned(), "why".to_owned())].into(),
            ..Status::default()
        };
        let left = Seen { first_ms: 3, unwatched: true, ..Seen::default() }.left(&status, 9);
        assert_eq!((left.first_ms, left.told_ms, left.went_ms, left.unwatched), (3, 9, Some(9), false));
        let text = serde_json::to_vec(&left).unwrap();
        assert!(text.len() < 100_000, "{}", text.len());
        assert_eq!(serde_json::from_slice::<Seen>(&text).unwrap(), left);
        assert_eq!((left.status.lag, &*left.status.version, left.status.topics.len()), (7, "0.1.0", MOST_TOPICS));
        assert!(left.status.topics.contains_key("t199") && !left.status.topics.contains_key("t100"));
        assert_eq!(left.status.last_error.unwrap().chars().count(), MOST_CHARS + 1);
    }

    #[test]
    fn its_key_has_the_name_of_the_liveness_key() {
        let (status, seen) = ("/logweir/status/agent/web-01/1", "/logweir/seen/agent/web-01/1");
        assert_eq!(Seen::key(status).as_deref(), Some(seen));
        assert_eq!(Seen::status_key(seen).as_deref(), Some(status));
        assert_eq!((Seen::key(seen), Seen::status_key(status)), (None, None));
    }
}
