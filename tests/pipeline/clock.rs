//! A clock that jumps a day forth and back under agent and transfer. Kafka refuses records from more than an hour ahead;
//! that is no fault of the lines, so they wait for the clock.

use crate::{
    scene::Scene,
    support::{
        clock::Clock,
        kafka::TopicReader,
        process::{Program, http_get},
        rng::Rng,
        wait_for,
        writer::LogWriter,
    },
};
use rdkafka::Message as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LIMIT: Duration = Duration::from_secs(120);
const HOUR_MS: i64 = 3_600_000;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as i64
}

/// READ_MS of every record, in hours from now; what was read in the last half hour is 0.
fn hours(reader: &mut TopicReader, all: &mut Vec<i64>) {
    reader.read_to_end(|record| {
        let key = std::str::from_utf8(record.key().expect("a key")).expect("a key of text");
        let read_ms: i64 = key.split(' ').nth(3).expect("READ_MS").parse().expect("a number");
        all.push(((read_ms - now_ms()) as f64 / HOUR_MS as f64).round() as i64);
    });
}

/// Writes until a line that was read by a clock so far off is in Kafka.
fn write_until_read_at(offset: i64, scene: &Scene, writer: &mut LogWriter) {
    let mut reader = TopicReader::new(scene.servers.kafka.fact("address"), &scene.topic);
    let mut all = Vec::new();
    let what = format!("a line read at {offset:+} h in Kafka, see {}", scene.agent.log().display());
    wait_for(&what, LIMIT, || {
        writer.write(50);
        hours(&mut reader, &mut all);
        all.contains(&offset).then_some(())
    });
}

fn logged_since(program: &Program, begin: usize, words: &[&str]) -> Option<()> {
    let log = program.logged();
    log[begin..].lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
}

#[test]
fn a_clock_that_jumps_a_day_forth_and_back_loses_and_repeats_nothing() {
    let scene = Scene::new("clock");
    let clock = Clock::new(&scene.agent.folder);
    scene.collect(&["app-*.log*"]);
    let mut writer = scene.writer(3, 300, Rng::new(31));
    let agent = clock.of(&scene.agent).start_ready();
    let transfer = clock.of(&scene.transfer).start_ready();
    write_until_read_at(0, &scene, &mut writer);
    wait_for(&format!("a first document, see {}", scene.transfer.log().display()), LIMIT, || {
        let (_, metrics) = http_get(&scene.transfer.listen, "/metrics")?;
        let created = metrics.lines().find_map(|line| line.strip_prefix("logweir_documents_created_total "))?;
        (created.parse::<f64>().expect("a number") > 0.0).then_some(())
    });

    let begin = scene.agent.logged().len();
    clock.is_off_by(25);
    wait_for("an ERROR that names the reason", LIMIT, || {
        writer.write(50);
        logged_since(&scene.agent, begin, &["ERRO", &scene.topic, "timestamp"])
    });
    writer.write(500);

    // What was read by the clock that was ahead can go now, under the time at which it was read.
    clock.is_off_by(-24);
    write_until_read_at(25, &scene, &mut writer);
    write_until_read_at(-24, &scene, &mut writer);

    clock.is_off_by(0);
    writer.write(500);
    let (verdict, _) = scene.judge_kafka(agent, writer.written());
    assert!(verdict.is_empty(), "in Kafka: {verdict:#?}\nagent's log: {}", scene.agent.log().display());
    let verdict = scene.judge_elastic(transfer, writer.written());
    assert!(verdict.is_empty(), "{verdict:#?}\nlog: {}", scene.transfer.log().display());
    let letters = scene.agent.folder.join("agent-data/dead-letters.ndjson");
    let letters = std::fs::read_to_string(letters).unwrap_or_default();
    assert!(letters.is_empty(), "no line is to blame for the clock: {letters}");
}
