//! DeadLetters against librdkafka's mock cluster: what is answered with `Ok` is in the topic, with everything that a
//! replay needs.

use actix::prelude::*;
use logweir::{
    actors::dead_letters::{DeadLetterCounters, DeadLetters, DeadLettersSettings},
    kafka::config::ProducerOptions,
    messages::*,
    telemetry::{ActorStats, Mailbox, init_for_tests},
};
use rdkafka::{
    ClientConfig, Message,
    consumer::{BaseConsumer, Consumer},
    message::{Headers, OwnedMessage},
    mocking::MockCluster,
    producer::DefaultProducerContext,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const TOPIC: &str = "logweir.dead-letters";

struct Parent(tokio::sync::mpsc::UnboundedSender<ChildStopped>);

impl Actor for Parent {
    type Context = Context<Self>;
}

impl Handler<ChildStopped> for Parent {
    type Result = ();
    fn handle(&mut self, message: ChildStopped, _: &mut Self::Context) {
        self.0.send(message).unwrap();
    }
}

fn letters(
    cluster: &MockCluster<'static, DefaultProducerContext>,
) -> (Addr<DeadLetters>, tokio::sync::mpsc::UnboundedReceiver<ChildStopped>) {
    init_for_tests();
    let options: BTreeMap<_, _> = [("bootstrap.servers".to_owned(), cluster.bootstrap_servers())].into();
    let settings = DeadLettersSettings {
        topic: TOPIC.into(),
        options: ProducerOptions::new(&options).unwrap(),
        deadline: Duration::from_secs(20),
    };
    let (stopped_in, stopped) = tokio::sync::mpsc::unbounded_channel();
    let parent = Mailbox::new(Parent(stopped_in).start().recipient(), ActorStats::new("parent", 16));
    let stats = ActorStats::new(DeadLetters::KIND, 16);
    (DeadLetters::new(settings, parent, Arc::new(DeadLetterCounters::default()), stats).start(), stopped)
}

fn letter(value: Vec<u8>) -> KeepDeadLetter {
    KeepDeadLetter {
        key: Some(b"web-01 a41f9c0e77d2b3c8 7 1795246112111 - /p".into()),
        value,
        reason: "document_parsing_exception: failed to parse field [x]".into(),
        status: 400,
        topic: "nginx".into(),
        partition: 3,
        offset: 42,
        index: "logweir-nginx-2026.11.21".into(),
    }
}

fn read(cluster: &MockCluster<'static, DefaultProducerContext>, count: usize) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    let mut all = rdkafka::TopicPartitionList::new();
    all.add_partition_offset(TOPIC, 0, rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&all).unwrap();
    let next = || consumer.poll(Duration::from_secs(30)).expect("a letter").unwrap().detach();
    (0..count).map(|_| next()).collect()
}

fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == name)?;
    Some(String::from_utf8_lossy(header.value?).into_owned())
}

#[actix_rt::test]
async fn an_answered_letter_is_in_the_topic_with_all_that_a_replay_needs() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let (letters, _stopped) = letters(&cluster);
    letters.send(letter(b"bad\xff\0line".into())).await.unwrap().unwrap();
    let message = read(&cluster, 1).remove(0);
    assert_eq!(message.payload(), Some(&b"bad\xff\0line"[..]));
    assert_eq!(message.key(), Some(&b"web-01 a41f9c0e77d2b3c8 7 1795246112111 - /p"[..]));
    let expected = [
        ("reason", "document_parsing_exception: failed to parse field [x]"),
        ("status", "400"),
        ("topic", "nginx"),
        ("partition", "3"),
        ("offset", "42"),
        ("index", "logweir-nginx-2026.11.21"),
    ];
    for (name, value) in expected {
        assert_eq!(header(&message, name).as_deref(), Some(value), "{name}");
    }
    assert!(header(&message, "time").unwrap().parse::<u64>().unwrap() > 1_700_000_000_000);
    assert_eq!(header(&message, "truncated"), None);
}

#[actix_rt::test]
async fn a_letter_that_is_too_large_is_cut_and_says_so() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let (letters, _stopped) = letters(&cluster);
    letters.send(letter(vec![b'x'; 2_000_000])).await.unwrap().unwrap();
    let message = read(&cluster, 1).remove(0);
    assert_eq!(message.payload().map(<[u8]>::len), Some(256 << 10));
    assert_eq!(header(&message, "truncated").as_deref(), Some("2000000"));
}

#[actix_rt::test]
async fn a_broker_that_refuses_is_answered_with_an_error_and_a_panic_is_reported() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let (letters, mut stopped) = letters(&cluster);
    cluster.request_errors(
        rdkafka::types::RDKafkaApiKey::Produce,
        &[rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD],
    );
    assert!(letters.send(letter(b"one".into())).await.unwrap().is_err());
    letters.send(letter(b"one".into())).await.unwrap().unwrap();
    assert!(letters.send(InjectPanic).await.is_err());
    assert!(stopped.recv().await.is_some_and(|stopped| !stopped.orderly));
}
