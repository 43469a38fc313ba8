//! Elasticsearch: which records go into the next bulk request and what becomes of each ([`Queue`]), what an answer
//! means ([`Answer`], [`Verdict`]), and how the servers are reached ([`Cluster`], [`ElasticConfig`]). No actor here,
//! and apart from `Cluster` no input and output: time is an argument.

mod answer;
mod answered;
mod batches;
mod build;
mod cluster;
mod counters;
mod credentials;
mod judge;
mod lanes;
mod queue;
mod reader;
mod refusals;
mod request;
mod template;
mod verdict;

pub use answer::Answer;
pub use batches::Notice;
pub use cluster::{Cluster, ClusterError};
pub use counters::ElasticCounters;
pub use credentials::{CredentialsError, ElasticConfig};
pub use lanes::LaneKey;
pub use queue::Queue;
pub use reader::MOST as LONGEST_ANSWER;
pub use refusals::PauseRule;
pub use request::{DeadItem, Next, Outcome, QueueSettings, Request};
pub use template::{TemplateSettings, index_template, template_name};
pub use verdict::{Reason, Verdict};
