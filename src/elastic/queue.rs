//! Decides what the next request to Elasticsearch is, and what its answer means for every line in it. The problem:
//! each line has to be delivered, or kept as a dead letter, exactly once, while servers, indices, rights and
//! templates fail in every combination, in bounded memory, and without one index holding up another.
//!
//! No input and output and no clock: [`Queue::next`] says what to do, and the answers come back as calls. So every
//! failure is tested without a server.

use super::{
    answered::tell,
    batches::{Batches, Notice},
    counters::ElasticCounters,
    lanes::{Lane, LaneKey, Limit},
    refusals::Refusals,
    request::{Next, QueueSettings},
    verdict::Reason,
};
use crate::{
    collection::Delivery,
    document::{Documents, IndexTemplate},
    flow::{EntryId, Origin},
    messages::{EntryStoreError, LineBatch},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
};
use tokio::time::Instant;

/// What a document has beside its line, roughly: to guess the size of a request before it is built.
pub(super) const OVERHEAD_BYTES: usize = 340;

#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) slot: u32,
    pub(super) next_line: u32,
    pub(super) since: Instant,
}

/// See the module.
#[derive(Debug)]
pub struct Queue {
    pub(super) settings: QueueSettings,
    pub(super) documents: Documents,
    pub(super) batches: Batches,
    pub(super) fresh: VecDeque<Fresh>,
    pub(super) fresh_bytes: usize,
    pub(super) lanes: HashMap<LaneKey, Lane>,
    pub(super) installed: HashSet<Box<str>>,
    /// Number of the current servers: an installation on earlier ones doesn't count.
    pub(super) generation: u64,
    pub(super) refusals: Refusals,
    draining: bool,
    pub(super) spare: Vec<Vec<u8>>,
    pub(super) counters: Arc<ElasticCounters>,
}

impl Queue {
    pub fn new(
        settings: QueueSettings,
        default_index: IndexTemplate,
        counters: Arc<ElasticCounters>,
        now: Instant,
    ) -> Self {
        Self {
            settings,
            documents: Documents::new(default_index),
            batches: Batches::default(),
            fresh: VecDeque::new(),
            fresh_bytes: 0,
            lanes: HashMap::new(),
            installed: HashSet::new(),
            generation: 0,
            refusals: Refusals::new(settings.pause, now),
            draining: false,
            spare: Vec::new(),
            counters,
        }
    }

    pub(super) fn full(&self) -> Limit {
        Limit { items: self.settings.bulk_documents.max(1), bytes: self.settings.bulk_bytes.max(1) }
    }

    pub(super) fn lane(&mut self, key: LaneKey) -> &mut Lane {
        let full = self.full();
        self.lanes.entry(key).or_insert_with(|| Lane::new(full))
    }

    /// Takes a batch of a partition. Answers the notice at once where it has no lines.
    pub fn push(&mut self, batch: LineBatch, now: Instant) -> Option<Notice> {
        if batch.lines.is_empty() {
            return Some((batch.settle_to.clone(), batch.settled(0)));
        }
        if !matches!(batch.origin, Origin::Partition(_)) || batch.records.len() != batch.lines.len() {
            slog_scope::error!("a batch without records can't become documents; it stays unsettled";
                "topic" => %batch.origin.topic(), "seq" => batch.seq);
            return None;
        }
        let lines: usize = batch.lines.iter().map(|line| line.len as usize + OVERHEAD_BYTES).sum();
        self.fresh_bytes += lines;
        self.fresh.push_back(Fresh { slot: self.batches.insert(batch, now), next_line: 0, since: now });
        None
    }

    /// Nothing waits for more lines from now on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether every line that was pushed is delivered or kept.
    pub fn is_empty(&self) -> bool {
        self.batches.len() == 0
    }

    /// Batches that are not settled.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Topics that are paused by the 10 % rule.
    pub fn paused_topics(&self) -> Vec<Arc<str>> {
        self.refusals.paused().into_iter().map(|(topic, _)| topic).collect()
    }

    /// The servers or the credentials are others: nothing waits for a backoff any more, and templates are installed
    /// anew.
    pub fn servers_changed(&mut self) {
        self.generation += 1;
        self.installed.clear();
        for lane in self.lanes.values_mut() {
            (lane.failures, lane.until) = (0, None);
        }
    }

    /// What is to be done next; to be called until it answers `Wait` or `Idle`.
    pub fn next(&mut self, now: Instant) -> Next {
        while let Some(key) = self.ready_lane(now) {
            let next = match &key {
                LaneKey::Entry(entry) => Some(Next::LookUp(*entry)),
                LaneKey::Pattern(pattern) => Some(Next::Install(pattern.clone(), self.generation)),
                _ => self.build(&key, now).map(Next::Send),
            };
            if let Some(next) = next {
                self.lane(key).in_flight += 1;
                return next;
            }
        }
        self.waiting_until(now).map_or(Next::Idle, Next::Wait)
    }

    /// Whether a request of new lines is due, or when it will be.
    fn main_due(&self, now: Instant) -> Option<Instant> {
        let lane = self.lanes.get(&LaneKey::Main);
        let (failures, in_flight) = lane.map_or((0, 0), |lane| (lane.failures, lane.in_flight));
        // After a failure one request tries the ground for all.
        let allowed = if failures > 0 { 1 } else { self.settings.in_flight.max(1) };
        if in_flight >= allowed {
            return None;
        }
        let limit = lane.map_or(self.full(), |lane| lane.limit);
        let at_once = self.draining || lane.is_some_and(|lane| !lane.items.is_empty());
        let due = match self.fresh.front() {
            _ if at_once && (lane.is_some_and(|lane| !lane.items.is_empty()) || !self.fresh.is_empty()) => now,
            Some(_) if self.fresh_bytes >= limit.bytes => now,
            Some(first) => first.since + self.settings.linger,
            None => return None,
        };
        Some(lane.and_then(|lane| lane.until).map_or(due, |until| due.max(until)))
    }

    fn ready_lane(&self, now: Instant) -> Option<LaneKey> {
        if self.main_due(now).is_some_and(|due| due <= now) {
            return Some(LaneKey::Main);
        }
        let ready = |(key, lane): &(&LaneKey, &Lane)| self.may_go(key, lane) && lane.is_ready(now);
        // Whoever has waited longest.
        self.lanes.iter().filter(ready).min_by_key(|(_, lane)| lane.until).map(|(key, _)| key.clone())
    }

    fn may_go(&self, key: &LaneKey, lane: &Lane) -> bool {
        let busy = || {
            let sends = |key: &LaneKey| matches!(key, LaneKey::Index(_) | LaneKey::Topic(_));
            self.lanes.iter().filter(|(key, lane)| sends(key) && lane.in_flight > 0).count()
        };
        let waits = lane.in_flight == 0 && !lane.items.is_empty();
        match key {
            LaneKey::Main => false,
            LaneKey::Entry(_) | LaneKey::Pattern(_) => waits,
            LaneKey::Index(_) | LaneKey::Topic(_) => waits && busy() < self.settings.in_flight.max(1),
        }
    }

    fn waiting_until(&self, now: Instant) -> Option<Instant> {
        let lanes = self.lanes.iter().filter(|(key, lane)| self.may_go(key, lane)).filter_map(|(_, lane)| lane.until);
        lanes.chain(self.main_due(now)).min()
    }

    /// What became of an entry that was asked for.
    pub fn entry_answered(&mut self, entry: EntryId, answer: Result<Option<&Delivery>, EntryStoreError>, now: Instant) {
        let learnt = match answer {
            Ok(Some(delivery)) => self.documents.learn(entry, delivery).map_err(|error| error.to_string()),
            Ok(None) => Err("nobody has published it yet".into()),
            Err(EntryStoreError::NotConfigured) => {
                self.documents.do_without(entry);
                let waiting = self.lane(LaneKey::Entry(entry)).items.len() as u64;
                self.counters.without_entry.fetch_add(waiting, Relaxed);
                slog_scope::error!("records name an entry whose labels and index can't be looked up, because [etcd] \
                    endpoints is empty: they go without labels to the default index"; "entry" => %entry,
                    "advice" => "give the transfer the etcd of the agents");
                Ok(())
            }
            Err(EntryStoreError::Failed(reason)) => Err(reason),
        };
        let backoff = self.settings.backoff;
        let lane = self.lane(LaneKey::Entry(entry));
        lane.in_flight = 0;
        if let Err(reason) = learnt {
            lane.failed(&backoff, now, now);
            let (waiting, failures) = (lane.items.len(), lane.failures);
            return slog_scope::warn!("records wait for the labels and index of their entry";
                "entry" => %entry, "reason" => reason, "records" => waiting, "attempt" => failures);
        }
        self.release(&LaneKey::Entry(entry));
    }

    /// What became of the installation of an index template.
    pub fn template_answered(&mut self, pattern: &str, generation: u64, answer: Result<(), Reason>, now: Instant) {
        let key = LaneKey::Pattern(pattern.into());
        let (current, backoff) = (self.generation, self.settings.backoff);
        let lane = self.lane(key.clone());
        lane.in_flight = 0;
        match answer {
            Ok(()) if generation == current => {
                self.installed.insert(pattern.into());
                self.release(&key);
                slog_scope::info!("index template is installed"; "pattern" => pattern);
            }
            Ok(()) => {}
            Err(reason) => {
                lane.failed(&backoff, now, now);
                tell(&reason, "index template is not installed, records wait", pattern, lane.items.len());
            }
        }
    }

    /// What a lane's lines waited for is there.
    fn release(&mut self, key: &LaneKey) {
        if let Some(lane) = self.lanes.remove(key) {
            self.lane(LaneKey::Main).items.extend(lane.items);
        }
    }
}

#[cfg(test)]
mod tests;
