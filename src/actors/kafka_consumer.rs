//! KafkaConsumer: the transfer's source. The problem: Kafka's partitions are their own journal, so all this actor has
//! to keep true is that an offset is stored only when everything before it is settled. The polling thread
//! ([`ConsumeLoop`]) fetches and stores; the actor passes batches to the sink and settled marks back.

use crate::{
    flow::{ChunkPool, Credits},
    kafka::{ConsumeLoop, ConsumeSettings, ConsumerCounters, ConsumerShared},
    messages::{ChildStopped, Drain, InjectPanic, LineBatch, Settled, Shutdown, UseTopics},
    telemetry::{ActorStats, Mailbox},
};
use actix::prelude::*;
use std::{sync::Arc, thread::JoinHandle};
use tokio::sync::{Notify, mpsc};

/// Batches between the polling thread and the actor: a hand-over, not a queue.
const HAND_OVER: usize = 4;

pub struct KafkaConsumer {
    settings: ConsumeSettings,
    credits: Credits,
    pool: ChunkPool,
    sink: Mailbox<LineBatch>,
    parent: Mailbox<ChildStopped>,
    stats: Arc<ActorStats>,
    shared: Arc<ConsumerShared>,
    /// Rings when something settles: for those who wait for a drain.
    settled: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
    orderly: bool,
}

impl KafkaConsumer {
    /// Kind of this actor in log and metrics.
    pub const KIND: &str = "kafka_consumer";

    pub fn new(
        settings: ConsumeSettings,
        (credits, pool): (Credits, ChunkPool),
        sink: Mailbox<LineBatch>,
        parent: Mailbox<ChildStopped>,
        counters: Arc<ConsumerCounters>,
        stats: Arc<ActorStats>,
    ) -> Self {
        let shared = Arc::new(ConsumerShared::new(counters));
        let settled = Arc::new(Notify::new());
        Self { settings, credits, pool, sink, parent, stats, shared, settled, thread: None, orderly: false }
    }

    /// Starts the polling thread; its end stops the actor, so that the parent hears of it.
    fn start_loop(&mut self, ctx: &mut Context<Self>) -> Result<(), String> {
        let (out, batches) = mpsc::channel(HAND_OVER);
        let settle_to = Mailbox::new(ctx.address().recipient(), self.stats.clone());
        let (credits, pool) = (self.credits.clone(), self.pool.clone());
        let consume = ConsumeLoop::new(&self.settings, self.shared.clone(), (credits, pool), out, settle_to)
            .map_err(|e| e.to_string())?;
        let thread = std::thread::Builder::new().name("kafka-consumer".into()).spawn(move || {
            if let Err(error) = consume.run() {
                slog_scope::error!("the consumer failed and is started anew"; "error" => error);
            }
        });
        self.thread = Some(thread.map_err(|e| e.to_string())?);
        ctx.spawn(pass_on(batches, self.sink.clone()).into_actor(self).map(|(), _, ctx| ctx.stop()));
        Ok(())
    }
}

/// Passes batches to the sink until the thread or the sink ends.
async fn pass_on(mut batches: mpsc::Receiver<LineBatch>, sink: Mailbox<LineBatch>) {
    while let Some(batch) = batches.recv().await {
        if let Err(error) = sink.send(batch).await {
            slog_scope::warn!("the sink of the consumer is gone"; "error" => %error);
            return;
        }
    }
}

impl Actor for KafkaConsumer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Err(error) = self.start_loop(ctx) {
            slog_scope::error!("the consumer can't start"; "error" => error);
            ctx.stop();
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.shared.stop();
        self.parent.tell(ChildStopped { kind: Self::KIND, id: 0, orderly: self.orderly });
    }
}

impl Drop for KafkaConsumer {
    /// Also after a panic the thread must not outlive its actor.
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Handler<UseTopics> for KafkaConsumer {
    type Result = ();

    fn handle(&mut self, message: UseTopics, _: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.shared.use_topics(message.0);
    }
}

impl Handler<Settled> for KafkaConsumer {
    type Result = ();

    fn handle(&mut self, message: Settled, _: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.shared.settle(&message);
        crate::crash::point("settled");
        self.settled.notify_waiters();
    }
}

impl Handler<Drain> for KafkaConsumer {
    type Result = ResponseFuture<()>;

    /// Stops fetching; answers when everything that was handed on is settled.
    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        let _handling = self.stats.handling();
        self.shared.drain();
        let (shared, settled) = (self.shared.clone(), self.settled.clone());
        Box::pin(async move {
            loop {
                let rung = settled.notified();
                tokio::pin!(rung);
                rung.as_mut().enable();
                if shared.assignment.open() == 0 {
                    return;
                }
                rung.await;
            }
        })
    }
}

impl Handler<Shutdown> for KafkaConsumer {
    type Result = AtomicResponse<Self, ()>;

    /// Stores and commits what is settled, leaves the group, and stops.
    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.orderly = true;
        self.shared.stop();
        let thread = self.thread.take();
        let joined = actix_rt::task::spawn_blocking(move || thread.map(JoinHandle::join));
        AtomicResponse::new(Box::pin(joined.into_actor(self).map(|joined, _, ctx: &mut Context<Self>| {
            if !matches!(joined, Ok(None | Some(Ok(())))) {
                slog_scope::warn!("the consumer's thread ended by a panic");
            }
            ctx.stop();
        })))
    }
}

impl Handler<InjectPanic> for KafkaConsumer {
    type Result = ();

    fn handle(&mut self, _: InjectPanic, _: &mut Self::Context) {
        panic!("injected into {}", Self::KIND);
    }
}
