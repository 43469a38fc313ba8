//! The whole agent in this process, over librdkafka's mock cluster: whichever actor panics, every line arrives, and an
//! orderly stop leaves nothing to be sent again.

use actix::prelude::*;
use logweir::{
    actors::agent_supervisor::{AgentParts, AgentSupervisor},
    journal::Journal,
    kafka::key::Key,
    messages::{InjectPanicInto, Shutdown},
    settings::{AgentSettings, CollectionSource},
    telemetry::{Health, Registry},
};
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer},
    mocking::MockCluster,
    producer::DefaultProducerContext,
};
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

const TOPIC: &str = "lines";
/// Only ends a test that hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// What arrived, by file and offset: a repeat is folded, and must be the same line.
type Arrived = Arc<Mutex<BTreeMap<(String, u64), String>>>;

struct Scene {
    dir: tempfile::TempDir,
    _cluster: MockCluster<'static, DefaultProducerContext>,
    arrived: Arrived,
    end: Arc<AtomicBool>,
    reader: Option<std::thread::JoinHandle<()>>,
    parts: Arc<AgentParts>,
    supervisor: Addr<AgentSupervisor>,
    written: u64,
}

impl Scene {
    fn start() -> Self {
        logweir::telemetry::init_for_tests();
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let entries = dir.path().join("collect.json");
        let pattern = dir.path().join("*.log");
        std::fs::write(&entries, serde_json::json!([{ "path": pattern, "topic": TOPIC }]).to_string()).unwrap();
        let mut settings = AgentSettings::default();
        settings.agent.data_dir = dir.path().join("data");
        settings.agent.host = "test".into();
        settings.collection.source = CollectionSource::File;
        settings.collection.file = Some(entries);
        settings.etcd.endpoints = Vec::new();
        settings.kafka.brokers = vec![cluster.bootstrap_servers()];
        let parts = Arc::new(AgentParts::new(settings, Registry::default(), Health::default()).unwrap());
        let journal = parts.open_journal().unwrap();
        let (supervisor, _) = AgentSupervisor::start(parts.clone(), journal);
        let (arrived, end) = (Arrived::default(), Arc::new(AtomicBool::new(false)));
        let reader = std::thread::spawn({
            let (brokers, arrived, end) = (cluster.bootstrap_servers(), arrived.clone(), end.clone());
            move || read(&brokers, &arrived, &end)
        });
        Self { dir, _cluster: cluster, arrived, end, reader: Some(reader), parts, supervisor, written: 0 }
    }

    fn log(&self, number: u64) -> PathBuf {
        self.dir.path().join(format!("{number}.log"))
    }

    /// Appends to three files.
    fn write(&mut self, lines: u64) {
        for _ in 0..lines {
            let mut file = OpenOptions::new().create(true).append(true).open(self.log(self.written % 3)).unwrap();
            writeln!(file, "line {}", self.written).unwrap();
            self.written += 1;
        }
    }

    /// Waits until every line is there, and nothing else.
    async fn all_arrive(&self, when: &str) {
        let expected: Vec<String> = (0..self.written).map(|n| format!("line {n}")).collect();
        let sorted = |mut lines: Vec<String>| {
            lines.sort_by_key(|line| line.strip_prefix("line ").and_then(|n| n.parse::<u64>().ok()));
            lines
        };
        let began = std::time::Instant::now();
        loop {
            let lines = sorted(self.arrived.lock().unwrap().values().cloned().collect());
            if lines == expected {
                return;
            }
            let missing: Vec<_> = expected.iter().filter(|line| !lines.contains(line)).take(5).collect();
            assert!(began.elapsed() < LIMIT, "{when}: {} of {} lines, missing {missing:?}", lines.len(), self.written);
            // The reader is a plain thread.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn restarts(&self, kind: &str) -> u64 {
        self.parts.registry.actors().iter().find(|stats| stats.kind() == kind).unwrap().restarts()
    }

    async fn stop(mut self) {
        self.supervisor.send(Shutdown).await.unwrap();
        self.end.store(true, Relaxed);
        self.reader.take().unwrap().join().unwrap();
        let journal = Journal::inspect(&self.parts.settings.agent.data_dir).unwrap();
        assert_eq!(journal.reports.len(), 0);
        let sizes: u64 = (0..3).map(|n| std::fs::metadata(self.log(n)).unwrap().len()).sum();
        let settled: u64 = journal.files.iter().map(|file| file.settled).sum();
        assert_eq!((settled, journal.files.iter().map(|f| f.pending.len()).sum::<usize>()), (sizes, 0));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.end.store(true, Relaxed);
    }
}

fn read(brokers: &str, arrived: &Arrived, end: &AtomicBool) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    let mut partitions = rdkafka::TopicPartitionList::new();
    for partition in 0..2 {
        partitions.add_partition_offset(TOPIC, partition, rdkafka::Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    while !end.load(Relaxed) {
        let Some(Ok(record)) = consumer.poll(Duration::from_millis(50)) else { continue };
        let key = Key::parse(record.key().unwrap()).unwrap();
        let line = String::from_utf8(record.payload().unwrap().to_vec()).unwrap();
        let before = arrived.lock().unwrap().insert((key.file.to_string(), key.offset), line.clone());
        assert!(before.is_none_or(|before| before == line), "a repeat is the same line");
    }
}

#[actix_rt::test]
async fn lines_arrive_and_a_stop_leaves_nothing_to_send_again() {
    let mut scene = Scene::start();
    scene.write(300);
    scene.all_arrive("at first").await;
    scene.write(30);
    scene.all_arrive("later").await;
    assert!(scene.parts.health.report().live);
    let metrics = scene.parts.registry.render();
    assert!(metrics.contains("\nlogweir_delivered_lines_total 330.0\n"), "{metrics}");
    let by_topic = scene.parts.journal_counters.by_topic.all();
    assert_eq!(by_topic, [(TOPIC.to_owned(), 330)], "as the liveness key tells them");
    scene.stop().await;
}

#[actix_rt::test]
async fn a_panic_in_any_actor_is_survived_without_loss() {
    let mut scene = Scene::start();
    scene.write(60);
    scene.all_arrive("before any panic").await;
    for kind in ["kafka_producer", "journal", "tail_manager", "collection_watcher", "mailbox_reporter"] {
        scene.write(60);
        let before = scene.restarts(kind);
        assert!(scene.supervisor.send(InjectPanicInto(kind)).await.unwrap(), "{kind}");
        scene.write(60);
        scene.all_arrive(kind).await;
        assert!(scene.restarts(kind) > before, "{kind}");
    }
    scene.stop().await;
}

#[actix_rt::test]
async fn actors_that_panic_together_are_survived_without_loss() {
    let mut scene = Scene::start();
    scene.write(60);
    for kinds in [["journal", "kafka_producer"], ["tail_manager", "journal"], ["kafka_producer", "tail_manager"]] {
        scene.all_arrive("before").await;
        for kind in kinds {
            scene.supervisor.send(InjectPanicInto(kind)).await.unwrap();
        }
        scene.write(60);
        scene.all_arrive(&kinds.join(" and ")).await;
    }
    scene.stop().await;
}
