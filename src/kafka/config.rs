//! librdkafka's options. The problem: operators need them all (TLS, SASL, buffers), but a few would silently break
//! the promise that no line is lost. Those are refused, with the reason; the rest passes through.

use std::{collections::BTreeMap, fmt};

/// An option that would break the promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Kafka option {name} can't be set: {reason}")]
pub struct OptionRefused {
    pub name: String,
    pub reason: &'static str,
}

/// Options that nobody may set to another value than ours; the value, where setting the same is fine.
const FIXED: &[(&str, Option<&str>, &str)] = &[
    ("acks", Some("all"), "a line counts as delivered when all in-sync replicas have it"),
    ("request.required.acks", Some("all"), "a line counts as delivered when all in-sync replicas have it"),
    ("enable.idempotence", Some("true"), "without it a retry repeats and reorders lines"),
    ("message.timeout.ms", Some("0"), "a line waits for the broker however long it takes; it is never given up"),
    ("delivery.timeout.ms", Some("0"), "a line waits for the broker however long it takes; it is never given up"),
    ("message.send.max.retries", None, "a line is sent again until the broker has it"),
    ("retries", None, "a line is sent again until the broker has it"),
    ("queuing.strategy", Some("fifo"), "the lines of a file are sent in their order"),
    ("delivery.report.only.error", Some("false"), "lines settle by their delivery report"),
    ("queue.buffering.max.messages", None, "what is queued is bounded by the memory credits"),
    ("queue.buffering.max.kbytes", None, "what is queued is bounded by the memory credits"),
    ("transactional.id", None, "lines are delivered once by their identity, not by transactions"),
    ("enable.auto.commit", Some("false"), "an offset is committed when its line is in the index"),
    ("auto.commit.enable", Some("false"), "an offset is committed when its line is in the index"),
    ("enable.auto.offset.store", Some("false"), "an offset is stored when its line is in the index"),
    ("auto.offset.reset", Some("earliest"), "a new group reads from the beginning, so that no line is skipped"),
    ("enable.partition.eof", None, "it is of no use here"),
    ("check.crcs", Some("true"), "a damaged record must be seen"),
    ("dr_cb", None, "callbacks are the program's own"),
    ("dr_msg_cb", None, "callbacks are the program's own"),
    ("log.queue", None, "the library's log goes to the program's log"),
    ("statistics.interval.ms", None, "the figures are in the program's own metrics"),
    ("plugin.library.paths", None, "no foreign code is loaded"),
    ("interceptors", None, "no foreign code is loaded"),
    ("opaque", None, "it is the program's own"),
    ("default_topic_conf", None, "topic options are given by their own names"),
];

/// More than this many requests on their way can reorder lines even with idempotence.
const MAX_IN_FLIGHT: u32 = 5;

fn refusal(name: &str, value: &str) -> Option<&'static str> {
    if let Some((_, ours, reason)) = FIXED.iter().find(|(fixed, ..)| *fixed == name) {
        let same = *ours == Some(value) || (*ours == Some("all") && value == "-1");
        return (!same).then_some(reason);
    }
    if matches!(name, "max.in.flight" | "max.in.flight.requests.per.connection") {
        let few = value.trim().parse::<u32>().is_ok_and(|n| (1..=MAX_IN_FLIGHT).contains(&n));
        return (!few).then_some("only 1 to 5 requests on their way keep the lines in order");
    }
    name.ends_with("_cb").then_some("callbacks are the program's own")
}

/// Refuses options that would break the promise, for producing and consuming alike. Whether an option exists and its
/// value is right is checked by librdkafka itself, when the client is made.
///
/// # Errors
/// The first option that is refused, by name, with the reason.
pub fn check(options: &BTreeMap<String, String>) -> Result<(), OptionRefused> {
    match options.iter().find_map(|(name, value)| Some((name, refusal(name, value)?))) {
        Some((name, reason)) => Err(OptionRefused { name: name.clone(), reason }),
        None => Ok(()),
    }
}

/// The whole set of options of a producer. Never printed: it may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct ProducerOptions(BTreeMap<String, String>);

/// What we set where the operator sets nothing. `linger.ms` and the batch sizes are measured, see benches/RESULTS.md.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "logweir"),
    ("compression.codec", "lz4"),
    ("linger.ms", "0.5"),
    ("batch.size", "1000000"),
    ("batch.num.messages", "10000"),
    ("socket.nagle.disable", "true"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "5000"),
];

/// What is always set.
const ALWAYS: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("message.timeout.ms", "0"),
    // 0 is "no limit": the credits are the limit, and a full queue would cost a retry loop.
    ("queue.buffering.max.messages", "0"),
    ("queue.buffering.max.kbytes", "2147483647"),
    ("log.queue", "true"),
];

/// Other names that librdkafka has for the same option.
const ALIASES: &[(&str, &str)] = &[
    ("compression.type", "compression.codec"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("max.in.flight.requests.per.connection", "max.in.flight"),
];

impl ProducerOptions {
    /// `options`: the operator's, `bootstrap.servers` among them.
    ///
    /// # Errors
    /// An option that would break the promise.
    pub fn new(options: &BTreeMap<String, String>) -> Result<Self, OptionRefused> {
        check(options)?;
        let mut all: BTreeMap<String, String> =
            DEFAULTS.iter().chain(ALWAYS).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for (name, value) in options {
            let name = ALIASES.iter().find(|(alias, _)| alias == name).map_or(&**name, |(_, name)| name);
            if !ALWAYS.iter().any(|(always, _)| *always == name) {
                all.insert(name.to_owned(), value.clone());
            }
        }
        Ok(Self(all))
    }

    /// What fits into one request for a partition, in bytes before compression.
    pub fn batch_bytes(&self) -> u32 {
        let limit = |name| self.0.get(name).and_then(|value| value.trim().parse().ok()).unwrap_or(1_000_000);
        limit("batch.size").min(limit("message.max.bytes"))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl fmt::Debug for ProducerOptions {
    /// Names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_that_break_the_promise_are_refused_with_the_reason() {
        for (name, value) in [
            ("acks", "1"),
            ("request.required.acks", "0"),
            ("enable.idempotence", "false"),
            ("message.timeout.ms", "300000"),
            ("delivery.timeout.ms", "1"),
            ("retries", "3"),
            ("enable.auto.commit", "true"),
            ("enable.auto.offset.store", "true"),
            ("auto.offset.reset", "latest"),
            ("max.in.flight", "6"),
            ("max.in.flight.requests.per.connection", "many"),
            ("delivery.report.only.error", "true"),
            ("dr_cb", "x"),
            ("oauthbearer_token_refresh_cb", "x"),
            ("queuing.strategy", "lifo"),
        ] {
            let refused = ProducerOptions::new(&options(&[(name, value)])).unwrap_err();
            assert!(refused.name == name && !refused.reason.is_empty(), "{refused}");
        }
    }

    #[test]
    fn saying_what_is_so_anyway_is_fine_and_the_rest_passes_through() {
        let given =
            options(&[("acks", "-1"), ("max.in.flight", "1"), ("linger.ms", "50"), ("compression.type", "zstd")]);
        let all = ProducerOptions::new(&given).unwrap();
        let get = |name: &str| all.iter().find(|(n, _)| *n == name).map(|(_, value)| value);
        assert_eq!(get("linger.ms"), Some("50"));
        assert_eq!((get("compression.codec"), get("compression.type")), (Some("zstd"), None));
        assert_eq!((get("acks"), get("message.timeout.ms")), (Some("all"), Some("0")));
    }

    #[test]
    fn secrets_are_not_printed() {
        let all = ProducerOptions::new(&options(&[("sasl.password", "s3cret")])).unwrap();
        assert!(!format!("{all:?}").contains("s3cret"));
    }
}
