//! Tells the log how full the mailboxes are. The problem: when data is late, somebody is slow, and that shows in one
//! mailbox first. Every `metrics_interval_secs` one INFO record for each kind of actor, with what happened since the
//! record before; the record of the tails also says how far they are behind and names the worst five.

use super::supervision::{Child, Latest};
use crate::{
    messages::{ChildStopped, FileStatus, InjectPanic, ListTails, Shutdown},
    telemetry::{ActorStats, Mailbox, Registry, quantile_us},
};
use actix::prelude::*;
use std::{collections::HashMap, fmt::Write as _, sync::Arc, time::Duration};

/// How many of the tails are named.
const NAMED: usize = 5;
/// How long the list of tails may take; then the record goes without it.
const TAILS_DEADLINE: Duration = Duration::from_secs(5);

/// Where the list of tails comes from, and whose record it belongs to.
#[derive(Clone, Debug)]
pub struct Tails {
    /// Kind of the tails' own counters.
    pub kind: &'static str,
    pub list: Latest<ListTails>,
}

/// See the module.
pub struct MailboxReporter {
    registry: Registry,
    interval: Duration,
    tails: Option<Tails>,
    parent: Mailbox<ChildStopped>,
    stats: Arc<ActorStats>,
    /// Handled messages and handling times at the record before.
    before: HashMap<&'static str, (u64, Vec<u64>)>,
    asking: bool,
    orderly: bool,
}

impl Child<MailboxReporter> {
    /// Starts it, unless there is to be none (0).
    pub fn start_reporting(
        &mut self,
        every_secs: u64,
        registry: Registry,
        tails: Option<Tails>,
        parent: Mailbox<ChildStopped>,
    ) {
        if every_secs > 0 {
            let (interval, stats) = (Duration::from_secs(every_secs), self.stats().clone());
            self.start(move |_| MailboxReporter::new(registry, interval, tails, parent, stats));
        }
    }
}

impl MailboxReporter {
    /// `interval` is raised to a second where it is less.
    pub fn new(
        registry: Registry,
        interval: Duration,
        tails: Option<Tails>,
        parent: Mailbox<ChildStopped>,
        stats: Arc<ActorStats>,
    ) -> Self {
        let interval = interval.max(Duration::from_secs(1));
        Self { registry, interval, tails, parent, stats, before: HashMap::new(), asking: false, orderly: false }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.stats.sent_one();
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let Some(list) = self.tails.as_ref().and_then(|tails| tails.list.get()) else { return self.report(None) };
        if self.asking {
            // The manager is that busy: its record says so.
            return self.report(None);
        }
        self.asking = true;
        let asked = async move { tokio::time::timeout(TAILS_DEADLINE, list.send(ListTails)).await };
        ctx.spawn(asked.into_actor(self).map(|answer, me, _| {
            me.asking = false;
            me.report(answer.ok().and_then(Result::ok));
        }));
    }

    fn report(&mut self, tails: Option<Vec<FileStatus>>) {
        for stats in self.registry.actors() {
            let tails = tails.as_deref().filter(|_| self.tails.as_ref().is_some_and(|t| t.kind == stats.kind()));
            self.report_kind(&stats, tails);
        }
    }

    fn report_kind(&mut self, stats: &ActorStats, tails: Option<&[FileStatus]>) {
        let (handled, times) = (stats.handled(), stats.times().to_vec());
        let now = (handled, times.clone());
        let (handled_before, times_before) = self.before.insert(stats.kind(), now).unwrap_or_default();
        let earlier = times_before.into_iter().chain(std::iter::repeat(0));
        let since: Vec<u64> = times.into_iter().zip(earlier).map(|(now, before)| now.saturating_sub(before)).collect();
        let keys = slog::o!(
            "restarts" => stats.restarts(),
            "p99_us" => quantile_us(&since, 0.99).round() as u64,
            "p50_us" => quantile_us(&since, 0.5).round() as u64,
            "handled" => handled.saturating_sub(handled_before),
            "capacity" => stats.capacity(),
            "high_water" => stats.take_high_water(),
            "depth" => stats.depth(),
            "actor" => stats.kind(),
        );
        match tails {
            None => slog_scope::info!("mailbox"; keys),
            Some(tails) => {
                let (lag, worst) = furthest_behind(tails);
                slog_scope::info!("mailbox"; "worst" => worst, "lag_bytes" => lag, "files" => tails.len(), keys);
            }
        }
    }
}

/// Bytes that a tail has to read or to see settled yet.
fn lag(tail: &FileStatus) -> u64 {
    tail.size.unwrap_or(tail.read).max(tail.read).saturating_sub(tail.settled)
}

/// The lag of all, and the worst by name.
fn furthest_behind(tails: &[FileStatus]) -> (u64, String) {
    let mut behind: Vec<&FileStatus> = tails.iter().filter(|tail| lag(tail) > 0).collect();
    behind.sort_by_key(|tail| std::cmp::Reverse(lag(tail)));
    let mut named = String::new();
    for tail in behind.iter().take(NAMED) {
        let comma = if named.is_empty() { "" } else { ", " };
        // Writing to a string doesn't fail.
        _ = write!(named, "{comma}{} ({}) {} bytes", tail.path, tail.topic, lag(tail));
    }
    (behind.into_iter().map(lag).sum(), named)
}

impl Actor for MailboxReporter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(self.interval, Self::tick);
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.parent.tell(ChildStopped { kind: self.stats.kind(), id: 0, orderly: self.orderly });
    }
}

impl Handler<Shutdown> for MailboxReporter {
    type Result = ();

    /// The last report, so that a short life leaves its figures, too.
    fn handle(&mut self, _: Shutdown, ctx: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.report(None);
        self.orderly = true;
        ctx.stop();
    }
}

impl Handler<InjectPanic> for MailboxReporter {
    type Result = ();

    fn handle(&mut self, _: InjectPanic, _: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        panic!("injected panic");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(path: &str, settled: u64, size: Option<u64>) -> FileStatus {
        let (topic, file) = ("t".to_owned(), "0".repeat(16));
        FileStatus { path: path.into(), topic, file, read: settled + 1, settled, size }
    }

    #[test]
    fn the_worst_five_are_named_worst_first() {
        let mut tails: Vec<_> = (0..7).map(|n| tail(&format!("/{n}"), 100, Some(100 + n * 10))).collect();
        tails.push(tail("/gone", 100, None));
        let (lag, named) = furthest_behind(&tails);
        assert_eq!(lag, 1 + 10 + 20 + 30 + 40 + 50 + 60 + 1);
        let names: Vec<_> = named.split(", ").map(|n| n.split(' ').next().unwrap()).collect();
        assert_eq!(names, ["/6", "/5", "/4", "/3", "/2"]);
        assert!(named.starts_with("/6 (t) 60 bytes"));
    }
}
