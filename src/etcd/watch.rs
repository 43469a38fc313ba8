//! A set of keys, kept in sight. The problem: a watch ends in many ways (server away, compaction, no leader, a
//! connection that is dead without a sign), and each way can swallow a change, a deletion above all. So there is one
//! way to begin, and it is taken after every end: list at revision R, watch from R + 1. A list is complete: what it
//! doesn't name is gone. It is also taken now and then while all seems well, in case the server dropped an event.

use super::session::{EtcdError, Kv, MAX_ANSWER_BYTES, Session};
use crate::flow::{Backoff, Retries};
use etcd_client::{Client, EventType, WatchOptions, WatchResponse, WatchStream};
use std::{collections::VecDeque, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// Wait before the second try; it doubles up to the longest.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// What is watched: a key, or all keys that begin with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyRange {
    pub key: String,
    pub prefix: bool,
}

impl KeyRange {
    pub fn key(key: impl Into<String>) -> Self {
        Self { key: key.into(), prefix: false }
    }

    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { key: prefix.into(), prefix: true }
    }

    pub fn holds(&self, key: &str) -> bool {
        if self.prefix { key.starts_with(&self.key) } else { key == self.key }
    }
}

/// What the owner of a [`KeyWatch`] hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Everything there is; what isn't named is not there (any more). The first event, the one after [`Event::Lost`],
    /// and one now and then.
    Snapshot {
        kvs: Vec<Kv>,
        revision: i64,
    },
    Put(Kv),
    Delete {
        key: String,
        revision: i64,
    },
    /// etcd can't be watched at the moment; what is known stays valid. Told once until the next [`Event::Snapshot`], and
    /// again when the reason changes.
    Lost(EtcdError),
}

/// Knows what some of the watched keys mean. It gets every event, of all ranges, and takes what is its own.
pub trait Mirror: Send + Sync {
    fn apply(&self, event: &Event);
}

/// Watches ranges of keys for ever. All its waiting is in [`KeyWatch::next`], which can be dropped and called again.
#[derive(Debug)]
pub struct KeyWatch {
    session: Session,
    ranges: Vec<KeyRange>,
    relist_interval: Duration,
    stream: Option<WatchStream>,
    /// Per range: up to this revision everything was told.
    told: Vec<i64>,
    ready: VecDeque<Event>,
    relist_at: Instant,
    next_try: Instant,
    retries: Retries,
    lost: Option<EtcdError>,
}

impl KeyWatch {
    /// Doesn't connect yet. Lists everything again each `relist_interval`.
    pub fn new(session: Session, mut ranges: Vec<KeyRange>, relist_interval: Duration) -> Self {
        ranges.sort();
        ranges.dedup();
        let now = Instant::now();
        Self {
            session,
            told: vec![0; ranges.len()],
            ranges,
            relist_interval,
            stream: None,
            ready: VecDeque::new(),
            relist_at: now,
            next_try: now,
            retries: Retries::new(BACKOFF),
            lost: None,
        }
    }

    pub fn ranges(&self) -> &[KeyRange] {
        &self.ranges
    }

    /// Waits for the next event. It never ends; every wait in it is bounded or is for an event.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let result = match &mut self.stream {
                None => {
                    sleep_until(self.next_try).await;
                    self.begin().await
                }
                Some(stream) => tokio::select! {
                    answer = stream.message() => {
                        let answer = answer.map_err(|e| self.session.explain("watch", &e));
                        answer.and_then(|answer| self.take(answer))
                    }
                    () = sleep_until(self.relist_at) => self.relist().await,
                },
            };
            if let Err(e) = result {
                self.end(e);
            }
        }
    }

    /// The watch has ended: wait, then begin again.
    fn end(&mut self, error: EtcdError) {
        self.stream = None;
        self.ready.clear();
        self.next_try = Instant::now() + self.retries.failed();
        if self.lost.as_ref() != Some(&error) {
            self.lost = Some(error.clone());
            self.ready.push_back(Event::Lost(error));
        }
    }

    /// Lists at R and watches from R + 1.
    async fn begin(&mut self) -> Result<(), EtcdError> {
        self.list().await?;
        let mut stream = self.open().await?;
        // The list is told only when the watch stands, so that "all is well" means both.
        let mut created = 0;
        let deadline = Instant::now() + self.session.deadline();
        while created < self.ranges.len() {
            let answer = tokio::time::timeout_at(deadline, stream.message()).await;
            let answer = answer.map_err(|_| self.session.late("watch", self.session.deadline()))?;
            let answer = answer.map_err(|e| self.session.explain("watch", &e))?;
            created += usize::from(answer.as_ref().is_some_and(|a| a.created() && !a.canceled()));
            self.take(answer)?;
        }
        self.stream = Some(stream);
        self.retries.succeeded();
        self.lost = None;
        Ok(())
    }

    async fn relist(&mut self) -> Result<(), EtcdError> {
        let before = self.told.clone();
        self.list().await?;
        // A store that went back was restored from a copy: the watch waits for a revision that comes much later.
        if before.iter().zip(&self.told).any(|(before, now)| now < before) {
            self.ready.clear();
            return Err(self.session.failed("watch", "the store's revision went back; everything is listed anew"));
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<(), EtcdError> {
        let mut all = Vec::new();
        let mut told = Vec::with_capacity(self.ranges.len());
        for range in &self.ranges {
            let (kvs, revision) = self.session.range(&range.key, range.prefix).await?;
            all.extend(kvs);
            told.push(revision);
        }
        self.relist_at = Instant::now() + self.relist_interval + jitter(self.relist_interval / 10);
        // What is ready was told by the watch before, and is older.
        self.ready.clear();
        let revision = told.iter().copied().min().unwrap_or_default();
        self.told = told;
        self.ready.push_back(Event::Snapshot { kvs: all, revision });
        Ok(())
    }

    /// One stream for all ranges; etcd numbers the watches on it from 0 in the order of their requests.
    async fn open(&self) -> Result<WatchStream, EtcdError> {
        let options = |i: usize| {
            let range: &KeyRange = &self.ranges[i];
            let options = WatchOptions::new().with_start_revision(self.told[i] + 1).with_progress_notify();
            (range.key.clone(), if range.prefix { options.with_prefix() } else { options })
        };
        let run = async |client: Client| {
            let mut watch = client.watch_client().max_decoding_message_size(MAX_ANSWER_BYTES);
            let (key, first) = options(0);
            let mut stream = watch.watch(key, Some(first)).await?;
            for i in 1..self.ranges.len() {
                let (key, next) = options(i);
                stream.watch(key, Some(next)).await?;
            }
            Ok(stream)
        };
        if self.ranges.is_empty() {
            return Err(self.session.failed("watch", "there is no key to watch"));
        }
        let opened = timeout(self.session.deadline(), self.session.call("watch", run)).await;
        opened.map_err(|_| self.session.late("watch", self.session.deadline()))?
    }

    fn take(&mut self, answer: Option<WatchResponse>) -> Result<(), EtcdError> {
        let Some(answer) = answer else { return Err(self.session.failed("watch", "the server closed the stream")) };
        if answer.canceled() {
            // A compaction cancels with an empty reason.
            let reason = match (answer.compact_revision(), answer.cancel_reason()) {
                (0, "") => "cancelled by the server without a reason".into(),
                (0, reason) => format!("cancelled by the server: {reason}"),
                (revision, _) => format!("the store was compacted at revision {revision} before everything was told"),
            };
            return Err(self.session.failed("watch", reason));
        }
        let Some(told) = usize::try_from(answer.watch_id()).ok().and_then(|id| self.told.get_mut(id)) else {
            return Err(self.session.failed("watch", format!("answer for an unknown watch {}", answer.watch_id())));
        };
        let before = *told;
        for event in answer.events() {
            let Some(kv) = event.kv().filter(|kv| kv.mod_revision() > before) else { continue };
            *told = kv.mod_revision().max(*told);
            self.ready.push_back(match event.event_type() {
                EventType::Put => Event::Put(kv.into()),
                EventType::Delete => {
                    let Kv { key, revision, .. } = kv.into();
                    Event::Delete { key, revision }
                }
            });
        }
        Ok(())
    }
}

/// Up to a half of `span`, so that a thousand agents don't come back in the same millisecond.
fn jitter(span: Duration) -> Duration {
    span.mul_f64(f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX) / 2.0)
}
