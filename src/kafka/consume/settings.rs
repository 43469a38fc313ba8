//! How to consume: our options for librdkafka, the person's over them, and last those that the promise hangs on.

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use std::collections::BTreeMap;

/// How to consume.
#[derive(Clone, Debug)]
pub struct ConsumeSettings {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// Consumer group.
    pub group: String,
    /// Static membership: a restarted process gets its partitions back at once. `None`: dynamic.
    pub instance: Option<String>,
    /// librdkafka options, checked by whoever read the settings.
    pub options: BTreeMap<String, String>,
}

impl ConsumeSettings {
    /// The client's options: ours first, the person's over them, the promise's last.
    pub(super) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "30000")
            // New topics are found within seconds, not five minutes.
            .set("topic.metadata.refresh.interval.ms", "10000")
            // Prefetch: enough to keep the pipeline busy; 4 MiB of it cost 10 MiB of memory more and gained nothing. The
            // default fetch back-off of 1 s stalls.
            .set("queued.max.messages.kbytes", "1024")
            .set("fetch.queue.backoff.ms", "2")
            .set("fetch.max.bytes", "4194304")
            .set("fetch.wait.max.ms", "100")
            .set("auto.commit.interval.ms", "1000")
            .set("allow.auto.create.topics", "false");
        for (key, value) in &self.options {
            config.set(key, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &self.group)
            // Only what is settled is stored, and only what is stored is committed.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "false");
        if let Some(instance) = &self.instance {
            config.set("group.instance.id", instance);
        }
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }
}
