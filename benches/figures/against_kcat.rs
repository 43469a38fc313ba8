//! One big file into one topic: the agent against `kcat -P -l` with equal acks, idempotence, linger, batch and codec, in
//! alternating pairs of which the first is discarded. Both topics' content is compared with the file, line by line.

use super::{
    measure::{median, usage},
    report::Report,
    scene::Bench,
};
use crate::support::{
    kafka::{TopicReader, create_topic, delete_topic},
    wait_for,
};
use rdkafka::Message as _;
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// librdkafka options of kcat's side, the same as the agent's defaults (`src/kafka/config.rs`).
const EQUAL: &[&str] = &[
    "acks=all",
    "enable.idempotence=true",
    "compression.codec=lz4",
    "linger.ms=0.5",
    "batch.size=1000000",
    "batch.num.messages=10000",
    "socket.nagle.disable=true",
    // The agent's queue is bounded by its memory credits, kcat's by these: its own 100,000 messages or practically no bound
    // make no clear difference.
    "queue.buffering.max.kbytes=65536",
    "queue.buffering.max.messages=200000",
];

struct Run {
    cpu_secs: f64,
    secs: f64,
    peak_mib: f64,
}

pub fn run(bench: &Bench, report: &mut Report) {
    let (mut cpu, mut speed, mut agents, mut kcats) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pair in 0..=bench.pairs {
        // Alternating: the second of a pair finds the broker warmer.
        let (agent, kcat) = if pair % 2 == 0 {
            let agent = agent(bench, pair);
            (agent, kcat(bench, pair))
        } else {
            let kcat = kcat(bench, pair);
            (agent(bench, pair), kcat)
        };
        println!(
            "pair {pair}: agent {:.2} CPU s in {:.2} s, kcat {:.2} in {:.2}",
            agent.cpu_secs, agent.secs, kcat.cpu_secs, kcat.secs
        );
        if pair > 0 {
            cpu.push(agent.cpu_secs / kcat.cpu_secs);
            speed.push(kcat.secs / agent.secs);
            agents.push(agent);
            kcats.push(kcat);
        }
    }
    let gb = bench.bytes as f64 / 1e9;
    let of = |runs: &[Run], value: fn(&Run) -> f64| median(&runs.iter().map(value).collect::<Vec<_>>());
    report.row("file -> Kafka, CPU against `kcat -P -l`", "<= 1.2x", format!("{:.2}x", median(&cpu)));
    report.row("file -> Kafka, throughput against it", ">= 0.8x", format!("{:.2}x", median(&speed)));
    report.row("agent's peak RSS in that run", "<= 96 MiB", format!("{:.0} MiB", of(&agents, |run| run.peak_mib)));
    report.note(format!(
        "File -> Kafka, medians: agent {:.2} CPU-s/GB and {:.0} MB/s, kcat {:.2} CPU-s/GB and {:.0} MB/s; kcat's options: {}.",
        of(&agents, |run| run.cpu_secs) / gb,
        gb * 1_000.0 / of(&agents, |run| run.secs),
        of(&kcats, |run| run.cpu_secs) / gb,
        gb * 1_000.0 / of(&kcats, |run| run.secs),
        EQUAL.join(", ")
    ));
}

/// From the start of the process until the last line is in the topic.
fn agent(bench: &Bench, pair: u64) -> Run {
    let topic = format!("agent-{pair}");
    let program = bench.agent(&topic, &bench.log);
    let reader = TopicReader::new(bench.broker(), &topic);
    let begun = Instant::now();
    let mut process = program.start();
    wait_for("the agent to send the whole file", Duration::from_secs(900), || {
        process.assert_running();
        (reader.ends().iter().sum::<i64>() >= bench.lines as i64).then_some(())
    });
    let secs = begun.elapsed().as_secs_f64();
    let usage = usage(process.pid());
    process.stop();
    verify(bench, &topic);
    Run { cpu_secs: usage.cpu_secs, secs, peak_mib: usage.peak_mib }
}

fn kcat(bench: &Bench, pair: u64) -> Run {
    let topic = format!("kcat-{pair}");
    create_topic(bench.broker(), &topic, 1);
    let options: Vec<String> = EQUAL.iter().map(|option| format!("-X {option}")).collect();
    let command = format!(
        "TIMEFORMAT='%U %S %R'; time kcat -P -b {} -t {topic} -p 0 {} -l '{}'",
        bench.broker(),
        options.join(" "),
        bench.log.display()
    );
    let output = Command::new("bash").args(["-c", &command]).output().expect("run kcat");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcat failed: {said}");
    let times: Vec<f64> = said.lines().last().unwrap_or_default().split(' ').filter_map(|t| t.parse().ok()).collect();
    let [user, system, secs] = times[..] else { panic!("no times in {said}") };
    verify(bench, &topic);
    Run { cpu_secs: user + system, secs, peak_mib: 0.0 }
}

/// The topic holds exactly the file's lines, in order. It is removed then.
fn verify(bench: &Bench, topic: &str) {
    let mut sums = Vec::with_capacity(bench.lines as usize);
    bench.each_line(|line| sums.push(crc32c::crc32c(line)));
    let mut at = 0;
    TopicReader::new(bench.broker(), topic).read_to_end(|record| {
        let sum = crc32c::crc32c(record.payload().unwrap_or_default());
        assert_eq!(sums.get(at), Some(&sum), "record {at} of {topic} is not line {at} of the file");
        at += 1;
    });
    assert_eq!(at, sums.len(), "{topic} doesn't hold the whole file");
    delete_topic(bench.broker(), topic);
}
