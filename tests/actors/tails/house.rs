//! Real files in a temporary folder, a real journal, and a collector where Kafka would be.

use actix::prelude::*;
use logweir::{
    actors::{
        journal::{JournalActor, JournalCounters},
        tail_manager::{JournalMailboxes, LeftOpen, TailCounters, TailManager, TailSettings, TailSetup},
    },
    collection::{CollectionDiff, Entry, EntryKey, Start},
    flow::{ChunkPool, Credits, EntryId, FileId, Origin, PartitionRule},
    journal::{Journal, JournalError, JournalOptions},
    messages::{
        AppendRange, ApplyDiff, ChildStopped, EntryStoreError, FileStatus, InjectPanic, LineBatch, ListTails, Part,
        PublishEntry, Shutdown, UseSink,
    },
    telemetry::{ActorStats, Mailbox},
};
use std::{
    collections::{BTreeMap, HashSet},
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// One line as it came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub file: FileId,
    pub path: String,
    pub topic: String,
    pub offset: u64,
    pub read_ms: u64,
    pub entry: Option<EntryId>,
    pub partition: PartitionRule,
    pub part: Part,
    pub text: Vec<u8>,
}

/// Boundaries of a batch, and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub file: FileId,
    pub seq: u64,
    pub begin: u64,
    pub end: u64,
    pub read_ms: u64,
}

#[derive(Debug, Default)]
pub struct Sink {
    pub lines: Vec<Got>,
    pub sent: Vec<Sent>,
    /// Not settled.
    pub held: Vec<LineBatch>,
    pub withhold_all: bool,
    pub withhold: HashSet<String>,
    pub published: Vec<EntryId>,
    /// So many publications are refused first.
    pub refuse_publications: usize,
    pub stopped: Vec<ChildStopped>,
}

impl Sink {
    pub fn texts(&self) -> Vec<String> {
        self.lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    pub fn texts_of(&self, topic: &str) -> Vec<String> {
        let of = self.lines.iter().filter(|line| line.topic == topic);
        of.map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    /// Lines by their identity: repeats fall together.
    pub fn index(&self) -> BTreeMap<(FileId, u64), String> {
        let key = |line: &Got| ((line.file, line.offset), String::from_utf8_lossy(&line.text).into_owned());
        self.lines.iter().map(key).collect()
    }

    /// Texts of the index, each as often as it has identities, sorted.
    pub fn indexed_texts(&self) -> Vec<String> {
        let mut texts: Vec<_> = self.index().into_values().collect();
        texts.sort();
        texts
    }
}

pub type Shared = Arc<Mutex<Sink>>;

struct Collector(Shared);

impl Actor for Collector {
    type Context = Context<Self>;
}

impl Handler<LineBatch> for Collector {
    type Result = ();
    fn handle(&mut self, batch: LineBatch, _: &mut Context<Self>) {
        let mut sink = self.0.lock().unwrap();
        let Origin::File(origin) = &batch.origin else { panic!("a tail sends from a file") };
        sink.sent.push(Sent {
            file: origin.file,
            seq: batch.seq,
            begin: batch.begin,
            end: batch.end,
            read_ms: batch.read_ms,
        });
        for line in &batch.lines {
            sink.lines.push(Got {
                file: origin.file,
                path: String::from_utf8_lossy(&origin.path).into_owned(),
                topic: origin.topic.to_string(),
                offset: batch.begin + u64::from(line.start),
                read_ms: batch.read_ms,
                entry: origin.entry,
                partition: origin.partition,
                part: line.part,
                text: batch.bytes(line).to_vec(),
            });
        }
        if sink.withhold_all || sink.withhold.contains(&*origin.topic) {
            sink.held.push(batch);
        } else {
            settle(&batch);
        }
    }
}

impl Handler<PublishEntry> for Collector {
    type Result = Result<(), EntryStoreError>;
    fn handle(&mut self, publish: PublishEntry, _: &mut Context<Self>) -> Self::Result {
        let mut sink = self.0.lock().unwrap();
        if sink.refuse_publications > 0 {
            sink.refuse_publications -= 1;
            return Err(EntryStoreError::Failed("not now".to_owned()));
        }
        sink.published.push(publish.entry);
        Ok(())
    }
}

impl Handler<ChildStopped> for Collector {
    type Result = ();
    fn handle(&mut self, stopped: ChildStopped, _: &mut Context<Self>) {
        self.0.lock().unwrap().stopped.push(stopped);
    }
}

impl Handler<Shutdown> for Collector {
    type Result = ();
    fn handle(&mut self, _: Shutdown, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

fn settle(batch: &LineBatch) {
    batch.settle_to.tell(batch.settled(0));
}

/// An agent's files part, from the journal to the sink.
pub struct House {
    logs: tempfile::TempDir,
    data: Arc<tempfile::TempDir>,
    pub sink: Shared,
    pub counters: Arc<TailCounters>,
    pub journal_counters: Arc<JournalCounters>,
    pub settings: TailSettings,
    pub credits: Credits,
    left_open: LeftOpen,
    pub chunk_bytes: usize,
    pub journal: Addr<JournalActor>,
    pub manager: Addr<TailManager>,
    collector: Addr<Collector>,
    journal_boxes: JournalMailboxes,
}

impl House {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// `adjust` the settings before the start.
    pub async fn with(adjust: impl FnOnce(&mut Adjust)) -> Self {
        logweir::telemetry::init_for_tests();
        let mut settings = TailSettings::new("test-host");
        settings.quiet = Duration::from_millis(300);
        settings.sweep_interval = Duration::from_secs(2);
        let mut start = Adjust { settings, credit_bytes: 32 << 20, chunk_bytes: 256 << 10, disk: None };
        adjust(&mut start);
        let data = Arc::new(tempfile::tempdir().unwrap());
        let sink = Shared::default();
        let counters = Arc::new(TailCounters::default());
        let journal_counters = Arc::new(JournalCounters::default());
        let credits = Credits::new(start.credit_bytes);
        let collector = Collector(sink.clone()).start();
        let journal = start_journal(data.path(), &collector, &journal_counters).await;
        let mut journal_boxes = JournalMailboxes::of(&journal, &ActorStats::new("journal", 64));
        if let Some(disk) = start.disk {
            let disk = DiskOf { disk, journal: journal.clone() }.start();
            journal_boxes.append = Mailbox::new(disk.recipient(), ActorStats::new("disk", 64));
        }
        let left_open = LeftOpen::default();
        let memory = (&credits, start.chunk_bytes, &left_open);
        let setup = setup(&start.settings, &journal_boxes, &collector, memory, &counters);
        let manager = TailManager::create(|ctx| TailManager::new(setup, ctx));
        Self {
            logs: tempfile::tempdir().unwrap(),
            data,
            sink,
            counters,
            journal_counters,
            settings: start.settings,
            credits,
            left_open,
            chunk_bytes: start.chunk_bytes,
            journal,
            manager,
            collector,
            journal_boxes,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.logs.path().join(name)
    }

    pub fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    pub fn entry(&self, pattern: &str, topic: &str) -> Entry {
        Entry {
            path: self.path(pattern).to_str().unwrap().to_owned(),
            topic: topic.to_owned(),
            exclude: Vec::new(),
            start: Start::Beginning,
            max_line_bytes: 512 * 1024,
            partition: PartitionRule::File,
            labels: BTreeMap::new(),
            index: None,
        }
    }

    pub async fn apply(&self, diff: CollectionDiff) {
        self.manager.send(ApplyDiff(diff)).await.unwrap();
    }

    pub async fn add(&self, entry: Entry) {
        self.apply(CollectionDiff { added: vec![entry], ..Default::default() }).await;
    }

    pub async fn change(&self, entry: Entry) {
        self.apply(CollectionDiff { changed: vec![entry], ..Default::default() }).await;
    }

    pub async fn remove_entry(&self, entry: &Entry) {
        let key = EntryKey { path: entry.path.clone(), topic: entry.topic.clone() };
        self.apply(CollectionDiff { removed: vec![key], ..Default::default() }).await;
    }

    pub fn sink(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap()
    }

    /// Settles what was withheld, and withholds nothing any more.
    pub fn settle_all(&self) {
        let mut sink = self.sink();
        sink.withhold_all = false;
        sink.withhold.clear();
        for batch in std::mem::take(&mut sink.held) {
            settle(&batch);
        }
    }

    pub async fn files(&self) -> Vec<FileStatus> {
        let mut files = self.manager.send(ListTails).await.unwrap();
        files.sort_by(|a, b| (&a.path, &a.file).cmp(&(&b.path, &b.file)));
        files
    }

    /// Waits until it is so; panics with what came so far if it never is.
    pub async fn until(&self, what: &str, so: impl Fn(&Sink) -> bool) {
        let waiting = async {
            while !so(&self.sink()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let texts = self.sink().texts();
            let tail = texts.len().saturating_sub(30);
            panic!("never: {what}; {} lines came, the last: {:?}", texts.len(), &texts[tail..]);
        }
    }

    pub async fn until_lines(&self, lines: &[&str]) {
        self.until(&format!("{lines:?}"), |sink| sink.texts() == lines).await;
    }

    /// Waits until the agent knows of its files what `so` asks for.
    pub async fn until_files(&self, what: &str, so: impl Fn(&[FileStatus]) -> bool) {
        let waiting = async {
            loop {
                let files = self.files().await;
                if so(&files) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("never: {what}; {:#?}", self.files().await);
        }
    }

    pub async fn until_count(&self, what: &str, so: impl Fn(&TailCounters) -> bool) {
        let waiting = async {
            while !so(&self.counters) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("never: {what}; {:?}", self.counters);
        }
    }

    /// Stops in order: everything is settled and written down.
    pub async fn shut_down(&self) {
        self.manager.send(Shutdown).await.unwrap();
        self.journal.send(Shutdown).await.unwrap();
    }

    /// Stops at once, with nothing flushed but what the journal had written.
    pub async fn kill(&self) {
        // A panic closes the mailbox without an answer.
        let _gone = self.manager.send(InjectPanic).await;
        let _gone = self.journal.send(InjectPanic).await;
        self.sink().held.clear();
    }

    /// Starts journal and manager again on the same data folder.
    pub async fn start_again(&mut self) {
        self.journal = start_journal(self.data.path(), &self.collector, &self.journal_counters).await;
        self.journal_boxes = JournalMailboxes::of(&self.journal, &ActorStats::new("journal", 64));
        self.counters = Arc::default();
        self.credits = Credits::new(32 << 20);
        self.start_manager();
    }

    /// Starts a manager on the running journal.
    pub fn start_manager(&mut self) {
        let memory = (&self.credits, self.chunk_bytes, &self.left_open);
        let setup = setup(&self.settings, &self.journal_boxes, &self.collector, memory, &self.counters);
        self.manager = TailManager::create(|ctx| TailManager::new(setup, ctx));
    }

    /// The sink stops, with all that it held.
    pub async fn stop_sink(&mut self) {
        self.collector.send(Shutdown).await.unwrap();
        self.sink().held.clear();
    }

    /// Another sink takes its place.
    pub async fn new_sink(&mut self) {
        self.collector = Collector(self.sink.clone()).start();
        let sink = Mailbox::new(self.collector.clone().recipient(), ActorStats::new("sink", 16));
        self.manager.send(UseSink(sink)).await.unwrap();
    }

    pub fn lost_bytes(&self) -> u64 {
        self.counters.lost_bytes.load(Relaxed)
    }

    pub fn started(&self) -> u64 {
        self.counters.tails_started.load(Relaxed)
    }

    pub fn open_files(&self) -> u64 {
        self.counters.files_open.load(Relaxed)
    }
}

/// What a test may adjust before the start.
pub struct Adjust {
    pub settings: TailSettings,
    pub credit_bytes: usize,
    pub chunk_bytes: usize,
    /// The disk that ranges are journalled on.
    pub disk: Option<Arc<Disk>>,
}

/// A disk that may be full.
#[derive(Debug, Default)]
pub struct Disk {
    pub full: AtomicBool,
    pub refused: AtomicUsize,
}

/// Stands before the journal's own handling of ranges.
struct DiskOf {
    disk: Arc<Disk>,
    journal: Addr<JournalActor>,
}

impl Actor for DiskOf {
    type Context = Context<Self>;
}

impl Handler<AppendRange> for DiskOf {
    type Result = ResponseFuture<Result<u64, JournalError>>;
    fn handle(&mut self, append: AppendRange, _: &mut Context<Self>) -> Self::Result {
        if self.disk.full.load(Relaxed) {
            self.disk.refused.fetch_add(1, Relaxed);
            let full = JournalError::Full { path: "/".into(), source: std::io::ErrorKind::StorageFull.into() };
            return Box::pin(std::future::ready(Err(full)));
        }
        let journal = self.journal.clone();
        Box::pin(async move { journal.send(append).await.unwrap() })
    }
}

async fn start_journal(data: &Path, parent: &Addr<Collector>, counters: &Arc<JournalCounters>) -> Addr<JournalActor> {
    let (journal, _) = Journal::open(data, JournalOptions::default()).unwrap();
    let parent = Mailbox::new(parent.clone().recipient(), ActorStats::new("test", 16));
    JournalActor::new(journal, Duration::ZERO, parent, ActorStats::new("journal", 64), counters.clone()).start()
}

fn setup(
    settings: &TailSettings,
    journal: &JournalMailboxes,
    collector: &Addr<Collector>,
    (credits, chunk_bytes, left_open): (&Credits, usize, &LeftOpen),
    counters: &Arc<TailCounters>,
) -> TailSetup {
    let stats = ActorStats::new("test", 16);
    TailSetup {
        settings: settings.clone(),
        journal: journal.clone(),
        sink: Mailbox::new(collector.clone().recipient(), stats.clone()),
        entry_store: Mailbox::new(collector.clone().recipient(), stats.clone()),
        left_open: left_open.clone(),
        pool: ChunkPool::new(chunk_bytes, 16),
        credits: credits.clone(),
        counters: counters.clone(),
        stats: ActorStats::new("tail_manager", 64),
        tail_stats: ActorStats::new("tail", 4),
        parent: Mailbox::new(collector.clone().recipient(), stats),
    }
}
