//! Every actor alone, with collectors in its neighbours' place. No server.

mod agent_supervisor;
#[path = "../support/bulk_stub.rs"]
mod bulk_stub;
mod collection_watcher;
mod dead_letters;
mod es_batcher;
mod index_writer;
mod kafka_consumer;
mod kafka_producer;
mod mailbox_reporter;
mod tails;
mod transfer_supervisor;
