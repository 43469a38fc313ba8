//! The agent's root. The problem: any actor may panic, and its neighbours hold its address; which of them have to be told,
//! and which have to begin anew, must stand in one place. The rules:
//!
//! | stopped           | then                                                                                        |
//! |-------------------|---------------------------------------------------------------------------------------------|
//! | the sink          | a new one; the tails use it and send again what the journal holds as pending                 |
//! | Journal           | the tails stop; it is opened again; then the tails start from it                             |
//! | TailManager       | a new one, which starts its tails from the journal; the watcher tells it all entries         |
//! | CollectionWatcher | a new one, which knows what was told before                                                  |
//! | the others        | a new one                                                                                    |

mod metrics;
mod parts;
mod sink;

pub use parts::{AgentError, AgentParts};
pub use sink::SinkParts;

use super::{
    collection_watcher::{self, CollectionWatcher, Listener},
    files_teller::FilesTeller,
    journal::JournalActor,
    mailbox_reporter::{MailboxReporter, Tails},
    status_reporter::StatusReporter,
    stopping::{Step, stop_in_order},
    supervision::{Child, Progress, RestartPolicy},
    tail_actor,
    tail_manager::{self, Abandon, JournalMailboxes, TailManager, TailSetup},
};
use crate::{
    collection::Start,
    journal::{Journal, Opened},
    messages::{
        ApplyDiff, ChildStopped, ConfigRefused, EntryStoreError, FilesAnswer, InjectPanic, InjectPanicInto,
        PublishEntry, Shutdown, UseSink, UseTails,
    },
    telemetry::{ActorStats, Mailbox},
};
use actix::prelude::*;
use sink::Sink;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::sync::oneshot;

const JOURNAL: &str = "journal";
const REPORTER: &str = "mailbox_reporter";
/// Files that are gone and settled for so long are forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);
const TICK: Duration = Duration::from_secs(1);
/// How often the figures of the liveness key are made: they ask for every file's size.
const FIGURES: Duration = Duration::from_secs(30);

/// See the module.
pub struct AgentSupervisor {
    parts: Arc<AgentParts>,
    stats: Arc<ActorStats>,
    tail_stats: Arc<ActorStats>,
    /// The journal as it was opened before the start, until its actor has it.
    opened: Option<Journal>,
    /// The positions are lost and the settings want the files' ends.
    at_end: bool,
    journal: Child<JournalActor>,
    sink: Sink,
    tails: Child<TailManager>,
    watcher: Child<CollectionWatcher>,
    status: Child<StatusReporter>,
    files: Child<FilesTeller>,
    reporter: Child<MailboxReporter>,
    /// The tail manager is stopped on purpose, because the journal is a new one.
    abandoned: bool,
    progress: Progress,
    totals: (u64, u64),
    stopping: bool,
    /// Dropped with the supervisor: whoever waits for it hears that the root itself has gone.
    _alive: oneshot::Sender<()>,
}

impl AgentSupervisor {
    /// Starts the agent over an opened journal. The receiver fails when the supervisor itself has panicked.
    pub fn start(parts: Arc<AgentParts>, journal: (Journal, Opened)) -> (Addr<Self>, oneshot::Receiver<()>) {
        let (files, delivery, here) = (Arbiter::new().handle(), Arbiter::new().handle(), Arbiter::current());
        let registry = &parts.registry;
        let stats = |kind, capacity| {
            let stats = ActorStats::new(kind, capacity);
            registry.actor(stats.clone());
            stats
        };
        let policy = RestartPolicy::default();
        let (alive, gone) = oneshot::channel();
        let supervisor = Self {
            stats: stats("agent_supervisor", 64),
            tail_stats: stats(tail_actor::KIND, 4),
            at_end: parts.starts_at_end(&journal.1),
            opened: Some(journal.0),
            journal: Child::new(stats(JOURNAL, 256), files.clone(), policy),
            sink: Sink::new(&parts.sink, stats(parts.sink.kind(), 64), delivery, policy),
            tails: Child::new(stats(tail_manager::KIND, 256), files, policy),
            watcher: Child::new(stats(CollectionWatcher::KIND, 64), here.clone(), policy),
            status: Child::new(stats(StatusReporter::KIND, 16), here.clone(), policy),
            files: Child::new(stats(FilesTeller::KIND, 16), here.clone(), policy),
            reporter: Child::new(stats(REPORTER, 16), here, policy),
            abandoned: false,
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

    /// Opens the journal again, away from this thread.
    fn open_journal(&mut self, ctx: &mut Context<Self>) {
        let parts = self.parts.clone();
        let opened = tokio::task::spawn_blocking(move || parts.open_journal());
        ctx.spawn(opened.into_actor(self).map(|opened, me, ctx| {
            let reason = match opened {
                Ok(Ok((journal, _))) => return me.start_journal(journal, ctx),
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic.to_string(),
            };
            let wait = me.journal.not_made(&reason);
            me.parts.health.not_ready(JOURNAL, reason);
            ctx.run_later(wait, Self::open_journal);
        }));
    }

    fn start_journal(&mut self, journal: Journal, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let (parent, stats) = (self.me(ctx), self.journal.stats().clone());
        let counters = self.parts.journal_counters.clone();
        self.journal.start(move |_| JournalActor::new(journal, FORGET_AFTER, parent, stats, counters));
        if let SinkParts::Index(index) = &self.parts.sink {
            index.journal.set(self.journal.mailbox());
            index.recall.set(self.journal.mailbox());
        }
        self.parts.health.ready(JOURNAL);
        self.start_tails(ctx);
    }

    fn start_sink(&mut self, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let parent = self.me(ctx);
        self.sink.start(&self.parts.sink, parent);
        self.parts.health.ready(self.sink.kind());
        match (self.tails.mailbox::<UseSink>(), self.sink.batches()) {
            (Some(tails), Some(sink)) => tails.tell(UseSink(sink)),
            _ => self.start_tails(ctx),
        }
    }

    /// Starts the tail manager, once everything that it needs is there.
    fn start_tails(&mut self, ctx: &mut Context<Self>) {
        if self.stopping || self.tails.is_running() {
            return;
        }
        let (Some(journal), Some(sink)) = (self.journal.addr(), self.sink.batches()) else { return };
        let setup = TailSetup {
            settings: self.parts.tail.clone(),
            journal: JournalMailboxes::of(journal, self.journal.stats()),
            sink,
            entry_store: self.me(ctx),
            pool: self.parts.pool.clone(),
            credits: self.parts.credits.clone(),
            left_open: self.parts.left_open.clone(),
            counters: self.parts.tail_counters.clone(),
            stats: self.tails.stats().clone(),
            tail_stats: self.tail_stats.clone(),
            parent: self.me(ctx),
        };
        self.tails.start(move |ctx| TailManager::new(setup, ctx));
        self.parts.list_tails.set(self.tails.mailbox());
        self.parts.health.ready(tail_manager::KIND);
        // It knows no entries yet.
        if let Some(watcher) = self.watcher.mailbox::<UseTails>() {
            watcher.tell(UseTails(self.me(ctx)));
        }
    }

    fn start_watcher(&mut self, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let (source, intake, board) = (self.parts.source(), self.parts.intake.clone(), self.parts.board.clone());
        let (tails, refused, parent) = (self.me::<ApplyDiff>(ctx), self.me(ctx), self.me(ctx));
        let stats = self.watcher.stats().clone();
        self.watcher.start(move |_| {
            CollectionWatcher::new(source, Listener::Tails(tails), intake, refused, parent, board, stats)
        });
    }

    fn start_status(&mut self, ctx: &mut Context<Self>) {
        let Some(session) = self.parts.session.clone().filter(|_| !self.stopping) else { return };
        let parent = self.me(ctx);
        self.status.start_telling(session, self.parts.board.clone(), parent);
    }

    fn start_files(&mut self, ctx: &mut Context<Self>) {
        let Some(session) = self.parts.session.clone().filter(|_| !self.stopping) else { return };
        let relist = Duration::from_secs(self.parts.settings.etcd.relist_interval_secs);
        let (board, tails) = (self.parts.board.clone(), self.parts.list_tails.clone());
        // Now, so that it stands in the first status already.
        board.can(FilesAnswer::CAN);
        let (parent, stats) = (self.me(ctx), self.files.stats().clone());
        self.files.start(move |_| FilesTeller::new(session, relist, board, tails, parent, stats));
    }

    fn start_reporter(&mut self, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let tails = Tails { kind: tail_actor::KIND, list: self.parts.list_tails.clone() };
        let (secs, parent) = (self.parts.settings.metrics.metrics_interval_secs, self.me(ctx));
        self.reporter.start_reporting(secs, self.parts.registry.clone(), Some(tails), parent);
    }

    // ---- restarting -----------------------------------------------------------------------------------------------

    fn child_stopped(&mut self, kind: &'static str, ctx: &mut Context<Self>) {
        self.parts.health.not_ready(kind, "it has failed and is being restarted");
        match kind {
            JOURNAL => {
                ctx.run_later(self.journal.stopped(), Self::open_journal);
                // What the tails know of the journal was the old one's.
                if let Some(tails) = self.tails.mailbox::<Abandon>() {
                    self.abandoned = true;
                    tails.tell(Abandon);
                }
            }
            kind if kind == self.sink.kind() => _ = ctx.run_later(self.sink.stopped(), Self::start_sink),
            tail_manager::KIND => {
                self.parts.list_tails.set(None);
                if std::mem::take(&mut self.abandoned) {
                    self.tails.forget();
                    self.start_tails(ctx);
                } else {
                    ctx.run_later(self.tails.stopped(), Self::start_tails);
                }
            }
            CollectionWatcher::KIND => _ = ctx.run_later(self.watcher.stopped(), Self::restart_watcher),
            StatusReporter::KIND => _ = ctx.run_later(self.status.stopped(), Self::restart_status),
            FilesTeller::KIND => _ = ctx.run_later(self.files.stopped(), Self::restart_files),
            REPORTER => _ = ctx.run_later(self.reporter.stopped(), Self::restart_reporter),
            other => slog_scope::error!("an unknown actor has stopped"; "actor" => other),
        }
    }

    fn restart_watcher(&mut self, ctx: &mut Context<Self>) {
        self.start_watcher(ctx);
        self.parts.health.forget(CollectionWatcher::KIND);
    }

    fn restart_status(&mut self, ctx: &mut Context<Self>) {
        self.start_status(ctx);
        self.parts.health.forget(StatusReporter::KIND);
    }

    fn restart_files(&mut self, ctx: &mut Context<Self>) {
        self.start_files(ctx);
        self.parts.health.forget(FilesTeller::KIND);
    }

    fn restart_reporter(&mut self, ctx: &mut Context<Self>) {
        self.start_reporter(ctx);
        self.parts.health.forget(REPORTER);
    }

    // ---- looking after --------------------------------------------------------------------------------------------

    fn tick(&mut self, _: &mut Context<Self>) {
        let (done, target) = (self.parts.sink.delivered(), self.parts.sink.target());
        match self.progress.stalled(done.lines, done.unsettled > 0) {
            None => self.parts.health.ready(target),
            Some(secs) => {
                let reason = format!("nothing was delivered for {secs} s, {} batches wait", done.unsettled);
                self.parts.health.not_ready(target, reason);
            }
        }
        self.parts.board.delivered(done.lines - self.totals.0, done.bytes - self.totals.1);
        self.totals = (done.lines, done.bytes);
        self.parts.board.set_topic_lines(self.parts.journal_counters.by_topic.all());
        self.parts.board.set_bytes_lost(self.parts.tail_counters.lost_bytes.load(Relaxed));
        self.parts.health.note_configuration("collection", &self.parts.board);
    }

    /// Files and lag for the liveness key.
    fn figures(&mut self, ctx: &mut Context<Self>) {
        let Some(tails) = self.parts.list_tails.get() else { return };
        let list = async move { tokio::time::timeout(TICK * 10, tails.send(crate::messages::ListTails)).await };
        ctx.spawn(list.into_actor(self).map(|list, me, _| {
            // Without an answer the last figures stay.
            let Ok(Ok(files)) = list else { return };
            let mut by_topic: BTreeMap<String, u64> = BTreeMap::new();
            for file in &files {
                *by_topic.entry(file.topic.clone()).or_default() += file.lag();
            }
            me.parts.board.set_work(files.len() as u64, by_topic.values().sum());
            me.parts.board.set_topic_lags(by_topic);
        }));
    }
}

impl Actor for AgentSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.stats.capacity() as usize);
        // Not ready before the first of everything has come, and at once when it has.
        let (health, board) = (self.parts.health.clone(), self.parts.board.clone());
        ctx.spawn(health.follow_configuration("collection", board).into_actor(self));
        self.start_sink(ctx);
        if let Some(journal) = self.opened.take() {
            self.start_journal(journal, ctx);
        }
        self.start_watcher(ctx);
        self.start_status(ctx);
        self.start_files(ctx);
        self.start_reporter(ctx);
        ctx.run_interval(TICK, Self::tick);
        ctx.run_later(TICK * 5, Self::figures);
        ctx.run_interval(FIGURES, Self::figures);
    }
}

impl Handler<ApplyDiff> for AgentSupervisor {
    type Result = ();

    /// On its way from the watcher to the tails.
    fn handle(&mut self, ApplyDiff(mut diff): ApplyDiff, ctx: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        // Only for what was there when the positions were lost: an entry that is added later begins as it says.
        if std::mem::take(&mut self.at_end) {
            diff.added.iter_mut().chain(&mut diff.changed).for_each(|entry| entry.start = Start::End);
        }
        // Who changes entries wants to see what comes of it.
        ctx.run_later(TICK * 2, Self::figures);
        // Without a tail manager it is told all entries when there is one.
        if let Some(tails) = self.tails.mailbox() {
            tails.tell(ApplyDiff(diff));
        }
    }
}

impl Handler<ConfigRefused> for AgentSupervisor {
    type Result = ();

    /// The watcher has logged it and put it on the board.
    fn handle(&mut self, _: ConfigRefused, _: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.parts.health.note_configuration("collection", &self.parts.board);
    }
}

impl Handler<PublishEntry> for AgentSupervisor {
    type Result = ResponseFuture<Result<(), EntryStoreError>>;

    /// Kept here where the sink needs it here; else on its way to the watcher of the moment.
    fn handle(&mut self, message: PublishEntry, _: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        if let SinkParts::Index(index) = &self.parts.sink {
            let texts = index.texts.clone();
            let kept = tokio::task::spawn_blocking(move || texts.put(message.entry, &message.delivery));
            return Box::pin(async move {
                kept.await.unwrap_or_else(|panic| Err(panic.to_string())).map_err(EntryStoreError::Failed)
            });
        }
        Box::pin(collection_watcher::ask(self.watcher.mailbox(), message))
    }
}

impl Handler<ChildStopped> for AgentSupervisor {
    type Result = ();

    fn handle(&mut self, stopped: ChildStopped, ctx: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        if !self.stopping {
            self.child_stopped(stopped.kind, ctx);
        }
    }
}

impl Handler<Shutdown> for AgentSupervisor {
    type Result = ResponseFuture<()>;

    /// Answered when everything has stopped, or the time is over.
    fn handle(&mut self, _: Shutdown, _: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.stopping = true;
        let steps = vec![
            Step { name: self.watcher.kind(), mailbox: self.watcher.mailbox(), until: 0.1 },
            Step { name: self.tails.kind(), mailbox: self.tails.mailbox(), until: 0.6 },
            Step { name: self.sink.kind(), mailbox: self.sink.shutdown(), until: 0.8 },
            Step { name: self.journal.kind(), mailbox: self.journal.mailbox(), until: 0.95 },
            Step { name: self.files.kind(), mailbox: self.files.mailbox(), until: 0.97 },
            Step { name: self.status.kind(), mailbox: self.status.mailbox(), until: 1.0 },
            Step { name: self.reporter.kind(), mailbox: self.reporter.mailbox(), until: 1.0 },
        ];
        let deadline = Duration::from_secs(self.parts.settings.agent.shutdown_timeout_secs);
        Box::pin(async move {
            stop_in_order(steps, deadline).await;
        })
    }
}

impl Handler<InjectPanicInto> for AgentSupervisor {
    type Result = bool;

    fn handle(&mut self, InjectPanicInto(kind): InjectPanicInto, _: &mut Context<Self>) -> bool {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let child: Option<Mailbox<InjectPanic>> = match kind {
            JOURNAL => self.journal.mailbox(),
            kind if kind == self.sink.kind() => self.sink.inject_panic(),
            tail_manager::KIND => self.tails.mailbox(),
            CollectionWatcher::KIND => self.watcher.mailbox(),
            StatusReporter::KIND => self.status.mailbox(),
            FilesTeller::KIND => self.files.mailbox(),
            REPORTER => self.reporter.mailbox(),
            _ => None,
        };
        if let Some(child) = &child {
            child.tell(InjectPanic);
        }
        child.is_some()
    }
}
