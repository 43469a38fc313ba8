//! Shows that the process lives, and how. The problem: whoever looks after a thousand agents must see which one is gone,
//! stuck or running on a refused configuration, without asking each. So each has a key under a lease with its figures:
//! it goes with its process, and it is written when something happens and now and then.

use super::supervision::Child;
use crate::{
    etcd::{EtcdError, LeasedKey, Session},
    messages::{ChildStopped, InjectPanic, Shutdown},
    telemetry::{ActorStats, Mailbox, Seen, Status, StatusBoard, Totals, now_ms},
};
use actix::prelude::*;
use futures_util::stream::unfold;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// Life of the key without a sign of its process; seconds.
pub const LEASE_SECS: u32 = 45;
/// Figures are at most this old.
const WRITE_INTERVAL: Duration = Duration::from_secs(30);
/// From one write to the next; changes within this time are written together.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// What belongs to a first change after a quiet while comes within this time.
const TOGETHER: Duration = Duration::from_millis(100);
/// The lease is renewed, or a failed write tried again, after this.
const RENEW_INTERVAL: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct StatusReporter {
    board: Arc<StatusBoard>,
    /// `None` while a call with it is under way.
    key: Option<LeasedKey>,
    parent: Mailbox<ChildStopped>,
    stats: Arc<ActorStats>,
    /// Last successful write, and the totals then.
    written: Option<(Instant, Totals)>,
    changed: bool,
    failing: bool,
    orderly: bool,
}

/// Something was told to the board.
struct Changed;

impl Child<StatusReporter> {
    /// Starts it with the key of this board.
    pub fn start_telling(&mut self, session: Session, board: Arc<StatusBoard>, parent: Mailbox<ChildStopped>) {
        let (key, stats) = (LeasedKey::new(session, board.key(), LEASE_SECS), self.stats().clone());
        self.start(move |_| StatusReporter::new(board, key, parent, stats));
    }
}

impl StatusReporter {
    /// Kind of this actor in log and metrics.
    pub const KIND: &str = "status_reporter";

    /// `key`: of [`StatusBoard::key`], with a lease of [`LEASE_SECS`].
    pub fn new(board: Arc<StatusBoard>, key: LeasedKey, parent: Mailbox<ChildStopped>, stats: Arc<ActorStats>) -> Self {
        Self { board, key: Some(key), parent, stats, written: None, changed: true, failing: false, orderly: false }
    }

    /// Writes, or only renews the lease, whichever is due.
    fn work(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let age = self.written.as_ref().map(|(at, _)| now - *at);
        let due = age.is_none_or(|age| age >= WRITE_INTERVAL || (self.changed && age >= SHORTEST_INTERVAL));
        let Some(mut key) = self.key.take() else { return };
        let totals = self.board.totals();
        let text = due.then(|| {
            self.changed = false;
            let before = self.written.as_ref().map(|(_, totals)| totals.clone()).unwrap_or_default();
            let status = self.board.status(&before, age.unwrap_or_default().as_secs_f64());
            serde_json::to_vec(&status).unwrap_or_default()
        });
        let call = async move {
            let result = match &text {
                Some(text) => key.put(text).await.map(|()| true),
                None => key.keep_alive().await,
            };
            (key, result, text.is_some())
        };
        ctx.spawn(call.into_actor(self).map(move |(key, result, wrote), actor, ctx| {
            actor.key = Some(key);
            actor.done(&result, wrote.then_some((now, totals)));
            if actor.changed {
                // Meanwhile: whoever came then found the key in use.
                ctx.run_later(SHORTEST_INTERVAL, Self::work);
            }
        }));
    }

    fn done(&mut self, result: &Result<bool, EtcdError>, wrote: Option<(Instant, Totals)>) {
        match result {
            Ok(true) => {
                self.written = wrote.or(self.written.take());
                self.failing = false;
            }
            // The lease is gone, and the key with it.
            Ok(false) => self.written = None,
            Err(e) => {
                if wrote.is_some() {
                    self.written = None;
                }
                if !std::mem::replace(&mut self.failing, true) {
                    slog_scope::warn!("the liveness key can't be written, trying again"; "reason" => %e);
                }
            }
        }
    }
}

/// Says at the key that outlives the process that it left in order: perhaps no console looks on now. Where no console has
/// ever kept anything of it, nothing is.
async fn leave_word(key: &LeasedKey, last: &Status) -> Result<(), EtcdError> {
    let Some(name) = Seen::key(key.key()) else { return Ok(()) };
    let Some(kv) = key.session().get(&name).await? else { return Ok(()) };
    // One that can't be read says nothing that is worth keeping.
    let seen: Seen = serde_json::from_slice(&kv.value).unwrap_or_default();
    let text = serde_json::to_vec(&seen.left(last, now_ms())).unwrap_or_default();
    // Only a console can be faster, and then it looks on.
    key.session().swap(&name, Some(&text), kv.revision).await.map(drop)
}

impl Actor for StatusReporter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let board = self.board.clone();
        ctx.add_stream(unfold(board, async |board: Arc<StatusBoard>| {
            board.changed().await;
            Some((Changed, board))
        }));
        self.work(ctx);
        ctx.run_interval(RENEW_INTERVAL, Self::work);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.parent.tell(ChildStopped { kind: Self::KIND, id: 0, orderly: self.orderly });
    }
}

impl StreamHandler<Changed> for StatusReporter {
    /// Written after a short while, together with what else changes until then.
    fn handle(&mut self, _: Changed, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        stats.sent_one();
        let _handling = stats.handling();
        if !std::mem::replace(&mut self.changed, true) {
            let since = self.written.as_ref().map_or(Duration::ZERO, |(at, _)| at.elapsed());
            ctx.run_later(SHORTEST_INTERVAL.saturating_sub(since).max(TOGETHER), Self::work);
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<Shutdown> for StatusReporter {
    type Result = ResponseActFuture<Self, ()>;

    /// Says that it leaves, and gives the lease back, so that the key goes at once.
    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.orderly = true;
        let key = self.key.take();
        let mut last = self.board.status(&Totals::default(), 0.0);
        last.leaving = true;
        let revoke = async move {
            if let Some(mut key) = key {
                let leave = async {
                    key.put(&serde_json::to_vec(&last).unwrap_or_default()).await?;
                    if let Err(e) = leave_word(&key, &last).await {
                        slog_scope::debug!("who looks only later takes this process for gone"; "reason" => %e);
                    }
                    key.revoke().await
                };
                // Without an answer the key goes when its lease has run out.
                match timeout(Duration::from_secs(2), leave).await {
                    Ok(Ok(())) => {}
                    Ok(Err(e)) => slog_scope::debug!("the liveness key stays until its lease ends"; "reason" => %e),
                    Err(_) => slog_scope::debug!("the liveness key stays until its lease ends"),
                }
            }
        };
        Box::pin(revoke.into_actor(self).map(|(), _, ctx: &mut Context<Self>| ctx.stop()))
    }
}

impl Handler<InjectPanic> for StatusReporter {
    type Result = ();

    #[expect(clippy::panic, reason = "asked for, to prove that it is survived")]
    fn handle(&mut self, _: InjectPanic, _: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        panic!("injected into {}", Self::KIND);
    }
}
