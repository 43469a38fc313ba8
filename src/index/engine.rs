//! Takes batches and settles them when they are committed. The problem: index and journal must agree after a SIGKILL at
//! any instruction, and a batch may come twice. So a commit is: the journal is on the disk with the ranges of this commit
//! and the marks of the last one; the documents are committed together with how far they go in each file; then the
//! batches are settled. A batch that is not above what was committed of its file is settled at once.
//!
//! Runs on a thread of its own: adding and committing block.

mod settings;
mod upkeep;

pub use settings::EngineSettings;

use super::{
    Committed, Day, DayWriter, IndexError, IndexSet, Lines, LiveFeed, counters::IndexCounters, damage::EngineAtWork,
};
use crate::{
    collection::Delivery,
    crash,
    document::FileDocuments,
    flow::{EntryId, FileId, FileOrigin, Origin, OriginId},
    messages::{LineBatch, Settled},
    telemetry::Mailbox,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

/// What the engine asks others for.
pub struct EngineNeighbours {
    /// Writes the journal to the disk, and answers when that is done.
    pub flush_journal: Box<dyn Fn() -> Result<(), String> + Send>,
    /// The delivery fields of an ENTRY.
    pub delivery: Box<dyn Fn(EntryId) -> Option<Arc<Delivery>> + Send>,
    /// Set when the engine's end is wanted before its work is done.
    pub given_up: Arc<AtomicBool>,
    /// Set when its end is wanted with its work done, as far as that can be done at once.
    pub finishing: Arc<AtomicBool>,
}

/// What the engine is told.
#[derive(Debug)]
pub enum Work {
    Batch(Box<LineBatch>),
    /// Commit what there is, and end.
    Finish,
}

/// An open writer looks this often whether its day is still sound.
const LOOK_AT_DAMAGE: Duration = Duration::from_secs(1);
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);
/// Files whose documents' common parts are kept ready.
const KEPT_FILES: usize = 4096;

/// What the lines of one file have in common, on one day.
struct FileState {
    origin: Arc<FileOrigin>,
    day: Day,
    documents: FileDocuments,
    shared: Arc<[(Box<str>, Box<str>)]>,
}

/// See the module.
pub struct Engine {
    at_work: EngineAtWork,
    set: IndexSet,
    settings: EngineSettings,
    neighbours: EngineNeighbours,
    feed: LiveFeed,
    counters: Arc<IndexCounters>,
    committed: Committed,
    writer: Option<DayWriter>,
    files: HashMap<OriginId, FileState>,
    /// Added since the last commit: the last `seq` of each file, and what to tell whom.
    added: HashMap<FileId, u64>,
    unsettled: Vec<(Settled, Mailbox<Settled>)>,
    /// When the first of them was added.
    since: Option<Instant>,
    last_commit: Option<Instant>,
    /// From the last commit to the next, at least.
    pause: Duration,
    /// When nothing had come for a while: the time, and the day's size in bytes.
    resting: Option<(Instant, u64)>,
    cleaned: Option<Instant>,
}

impl Engine {
    /// `unsettled`: the files of which the journal had batches that aren't settled when this process began; `None`:
    /// it isn't known, so any may be.
    ///
    /// # Errors
    /// The payload of a day's last commit can't be read, or is of a newer version.
    pub fn new(
        set: IndexSet,
        settings: EngineSettings,
        neighbours: EngineNeighbours,
        feed: LiveFeed,
        counters: Arc<IndexCounters>,
        unsettled: Option<HashSet<FileId>>,
    ) -> Result<Self, IndexError> {
        let at_work = set.begin_engine();
        let mut committed = set.committed()?;
        if let Some(unsettled) = unsettled {
            committed.keep_owed(|file| unsettled.contains(&file));
        }
        Ok(Self {
            at_work,
            set,
            settings,
            neighbours,
            feed,
            counters,
            committed,
            writer: None,
            files: HashMap::new(),
            added: HashMap::new(),
            unsettled: Vec::new(),
            since: None,
            last_commit: None,
            pause: Duration::ZERO,
            resting: None,
            cleaned: None,
        })
    }

    /// Works until it is told to finish, or nobody can tell it anything any more.
    ///
    /// # Errors
    /// The index can't be written, or the engine was given up. What isn't settled has to be sent again, to another one.
    pub fn run(mut self, work: &Receiver<Work>) -> Result<(), IndexError> {
        loop {
            self.clean();
            match work.recv_timeout(self.patience()) {
                Ok(Work::Batch(batch)) => self.take(*batch)?,
                Ok(Work::Finish) => return self.commit(),
                Err(RecvTimeoutError::Timeout) => self.end_idle_writer(),
                Err(RecvTimeoutError::Disconnected) => return Err(IndexError::GivenUp),
            }
            self.go_on()?;
            if self.due().is_some_and(|due| Instant::now() >= due) {
                self.commit()?;
            }
        }
    }

    /// Unless its end is wanted, or somebody has found a day to be damaged: what that had committed is known here, and
    /// would be called settled when it comes again.
    fn go_on(&self) -> Result<(), IndexError> {
        match self.at_work.outdated_by() {
            Some(day) => Err(IndexError::Mending(day)),
            None if self.neighbours.given_up.load(Relaxed) => Err(IndexError::GivenUp),
            None => Ok(()),
        }
    }

    /// How long nothing is to be done if nothing comes.
    fn patience(&self) -> Duration {
        let due = self.due().or_else(|| self.idle_since().map(|since| since + self.settings.idle));
        let patience = due.map_or(RETENTION_INTERVAL, |due| due.saturating_duration_since(Instant::now()));
        // Whoever mends a day waits for this one's end.
        patience.min(LOOK_AT_DAMAGE)
    }

    /// Since when a writer has waited for more, or when it was last seen to be busy with merges.
    fn idle_since(&self) -> Option<Instant> {
        let committed = self.last_commit.filter(|_| self.writer.is_some() && self.since.is_none())?;
        Some(self.resting.map_or(committed, |(at, _)| committed.max(at)))
    }

    /// A writer for which nothing comes ends, unless its merges go on: the next line would wait for them. They write, so
    /// the day's size tells.
    fn end_idle_writer(&mut self) {
        if self.idle_since().is_none_or(|since| since.elapsed() < self.settings.idle) {
            return;
        }
        let Some(day) = self.writer.as_ref().map(DayWriter::day) else { return };
        let bytes = self.set.folder().bytes(day);
        if self.resting.is_none_or(|(_, before)| before != bytes) {
            self.resting = Some((Instant::now(), bytes));
        } else if let Some(writer) = self.writer.take() {
            slog_scope::debug!("nothing more comes, the index' writer ends"; "day" => %day);
            self.files.clear();
            self.resting = None;
            self.set.finish(writer);
        }
    }

    /// When the next commit is to be.
    fn due(&self) -> Option<Instant> {
        let soon = self.since? + self.settings.soon;
        Some(self.last_commit.map_or(soon, |last| soon.max(last + self.pause)))
    }

    fn take(&mut self, batch: LineBatch) -> Result<(), IndexError> {
        let Origin::File(origin) = batch.origin.clone() else {
            // Nothing here consumes from Kafka: it is a mistake of the program, and the batch stays unsettled.
            slog_scope::error!("a batch of no file came to the index, it is not taken");
            return Ok(());
        };
        let settled = batch.settled(0);
        if batch.lines.is_empty() || self.committed.contains(origin.file, batch.seq, Instant::now()) {
            self.counters.add(|c| &c.repeated_batches, u64::from(!batch.lines.is_empty()));
            batch.settle_to.tell(settled);
            return Ok(());
        }
        if self.added.get(&origin.file).is_some_and(|&last| batch.seq <= last) {
            self.comes_again(&settled, batch.settle_to);
            return Ok(());
        }
        let (day, settle_to, bytes) = (Day::of_ms(batch.read_ms), batch.settle_to.clone(), batch.data.len() as u64);
        self.use_day(day)?;
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let state = self.file(&origin, &mut writer);
        let lines = Lines::new(batch, origin.file, &mut state.documents, state.shared.clone());
        self.feed.publish(lines.json(), lines.ends());
        self.counters.add(|c| &c.lines, lines.len() as u64);
        self.counters.add(|c| &c.bytes, bytes);
        writer.add(lines)?;
        self.writer = Some(writer);
        self.added.insert(origin.file, settled.seq);
        self.since.get_or_insert_with(Instant::now);
        if crash::mutation("settle_before_commit") {
            settle_to.tell(settled);
        } else {
            self.unsettled.push((settled, settle_to));
        }
        self.counters.set(|c| &c.unsettled_batches, self.unsettled.len() as u64);
        Ok(())
    }

    /// A batch that waits for its commit was sent again, by a tail or a journal that was restarted: the commit settles it
    /// once, and tells the one who sent it last.
    fn comes_again(&mut self, settled: &Settled, settle_to: Mailbox<Settled>) {
        self.counters.add(|c| &c.repeated_batches, 1);
        let is_it = |known: &&mut (Settled, _)| (known.0.origin, known.0.seq) == (settled.origin, settled.seq);
        if let Some(known) = self.unsettled.iter_mut().find(is_it) {
            known.1 = settle_to;
        }
    }

    /// Opens the day for writing. Only one has documents that aren't committed: so the journal and the payloads of all
    /// days together always tell the same.
    fn use_day(&mut self, day: Day) -> Result<(), IndexError> {
        if self.writer.as_ref().is_some_and(|writer| writer.day() == day) {
            return Ok(());
        }
        self.commit()?;
        if let Some(before) = self.writer.take() {
            slog_scope::info!("another day begins in the index"; "day" => %day, "before" => %before.day());
            self.set.finish(before);
        }
        crash::point("index_day_change");
        self.await_room()?;
        self.await_mended(day)?;
        self.writer = Some(DayWriter::open(&self.set, day, self.settings.memory)?);
        Ok(())
    }

    /// What the lines of this file have in common.
    fn file(&mut self, origin: &Arc<FileOrigin>, writer: &mut DayWriter) -> &mut FileState {
        if self.files.len() >= KEPT_FILES {
            self.files.clear();
        }
        let known = |state: &FileState| {
            state.day == writer.day() && (Arc::ptr_eq(&state.origin, origin) || state.origin == *origin)
        };
        let state = match self.files.remove(&origin.id).filter(known) {
            Some(state) => state,
            None => self.new_file(origin, writer),
        };
        self.files.entry(origin.id).insert_entry(state).into_mut()
    }

    fn new_file(&self, origin: &Arc<FileOrigin>, writer: &mut DayWriter) -> FileState {
        let delivery = origin.entry.and_then(|entry| (self.neighbours.delivery)(entry));
        if delivery.is_none()
            && let Some(entry) = origin.entry
        {
            slog_scope::warn!("the text of an entry is gone, its lines have no labels"; "entry" => %entry);
        }
        let documents = FileDocuments::new(origin, delivery.as_deref());
        let (day, limit) = (writer.day(), writer.limit());
        let before = limit.left_out();
        let shared = documents.fields().iter().filter(|(name, _)| limit.admits(name)).cloned().collect();
        if before == 0 && limit.left_out() > 0 {
            slog_scope::warn!("too many different fields: further ones are not indexed today, the documents are whole";
                "day" => %day, "path" => %String::from_utf8_lossy(&origin.path));
        }
        self.counters.set(|c| &c.left_out_fields, limit.left_out());
        FileState { origin: origin.clone(), day, documents, shared }
    }

    fn commit(&mut self) -> Result<(), IndexError> {
        if self.added.is_empty() {
            return Ok(());
        }
        self.await_room()?;
        let begun = Instant::now();
        self.await_journal()?;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.commit(&self.committed.payload(&self.added, begun))?;
        let now = Instant::now();
        self.committed.add(&self.added, now);
        self.counters.add(|c| &c.commits, 1);
        let lines: u64 = self.unsettled.iter().map(|(settled, _)| u64::from(settled.delivered)).sum();
        self.counters.add(|c| &c.committed_lines, lines);
        let (day, batches, ms) = (writer.day(), self.unsettled.len(), now.duration_since(begun).as_millis() as u64);
        slog_scope::debug!("committed"; "day" => %day, "batches" => batches, "lines" => lines, "ms" => ms);
        self.counters.add(|c| &c.commit_ms, ms);
        for (settled, settle_to) in self.unsettled.drain(..) {
            settle_to.tell(settled);
        }
        crash::point("index_settled");
        self.added.clear();
        (self.since, self.last_commit) = (None, Some(now));
        self.pause = self.settings.pause_after(now.duration_since(begun));
        self.counters.set(|c| &c.unsettled_batches, 0);
        Ok(())
    }
}
