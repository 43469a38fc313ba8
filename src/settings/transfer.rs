//! `conf/transfer.toml`.

use super::{
    load::{self, Loaded, Section},
    problem::{Problems, SettingsError},
    sections,
    shared::{Etcd, Kafka, Log, Metrics, Options, Secret, unset},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// All settings of `logweir transfer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransferSettings {
    pub transfer: TransferSection,
    pub etcd: Etcd,
    pub kafka: TransferKafka,
    pub elasticsearch: Elasticsearch,
    pub dead_letters: DeadLetterTopic,
    pub log: Log,
    pub metrics: Metrics,
}

/// `[transfer]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransferSection {
    /// In the file, empty means the machine's name; after loading it is set.
    pub host: String,
    /// Tells several transfers on one host apart; together with `host` it is the static member id of the consumer group.
    pub instance: String,
    /// An orderly stop takes at most this long; seconds.
    pub shutdown_timeout_secs: u64,
    /// Memory for lines on their way, of which one index holds at most an eighth; bytes.
    pub memory_bytes: u64,
}

/// `[kafka]` of the transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransferKafka {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    /// Consumer group.
    pub group: String,
    /// Topics to consume, beside those of the entries.
    pub topics: Vec<String>,
    /// Regular expression of topics to consume as well (librdkafka's, beginning with `^`); empty = none.
    pub topic_pattern: String,
    /// Consume the topics that the collection entries name. What a record's ENTRY stands for is looked up in etcd either
    /// way, as long as one is configured.
    pub topics_from_entries: bool,
    /// See [`Kafka::options`].
    pub options: Options,
    /// See [`Kafka::option_files`].
    pub option_files: BTreeMap<String, PathBuf>,
}

/// `[elasticsearch]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Elasticsearch {
    /// Key in etcd that holds addresses and credentials; it is used while `urls` is empty.
    pub config_key: String,
    /// Addresses; set, they and the credentials below are used instead of `config_key`.
    pub urls: Vec<String>,
    pub username: String,
    #[serde(with = "unset")]
    pub password_file: Option<PathBuf>,
    /// From `password_file` or `LOGWEIR__ELASTICSEARCH__PASSWORD`.
    #[serde(skip)]
    pub password: Option<Secret>,
    #[serde(with = "unset")]
    pub api_key_file: Option<PathBuf>,
    /// From `api_key_file` or `LOGWEIR__ELASTICSEARCH__API_KEY`.
    #[serde(skip)]
    pub api_key: Option<Secret>,
    /// PEM file of a CA.
    #[serde(with = "unset")]
    pub ca_file: Option<PathBuf>,
    /// A bulk request is sent when it has this many bytes,
    pub bulk_bytes: u64,
    /// or this many documents,
    pub bulk_count: u64,
    /// or its first document has waited so long; milliseconds.
    pub bulk_linger_ms: u64,
    /// Bulk requests under way at the same time.
    pub requests_in_flight: u64,
    /// Deadline of a request; milliseconds.
    pub request_timeout_ms: u64,
    /// Install an index template before the first document is written to what it covers.
    pub install_template: bool,
    /// Of new indices, by the index template.
    pub shards: u64,
    pub replicas: u64,
    /// Index of entries without one of their own: `{topic}` and `%Y`, `%m`, `%d`, `%H` (UTC, of the read time).
    pub index: String,
    /// A topic pauses when more than this share of a minute's records is refused for one reason; 100 = never.
    pub pause_over_percent: u64,
    /// Fewer refused records than this in a minute never pause a topic.
    pub pause_at_least: u64,
}

/// `[dead_letters]` of the transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterTopic {
    /// Kafka topic.
    pub topic: String,
}

impl Default for TransferSection {
    fn default() -> Self {
        Self { host: String::new(), instance: "1".into(), shutdown_timeout_secs: 10, memory_bytes: 64 << 20 }
    }
}

impl Default for TransferKafka {
    fn default() -> Self {
        let Kafka { brokers, options, option_files } = Kafka::default();
        Self {
            brokers,
            group: "logweir".into(),
            topics: Vec::new(),
            topic_pattern: String::new(),
            topics_from_entries: true,
            options,
            option_files,
        }
    }
}

impl Default for Elasticsearch {
    fn default() -> Self {
        Self {
            config_key: "elasticsearch_config".into(),
            urls: Vec::new(),
            username: String::new(),
            password_file: None,
            password: None,
            api_key_file: None,
            api_key: None,
            ca_file: None,
            bulk_bytes: 4 << 20,
            bulk_count: 10_000,
            bulk_linger_ms: 200,
            requests_in_flight: 4,
            request_timeout_ms: 60_000,
            install_template: true,
            shards: 1,
            replicas: 1,
            index: "logweir-{topic}-%Y.%m.%d".into(),
            pause_over_percent: 10,
            pause_at_least: 10,
        }
    }
}

impl Default for DeadLetterTopic {
    fn default() -> Self {
        Self { topic: "logweir.dead-letters".into() }
    }
}

impl TransferSettings {
    /// Reads the file, applies the environment, checks everything and reads the secrets.
    ///
    /// # Errors
    /// All problems that were found, each with its place.
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        load::load(file)
    }
}

impl Loaded for TransferSettings {
    fn check(&self, problems: &mut Problems<'_>) {
        problems.range("transfer.shutdown_timeout_secs", self.transfer.shutdown_timeout_secs, 1..=600);
        problems.range("transfer.memory_bytes", self.transfer.memory_bytes, 8 << 20..=u64::from(u32::MAX));
        problems.word("transfer.host", &self.transfer.host, true);
        problems.word("transfer.instance", &self.transfer.instance, false);
        self.etcd.check(problems);
        self.kafka.check(problems);
        self.elasticsearch.check(problems);
        problems.topic("dead_letters.topic", &self.dead_letters.topic);
        self.metrics.check(problems);
        let kafka = &self.kafka;
        if kafka.topics.is_empty() && kafka.topic_pattern.is_empty() && !kafka.topics_from_entries {
            problems.add(
                "kafka.topics",
                "is empty, topic_pattern too, and topics_from_entries is false: nothing to consume",
            );
        }
        if self.etcd.endpoints.is_empty() && kafka.topics_from_entries {
            problems.add("kafka.topics_from_entries", "is true, but [etcd] endpoints is empty");
        }
        if self.etcd.endpoints.is_empty() && self.elasticsearch.urls.is_empty() {
            problems.add("elasticsearch.urls", "is empty, but so is [etcd] endpoints, where config_key would be read");
        }
    }

    fn resolve(&mut self, problems: &mut Problems<'_>) {
        sections::resolve_host(&mut self.transfer.host, "transfer.host", problems);
        self.etcd.read_secrets(problems);
        self.kafka.read_secrets(problems);
        self.elasticsearch.read_secrets(problems);
    }
}
