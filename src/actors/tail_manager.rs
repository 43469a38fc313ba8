//! Which files are read, and by whom. The problem: entries name patterns, names move between files, and scans and the
//! journal answer late; yet each file must have exactly one tail under its one identity, and a change of one entry must
//! not be noticed by the tails of another. The decisions are the [`roster`]'s; here they are carried out.

mod applying;
mod beginning;
mod decide;
mod ending;
mod entries;
mod folders;
mod limits;
mod neighbours;
mod opening;
mod roster;
mod scanning;

pub use limits::raise_open_files;
pub use neighbours::{
    Abandon, GiveBack, InjectTailPanic, JournalMailboxes, LeftOpen, Release, Rules, TailCounters, TailShared,
    UseEntryStore, UseRules,
};

use super::tail_actor::TailActor;
use crate::{
    collection::{EntryKey, Start},
    flow::{ChunkPool, Credits, EntryId, OriginId},
    journal::FileRecord,
    messages::{
        ApplyDiff, ChildStopped, Drain, FileStatus, FoldersChanged, InjectPanic, LineBatch, ListFiles, ListTails,
        PublishEntry, RememberEntry, Shutdown, TailReport, TailState, UseSink, Wake,
    },
    tail::{FolderWatch, OpenedFile, WatchMode},
    telemetry::{ActorStats, Mailbox},
};
use actix::prelude::*;
use applying::remembered_as;
use entries::Entries;
use folders::Folders;
use roster::{Life, Roster};
use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};

/// Kind of this actor in the metrics and in [`ChildStopped`].
pub const KIND: &str = "tail_manager";

/// Folders that can't be watched, and files behind links, are looked at this often.
const FAST_SWEEP: Duration = Duration::from_secs(1);
/// Folders being listed at the same time.
const SCANS: usize = 8;
/// For a file without rules, of which only pending ranges are sent again.
const DEFAULT_LINE_BYTES: u32 = 512 * 1024;
/// A file that could not be read is tried again after this.
const RETRY: Duration = Duration::from_secs(5);
/// Between two scans of a folder at least; and ten times as long as the scan took, up to the latter: a folder with ten
/// thousand files and much coming and going must not be scanned all the time.
const REST: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(250);
/// A tail that has run so long since its last panic is restarted at once again.
const FORGIVEN: Duration = Duration::from_secs(60);

/// How the tails behave.
#[derive(Clone, Debug)]
pub struct TailSettings {
    /// HOST in the Kafka key.
    pub host: Arc<str>,
    /// All folders are scanned this often, whatever events say.
    pub sweep_interval: Duration,
    /// A superseded file that is quiet for so long is finished: its unfinished last line is sent.
    pub quiet: Duration,
    /// A file without a tail that no scan finds for so long is forgotten; its undelivered bytes count as lost.
    pub forget_after: Duration,
    /// The same for a file whose whole file system is away.
    pub forget_away_after: Duration,
    /// A folder rests at least and at most so long between two scans.
    pub rest: RangeInclusive<Duration>,
    pub watch: WatchMode,
    /// Files that don't hold text are left alone.
    pub text_only: bool,
}

impl TailSettings {
    pub fn new(host: &str) -> Self {
        Self {
            host: host.into(),
            sweep_interval: Duration::from_secs(30),
            quiet: Duration::from_secs(5),
            forget_after: Duration::from_secs(600),
            forget_away_after: Duration::from_secs(24 * 3600),
            rest: REST,
            watch: WatchMode::Events,
            text_only: false,
        }
    }
}

/// What a manager is made of; the same again after a panic, with the mailboxes of that time.
#[derive(Clone, Debug)]
pub struct TailSetup {
    pub settings: TailSettings,
    pub journal: JournalMailboxes,
    pub sink: Mailbox<LineBatch>,
    pub entry_store: Mailbox<PublishEntry>,
    pub pool: ChunkPool,
    pub credits: Credits,
    /// The same for every manager of the process.
    pub left_open: LeftOpen,
    pub counters: Arc<TailCounters>,
    /// Of this actor.
    pub stats: Arc<ActorStats>,
    /// Of all tails together.
    pub tail_stats: Arc<ActorStats>,
    pub parent: Mailbox<ChildStopped>,
}

pub struct TailManager {
    settings: TailSettings,
    shared: Arc<TailShared>,
    sink: Mailbox<LineBatch>,
    entry_store: Mailbox<PublishEntry>,
    stats: Arc<ActorStats>,
    parent: Mailbox<ChildStopped>,
    entries: Entries,
    roster: Roster,
    folders: Folders,
    watch: Option<FolderWatch>,
    tails: HashMap<OriginId, Addr<TailActor>>,
    /// Open files of tails that have panicked.
    returned: HashMap<OriginId, OpenedFile>,
    /// Panics of a tail, and when the last one was.
    panics: HashMap<OriginId, (u32, Instant)>,
    published: HashSet<EntryId>,
    publishing: HashSet<EntryId>,
    /// What was warned of, so that it is said once: the thing, and the reason.
    warned: HashMap<PathBuf, String>,
    warned_twice: HashSet<(EntryKey, EntryKey)>,
    /// Files without text, and when they were looked at.
    binary: HashMap<roster::Inode, Instant>,
    scans: Arc<Semaphore>,
    stopping: Vec<oneshot::Sender<()>>,
    orderly: bool,
}

impl TailManager {
    /// To be called where the actor is created: `TailManager::start_in_arbiter(&files, |ctx| TailManager::new(setup, ctx))`.
    pub fn new(setup: TailSetup, ctx: &mut Context<Self>) -> Self {
        let me = ctx.address();
        let shared = Arc::new(TailShared {
            journal: setup.journal,
            pool: setup.pool,
            credits: setup.credits,
            counters: setup.counters,
            stats: setup.tail_stats,
            report: Mailbox::new(me.clone().recipient(), setup.stats.clone()),
            child_stopped: Mailbox::new(me.clone().recipient(), setup.stats.clone()),
            left_open: setup.left_open,
            give_back: Mailbox::new(me.recipient(), setup.stats.clone()),
            host: setup.settings.host.clone(),
            quiet: setup.settings.quiet,
            managed: AtomicBool::new(true),
        });
        Self {
            folders: Folders::new(setup.settings.rest.clone()),
            settings: setup.settings,
            shared,
            sink: setup.sink,
            entry_store: setup.entry_store,
            stats: setup.stats,
            parent: setup.parent,
            entries: Entries::default(),
            roster: Roster::default(),
            watch: None,
            tails: HashMap::new(),
            returned: HashMap::new(),
            panics: HashMap::new(),
            published: HashSet::new(),
            publishing: HashSet::new(),
            warned: HashMap::new(),
            warned_twice: HashSet::new(),
            binary: HashMap::new(),
            scans: Arc::new(Semaphore::new(SCANS)),
            stopping: Vec::new(),
            orderly: false,
        }
    }

    fn is_stopping(&self) -> bool {
        !self.stopping.is_empty()
    }

    fn tell<M>(&self, id: OriginId, message: M)
    where
        M: Message<Result = ()> + Send + 'static,
        TailActor: Handler<M>,
    {
        if let Some(tail) = self.tails.get(&id) {
            Mailbox::new(tail.clone().recipient(), self.shared.stats.clone()).tell(message);
        }
    }

    /// Says a problem once until its reason changes.
    fn warn(&mut self, path: &Path, reason: String) {
        if self.warned.get(path) != Some(&reason) {
            slog_scope::warn!("not collected at the moment"; "path" => %path.display(), "reason" => &reason);
            self.warned.insert(path.to_owned(), reason);
        }
    }
}

impl Actor for TailManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let list = self.shared.journal.list.clone();
        let future = async move { list.send(ListFiles).await };
        // Nothing is decided before it is known who is who.
        ctx.wait(future.into_actor(self).map(|records, manager, ctx| match records {
            Ok(records) => manager.started_with(records, ctx),
            Err(error) => {
                slog_scope::error!("the journal does not answer"; "reason" => %error);
                ctx.stop();
            }
        }));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.shared.managed.store(false, Relaxed);
        for id in self.tails.keys().copied().collect::<Vec<_>>() {
            self.tell(id, Abandon);
        }
        self.parent.tell(ChildStopped { kind: KIND, id: 0, orderly: self.orderly });
    }
}

impl Handler<ApplyDiff> for TailManager {
    type Result = ();
    fn handle(&mut self, ApplyDiff(diff): ApplyDiff, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let at_end: Vec<_> =
            diff.added.iter().chain(&diff.changed).filter(|e| e.start == Start::End).cloned().collect();
        if at_end.is_empty() {
            return self.apply(diff, &HashSet::new(), ctx);
        }
        let remember = self.shared.journal.remember.clone();
        let future = async move {
            let (mut new, mut failed) = (HashSet::new(), HashMap::new());
            for entry in at_end {
                let key = EntryKey { path: entry.path.clone(), topic: entry.topic.clone() };
                match remember.send(RememberEntry(remembered_as(&entry))).await {
                    Ok(Ok(true)) => _ = new.insert(key),
                    Ok(Ok(false)) => {}
                    Ok(Err(error)) => _ = failed.insert(key, error.to_string()),
                    Err(error) => _ = failed.insert(key, error.to_string()),
                }
            }
            (new, failed)
        };
        ctx.wait(future.into_actor(self).map(move |(new, failed), manager, ctx| {
            manager.apply_remembered(diff, &new, &failed, ctx);
        }));
    }
}

impl Handler<FoldersChanged> for TailManager {
    type Result = ();
    fn handle(&mut self, _: FoldersChanged, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let Some(mut touched) = self.watch.as_ref().map(|watch| watch.hints().take()) else { return };
        let mut unknown = Vec::new();
        for path in touched.files.drain() {
            let mut dormant = false;
            for id in self.roster.at(&path) {
                match self.roster.get(*id).map(|known| known.life) {
                    Some(Life::Live) => self.tell(*id, Wake),
                    _ => dormant = true,
                }
            }
            let new = self.roster.at(&path).is_empty() && self.entries.wanting(&path).next().is_some();
            if let Some(folder) = path.parent().filter(|_| dormant || new) {
                touched.folders.insert(folder.to_owned());
            }
            if new {
                unknown.push(path);
            }
        }
        self.look_at(unknown, ctx);
        let folders = if touched.all { self.folders.all() } else { touched.folders.into_iter().collect() };
        for folder in folders {
            self.scan(&folder, ctx);
        }
    }
}

impl Handler<TailReport> for TailManager {
    type Result = ();
    fn handle(&mut self, report: TailReport, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let id = report.file;
        match report.state {
            TailState::CaughtUp => {
                for successor in self.roster.caught_up(id) {
                    self.tell(successor, Release);
                }
            }
            TailState::Replaced { lost_bytes } => {
                let Some(known) = self.roster.get(id) else { return };
                let path = known.path.clone().unwrap_or_else(|| known.home.clone());
                slog_scope::warn!("a file's content was replaced; it is collected as a new one";
                    "path" => %path.display(), "topic" => &*known.topic);
                self.count_lost(lost_bytes, "truncated or written anew", &path, &known.topic);
                self.roster.detach(id);
                for successor in self.roster.caught_up(id) {
                    self.tell(successor, Release);
                }
                if let Some(folder) = path.parent() {
                    self.scan(folder, ctx);
                }
            }
            TailState::Done => self.tail_done(id, ctx),
            TailState::Gone => self.forget(id),
            TailState::Failed => {
                if let Some(known) = self.roster.get_mut(id) {
                    known.retry_at = Some(Instant::now() + RETRY);
                }
                self.tail_done(id, ctx);
            }
        }
    }
}

impl Handler<GiveBack> for TailManager {
    type Result = ();
    fn handle(&mut self, given: GiveBack, _: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.returned.insert(given.file, given.opened);
    }
}

impl Handler<ChildStopped> for TailManager {
    type Result = ();
    fn handle(&mut self, child: ChildStopped, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.tails.remove(&child.id);
        if !child.orderly && !self.is_stopping() {
            slog_scope::error!("a tail has panicked and is started again"; "id" => child.id);
            self.restart(child.id, ctx);
        }
        self.answer_stopping(ctx);
    }
}

impl Handler<UseSink> for TailManager {
    type Result = ();
    fn handle(&mut self, UseSink(sink): UseSink, _: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.sink = sink;
        for id in self.tails.keys() {
            self.tell(*id, UseSink(self.sink.clone()));
        }
    }
}

impl Handler<UseEntryStore> for TailManager {
    type Result = ();
    fn handle(&mut self, UseEntryStore(store): UseEntryStore, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.entry_store = store;
        self.publish(ctx);
    }
}

impl Handler<ListTails> for TailManager {
    type Result = ResponseActFuture<Self, Vec<FileStatus>>;
    fn handle(&mut self, _: ListTails, _: &mut Self::Context) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let list = self.shared.journal.list.clone();
        let paths: HashMap<OriginId, PathBuf> =
            self.roster.iter().filter_map(|(id, known)| Some((id, known.path.as_deref()?.to_owned()))).collect();
        let future = async move {
            let records = list.send(ListFiles).await.unwrap_or_default();
            let job = move || records.iter().map(|record| status(record, paths.get(&record.id))).collect();
            tokio::task::spawn_blocking(job).await.unwrap_or_default()
        };
        Box::pin(future.into_actor(self))
    }
}

fn status(record: &FileRecord, path: Option<&PathBuf>) -> FileStatus {
    FileStatus {
        path: path.unwrap_or(&record.current_path).display().to_string(),
        topic: record.topic.clone(),
        file: record.file.to_string(),
        read: record.position,
        settled: record.settled,
        size: path.and_then(|path| std::fs::metadata(path).ok()).map(|meta| meta.len()),
    }
}

impl Handler<Shutdown> for TailManager {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let (done, wait) = oneshot::channel();
        self.stopping.push(done);
        for id in self.tails.keys() {
            self.tell(*id, Drain);
        }
        self.answer_stopping(ctx);
        Box::pin(async move {
            // The manager has gone without a word: then it has stopped, too.
            let _gone = wait.await;
        })
    }
}

impl Handler<Abandon> for TailManager {
    type Result = ();
    /// Stops without waiting, and its tails with it: the journal is a new one, from which the next manager begins.
    fn handle(&mut self, _: Abandon, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        ctx.stop();
    }
}

impl Handler<InjectPanic> for TailManager {
    type Result = ();
    fn handle(&mut self, _: InjectPanic, _: &mut Self::Context) {
        panic!("injected into the tail manager");
    }
}

impl Handler<InjectTailPanic> for TailManager {
    type Result = bool;
    fn handle(&mut self, InjectTailPanic(path): InjectTailPanic, _: &mut Self::Context) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let ids = self.roster.at(&path).to_vec();
        for id in &ids {
            self.tell(*id, InjectPanic);
        }
        !ids.is_empty()
    }
}
