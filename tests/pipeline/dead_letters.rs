//! What is refused for good, by the broker or by Elasticsearch, while the process dies the moment one refused line has been
//! kept: exactly these lines are in the dead letters, and everything else arrives once.

use crate::{
    scene::Scene,
    support::{
        kafka::{TopicReader, limit_batches},
        rng::Rng,
        wait_for,
        writer::LogWriter,
    },
};
use rdkafka::{Message as _, message::Headers as _};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, time::Duration};

const POINT: &str = "dead_letter_kept";
const FILES: usize = 3;

/// By the record's key, the checksum of its value: a dead letter may stand there twice.
type Letters = BTreeMap<Vec<u8>, u32>;

/// Lines, and among them a long one in each file. Answers the long ones' checksums.
fn write(writer: &mut LogWriter, letters: u64) -> Vec<u32> {
    let mut long = Vec::new();
    writer.write(300);
    for n in 0..FILES {
        writer.write_long(n, letters);
        long.extend(writer.written().files[n].last().map(|line| line.raw));
        writer.write(100);
    }
    long.sort_unstable();
    long
}

fn checksums(letters: &Letters) -> Vec<u32> {
    let mut all: Vec<u32> = letters.values().copied().collect();
    all.sort_unstable();
    all
}

/// The oracle misses the long lines, and finds nothing else wrong.
fn assert_only_long_lines_are_missing(verdict: &[String], log: &str) {
    let missing = format!("missing: {FILES}, ");
    assert!(matches!(verdict, [only] if only.starts_with(&missing)), "{verdict:#?}\nlog: {log}");
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for digit in text.bytes().filter(|&byte| byte != b'=') {
        let value = DIGITS.iter().position(|&known| known == digit).expect("a digit of base64");
        held = held << 6 | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

/// The agent's dead-letter file. Its last line may be half written.
fn in_the_file(scene: &Scene) -> Letters {
    let file = scene.agent.folder.join("agent-data/dead-letters.ndjson");
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let parsed = lines.map(|line| serde_json::from_str::<Value>(line).expect("a dead letter in JSON"));
    let field = |letter: &Value, name: &str| base64(letter[name].as_str().expect("text in base64"));
    parsed.map(|letter| (field(&letter, "key"), crc32c::crc32c(&field(&letter, "value")))).collect()
}

/// The transfer's dead letters of this test's topic.
fn in_the_topic(scene: &Scene) -> Letters {
    let mut letters = Letters::new();
    TopicReader::new(scene.servers.kafka.fact("address"), "logweir.dead-letters").read_to_end(|record| {
        let headers = record.headers().expect("headers");
        let topic = headers.iter().find(|header| header.key == "topic").and_then(|header| header.value);
        if topic == Some(scene.topic.as_bytes()) {
            let value = crc32c::crc32c(record.payload().expect("the refused value"));
            letters.insert(record.key().expect("the refused record's key").to_vec(), value);
        }
    });
    letters
}

#[test]
fn what_the_broker_refuses_for_good_is_in_the_agents_dead_letters_and_the_rest_arrives_once() {
    let scene = Scene::new("dead-letters-agent");
    limit_batches(scene.servers.kafka.fact("address"), &scene.topic, 100_000);
    scene.collect(&["app-*.log"]);
    let mut writer = scene.writer(FILES, u64::MAX, Rng::new(29));
    let mut doomed = scene.agent.with("LOGWEIR_CRASH_AT", POINT).start();
    let long = write(&mut writer, 300_000);
    doomed.wait_killed(POINT);
    let mut agent = scene.agent.start_ready();
    writer.write(200);
    let log = scene.agent.log().display().to_string();
    wait_for(&format!("the dead letters, see {log}"), Duration::from_secs(60), || {
        agent.assert_running();
        (in_the_file(&scene).len() >= FILES).then_some(())
    });
    let (verdict, _) = scene.judge_kafka_without(FILES, agent, writer.written());
    assert_only_long_lines_are_missing(&verdict, &log);
    assert_eq!(checksums(&in_the_file(&scene)), long);
}

#[test]
fn what_elasticsearch_refuses_for_good_is_in_the_dead_letters_topic_and_the_rest_arrives_once() {
    let scene = Scene::new("dead-letters-transfer");
    // A template that comes before the transfer's own: a term of more than 32,766 bytes is refused.
    let keyword = json!({"type": "keyword"});
    let properties = json!({"message": keyword, "logweir": {"properties": {"file": keyword}}});
    let template = json!({
        "index_patterns": [format!("logweir-{}-*", scene.topic)],
        "priority": 10_000,
        "template": {"settings": {"number_of_replicas": 0}, "mappings": {"properties": properties}},
    });
    scene.servers.elastic.request("PUT", "/_index_template/refusing", Some(&template));
    scene.collect(&["app-*.log"]);
    let mut writer = scene.writer(FILES, u64::MAX, Rng::new(31));
    let agent = scene.agent.start_ready();
    let mut doomed = scene.transfer.with("LOGWEIR_CRASH_AT", POINT).start();
    let long = write(&mut writer, 40_000);
    doomed.wait_killed(POINT);
    let transfer = scene.transfer.start_ready();
    writer.write(200);
    let (verdict, _) = scene.judge_kafka(agent, writer.written());
    assert_eq!(verdict, Vec::<String>::new(), "in Kafka");
    let verdict = scene.judge_elastic(transfer, writer.written());
    assert_only_long_lines_are_missing(&verdict, &scene.transfer.log().display().to_string());
    assert_eq!(checksums(&in_the_topic(&scene)), long);
}
