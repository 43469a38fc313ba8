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
    telemetry::{ActorStats, Mailbox},
};
use actix::prelude::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
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

    fn answer(&mut self, answer: Result<(), LetterError>) -> Result<(), DeadLetterError> {
        let Err(error) = answer else {
            self.counters.kept.fetch_add(1, Relaxed);
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
        let kept = async move {
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
            match tokio::time::timeout(deadline, producer?.keep(&letter, now_ms)).await {
                Ok(answer) => answer,
                Err(_) => Err(LetterError::late(deadline)),
            }
        };
        Box::pin(kept.into_actor(self).map(|answer, letters, _| letters.answer(answer)))
    }
}

// A letter under way at a stop is unsettled, so its record comes again after the next start.
stops_at_once!(DeadLetters);
