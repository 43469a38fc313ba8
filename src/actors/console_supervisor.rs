//! The console's root. It answers nobody: pages ask what is in memory. The problem is to keep that true: the keys of etcd,
//! the way to Elasticsearch, and the console's own sign of life, through panics of whoever looks after each.
//!
//! | stopped            | then                                             |
//! |--------------------|--------------------------------------------------|
//! | KeyMirror          | a new one, which lists everything again          |
//! | CredentialsWatcher | a new one, which reads the key again             |
//! | the others         | a new one                                        |

mod parts;

pub use parts::{ConsoleParts, ConsolePartsError};

use super::{
    credentials_watcher::CredentialsWatcher,
    key_mirror::KeyMirror,
    mailbox_reporter::MailboxReporter,
    status_reporter::StatusReporter,
    stopping::{Step, stop_in_order},
    supervision::{Child, RestartPolicy},
};
use crate::{
    messages::{ChildStopped, ConfigRefused, InjectPanic, InjectPanicInto, Shutdown, UseElastic},
    telemetry::{ActorStats, Mailbox},
};
use actix::prelude::*;
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;

const REPORTER: &str = "mailbox_reporter";
/// Name at `/health` of what is searched.
const ELASTIC: &str = "elasticsearch";
/// How often it is seen whether Elasticsearch answers.
const PING: Duration = Duration::from_secs(10);

/// See the module.
pub struct ConsoleSupervisor {
    parts: Arc<ConsoleParts>,
    stats: Arc<ActorStats>,
    mirror: Child<KeyMirror>,
    credentials: Child<CredentialsWatcher>,
    status: Child<StatusReporter>,
    reporter: Child<MailboxReporter>,
    pinging: bool,
    stopping: bool,
    /// Dropped with the supervisor: whoever waits for it hears that the root itself has gone.
    _alive: oneshot::Sender<()>,
}

impl ConsoleSupervisor {
    /// Starts what looks after the console's memory. The receiver fails when the supervisor itself has panicked.
    pub fn start(parts: Arc<ConsoleParts>) -> (Addr<Self>, oneshot::Receiver<()>) {
        let here = Arbiter::current();
        let stats = |kind, capacity| {
            let stats = ActorStats::new(kind, capacity);
            parts.registry.actor(stats.clone());
            stats
        };
        let policy = RestartPolicy::default();
        let (alive, gone) = oneshot::channel();
        let supervisor = Self {
            stats: stats("console_supervisor", 64),
            // Two thousand statuses are read on a thread of their own.
            mirror: Child::new(stats(KeyMirror::KIND, 16), Arbiter::new().handle(), policy),
            credentials: Child::new(stats(CredentialsWatcher::KIND, 16), here.clone(), policy),
            status: Child::new(stats(StatusReporter::KIND, 16), here.clone(), policy),
            reporter: Child::new(stats(REPORTER, 16), here, policy),
            pinging: false,
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

    fn start_mirror(&mut self, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let (source, parent, stats) = (self.parts.mirror_source(), self.me(ctx), self.mirror.stats().clone());
        self.mirror.start(move |_| KeyMirror::new(source, parent, stats));
        self.parts.health.forget(KeyMirror::KIND);
    }

    fn start_credentials(&mut self, ctx: &mut Context<Self>) {
        let Some(source) = self.parts.credentials().filter(|_| !self.stopping) else { return };
        let (elastic, refused, parent) = (self.me(ctx), self.me(ctx), self.me(ctx));
        let (board, stats) = (self.parts.board.clone(), self.credentials.stats().clone());
        self.credentials.start(move |_| CredentialsWatcher::new(source, elastic, refused, parent, board, stats));
        self.parts.health.forget(CredentialsWatcher::KIND);
    }

    fn start_status(&mut self, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let parent = self.me(ctx);
        self.status.start_telling(self.parts.session.clone(), self.parts.board.clone(), parent);
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
            KeyMirror::KIND => _ = ctx.run_later(self.mirror.stopped(), Self::start_mirror),
            CredentialsWatcher::KIND => _ = ctx.run_later(self.credentials.stopped(), Self::start_credentials),
            StatusReporter::KIND => _ = ctx.run_later(self.status.stopped(), Self::start_status),
            REPORTER => _ = ctx.run_later(self.reporter.stopped(), Self::start_reporter),
            other => slog_scope::error!("an unknown actor has stopped"; "actor" => other),
        }
    }

    // ---- looking after --------------------------------------------------------------------------------------------

    /// Whether Elasticsearch answers. The pages do without it, so the process stays ready.
    fn ping(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.pinging, true) {
            return;
        }
        let elastic = self.parts.elastic.clone();
        let ping = async move { elastic.current()?.0.ping().await };
        ctx.spawn(ping.into_actor(self).map(|answer, me, _| {
            me.pinging = false;
            match answer {
                Ok(()) => me.parts.health.ready(ELASTIC),
                Err(error) => me.parts.health.ready_but(ELASTIC, error.to_string()),
            }
        }));
    }
}

impl Actor for ConsoleSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.stats.capacity() as usize);
        let (board, elastic) = (self.parts.board.clone(), self.parts.elastic.clone());
        let waiting = async move {
            // Who searches meanwhile is told why nothing is found.
            while let Some(reason) = board.awaited() {
                elastic.still_waits(reason);
                board.awaited_changed().await;
            }
        };
        ctx.spawn(waiting.into_actor(self));
        self.start_mirror(ctx);
        self.start_credentials(ctx);
        self.start_status(ctx);
        self.start_reporter(ctx);
        self.ping(ctx);
        ctx.run_interval(PING, Self::ping);
    }
}

impl Handler<UseElastic> for ConsoleSupervisor {
    type Result = ();

    fn handle(&mut self, UseElastic(config): UseElastic, ctx: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        match self.parts.elastic.use_config(&config) {
            Ok(()) => self.ping(ctx),
            Err(error) => {
                slog_scope::error!("Elasticsearch can't be used like this, the old servers stay"; "error" => %error);
            }
        }
    }
}

impl Handler<ConfigRefused> for ConsoleSupervisor {
    type Result = ();

    /// The watcher has logged it and put it on the board.
    fn handle(&mut self, ConfigRefused(refusal): ConfigRefused, _: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.parts.elastic.still_waits(refusal.to_string());
    }
}

impl Handler<ChildStopped> for ConsoleSupervisor {
    type Result = ();

    fn handle(&mut self, stopped: ChildStopped, ctx: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        if !self.stopping {
            self.child_stopped(stopped.kind, ctx);
        }
    }
}

impl Handler<Shutdown> for ConsoleSupervisor {
    type Result = ResponseFuture<()>;

    /// Answered when everything has stopped, or the time is over.
    fn handle(&mut self, _: Shutdown, _: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.stopping = true;
        let steps = vec![
            Step { name: self.mirror.kind(), mailbox: self.mirror.mailbox(), until: 0.3 },
            Step { name: self.credentials.kind(), mailbox: self.credentials.mailbox(), until: 0.3 },
            Step { name: self.status.kind(), mailbox: self.status.mailbox(), until: 0.8 },
            Step { name: self.reporter.kind(), mailbox: self.reporter.mailbox(), until: 1.0 },
        ];
        let deadline = Duration::from_secs(self.parts.settings.console.shutdown_timeout_secs);
        Box::pin(async move {
            stop_in_order(steps, deadline).await;
        })
    }
}

impl Handler<InjectPanicInto> for ConsoleSupervisor {
    type Result = bool;

    fn handle(&mut self, InjectPanicInto(kind): InjectPanicInto, _: &mut Context<Self>) -> bool {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let child: Option<Mailbox<InjectPanic>> = match kind {
            KeyMirror::KIND => self.mirror.mailbox(),
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
