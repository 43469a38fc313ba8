//! KafkaConsumer against librdkafka's mock cluster: what is settled is committed, nothing else.

use actix::prelude::*;
use logweir::{
    actors::kafka_consumer::KafkaConsumer,
    flow::{ChunkPool, Credits, Origin},
    kafka::{ConsumeSettings, ConsumerCounters},
    messages::*,
    telemetry::{ActorStats, Mailbox},
};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    mocking::MockCluster,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Passes every batch to the test, which settles as it likes.
struct Sink(mpsc::UnboundedSender<LineBatch>);

impl Actor for Sink {
    type Context = Context<Self>;
}

impl Handler<LineBatch> for Sink {
    type Result = ();
    fn handle(&mut self, batch: LineBatch, _: &mut Self::Context) {
        self.0.send(batch).expect("the test listens");
    }
}

struct Parent(mpsc::UnboundedSender<ChildStopped>);

impl Actor for Parent {
    type Context = Context<Self>;
}

impl Handler<ChildStopped> for Parent {
    type Result = ();
    fn handle(&mut self, message: ChildStopped, _: &mut Self::Context) {
        self.0.send(message).expect("the test listens");
    }
}

struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    batches: mpsc::UnboundedReceiver<LineBatch>,
    sink: Mailbox<LineBatch>,
    stopped: mpsc::UnboundedReceiver<ChildStopped>,
    parent: Mailbox<ChildStopped>,
    credits: Credits,
    counters: Arc<ConsumerCounters>,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Bench {
    fn new(credits: usize, topics: &[&str]) -> Self {
        static LOGGER: std::sync::Once = std::sync::Once::new();
        LOGGER
            .call_once(|| slog_scope::set_global_logger(slog::Logger::root(slog::Discard, slog::o!())).cancel_reset());
        let cluster = MockCluster::new(1).expect("mock cluster");
        for topic in topics {
            cluster.create_topic(topic, 1, 1).expect("topic");
        }
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create::<ThreadedProducer<_>>()
            .expect("producer");
        let (to_test, batches) = mpsc::unbounded_channel();
        let (to_test2, stopped) = mpsc::unbounded_channel();
        let sink = Mailbox::new(Sink(to_test).start().recipient(), ActorStats::new("sink", 16));
        let parent = Mailbox::new(Parent(to_test2).start().recipient(), ActorStats::new("parent", 16));
        let (credits, counters) = (Credits::new(credits), Arc::default());
        Self { cluster, batches, sink, stopped, parent, credits, counters, producer }
    }

    fn produce(&self, topic: &str, key: Option<&str>, value: Option<&str>) {
        let mut record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(0);
        record.key = key;
        record.payload = value;
        self.producer.send(record).map_err(|(e, _)| e).expect("queued");
        self.producer.flush(Duration::from_secs(10)).expect("produced");
    }

    fn start(&self, topics: &[&str]) -> Addr<KafkaConsumer> {
        self.start_with(topics, &[])
    }

    fn start_with(&self, topics: &[&str], options: &[(&str, &str)]) -> Addr<KafkaConsumer> {
        let mut settings = ConsumeSettings {
            brokers: self.cluster.bootstrap_servers(),
            group: "g".into(),
            instance: None,
            options: BTreeMap::from([
                ("auto.commit.interval.ms".into(), "50".into()),
                ("session.timeout.ms".into(), "6000".into()),
                ("heartbeat.interval.ms".into(), "300".into()),
            ]),
        };
        settings.options.extend(options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        // A batch is never more than what a topic may have on its way, so that one credit can't cover two.
        let pool = ChunkPool::new(self.credits.share_bytes(), 4);
        let stats = ActorStats::new(KafkaConsumer::KIND, 16);
        let (sink, parent, counters) = (self.sink.clone(), self.parent.clone(), self.counters.clone());
        let consumer =
            KafkaConsumer::new(settings, (self.credits.clone(), pool), sink, parent, counters, stats).start();
        consumer.try_send_topics(topics);
        consumer
    }

    async fn next(&mut self) -> LineBatch {
        tokio::time::timeout(Duration::from_secs(60), self.batches.recv()).await.expect("a batch").expect("open")
    }

    /// Committed offset of the group, asked by a client of its own.
    async fn committed(&self, topic: &str) -> rdkafka::Offset {
        let (brokers, topic) = (self.cluster.bootstrap_servers(), topic.to_owned());
        let ask = move || {
            let client: BaseConsumer =
                ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "g").create().expect("client");
            let mut list = rdkafka::TopicPartitionList::new();
            list.add_partition(&topic, 0);
            let list = client.committed_offsets(list, Duration::from_secs(10)).expect("committed");
            list.elements()[0].offset()
        };
        actix_rt::task::spawn_blocking(ask).await.expect("joined")
    }
}

trait Topics {
    fn try_send_topics(&self, topics: &[&str]);
}

impl Topics for Addr<KafkaConsumer> {
    fn try_send_topics(&self, topics: &[&str]) {
        let topics = topics.iter().map(|t| (*t).to_owned()).collect();
        Mailbox::new(self.clone().recipient(), ActorStats::new("consumer", 16)).tell(UseTopics(topics));
    }
}

fn texts(batch: &LineBatch) -> Vec<String> {
    batch.lines.iter().map(|l| String::from_utf8_lossy(batch.bytes(l)).into_owned()).collect()
}

#[actix_rt::test]
async fn only_the_settled_prefix_is_committed_and_the_rest_comes_again() {
    let mut bench = Bench::new(8 << 20, &["t"]);
    bench.produce("t", Some("k"), Some("one"));
    let consumer = bench.start(&["t"]);
    let first = bench.next().await;
    assert_eq!((texts(&first), first.begin, first.end), (vec!["one".to_owned()], 0, 1));
    bench.produce("t", None, Some("two"));
    bench.produce("t", None, None);
    let second = bench.next().await;
    assert_eq!(texts(&second), ["two"]);
    // The second is settled, the first isn't: nothing may be committed.
    second.settle_to.tell(second.settled(0));
    consumer.send(Shutdown).await.expect("stopped");
    assert_eq!(bench.committed("t").await, rdkafka::Offset::Invalid);
    assert!(bench.stopped.recv().await.expect("told").orderly);

    let nulls = |bench: &Bench| bench.counters.null_values.load(std::sync::atomic::Ordering::Relaxed);
    // The first consumer may have come to the null value or not; the second counts it once.
    let before = nulls(&bench);
    let consumer = bench.start(&["t"]);
    let mut again = Vec::new();
    while again.len() < 2 {
        let batch = bench.next().await;
        again.extend(texts(&batch));
        batch.settle_to.tell(batch.settled(0));
    }
    assert_eq!(again, ["one", "two"]);
    // The null value may come in a fetch of its own.
    tokio::time::timeout(Duration::from_secs(60), async {
        while nulls(&bench) == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the null value comes");
    consumer.send(Drain).await.expect("drained");
    consumer.send(Shutdown).await.expect("stopped");
    assert_eq!(bench.committed("t").await, rdkafka::Offset::Offset(3), "the null value is passed, too");
    // Once for each time that it was read: the first consumer may have come that far, too.
    assert_eq!(nulls(&bench) - before, 1);
}

#[actix_rt::test]
async fn a_topic_without_credit_doesnt_hold_back_another() {
    let mut bench = Bench::new(8 * 4096, &["slow", "quick"]);
    let large = "x".repeat(3000);
    for _ in 0..4 {
        bench.produce("slow", None, Some(&large));
    }
    let consumer = bench.start(&["slow", "quick"]);
    let mut held = vec![bench.next().await];
    assert_eq!(&**held[0].origin.topic(), "slow");
    for n in 0..20 {
        bench.produce("quick", None, Some(&n.to_string()));
        let batch = bench.next().await;
        assert_eq!((&**batch.origin.topic(), texts(&batch)), ("quick", vec![n.to_string()]));
        batch.settle_to.tell(batch.settled(0));
    }
    // Credit comes back as batches settle: the rest of the slow topic arrives, in order, nothing twice.
    let mut offsets = Vec::new();
    while offsets.len() < 4 {
        let batch = match held.pop() {
            Some(batch) => batch,
            None => bench.next().await,
        };
        offsets.extend(batch.records.iter().map(|r| r.offset));
        batch.settle_to.tell(batch.settled(0));
    }
    assert_eq!(offsets, [0, 1, 2, 3]);
    consumer.send(Drain).await.expect("drained");
    consumer.send(Shutdown).await.expect("stopped");
    assert_eq!(bench.committed("slow").await, rdkafka::Offset::Offset(4));
}

#[actix_rt::test]
async fn a_topic_of_many_partitions_without_credit_holds_little_memory_and_arrives_whole_and_in_order() {
    const PARTITIONS: i32 = 64;
    const RECORDS: usize = 40;
    // One batch of 64 KiB is all that a topic may have on its way.
    let mut bench = Bench::new(8 << 16, &["quick"]);
    bench.cluster.create_topic("wide", PARTITIONS, 1).expect("topic");
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", bench.cluster.bootstrap_servers())
        .set("linger.ms", "1000")
        .set("batch.num.messages", RECORDS.to_string())
        .create()
        .expect("producer");
    let text = "x".repeat(10_000);
    for (partition, _) in (0..PARTITIONS).flat_map(|p| (0..RECORDS).map(move |n| (p, n))) {
        let record: BaseRecord<'_, str, str> = BaseRecord::to("wide").partition(partition).payload(&text);
        producer.send(record).map_err(|(e, _)| e).expect("queued");
    }
    producer.flush(Duration::from_secs(60)).expect("produced");
    let small_fetches = [("queued.max.messages.kbytes", "512"), ("fetch.max.bytes", "1000000")];
    let consumer = bench.start_with(&["quick", "wide"], &small_fetches);
    let mut held = vec![bench.next().await];
    let mut most = 0;
    for n in 0..100 {
        bench.produce("quick", None, Some(&n.to_string()));
        let batch = bench.next().await;
        assert_eq!((&**batch.origin.topic(), texts(&batch)), ("quick", vec![n.to_string()]));
        batch.settle_to.tell(batch.settled(0));
        most = most.max(bench.counters.parked_bytes.load(std::sync::atomic::Ordering::Relaxed));
    }
    assert!((1 << 20..6 << 20).contains(&most), "{most} of 25,600,000 bytes were parked");

    let mut next = vec![0; PARTITIONS as usize];
    while next.iter().any(|offset| *offset < RECORDS as i64) {
        let batch = match held.pop() {
            Some(batch) => batch,
            None => bench.next().await,
        };
        let Origin::Partition(origin) = &batch.origin else { panic!("{batch:?}") };
        for record in &batch.records {
            let expected = &mut next[origin.partition as usize];
            assert_eq!(record.offset, *expected, "partition {}", origin.partition);
            *expected += 1;
        }
        batch.settle_to.tell(batch.settled(0));
    }
    consumer.send(Drain).await.expect("drained");
    consumer.send(Shutdown).await.expect("stopped");
    // Its thread counts at the end of a turn, which may be later than all the rest.
    assert_eq!(bench.counters.parked_bytes.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[actix_rt::test]
async fn a_panic_is_told_to_the_parent_and_a_new_consumer_goes_on() {
    let mut bench = Bench::new(8 << 20, &["t"]);
    bench.produce("t", None, Some("one"));
    let consumer = bench.start(&["t"]);
    let unsettled = bench.next().await;
    assert!(consumer.send(InjectPanic).await.is_err());
    let stopped = bench.stopped.recv().await.expect("told");
    assert_eq!((stopped.kind, stopped.orderly), (KafkaConsumer::KIND, false));
    let _again = bench.start(&["t"]);
    assert_eq!(texts(&bench.next().await), texts(&unsettled));
}

#[actix_rt::test]
async fn a_partition_that_is_taken_away_while_it_waits_for_credit_is_read_again_when_it_comes_back() {
    let mut bench = Bench::new(8 * 4096, &["slow", "other"]);
    let large = "x".repeat(3000);
    for _ in 0..4 {
        bench.produce("slow", None, Some(&large));
    }
    let consumer = bench.start(&["slow"]);
    let held = bench.next().await;
    while bench.counters.parked.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Its entry goes, and comes again.
    bench.produce("other", None, Some("assigned"));
    consumer.try_send_topics(&["other"]);
    let other = bench.next().await;
    assert_eq!(texts(&other), ["assigned"]);
    consumer.try_send_topics(&["other", "slow"]);
    drop(held);
    let mut offsets = Vec::new();
    while offsets.len() < 4 {
        let batch = bench.next().await;
        offsets.extend(batch.records.iter().map(|r| r.offset));
        batch.settle_to.tell(batch.settled(0));
    }
    assert_eq!(offsets, [0, 1, 2, 3], "from what is committed on, which is nothing");
    other.settle_to.tell(other.settled(0));
    consumer.send(Drain).await.expect("drained");
    consumer.send(Shutdown).await.expect("stopped");
    assert_eq!(bench.committed("slow").await, rdkafka::Offset::Offset(4));
}
