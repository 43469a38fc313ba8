//! What librdkafka calls back, on the polling thread: partitions come and go, offsets are committed. The problem: a
//! partition must be forwarded to our queue before its first record is fetched, and what settles after it was taken away
//! must not be stored.

use super::shared::ConsumerShared;
use crate::kafka::{assignment::Assignment, native::Queue};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed};

/// Handles what librdkafka calls back, on the polling thread.
pub(super) struct Context {
    pub(super) shared: Arc<ConsumerShared>,
    /// Where fetched records go; set once, before the first subscription.
    pub(super) data: Mutex<Option<Arc<Queue>>>,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.shared.counters.errors.fetch_add(1, Relaxed);
        slog_scope::warn!("consumer"; "error" => %error, "reason" => reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.shared.counters.rebalances.fetch_add(1, Relaxed);
        let assignment = &self.shared.assignment;
        match rebalance {
            Rebalance::Assign(partitions) => {
                let data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
                for p in partitions.elements() {
                    assignment.add(p.topic(), p.partition());
                    let attached = data.as_ref().is_some_and(|q| q.attach(consumer, p.topic(), p.partition()));
                    if !attached {
                        slog_scope::error!("partition can't be read"; "topic" => p.topic(), "partition" => p.partition());
                    }
                }
                // A pause outlasts the assignment it was made in: a partition that was taken away while its batch
                // waited for credit, and comes back, would never be fetched again.
                if let Err(error) = consumer.resume(partitions) {
                    slog_scope::error!("partitions not resumed"; "error" => %error);
                }
                slog_scope::info!("partitions assigned"; "count" => partitions.count());
            }
            Rebalance::Revoke(partitions) => {
                store_positions(consumer, assignment);
                for p in partitions.elements() {
                    assignment.remove(p.topic(), p.partition());
                }
                slog_scope::info!("partitions revoked"; "count" => partitions.count());
            }
            Rebalance::Error(error) => slog_scope::warn!("rebalance failed"; "error" => %error),
        }
        self.shared.counters.partitions.store(assignment.positions().len() as u64, Relaxed);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            Ok(()) => {
                self.shared.counters.commits.fetch_add(1, Relaxed);
                crate::crash::point("offset_committed");
            }
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            // A late commit only repeats: the next one carries the same positions or later ones.
            Err(error) => slog_scope::warn!("offsets not committed"; "error" => %error),
        }
    }
}

/// Stores what is settled, for the next commit.
pub(super) fn store_positions(consumer: &BaseConsumer<Context>, assignment: &Assignment) {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in assignment.take_positions() {
        if let Err(error) = list.add_partition_offset(&topic, partition, Offset::Offset(offset)) {
            slog_scope::warn!("offset not stored"; "topic" => %topic, "partition" => partition, "error" => %error);
        }
    }
    if list.count() == 0 {
        return;
    }
    match consumer.store_offsets(&list) {
        Ok(()) => crate::crash::point("offset_stored"),
        // A partition that was just taken away: its next owner reads those records again.
        Err(error) => slog_scope::debug!("offsets not stored"; "error" => %error),
    }
}
