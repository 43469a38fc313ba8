//! The actors: receive, decide, send. One file each; what can be plain code is in a room.

pub mod agent_supervisor;
pub mod collection_watcher;
pub mod console_supervisor;
pub mod credentials_watcher;
pub mod dead_letters;
pub mod es_batcher;
pub mod files_teller;
pub mod index_writer;
pub mod journal;
pub mod kafka_consumer;
pub mod kafka_producer;
pub mod key_mirror;
pub mod mailbox_reporter;
pub mod status_reporter;
pub mod stopping;
pub mod supervision;
pub mod tail_actor;
pub mod tail_manager;
pub mod transfer_supervisor;
