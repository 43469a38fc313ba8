//! The transfer's root. The problem: any actor may panic, and its neighbours hold its address; which of them have to be
//! told, and which have to begin anew, must stand in one place. The rules:
//!
//! | stopped            | then                                                                                        |
//! |--------------------|---------------------------------------------------------------------------------------------|
//! | EsBatcher          | what it held is gone: a new one, then a new consumer, which reads again from what is committed |
//! | KafkaConsumer      | a new one; the watcher tells it all topics                                                  |
//! | DeadLetters        | a new one; the batcher uses it                                                              |
//! | CredentialsWatcher | a new one, which reads the key again                                                        |
//! | the others         | a new one                                                                                   |

mod metrics;
mod parts;

pub use parts::{TransferError, TransferParts};

use super::{
    collection_watcher::{self, CollectionWatcher, Listener},
    credentials_watcher::CredentialsWatcher,
    dead_letters::DeadLetters,
    es_batcher::{EsBatcher, Neighbours},
    kafka_consumer::KafkaConsumer,
    mailbox_reporter::MailboxReporter,
    status_reporter::StatusReporter,
    stopping::{Step, stop_in_order},
    supervision::{Child, Progress, RestartPolicy},
};
use crate::{
    messages::{
        ChildStopped, ConfigRefused, Drain, InjectPanic, InjectPanicInto, KeepDeadLetter, LineBatch, LookUpEntry,
        Shutdown, UseBatcher, UseConsumer, UseDeadLetters, UseElastic, UseTopics,
    },
    telemetry::{ActorStats, Mailbox, SinkWork},
};
use actix::prelude::*;
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::sync::oneshot;

const REPORTER: &str = "mailbox_reporter";
const TICK: Duration = Duration::from_secs(1);

/// See the module.
pub struct TransferSupervisor {
    parts: Arc<TransferParts>,
    stats: Arc<ActorStats>,
    letters: Child<DeadLetters>,
    batcher: Child<EsBatcher>,
    consumer: Child<KafkaConsumer>,
    watcher: Child<CollectionWatcher>,
    credentials: Child<CredentialsWatcher>,
    status: Child<StatusReporter>,
    reporter: Child<MailboxReporter>,
    /// The consumer is stopped on purpose, because the batcher is a new one.
    replaced: bool,
    progress: Progress,
    totals: (u64, u64),
    stopping: bool,
    /// Dropped with the supervisor: whoever waits for it hears that the root itself has gone.
    _alive: oneshot::Sender<()>,
}

impl TransferSupervisor {
    /// Starts the transfer. The receiver fails when the supervisor itself has panicked.
    pub fn start(parts: Arc<TransferParts>) -> (Addr<Self>, oneshot::Receiver<()>) {
        let (elastic, kafka, here) = (Arbiter::new().handle(), Arbiter::new().handle(), Arbiter::current());
        let registry = &parts.registry;
        let stats = |kind, capacity| {
            let stats = ActorStats::new(kind, capacity);
            registry.actor(stats.clone());
            stats
        };
        let policy = RestartPolicy::default();
        let (alive, gone) = oneshot::channel();
        let supervisor = Self {
            stats: stats("transfer_supervisor", 64),
            letters: Child::new(stats(DeadLetters::KIND, 64), kafka.clone(), policy),
            batcher: Child::new(stats(EsBatcher::KIND, 64), elastic, policy),
            consumer: Child::new(stats(KafkaConsumer::KIND, 256), kafka, policy),
            watcher: Child::new(stats(CollectionWatcher::KIND, 64), here.clone(), policy),
            credentials: Child::new(stats(CredentialsWatcher::KIND, 16), here.clone(), policy),
            status: Child::new(stats(StatusReporter::KIND, 16), here.clone(), policy),
            reporter: Child::new(stats(REPORTER, 16), here, policy),
            replaced: false,
            progress: Progress::new(),
            totals: (0, 0),
            stopping: false,
            _alive: alive,
            parts: parts.clone(),
        };
        (Actor::start(supervisor), gone)
    }

    /// This actor's mailbox for one kind of message.
    fn me<M>(&self, ctx: &Context<Self>) -> Mailbox<M>
    where
        Self: Handler<M>,
        M: Message + Send + 'static,
        M::Result: actix::dev::MessageResponse<Self, M> + Send,
    {
        Mailbox::new(ctx.address().recipient(), self.stats.clone())
    }

    // ---- starting -------------------------------------------------------------------------------------------------

    fn start_letters(&mut self, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let (settings, parent, stats) = (self.parts.letters.clone(), self.me(ctx), self.letters.stats().clone());
        let counters = self.parts.letter_counters.clone();
        self.letters.start(move |_| DeadLetters::new(settings, parent, counters, stats));
        self.parts.health.forget(DeadLetters::KIND);
        match (self.batcher.mailbox::<UseDeadLetters>(), self.letters.mailbox()) {
            (Some(batcher), Some(letters)) => batcher.tell(UseDeadLetters(letters)),
            _ => self.start_batcher(ctx),
        }
    }

    /// Starts the batcher, once the dead letters are there.
    fn start_batcher(&mut self, ctx: &mut Context<Self>) {
        let Some(dead_letters) = self.letters.mailbox::<KeepDeadLetter>() else { return };
        if self.stopping || self.batcher.is_running() {
            return;
        }
        let neighbours = Neighbours { entries: self.me(ctx), dead_letters, parent: self.me(ctx) };
        let (settings, elastic) = (self.parts.batcher.clone(), self.parts.elastic.clone());
        let (counters, stats) = (self.parts.elastic_counters.clone(), self.batcher.stats().clone());
        self.batcher.start(move |_| EsBatcher::new(settings, elastic.as_ref(), neighbours, counters, stats));
        self.parts.health.ready(EsBatcher::KIND);
        match (self.credentials.mailbox::<UseBatcher>(), self.batcher.mailbox::<UseElastic>()) {
            (Some(credentials), Some(batcher)) => credentials.tell(UseBatcher(batcher)),
            _ => self.start_credentials(ctx),
        }
        self.start_consumer(ctx);
    }

    /// Starts the consumer, once there is a batcher; it has to be this batcher's own.
    fn start_consumer(&mut self, ctx: &mut Context<Self>) {
        let Some(sink) = self.batcher.mailbox::<LineBatch>() else { return };
        if self.stopping || self.consumer.is_running() {
            return;
        }
        let (settings, parent, stats) = (self.parts.consume.clone(), self.me(ctx), self.consumer.stats().clone());
        let memory = (self.parts.credits.clone(), self.parts.pool.clone());
        let counters = self.parts.consumer_counters.clone();
        self.consumer.start(move |_| KafkaConsumer::new(settings, memory, sink, parent, counters, stats));
        self.parts.health.ready(KafkaConsumer::KIND);
        match (self.watcher.mailbox::<UseConsumer>(), self.consumer.mailbox::<UseTopics>()) {
            (Some(watcher), Some(consumer)) => watcher.tell(UseConsumer(consumer)),
            _ => self.start_watcher(ctx),
        }
    }

    /// Starts the watcher, once there is a consumer to be told of topics.
    fn start_watcher(&mut self, ctx: &mut Context<Self>) {
        let Some(consumer) = self.consumer.mailbox::<UseTopics>() else { return };
        if self.stopping || self.watcher.is_running() {
            return;
        }
        let listener = Listener::Consumer { consumer, topics: self.parts.topics() };
        let (source, intake, board) = (self.parts.source(), self.parts.intake.clone(), self.parts.board.clone());
        let (refused, parent, stats) = (self.me(ctx), self.me(ctx), self.watcher.stats().clone());
        self.watcher.start(move |_| CollectionWatcher::new(source, listener, intake, refused, parent, board, stats));
        self.parts.health.forget(CollectionWatcher::KIND);
    }

    fn start_credentials(&mut self, ctx: &mut Context<Self>) {
        let Some(batcher) = self.batcher.mailbox::<UseElastic>() else { return };
        let Some(source) = self.parts.credentials().filter(|_| !self.stopping && !self.credentials.is_running()) else {
            return;
        };
        let (refused, parent, board) = (self.me(ctx), self.me(ctx), self.parts.board.clone());
        let stats = self.credentials.stats().clone();
        self.credentials.start(move |_| CredentialsWatcher::new(source, batcher, refused, parent, board, stats));
        self.parts.health.forget(CredentialsWatcher::KIND);
    }

    fn start_status(&mut self, ctx: &mut Context<Self>) {
        let Some(session) = self.parts.session.clone().filter(|_| !self.stopping) else { return };
        let parent = self.me(ctx);
        self.status.start_telling(session, self.parts.board.clone(), parent);
        self.parts.health.forget(StatusReporter::KIND);
    }

    fn start_reporter(&mut self, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let (secs, parent) = (self.parts.settings.metrics.metrics_interval_secs, self.me(ctx));
        self.reporter.start_reporting(secs, self.parts.registry.clone(), None, parent);
        self.parts.health.forget(REPORTER);
    }

    // ---- restarting -----------------------------------------------------------------------------------------------

    fn child_stopped(&mut self, kind: &'static str, ctx: &mut Context<Self>) {
        self.parts.health.not_ready(kind, "it has failed and is being restarted");
        match kind {
            EsBatcher::KIND => {
                ctx.run_later(self.batcher.stopped(), Self::start_batcher);
                // What was handed on will never be settled: the consumer goes back to what is committed.
                if let Some(consumer) = self.consumer.mailbox::<Shutdown>() {
                    self.replaced = true;
                    consumer.tell(Shutdown);
                }
            }
            KafkaConsumer::KIND => {
                if std::mem::take(&mut self.replaced) {
                    self.consumer.forget();
                    self.start_consumer(ctx);
                } else {
                    ctx.run_later(self.consumer.stopped(), Self::start_consumer);
                }
            }
            DeadLetters::KIND => _ = ctx.run_later(self.letters.stopped(), Self::start_letters),
            CollectionWatcher::KIND => _ = ctx.run_later(self.watcher.stopped(), Self::start_watcher),
            CredentialsWatcher::KIND => _ = ctx.run_later(self.credentials.stopped(), Self::start_credentials),
            StatusReporter::KIND => _ = ctx.run_later(self.status.stopped(), Self::start_status),
            REPORTER => _ = ctx.run_later(self.reporter.stopped(), Self::start_reporter),
            other => slog_scope::error!("an unknown actor has stopped"; "actor" => other),
        }
    }

    // ---- looking after --------------------------------------------------------------------------------------------

    fn tick(&mut self, _: &mut Context<Self>) {
        let counters = &self.parts.elastic_counters;
        let done = counters.created.load(Relaxed) + counters.conflicts.load(Relaxed) + counters.dead.load(Relaxed);
        let held = self.parts.settings.transfer.memory_bytes.saturating_sub(self.parts.credits.free_bytes() as u64);
        match self.progress.stalled(done, held > 0) {
            None => self.parts.health.ready("elasticsearch"),
            Some(secs) => {
                let reason = format!("nothing was delivered for {secs} s, {held} bytes wait");
                self.parts.health.not_ready("elasticsearch", reason);
            }
        }
        let totals = (done, self.parts.consumer_counters.bytes.load(Relaxed));
        self.parts.board.delivered(totals.0 - self.totals.0, totals.1 - self.totals.1);
        self.totals = totals;
        let consumer = &self.parts.consumer_counters;
        self.parts.board.set_work(consumer.partitions.load(Relaxed), consumer.lag_records.load(Relaxed));
        self.tell_figures();
        self.parts.health.note_configuration("configuration", &self.parts.board);
    }

    /// For the liveness key.
    fn tell_figures(&self) {
        let (counters, consumer, board) =
            (&self.parts.elastic_counters, &self.parts.consumer_counters, &self.parts.board);
        board.set_topic_lags(consumer.lag_by_topic.all());
        board.set_topic_lines(counters.by_topic.all());
        board.set_sink(SinkWork {
            requests: counters.requests.load(Relaxed),
            retries: counters.retried.load(Relaxed),
            documents: counters.created.load(Relaxed) + counters.conflicts.load(Relaxed),
            dead_letters: self.parts.letter_counters.by_reason(),
            paused: counters.paused(),
        });
    }
}

impl Actor for TransferSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.stats.capacity() as usize);
        // Not ready before the first of everything has come, and at once when it has.
        let (health, board) = (self.parts.health.clone(), self.parts.board.clone());
        ctx.spawn(health.follow_configuration("configuration", board).into_actor(self));
        // Each starts the next one, in the order of the data's way back.
        self.start_letters(ctx);
        self.start_status(ctx);
        self.start_reporter(ctx);
        ctx.run_interval(TICK, Self::tick);
    }
}

impl Handler<ConfigRefused> for TransferSupervisor {
    type Result = ();

    /// The watcher has logged it and put it on the board.
    fn handle(&mut self, _: ConfigRefused, _: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.parts.health.note_configuration("configuration", &self.parts.board);
    }
}

impl Handler<LookUpEntry> for TransferSupervisor {
    type Result = ResponseFuture<<LookUpEntry as Message>::Result>;

    /// On its way to the watcher of the moment.
    fn handle(&mut self, message: LookUpEntry, _: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        Box::pin(collection_watcher::ask(self.watcher.mailbox(), message))
    }
}

impl Handler<ChildStopped> for TransferSupervisor {
    type Result = ();

    fn handle(&mut self, stopped: ChildStopped, ctx: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        if !self.stopping {
            self.child_stopped(stopped.kind, ctx);
        }
    }
}

impl Handler<Shutdown> for TransferSupervisor {
    type Result = ResponseFuture<()>;

    /// Answered when everything has stopped, or the time is over. First nothing more is fetched and what was fetched is
    /// delivered; the consumer commits that when it stops, after the batcher.
    fn handle(&mut self, _: Shutdown, _: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.stopping = true;
        let drain = self.consumer.mailbox::<Drain>();
        let steps = vec![
            Step { name: self.watcher.kind(), mailbox: self.watcher.mailbox(), until: 0.1 },
            Step { name: self.credentials.kind(), mailbox: self.credentials.mailbox(), until: 0.1 },
            Step { name: self.batcher.kind(), mailbox: self.batcher.mailbox(), until: 0.4 },
            Step { name: self.consumer.kind(), mailbox: self.consumer.mailbox(), until: 0.8 },
            Step { name: self.letters.kind(), mailbox: self.letters.mailbox(), until: 0.9 },
            Step { name: self.status.kind(), mailbox: self.status.mailbox(), until: 1.0 },
            Step { name: self.reporter.kind(), mailbox: self.reporter.mailbox(), until: 1.0 },
        ];
        let deadline = Duration::from_secs(self.parts.settings.transfer.shutdown_timeout_secs);
        Box::pin(async move {
            if let Some(drain) = drain {
                // What isn't delivered by then is read again after the next start.
                _ = tokio::time::timeout(deadline / 2, drain.send(Drain)).await;
            }
            stop_in_order(steps, deadline / 2).await;
        })
    }
}

impl Handler<InjectPanicInto> for TransferSupervisor {
    type Result = bool;

    fn handle(&mut self, InjectPanicInto(kind): InjectPanicInto, _: &mut Context<Self>) -> bool {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let child: Option<Mailbox<InjectPanic>> = match kind {
            DeadLetters::KIND => self.letters.mailbox(),
            EsBatcher::KIND => self.batcher.mailbox(),
            KafkaConsumer::KIND => self.consumer.mailbox(),
            CollectionWatcher::KIND => self.watcher.mailbox(),
            CredentialsWatcher::KIND => self.credentials.mailbox(),
            StatusReporter::KIND => self.status.mailbox(),
            REPORTER => self.reporter.mailbox(),
            _ => None,
        };
        if let Some(child) = &child {
            child.tell(InjectPanic);
        }
        child.is_some()
    }
}
