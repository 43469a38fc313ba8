//! DeadLetters: keeps records that can't be delivered. The problem: "given up" must not mean "gone", so a record is
//! written to a Kafka topic of its own, and only the broker's acknowledgement answers. The answer to a failure is an
//! error; who asked keeps the record unsettled and asks again.
//!
//! A letter has the record's key and value, and headers `reason`, `status`, `topic`, `partition`, `offset`, `index`,
//! `time` (milliseconds since 1970), and `truncated` (bytes of the whole value) where the broker takes only a part.

use super::stopping::stops_at_once;
use crate::{
    kafka::{LetterError, LetterProducer, config::ProducerOptions},
    messages::{ChildStopped, DeadLetterError, KeepDeadLetter},
    telemetry::{ActorStats, DeadLetterSample, DeadLetterStatus, Mailbox},
};
use actix::prelude::*;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

#[derive(Clone, Debug)]
pub struct DeadLettersSettings {
    /// Kafka topic of the letters.
    pub topic: String,
    pub options: ProducerOptions,
    /// How long one letter may take before it is answered with an error.
    pub deadline: Duration,
}

/// What operators see of it.
#[derive(Debug, Default)]
pub struct DeadLetterCounters {
    pub kept: AtomicU64,
    pub failed: AtomicU64,
    by_reason: Mutex<BTreeMap<String, DeadLetterStatus>>,
}

/// Reasons that are told one by one; those that come later are told together.
const MOST_REASONS: usize = 20;
/// Under this name.
const OTHERS: &str = "others";
/// Bytes of a reason's text that are shown.
const SHOWN: usize = 500;

impl DeadLetterCounters {
    /// How many were kept for which reason, with the last of each.
    pub fn by_reason(&self) -> BTreeMap<String, DeadLetterStatus> {
        self.by_reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn kept(&self, sample: DeadLetterSample) {
        self.kept.fetch_add(1, Relaxed);
        // `kind: text`; the text is another one for each document.
        let kind = cut(sample.error.split(": ").next().unwrap_or_default(), 100).to_owned();
        let mut all = self.by_reason.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if all.len() < MOST_REASONS || all.contains_key(&kind) { kind } else { OTHERS.to_owned() };
        let of = all.entry(name).or_default();
        of.count += 1;
        of.sample = sample;
    }
}

/// At most so many bytes of a text.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=text.len().min(most)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

fn sample(letter: &KeepDeadLetter, time_ms: u64) -> DeadLetterSample {
    DeadLetterSample {
        index: cut(&letter.index, 255).to_owned(),
        topic: letter.topic.to_string(),
        partition: letter.partition,
        offset: letter.offset,
        error: cut(&letter.reason, SHOWN).to_owned(),
        time_ms,
    }
}

pub struct DeadLetters {
    settings: DeadLettersSettings,
    parent: Mailbox<ChildStopped>,
    counters: Arc<DeadLetterCounters>,
    stats: Arc<ActorStats>,
    /// Made for the first letter: most transfers never have one.
    producer: Option<Arc<LetterProducer>>,
    orderly: bool,
}

impl DeadLetters {
    /// Kind of this actor in log and metrics.
    pub const KIND: &str = "dead_letters";

    pub fn new(
        settings: DeadLettersSettings,
        parent: Mailbox<ChildStopped>,
        counters: Arc<DeadLetterCounters>,
        stats: Arc<ActorStats>,
    ) -> Self {
        Self { settings, parent, counters, stats, producer: None, orderly: false }
    }

    fn producer(&mut self) -> Result<Arc<LetterProducer>, LetterError> {
        if let Some(producer) = &self.producer {
            return Ok(producer.clone());
        }
        let producer = Arc::new(LetterProducer::new(&self.settings.options, &self.settings.topic)?);
        self.producer = Some(producer.clone());
        Ok(producer)
    }

    fn answer(&mut self, sample: DeadLetterSample, answer: Result<(), LetterError>) -> Result<(), DeadLetterError> {
        let Err(error) = answer else {
            self.counters.kept(sample);
            return Ok(());
        };
        self.counters.failed.fetch_add(1, Relaxed);
        if error.fatal {
            self.producer = None;
        }
        slog_scope::error!("a dead letter can't be written, its record waits"; "topic" => &self.settings.topic,
            "error" => %error, "advice" => "check that the topic exists and may be written");
        Err(DeadLetterError(error.to_string()))
    }
}

impl Actor for DeadLetters {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.parent.tell(ChildStopped { kind: Self::KIND, id: 0, orderly: self.orderly });
    }
}

impl Handler<KeepDeadLetter> for DeadLetters {
    type Result = ResponseActFuture<Self, Result<(), DeadLetterError>>;

    /// Several at once: who asks bounds how many.
    fn handle(&mut self, letter: KeepDeadLetter, _: &mut Self::Context) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let (producer, deadline) = (self.producer(), self.settings.deadline);
        let now_ms = crate::telemetry::now_ms();
        let sample = sample(&letter, now_ms);
        let kept = async move {
            match tokio::time::timeout(deadline, producer?.keep(&letter, now_ms)).await {
                Ok(answer) => answer,
                Err(_) => Err(LetterError::late(deadline)),
            }
        };
        Box::pin(kept.into_actor(self).map(|answer, letters, _| letters.answer(sample, answer)))
    }
}

// A letter under way at a stop is unsettled, so its record comes again after the next start.
stops_at_once!(DeadLetters);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_by_kind_with_the_last_one_and_kinds_are_bounded() {
        let counters = DeadLetterCounters::default();
        let letter = |kind: &str, offset| KeepDeadLetter {
            key: None,
            value: b"line".to_vec(),
            reason: format!("{kind}: {}", "é".repeat(SHOWN)),
            status: 400,
            topic: "web".into(),
            partition: 1,
            offset,
            index: "logweir-web".into(),
        };
        for offset in 0..3 {
            counters.kept(sample(&letter("document_parsing_exception", offset), 5));
        }
        let parsing = &counters.by_reason()["document_parsing_exception"];
        assert_eq!((parsing.count, parsing.sample.offset, &*parsing.sample.topic), (3, 2, "web"));
        assert!(parsing.sample.error.len() <= SHOWN);
        for n in 0..1_000 {
            counters.kept(sample(&letter(&format!("kind-{n}"), n), 5));
        }
        let all = counters.by_reason();
        assert_eq!((all.len(), all[OTHERS].count), (MOST_REASONS + 1, 1_000 - (MOST_REASONS as u64 - 1)));
        assert_eq!(counters.kept.load(Relaxed), 1_003);
    }
}
