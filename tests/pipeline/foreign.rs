//! What is in Kafka beside the agent's lines: records of other producers, with another key or none or without a value;
//! topics that only a pattern names; and records that Kafka deleted before anybody read them.

use crate::{
    scene::Scene,
    support::{
        kafka::{create_topic, group_lag},
        process::{Process, Program, http_get},
        wait_for,
    },
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A record's key and value.
type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn produce(scene: &Scene, topic: &str, records: &[KeyValue<'_>]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", scene.servers.kafka.fact("address"))
        .set("acks", "all")
        .create()
        .expect("a producer");
    for (key, value) in records {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(0);
        record.key = *key;
        record.payload = *value;
        producer.send(record).map_err(|(error, _)| error).expect("a record is queued");
    }
    producer.flush(LIMIT).expect("records are delivered");
}

/// Every record of partition 0 before this offset is gone.
fn delete_before(scene: &Scene, topic: &str, offset: i64) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", scene.servers.kafka.fact("address"))
        .create()
        .expect("an admin client");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).expect("an offset");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let options = AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT));
    runtime.block_on(admin.delete_records(&list, &options)).expect("records are deleted");
}

fn wait_settled(scene: &Scene, transfer: &mut Process, topic: &str) {
    let what = format!("the transfer to settle {topic}, see {}", scene.transfer.log().display());
    let group = format!("transfer-{}", scene.name);
    wait_for(&what, LIMIT * 2, || {
        transfer.assert_running();
        (group_lag(scene.servers.kafka.fact("address"), &group, topic) == 0).then_some(())
    });
}

fn documents(scene: &Scene, topic: &str) -> Vec<Value> {
    let mut all = Vec::new();
    scene.servers.elastic.documents(&format!("logweir-{topic}-*"), |document| all.push(document.clone()));
    all
}

fn metric(program: &Program, name: &str) -> f64 {
    let (_, text) = http_get(&program.listen, "/metrics").expect("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
}

#[test]
fn records_of_other_producers_arrive_once_by_their_place_and_a_null_value_is_counted() {
    let scene = Scene::new("foreign");
    // Only the pattern names this one, and it comes after the transfer.
    let other = "other-foreign.Upper";
    let transfer = scene
        .transfer
        .with("LOGWEIR__KAFKA__TOPIC_PATTERN", "^other-foreign")
        .with("LOGWEIR__KAFKA__TOPICS", &scene.topic)
        .with("LOGWEIR__KAFKA__TOPICS_FROM_ENTRIES", "false");
    let almost_ours: &[u8] = b"web-01 a41f9c0e77d2b3c8 12x 1795246112111 - /var/log/a.log";
    let records: Vec<KeyValue<'_>> = vec![
        (None, Some(b"no key")),
        (Some(b"user-42"), Some(b"another key")),
        (Some(almost_ours), Some(b"almost our key")),
        (Some(b"\xff\x00"), Some(b"\xff\x00 any bytes \"\\")),
        (Some(b"user-42"), None),
        (None, Some(b"")),
        (None, Some(b"no key")),
    ];
    produce(&scene, &scene.topic, &records);
    let mut process = transfer.start_ready();
    create_topic(scene.servers.kafka.fact("address"), other, 1);
    produce(&scene, other, &records[..2]);
    wait_settled(&scene, &mut process, &scene.topic);
    wait_settled(&scene, &mut process, other);
    assert_eq!(metric(&transfer, "logweir_null_records_total"), 1.0);
    assert_eq!(metric(&transfer, "logweir_dead_letters_total"), 0.0);

    let mut found: Vec<(i64, String)> = documents(&scene, &scene.topic)
        .iter()
        .map(|document| {
            let logweir = &document["logweir"];
            assert_eq!(
                (&logweir["topic"], &logweir["partition"]),
                (&scene.topic.as_str().into(), &0.into()),
                "{document}"
            );
            assert!(document["@timestamp"].is_string(), "{document}");
            (
                logweir["offset"].as_i64().expect("an offset"),
                document["message"].as_str().expect("a message").to_owned(),
            )
        })
        .collect();
    found.sort();
    let expected = ["no key", "another key", "almost our key", "\u{fffd}\0 any bytes \"\\", "", "no key"];
    let offsets = [0, 1, 2, 3, 5, 6];
    assert_eq!(found, offsets.into_iter().zip(expected.map(str::to_owned)).collect::<Vec<_>>());
    assert_eq!(documents(&scene, &other.to_lowercase()).len(), 2);

    // Read once more from the beginning by a new group: every document is there already.
    process.stop();
    let again = transfer.with("LOGWEIR__KAFKA__GROUP", "transfer-foreign-again");
    let process = again.start_ready();
    wait_for("all to be read again", LIMIT * 2, || {
        (metric(&again, "logweir_documents_repeated_total") == 8.0).then_some(())
    });
    assert_eq!(metric(&again, "logweir_documents_created_total"), 0.0);
    process.stop();
}

#[test]
fn records_deleted_before_they_were_read_are_counted_and_named_and_the_rest_arrives() {
    let scene = Scene::new("deleted-records");
    scene.collect(&["app-*.log"]);
    let numbers: Vec<String> = (0..30).map(|n| format!("line {n}")).collect();
    let records: Vec<KeyValue<'_>> = numbers.iter().map(|text| (None, Some(text.as_bytes()))).collect();
    produce(&scene, &scene.topic, &records[..10]);
    let mut process = scene.transfer.start_ready();
    wait_settled(&scene, &mut process, &scene.topic);
    process.stop();
    produce(&scene, &scene.topic, &records[10..25]);
    delete_before(&scene, &scene.topic, 17);
    let before = scene.transfer.logged().len();
    let mut process = scene.transfer.start_ready();
    wait_settled(&scene, &mut process, &scene.topic);
    produce(&scene, &scene.topic, &records[25..]);
    wait_settled(&scene, &mut process, &scene.topic);
    assert_eq!(metric(&scene.transfer, "logweir_lost_records_total"), 7.0);
    let logged = scene.transfer.logged();
    let named = |line: &&str| {
        line.contains("deleted by Kafka") && line.contains(&scene.topic) && line.contains("lost_records: 7")
    };
    let line = logged[before..].lines().find(named).unwrap_or_else(|| panic!("{}", &logged[before..]));
    assert!(line.contains("ERRO"), "{line}");
    process.stop();
    let mut messages: Vec<_> = documents(&scene, &scene.topic).iter().map(|d| d["message"].clone()).collect();
    messages.sort_by_key(|message| message.as_str().unwrap()[5..].parse::<u64>().unwrap());
    let expected = numbers.iter().enumerate().filter(|(n, _)| !(10..17).contains(n)).map(|(_, text)| text);
    assert_eq!(messages, expected.cloned().map(Value::from).collect::<Vec<_>>());
}
