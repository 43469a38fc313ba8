//! `conf/console.toml`.

use super::{
    load::{self, Loaded, Section},
    problem::{Problems, SettingsError},
    sections,
    shared::{Etcd, Log, Secret, unset},
    transfer::Elasticsearch,
};
use serde::{Deserialize, Serialize};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// All settings of `logweir console`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleSettings {
    pub console: ConsoleSection,
    pub etcd: Etcd,
    pub elasticsearch: ConsoleElasticsearch,
    pub log: Log,
    pub metrics: ConsoleMetrics,
}

/// `[console]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleSection {
    /// In the file, empty means the machine's name; after loading it is set.
    pub host: String,
    /// Tells several consoles on one host apart.
    pub instance: String,
    /// `address:port` of the page, `/metrics` and `/health`.
    pub listen: String,
    /// Names by which browsers reach it, beside loopback and the address it listens on.
    pub names: Vec<String>,
    /// A proxy in front of it does TLS and names the real address of whoever asks.
    pub behind_proxy: bool,
    /// PEM files of the certificate with its chain, and of its key; both or none.
    #[serde(with = "unset")]
    pub tls_cert_file: Option<PathBuf>,
    #[serde(with = "unset")]
    pub tls_key_file: Option<PathBuf>,
    /// A session that nobody uses ends after so long; seconds.
    pub session_idle_secs: u64,
    /// A session ends after so long in any case; seconds.
    pub session_secs: u64,
    /// Records of the audit are kept for so many days.
    pub audit_days: u64,
    /// An orderly stop takes at most this long; seconds.
    pub shutdown_timeout_secs: u64,
}

/// `[elasticsearch]` of the console, which only searches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleElasticsearch {
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
    /// Deadline of a request; milliseconds.
    pub request_timeout_ms: u64,
    /// Indices that are searched, by name or pattern.
    pub indices: Vec<String>,
}

/// `[metrics]` of the console, whose own server answers `/metrics` and `/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleMetrics {
    /// The mailboxes' figures go to the log this often; seconds, 0 = never.
    pub metrics_interval_secs: u64,
}

impl Default for ConsoleSection {
    fn default() -> Self {
        Self {
            host: String::new(),
            instance: "1".into(),
            listen: "127.0.0.1:8688".into(),
            names: Vec::new(),
            behind_proxy: false,
            tls_cert_file: None,
            tls_key_file: None,
            session_idle_secs: 1_800,
            session_secs: 43_200,
            audit_days: 365,
            shutdown_timeout_secs: 10,
        }
    }
}

impl Default for ConsoleElasticsearch {
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
            request_timeout_ms: 30_000,
            indices: vec!["logweir-*".into()],
        }
    }
}

impl Default for ConsoleMetrics {
    fn default() -> Self {
        Self { metrics_interval_secs: 60 }
    }
}

impl ConsoleSettings {
    /// Reads the file, applies the environment, checks everything and reads the secrets.
    ///
    /// # Errors
    /// All problems that were found, each with its place.
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        load::load(file)
    }
}

impl ConsoleElasticsearch {
    /// The way to the servers, as the transfer has it.
    pub fn as_transfer(&self) -> Elasticsearch {
        let own = self.clone();
        Elasticsearch {
            config_key: own.config_key,
            urls: own.urls,
            username: own.username,
            password_file: own.password_file,
            password: own.password,
            api_key_file: own.api_key_file,
            api_key: own.api_key,
            ca_file: own.ca_file,
            request_timeout_ms: own.request_timeout_ms,
            ..Elasticsearch::default()
        }
    }
}

impl Loaded for ConsoleSettings {
    fn check(&self, problems: &mut Problems<'_>) {
        self.console.check(problems);
        self.etcd.check(problems);
        if self.etcd.endpoints.is_empty() {
            problems.add("etcd.endpoints", "is empty: what the console shows and changes is in etcd");
        }
        self.elasticsearch.check(problems);
        problems.range("metrics.metrics_interval_secs", self.metrics.metrics_interval_secs, 0..=86_400);
    }

    fn resolve(&mut self, problems: &mut Problems<'_>) {
        sections::resolve_host(&mut self.console.host, "console.host", problems);
        problems.readable("console.tls_cert_file", self.console.tls_cert_file.as_deref());
        problems.readable("console.tls_key_file", self.console.tls_key_file.as_deref());
        self.etcd.read_secrets(problems);
        self.elasticsearch.read_secrets(problems);
    }
}

impl Section for ConsoleSection {
    fn check(&self, problems: &mut Problems<'_>) {
        problems.word("console.host", &self.host, true);
        problems.word("console.instance", &self.instance, false);
        if self.listen.parse::<SocketAddr>().is_err() {
            problems.add("console.listen", format!("= {:?} is not address:port", self.listen));
        }
        for name in &self.names {
            if !is_host_name(name) {
                let reason = format!("= {name:?} is no name of a host; it has no port, and no / or space");
                problems.add("console.names", reason);
            }
        }
        if self.tls_cert_file.is_some() != self.tls_key_file.is_some() {
            problems.add("console.tls_cert_file", "and tls_key_file are needed together");
        }
        problems.range("console.session_idle_secs", self.session_idle_secs, 60..=86_400);
        problems.range("console.session_secs", self.session_secs, 300..=2_592_000);
        if self.session_idle_secs > self.session_secs {
            problems.add("console.session_idle_secs", "is longer than session_secs, after which a session ends anyway");
        }
        problems.range("console.audit_days", self.audit_days, 1..=36_500);
        problems.range("console.shutdown_timeout_secs", self.shutdown_timeout_secs, 1..=600);
    }
}

/// What a browser may send as the name of a host, without a port.
fn is_host_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && name.len() <= 253 && name.chars().all(legal)
}

impl Section for ConsoleElasticsearch {
    fn check(&self, problems: &mut Problems<'_>) {
        for url in &self.urls {
            sections::check_url(problems, "elasticsearch.urls", url);
        }
        if self.config_key.is_empty() && self.urls.is_empty() {
            problems.add("elasticsearch.config_key", "is empty, and so is urls");
        }
        problems.range("elasticsearch.request_timeout_ms", self.request_timeout_ms, 100..=600_000);
        if self.indices.is_empty() {
            problems.add("elasticsearch.indices", "is empty: nothing to search");
        }
        for index in self.indices.iter().filter(|index| index.is_empty() || index.contains([',', ' ', '/'])) {
            problems.add("elasticsearch.indices", format!("= {index:?} is no name or pattern of an index"));
        }
    }

    fn read_secrets(&mut self, problems: &mut Problems<'_>) {
        self.password = problems.secret("elasticsearch.password", self.password_file.as_deref());
        self.api_key = problems.secret("elasticsearch.api_key", self.api_key_file.as_deref());
        problems.readable("elasticsearch.ca_file", self.ca_file.as_deref());
    }
}
