//! What all tails of a process share: the journal's mailboxes, memory, counters. One `Arc` of it per tail instead of a
//! dozen clones, because there may be 10,000 of them.

use crate::{
    flow::{ChunkPool, Credits, EntryId, OriginId, PartitionRule},
    messages::{
        AppendRange, AwaitSettled, ChildStopped, ForgetFile, ListFiles, LookUpFile, PublishEntry, RegisterFiles,
        RememberEntry, Settled, TailReport, UpdateFile,
    },
    tail::OpenedFile,
    telemetry::{ActorStats, Mailbox},
};
use actix::prelude::*;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

/// Every mailbox of the Journal that the tails and their manager write to.
#[derive(Clone, Debug)]
pub struct JournalMailboxes {
    pub register: Mailbox<RegisterFiles>,
    pub append: Mailbox<AppendRange>,
    pub look_up: Mailbox<LookUpFile>,
    pub list: Mailbox<ListFiles>,
    pub await_settled: Mailbox<AwaitSettled>,
    pub update: Mailbox<UpdateFile>,
    pub forget: Mailbox<ForgetFile>,
    pub remember: Mailbox<RememberEntry>,
    pub settled: Mailbox<Settled>,
}

impl JournalMailboxes {
    /// The mailboxes of a running journal actor (or of a test's stand-in).
    pub fn of<A>(journal: &Addr<A>, stats: &Arc<ActorStats>) -> Self
    where
        A: Actor<Context = Context<A>>
            + Handler<RegisterFiles>
            + Handler<AppendRange>
            + Handler<LookUpFile>
            + Handler<ListFiles>
            + Handler<AwaitSettled>
            + Handler<UpdateFile>
            + Handler<ForgetFile>
            + Handler<RememberEntry>
            + Handler<Settled>,
    {
        Self {
            register: Mailbox::new(journal.clone().recipient(), stats.clone()),
            append: Mailbox::new(journal.clone().recipient(), stats.clone()),
            look_up: Mailbox::new(journal.clone().recipient(), stats.clone()),
            list: Mailbox::new(journal.clone().recipient(), stats.clone()),
            await_settled: Mailbox::new(journal.clone().recipient(), stats.clone()),
            update: Mailbox::new(journal.clone().recipient(), stats.clone()),
            forget: Mailbox::new(journal.clone().recipient(), stats.clone()),
            remember: Mailbox::new(journal.clone().recipient(), stats.clone()),
            settled: Mailbox::new(journal.clone().recipient(), stats.clone()),
        }
    }

    /// False once the journal has stopped: then nothing may be read any more.
    pub fn is_connected(&self) -> bool {
        self.append.is_connected()
    }
}

/// What the tails have done, for the metrics. All values since the start of the process except where said.
#[derive(Debug, Default)]
pub struct TailCounters {
    pub lines_read: AtomicU64,
    pub bytes_read: AtomicU64,
    /// Bytes that were destroyed (truncated, deleted, over-written) before they were read.
    pub lost_bytes: AtomicU64,
    /// Files open now.
    pub files_open: AtomicU64,
    /// Journalled ranges that were sent again.
    pub replayed_ranges: AtomicU64,
    /// Tails started, restarts included: an entry that doesn't change doesn't move it.
    pub tails_started: AtomicU64,
    /// Tails that panicked and were started again.
    pub tails_restarted: AtomicU64,
}

impl TailCounters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }

    pub(crate) fn sub(counter: &AtomicU64, n: u64) {
        counter.fetch_sub(n, Relaxed);
    }
}

/// Files without a name that were open when their tails had to stop: nobody could open them again. It outlives the
/// manager, so that a panic of the manager or of the journal loses nothing of them.
#[derive(Clone, Debug, Default)]
pub struct LeftOpen(Arc<Mutex<HashMap<OriginId, OpenedFile>>>);

impl LeftOpen {
    fn lock(&self) -> MutexGuard<'_, HashMap<OriginId, OpenedFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put(&self, id: OriginId, opened: OpenedFile) {
        self.lock().insert(id, opened);
    }

    pub(crate) fn take(&self, id: OriginId) -> Option<OpenedFile> {
        self.lock().remove(&id)
    }

    pub(crate) fn ids(&self) -> Vec<OriginId> {
        let mut ids: Vec<_> = self.lock().keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}

/// What every tail of one manager shares.
#[derive(Debug)]
pub struct TailShared {
    pub journal: JournalMailboxes,
    pub pool: ChunkPool,
    pub credits: Credits,
    pub counters: Arc<TailCounters>,
    pub stats: Arc<ActorStats>,
    pub report: Mailbox<TailReport>,
    pub child_stopped: Mailbox<ChildStopped>,
    pub give_back: Mailbox<GiveBack>,
    pub left_open: LeftOpen,
    /// HOST in the Kafka key.
    pub host: Arc<str>,
    /// How long a superseded file has to be quiet before its unfinished last line is sent.
    pub quiet: std::time::Duration,
    /// False once the manager has gone. A tail without a manager must not read on: the next manager will start another
    /// tail on the same file.
    pub managed: AtomicBool,
}

/// By which rules the lines that are read from now on leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub max_line_bytes: u32,
    pub partition: PartitionRule,
    /// Published already.
    pub entry: Option<EntryId>,
}

/// To a tail: these rules from the next range on.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct UseRules(pub Rules);

/// To a tail: its path's former file is read to its end, begin.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Release;

/// To a tail: its manager is going without waiting; stop at once.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Abandon;

/// From a tail that panicked: its open file, which may have no name any more, for its successor.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct GiveBack {
    pub file: OriginId,
    pub opened: OpenedFile,
}

/// To the manager: put the delivery fields of entries there from now on (the store was started again).
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct UseEntryStore(pub Mailbox<PublishEntry>);

/// To the manager: let the tail of this path panic, to prove that it is survived. Answers whether there was one.
#[derive(Message, Debug)]
#[rtype(result = "bool")]
pub struct InjectTailPanic(pub std::path::PathBuf);
