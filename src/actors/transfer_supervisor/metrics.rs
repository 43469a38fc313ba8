//! What the transfer's counters are called at `/metrics`.

use super::{super::supervision::register_gauges, parts::TransferParts};

/// Registers the counters of all parts. They outlive the actors, so once is enough.
pub(super) fn register(parts: &TransferParts) {
    consumer(parts);
    elastic(parts);
    parts
        .registry
        .of(&parts.letter_counters)
        .counter("logweir_dead_letters_total", "Dead letters written", |l| &l.kept)
        .counter("logweir_dead_letter_failures_total", "Dead letters that could not be written", |l| &l.failed);
    register_gauges(&parts.registry, &parts.board, &parts.credits, parts.settings.transfer.memory_bytes);
}

fn consumer(parts: &TransferParts) {
    parts
        .registry
        .of(&parts.consumer_counters)
        .counter("logweir_consumed_records_total", "Records read from Kafka", |c| &c.records)
        .counter("logweir_consumed_bytes_total", "Bytes of their values", |c| &c.bytes)
        .counter("logweir_null_records_total", "Records with a null value", |c| &c.null_values)
        .counter("logweir_lost_records_total", "Records that Kafka deleted before they were read", |c| &c.lost_records)
        .counter("logweir_kafka_rebalances_total", "Rebalances of the consumer group", |c| &c.rebalances)
        .counter("logweir_kafka_consumer_errors_total", "Errors of the consumer", |c| &c.errors)
        .counter("logweir_kafka_commits_total", "Commits acknowledged by the broker", |c| &c.commits)
        .gauge("logweir_parked_batches", "Partitions with batches that wait for memory credit", |c| &c.parked)
        .gauge("logweir_parked_bytes", "Bytes of batches that wait for memory credit", |c| &c.parked_bytes)
        .gauge("logweir_assigned_partitions", "Partitions that are consumed here", |c| &c.partitions)
        .gauge("logweir_lag_records", "Records in Kafka that are not read yet", |c| &c.lag_records);
}

fn elastic(parts: &TransferParts) {
    let without_entry = "Records that went without their entry's labels and index, because no etcd is configured";
    parts
        .registry
        .of(&parts.elastic_counters)
        .counter("logweir_documents_created_total", "Documents that were created", |e| &e.created)
        .counter("logweir_documents_repeated_total", "Documents that were there already", |e| &e.conflicts)
        .counter("logweir_documents_retried_total", "Documents sent again", |e| &e.retried)
        .counter("logweir_documents_refused_total", "Documents given to the dead letters", |e| &e.dead)
        .counter("logweir_documents_without_entry_total", without_entry, |e| &e.without_entry)
        .counter("logweir_bulk_requests_total", "Bulk requests", |e| &e.requests)
        .counter("logweir_bulk_failed_requests_total", "Bulk requests that failed as a whole", |e| &e.failed_requests)
        .counter("logweir_bulk_split_requests_total", "Bulk requests split for their size", |e| &e.split)
        .counter("logweir_bulk_bytes_total", "Bytes of bulk requests", |e| &e.bytes)
        .gauge("logweir_documents_held", "Refused documents that wait because their topic is paused", |e| &e.held);
}
