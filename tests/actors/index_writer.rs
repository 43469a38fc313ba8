//! The embedded index as a sink, without a server: what is settled is committed, once, whatever stops on the way.

use actix::prelude::*;
use logweir::{
    actors::{
        agent_supervisor::{AgentParts, AgentSupervisor, SinkParts},
        index_writer::{IndexWriter, IndexWriterParts},
        supervision::Latest,
    },
    collection::EntryTexts,
    flow::{Credit, FileId, FileOrigin, Origin, PartitionRule},
    index::{Day, DayWriter, EngineSettings, IndexError, IndexFolder, IndexSet, LiveFeed, WriterMemory},
    journal::JournalError,
    messages::{ChildStopped, FlushJournal, InjectPanic, InjectPanicInto, Line, LineBatch, Part, Settled, Shutdown},
    settings::StandaloneSettings,
    telemetry::{ActorStats, Health, Mailbox, Registry},
};
use std::{
    io::Write as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Only ends a test that hangs.
const LIMIT: Duration = Duration::from_secs(120);
const NOW: u64 = 1_795_246_112_111;
const DAY_MS: u64 = 86_400_000;

/// Stands in for the journal and for the parent.
#[derive(Default, Clone)]
struct House {
    settled: Arc<Mutex<Vec<u64>>>,
    stopped: Arc<Mutex<Vec<bool>>>,
    /// So many flushes fail.
    failures: Arc<AtomicU64>,
}

impl Actor for House {
    type Context = Context<Self>;
}
impl Handler<Settled> for House {
    type Result = ();
    fn handle(&mut self, settled: Settled, _: &mut Self::Context) {
        self.settled.lock().unwrap().push(settled.seq);
    }
}
impl Handler<ChildStopped> for House {
    type Result = ();
    fn handle(&mut self, stopped: ChildStopped, _: &mut Self::Context) {
        self.stopped.lock().unwrap().push(stopped.orderly);
    }
}
impl Handler<FlushJournal> for House {
    type Result = Result<(), JournalError>;
    fn handle(&mut self, _: FlushJournal, _: &mut Self::Context) -> Self::Result {
        let fails = self.failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        if fails { Err(JournalError::TooLong("a test")) } else { Ok(()) }
    }
}

struct Bench {
    house: House,
    address: Addr<House>,
    parts: IndexWriterParts,
}

fn stats(kind: &'static str) -> Arc<ActorStats> {
    ActorStats::new(kind, 64)
}

fn parts(dir: &Path, settings: EngineSettings) -> IndexWriterParts {
    let (set, damaged) = IndexSet::open(&IndexFolder::open(dir).unwrap()).unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    IndexWriterParts {
        set,
        settings,
        texts: EntryTexts::new(dir.join("entries")),
        feed: LiveFeed::default(),
        counters: Arc::default(),
        journal: Latest::none(),
        recall: Latest::none(),
        unsettled: Arc::default(),
    }
}

impl Bench {
    fn new(dir: &Path, interval: Duration) -> Self {
        logweir::telemetry::init_for_tests();
        let house = House::default();
        let address = house.clone().start();
        let parts = parts(dir, EngineSettings { interval: interval..=interval, ..EngineSettings::default() });
        parts.journal.set(Some(Mailbox::new(address.clone().recipient(), stats("journal"))));
        Self { house, address, parts }
    }

    fn writer(&self) -> Addr<IndexWriter> {
        let parent = Mailbox::new(self.address.clone().recipient(), stats("house"));
        IndexWriter::new(self.parts.clone(), parent, stats(IndexWriter::KIND)).start()
    }

    fn batch(&self, seq: u64, read_ms: u64, text: &str) -> LineBatch {
        let origin = FileOrigin {
            id: 7,
            topic: "t".into(),
            partition: PartitionRule::File,
            host: "h".into(),
            file: FileId(0xabc),
            entry: None,
            path: (*b"/a.log").into(),
        };
        LineBatch {
            origin: Origin::File(Arc::new(origin)),
            seq,
            begin: seq * 100,
            end: seq * 100 + text.len() as u64 + 1,
            read_ms,
            data: text.as_bytes().to_vec().into(),
            lines: vec![Line { start: 0, len: text.len() as u32, part: Part::Whole }],
            records: Vec::new(),
            credit: Credit::none(),
            settle_to: Mailbox::new(self.address.clone().recipient(), stats("house")),
        }
    }

    fn settled(&self) -> Vec<u64> {
        self.house.settled.lock().unwrap().clone()
    }

    async fn wait_settled(&self, expected: &[u64]) {
        wait_for(&format!("{expected:?} to be settled"), || self.settled() == expected).await;
    }
}

async fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for {what}");
}

/// Documents of each day.
fn counts(set: &IndexSet) -> Vec<u64> {
    set.snapshot().iter().map(|day| day.searcher.num_docs()).collect()
}

#[actix_rt::test]
async fn a_batch_is_settled_when_it_is_committed_and_a_day_before_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path(), Duration::from_secs(3600));
    let writer = bench.writer();
    writer.send(bench.batch(1, NOW, "first")).await.unwrap();
    bench.wait_settled(&[1]).await;
    // From here on only the change of the day commits, for the next hour.
    writer.send(bench.batch(2, NOW, "second")).await.unwrap();
    writer.send(bench.batch(3, NOW + DAY_MS, "third")).await.unwrap();
    bench.wait_settled(&[1, 2]).await;
    writer.send(Shutdown).await.unwrap();
    bench.wait_settled(&[1, 2, 3]).await;
    assert_eq!(counts(&bench.parts.set), [2, 1]);
    wait_for("the parent to hear of the end", || *bench.house.stopped.lock().unwrap() == [true]).await;
}

#[actix_rt::test]
async fn commits_that_cost_little_do_not_wait_as_long_as_they_might() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path(), Duration::ZERO);
    bench.parts.settings.interval = Duration::ZERO..=Duration::from_secs(3600);
    let writer = bench.writer();
    for seq in 1..5 {
        writer.send(bench.batch(seq, NOW, "further")).await.unwrap();
        bench.wait_settled(&(1..=seq).collect::<Vec<_>>()).await;
    }
    writer.send(Shutdown).await.unwrap();
}

#[actix_rt::test]
async fn a_writer_for_which_nothing_comes_ends_and_another_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path(), Duration::from_millis(1));
    let day = Day::of_ms(NOW);
    let nobody_writes = |set: &IndexSet| DayWriter::open(set, day, WriterMemory::default()).is_ok();
    let writer = bench.writer();
    writer.send(bench.batch(1, NOW, "first")).await.unwrap();
    bench.wait_settled(&[1]).await;
    assert!(!nobody_writes(&bench.parts.set), "a writer that was busy just now stays");
    writer.send(Shutdown).await.unwrap();

    bench.parts.settings.idle = Duration::from_millis(20);
    let writer = bench.writer();
    for seq in 2..5 {
        writer.send(bench.batch(seq, NOW, "further")).await.unwrap();
        bench.wait_settled(&(1..=seq).collect::<Vec<_>>()).await;
        wait_for("the writer to end", || nobody_writes(&bench.parts.set)).await;
        assert_eq!(counts(&bench.parts.set), [seq]);
    }
    writer.send(Shutdown).await.unwrap();
}

#[actix_rt::test]
async fn a_batch_that_comes_again_before_its_commit_is_there_once_and_settled_to_who_sent_it_last() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path(), Duration::from_secs(3600));
    let writer = bench.writer();
    writer.send(bench.batch(1, NOW, "first")).await.unwrap();
    bench.wait_settled(&[1]).await;
    // The next commit is an hour away: a tail is restarted meanwhile, and then the journal, too.
    for seq in [2, 3, 2, 3] {
        writer.send(bench.batch(seq, NOW, "further")).await.unwrap();
    }
    let journal = House::default();
    let address = journal.clone().start();
    let mut again = bench.batch(3, NOW, "further");
    again.settle_to = Mailbox::new(address.recipient(), stats("house"));
    writer.send(again).await.unwrap();
    writer.send(Shutdown).await.unwrap();
    assert_eq!(counts(&bench.parts.set), [3]);
    bench.wait_settled(&[1, 2]).await;
    wait_for("the new journal to hear of it", || *journal.settled.lock().unwrap() == [3]).await;
}

#[actix_rt::test]
async fn a_batch_that_is_there_is_settled_and_not_added_again() {
    let dir = tempfile::tempdir().unwrap();
    for (round, settled) in [[1, 2].as_slice(), &[1, 2, 3]].into_iter().enumerate() {
        let bench = Bench::new(dir.path(), Duration::from_millis(1));
        let writer = bench.writer();
        for seq in settled {
            writer.send(bench.batch(*seq, NOW + (seq - 1) * DAY_MS, "line")).await.unwrap();
        }
        bench.wait_settled(settled).await;
        writer.send(Shutdown).await.unwrap();
        assert_eq!(counts(&bench.parts.set), vec![1; 2 + round]);
    }
}

#[actix_rt::test]
async fn nothing_is_committed_before_the_journal_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path(), Duration::from_millis(1));
    bench.house.failures.store(2, Relaxed);
    let writer = bench.writer();
    writer.send(bench.batch(1, NOW, "line")).await.unwrap();
    wait_for("the first failure", || bench.house.failures.load(Relaxed) < 2).await;
    assert_eq!((bench.settled(), counts(&bench.parts.set)), (vec![], vec![0]));
    bench.wait_settled(&[1]).await;
    assert_eq!((bench.house.failures.load(Relaxed), counts(&bench.parts.set)), (0, vec![1]));
}

#[actix_rt::test]
async fn after_a_panic_the_next_writer_begins_with_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path(), Duration::from_secs(3600));
    let writer = bench.writer();
    writer.send(bench.batch(1, NOW, "kept")).await.unwrap();
    bench.wait_settled(&[1]).await;
    writer.send(bench.batch(2, NOW, "to be sent again")).await.unwrap();
    assert!(writer.send(InjectPanic).await.is_err());
    wait_for("the parent to hear of the panic", || *bench.house.stopped.lock().unwrap() == [false]).await;
    let writer = bench.writer();
    for seq in [1, 2] {
        writer.send(bench.batch(seq, NOW, "again")).await.unwrap();
    }
    bench.wait_settled(&[1, 1, 2]).await;
    assert_eq!(counts(&bench.parts.set), [2]);
}

#[actix_rt::test]
async fn whichever_actor_of_standalone_panics_every_line_is_there_once() {
    logweir::telemetry::init_for_tests();
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("a.log"));
    std::fs::create_dir_all(&data).unwrap();
    let entries = serde_json::json!([{ "path": log, "topic": "t", "labels": { "team": "shop" } }]);
    std::fs::write(data.join("collect.json"), entries.to_string()).unwrap();
    let mut settings = StandaloneSettings::default();
    settings.agent.data_dir.clone_from(&data);
    settings.agent.host = "test".into();
    let index = parts(
        &data,
        EngineSettings { interval: Duration::ZERO..=Duration::from_millis(20), ..EngineSettings::default() },
    );
    let set = index.set.clone();
    let sink = SinkParts::Index(Box::new(index));
    let parts = AgentParts::with_sink(settings.as_agent(), sink, Registry::default(), Health::default());
    let parts = Arc::new(parts.map_err(|error| error.to_string()).unwrap());
    let journal = parts.open_journal().unwrap();
    let (supervisor, _gone) = AgentSupervisor::start(parts, journal);
    let mut lines = 0;
    for kind in [None, Some(IndexWriter::KIND), Some("journal"), Some("tail_manager"), Some(IndexWriter::KIND)] {
        if let Some(kind) = kind {
            assert!(supervisor.send(InjectPanicInto(kind)).await.unwrap(), "{kind} runs");
        }
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        for _ in 0..50 {
            writeln!(file, "line {lines}").unwrap();
            lines += 1;
        }
        wait_for(&format!("{lines} lines after a panic of {kind:?}"), || counts(&set) == [lines]).await;
    }
    supervisor.send(Shutdown).await.unwrap();
    assert_eq!(counts(&set), [lines]);
}

#[actix_rt::test]
async fn a_damaged_day_waits_until_it_is_mended_and_the_others_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path(), Duration::from_millis(1));
    let (set, now, old) = (bench.parts.set.clone(), Day::of_ms(NOW), Day::of_ms(NOW - DAY_MS));
    let damaged = |day| IndexError::Damaged { day, reason: "a test".to_owned() };
    let next = |set: &IndexSet| {
        let set = set.clone();
        tokio::task::spawn_blocking(move || set.next_damaged().0)
    };
    let writer = bench.writer();
    set.note(&damaged(old));
    writer.send(bench.batch(1, NOW, "today's")).await.unwrap();
    bench.wait_settled(&[1]).await;
    assert_eq!(next(&set).await.unwrap(), old, "nobody writes it");
    writer.send(bench.batch(2, NOW - DAY_MS, "late")).await.unwrap();
    writer.send(bench.batch(3, NOW, "today's")).await.unwrap();
    assert!(DayWriter::open(&set, old, WriterMemory::default()).is_err(), "only who mends it may write it");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.settled(), [1]);
    set.mended(old);
    bench.wait_settled(&[1, 2, 3]).await;
    // The day that is being written: its writer gives way, and what isn't settled waits for the next one.
    set.note(&damaged(now));
    assert_eq!(next(&set).await.unwrap(), now);
    wait_for("the writer to give way", || *bench.house.stopped.lock().unwrap() == [false]).await;
    let writer = bench.writer();
    writer.send(bench.batch(4, NOW, "again")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.settled(), [1, 2, 3]);
    set.mended(now);
    bench.wait_settled(&[1, 2, 3, 4]).await;
    // A stop doesn't wait for a day to be mended: its lines are sent again.
    set.note(&damaged(now));
    assert_eq!(next(&set).await.unwrap(), now);
    let writer = bench.writer();
    writer.send(bench.batch(5, NOW, "later")).await.unwrap();
    writer.send(Shutdown).await.unwrap();
    assert_eq!(bench.settled(), [1, 2, 3, 4]);
}

#[actix_rt::test]
async fn what_a_damaged_day_had_is_not_called_settled_by_who_knew_it_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path(), Duration::from_millis(1));
    let (set, old) = (bench.parts.set.clone(), Day::of_ms(NOW - DAY_MS));
    let writer = bench.writer();
    writer.send(bench.batch(1, NOW, "today's")).await.unwrap();
    bench.wait_settled(&[1]).await;
    writer.send(bench.batch(2, NOW - DAY_MS, "late")).await.unwrap();
    bench.wait_settled(&[1, 2]).await;
    writer.send(Shutdown).await.unwrap();
    // The next one has learned what is committed; no day is open, and the journal, say, has not heard of 2.
    let writer = bench.writer();
    writer.send(bench.batch(1, NOW, "today's")).await.unwrap();
    bench.wait_settled(&[1, 2, 1]).await;
    set.note(&IndexError::Damaged { day: old, reason: "a test".to_owned() });
    let mending = set.clone();
    assert_eq!(tokio::task::spawn_blocking(move || mending.next_damaged().0).await.unwrap(), old);
    // Whoever knew it has ended by now, so what comes again is not settled unseen.
    writer.send(bench.batch(2, NOW - DAY_MS, "late")).await.unwrap_or_default();
    set.set_aside(old, "a test").unwrap();
    set.mended(old);
    wait_for("the writer to end", || *bench.house.stopped.lock().unwrap() == [true, false]).await;
    assert_eq!(bench.settled(), [1, 2, 1]);
    bench.parts.settings.interval = Duration::ZERO..=Duration::ZERO;
    let writer = bench.writer();
    writer.send(bench.batch(2, NOW - DAY_MS, "late")).await.unwrap();
    bench.wait_settled(&[1, 2, 1, 2]).await;
    assert_eq!(counts(&set), [1, 1]);
    writer.send(Shutdown).await.unwrap();
}
