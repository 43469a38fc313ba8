//! Mailbox counters. The problem: actix can't tell how long a mailbox is, and a mailbox that fills up is the first
//! sign of a process that can't keep up. So a message is counted when it is sent (here, in [`Mailbox`]) and when it
//! is handled (by the actor, through [`ActorStats::handling`]); the difference is the depth.

use actix::{MailboxError, Message, Recipient};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// Upper bounds of handling times are powers of two in microseconds: bucket `i` counts times below `2^i` us.
const BUCKETS: usize = 32;

/// Counters of one kind of actor, shared by all who send to it.
#[derive(Debug)]
pub struct ActorStats {
    kind: &'static str,
    capacity: u64,
    sent: AtomicU64,
    handled: AtomicU64,
    high_water: AtomicU64,
    restarts: AtomicU64,
    times: [AtomicU64; BUCKETS],
}

impl ActorStats {
    /// `kind`: the actor's name in log and metrics, for example `kafka_producer`; `capacity`: of its mailbox.
    pub fn new(kind: &'static str, capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            kind,
            capacity: capacity as u64,
            sent: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            high_water: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            times: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    pub fn kind(&self) -> &'static str {
        self.kind
    }

    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Messages sent and not yet handled.
    pub fn depth(&self) -> u64 {
        let handled = self.handled.load(Relaxed);
        self.sent.load(Relaxed).saturating_sub(handled)
    }

    /// The largest depth since the last call.
    pub fn take_high_water(&self) -> u64 {
        self.high_water.swap(self.depth(), Relaxed)
    }

    /// The largest depth since the last [`take_high_water`](Self::take_high_water).
    pub fn high_water(&self) -> u64 {
        self.high_water.load(Relaxed)
    }

    pub fn handled(&self) -> u64 {
        self.handled.load(Relaxed)
    }

    pub fn restarts(&self) -> u64 {
        self.restarts.load(Relaxed)
    }

    /// The parent restarted this actor; what was in its mailbox is gone, so the depth starts at 0 again.
    pub fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
        self.sent.store(self.handled.load(Relaxed), Relaxed);
    }

    /// Handling times: how many messages were below `2^i` microseconds, per `i`, since start.
    pub fn times(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|i| self.times[i].load(Relaxed))
    }

    /// Counts a message that doesn't come through a [`Mailbox`] (an actor's notice to itself).
    pub fn sent_one(&self) {
        let depth = (self.sent.fetch_add(1, Relaxed) + 1).saturating_sub(self.handled.load(Relaxed));
        self.high_water.fetch_max(depth, Relaxed);
    }

    fn unsent_one(&self) {
        self.sent.fetch_sub(1, Relaxed);
    }

    /// To be held while a message is handled.
    pub fn handling(&self) -> Handling<'_> {
        self.handled.fetch_add(1, Relaxed);
        Handling { stats: self, since: Instant::now() }
    }
}

/// The `q` quantile (0 to 1) in microseconds of counts as [`ActorStats::times`] gives them, between the bounds of its
/// bucket; 0 for no counts.
pub fn quantile_us(times: &[u64], q: f64) -> f64 {
    let all: u64 = times.iter().sum();
    let wanted = q.clamp(0.0, 1.0) * all as f64;
    let mut below = 0.0;
    for (i, count) in times.iter().enumerate().filter(|(_, count)| **count > 0) {
        let count = *count as f64;
        if below + count >= wanted {
            let upper = 2_f64.powi(i as i32);
            let lower = if i == 0 { 0.0 } else { upper / 2.0 };
            return lower + (upper - lower) * ((wanted - below) / count);
        }
        below += count;
    }
    0.0
}

/// Measures one handling; ends when dropped.
#[must_use]
#[derive(Debug)]
pub struct Handling<'a> {
    stats: &'a ActorStats,
    since: Instant,
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        let micros = self.since.elapsed().as_micros() as u64;
        let bucket = (64 - micros.leading_zeros() as usize).min(BUCKETS - 1);
        self.stats.times[bucket].fetch_add(1, Relaxed);
    }
}

/// Where to send messages of one type, with the counters of the actor behind it. Wraps a `Recipient`, so a test puts a
/// collector there.
pub struct Mailbox<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    recipient: Recipient<M>,
    stats: Arc<ActorStats>,
}

impl<M> Mailbox<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    pub fn new(recipient: Recipient<M>, stats: Arc<ActorStats>) -> Self {
        Self { recipient, stats }
    }

    /// Sends and waits for the answer. This is how data goes: the mailbox's bound pushes back on the sender.
    ///
    /// # Errors
    /// The actor has stopped (or stopped while handling).
    pub async fn send(&self, message: M) -> Result<M::Result, MailboxError> {
        self.stats.sent_one();
        let answer = self.recipient.send(message).await;
        if matches!(answer, Err(MailboxError::Closed)) {
            self.stats.unsent_one();
        }
        answer
    }

    /// Sends a small control message without waiting, past the mailbox's bound. A stopped actor doesn't get it: its
    /// parent hears of the stop anyway, and a new start begins from the journal.
    pub fn tell(&self, message: M) {
        self.stats.sent_one();
        #[expect(clippy::disallowed_methods, reason = "the one place for small control messages")]
        self.recipient.do_send(message);
    }

    pub fn is_connected(&self) -> bool {
        self.recipient.connected()
    }

    pub fn recipient(&self) -> &Recipient<M> {
        &self.recipient
    }

    pub fn stats(&self) -> &Arc<ActorStats> {
        &self.stats
    }
}

impl<M> Clone for Mailbox<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self { recipient: self.recipient.clone(), stats: self.stats.clone() }
    }
}

impl<M> fmt::Debug for Mailbox<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({})", self.stats.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_the_bucket_that_holds_them() {
        let mut times = [0; BUCKETS];
        assert_eq!(quantile_us(&times, 0.5), 0.0);
        times[3] = 98; // 4 to 8 us
        times[10] = 2; // 512 to 1024 us
        assert!((4.0..=8.0).contains(&quantile_us(&times, 0.5)));
        assert!((512.0..=1024.0).contains(&quantile_us(&times, 0.99)));
    }

    #[test]
    fn depth_and_high_water_follow_what_is_sent_and_handled() {
        let stats = ActorStats::new("t", 8);
        (0..3).for_each(|_| stats.sent_one());
        drop(stats.handling());
        assert_eq!((stats.depth(), stats.high_water()), (2, 3));
        assert_eq!((stats.take_high_water(), stats.high_water()), (3, 2));
        stats.restarted();
        assert_eq!((stats.depth(), stats.restarts()), (0, 1));
    }
}
