//! Restarting children. The problem: an actor that panics must come back clean, soon at first and rarely when it keeps
//! failing, and its parent must know it, because its neighbours hold addresses of the dead one. `actix::Supervisor`
//! does neither (it does not restart after a panic), so a parent keeps a [`Child`] for each of its children:
//!
//! 1. [`Child::start`] makes the actor in its arbiter;
//! 2. its `stopped()` (which runs after a panic, too) tells the parent [`ChildStopped`];
//! 3. the parent asks [`Child::stopped`] when to start it again, waits that long, starts it and tells its neighbours.
//!
//! [`ChildStopped`]: crate::messages::ChildStopped

use crate::{
    flow::{Backoff, Credits, Retries},
    telemetry::{ActorStats, Mailbox, Registry, StatusBoard},
};
use actix::{
    Actor, Addr, ArbiterHandle, Context, Handler, Message,
    dev::{MessageResponse, ToEnvelope},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long to wait before a restart: doubling, with jitter, and from the start again after a healthy while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    backoff: Backoff,
    healthy: Duration,
}

/// The values make no policy.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a restart waits from {first:?} to {max:?}: the first must be over 0 and at most the last, the last at most an hour"
)]
pub struct PolicyError {
    first: Duration,
    max: Duration,
}

impl Default for RestartPolicy {
    /// From 200 ms to 30 s; healthy after a minute.
    fn default() -> Self {
        Self {
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(30)),
            healthy: Duration::from_secs(60),
        }
    }
}

impl RestartPolicy {
    /// Waits `first`, twice that, and so on up to `max`; an actor that ran for `healthy` begins with `first` again.
    ///
    /// # Errors
    /// `first` is 0 or over `max`, or `max` is over an hour.
    pub fn new(first: Duration, max: Duration, healthy: Duration) -> Result<Self, PolicyError> {
        if first.is_zero() || first > max || max > Duration::from_secs(3600) {
            return Err(PolicyError { first, max });
        }
        Ok(Self { backoff: Backoff::new(first, max), healthy })
    }
}

/// The state of one policy: how often the actor has failed in a row.
#[derive(Clone, Debug)]
struct Restarts {
    retries: Retries,
    healthy: Duration,
    started: Instant,
}

impl Restarts {
    fn new(policy: RestartPolicy) -> Self {
        Self { retries: Retries::new(policy.backoff), healthy: policy.healthy, started: Instant::now() }
    }

    /// It runs, from now on.
    fn started(&mut self) {
        self.started = Instant::now();
    }

    /// It failed; how long to wait before the next try.
    fn failed(&mut self) -> Duration {
        if self.started.elapsed() >= self.healthy {
            self.retries.succeeded();
        }
        self.retries.failed()
    }
}

/// What a parent keeps of one child: its counters, where it runs, how often it failed, and its address while it runs.
#[derive(Debug)]
pub struct Child<A: Actor> {
    stats: Arc<ActorStats>,
    arbiter: ArbiterHandle,
    restarts: Restarts,
    starts: u64,
    addr: Option<Addr<A>>,
}

impl<A: Actor<Context = Context<A>>> Child<A> {
    /// Not started yet. `arbiter`: the thread it shall run in.
    pub fn new(stats: Arc<ActorStats>, arbiter: ArbiterHandle, policy: RestartPolicy) -> Self {
        Self { stats, arbiter, restarts: Restarts::new(policy), starts: 0, addr: None }
    }

    /// Makes the actor and starts it, for the first time or again (which is counted). One that still ran is left to
    /// stop by itself.
    pub fn start(&mut self, make: impl FnOnce(&mut Context<A>) -> A + Send + 'static) -> Addr<A> {
        if self.starts > 0 {
            self.stats.restarted();
            slog_scope::info!("actor restarted"; "actor" => self.stats.kind(), "restarts" => self.stats.restarts());
        }
        self.starts += 1;
        self.restarts.started();
        let capacity = self.stats.capacity() as usize;
        let addr = A::start_in_arbiter(&self.arbiter, move |ctx| {
            ctx.set_mailbox_capacity(capacity);
            make(ctx)
        });
        self.addr = Some(addr.clone());
        addr
    }

    /// It has stopped unasked: how long to wait before it is started again.
    pub fn stopped(&mut self) -> Duration {
        self.addr = None;
        let wait = self.restarts.failed();
        slog_scope::error!("actor stopped unexpectedly, restarting it"; "actor" => self.stats.kind(),
            "failures" => self.restarts.retries.failures(), "wait_ms" => wait.as_millis() as u64);
        wait
    }

    /// It could not be made: how long to wait before the next try.
    pub fn not_made(&mut self, reason: &dyn std::fmt::Display) -> Duration {
        self.addr = None;
        let wait = self.restarts.failed();
        slog_scope::error!("actor can't be started, trying again"; "actor" => self.stats.kind(), "reason" => %reason,
            "failures" => self.restarts.retries.failures(), "wait_ms" => wait.as_millis() as u64);
        wait
    }

    /// It was asked to stop and is gone, or is to be forgotten.
    pub fn forget(&mut self) {
        self.addr = None;
    }

    /// Its mailbox for one kind of message; `None` while it doesn't run.
    pub fn mailbox<M>(&self) -> Option<Mailbox<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: MessageResponse<A, M> + Send,
        A::Context: ToEnvelope<A, M>,
    {
        let addr = self.addr.clone()?;
        Some(Mailbox::new(addr.recipient(), self.stats.clone()))
    }

    /// Its address while it runs.
    pub fn addr(&self) -> Option<&Addr<A>> {
        self.addr.as_ref()
    }

    pub fn is_running(&self) -> bool {
        self.addr.as_ref().is_some_and(Addr::connected)
    }

    pub fn stats(&self) -> &Arc<ActorStats> {
        &self.stats
    }

    pub fn kind(&self) -> &'static str {
        self.stats.kind()
    }
}

/// Registers what every process with a board and credits shows at `/metrics`.
pub fn register_gauges(registry: &Registry, board: &Arc<StatusBoard>, credits: &Credits, memory_bytes: u64) {
    let (board, credits) = (board.clone(), credits.clone());
    registry.gauge("logweir_credit_used_bytes", "Memory credit held by lines on their way", move || {
        memory_bytes.saturating_sub(credits.free_bytes() as u64) as f64
    });
    let help = "Watched keys or files whose last value was refused";
    registry.gauge("logweir_config_refused_sources", help, move || {
        board.sources().values().filter(|source| source.refused.is_some()).count() as f64
    });
}

/// Nothing was done for so long although something waits: the way is blocked.
const STALLED: Duration = Duration::from_secs(10);

/// Whether work gets done: the server behind a sink may be away without any actor having failed.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    done: u64,
    since: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    pub fn new() -> Self {
        Self { done: 0, since: Instant::now() }
    }

    /// To be asked regularly with how much has been done so far, and whether something waits. Answers for how many
    /// seconds nothing was done, where that is too long.
    pub fn stalled(&mut self, done: u64, waits: bool) -> Option<u64> {
        if done != self.done || !waits {
            *self = Self { done, since: Instant::now() };
        }
        let idle = self.since.elapsed();
        (idle >= STALLED).then_some(idle.as_secs())
    }
}

/// The mailbox of whichever actor does a job at the moment: for those who must not hold on to one that a restart has
/// replaced. Cloning gives another handle of the same place.
#[derive(Debug)]
pub struct Latest<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    mailbox: Arc<Mutex<Option<Mailbox<M>>>>,
}

impl<M> Latest<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// Nobody does it yet.
    pub fn none() -> Self {
        Self { mailbox: Arc::default() }
    }

    /// This one does it from now on.
    pub fn set(&self, mailbox: Option<Mailbox<M>>) {
        *self.mailbox.lock().unwrap_or_else(PoisonError::into_inner) = mailbox;
    }

    /// Who does it now.
    pub fn get(&self) -> Option<Mailbox<M>> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<M> Clone for Latest<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self { mailbox: self.mailbox.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{ChildStopped, InjectPanic};
    use actix::prelude::*;

    fn policy(first_ms: u64, max_ms: u64, healthy_ms: u64) -> RestartPolicy {
        let [first, max, healthy] = [first_ms, max_ms, healthy_ms].map(Duration::from_millis);
        RestartPolicy::new(first, max, healthy).unwrap()
    }

    #[test]
    fn a_policy_that_would_spin_or_never_come_back_is_refused() {
        let new = |first, max| RestartPolicy::new(Duration::from_secs(first), Duration::from_secs(max), Duration::ZERO);
        assert!(new(0, 1).is_err() && new(2, 1).is_err() && new(1, 3601).is_err());
        assert!(new(1, 1).is_ok());
    }

    #[actix_rt::test]
    async fn waiting_doubles_up_to_its_bound_and_begins_again_after_a_healthy_while() {
        tokio::time::pause();
        let policy = policy(100, 1000, 5000);
        let mut restarts = Restarts::new(policy);
        let wait = |restarts: &mut Restarts, failures, when: &str| {
            let waited = restarts.failed();
            assert!(policy.backoff.bounds(failures).contains(&waited), "{when}, {failures}: {waited:?}");
        };
        (1..=6).for_each(|failures| wait(&mut restarts, failures, "at first"));
        restarts.started();
        tokio::time::advance(Duration::from_millis(4999)).await;
        wait(&mut restarts, 7, "not healthy for long enough");
        restarts.started();
        tokio::time::advance(Duration::from_millis(5000)).await;
        wait(&mut restarts, 1, "healthy");
    }

    #[actix_rt::test]
    async fn work_that_waits_and_is_not_done_is_a_stall_and_an_idle_process_is_not() {
        tokio::time::pause();
        let mut progress = Progress::new();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(progress.stalled(0, false), None, "nothing to do");
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(progress.stalled(0, true), None);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(progress.stalled(0, true), Some(12));
        assert_eq!(progress.stalled(1, true), None, "something was done");
    }

    struct Fragile {
        parent: Mailbox<ChildStopped>,
        stats: Arc<ActorStats>,
    }
    impl Actor for Fragile {
        type Context = Context<Self>;
        fn stopped(&mut self, _: &mut Context<Self>) {
            self.parent.tell(ChildStopped { kind: self.stats.kind(), id: 0, orderly: false });
        }
    }
    impl Handler<InjectPanic> for Fragile {
        type Result = ();
        fn handle(&mut self, _: InjectPanic, _: &mut Context<Self>) {
            let stats = self.stats.clone();
            let _handling = stats.handling();
            panic!("injected");
        }
    }

    struct Parent {
        child: Child<Fragile>,
        waited: Vec<Duration>,
        news: tokio::sync::mpsc::UnboundedSender<(Mailbox<InjectPanic>, Vec<Duration>)>,
    }
    impl Parent {
        fn start_child(&mut self, ctx: &mut Context<Self>) {
            let parent = Mailbox::new(ctx.address().recipient(), ActorStats::new("parent", 16));
            let stats = self.child.stats().clone();
            self.child.start(move |_| Fragile { parent, stats });
            let mailbox = self.child.mailbox::<InjectPanic>().unwrap();
            self.news.send((mailbox, self.waited.clone())).unwrap();
        }
    }
    impl Actor for Parent {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Context<Self>) {
            self.start_child(ctx);
        }
    }
    impl Handler<ChildStopped> for Parent {
        type Result = ();
        fn handle(&mut self, _: ChildStopped, ctx: &mut Context<Self>) {
            let wait = self.child.stopped();
            self.waited.push(wait);
            ctx.run_later(wait, Self::start_child);
        }
    }

    #[actix_rt::test]
    async fn an_actor_that_panics_three_times_is_restarted_three_times_each_time_later() {
        crate::telemetry::init_for_tests();
        tokio::time::pause();
        let stats = ActorStats::new("fragile", 16);
        let (news, mut told) = tokio::sync::mpsc::unbounded_channel();
        let policy = policy(1000, 60_000, 60_000);
        let child = Child::new(stats.clone(), Arbiter::current(), policy);
        Parent { child, waited: Vec::new(), news }.start();

        let begin = Instant::now();
        for restarts in 0..3 {
            let (mailbox, _) = told.recv().await.unwrap();
            assert_eq!(stats.restarts(), restarts);
            assert!(mailbox.send(InjectPanic).await.is_err());
            assert!(!mailbox.is_connected());
        }
        let (_, waited) = told.recv().await.unwrap();
        assert_eq!((stats.restarts(), stats.handled(), stats.depth()), (3, 3, 0));
        for (failures, wait) in (1..).zip(&waited) {
            assert!(policy.backoff.bounds(failures).contains(wait), "{waited:?}");
        }
        assert!(begin.elapsed() >= waited.iter().sum::<Duration>());
    }
}
