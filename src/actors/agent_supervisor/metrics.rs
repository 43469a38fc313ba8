//! What the agent's counters are called at `/metrics`.

use super::{super::supervision::register_gauges, SinkParts, parts::AgentParts};
use crate::{
    index::IndexCounters,
    kafka::{ErrorKind, ProducerCounters},
    telemetry::Registry,
};
use std::sync::Arc;

/// Registers the counters of all parts. They outlive the actors, so once is enough.
pub(super) fn register(parts: &AgentParts) {
    tails(parts);
    journal(parts);
    match &parts.sink {
        SinkParts::Kafka { counters, .. } => producer(&parts.registry, counters),
        SinkParts::Index(index) => self::index(&parts.registry, &index.counters),
    }
    register_gauges(&parts.registry, &parts.board, &parts.credits, parts.settings.agent.memory_bytes);
}

fn tails(parts: &AgentParts) {
    parts
        .registry
        .of(&parts.tail_counters)
        .counter("logweir_read_lines_total", "Lines read", |t| &t.lines_read)
        .counter("logweir_read_bytes_total", "Bytes read", |t| &t.bytes_read)
        .counter("logweir_lost_bytes_total", "Bytes destroyed before they were read", |t| &t.lost_bytes)
        .counter("logweir_replayed_ranges_total", "Journalled ranges sent again", |t| &t.replayed_ranges)
        .counter("logweir_started_tails_total", "Tails started, restarts included", |t| &t.tails_started)
        .counter("logweir_restarted_tails_total", "Tails started again after a panic", |t| &t.tails_restarted)
        .gauge("logweir_open_files", "Files open now", |t| &t.files_open);
}

fn journal(parts: &AgentParts) {
    parts
        .registry
        .of(&parts.journal_counters)
        .counter("logweir_delivered_lines_total", "Lines delivered and settled", |j| &j.delivered_lines)
        .counter("logweir_dead_lines_total", "Lines in the dead-letter file", |j| &j.dead_lines)
        .counter("logweir_journal_ranges_total", "Ranges journalled", |j| &j.ranges)
        .counter("logweir_journal_syncs_total", "Syncs of the journal to the disk", |j| &j.syncs)
        .counter("logweir_journal_snapshots_total", "Snapshots of the journal", |j| &j.snapshots)
        .counter("logweir_journal_failures_total", "Writes, syncs and snapshots that failed", |j| &j.failures)
        .gauge("logweir_journal_known_files", "Files that the journal knows", |j| &j.files)
        .gauge("logweir_journal_pending_ranges", "Ranges journalled and not settled", |j| &j.pending_ranges)
        .gauge("logweir_journal_size_bytes", "Size of the journal on the disk", |j| &j.journal_bytes);
}

fn index(registry: &Registry, index: &Arc<IndexCounters>) {
    registry
        .of(index)
        .counter("logweir_index_lines_total", "Lines added to the index", |i| &i.lines)
        .counter("logweir_index_bytes_total", "Bytes of the files that were added", |i| &i.bytes)
        .counter("logweir_index_committed_lines_total", "Lines committed", |i| &i.committed_lines)
        .counter("logweir_index_commits_total", "Commits", |i| &i.commits)
        .counter("logweir_index_commit_ms_total", "Time that commits took, in milliseconds", |i| &i.commit_ms)
        .counter("logweir_index_repeated_batches_total", "Batches that were in the index already", |i| {
            &i.repeated_batches
        })
        .counter("logweir_index_failures_total", "Waits for the disk or the journal", |i| &i.failures)
        .gauge("logweir_index_unsettled_batches", "Batches added and not committed", |i| &i.unsettled_batches)
        .gauge("logweir_index_left_out_fields", "Fields that are not indexed today, for there are too many", |i| {
            &i.left_out_fields
        })
        .gauge("logweir_index_size_bytes", "Size of the index on the disk", |i| &i.index_bytes);
}

fn producer(registry: &Registry, producer: &Arc<ProducerCounters>) {
    let counter = |name, help, read: fn(&ProducerCounters) -> u64| {
        let producer = producer.clone();
        registry.counter(name, help, move || read(&producer));
    };
    counter("logweir_kafka_records_total", "Records acknowledged by the brokers", |p| p.records());
    counter("logweir_kafka_bytes_total", "Bytes of their values", |p| p.bytes());
    counter("logweir_kafka_batches_total", "Batches settled", |p| p.batches());
    counter("logweir_kafka_clients_total", "Kafka clients made anew after a fatal error", |p| p.recreations());
    let unsettled = producer.clone();
    registry.gauge("logweir_kafka_unsettled_batches", "Batches accepted and not settled", move || {
        unsettled.unsettled() as f64
    });
    let errors = Arc::clone(producer);
    registry.counters("logweir_kafka_errors_total", "Failed sendings, by what failed", "kind", move || {
        ErrorKind::ALL.map(|kind| (kind.label().to_owned(), errors.errors(kind))).into()
    });
}
