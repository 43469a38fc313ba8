//! The consuming loop. The problem: librdkafka blocks, rebalances call back on the polling thread, and one failing
//! index must hold back its own topic only. So one thread owns the consumer: it fetches, cuts records into batches,
//! takes credit, hands the batches on, stores what is settled. A batch that finds no credit is parked, and its
//! partition is paused before anything else has to wait for it ([`Parking`]).

mod context;
mod settings;
mod shared;

pub use settings::ConsumeSettings;
pub use shared::{ConsumerCounters, ConsumerShared};

use super::{
    assignment::Arrival,
    gather::{Fetched, Gathered, gather},
    native::{Message, Queue, Taker, cached_end},
    parking::{Parking, Step},
};
use crate::{
    flow::{ChunkPool, Credits, Origin, PartitionOrigin},
    messages::{LineBatch, Settled},
    telemetry::Mailbox,
};
use context::{Context, store_positions};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// Records taken from librdkafka by one call, at the most.
const FETCH_RECORDS: usize = 2000;
/// How long the thread waits for a record while nothing is parked: also the delay of a rebalance.
const WAIT: Duration = Duration::from_millis(50);
/// The same while a batch waits for credit.
const WAIT_PARKED: Duration = Duration::from_millis(5);
/// Deadline of the rare questions to the broker (watermarks, committed offsets).
const ASK: Duration = Duration::from_secs(5);

/// The loop; runs on a thread of its own until it is stopped or the client fails for good.
pub struct ConsumeLoop {
    consumer: BaseConsumer<Context>,
    shared: Arc<ConsumerShared>,
    credits: Credits,
    pool: ChunkPool,
    out: mpsc::Sender<LineBatch>,
    settle_to: Mailbox<Settled>,
    parking: Parking,
    subscribed: Vec<String>,
}

impl ConsumeLoop {
    /// # Errors
    /// An option that librdkafka doesn't take.
    pub fn new(
        settings: &ConsumeSettings,
        shared: Arc<ConsumerShared>,
        (credits, pool): (Credits, ChunkPool),
        out: mpsc::Sender<LineBatch>,
        settle_to: Mailbox<Settled>,
    ) -> KafkaResult<Self> {
        let context = Context { shared: shared.clone(), data: Mutex::new(None) };
        let consumer: BaseConsumer<Context> = settings.client_config().create_with_context(context)?;
        Ok(Self {
            consumer,
            shared,
            credits,
            pool,
            out,
            settle_to,
            parking: Parking::default(),
            subscribed: Vec::new(),
        })
    }

    /// Runs until stopped.
    ///
    /// # Errors
    /// The client is fatally broken (for instance another member took the same static identity): a new one is needed.
    pub fn run(mut self) -> Result<(), String> {
        let queue = Queue::new(&self.consumer).ok_or("no queue for records")?;
        let mut data = Taker::new(queue.clone(), FETCH_RECORDS);
        *self.consumer.context().data.lock().unwrap_or_else(PoisonError::into_inner) = Some(queue);
        let ended = self.turn_until_stopped(&mut data);
        store_positions(&self.consumer, &self.shared.assignment);
        self.shared.assignment.clear();
        self.shared.counters.partitions.store(0, Relaxed);
        // The queues go before the consumer, as librdkafka demands; then dropping the consumer commits and leaves.
        self.consumer.context().data.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(data);
        ended
    }

    fn turn_until_stopped(&mut self, data: &mut Taker) -> Result<(), String> {
        let mut turns = 0u64;
        while !self.shared.stop.load(Relaxed) && !self.out.is_closed() {
            self.serve_events()?;
            self.subscribe();
            store_positions(&self.consumer, &self.shared.assignment);
            let settled = self.shared.settled();
            self.unpark();
            match self.parking.step(Instant::now()) {
                Step::Wait => self.shared.wait_settled(settled, WAIT),
                Step::Fetch => self.fetch(data),
                Step::Pause => {
                    self.parking.pause_all().iter().for_each(|topic| self.set_paused(topic, true));
                    self.fetch(data);
                }
            }
            turns += 1;
            if turns.is_multiple_of(256) {
                self.look_at_lag();
            }
        }
        Ok(())
    }

    /// Serves rebalances, commits and errors.
    fn serve_events(&mut self) -> Result<(), String> {
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            match event {
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(error.to_string()),
                // The error callback has told of it, with librdkafka's own words.
                Err(_) => {}
                // Only a partition that could not be attached comes this way; it was reported, and its records are
                // neither delivered nor settled, so nothing is lost.
                Ok(_) => {}
            }
        }
        match self.consumer.client().fatal_error() {
            Some((code, text)) => Err(format!("{code}: {text}")),
            None => Ok(()),
        }
    }

    fn subscribe(&mut self) {
        let Some(mut topics) = self.shared.take_topics() else { return };
        topics.sort();
        topics.dedup();
        if topics == self.subscribed {
            return;
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let done = if names.is_empty() {
            self.consumer.unsubscribe();
            Ok(())
        } else {
            self.consumer.subscribe(&names)
        };
        match done {
            Ok(()) => {
                slog_scope::info!("topics"; "subscribed" => topics.join(" "));
                self.subscribed = topics;
            }
            Err(error) => slog_scope::error!("topics not subscribed"; "error" => %error, "topics" => topics.join(" ")),
        }
    }

    fn fetch(&mut self, data: &mut Taker) {
        let wait = if self.parking.is_empty() { WAIT } else { WAIT_PARKED };
        let draining = self.shared.draining.load(Relaxed);
        let fetched = data.take(wait);
        if draining {
            return;
        }
        let mut runs: Vec<((usize, i32), Vec<Fetched<'_>>, Message<'_>)> = Vec::new();
        for message in fetched.iter() {
            if let Some(error) = message.error() {
                self.shared.counters.errors.fetch_add(1, Relaxed);
                slog_scope::warn!("partition"; "error" => %error, "topic" => message.topic(), "partition" => message.partition());
                continue;
            }
            let place = (message.topic_handle(), message.partition());
            match runs.iter_mut().rev().find(|(p, ..)| *p == place) {
                Some((_, run, _)) => run.push(message.into()),
                None => runs.push((place, vec![message.into()], message)),
            }
        }
        for (_, run, first) in runs {
            if let Some(origin) = self.shared.assignment.origin(first.topic(), first.partition()) {
                self.take_run(origin, &run);
            }
        }
    }

    fn take_run(&mut self, origin: Arc<PartitionOrigin>, run: &[Fetched<'_>]) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
        match self.shared.assignment.arrive(origin.id, first.offset, last.offset + 1) {
            Arrival::Expected => {}
            Arrival::Gap(next) => self.count_lost(&origin, next, first.offset),
            Arrival::First => {
                if let Some(next) = self.committed(&origin).filter(|next| *next < first.offset) {
                    self.count_lost(&origin, next, first.offset);
                }
            }
        }
        let mut pieces: VecDeque<Gathered> = gather(run, &self.pool).into();
        if !self.parking.holds(origin.id) {
            self.hand_on(&origin, &mut pieces);
        }
        if pieces.is_empty() {
            self.parking.passed(&origin.topic, Instant::now());
        } else {
            self.parking.park(origin, pieces);
            self.count_parked();
        }
    }

    fn count_parked(&self) {
        self.shared.counters.parked.store(self.parking.len() as u64, Relaxed);
        self.shared.counters.parked_bytes.store(self.parking.bytes() as u64, Relaxed);
    }

    /// Hands on pieces as long as there is credit and room.
    fn hand_on(&self, origin: &Arc<PartitionOrigin>, pieces: &mut VecDeque<Gathered>) {
        while let Some(piece) = pieces.front() {
            let counters = &self.shared.counters;
            let Ok(room) = self.out.try_reserve() else { return };
            let Some(credit) = self.credits.try_take(&origin.topic, piece.bytes()) else { return };
            let Some(piece) = pieces.pop_front() else { return };
            let Some(seq) = self.shared.assignment.deliver(origin.id, piece.end_offset) else { return };
            counters.null_values.fetch_add(piece.nulls.into(), Relaxed);
            if piece.lines.is_empty() {
                let origin = origin.id;
                self.shared.assignment.settle(&Settled { origin, seq, delivered: 0, dead: 0 });
                continue;
            }
            counters.records.fetch_add(piece.lines.len() as u64, Relaxed);
            counters.bytes.fetch_add(piece.data.len() as u64, Relaxed);
            room.send(LineBatch {
                origin: Origin::Partition(origin.clone()),
                seq,
                begin: piece.first_offset as u64,
                end: piece.end_offset as u64,
                read_ms: 0,
                data: piece.data,
                lines: piece.lines,
                records: piece.records,
                credit,
                settle_to: self.settle_to.clone(),
            });
        }
    }

    /// Tries again what waits for credit, in the order in which it was parked.
    fn unpark(&mut self) {
        if self.parking.is_empty() {
            return;
        }
        for mut parked in self.parking.take() {
            if !self.shared.assignment.holds(parked.origin.id) {
                self.parking.moved();
                continue; // revoked: its next owner reads these records
            }
            let before = parked.pieces.len();
            self.hand_on(&parked.origin, &mut parked.pieces);
            if parked.pieces.len() < before {
                self.parking.moved();
            }
            if !parked.pieces.is_empty() {
                self.parking.put_back(parked);
            }
        }
        self.parking.resume().iter().for_each(|topic| self.set_paused(topic, false));
        self.count_parked();
    }

    /// All partitions of the topic that are assigned here.
    fn set_paused(&self, topic: &str, paused: bool) {
        let mut list = TopicPartitionList::new();
        for partition in self.shared.assignment.partitions(topic) {
            list.add_partition(topic, partition);
        }
        if list.count() == 0 {
            return;
        }
        let done = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = done {
            slog_scope::warn!("topic not paused or resumed"; "topic" => topic, "paused" => paused, "error" => %error);
        }
    }

    fn committed(&self, origin: &PartitionOrigin) -> Option<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&origin.topic, origin.partition);
        let answer = self.consumer.committed_offsets(list, ASK);
        let list = answer
            .inspect_err(|e| slog_scope::warn!("committed offset unknown"; "topic" => %origin.topic, "partition" => origin.partition, "error" => %e))
            .ok()?;
        list.elements().first().and_then(|p| match p.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
    }

    /// A gap is loss as far as it lies below the earliest offset that the broker still has; the rest of it was never
    /// a record (a transaction's marker, a compacted one).
    fn count_lost(&self, origin: &PartitionOrigin, from: i64, to: i64) {
        let earliest = match self.consumer.fetch_watermarks(&origin.topic, origin.partition, ASK) {
            Ok((low, _)) => low,
            Err(error) => {
                slog_scope::warn!("gap in the offsets can't be judged"; "topic" => %origin.topic,
                    "partition" => origin.partition, "from" => from, "to" => to, "error" => %error);
                return;
            }
        };
        let lost = earliest.min(to) - from;
        if lost > 0 {
            self.shared.counters.lost_records.fetch_add(lost as u64, Relaxed);
            slog_scope::error!("records were deleted by Kafka before they were read"; "topic" => %origin.topic,
                "partition" => origin.partition, "from_offset" => from, "lost_records" => lost);
        }
    }

    fn look_at_lag(&self) {
        let lag = self.shared.assignment.positions().into_iter().filter_map(|(topic, partition, next)| {
            let end = cached_end(&self.consumer, &topic, partition)?;
            Some((topic, (end - next?).max(0) as u64))
        });
        let lag: Vec<_> = lag.collect();
        self.shared.counters.lag_records.store(lag.iter().map(|(_, records)| records).sum(), Relaxed);
        self.shared.counters.lag_by_topic.replace(lag);
    }
}
