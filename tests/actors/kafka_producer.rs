//! KafkaProducer against librdkafka's mock cluster: what is acknowledged settles, what isn't waits, nothing is lost.

use actix::prelude::*;
use logweir::{
    actors::kafka_producer::{KafkaProducer, ProducerSettings},
    flow::{Chunk, ChunkPool, Credit, Credits, EntryId, FileId, FileOrigin, Origin, PartitionRule},
    kafka::{
        DeadLetter, DeadLetterFile, ProducerCounters, config::ProducerOptions, key::Key, partition_of_file,
        read_dead_letters,
    },
    messages::*,
    telemetry::{ActorStats, Mailbox},
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Passes everything it hears to the test.
struct Collector<T>(mpsc::UnboundedSender<T>);

impl<T: Unpin + 'static> Actor for Collector<T> {
    type Context = Context<Self>;
}

impl Handler<Settled> for Collector<Settled> {
    type Result = ();
    fn handle(&mut self, message: Settled, _: &mut Self::Context) {
        self.0.send(message).expect("the test listens");
    }
}

impl Handler<ChildStopped> for Collector<ChildStopped> {
    type Result = ();
    fn handle(&mut self, message: ChildStopped, _: &mut Self::Context) {
        self.0.send(message).expect("the test listens");
    }
}

const PARTITIONS: i32 = 3;

struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    folder: tempfile::TempDir,
    settle_to: Mailbox<Settled>,
    settled: mpsc::UnboundedReceiver<Settled>,
    stopped: mpsc::UnboundedReceiver<ChildStopped>,
    counters: Arc<ProducerCounters>,
    producer: Addr<KafkaProducer>,
    sink: Mailbox<LineBatch>,
    seq: u64,
}

impl Bench {
    fn new(options: &[(&str, &str)]) -> Self {
        Self::prepared(options, |_| {})
    }

    /// `prepare` is done with the cluster before the producer starts.
    fn prepared(options: &[(&str, &str)], prepare: impl FnOnce(&MockCluster<'static, DefaultProducerContext>)) -> Self {
        logweir::telemetry::init_for_tests();
        let cluster = MockCluster::new(1).expect("mock cluster");
        prepare(&cluster);
        let folder = tempfile::tempdir().expect("folder");
        let mut all = BTreeMap::from([
            ("bootstrap.servers".to_owned(), cluster.bootstrap_servers()),
            ("reconnect.backoff.max.ms".to_owned(), "100".to_owned()),
        ]);
        all.extend(options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let options = ProducerOptions::new(&all).expect("options");
        let settings = ProducerSettings::new(options, DeadLetterFile::new(folder.path().join("dead"), 1 << 20));
        let (to_test, settled) = mpsc::unbounded_channel();
        let (to_test2, stopped) = mpsc::unbounded_channel();
        let settle_to = Mailbox::new(Collector(to_test).start().recipient(), ActorStats::new("journal", 16));
        let parent = Mailbox::new(Collector(to_test2).start().recipient(), ActorStats::new("parent", 16));
        let counters = Arc::<ProducerCounters>::default();
        let stats = ActorStats::new("kafka_producer", 16);
        let producer = KafkaProducer::new(settings, parent, stats.clone(), counters.clone()).start();
        let sink = Mailbox::new(producer.clone().recipient(), stats);
        Self { cluster, folder, settle_to, settled, stopped, counters, producer, sink, seq: 0 }
    }

    fn topic(&self, name: &str) {
        self.cluster.create_topic(name, PARTITIONS, 1).expect("topic");
    }

    fn batch(&mut self, origin: FileOrigin, lines: &[&str]) -> LineBatch {
        let mut data = Vec::new();
        let mut spans = Vec::new();
        for line in lines {
            spans.push(Line { start: data.len() as u32, len: line.len() as u32, part: Part::Whole });
            data.extend_from_slice(line.as_bytes());
            data.push(b'\n');
        }
        self.chunk(origin, data.into(), spans)
    }

    fn chunk(&mut self, origin: FileOrigin, data: Chunk, lines: Vec<Line>) -> LineBatch {
        self.seq += 1;
        LineBatch {
            origin: Origin::File(Arc::new(origin)),
            seq: self.seq,
            begin: 1000,
            end: 1000 + data.len() as u64,
            read_ms: 77,
            data,
            lines,
            records: Vec::new(),
            credit: Credit::none(),
            settle_to: self.settle_to.clone(),
        }
    }

    async fn send(&mut self, origin: FileOrigin, lines: &[&str]) -> u64 {
        let batch = self.batch(origin, lines);
        self.sink.send(batch).await.expect("alive");
        self.seq
    }

    async fn settled(&mut self) -> Settled {
        tokio::time::timeout(Duration::from_secs(60), self.settled.recv()).await.expect("settles").expect("open")
    }

    /// Waits until it is so.
    async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        for _ in 0..6000 {
            if so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}");
    }

    /// The first `count` records of a topic, by a client of its own, sorted by partition and offset.
    async fn records(&self, topic: &str, count: usize) -> Vec<Record> {
        let (brokers, topic) = (self.cluster.bootstrap_servers(), topic.to_owned());
        let read = move || {
            let client: BaseConsumer =
                ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "g").create().expect("client");
            let mut list = TopicPartitionList::new();
            for partition in 0..PARTITIONS {
                list.add_partition_offset(&topic, partition, Offset::Beginning).expect("offset");
            }
            client.assign(&list).expect("assigned");
            let mut records = Vec::new();
            while records.len() < count {
                let message = client.poll(Duration::from_secs(60)).expect("a record").expect("no error");
                let header = |headers: &rdkafka::message::BorrowedHeaders| {
                    let header = headers.get(0);
                    format!("{}={}", header.key, String::from_utf8_lossy(header.value.unwrap_or_default()))
                };
                records.push(Record {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().unwrap_or_default().to_vec(),
                    value: String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned(),
                    header: message.headers().map(header),
                });
            }
            records.sort_by_key(|record| (record.partition, record.offset));
            records
        };
        actix_rt::task::spawn_blocking(read).await.expect("joined")
    }

    fn dead_letters(&self) -> Vec<DeadLetter> {
        read_dead_letters(&self.folder.path().join("dead"))
            .expect("file")
            .map(|letter| letter.expect("letter"))
            .collect()
    }
}

#[derive(Debug)]
struct Record {
    partition: i32,
    offset: i64,
    key: Vec<u8>,
    value: String,
    header: Option<String>,
}

fn origin(topic: &str, file: u64, partition: PartitionRule) -> FileOrigin {
    FileOrigin {
        id: file,
        topic: topic.into(),
        partition,
        host: "web-01".into(),
        file: FileId(file),
        entry: Some(EntryId(0xbeef)),
        path: b"/var/log/a b.log".as_slice().into(),
    }
}

fn values(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| &*record.value).collect()
}

#[actix_rt::test]
async fn a_delivered_batch_settles_and_its_records_have_key_value_and_partition() {
    let mut bench = Bench::new(&[]);
    bench.topic("t");
    let file = 0x8000_0000_0000_0000;
    bench.send(origin("t", file, PartitionRule::File), &["first", "second \u{fffd}"]).await;
    assert_eq!(bench.settled().await, Settled { origin: file, seq: 1, delivered: 2, dead: 0 });
    let records = bench.records("t", 2).await;
    assert_eq!(values(&records), ["first", "second \u{fffd}"]);
    assert!(records.iter().all(|record| record.partition == partition_of_file(FileId(file), PARTITIONS)));
    let key = Key::parse(&records[1].key).expect("ours");
    assert_eq!((key.host, key.file, key.offset, key.read_ms), ("web-01", FileId(file), 1006, 77));
    assert_eq!((key.entry, key.path), (Some(EntryId(0xbeef)), &b"/var/log/a b.log"[..]));
    assert_eq!(records[0].header, None);
    assert_eq!((bench.counters.records(), bench.counters.bytes(), bench.counters.unsettled()), (2, 15, 0));
}

#[actix_rt::test]
async fn an_empty_batch_settles_at_once() {
    let mut bench = Bench::new(&[]);
    bench.send(origin("nowhere", 5, PartitionRule::File), &[]).await;
    assert_eq!(bench.settled().await, Settled { origin: 5, seq: 1, delivered: 0, dead: 0 });
}

#[actix_rt::test]
async fn parts_of_a_long_line_carry_a_header_and_stay_in_order() {
    let mut bench = Bench::new(&[]);
    bench.topic("t");
    let line = |start, len, part| Line { start, len, part };
    let lines = vec![
        line(0, 2, Part::Whole),
        line(3, 4, Part::Nth(1)),
        line(7, 4, Part::Nth(2)),
        line(11, 1, Part::Last),
        line(13, 2, Part::Whole),
    ];
    let batch = bench.chunk(origin("t", 1, PartitionRule::Number(2)), b"aa\nbbbbccccd\nee\n".to_vec().into(), lines);
    bench.sink.send(batch).await.expect("alive");
    assert_eq!(bench.settled().await.delivered, 5);
    let records = bench.records("t", 5).await;
    assert_eq!(values(&records), ["aa", "bbbb", "cccc", "d", "ee"]);
    let headers: Vec<_> = records.iter().map(|record| record.header.as_deref()).collect();
    assert_eq!(headers, [None, Some("part=1"), Some("part=2"), Some("part=last"), None]);
    assert!(records.iter().all(|record| record.partition == 2));
    assert_eq!(Key::parse(&records[2].key).expect("ours").offset, 1007);
}

#[actix_rt::test]
async fn a_topic_that_is_unknown_waits_and_the_others_go_on() {
    let mut bench = Bench::new(&[]);
    bench.topic("good");
    bench.topic("bad");
    bench.cluster.topic_error("bad", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).expect("set");
    let waits = bench.send(origin("bad", 1, PartitionRule::File), &["waits"]).await;
    for _ in 0..3 {
        let seq = bench.send(origin("good", 2, PartitionRule::File), &["goes"]).await;
        assert_eq!(bench.settled().await.seq, seq);
    }
    bench.until("an error is counted", |b| b.counters.errors(logweir::kafka::ErrorKind::Topic) > 0).await;
    assert_eq!(bench.counters.unsettled(), 1);
    bench.cluster.topic_error("bad", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).expect("set");
    assert_eq!(bench.settled().await.seq, waits);
}

#[actix_rt::test]
async fn a_partition_that_does_not_exist_holds_up_its_topic_only() {
    let mut bench = Bench::new(&[]);
    bench.topic("good");
    bench.topic("bad");
    bench.send(origin("bad", 1, PartitionRule::Number(PARTITIONS)), &["waits"]).await;
    let seq = bench.send(origin("good", 2, PartitionRule::Number(PARTITIONS - 1)), &["goes"]).await;
    assert_eq!(bench.settled().await.seq, seq);
    bench.until("an error is counted", |b| b.counters.errors(logweir::kafka::ErrorKind::Topic) > 0).await;
    assert_eq!(bench.counters.unsettled(), 1);
}

#[actix_rt::test]
async fn a_line_over_the_size_limit_goes_to_the_dead_letter_file_and_the_rest_is_delivered() {
    let mut bench = Bench::new(&[("message.max.bytes", "2000"), ("batch.size", "2000")]);
    bench.topic("t");
    let long = "x".repeat(3000);
    bench.send(origin("t", 9, PartitionRule::Number(0)), &["before", &long, "after"]).await;
    assert_eq!(bench.settled().await, Settled { origin: 9, seq: 1, delivered: 2, dead: 1 });
    assert_eq!(values(&bench.records("t", 2).await), ["before", "after"]);
    let letters = bench.dead_letters();
    assert_eq!((letters.len(), &*letters[0].topic, letters[0].code), (1, "t", 10));
    assert_eq!(letters[0].value, long.as_bytes());
    assert_eq!(Key::parse(&letters[0].key).expect("ours").offset, 1007);
    assert_eq!(bench.counters.dead_letters(), 1);
}

#[actix_rt::test]
async fn a_record_batch_that_is_refused_once_is_sent_in_pieces_and_nothing_dies() {
    let mut bench = Bench::new(&[]);
    bench.topic("t");
    // The broker refuses the whole, then its halves: only single lines are small enough.
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    bench.cluster.request_errors(RDKafkaApiKey::Produce, &[error; 3]);
    bench.send(origin("t", 1, PartitionRule::Number(0)), &["a", "b", "c", "d"]).await;
    bench.send(origin("t", 1, PartitionRule::Number(0)), &["e", "f"]).await;
    assert_eq!((bench.settled().await.delivered, bench.settled().await.delivered), (4, 2));
    assert_eq!(values(&bench.records("t", 6).await), ["a", "b", "c", "d", "e", "f"]);
    assert!(!bench.folder.path().join("dead").exists());
}

#[actix_rt::test]
async fn a_line_that_is_refused_alone_is_dead() {
    let mut bench = Bench::new(&[]);
    bench.topic("t");
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    bench.cluster.request_errors(RDKafkaApiKey::Produce, &[error; 2]);
    bench.send(origin("t", 1, PartitionRule::Number(0)), &["bad"]).await;
    assert_eq!(bench.settled().await, Settled { origin: 1, seq: 1, delivered: 0, dead: 1 });
    assert_eq!(bench.dead_letters()[0].value, b"bad");
    bench.send(origin("t", 1, PartitionRule::Number(0)), &["good"]).await;
    assert_eq!(bench.settled().await.delivered, 1);
}

#[actix_rt::test]
async fn a_dead_letter_file_that_cannot_be_written_keeps_the_batch_unsettled() {
    let mut bench = Bench::new(&[]);
    bench.topic("t");
    std::fs::create_dir(bench.folder.path().join("dead")).expect("in the way");
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    bench.cluster.request_errors(RDKafkaApiKey::Produce, &[error; 2]);
    bench.send(origin("t", 1, PartitionRule::Number(0)), &["bad"]).await;
    bench.until("it fails", |b| b.counters.errors(logweir::kafka::ErrorKind::DeadLetterFile) > 0).await;
    assert!(bench.settled.try_recv().is_err());
    std::fs::remove_dir(bench.folder.path().join("dead")).expect("out of the way");
    assert_eq!(bench.settled().await.dead, 1);
}

#[actix_rt::test]
async fn a_topic_that_refuses_writing_for_a_while_gets_everything_in_order() {
    let mut bench = Bench::new(&[("linger.ms", "0")]);
    bench.topic("t");
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    bench.cluster.request_errors(RDKafkaApiKey::Produce, &[error; 3]);
    let lines: Vec<String> = (0..40).map(|n| format!("line {n}")).collect();
    for line in &lines {
        bench.send(origin("t", 1, PartitionRule::File), &[line]).await;
    }
    for _ in &lines {
        bench.settled().await;
    }
    assert_eq!(values(&bench.records("t", 40).await), lines);
    assert!(bench.counters.errors(logweir::kafka::ErrorKind::Topic) > 0);
}

#[actix_rt::test]
async fn a_fatal_error_makes_a_new_client_that_sends_everything_in_order() {
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    let mut bench = Bench::prepared(&[], |cluster| {
        cluster.create_topic("t", PARTITIONS, 1).expect("topic");
        cluster.request_errors(RDKafkaApiKey::InitProducerId, &[error]);
    });
    for line in ["one", "two", "three"] {
        bench.send(origin("t", 1, PartitionRule::File), &[line]).await;
    }
    for _ in 0..3 {
        assert_eq!(bench.settled().await.delivered, 1);
    }
    assert_eq!(values(&bench.records("t", 3).await), ["one", "two", "three"]);
    assert_eq!(bench.counters.recreations(), 1);
}

#[actix_rt::test]
async fn an_outage_of_the_broker_only_delays() {
    let mut bench = Bench::new(&[]);
    bench.topic("t");
    bench.send(origin("t", 1, PartitionRule::File), &["before"]).await;
    bench.settled().await;
    bench.cluster.broker_down(1).expect("down");
    bench.send(origin("t", 1, PartitionRule::File), &["during"]).await;
    bench.send(origin("new", 2, PartitionRule::File), &["during"]).await;
    bench.until("it is noticed", |b| b.counters.errors(logweir::kafka::ErrorKind::Broker) > 0).await;
    assert_eq!(bench.counters.unsettled(), 2);
    bench.cluster.broker_up(1).expect("up");
    assert_eq!(bench.settled().await.delivered + bench.settled().await.delivered, 2);
}

#[actix_rt::test]
async fn lent_memory_stays_untouched_until_the_delivery() {
    let mut bench = Bench::new(&[("compression.codec", "none"), ("message.copy.max.bytes", "0")]);
    bench.topic("t");
    bench.cluster.broker_round_trip_time(1, Duration::from_millis(100)).expect("slow");
    // Four buffers for forty batches: a buffer that went back too early would be overwritten.
    let (pool, credits) = (ChunkPool::new(4096, 4), Credits::new(8 * 4 * 4096));
    let topic: Arc<str> = "t".into();
    let mut expected = Vec::new();
    for n in 0..40_u32 {
        let credit = credits.take(&topic, 4096).await;
        let mut bytes = pool.take(4096);
        bytes.resize(4000, b'a' + (n % 26) as u8);
        expected.push(String::from_utf8(bytes.clone()).expect("letters"));
        let line = Line { start: 0, len: 4000, part: Part::Whole };
        let mut batch = bench.chunk(origin("t", 1, PartitionRule::Number(0)), pool.seal(bytes), vec![line]);
        batch.credit = credit;
        bench.sink.send(batch).await.expect("alive");
    }
    for _ in 0..40 {
        bench.settled().await;
    }
    assert_eq!(values(&bench.records("t", 40).await), expected);
    assert_eq!(credits.free_bytes(), 8 * 4 * 4096);
}

#[actix_rt::test]
async fn a_panic_is_reported_and_gives_back_the_memory() {
    let mut bench = Bench::new(&[]);
    bench.topic("t");
    bench.send(origin("t", 1, PartitionRule::File), &["before"]).await;
    bench.settled().await;
    bench.cluster.broker_down(1).expect("down");
    let credits = Credits::new(8000);
    let mut batch = bench.batch(origin("t", 1, PartitionRule::File), &["stuck"]);
    batch.credit = credits.take(&"t".into(), 1000).await;
    bench.sink.send(batch).await.expect("alive");
    assert_eq!(credits.free_bytes(), 7000);
    assert!(bench.producer.send(InjectPanic).await.is_err());
    let stopped = bench.stopped.recv().await.expect("told");
    assert_eq!((stopped.kind, stopped.orderly), ("kafka_producer", false));
    bench.until("the credit is back", |_| credits.free_bytes() == 8000).await;
    assert!(bench.settled.try_recv().is_err(), "it was not delivered");
}

#[actix_rt::test]
async fn an_orderly_stop_waits_for_deliveries() {
    let mut bench = Bench::new(&[("linger.ms", "200")]);
    bench.topic("t");
    bench.send(origin("t", 1, PartitionRule::File), &["last"]).await;
    bench.producer.send(Shutdown).await.expect("stops");
    assert!(bench.stopped.recv().await.expect("told").orderly);
    assert_eq!(bench.settled.try_recv().map(|settled| settled.delivered), Ok(1));
}

#[actix_rt::test]
async fn rounds_and_random_use_every_partition() {
    let mut bench = Bench::new(&[]);
    bench.topic("round");
    bench.topic("random");
    for _ in 0..60 {
        bench.send(origin("round", 1, PartitionRule::RoundRobin), &["x"]).await;
        bench.send(origin("random", 2, PartitionRule::Random), &["x"]).await;
    }
    for _ in 0..120 {
        bench.settled().await;
    }
    let count = |records: &[Record], p| records.iter().filter(|record| record.partition == p).count();
    let (round, random) = (bench.records("round", 60).await, bench.records("random", 60).await);
    for partition in 0..PARTITIONS {
        assert_eq!(count(&round, partition), 20);
        assert!(count(&random, partition) > 0);
    }
}
