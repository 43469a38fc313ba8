//! The local settings: `conf/agent.toml`, `conf/transfer.toml` and `conf/console.toml`, typed. The problem: a mistyped key or a value out of
//! range must be told at the start, with its place and what is allowed, and never be ignored. So every key has a
//! default here, every key that has no default here is refused, and every range is checked. Values are layered:
//! default, file, environment (`LOGWEIR__SECTION__KEY`). Secrets come from files or the environment and are never printed.

mod agent;
mod console;
mod load;
mod problem;
mod sections;
mod shared;
mod standalone;
#[cfg(test)]
mod tests;
mod transfer;

pub use agent::{
    AgentSection, AgentSettings, CollectionSection, CollectionSource, LocalDeadLetters, OnLostPositions, WatchMode,
};
pub use console::{ConsoleElasticsearch, ConsoleMetrics, ConsoleSection, ConsoleSettings};
pub use problem::{Problem, SettingsError};
pub use shared::{Etcd, Kafka, Level, Log, LogFormat, Metrics, Options, Secret};
pub use standalone::{IndexSection, StandaloneSettings};
pub use transfer::{DeadLetterTopic, Elasticsearch, TransferKafka, TransferSection, TransferSettings};
