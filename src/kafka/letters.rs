//! Writes dead letters to their topic. The problem: a record that is given up must be kept before it counts as settled,
//! so every letter is acknowledged by all in-sync replicas; and a letter that is itself too large for the broker must
//! not stand in the way for ever, so its value is cut and says so.

use super::config::ProducerOptions;
use crate::messages::KeepDeadLetter;
use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer},
};
use tokio::sync::oneshot;

/// What is left of a letter that the broker finds too large, tried in turn: bytes of key and of value.
const CUTS: [usize; 3] = [usize::MAX, 256 << 10, 32 << 10];

/// The letter is not kept.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("{text}")]
pub struct LetterError {
    text: String,
    /// The producer is of no use any more; a new one is needed.
    pub fatal: bool,
}

impl LetterError {
    /// No answer within this time. The letter may still arrive: it is kept at least once.
    pub fn late(deadline: std::time::Duration) -> Self {
        Self { text: format!("no acknowledgement within {deadline:?}"), fatal: false }
    }
}

struct Context;

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), KafkaError>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, answer: Self::DeliveryOpaque) {
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        // Who asked may be gone; then the record is unsettled and comes again.
        let _gone = answer.send(result);
    }
}

/// A producer for letters alone, with its own polling thread.
pub struct LetterProducer {
    producer: ThreadedProducer<Context>,
    topic: String,
}

impl LetterProducer {
    /// # Errors
    /// librdkafka refuses an option.
    pub fn new(options: &ProducerOptions, topic: &str) -> Result<Self, LetterError> {
        let mut config = ClientConfig::new();
        // Its log goes through the client's context, not by a queue.
        for (name, value) in options.iter().filter(|(name, _)| *name != "log.queue") {
            config.set(name, value);
        }
        config.set("linger.ms", "5").set("client.id", "logweir-dead-letters");
        let producer = config
            .create_with_context(Context)
            .map_err(|error| LetterError { text: error.to_string(), fatal: true })?;
        Ok(Self { producer, topic: topic.to_owned() })
    }

    /// Answers when the broker has it.
    ///
    /// # Errors
    /// It has it not; to be tried again.
    pub async fn keep(&self, letter: &KeepDeadLetter, now_ms: u64) -> Result<(), LetterError> {
        let mut last = None;
        for cut in CUTS {
            match self.send(letter, now_ms, cut).await {
                Ok(()) => return Ok(()),
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    last = Some(error);
                }
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Err(last.map_or_else(|| LetterError { text: "not sent".into(), fatal: false }, |error| self.failed(&error)))
    }

    fn failed(&self, error: &KafkaError) -> LetterError {
        let fatal = self.producer.client().fatal_error();
        let text = match &fatal {
            Some((_, reason)) => format!("topic {}: {reason}", self.topic),
            None => format!("topic {}: {error}", self.topic),
        };
        LetterError { text, fatal: fatal.is_some() }
    }

    async fn send(&self, letter: &KeepDeadLetter, now_ms: u64, cut: usize) -> Result<(), KafkaError> {
        let value = &letter.value[..letter.value.len().min(cut)];
        let key = letter.key.as_deref().map(|key| &key[..key.len().min(cut)]);
        let (answer, answered) = oneshot::channel();
        let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(answer)).payload(value).headers(headers(
            letter,
            now_ms,
            value.len() < letter.value.len(),
        ));
        if let Some(key) = key {
            record = record.key(key);
        }
        self.producer.send(record).map_err(|(error, _)| error)?;
        answered.await.unwrap_or(Err(KafkaError::Canceled))
    }
}

fn headers(letter: &KeepDeadLetter, now_ms: u64, truncated: bool) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new();
    let mut put = |key, value: &str| {
        let value = Some(value);
        headers = std::mem::take(&mut headers).insert(Header { key, value });
    };
    put("reason", &letter.reason);
    put("status", &letter.status.to_string());
    put("topic", &letter.topic);
    put("partition", &letter.partition.to_string());
    put("offset", &letter.offset.to_string());
    put("index", &letter.index);
    put("time", &now_ms.to_string());
    if truncated {
        put("truncated", &letter.value.len().to_string());
    }
    headers
}
