//! The journal's actor. The problem: a range has to be in the journal before it is sent, at thousands a second, while
//! the disk is synced at its own pace. So appends are plain calls into the page cache, and syncs and snapshots run on
//! a blocking thread: within 100 ms of a change, together for all who wait for one. An idle journal does nothing.

mod trouble;

use crate::{
    flow::OriginId,
    journal::{Condition, FileRecord, Journal, JournalError, Opened, Settlement, SnapshotJob, SyncHandle},
    messages::{
        AppendRange, AwaitSettled, ChildStopped, FlushJournal, ForgetFile, InjectPanic, JournalMemory, ListFiles,
        LookUpFile, RecallJournal, RegisterFiles, RememberEntry, Settled, Shutdown, UpdateFile,
    },
    telemetry::{ActorStats, ByTopic, Mailbox},
};
use actix::prelude::*;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::oneshot, time::Instant};
use trouble::{Trouble, is_of_disk, same};

/// A change is on the disk after this time, and the time that a sync takes.
const TICK: Duration = Duration::from_millis(100);
/// How often files long gone are looked for.
const CLEANING: Duration = Duration::from_secs(3600);

/// Since start; shared with telemetry.
#[derive(Debug, Default)]
pub struct JournalCounters {
    /// Lines that arrived.
    pub delivered_lines: AtomicU64,
    /// Lines that went to the dead letters.
    pub dead_lines: AtomicU64,
    /// Lines that arrived, by topic.
    pub by_topic: ByTopic,
    /// Ranges that were journalled.
    pub ranges: AtomicU64,
    /// Bytes of the files that were journalled.
    pub range_bytes: AtomicU64,
    /// Settled messages for nothing that is pending: repeats, and files that are forgotten.
    pub unknown_settled: AtomicU64,
    /// Syncs to the disk.
    pub syncs: AtomicU64,
    /// Snapshots that took the segment's place.
    pub snapshots: AtomicU64,
    /// Writes, syncs and snapshots that failed.
    pub failures: AtomicU64,
    /// Files that the journal knows, now.
    pub files: AtomicU64,
    /// Ranges that are journalled and not settled, now.
    pub pending_ranges: AtomicU64,
    /// Bytes of the journal on the disk, now.
    pub journal_bytes: AtomicU64,
}

type SyncAnswer = oneshot::Sender<Result<(), JournalError>>;

/// Keeps the journal of one data folder.
#[derive(Debug)]
pub struct JournalActor {
    journal: Journal,
    /// Files gone and settled for this long are forgotten; zero keeps them for ever.
    forget_after: Duration,
    parent: Mailbox<ChildStopped>,
    stats: Arc<ActorStats>,
    counters: Arc<JournalCounters>,
    /// To be answered by the next sync that begins.
    unsynced: Vec<SyncAnswer>,
    /// By file: the `seq` up to which it has to be settled.
    unsettled: HashMap<OriginId, Vec<(u64, oneshot::Sender<()>)>>,
    tick_planned: bool,
    sync_runs: bool,
    snapshot_runs: bool,
    trouble: Trouble,
    orderly: bool,
}

/// Logs what opening a journal found: ERROR for everything that is lost.
pub fn log_opened(opened: &Opened) {
    for report in &opened.reports {
        let (path, offset, bytes) = (report.path.display(), report.offset, report.len);
        if report.damage.is_loss() {
            slog_scope::error!("the journal is damaged: {}", report.damage;
                "path" => %path, "offset" => offset, "bytes" => bytes);
        } else {
            slog_scope::warn!("the journal was not closed: {}", report.damage;
                "path" => %path, "offset" => offset, "bytes" => bytes);
        }
    }
    if opened.condition == Condition::Lost {
        slog_scope::error!("the journal is gone from the data folder: all positions are lost");
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn stopped_answer() -> JournalError {
    JournalError::Io { path: Default::default(), source: std::io::Error::other("the journal has stopped") }
}

impl JournalActor {
    /// `forget_after`: files that are gone and settled for this long are forgotten, zero keeps them for ever.
    pub fn new(
        journal: Journal,
        forget_after: Duration,
        parent: Mailbox<ChildStopped>,
        stats: Arc<ActorStats>,
        counters: Arc<JournalCounters>,
    ) -> Self {
        Self {
            journal,
            forget_after,
            parent,
            stats,
            counters,
            unsynced: Vec::new(),
            unsettled: HashMap::new(),
            tick_planned: false,
            sync_runs: false,
            snapshot_runs: false,
            trouble: Trouble::new(Instant::now()),
            orderly: false,
        }
    }

    fn gauge(&self) {
        self.counters.files.store(self.journal.files() as u64, Relaxed);
        self.counters.pending_ranges.store(self.journal.pending() as u64, Relaxed);
        self.counters.journal_bytes.store(self.journal.bytes(), Relaxed);
    }

    /// Something changed: it is written and synced with the next tick.
    fn changed(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.tick_planned, true) {
            ctx.run_later(TICK, Self::tick);
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.tick_planned = false;
        if !self.trouble.is_waiting() {
            self.flush();
            self.sync(ctx);
            self.snapshot(ctx);
        }
        self.gauge();
        // While a sync runs, its end plans the next tick.
        if self.journal.is_dirty() && !self.sync_runs {
            self.changed(ctx);
        }
    }

    fn flush_marks(&mut self) -> Result<(), JournalError> {
        match self.journal.flush() {
            // Nothing was written, so nothing is known of the disk.
            Ok(0) => Ok(()),
            flushed => {
                self.note(&flushed, "what is settled is not written down");
                flushed.map(drop)
            }
        }
    }

    /// Writes the marks, then answers who waits for them.
    fn flush(&mut self) -> bool {
        if let Err(failed) = self.flush_marks() {
            slog_scope::debug!("marks are written later"; "error" => %failed);
            return false;
        }
        let journal = &self.journal;
        self.unsettled.retain(|&id, waiting| {
            let settled = journal.progress(id).map_or(u64::MAX, |(_, settled)| settled);
            for (_, answer) in waiting.extract_if(.., |(seq, _)| *seq <= settled) {
                // Whoever doesn't wait any more needs no answer.
                let _gone = answer.send(());
            }
            !waiting.is_empty()
        });
        true
    }

    /// Begins a sync, unless one runs: its end begins the next where somebody waits.
    fn sync(&mut self, ctx: &mut Context<Self>) {
        let needed = self.journal.is_dirty() || !self.unsynced.is_empty();
        if self.sync_runs || !needed {
            return;
        }
        self.sync_runs = true;
        self.counters.syncs.fetch_add(1, Relaxed);
        let answers = std::mem::take(&mut self.unsynced);
        let handle = self.journal.sync_handle();
        let sync = tokio::task::spawn_blocking(|| SyncHandle::sync(handle));
        let ended = sync.into_actor(self).map(|ended, actor, ctx| {
            let ended = ended.unwrap_or_else(|e| Err(join_error(&e)));
            actor.sync_runs = false;
            actor.sync_ended(ended, answers);
            if !actor.unsynced.is_empty() {
                actor.sync(ctx);
            } else if actor.journal.is_dirty() {
                actor.changed(ctx);
            }
        });
        ctx.spawn(ended);
    }

    fn sync_ended(&mut self, ended: Result<crate::journal::Synced, JournalError>, mut answers: Vec<SyncAnswer>) {
        match ended {
            Ok(done) if self.journal.synced(done) => {
                answers.into_iter().for_each(|answer| _ = answer.send(Ok(())));
            }
            // A snapshot took over meanwhile; only when that is synced, too, the promise holds.
            Ok(_) => self.unsynced.append(&mut answers),
            Err(failed) => {
                self.journal.sync_failed();
                answers.into_iter().for_each(|answer| _ = answer.send(Err(same(&failed))));
                self.note::<()>(&Err(failed), "the journal is not synced");
            }
        }
    }

    /// Begins a snapshot where one is due.
    fn snapshot(&mut self, ctx: &mut Context<Self>) {
        if self.snapshot_runs || !self.journal.is_snapshot_due() {
            return;
        }
        let job = match self.journal.begin_snapshot() {
            Ok(job) => job,
            Err(failed) => return self.note::<()>(&Err(failed), "no snapshot was begun"),
        };
        self.snapshot_runs = true;
        let write = tokio::task::spawn_blocking(|| SnapshotJob::write(job));
        let ended = write.into_actor(self).map(|ended, actor, ctx| {
            actor.snapshot_runs = false;
            let written = ended.unwrap_or_else(|e| Err(join_error(&e)));
            let done = written.and_then(|written| actor.journal.finish_snapshot(written));
            if done.is_err() {
                actor.journal.give_up_snapshot();
            } else {
                actor.counters.snapshots.fetch_add(1, Relaxed);
                slog_scope::debug!("the journal begins a new segment"; "bytes" => actor.journal.bytes());
            }
            actor.note(&done, "the journal's snapshot failed; its segment grows on");
            actor.sync(ctx);
            actor.changed(ctx);
        });
        ctx.spawn(ended);
    }

    /// Takes note of a write: of a failure that is the disk's, or that there is none any more.
    fn note<T>(&mut self, outcome: &Result<T, JournalError>, what: &str) {
        match outcome {
            Ok(_) => self.trouble.worked(),
            Err(failed) if is_of_disk(failed) => {
                self.counters.failures.fetch_add(1, Relaxed);
                self.trouble.failed(failed, what);
            }
            Err(_) => {}
        }
    }

    /// What a caller asked for, noted and to be synced.
    fn done<T>(&mut self, outcome: &Result<T, JournalError>, what: &str, ctx: &mut Context<Self>) {
        self.note(outcome, what);
        if outcome.is_ok() {
            self.changed(ctx);
        }
    }

    fn wait_for_sync(&mut self, ctx: &mut Context<Self>) -> oneshot::Receiver<Result<(), JournalError>> {
        let (answer, synced) = oneshot::channel();
        self.unsynced.push(answer);
        self.sync(ctx);
        synced
    }

    fn clean(&mut self, ctx: &mut Context<Self>) {
        match self.journal.forget_gone(now_ms(), self.forget_after.as_millis() as u64) {
            Ok(gone) => {
                for path in &gone {
                    slog_scope::info!("a file that is gone and settled is forgotten"; "path" => %path.display());
                }
                if !gone.is_empty() {
                    self.changed(ctx);
                }
            }
            Err(failed) => self.note::<()>(&Err(failed), "files long gone are not forgotten yet"),
        }
    }
}

fn join_error(error: &tokio::task::JoinError) -> JournalError {
    JournalError::Io { path: Default::default(), source: std::io::Error::other(error.to_string()) }
}

impl Actor for JournalActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.stats.capacity() as usize);
        self.gauge();
        self.changed(ctx);
        if !self.forget_after.is_zero() {
            ctx.run_interval(CLEANING, Self::clean);
        }
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        // Before the parent hears of it and opens the next one.
        self.journal.release();
        self.parent.tell(ChildStopped { kind: self.stats.kind(), id: 0, orderly: self.orderly });
    }
}

impl Handler<RegisterFiles> for JournalActor {
    type Result = ResponseActFuture<Self, Result<Vec<FileRecord>, JournalError>>;

    fn handle(&mut self, RegisterFiles(files): RegisterFiles, ctx: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let registered = self.journal.register(files, now_ms());
        self.done(&registered, "files are not registered", ctx);
        let records = match registered {
            Ok(records) => records,
            Err(failed) => return Box::pin(std::future::ready(Err(failed)).into_actor(self)),
        };
        let synced = self.wait_for_sync(ctx);
        Box::pin(synced.into_actor(self).map(|synced, actor, _| {
            let synced = synced.unwrap_or_else(|_| Err(stopped_answer()));
            if synced.is_err() {
                // The asker registers them again. Where this isn't written either, they stay, and nothing is in them.
                for record in &records {
                    let forgotten = actor.journal.forget(record.id);
                    actor.note(&forgotten, "files that are not registered are not forgotten");
                }
            }
            synced.map(|()| records)
        }))
    }
}

impl Handler<AppendRange> for JournalActor {
    type Result = MessageResult<AppendRange>;

    fn handle(&mut self, AppendRange { file, range }: AppendRange, ctx: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let appended = self.journal.append(file, range);
        self.done(&appended, "ranges are not journalled, so nothing more is read", ctx);
        if appended.is_ok() {
            self.counters.ranges.fetch_add(1, Relaxed);
            self.counters.range_bytes.fetch_add(range.end - range.begin, Relaxed);
        }
        MessageResult(appended)
    }
}

impl Handler<Settled> for JournalActor {
    type Result = ();

    fn handle(&mut self, settled: Settled, ctx: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let outcome = self.journal.settle(settled.origin, settled.seq);
        if outcome == Settlement::Unknown {
            self.counters.unknown_settled.fetch_add(1, Relaxed);
            return;
        }
        crate::crash::point("settled");
        self.counters.delivered_lines.fetch_add(u64::from(settled.delivered), Relaxed);
        self.counters.dead_lines.fetch_add(u64::from(settled.dead), Relaxed);
        if let Some(topic) = self.journal.topic(settled.origin) {
            self.counters.by_topic.add(topic, u64::from(settled.delivered));
        }
        if outcome == Settlement::Moved {
            self.changed(ctx);
            let progress = self.journal.progress(settled.origin).map_or(u64::MAX, |(_, settled)| settled);
            let waiting = self.unsettled.get(&settled.origin);
            if waiting.is_some_and(|waiting| waiting.iter().any(|(seq, _)| *seq <= progress)) {
                self.flush();
            }
        }
    }
}

impl Handler<LookUpFile> for JournalActor {
    type Result = MessageResult<LookUpFile>;

    fn handle(&mut self, LookUpFile(id): LookUpFile, _: &mut Context<Self>) -> Self::Result {
        let _handling = self.stats.handling();
        MessageResult(self.journal.look_up(id))
    }
}

impl Handler<ListFiles> for JournalActor {
    type Result = MessageResult<ListFiles>;

    fn handle(&mut self, _: ListFiles, _: &mut Context<Self>) -> Self::Result {
        let _handling = self.stats.handling();
        MessageResult(self.journal.list())
    }
}

impl Handler<AwaitSettled> for JournalActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, AwaitSettled(id): AwaitSettled, ctx: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let ready = || Box::pin(std::future::ready(()).into_actor(self)) as Self::Result;
        let Some((last, settled)) = self.journal.progress(id) else { return ready() };
        if settled >= last && !self.journal.is_file_dirty(id) {
            return ready();
        }
        let (answer, done) = oneshot::channel();
        self.unsettled.entry(id).or_default().push((last, answer));
        if settled >= last && !self.flush() {
            self.changed(ctx);
        }
        let answered = async {
            if done.await.is_err() {
                // The journal stops without knowing; the asker hears that its question is lost, not that all is well.
                std::future::pending::<()>().await;
            }
        };
        Box::pin(answered.into_actor(self))
    }
}

impl Handler<UpdateFile> for JournalActor {
    type Result = MessageResult<UpdateFile>;

    fn handle(&mut self, UpdateFile { file, path, head }: UpdateFile, ctx: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let updated = self.journal.update(file, path, head);
        self.done(&updated, "a file's new name or head is not written down", ctx);
        MessageResult(updated)
    }
}

impl Handler<ForgetFile> for JournalActor {
    type Result = MessageResult<ForgetFile>;

    fn handle(&mut self, ForgetFile(id): ForgetFile, ctx: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let forgotten = self.journal.forget(id);
        self.done(&forgotten, "a file is not forgotten yet", ctx);
        if forgotten.is_ok() {
            // Nothing of it is pending any more.
            self.unsettled.remove(&id).into_iter().flatten().for_each(|(_, answer)| _ = answer.send(()));
        }
        MessageResult(forgotten)
    }
}

impl Handler<RememberEntry> for JournalActor {
    type Result = MessageResult<RememberEntry>;

    fn handle(&mut self, RememberEntry(key): RememberEntry, ctx: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let remembered = self.journal.remember_entry(key);
        if !matches!(remembered, Ok(false)) {
            self.done(&remembered, "an entry is not remembered", ctx);
        }
        MessageResult(remembered)
    }
}

impl Handler<FlushJournal> for JournalActor {
    type Result = ResponseActFuture<Self, Result<(), JournalError>>;

    fn handle(&mut self, _: FlushJournal, ctx: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        if let Err(failed) = self.flush_marks() {
            return Box::pin(std::future::ready(Err(failed)).into_actor(self));
        }
        let synced = self.wait_for_sync(ctx);
        Box::pin(async { synced.await.unwrap_or_else(|_| Err(stopped_answer())) }.into_actor(self))
    }
}

impl Handler<RecallJournal> for JournalActor {
    type Result = ResponseActFuture<Self, Result<JournalMemory, JournalError>>;

    fn handle(&mut self, _: RecallJournal, ctx: &mut Context<Self>) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        // Before the files are listed: what they say is settled is written.
        let memory = self.flush_marks().map(|()| {
            let ranges = self.journal.history().unwrap_or_else(|error| {
                slog_scope::warn!("the journal doesn't tell when lines were read"; "reason" => %error);
                Vec::new()
            });
            JournalMemory { files: self.journal.list(), ranges }
        });
        let memory = match memory {
            Ok(memory) => memory,
            Err(failed) => return Box::pin(std::future::ready(Err(failed)).into_actor(self)),
        };
        let synced = self.wait_for_sync(ctx);
        Box::pin(async { synced.await.unwrap_or_else(|_| Err(stopped_answer())).map(|()| memory) }.into_actor(self))
    }
}

impl Handler<Shutdown> for JournalActor {
    type Result = ();

    /// Blocks: whoever else is on this thread has stopped before.
    fn handle(&mut self, _: Shutdown, ctx: &mut Context<Self>) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.flush();
        if let Err(failed) = self.journal.close() {
            slog_scope::error!("the journal is not closed in order; what is not written down is sent again";
                "error" => %failed);
        }
        self.gauge();
        self.orderly = true;
        ctx.stop();
    }
}

impl Handler<InjectPanic> for JournalActor {
    type Result = ();

    fn handle(&mut self, _: InjectPanic, _: &mut Context<Self>) {
        let _handling = self.stats.handling();
        panic!("injected panic in the journal");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow::PartitionRule,
        journal::{Fingerprint, JournalOptions, NewFile, Range, RangeEnd},
    };
    use std::sync::Mutex;
    use tempfile::TempDir;

    /// The parent of the journal.
    #[derive(Default)]
    struct Parent(Arc<Mutex<Vec<ChildStopped>>>, Option<oneshot::Sender<()>>);

    impl Actor for Parent {
        type Context = Context<Self>;
    }

    impl Handler<ChildStopped> for Parent {
        type Result = ();
        fn handle(&mut self, stopped: ChildStopped, _: &mut Context<Self>) {
            self.0.lock().unwrap().push(stopped);
            self.1.take().map(|waiting| waiting.send(()));
        }
    }

    /// Gives the disk room for so many bytes more.
    #[derive(Message)]
    #[rtype(result = "()")]
    struct Room(Option<u64>);

    impl Handler<Room> for JournalActor {
        type Result = ();
        fn handle(&mut self, Room(more): Room, _: &mut Context<Self>) {
            let room = more.map(|more| self.journal.bytes() + more);
            self.journal.set_room(room);
        }
    }

    struct Bench {
        dir: TempDir,
        journal: Addr<JournalActor>,
        counters: Arc<JournalCounters>,
        stopped: Arc<Mutex<Vec<ChildStopped>>>,
        has_stopped: oneshot::Receiver<()>,
    }

    fn bench_with(dir: TempDir, options: JournalOptions) -> Bench {
        crate::telemetry::init_for_tests();
        let (journal, opened) = Journal::open(dir.path(), options).unwrap();
        log_opened(&opened);
        let (tell, has_stopped) = oneshot::channel();
        let stopped = Arc::new(Mutex::new(Vec::new()));
        let parent = Parent(stopped.clone(), Some(tell)).start();
        let parent = Mailbox::new(parent.recipient(), ActorStats::new("parent", 16));
        let counters = Arc::new(JournalCounters::default());
        let stats = ActorStats::new("journal", 16);
        let journal = JournalActor::new(journal, Duration::ZERO, parent, stats, counters.clone()).start();
        Bench { dir, journal, counters, stopped, has_stopped }
    }

    fn bench() -> Bench {
        bench_with(TempDir::new().unwrap(), JournalOptions::default())
    }

    impl Bench {
        async fn register(&self) -> FileRecord {
            let path = "/var/log/app.log".into();
            let new = NewFile { path, topic: "t".into(), dev: 1, ino: 2, head: Fingerprint::default(), start: 0 };
            self.journal.send(RegisterFiles(vec![new])).await.unwrap().unwrap().remove(0)
        }

        async fn append(&self, file: OriginId, begin: u64) -> Result<u64, JournalError> {
            let range = Range {
                begin,
                end: begin + 10,
                read_ms: 1,
                parts_before: 0,
                ends_with: RangeEnd::Line,
                parts_after: 0,
                max_line_bytes: 512 * 1024,
                entry: None,
                partition: PartitionRule::File,
                back: Fingerprint::default(),
            };
            self.journal.send(AppendRange { file, range }).await.unwrap()
        }

        async fn settle(&self, origin: OriginId, seq: u64) {
            self.journal.send(Settled { origin, seq, delivered: 3, dead: 1 }).await.unwrap();
        }

        fn on_disk(&self) -> Vec<FileRecord> {
            Journal::inspect(self.dir.path()).unwrap().files
        }
    }

    #[actix_rt::test]
    async fn a_file_is_registered_with_a_sync_and_then_takes_ranges() {
        let bench = bench();
        let file = bench.register().await;
        assert!(bench.counters.syncs.load(Relaxed) > 0);
        assert_eq!(bench.append(file.id, 0).await.unwrap(), 1);
        assert_eq!(bench.append(file.id, 10).await.unwrap(), 2);
        let known = bench.journal.send(LookUpFile(file.id)).await.unwrap().unwrap();
        assert_eq!((known.position, known.pending.len()), (20, 2));
        assert_eq!(bench.on_disk(), bench.journal.send(ListFiles).await.unwrap());
        assert!(matches!(bench.append(file.id + 1, 0).await, Err(JournalError::UnknownFile(_))));
        assert!(bench.journal.send(LookUpFile(file.id + 1)).await.unwrap().is_none());
    }

    #[actix_rt::test]
    async fn what_is_recalled_for_a_rebuild_is_on_the_disk() {
        tokio::time::pause();
        let bench = bench();
        let file = bench.register().await;
        for (begin, seq) in [(0, 1), (10, 2)] {
            bench.append(file.id, begin).await.unwrap();
            bench.settle(file.id, seq).await;
        }
        let memory = bench.journal.send(RecallJournal).await.unwrap().unwrap();
        assert_eq!((memory.files[0].settled, bench.on_disk()), (20, memory.files));
        assert_eq!(
            memory.ranges.iter().map(|(of, range)| (*of, range.begin)).collect::<Vec<_>>(),
            [(file.file, 0), (file.file, 10)]
        );
    }

    #[actix_rt::test]
    async fn many_who_register_at_once_share_syncs() {
        let bench = bench();
        let all = futures_util::future::join_all((0..50).map(|_| bench.register())).await;
        let ids: std::collections::HashSet<_> = all.iter().map(|one| one.file).collect();
        assert_eq!(ids.len(), 50);
        assert!(bench.counters.syncs.load(Relaxed) < 50, "{:?}", bench.counters);
    }

    #[actix_rt::test]
    async fn settled_marks_are_on_the_disk_after_a_tick() {
        tokio::time::pause();
        let bench = bench();
        let file = bench.register().await;
        bench.append(file.id, 0).await.unwrap();
        bench.settle(file.id, 1).await;
        bench.settle(file.id, 1).await;
        assert_eq!(bench.on_disk()[0].settled, 0, "marks are written lazily");
        tokio::time::sleep(TICK * 2).await;
        assert_eq!(bench.on_disk()[0].settled, 10);
        let counted = |counter: &AtomicU64| counter.load(Relaxed);
        let counters = &bench.counters;
        assert_eq!((counted(&counters.delivered_lines), counted(&counters.dead_lines)), (3, 1));
        assert_eq!((counted(&counters.unknown_settled), counted(&counters.pending_ranges)), (1, 0));
    }

    #[actix_rt::test]
    async fn an_idle_journal_does_nothing() {
        tokio::time::pause();
        let bench = bench();
        let file = bench.register().await;
        bench.append(file.id, 0).await.unwrap();
        tokio::time::sleep(TICK * 5).await;
        let before = bench.counters.syncs.load(Relaxed);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(bench.counters.syncs.load(Relaxed), before);
    }

    #[actix_rt::test]
    async fn await_settled_waits_for_every_range_before_it_and_for_the_mark() {
        tokio::time::pause();
        let bench = bench();
        let file = bench.register().await;
        bench.journal.send(AwaitSettled(file.id)).await.unwrap();
        bench.journal.send(AwaitSettled(file.id + 1)).await.unwrap();
        for begin in [0, 10, 20] {
            bench.append(file.id, begin).await.unwrap();
        }
        let mut waiting = Box::pin(bench.journal.send(AwaitSettled(file.id)));
        bench.append(file.id, 30).await.unwrap();
        for seq in [3, 1] {
            bench.settle(file.id, seq).await;
            let wait = tokio::time::timeout(TICK * 3, &mut waiting).await;
            assert!(wait.is_err(), "answered after {seq}");
        }
        bench.settle(file.id, 2).await;
        waiting.await.unwrap();
        assert_eq!(bench.on_disk()[0].settled, 30, "the fourth range came after the question");
    }

    #[actix_rt::test]
    async fn a_full_disk_is_the_askers_error_until_there_is_room() {
        tokio::time::pause();
        let bench = bench();
        let file = bench.register().await;
        bench.append(file.id, 0).await.unwrap();
        bench.journal.send(Room(Some(5))).await.unwrap();
        assert!(matches!(bench.append(file.id, 10).await, Err(JournalError::Full { .. })));
        bench.settle(file.id, 1).await;
        let mut waiting = Box::pin(bench.journal.send(AwaitSettled(file.id)));
        let wait = tokio::time::timeout(Duration::from_secs(100), &mut waiting).await;
        assert!(wait.is_err(), "the mark can't be written");
        assert!(bench.counters.failures.load(Relaxed) < 50, "it is tried with a backoff: {:?}", bench.counters);
        assert!(matches!(bench.journal.send(FlushJournal).await.unwrap(), Err(JournalError::Full { .. })));
        bench.journal.send(Room(None)).await.unwrap();
        assert_eq!(bench.append(file.id, 10).await.unwrap(), 2);
        waiting.await.unwrap();
        assert_eq!(bench.on_disk()[0].settled, 10);
        bench.journal.send(FlushJournal).await.unwrap().unwrap();
    }

    #[actix_rt::test]
    async fn snapshots_are_made_while_ranges_come() {
        let dir = TempDir::new().unwrap();
        let bench = bench_with(dir, JournalOptions { snapshot_bytes: 2000 });
        let file = bench.register().await;
        let mut ranges = 0;
        while bench.counters.snapshots.load(Relaxed) < 3 {
            let seq = bench.append(file.id, ranges * 10).await.unwrap();
            ranges += 1;
            assert!(ranges < 2_000_000, "no snapshot comes");
            if seq > 20 {
                bench.settle(file.id, seq - 20).await;
            }
        }
        bench.journal.send(FlushJournal).await.unwrap().unwrap();
        let known = bench.journal.send(ListFiles).await.unwrap();
        assert_eq!((known[0].position, known[0].settled), (ranges * 10, (ranges - 20) * 10));
        assert_eq!(bench.on_disk(), known);
    }

    #[actix_rt::test]
    async fn an_orderly_stop_writes_everything_down() {
        let bench = bench();
        let file = bench.register().await;
        bench.append(file.id, 0).await.unwrap();
        assert!(bench.journal.send(RememberEntry("entry".into())).await.unwrap().unwrap());
        assert!(!bench.journal.send(RememberEntry("entry".into())).await.unwrap().unwrap());
        let update = UpdateFile { file: file.id, path: Some("/moved".into()), head: None };
        bench.journal.send(update).await.unwrap().unwrap();
        bench.settle(file.id, 1).await;
        bench.journal.send(Shutdown).await.unwrap();
        bench.has_stopped.await.unwrap();
        assert!(bench.stopped.lock().unwrap()[0].orderly);
        let (journal, opened) = Journal::open(bench.dir.path(), JournalOptions::default()).unwrap();
        assert_eq!(opened.condition, Condition::Clean);
        let known = journal.look_up(file.id).unwrap();
        assert_eq!((known.settled, known.current_path), (10, "/moved".into()));
    }

    #[actix_rt::test]
    async fn after_a_panic_the_next_journal_opens_at_once_and_nothing_is_called_settled() {
        let bench = bench();
        let file = bench.register().await;
        bench.append(file.id, 0).await.unwrap();
        let waiting = bench.journal.send(AwaitSettled(file.id));
        let (waited, panicked) = tokio::join!(waiting, bench.journal.send(InjectPanic));
        assert!(waited.is_err() && panicked.is_err());
        bench.has_stopped.await.unwrap();
        assert!(!bench.stopped.lock().unwrap()[0].orderly);
        let next = bench_with(bench.dir, JournalOptions::default());
        let known = next.journal.send(LookUpFile(file.id)).await.unwrap().unwrap();
        assert_eq!((known.file, known.pending.len()), (file.file, 1));
        next.settle(file.id, 1).await;
        next.journal.send(AwaitSettled(file.id)).await.unwrap();
    }

    #[actix_rt::test]
    async fn a_forgotten_file_is_waited_for_no_longer() {
        let bench = bench();
        let file = bench.register().await;
        bench.append(file.id, 0).await.unwrap();
        let waiting = bench.journal.send(AwaitSettled(file.id));
        let (waited, forgotten) = tokio::join!(waiting, bench.journal.send(ForgetFile(file.id)));
        waited.unwrap();
        forgotten.unwrap().unwrap();
        assert!(bench.journal.send(ListFiles).await.unwrap().is_empty());
        assert!(bench.journal.send(ForgetFile(file.id)).await.unwrap().is_err());
    }
}
