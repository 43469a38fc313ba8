//! EsBatcher: the transfer's sink. The problem: what is sent, sent again, held or given up is decided by plain code
//! ([`Queue`]); this actor carries its decisions out, several requests at a time, and tells the sources what is settled.
//!
//! Memory: every batch brings its credit and keeps it until it is settled, so the source's credits bound what is held
//! here; beside it there is one body for each request under way.

use crate::{
    document::IndexTemplate,
    elastic::{
        Answer, Cluster, DeadItem, ElasticConfig, ElasticCounters, Next, Notice, Queue, QueueSettings, Request,
        TemplateSettings,
    },
    flow::{Backoff, EntryId},
    messages::{
        ChildStopped, EntryStoreError, InjectPanic, KeepDeadLetter, LineBatch, LookUpEntry, Shutdown, UseDeadLetters,
        UseElastic, UseEntryStore,
    },
    telemetry::{ActorStats, Mailbox},
};
use actix::prelude::*;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// Dead letters that are written at once.
const DEAD_IN_FLIGHT: usize = 8;

/// The first wait after a failure, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

#[derive(Clone, Debug)]
pub struct EsBatcherSettings {
    pub queue: QueueSettings,
    pub template: TemplateSettings,
    /// The index of documents whose entry names none.
    pub index: IndexTemplate,
    /// Of every request to Elasticsearch and to the entry store.
    pub deadline: Duration,
    /// How long an orderly stop waits for what is held.
    pub stop_deadline: Duration,
}

/// The actors that EsBatcher asks.
#[derive(Clone, Debug)]
pub struct Neighbours {
    pub entries: Mailbox<LookUpEntry>,
    pub dead_letters: Mailbox<KeepDeadLetter>,
    pub parent: Mailbox<ChildStopped>,
}

pub struct EsBatcher {
    settings: EsBatcherSettings,
    neighbours: Neighbours,
    stats: Arc<ActorStats>,
    queue: Queue,
    cluster: Option<Arc<Cluster>>,
    /// Refused records that are not kept yet.
    dead: VecDeque<DeadItem>,
    dead_in_flight: usize,
    dead_failures: u32,
    dead_until: Option<Instant>,
    timer: Option<(Instant, SpawnHandle)>,
    /// Rings when nothing is held any more.
    stopping: Vec<oneshot::Sender<()>>,
    orderly: bool,
}

impl EsBatcher {
    /// Kind of this actor in log and metrics.
    pub const KIND: &str = "es_batcher";

    /// Waits for [`UseElastic`] where `elastic` is `None`.
    pub fn new(
        settings: EsBatcherSettings,
        elastic: Option<&ElasticConfig>,
        neighbours: Neighbours,
        counters: Arc<ElasticCounters>,
        stats: Arc<ActorStats>,
    ) -> Self {
        let mut queue_settings = settings.queue;
        queue_settings.install_templates = settings.template.install;
        let queue = Queue::new(queue_settings, settings.index.clone(), counters, Instant::now());
        let mut batcher = Self {
            settings,
            neighbours,
            stats,
            queue,
            cluster: None,
            dead: VecDeque::new(),
            dead_in_flight: 0,
            dead_failures: 0,
            dead_until: None,
            timer: None,
            stopping: Vec::new(),
            orderly: false,
        };
        if let Some(config) = elastic {
            batcher.use_elastic(config);
        }
        batcher
    }

    fn backoff() -> Backoff {
        Backoff::new(BACKOFF.0, BACKOFF.1)
    }

    fn use_elastic(&mut self, config: &ElasticConfig) {
        match Cluster::new(config, self.settings.deadline, Self::backoff()) {
            Ok(cluster) => {
                self.cluster = Some(Arc::new(cluster));
                self.queue.servers_changed();
                slog_scope::info!("Elasticsearch is used"; "urls" => ?config.urls);
            }
            Err(error) => {
                slog_scope::error!("Elasticsearch can't be used like this, the old servers stay"; "error" => %error);
            }
        }
    }

    /// Does everything that can be done now, and sets the clock for what can't.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        self.keep_dead(ctx);
        // With as many under way as may be, an answer wakes: a time that has passed would wake again and again.
        let may_keep = !self.dead.is_empty() && self.dead_in_flight < DEAD_IN_FLIGHT;
        let mut wake = self.dead_until.filter(|_| may_keep);
        // Without servers there is nothing to be done but to wait for them.
        while let Some(cluster) = self.cluster.clone() {
            match self.queue.next(Instant::now()) {
                Next::Send(request) => self.send(cluster, request, ctx),
                Next::LookUp(entry) => self.look_up(entry, ctx),
                Next::Install(pattern, generation) => self.install(cluster, pattern, generation, ctx),
                Next::Wait(until) => {
                    wake = Some(wake.map_or(until, |wake| wake.min(until)));
                    break;
                }
                Next::Idle => break,
            }
        }
        self.wake_at(wake, ctx);
        if self.queue.is_empty() {
            for waiting in self.stopping.drain(..) {
                // Nobody waits any more: then nobody needs to be told.
                let _gone = waiting.send(());
            }
        }
    }

    fn wake_at(&mut self, wake: Option<Instant>, ctx: &mut Context<Self>) {
        let (now, set) = (Instant::now(), self.timer.as_ref().map(|(at, _)| *at));
        if wake == set && set.is_none_or(|at| at > now) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = wake {
            let timer = ctx.run_later(at.saturating_duration_since(now), |batcher, ctx| {
                batcher.timer = None;
                batcher.pump(ctx);
            });
            self.timer = Some((at, timer));
        }
    }

    fn send(&self, cluster: Arc<Cluster>, request: Request, ctx: &mut Context<Self>) {
        let (body, documents) = (request.body.clone(), request.documents());
        let asked = async move {
            let answer = cluster.bulk(body, documents).await;
            crate::crash::point("bulk_answered");
            (request, answer)
        };
        ctx.spawn(asked.into_actor(self).map(|(request, answer), batcher, ctx| batcher.answered(request, answer, ctx)));
    }

    fn answered(&mut self, request: Request, answer: Answer, ctx: &mut Context<Self>) {
        let outcome = self.queue.answered(request, answer, Instant::now());
        self.dead.extend(outcome.dead);
        outcome.settled.into_iter().for_each(tell);
        self.pump(ctx);
    }

    fn look_up(&self, entry: EntryId, ctx: &mut Context<Self>) {
        let (entries, deadline) = (self.neighbours.entries.clone(), self.settings.deadline);
        let asked = async move {
            match tokio::time::timeout(deadline, entries.send(LookUpEntry(entry))).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => Err(EntryStoreError::Failed(error.to_string())),
                Err(_) => Err(EntryStoreError::Failed(format!("no answer within {deadline:?}"))),
            }
        };
        ctx.spawn(asked.into_actor(self).map(move |answer, batcher, ctx| {
            let answer = answer.as_ref().map(Option::as_deref).map_err(Clone::clone);
            batcher.queue.entry_answered(entry, answer, Instant::now());
            batcher.pump(ctx);
        }));
    }

    fn install(&self, cluster: Arc<Cluster>, pattern: Box<str>, generation: u64, ctx: &mut Context<Self>) {
        let settings = self.settings.template;
        let asked = async move {
            let answer = cluster.install_template(&pattern, &settings).await;
            (pattern, answer)
        };
        ctx.spawn(asked.into_actor(self).map(move |(pattern, answer), batcher, ctx| {
            batcher.queue.template_answered(&pattern, generation, answer, Instant::now());
            batcher.pump(ctx);
        }));
    }

    /// Sends refused records to the dead letters, a few at a time, again and again until they are kept.
    fn keep_dead(&mut self, ctx: &mut Context<Self>) {
        if self.dead_until.is_some_and(|until| until > Instant::now()) {
            return;
        }
        while self.dead_in_flight < DEAD_IN_FLIGHT
            && let Some(dead) = self.dead.pop_front()
        {
            let Some(message) = self.queue.dead_letter(&dead) else { continue };
            self.dead_in_flight += 1;
            let letters = self.neighbours.dead_letters.clone();
            let asked = async move {
                match letters.send(message).await {
                    Ok(answer) => answer.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                }
            };
            ctx.spawn(asked.into_actor(self).map(|answer, batcher, ctx| batcher.dead_answered(dead, answer, ctx)));
        }
    }

    fn dead_answered(&mut self, dead: DeadItem, answer: Result<(), String>, ctx: &mut Context<Self>) {
        self.dead_in_flight -= 1;
        match answer {
            Ok(()) => {
                crate::crash::point("dead_letter_kept");
                (self.dead_failures, self.dead_until) = (0, None);
                self.queue.dead_kept(&dead).into_iter().for_each(tell);
            }
            Err(error) => {
                self.dead_failures = self.dead_failures.saturating_add(1);
                self.dead_until = Some(Instant::now() + Self::backoff().wait(self.dead_failures));
                slog_scope::warn!("a dead letter is not kept yet, its record stays unsettled"; "error" => error);
                self.dead.push_front(dead);
            }
        }
        self.pump(ctx);
    }
}

fn tell((to, settled): Notice) {
    to.tell(settled);
}

impl Actor for EsBatcher {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        if self.cluster.is_none() {
            slog_scope::warn!("nothing is known of Elasticsearch yet; records wait for its addresses and credentials");
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.neighbours.parent.tell(ChildStopped { kind: Self::KIND, id: 0, orderly: self.orderly });
    }
}

impl Handler<LineBatch> for EsBatcher {
    type Result = ();

    fn handle(&mut self, batch: LineBatch, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.queue.push(batch, Instant::now()).into_iter().for_each(tell);
        self.pump(ctx);
    }
}

impl Handler<UseElastic> for EsBatcher {
    type Result = ();

    fn handle(&mut self, message: UseElastic, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.use_elastic(&message.0);
        self.pump(ctx);
    }
}

impl Handler<UseEntryStore> for EsBatcher {
    type Result = ();

    fn handle(&mut self, message: UseEntryStore, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.neighbours.entries = message.0;
        self.pump(ctx);
    }
}

impl Handler<UseDeadLetters> for EsBatcher {
    type Result = ();

    fn handle(&mut self, message: UseDeadLetters, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.neighbours.dead_letters = message.0;
        self.dead_until = None;
        self.pump(ctx);
    }
}

impl Handler<Shutdown> for EsBatcher {
    type Result = ResponseActFuture<Self, ()>;

    /// Sends what is held without waiting for more, for a while; what isn't settled then comes again after the next
    /// start.
    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.orderly = true;
        self.queue.drain();
        let (done, all_done) = oneshot::channel();
        self.stopping.push(done);
        self.pump(ctx);
        let waited = tokio::time::timeout(self.settings.stop_deadline, all_done);
        Box::pin(waited.into_actor(self).map(|in_time, batcher, ctx| {
            if in_time.is_err() {
                slog_scope::warn!("stopped with unsettled records; they come again after the next start";
                    "batches" => batcher.queue.batches());
            }
            ctx.stop();
        }))
    }
}

impl Handler<InjectPanic> for EsBatcher {
    type Result = ();

    fn handle(&mut self, _: InjectPanic, _: &mut Self::Context) {
        panic!("injected into {}", Self::KIND);
    }
}
