//! EsBatcher between a source, the entry store and the dead letters that are collectors, and an Elasticsearch that is
//! a stub: what arrives how often, what is settled, and when.

use crate::bulk_stub::{Mood, Stub};
use actix::prelude::*;
use logweir::{
    actors::es_batcher::{EsBatcher, EsBatcherSettings, Neighbours},
    collection::Delivery,
    document::DEFAULT_INDEX,
    elastic::{ElasticConfig, ElasticCounters, QueueSettings, TemplateSettings},
    flow::{Backoff, Credit, Origin, PartitionOrigin},
    messages::*,
    telemetry::{ActorStats, Mailbox, init_for_tests},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// Stands for every neighbour: passes on what it hears, and answers as told.
struct Collector {
    settled: mpsc::UnboundedSender<Settled>,
    letters: mpsc::UnboundedSender<KeepDeadLetter>,
    stopped: mpsc::UnboundedSender<ChildStopped>,
    /// Dead letters that fail before one is kept.
    letters_fail: u32,
    /// Dead letters that came, kept or not.
    attempts: watch::Sender<u32>,
    delivery: Option<Delivery>,
}

impl Actor for Collector {
    type Context = Context<Self>;
}

impl Handler<Settled> for Collector {
    type Result = ();
    fn handle(&mut self, message: Settled, _: &mut Self::Context) {
        self.settled.send(message).unwrap();
    }
}

impl Handler<ChildStopped> for Collector {
    type Result = ();
    fn handle(&mut self, message: ChildStopped, _: &mut Self::Context) {
        self.stopped.send(message).unwrap();
    }
}

impl Handler<KeepDeadLetter> for Collector {
    type Result = Result<(), DeadLetterError>;
    fn handle(&mut self, message: KeepDeadLetter, _: &mut Self::Context) -> Self::Result {
        self.attempts.send_modify(|attempts| *attempts += 1);
        if self.letters_fail > 0 {
            self.letters_fail -= 1;
            return Err(DeadLetterError("broker is down".into()));
        }
        self.letters.send(message).unwrap();
        Ok(())
    }
}

impl Handler<LookUpEntry> for Collector {
    type Result = Result<Option<Arc<Delivery>>, EntryStoreError>;
    fn handle(&mut self, _: LookUpEntry, _: &mut Self::Context) -> Self::Result {
        match self.delivery.take() {
            // The first question comes too early.
            Some(delivery) if delivery.labels.contains_key("late") => {
                self.delivery = Some(Delivery { labels: [("env".into(), "prod".into())].into(), ..delivery });
                Ok(None)
            }
            delivery => Ok(delivery.map(Arc::new)),
        }
    }
}

struct Bench {
    stub: Stub,
    batcher: Addr<EsBatcher>,
    batches: Mailbox<LineBatch>,
    collector: Addr<Collector>,
    settled: mpsc::UnboundedReceiver<Settled>,
    letters: mpsc::UnboundedReceiver<KeepDeadLetter>,
    stopped: mpsc::UnboundedReceiver<ChildStopped>,
    attempts: watch::Receiver<u32>,
    counters: Arc<ElasticCounters>,
    next_seq: u64,
}

fn settings() -> EsBatcherSettings {
    EsBatcherSettings {
        queue: QueueSettings {
            linger: Duration::from_millis(5),
            backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(50)),
            ..QueueSettings::default()
        },
        template: TemplateSettings::default(),
        index: DEFAULT_INDEX.parse().unwrap(),
        deadline: Duration::from_secs(20),
        stop_deadline: Duration::from_secs(20),
    }
}

impl Bench {
    fn new(settings: EsBatcherSettings, letters_fail: u32, delivery: Option<Delivery>) -> Self {
        init_for_tests();
        let stub = Stub::start(true, 0).unwrap();
        let config = ElasticConfig { urls: vec![stub.url()], api_key: Some("first".into()), ..Default::default() };
        let ((settled_in, settled), (letters_in, letters)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (stopped_in, stopped) = mpsc::unbounded_channel();
        let (attempts_in, attempts) = watch::channel(0);
        let collector = Collector {
            settled: settled_in,
            letters: letters_in,
            stopped: stopped_in,
            letters_fail,
            attempts: attempts_in,
            delivery,
        }
        .start();
        let stats = ActorStats::new("collector", 16);
        let neighbours = Neighbours {
            entries: Mailbox::new(collector.clone().recipient(), stats.clone()),
            dead_letters: Mailbox::new(collector.clone().recipient(), stats.clone()),
            parent: Mailbox::new(collector.clone().recipient(), stats),
        };
        let (counters, stats) = (Arc::new(ElasticCounters::default()), ActorStats::new(EsBatcher::KIND, 16));
        let batcher = EsBatcher::new(settings, Some(&config), neighbours, counters.clone(), stats.clone()).start();
        let batches = Mailbox::new(batcher.clone().recipient(), stats);
        Self { stub, batcher, batches, collector, settled, letters, stopped, attempts, counters, next_seq: 0 }
    }

    /// A batch of one topic's lines, each with a key of ours.
    async fn push(&mut self, topic: &str, lines: &[&str]) {
        let texts: Vec<_> = lines.iter().map(|line| (Some(self.key(topic, line)), line.as_bytes())).collect();
        self.push_records(topic, &texts).await;
    }

    fn key(&self, topic: &str, line: &str) -> String {
        let file = u64::from(topic.len() as u32) << 32 | u64::from(topic.as_bytes()[0]);
        let offset = line.bytes().fold(7u64, |n, b| n * 131 % 1_000_000_007 + u64::from(b));
        format!("web-01 {file:016x} {offset} 1795246112111 - /var/log/{topic}")
    }

    async fn push_records(&mut self, topic: &str, texts: &[(Option<String>, &[u8])]) {
        let (mut data, mut lines, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (key, text)) in texts.iter().enumerate() {
            let key = key.as_ref().map(|key| {
                data.extend_from_slice(key.as_bytes());
                ((data.len() - key.len()) as u32, key.len() as u32)
            });
            let offset = self.next_seq as i64 * 1000 + number as i64;
            records.push(Record { offset, timestamp_ms: 1_795_246_112_111, key });
            lines.push(Line { start: data.len() as u32, len: text.len() as u32, part: Part::Whole });
            data.extend_from_slice(text);
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        let origin = PartitionOrigin { id: 9, topic: topic.into(), partition: 0 };
        let settle_to = Mailbox::new(self.collector.clone().recipient(), ActorStats::new("collector", 16));
        let batch = LineBatch {
            origin: Origin::Partition(Arc::new(origin)),
            seq,
            begin: 0,
            end: 0,
            read_ms: 0,
            data: data.into(),
            lines,
            records,
            credit: Credit::none(),
            settle_to,
        };
        self.batches.send(batch).await.unwrap();
    }

    /// The messages that arrived for good, sorted, and how often each came.
    fn created(&self) -> Vec<(String, u32)> {
        let seen = self.stub.seen();
        let created = seen.docs.values().filter(|doc| doc.created);
        let mut messages: Vec<_> = created
            .map(|doc| {
                let source: serde_json::Value = serde_json::from_str(doc.source.as_ref().unwrap()).unwrap();
                (source["message"].as_str().unwrap().to_owned(), doc.times)
            })
            .collect();
        messages.sort();
        messages
    }
}

fn once(messages: &[&str]) -> Vec<(String, u32)> {
    messages.iter().map(|message| ((*message).to_owned(), 1)).collect()
}

#[actix_rt::test]
async fn lines_arrive_once_after_the_index_template_and_their_batch_is_settled() {
    let mut bench = Bench::new(settings(), 0, None);
    bench.push("nginx", &["one", "two"]).await;
    assert_eq!(bench.settled.recv().await, Some(Settled { origin: 9, seq: 0, delivered: 2, dead: 0 }));
    assert_eq!(bench.created(), once(&["one", "two"]));
    let seen = bench.stub.seen();
    assert_eq!((seen.templates.len(), seen.malformed), (1, 0));
    assert!(seen.templates[0].1.contains("logweir-*-*.*.*"));
    assert_eq!(seen.authorizations, ["ApiKey first"]);
}

const PARSING: &str = "document_parsing_exception";

#[actix_rt::test]
async fn one_bad_document_goes_to_the_dead_letters_before_its_batch_is_settled() {
    let mut bench = Bench::new(settings(), 2, None);
    bench.stub.set_mood(Mood::Judge(Box::new(|doc| {
        doc.source.contains("\"bad\"").then(|| (400, PARSING, "failed to parse field [x]".into()))
    })));
    bench.push("nginx", &["one", "bad", "two"]).await;
    // Two attempts fail, so the letter stands here before the batch is settled, or the test hangs.
    let letter = bench.letters.recv().await.unwrap();
    assert_eq!(bench.settled.recv().await, Some(Settled { origin: 9, seq: 0, delivered: 2, dead: 1 }));
    let key = bench.key("nginx", "bad");
    assert_eq!((letter.value.as_slice(), letter.key.as_deref()), (&b"bad"[..], Some(key.as_bytes())));
    assert_eq!((letter.status, letter.offset, &*letter.topic), (400, 1, "nginx"));
    assert!(letter.reason.contains(PARSING) && letter.index.starts_with("logweir-nginx-"), "{letter:?}");
    assert_eq!(bench.created(), once(&["one", "two"]));
    assert_eq!(bench.counters.dead.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[actix_rt::test]
async fn a_dead_letter_that_can_not_be_written_is_tried_rarely_and_for_ever() {
    let mut bench = Bench::new(settings(), 50, None);
    bench.stub.set_mood(Mood::Judge(Box::new(|_| Some((400, PARSING, "failed to parse field [x]".into())))));
    bench.push("nginx", &["bad"]).await;
    bench.attempts.wait_for(|attempts| *attempts > 0).await.unwrap();
    // Elasticsearch has answered: from here on nothing but waiting takes time.
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    assert_eq!(bench.settled.recv().await, Some(Settled { origin: 9, seq: 0, delivered: 0, dead: 1 }));
    let (attempts, took) = (*bench.attempts.borrow(), begin.elapsed());
    // The waits double up to 30 s, and jitter halves them at most.
    assert_eq!(attempts, 51);
    assert!((600..1_500).contains(&took.as_secs()), "{attempts} attempts took {took:?}");
}

#[actix_rt::test]
async fn only_the_documents_concerned_are_sent_again() {
    let mut bench = Bench::new(settings(), 0, None);
    let mut refusals = 3;
    bench.stub.set_mood(Mood::Judge(Box::new(move |doc| {
        let refused = doc.source.contains("\"two\"") && refusals > 0;
        refusals -= u32::from(refused);
        refused.then(|| (429, "es_rejected_execution_exception", "full".into()))
    })));
    bench.push("nginx", &["one", "two", "three"]).await;
    assert_eq!(bench.settled.recv().await.map(|s| s.delivered), Some(3));
    assert_eq!(bench.created(), [("one".to_owned(), 1), ("three".to_owned(), 1), ("two".to_owned(), 4)]);
}

#[actix_rt::test]
async fn what_is_there_already_counts_as_delivered() {
    let mut bench = Bench::new(settings(), 0, None);
    for seq in 0..2 {
        bench.push("nginx", &["one", "two"]).await;
        assert_eq!(bench.settled.recv().await, Some(Settled { origin: 9, seq, delivered: 2, dead: 0 }));
    }
    assert_eq!(bench.created(), [("one".to_owned(), 2), ("two".to_owned(), 2)]);
    assert_eq!(bench.counters.conflicts.load(std::sync::atomic::Ordering::Relaxed), 2);
}

/// A server that fails as a whole, in any way: nothing is settled or given up, and everything arrives afterwards.
async fn survives(mood: Mood, deadline: Duration) {
    let mut bench = Bench::new(EsBatcherSettings { deadline, ..settings() }, 0, None);
    bench.stub.set_mood(mood);
    bench.push("nginx", &["one", "two"]).await;
    bench.stub.wait_until(|seen| seen.requests >= 3).await;
    assert!(bench.settled.try_recv().is_err() && bench.letters.try_recv().is_err());
    bench.stub.set_mood(Mood::good());
    assert_eq!(bench.settled.recv().await, Some(Settled { origin: 9, seq: 0, delivered: 2, dead: 0 }));
    let messages: Vec<_> = bench.created().into_iter().map(|(message, _)| message).collect();
    assert_eq!(messages, ["one", "two"]);
    assert!(bench.letters.try_recv().is_err());
}

const LONG: Duration = Duration::from_secs(20);

#[actix_rt::test]
async fn an_elasticsearch_that_answers_500_is_waited_for() {
    survives(Mood::Answer(500, "oops"), LONG).await;
}

#[actix_rt::test]
async fn an_elasticsearch_that_answers_400_to_the_whole_is_waited_for() {
    survives(Mood::Answer(400, r#"{"error":{"type":"illegal_argument_exception","reason":"r"},"status":400}"#), LONG)
        .await;
}

#[actix_rt::test]
async fn an_elasticsearch_that_answers_garbage_is_waited_for() {
    survives(Mood::Answer(200, "<html>It works!</html>"), LONG).await;
}

#[actix_rt::test]
async fn an_answer_with_too_few_verdicts_is_garbage() {
    survives(Mood::Answer(200, r#"{"errors":false,"items":[{"create":{"status":201}}]}"#), LONG).await;
}

#[actix_rt::test]
async fn half_an_answer_is_no_answer() {
    survives(Mood::Truncate, LONG).await;
}

#[actix_rt::test]
async fn a_closed_connection_is_no_answer() {
    survives(Mood::Close, LONG).await;
}

#[actix_rt::test]
async fn an_elasticsearch_that_never_answers_is_left_at_the_deadline() {
    survives(Mood::Hang, Duration::from_millis(100)).await;
}

#[actix_rt::test]
async fn refused_credentials_are_replaced_while_records_wait() {
    let mut bench = Bench::new(settings(), 0, None);
    bench.stub.set_mood(Mood::Answer(401, r#"{"error":{"type":"security_exception","reason":"no"},"status":401}"#));
    bench.push("nginx", &["one"]).await;
    bench.stub.wait_until(|seen| seen.requests >= 2).await;
    assert!(bench.settled.try_recv().is_err() && bench.letters.try_recv().is_err());
    bench.stub.set_mood(Mood::good());
    let (username, password) = (Some("u".into()), Some("p".into()));
    let config = ElasticConfig { urls: vec![bench.stub.url()], username, password, ..Default::default() };
    bench.batcher.send(UseElastic(Arc::new(config))).await.unwrap();
    assert_eq!(bench.settled.recv().await.map(|s| s.delivered), Some(1));
    assert_eq!(bench.stub.seen().authorizations.last().map(String::as_str), Some("Basic dTpw"));
}

#[actix_rt::test]
async fn a_configuration_that_can_not_be_used_leaves_the_old_one() {
    let mut bench = Bench::new(settings(), 0, None);
    let config = ElasticConfig { urls: vec!["nonsense".into()], ..Default::default() };
    bench.batcher.send(UseElastic(Arc::new(config))).await.unwrap();
    bench.push("nginx", &["one"]).await;
    assert_eq!(bench.settled.recv().await.map(|s| s.delivered), Some(1));
}

#[actix_rt::test]
async fn a_node_that_is_down_is_passed_over() {
    let mut bench = Bench::new(settings(), 0, None);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let down = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let config = ElasticConfig { urls: vec![down, bench.stub.url()], ..Default::default() };
    bench.batcher.send(UseElastic(Arc::new(config))).await.unwrap();
    bench.push("nginx", &["one"]).await;
    assert_eq!(bench.settled.recv().await.map(|s| s.delivered), Some(1));
}

#[actix_rt::test]
async fn a_request_over_the_servers_limit_is_split_and_a_single_document_over_it_is_a_dead_letter() {
    let mut bench = Bench::new(settings(), 0, None);
    bench.stub.set_mood(Mood::AtMost(2000));
    let long = "x".repeat(3000);
    let mut lines: Vec<_> = (0..20).map(|n| format!("line {n:02}")).collect();
    lines.insert(7, long.clone());
    bench.push("nginx", &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(bench.settled.recv().await, Some(Settled { origin: 9, seq: 0, delivered: 20, dead: 1 }));
    let letter = bench.letters.recv().await.unwrap();
    assert_eq!((letter.status, letter.value.len()), (413, 3000));
    lines.remove(7);
    assert_eq!(bench.created(), once(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[actix_rt::test]
async fn one_failing_index_does_not_stop_another() {
    let mut bench = Bench::new(settings(), 0, None);
    bench.stub.set_mood(Mood::Judge(Box::new(|doc| {
        doc.index.contains("closed").then(|| (400, "index_closed_exception", "closed".into()))
    })));
    for round in 0..20u64 {
        bench.push("closed", &["never"]).await;
        bench.push("open", &["at once"]).await;
        assert_eq!(bench.settled.recv().await.map(|s| s.seq), Some(2 * round + 1));
    }
    bench.stub.set_mood(Mood::good());
    // In any order: what was on its way when the index opened comes before what waited.
    let mut late = Vec::new();
    for _ in 0..20 {
        late.extend(bench.settled.recv().await.map(|settled| settled.seq));
    }
    late.sort_unstable();
    assert!(late.into_iter().eq((0..20).map(|round| 2 * round)));
    assert!(bench.letters.try_recv().is_err());
}

#[actix_rt::test]
async fn nothing_is_written_before_the_index_template_is_installed() {
    let mut bench = Bench::new(settings(), 0, None);
    bench.stub.set_template_status(403);
    bench.push("nginx", &["one"]).await;
    bench.stub.wait_until(|seen| seen.templates.len() >= 3).await;
    assert_eq!(bench.stub.seen().requests, 0);
    bench.stub.set_template_status(200);
    assert_eq!(bench.settled.recv().await.map(|s| s.delivered), Some(1));
}

#[actix_rt::test]
async fn an_unknown_entry_holds_up_only_its_own_records() {
    let delivery = Delivery { labels: [("late".into(), "yes".into())].into(), index: Some("app-%Y".into()) };
    let mut bench = Bench::new(settings(), 0, Some(delivery));
    let key = bench.key("nginx", "x").replace(" - ", " 0000beef ");
    bench.push_records("nginx", &[(Some(key), b"labelled")]).await;
    bench.push("other", &["plain"]).await;
    assert_eq!(bench.settled.recv().await.map(|s| s.seq), Some(1));
    assert_eq!(bench.settled.recv().await.map(|s| s.seq), Some(0));
    let seen = bench.stub.seen();
    let labelled = seen.docs.iter().find(|((index, _), _)| index == "app-2026").unwrap();
    assert!(labelled.1.source.as_ref().unwrap().contains(r#""labels":{"env":"prod"}"#), "{labelled:?}");
    assert_eq!(seen.templates.len(), 2);
}

#[actix_rt::test]
async fn records_of_other_producers_and_of_any_bytes_arrive() {
    let mut bench = Bench::new(settings(), 0, None);
    let texts: [(Option<String>, &[u8]); 4] =
        [(None, b"no key"), (Some("user-42".into()), b"a key"), (None, b"\xff\x00\"\\"), (None, b"")];
    bench.push_records("events", &texts).await;
    assert_eq!(bench.settled.recv().await.map(|s| s.delivered), Some(4));
    assert_eq!(bench.created(), once(&["", "a key", "no key", "\u{fffd}\u{0}\"\\"]));
    assert_eq!(bench.stub.seen().malformed, 0);
}

#[actix_rt::test]
async fn a_stop_sends_what_is_held_and_a_panic_is_reported() {
    let mut lingering = settings();
    lingering.queue.linger = Duration::from_secs(3600);
    let mut bench = Bench::new(lingering.clone(), 0, None);
    bench.push("nginx", &["one"]).await;
    bench.batcher.send(Shutdown).await.unwrap();
    assert_eq!(bench.settled.recv().await.map(|s| s.delivered), Some(1));
    assert!(bench.stopped.recv().await.is_some_and(|stopped| stopped.orderly));

    let mut bench = Bench::new(lingering, 0, None);
    bench.push("nginx", &["one"]).await;
    assert!(bench.batcher.send(InjectPanic).await.is_err());
    assert!(bench.stopped.recv().await.is_some_and(|stopped| !stopped.orderly));
    assert!(bench.settled.try_recv().is_err());
}

#[actix_rt::test]
async fn a_topic_that_is_mostly_refused_is_held_and_arrives_once_the_mapping_is_right() {
    let mut bench = Bench::new(settings(), 0, None);
    let bad = |doc: &crate::bulk_stub::Doc<'_>| {
        doc.index.contains("nginx").then(|| (400, PARSING, "failed to parse field [message] of type [date]".into()))
    };
    bench.stub.set_mood(Mood::Judge(Box::new(bad)));
    let lines: Vec<_> = (0..50).map(|n| format!("line {n}")).collect();
    bench.push("nginx", &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    bench.stub.wait_until(|seen| seen.requests >= 3).await;
    bench.push("other", &["fine"]).await;
    assert_eq!(bench.settled.recv().await.map(|s| s.seq), Some(1));
    assert!(bench.letters.try_recv().is_err());
    bench.stub.set_mood(Mood::good());
    assert_eq!(bench.settled.recv().await, Some(Settled { origin: 9, seq: 0, delivered: 50, dead: 0 }));
}
