//! Where the agent's lines go. The problem: agent and standalone are the same tree of actors but for one, and a second
//! supervisor would be a copy. So the sink is a choice: what it is made of ([`SinkParts`]) and the child itself.

use super::super::{
    index_writer::{IndexWriter, IndexWriterParts},
    kafka_producer::{KafkaProducer, ProducerSettings},
    supervision::{Child, RestartPolicy},
};
use crate::{
    kafka::ProducerCounters,
    messages::{ChildStopped, InjectPanic, LineBatch, Shutdown},
    telemetry::{ActorStats, Mailbox},
};
use actix::ArbiterHandle;
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// What the sink is made of, the same after each restart.
pub enum SinkParts {
    Kafka { settings: Box<ProducerSettings>, counters: Arc<ProducerCounters> },
    Index(Box<IndexWriterParts>),
}

/// What a sink has done.
pub(super) struct Delivered {
    pub lines: u64,
    pub bytes: u64,
    /// Batches that wait.
    pub unsettled: u64,
}

impl SinkParts {
    /// Kind of the actor in log and metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Kafka { .. } => "kafka_producer",
            Self::Index(_) => IndexWriter::KIND,
        }
    }

    /// Name at `/health` of what the lines are delivered to.
    pub(super) fn target(&self) -> &'static str {
        match self {
            Self::Kafka { .. } => "kafka",
            Self::Index(_) => "index",
        }
    }

    pub(super) fn delivered(&self) -> Delivered {
        match self {
            Self::Kafka { counters, .. } => {
                Delivered { lines: counters.records(), bytes: counters.bytes(), unsettled: counters.unsettled() }
            }
            Self::Index(parts) => Delivered {
                lines: parts.counters.committed_lines.load(Relaxed),
                bytes: parts.counters.bytes.load(Relaxed),
                unsettled: parts.counters.unsettled_batches.load(Relaxed),
            },
        }
    }
}

/// The sink as a child of the supervisor.
pub(super) enum Sink {
    Kafka(Child<KafkaProducer>),
    Index(Child<IndexWriter>),
}

impl Sink {
    /// Not started yet.
    pub fn new(parts: &SinkParts, stats: Arc<ActorStats>, arbiter: ArbiterHandle, policy: RestartPolicy) -> Self {
        match parts {
            SinkParts::Kafka { .. } => Self::Kafka(Child::new(stats, arbiter, policy)),
            SinkParts::Index(_) => Self::Index(Child::new(stats, arbiter, policy)),
        }
    }

    pub fn start(&mut self, parts: &SinkParts, parent: Mailbox<ChildStopped>) {
        match (self, parts) {
            (Self::Kafka(child), SinkParts::Kafka { settings, counters }) => {
                let (settings, counters, stats) = ((**settings).clone(), counters.clone(), child.stats().clone());
                child.start(move |_| KafkaProducer::new(settings, parent, stats, counters));
            }
            (Self::Index(child), SinkParts::Index(parts)) => {
                let (parts, stats) = ((**parts).clone(), child.stats().clone());
                child.start(move |_| IndexWriter::new(parts, parent, stats));
            }
            // Made from the same parts.
            (Self::Kafka(_), SinkParts::Index(_)) | (Self::Index(_), SinkParts::Kafka { .. }) => {}
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kafka(child) => child.kind(),
            Self::Index(child) => child.kind(),
        }
    }

    /// How long to wait before it is started again.
    pub fn stopped(&mut self) -> Duration {
        match self {
            Self::Kafka(child) => child.stopped(),
            Self::Index(child) => child.stopped(),
        }
    }

    pub fn batches(&self) -> Option<Mailbox<LineBatch>> {
        match self {
            Self::Kafka(child) => child.mailbox(),
            Self::Index(child) => child.mailbox(),
        }
    }

    pub fn shutdown(&self) -> Option<Mailbox<Shutdown>> {
        match self {
            Self::Kafka(child) => child.mailbox(),
            Self::Index(child) => child.mailbox(),
        }
    }

    pub fn inject_panic(&self) -> Option<Mailbox<InjectPanic>> {
        match self {
            Self::Kafka(child) => child.mailbox(),
            Self::Index(child) => child.mailbox(),
        }
    }
}
