//! `conf/agent.toml`.

use super::{
    load::{self, Loaded, Section},
    problem::{Problems, SettingsError},
    sections,
    shared::{Etcd, Kafka, Log, Metrics, unset},
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// All settings of `logweir agent`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSettings {
    pub agent: AgentSection,
    pub collection: CollectionSection,
    pub etcd: Etcd,
    pub kafka: Kafka,
    pub dead_letters: LocalDeadLetters,
    pub log: Log,
    pub metrics: Metrics,
}

/// `[agent]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSection {
    /// Journal, lock and dead letters; one agent per folder.
    pub data_dir: PathBuf,
    /// HOST in the Kafka key and in key templates. In the file, empty means the machine's name; after loading it is set.
    pub host: String,
    /// Host groups: `{group}` in the key templates makes one key for each.
    pub groups: Vec<String>,
    /// Relative paths of entries are relative to this. In the file, empty means the working directory; after loading
    /// it is set and absolute.
    pub base_dir: PathBuf,
    /// All folders and files are looked at this often whether or not the kernel told of a change; seconds.
    pub sweep_interval_secs: u64,
    pub watch: WatchMode,
    pub on_lost_positions: OnLostPositions,
    /// An orderly stop takes at most this long; seconds.
    pub shutdown_timeout_secs: u64,
    /// Memory for lines on their way, of which one topic holds at most an eighth; bytes.
    pub memory_bytes: u64,
}

/// How changes of files are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchMode {
    /// The kernel tells; the sweep is the safety net.
    #[default]
    Inotify,
    /// Files are looked at, for file systems that tell nothing (NFS).
    Poll,
}

/// What is done with the files when the journal's positions are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLostPositions {
    /// Sent again, under new identities: a repeat, no loss.
    #[default]
    Resend,
    /// Only what comes from now on: a loss, no repeat.
    End,
}

/// `[collection]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectionSection {
    pub source: CollectionSource,
    /// The file of entries where `source = "file"`.
    #[serde(with = "unset")]
    pub file: Option<PathBuf>,
}

/// Where the collection entries live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CollectionSource {
    #[default]
    Etcd,
    File,
}

/// `[dead_letters]` of the agent: records that the broker refuses for good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalDeadLetters {
    /// In the file, empty means `dead-letters.ndjson` in `data_dir`; after loading it is set.
    #[serde(with = "unset")]
    pub file: Option<PathBuf>,
}

impl Default for AgentSection {
    fn default() -> Self {
        Self {
            data_dir: "/var/lib/logweir".into(),
            host: String::new(),
            groups: Vec::new(),
            base_dir: PathBuf::new(),
            sweep_interval_secs: 30,
            watch: WatchMode::default(),
            on_lost_positions: OnLostPositions::default(),
            shutdown_timeout_secs: 10,
            memory_bytes: 32 << 20,
        }
    }
}

impl AgentSettings {
    /// Reads the file, applies the environment, checks everything and reads the secrets.
    ///
    /// # Errors
    /// All problems that were found, each with its place.
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        load::load(file)
    }
}

impl Section for AgentSection {
    fn check(&self, problems: &mut Problems<'_>) {
        problems.range("agent.sweep_interval_secs", self.sweep_interval_secs, 1..=3_600);
        problems.range("agent.shutdown_timeout_secs", self.shutdown_timeout_secs, 1..=600);
        problems.range("agent.memory_bytes", self.memory_bytes, 8 << 20..=u64::from(u32::MAX));
        problems.word("agent.host", &self.host, true);
        for group in &self.groups {
            problems.word("agent.groups", group, false);
        }
    }
}

impl Loaded for AgentSettings {
    fn check(&self, problems: &mut Problems<'_>) {
        let agent = &self.agent;
        agent.check(problems);
        if agent.data_dir.as_os_str().is_empty() {
            problems.add("agent.data_dir", "is empty");
        }
        let from_file = self.collection.source == CollectionSource::File;
        if from_file && self.collection.file.is_none() {
            problems.add("collection.file", "is empty, but source = \"file\" needs it");
        }
        if !from_file && self.etcd.endpoints.is_empty() {
            problems.add("etcd.endpoints", "is empty, but [collection] source = \"etcd\" needs it");
        }
        self.etcd.check(problems);
        self.kafka.check(problems);
        self.metrics.check(problems);
    }

    fn resolve(&mut self, problems: &mut Problems<'_>) {
        sections::resolve_host(&mut self.agent.host, "agent.host", problems);
        match std::path::absolute(if self.agent.base_dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.agent.base_dir
        }) {
            Ok(dir) => self.agent.base_dir = dir,
            Err(e) => problems.add("agent.base_dir", format!("can't be made absolute: {e}")),
        }
        self.dead_letters.file.get_or_insert_with(|| self.agent.data_dir.join("dead-letters.ndjson"));
        self.etcd.read_secrets(problems);
        self.kafka.read_secrets(problems);
    }
}
