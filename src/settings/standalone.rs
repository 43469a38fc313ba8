//! Settings of `logweir standalone`. The problem: it has to run without a file of settings, so everything has a default
//! that fits a person's own machine; the command line says what people change, the environment the rest.

use super::{
    agent::{AgentSection, AgentSettings, CollectionSection, CollectionSource, LocalDeadLetters},
    load::{self, Loaded, Section},
    problem::{Problems, SettingsError},
    sections,
    shared::{Etcd, Kafka, Log, Metrics},
};
use crate::collection::LocalPaths;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// All settings of `logweir standalone`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StandaloneSettings {
    pub agent: AgentSection,
    pub index: IndexSection,
    pub log: Log,
    pub metrics: Metrics,
}

/// `[index]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IndexSection {
    /// Days that are kept, today included; 0 = all.
    pub retention_days: u64,
    /// Size of the index at which the oldest days go; bytes, 0 = any.
    pub retention_bytes: u64,
    /// Threads that index; with more it is quicker and takes more memory.
    pub threads: u64,
    /// Memory of each of them; bytes.
    pub memory_bytes: u64,
    /// From one commit to the next, where commits are costly; a quarter of a second where they are not; milliseconds.
    pub commit_interval_ms: u64,
    /// With less room on the disk nothing is written; bytes.
    pub reserve_bytes: u64,
}

impl Default for IndexSection {
    fn default() -> Self {
        Self {
            retention_days: 0,
            retention_bytes: 0,
            threads: 2,
            memory_bytes: 64 << 20,
            commit_interval_ms: 1000,
            reserve_bytes: 64 << 20,
        }
    }
}

impl Default for StandaloneSettings {
    fn default() -> Self {
        Self {
            agent: AgentSection { data_dir: PathBuf::new(), ..AgentSection::default() },
            index: IndexSection::default(),
            log: Log::default(),
            // A person reads this log: what the mailboxes do is at /metrics.
            metrics: Metrics { metrics_interval_secs: 0, listen: "127.0.0.1:8686".into() },
        }
    }
}

impl StandaloneSettings {
    /// The defaults with the environment over them, checked. The data folder may be left empty.
    ///
    /// # Errors
    /// All problems that were found.
    pub fn load() -> Result<Self, SettingsError> {
        let env: BTreeMap<String, String> = load::environment();
        let name = "the environment";
        let mut settings: Self = load::parse("", name, &env)?;
        let mut problems = Problems::new(name, "", &env);
        settings.resolve(&mut problems);
        problems.into_result()?;
        Ok(settings)
    }

    /// Where the page and the command line put what is to be collected.
    pub fn entries_file(&self) -> PathBuf {
        self.agent.data_dir.join("collect.json")
    }

    /// What paths mean here.
    pub fn paths(&self) -> LocalPaths {
        LocalPaths { base_dir: self.agent.base_dir.clone(), own: self.agent.data_dir.clone() }
    }

    /// The reading part, as an agent's settings.
    pub fn as_agent(&self) -> AgentSettings {
        AgentSettings {
            agent: self.agent.clone(),
            collection: CollectionSection { source: CollectionSource::File, file: Some(self.entries_file()) },
            etcd: Etcd { endpoints: Vec::new(), ..Etcd::default() },
            kafka: Kafka::default(),
            dead_letters: LocalDeadLetters::default(),
            log: self.log.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

impl Loaded for StandaloneSettings {
    fn check(&self, problems: &mut Problems<'_>) {
        self.agent.check(problems);
        let index = &self.index;
        problems.range("index.retention_days", index.retention_days, 0..=36_500);
        problems.range("index.threads", index.threads, 1..=16);
        problems.range("index.memory_bytes", index.memory_bytes, 15 << 20..=2 << 30);
        problems.range("index.commit_interval_ms", index.commit_interval_ms, 50..=60_000);
        self.metrics.check(problems);
    }

    fn resolve(&mut self, problems: &mut Problems<'_>) {
        sections::resolve_host(&mut self.agent.host, "agent.host", problems);
        if self.agent.base_dir.as_os_str().is_empty() {
            self.agent.base_dir = std::path::absolute(Path::new(".")).unwrap_or_else(|_| "/".into());
        }
    }
}
