//! Sections that agent and transfer share, and the type of a secret.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, ops::Deref, path::PathBuf};

/// A password or key. Its text is had by [`Secret::reveal`] only; it is neither printed nor serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, to be handed to a client and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `""` in a file means "not set": so every key can stand in the file with its default.
pub(super) mod unset {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::path::PathBuf;

    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&path.as_ref().map(|p| p.display().to_string()).unwrap_or_default())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        let text = String::deserialize(from)?;
        Ok((!text.is_empty()).then(|| text.into()))
    }
}

/// Options that are passed to librdkafka by their own names; numbers and truth values are taken as text. Secrets can
/// be among them (from the environment or a file), so it prints those as `***`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Options(pub BTreeMap<String, String>);

impl Options {
    /// Whether the option of this name holds a secret.
    pub fn is_secret(name: &str) -> bool {
        ["password", "secret", "key.pem", "sasl.oauthbearer.config"].iter().any(|part| name.contains(part))
    }
}

impl Deref for Options {
    type Target = BTreeMap<String, String>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&'_ String, &'_ String)| {
            (name.clone(), if Self::is_secret(name) { "***".into() } else { value.clone() })
        };
        f.debug_map().entries(self.0.iter().map(shown)).finish()
    }
}

/// `[etcd]`: where the collection entries live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Etcd {
    /// URLs, `http://` or `https://`; several are tried in turn. Empty: no etcd.
    pub endpoints: Vec<String>,
    /// Empty: no user.
    pub username: String,
    #[serde(with = "unset")]
    pub password_file: Option<PathBuf>,
    /// From `password_file` or `LOGWEIR__ETCD__PASSWORD`.
    #[serde(skip)]
    pub password: Option<Secret>,
    /// PEM file of the CA that signed the servers' certificates; not set: the system's.
    #[serde(with = "unset")]
    pub ca_file: Option<PathBuf>,
    /// Client certificate and its key, PEM files; both or none.
    #[serde(with = "unset")]
    pub cert_file: Option<PathBuf>,
    #[serde(with = "unset")]
    pub key_file: Option<PathBuf>,
    /// Keys of the collection entries, templates with `{host}`, `{group}`, `{ip}` or `%s`; a later one wins.
    pub keys: Vec<String>,
    /// Everything is listed again this often, in case an event got lost; seconds.
    pub relist_interval_secs: u64,
    /// Deadline of a connection attempt; milliseconds.
    pub connect_timeout_ms: u64,
    /// Deadline of a call; milliseconds.
    pub request_timeout_ms: u64,
}

impl Default for Etcd {
    fn default() -> Self {
        let keys = ["/logweir/collect/all", "/logweir/collect/group/{group}", "/logweir/collect/host/{host}"];
        Self {
            endpoints: vec!["http://127.0.0.1:2379".into()],
            username: String::new(),
            password_file: None,
            password: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            keys: keys.map(String::from).into(),
            relist_interval_secs: 300,
            connect_timeout_ms: 3_000,
            request_timeout_ms: 5_000,
        }
    }
}

/// `[kafka]`: the brokers and what is passed to librdkafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    /// Passed to librdkafka; secrets are not allowed to stand here, see `option_files`.
    pub options: Options,
    /// Option name to a file whose content is its value (`"sasl.password" = "/etc/logweir/kafka.password"`); after
    /// loading, the values are in `options`.
    pub option_files: BTreeMap<String, PathBuf>,
}

impl Default for Kafka {
    fn default() -> Self {
        Self { brokers: vec!["127.0.0.1:9092".into()], options: Options::default(), option_files: BTreeMap::new() }
    }
}

/// Form of the log on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Terminal,
    /// One JSON object a line, for machines.
    Json,
}

/// Lowest level that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    #[serde(alias = "warning")]
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    pub level: Level,
    /// Level of a module and what is below it (`"logweir::tail" = "debug"`), over `level`.
    pub levels: BTreeMap<String, Level>,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// The mailboxes' figures go to the log this often; seconds, 0 = never.
    pub metrics_interval_secs: u64,
    /// Address of `/metrics` and `/health`; empty = off.
    pub listen: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { metrics_interval_secs: 60, listen: "127.0.0.1:8687".into() }
    }
}
