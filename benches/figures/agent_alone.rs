//! What the agent costs when nothing happens, and how fast it is when something does.

use super::{
    measure::{quantile, usage},
    report::Report,
    scene::Bench,
};
use crate::support::{kafka::TopicReader, rng::Rng, test_folder, wait_for};
use rdkafka::Message as _;
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(120);

/// Appends a line and returns the milliseconds until it is read from the topic.
fn append_and_see(reader: &mut TopicReader, file: &Path, line: &str) -> f64 {
    let mut file = OpenOptions::new().append(true).create(true).open(file).expect("open a log");
    let begun = Instant::now();
    writeln!(file, "{line}").expect("append");
    wait_for(&format!("{line:?} in Kafka"), LIMIT, || {
        let mut seen = None;
        reader.read_to_end(|record| {
            if record.payload() == Some(line.as_bytes()) {
                seen = Some(begun.elapsed().as_secs_f64() * 1_000.0);
            }
        });
        seen
    })
}

/// 10,000 files that nobody writes to.
pub fn idle_files(bench: &Bench, report: &mut Report) {
    const FILES: u64 = 10_000;
    let logs = test_folder("figures-idle-logs");
    for n in 0..FILES {
        fs::write(logs.join(format!("idle-{n}.log")), format!("the only line of file {n}\n")).expect("write a log");
    }
    let process = bench.agent("idle", &logs.join("*.log")).start_ready();
    let mut reader = TopicReader::new(bench.broker(), "idle");
    let mut lines = 0;
    wait_for("the first line of each file", LIMIT, || {
        reader.read_to_end(|_| lines += 1);
        (lines == FILES).then_some(())
    });
    // Positions are written down and the start's work is over.
    thread::park_timeout(Duration::from_secs(5));
    let before = usage(process.pid()).cpu_secs;
    let begun = Instant::now();
    while let Some(rest) = Duration::from_secs(20).checked_sub(begun.elapsed()) {
        thread::park_timeout(rest);
    }
    let share = (usage(process.pid()).cpu_secs - before) / begun.elapsed().as_secs_f64() * 100.0;
    let mut rng = Rng::new(3);
    let appended: Vec<f64> = (0..20)
        .map(|n| {
            let file = logs.join(format!("idle-{}.log", rng.below(FILES)));
            append_and_see(&mut reader, &file, &format!("appended {n}"))
        })
        .collect();
    let new: Vec<f64> = (0..20)
        .map(|n| append_and_see(&mut reader, &logs.join(format!("new-{n}.log")), &format!("first of new {n}")))
        .collect();
    let peak = usage(process.pid()).peak_mib;
    process.stop();
    report.row("10,000 idle files, CPU over 20 s", "<= 2 % of a core", format!("{share:.2} %"));
    report.row("10,000 idle files, peak RSS", "<= 96 MiB", format!("{peak:.0} MiB"));
    report.row("an append among them is in Kafka", "<= 1000 ms", format!("at most {:.0} ms", quantile(&appended, 1.0)));
    report.row("a new file among them is in Kafka", "<= 1000 ms", format!("at most {:.0} ms", quantile(&new, 1.0)));
}

/// One line each 50 ms: from before the write until a consumer has it.
pub fn latency(bench: &Bench, report: &mut Report) {
    const LINES: usize = 600;
    let log = test_folder("figures-latency-logs").join("slow.log");
    fs::write(&log, "begin\n").expect("write a log");
    let process = bench.agent("latency", &log).start_ready();
    let mut reader = TopicReader::new(bench.broker(), "latency");
    let path = log.clone();
    let epoch = Instant::now();
    let writer = thread::spawn(move || {
        let mut file = OpenOptions::new().append(true).open(path).expect("open a log");
        for n in 0..LINES {
            let at = Duration::from_millis(50 * n as u64 + 1_000);
            while let Some(rest) = at.checked_sub(epoch.elapsed()) {
                thread::park_timeout(rest);
            }
            writeln!(file, "{}", epoch.elapsed().as_micros()).expect("append");
        }
    });
    let mut delays = Vec::new();
    reader.follow(LIMIT, |record| {
        let text = std::str::from_utf8(record.payload().unwrap_or_default()).unwrap_or_default();
        if let Ok(written) = text.parse::<u128>() {
            delays.push((epoch.elapsed().as_micros() - written) as f64 / 1_000.0);
        }
        delays.len() < LINES
    });
    writer.join().expect("the writer");
    process.stop();
    let (p50, p99) = (quantile(&delays, 0.5), quantile(&delays, 0.99));
    report.row(
        "write -> Kafka -> consumer, one line each 50 ms",
        "p99 <= 25 ms",
        format!("p50 {p50:.1} ms, p99 {p99:.1} ms"),
    );
}

/// From before the put of an entry until a line of the file that it names is read from the topic: more than the change itself.
pub fn entry_change(bench: &Bench, report: &mut Report) {
    const CHANGES: usize = 30;
    let logs = test_folder("figures-entry-logs");
    let mut entries = Vec::new();
    let process = bench.agent("entry", &logs.join("none.log")).start_ready();
    let mut reader = TopicReader::new(bench.broker(), "entry");
    let (ask, asked) = mpsc::channel::<String>();
    let url = bench.servers.etcd.fact("url").to_owned();
    let (done, put) = mpsc::channel::<Instant>();
    // A connection that stays: etcdctl would take longer to start than what is measured.
    let client = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut client = etcd_client::Client::connect([url], None).await.expect("a connection to etcd");
            while let Ok(value) = asked.recv() {
                let begun = Instant::now();
                client.put("/bench/entry", value, None).await.expect("a put");
                done.send(begun).expect("the bench waits for it");
            }
        });
    });
    let mut delays = Vec::new();
    for n in 0..CHANGES {
        let file = logs.join(format!("new-{n}.log"));
        fs::write(&file, format!("line {n}\n")).expect("write a log");
        entries.push(serde_json::json!({"path": file, "topic": "entry"}));
        ask.send(serde_json::Value::from(entries.clone()).to_string()).expect("the client runs");
        let begun = put.recv().expect("the client runs");
        reader.follow(LIMIT, |record| record.payload() != Some(format!("line {n}").as_bytes()));
        delays.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    drop(ask);
    client.join().expect("the client");
    process.stop();
    let (p50, worst) = (quantile(&delays, 0.5), quantile(&delays, 1.0));
    report.row("etcd change -> its file's line in Kafka", "<= 300 ms", format!("p50 {p50:.0} ms, worst {worst:.0} ms"));
}
