//! logweir: every line of every log file exactly once in the index.
//!
//! ```text
//! log files -> TailActor -> KafkaProducer -> Kafka -> KafkaConsumer -> EsBatcher -> Elasticsearch
//!                 '-> Journal <- Settled -'              ^--- Settled ---'
//! ```
//! One message carries data forward ([`messages::LineBatch`]), one comes back ([`messages::Settled`]). Actors
//! ([`actors`]) are thin; what they do stands in rooms of plain code, each with one problem:
//!
//! | room | what it knows | it uses |
//! |---|---|---|
//! | [`flow`] | chunks, credits, identities of origins, backoff | nothing |
//! | [`collection`] | entries: their JSON, keys, differences | flow |
//! | [`tail`] | which files, what is new in them, where lines end | flow, messages, collection's entry, journal's range |
//! | [`journal`] | what was sent and what is settled, on disk | flow |
//! | [`kafka`] | producing and consuming in batches; the calls of librdkafka that are `unsafe` | flow, messages, telemetry |
//! | [`document`] | from a record to a document | flow, messages, collection |
//! | [`elastic`] | bulk requests and what their answers mean | flow, messages, document, collection, telemetry |
//! | [`index`] | the embedded index: days, commits, searchers | document, flow, messages, collection, telemetry |
//! | [`rebuild`] | a damaged day of the index, from the files that are still there | index, journal, tail, collection, document, flow, messages |
//! | [`search`] | one query model and who answers it | document, index, elastic |
//! | [`etcd`] | calls with deadlines, keys kept in sight, leased keys | flow, settings |
//! | [`store`] | keys with revisions: etcd or files | etcd |
//! | [`settings`] | the TOML files, checked | collection |
//! | [`console`] | the page, the calls beneath it, who may make them | search, collection, store, elastic, etcd, messages, telemetry |
//! | [`telemetry`] | log, mailbox counters, `/metrics`, `/health` | settings |
//! | [`cli`] | one file a subcommand; a process from its settings to its exit code | all |
//! | [`allocator`] | what the C library's allocator is told | nothing |
//! | [`calendar`] | dates in UTC | nothing |
//! | [`crash`] | where a test may kill the process, or switch on a known mistake | nothing |

pub mod actors;
pub mod allocator;
pub mod calendar;
pub mod cli;
pub mod collection;
pub mod console;
pub mod crash;
pub mod document;
pub mod elastic;
pub mod etcd;
pub mod flow;
pub mod index;
pub mod journal;
pub mod kafka;
pub mod messages;
pub mod rebuild;
pub mod search;
pub mod settings;
pub mod store;
pub mod tail;
pub mod telemetry;
