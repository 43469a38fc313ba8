//! Reads one file and sends its lines. The problem: every byte must leave under the identity and the range that the
//! journal knows, once the memory for it is there, while the file grows, is rotated, truncated or deleted, and while
//! thousands of other files want their turn on the same thread.
//!
//! One chunk goes through four steps, and only then the next one begins: credit, read, journal, send. Each step that
//! waits is a future of its own, so that a control message ([`Drain`], [`Superseded`], ...) is handled at once.
//!
//! ```text
//! Held -> Idle <-> Credit -> Journal (<-> Backoff) -> Send -> Idle -> ... -> Settling -> stopped
//! ```

mod reading;
mod sending;

use super::tail_manager::{Abandon, GiveBack, Release, Rules, TailCounters, TailShared, UseRules};
use crate::{
    crash,
    flow::{Backoff, Credit, FileOrigin, OriginId},
    journal::{FileRecord, Fingerprint, Range},
    messages::{
        ChildStopped, Drain, InjectPanic, LineBatch, LookUpFile, Superseded, TailReport, TailState, UseSink, Wake,
    },
    tail::{OpenedFile, Piece, TailReader},
    telemetry::Mailbox,
};
use actix::prelude::*;
use std::{
    collections::VecDeque,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Kind of this actor in the metrics and in [`ChildStopped`].
pub const KIND: &str = "tail";

/// What a queued record costs in memory beside its bytes, in bytes (measured with librdkafka: 200 without a copy, 390
/// with one).
const RECORD_BYTES: usize = 256;
/// Lines are assumed to be at least so long when credit is taken before the first ones are read; afterwards they are
/// as long as the last ones. What was too much goes back.
const ASSUMED_LINE_BYTES: u32 = 128;
/// A tail waits for one thing at a time, so few messages are ever in its mailbox.
const MAILBOX_CAPACITY: usize = 4;

/// With what a tail starts.
#[derive(Debug)]
pub struct TailStart {
    pub record: FileRecord,
    pub opened: OpenedFile,
    /// `None`: the rules are not usable yet ([`UseRules`] follows), or there are none (then `draining` is set).
    pub rules: Option<Rules>,
    pub max_line_bytes: u32,
    pub topic: Arc<str>,
    pub sink: Mailbox<LineBatch>,
    /// Its path's former file isn't read to its end yet; [`Release`] follows.
    pub held: bool,
    pub superseded: bool,
    /// Only send again what is pending, then end.
    pub draining: bool,
}

/// What the tail waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Nothing,
    Credit(SpawnHandle),
    Journal(SpawnHandle),
    Backoff(SpawnHandle),
    Send(SpawnHandle),
    /// For the journal's word that all is settled.
    Settling(SpawnHandle),
    /// For the journal's record, after a new sink was named.
    Record(SpawnHandle),
}

pub struct TailActor {
    shared: Arc<TailShared>,
    reader: TailReader,
    origin: Arc<FileOrigin>,
    sink: Mailbox<LineBatch>,
    head: Fingerprint,
    max_line_bytes: u32,
    /// What the lines of the next piece are expected to be long, in bytes with their ends.
    line_bytes: u32,
    /// Journalled by an earlier life of this file and not settled: sent again before anything else.
    replay: VecDeque<(u64, Range)>,
    /// Read and not yet journalled, while the journal can't write.
    unjournalled: Option<Box<(Range, Piece, Credit)>>,
    waiting: Waiting,
    quiet: Option<SpawnHandle>,
    failures: u32,
    ready: bool,
    held: bool,
    superseded: bool,
    draining: bool,
    /// Quiet for long enough after being superseded: the unfinished last line is a line.
    finish: bool,
    caught_up: bool,
    replaced: Option<u64>,
    orderly: bool,
}

impl TailActor {
    pub fn start(shared: Arc<TailShared>, start: TailStart) -> Addr<Self> {
        TailCounters::add(&shared.counters.files_open, 1);
        TailCounters::add(&shared.counters.tails_started, 1);
        let tail = Self::new(shared, start);
        Self::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
            tail
        })
    }

    fn new(shared: Arc<TailShared>, start: TailStart) -> Self {
        let TailStart { record, opened, rules, max_line_bytes, topic, sink, .. } = start;
        let origin = Arc::new(FileOrigin {
            id: record.id,
            topic,
            partition: rules.map_or_else(Default::default, |r| r.partition),
            host: shared.host.clone(),
            file: record.file,
            entry: rules.and_then(|r| r.entry),
            path: record.path.as_os_str().as_bytes().into(),
        });
        let replay = if crash::mutation("skip_pending") { VecDeque::new() } else { record.pending.into() };
        Self {
            reader: TailReader::new(opened, record.position, record.parts_before, record.back, max_line_bytes),
            shared,
            origin,
            sink,
            head: record.head,
            max_line_bytes,
            line_bytes: ASSUMED_LINE_BYTES,
            replay,
            unjournalled: None,
            waiting: Waiting::Nothing,
            quiet: None,
            failures: 0,
            ready: rules.is_some(),
            held: start.held,
            superseded: start.superseded,
            draining: start.draining,
            finish: false,
            caught_up: false,
            replaced: None,
            orderly: false,
        }
    }

    fn id(&self) -> OriginId {
        self.origin.id
    }

    fn path(&self) -> String {
        String::from_utf8_lossy(&self.origin.path).into_owned()
    }

    fn failed(&mut self, error: &std::io::Error, ctx: &mut Context<Self>) {
        slog_scope::warn!("the file can't be read at the moment";
            "path" => self.path(), "topic" => %self.origin.topic, "reason" => %error);
        self.fail(ctx);
    }

    fn fail(&mut self, ctx: &mut Context<Self>) {
        self.leave_open();
        self.end(TailState::Failed, ctx);
    }

    /// A file without a name can't be opened again: it stays open for whoever reads it next.
    fn leave_open(&self) {
        let file = self.reader.file();
        if file.metadata().is_ok_and(|meta| meta.nlink() == 0)
            && let Ok(file) = file.try_clone()
        {
            let (dev, ino) = self.reader.dev_ino();
            self.shared.left_open.put(self.id(), OpenedFile { file, dev, ino, size: self.reader.size() });
        }
    }

    fn end(&mut self, state: TailState, ctx: &mut Context<Self>) {
        self.report(state);
        self.orderly = true;
        ctx.stop();
    }

    fn report(&self, state: TailState) {
        self.shared.report.tell(TailReport { file: self.id(), state });
    }

    fn use_rules(&mut self, rules: &Rules) {
        let now = &self.origin;
        if now.entry != rules.entry || now.partition != rules.partition {
            self.origin = Arc::new(FileOrigin {
                id: now.id,
                topic: now.topic.clone(),
                partition: rules.partition,
                host: now.host.clone(),
                file: now.file,
                entry: rules.entry,
                path: now.path.clone(),
            });
        }
        self.max_line_bytes = rules.max_line_bytes;
        self.reader.set_max_line_bytes(rules.max_line_bytes);
        self.ready = true;
        self.draining = false;
    }

    /// Begins again from what the journal knows: what was read and not journalled is read again.
    fn begin_again(&mut self, record: FileRecord, ctx: &mut Context<Self>) {
        match self.reader.file().try_clone() {
            Ok(file) => {
                let (dev, ino) = self.reader.dev_ino();
                let opened = OpenedFile { file, dev, ino, size: self.reader.size() };
                let max = self.max_line_bytes;
                self.reader = TailReader::new(opened, record.position, record.parts_before, record.back, max);
                self.replay = record.pending.into();
                self.step(ctx);
            }
            Err(error) => self.failed(&error, ctx),
        }
    }

    fn cancel_waiting(&mut self, ctx: &mut Context<Self>) {
        match std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Nothing => {}
            Waiting::Credit(h)
            | Waiting::Journal(h)
            | Waiting::Backoff(h)
            | Waiting::Send(h)
            | Waiting::Settling(h)
            | Waiting::Record(h) => {
                ctx.cancel_future(h);
            }
        }
        self.unjournalled = None;
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// How long whatever failed around a tail waits before it is tried again.
pub(crate) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

impl Actor for TailActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.step(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        TailCounters::sub(&self.shared.counters.files_open, 1);
        if !self.orderly
            && let Ok(file) = self.reader.file().try_clone()
        {
            let (dev, ino) = self.reader.dev_ino();
            // The file may have no name any more: its successor needs this very one.
            let opened = OpenedFile { file, dev, ino, size: self.reader.size() };
            self.shared.give_back.tell(GiveBack { file: self.id(), opened });
        }
        self.shared.child_stopped.tell(ChildStopped { kind: KIND, id: self.id(), orderly: self.orderly });
    }
}

impl Handler<UseRules> for TailActor {
    type Result = ();
    fn handle(&mut self, UseRules(rules): UseRules, ctx: &mut Self::Context) {
        let shared = self.shared.clone();
        let _handling = shared.stats.handling();
        self.use_rules(&rules);
        self.step(ctx);
    }
}

impl Handler<Release> for TailActor {
    type Result = ();
    fn handle(&mut self, _: Release, ctx: &mut Self::Context) {
        let shared = self.shared.clone();
        let _handling = shared.stats.handling();
        self.held = false;
        self.step(ctx);
    }
}

impl Handler<Wake> for TailActor {
    type Result = ();
    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        let shared = self.shared.clone();
        let _handling = shared.stats.handling();
        self.step(ctx);
    }
}

impl Handler<Superseded> for TailActor {
    type Result = ();
    fn handle(&mut self, _: Superseded, ctx: &mut Self::Context) {
        let shared = self.shared.clone();
        let _handling = shared.stats.handling();
        self.superseded = true;
        self.step(ctx);
    }
}

impl Handler<Drain> for TailActor {
    type Result = ();
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        let shared = self.shared.clone();
        let _handling = shared.stats.handling();
        self.draining = true;
        // What is not journalled yet was not sent: it is read again when the file is collected again.
        if matches!(self.waiting, Waiting::Backoff(_)) || (self.replay.is_empty() && self.waits_for_credit()) {
            self.cancel_waiting(ctx);
        }
        self.step(ctx);
    }
}

impl TailActor {
    fn waits_for_credit(&self) -> bool {
        matches!(self.waiting, Waiting::Credit(_))
    }
}

impl Handler<UseSink> for TailActor {
    type Result = ();
    fn handle(&mut self, UseSink(sink): UseSink, ctx: &mut Self::Context) {
        let shared = self.shared.clone();
        let _handling = shared.stats.handling();
        self.sink = sink;
        self.cancel_waiting(ctx);
        let (look_up, file) = (self.shared.journal.look_up.clone(), self.id());
        let future = async move { look_up.send(LookUpFile(file)).await };
        let then = future.into_actor(self).map(|answer, tail, ctx| {
            tail.waiting = Waiting::Nothing;
            match answer {
                Ok(Some(record)) => tail.begin_again(record, ctx),
                Ok(None) | Err(_) => tail.fail(ctx),
            }
        });
        self.waiting = Waiting::Record(ctx.spawn(then));
    }
}

impl Handler<Abandon> for TailActor {
    type Result = ();
    fn handle(&mut self, _: Abandon, ctx: &mut Self::Context) {
        self.leave_open();
        self.orderly = true;
        ctx.stop();
    }
}

impl Handler<InjectPanic> for TailActor {
    type Result = ();
    fn handle(&mut self, _: InjectPanic, _: &mut Self::Context) {
        panic!("injected into the tail of {}", self.path());
    }
}
