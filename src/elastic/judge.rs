//! Goes through the verdicts on a request's documents. The problem: a request mixes batches, topics and indices, and
//! each wants to know something else: the batch, whether it is done; the index, whether it takes anything; the topic,
//! whether too much of it is refused.

use super::{
    answered::tell,
    batches::Item,
    lanes::LaneKey,
    queue::Queue,
    request::{DeadItem, Outcome, Request, Sent},
    verdict::{Reason, Verdict},
};
use crate::messages::KeepDeadLetter;
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::time::Instant;

/// A document that is refused for so long needs somebody to look at it.
const STUCK: Duration = Duration::from_secs(600);

/// Verdicts on the documents of one index.
#[derive(Debug, Default)]
struct Tally {
    delivered: usize,
    retried: usize,
    why: Option<Reason>,
}

/// Verdicts on the records of one topic.
#[derive(Debug, Default)]
struct TopicTally {
    all: u64,
    refused: HashMap<Box<str>, u64>,
}

/// Everything that one answer says.
struct Judgement {
    places: Vec<Tally>,
    topics: HashMap<Arc<str>, TopicTally>,
    dead: Vec<DeadItem>,
    /// Delivered lines in a row of one batch: (slot, lines).
    delivered: Vec<(u32, u32)>,
    conflicts: u64,
    retried: u64,
    /// Of the documents to be sent again the one that waits longest, if that is long.
    stuck: Option<(Instant, Sent, Reason)>,
}

impl Queue {
    /// `verdicts` in the order of the documents; those without one are created.
    pub(super) fn judge(&mut self, request: &Request, verdicts: Vec<(u32, Verdict)>, now: Instant) -> Outcome {
        let judgement = self.sort_out(request, verdicts, now);
        let delivered: u64 = judgement.delivered.iter().map(|(_, lines)| u64::from(*lines)).sum();
        self.counters.created.fetch_add(delivered - judgement.conflicts, Relaxed);
        self.counters.conflicts.fetch_add(judgement.conflicts, Relaxed);
        self.counters.retried.fetch_add(judgement.retried, Relaxed);
        self.indices_answered(request, &judgement.places, now);
        if let Some((since, sent, reason)) = &judgement.stuck {
            self.tell_stuck(request, *sent, now.saturating_duration_since(*since), reason);
        }
        self.lane_answered(request);
        for (topic, tally) in &judgement.topics {
            self.topic_answered(topic, tally, now);
        }
        for (slot, lines) in &judgement.delivered {
            if let Some(batch) = self.batches.get(*slot) {
                self.counters.by_topic.add(batch.origin.topic(), u64::from(*lines));
            }
        }
        let settled = judgement.delivered.into_iter();
        let settled = settled.filter_map(|(slot, lines)| self.batches.done(slot, lines, false)).collect();
        let dead = self.hold_paused(request, judgement.dead, delivered > 0, now);
        Outcome { settled, dead }
    }

    /// Sorts the documents by their verdicts; those to be sent again go to the lanes of their indices.
    fn sort_out(&mut self, request: &Request, verdicts: Vec<(u32, Verdict)>, now: Instant) -> Judgement {
        let mut judgement = Judgement {
            places: request.places.iter().map(|_| Tally::default()).collect(),
            topics: HashMap::new(),
            dead: Vec::new(),
            delivered: Vec::new(),
            conflicts: 0,
            retried: 0,
            stuck: None,
        };
        let mut verdicts = verdicts.into_iter().peekable();
        let mut run: Option<(u32, u64)> = None;
        for (number, sent) in request.items.iter().copied().enumerate() {
            let (item, place) = (sent.item, sent.place as usize);
            match &mut run {
                Some((slot, lines)) if *slot == item.slot => *lines += 1,
                _ => {
                    self.count_run(&mut judgement, run.replace((item.slot, 1)));
                }
            }
            match verdicts.next_if(|(of, _)| *of as usize == number).map(|(_, verdict)| verdict) {
                None => judgement.deliver(item, place),
                Some(Verdict::Conflict) => {
                    judgement.conflicts += 1;
                    judgement.deliver(item, place);
                }
                Some(Verdict::Retry(reason)) => {
                    judgement.retried += 1;
                    judgement.note_stuck(self.batches.since(item.slot), sent, &reason, now);
                    judgement.places[place].retried += 1;
                    judgement.places[place].why.get_or_insert(reason);
                    self.lane(LaneKey::Index(request.places[place].index.clone())).items.push_back(item);
                }
                Some(Verdict::Dead(reason)) => {
                    if let Some(batch) = self.batches.get(item.slot) {
                        let tally = judgement.topics.entry(batch.origin.topic().clone()).or_default();
                        *tally.refused.entry(reason.kind.clone()).or_default() += 1;
                    }
                    judgement.dead.push(DeadItem { item, place: request.places[place].clone(), reason });
                }
            }
        }
        self.count_run(&mut judgement, run);
        judgement
    }

    fn count_run(&self, judgement: &mut Judgement, run: Option<(u32, u64)>) {
        let Some((slot, lines)) = run else { return };
        if let Some(batch) = self.batches.get(slot) {
            judgement.topics.entry(batch.origin.topic().clone()).or_default().all += lines;
        }
    }

    /// Its partition's other documents go on, but its committed offset doesn't.
    fn tell_stuck(&self, request: &Request, sent: Sent, waits: Duration, reason: &Reason) {
        let (Some(batch), Some(place)) = (self.batches.get(sent.item.slot), request.places.get(sent.place as usize))
        else {
            return;
        };
        let crate::flow::Origin::Partition(origin) = &batch.origin else { return };
        slog_scope::error!("a document is refused again and again, and its partition's committed offset stays before it: \
            a restart reads from there";
            "topic" => %origin.topic, "partition" => origin.partition,
            "offset" => batch.records.get(sent.item.line as usize).map(|record| record.offset),
            "index" => %place.index, "status" => reason.status, "kind" => %reason.kind,
            "waits_secs" => waits.as_secs(), "advice" => reason.advice());
    }

    /// The main lane's own backoff ends, and a limit that was halved grows again.
    fn lane_answered(&mut self, request: &Request) {
        let full = self.full();
        if let Some(lane) = self.lanes.get_mut(&request.lane) {
            if request.lane == LaneKey::Main {
                (lane.failures, lane.until) = (0, None);
            }
            lane.grow(full);
        }
    }

    /// An index that took nothing gets its new lines diverted; one that took some only tries the rest again.
    fn indices_answered(&mut self, request: &Request, tallies: &[Tally], now: Instant) {
        let backoff = self.settings.backoff;
        for (place, tally) in request.places.iter().zip(tallies) {
            let key = LaneKey::Index(place.index.clone());
            if tally.retried == 0 {
                if let Some(lane) = self.lanes.get_mut(&key) {
                    lane.diverting = false;
                    (lane.failures, lane.until) = (0, None);
                    if lane.is_idle() {
                        self.lanes.remove(&key);
                    }
                }
                continue;
            }
            let lane = self.lane(key);
            lane.diverting = tally.delivered == 0;
            lane.why = tally.why.as_ref().map(Reason::told);
            if tally.delivered > 0 {
                (lane.failures, lane.until) = (1, Some(now + backoff.wait(1)));
            } else {
                lane.failed(&backoff, request.built, now);
            }
            if let Some(reason) = &tally.why {
                tell(reason, "documents were not taken, they are sent again", &place.index, tally.retried);
            }
        }
    }

    fn topic_answered(&mut self, topic: &Arc<str>, tally: &TopicTally, now: Instant) {
        match self.refusals.count(topic, tally.all, &tally.refused, now) {
            Some(true) => {
                let worst = tally.refused.iter().max_by_key(|(_, n)| **n).map(|(kind, _)| kind.to_string());
                slog_scope::error!("too many records of a topic are refused for one reason: the topic pauses, its \
                    refused records are tried again instead of going to the dead letters";
                    "topic" => %topic, "reason" => worst.unwrap_or_default(),
                    "advice" => "compare the index's mapping with the topic's documents and correct it");
            }
            Some(false) => slog_scope::info!("few records of the topic are refused now: it goes on"; "topic" => %topic),
            None => {}
        }
    }

    /// Refused records of a paused topic stay here and are tried again; the others are answered.
    fn hold_paused(
        &mut self,
        request: &Request,
        dead: Vec<DeadItem>,
        some_delivered: bool,
        now: Instant,
    ) -> Vec<DeadItem> {
        let (mut to_keep, backoff) = (Vec::new(), self.settings.backoff);
        let mut held: Vec<Arc<str>> = Vec::new();
        for item in dead {
            let topic = self.batches.get(item.item.slot).map(|batch| batch.origin.topic().clone());
            let Some(topic) = topic.filter(|topic| self.refusals.is_paused(topic)) else {
                to_keep.push(item);
                continue;
            };
            self.lane(LaneKey::Topic(topic.clone())).items.push_back(item.item);
            self.counters.held.fetch_add(1, Relaxed);
            if !held.contains(&topic) {
                held.push(topic);
            }
        }
        for topic in held {
            let key = LaneKey::Topic(topic);
            let own = request.lane == key;
            let lane = self.lane(key);
            if own && some_delivered {
                lane.failures = 0;
            }
            if own || lane.until.is_none() {
                lane.failed(&backoff, request.built, now);
            }
        }
        to_keep
    }

    /// The message that keeps a refused record; `None` where it is settled already.
    pub fn dead_letter(&self, dead: &DeadItem) -> Option<KeepDeadLetter> {
        let item = dead.item;
        let batch = self.batches.get(item.slot)?;
        let crate::flow::Origin::Partition(origin) = &batch.origin else { return None };
        let (line, record) = (batch.lines.get(item.line as usize)?, batch.records.get(item.line as usize)?);
        Some(KeepDeadLetter {
            key: record.key.map(|(start, len)| batch.data[start as usize..][..len as usize].to_vec()),
            value: batch.bytes(line).to_vec(),
            reason: format!("{}: {}", dead.reason.kind, dead.reason.text),
            status: dead.reason.status,
            topic: origin.topic.clone(),
            partition: origin.partition,
            offset: record.offset,
            index: dead.place.index.to_string(),
        })
    }

    /// A refused record is kept for good.
    pub fn dead_kept(&mut self, dead: &DeadItem) -> Option<super::batches::Notice> {
        self.counters.dead.fetch_add(1, Relaxed);
        self.batches.done(dead.item.slot, 1, true)
    }
}

impl Judgement {
    fn note_stuck(&mut self, since: Option<Instant>, sent: Sent, reason: &Reason, now: Instant) {
        let Some(since) = since.filter(|since| now.saturating_duration_since(*since) >= STUCK) else { return };
        if self.stuck.as_ref().is_none_or(|(oldest, ..)| since < *oldest) {
            self.stuck = Some((since, sent, reason.clone()));
        }
    }

    fn deliver(&mut self, item: Item, place: usize) {
        self.places[place].delivered += 1;
        match self.delivered.last_mut() {
            Some((slot, lines)) if *slot == item.slot => *lines += 1,
            _ => self.delivered.push((item.slot, 1)),
        }
    }
}
