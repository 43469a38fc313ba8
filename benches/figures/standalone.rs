//! `logweir standalone` over a large log: how fast it is committed, how large the index is, and what the process holds
//! when nothing happens.

use super::{
    measure::{quantile, usage},
    page,
    report::Section,
    scene::write_log,
};
use crate::support::{
    env_number,
    process::{Process, Program, free_address, http_get},
    test_folder, wait_for,
};
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(3600);

const COMMITTED: &str = "logweir_index_committed_lines_total";

/// The value of a metric without labels.
fn metric(process: &Process, name: &str) -> Option<f64> {
    let (_, text) = http_get(&process.program.listen, "/metrics")?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Waits until so many lines are committed.
fn await_committed(process: &Process, lines: u64) {
    wait_for("all lines to be committed", LIMIT, || metric(process, COMMITTED).filter(|&done| done >= lines as f64));
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Until the merges are done: the folder's size stays the same.
fn await_quiet(folder: &Path) -> u64 {
    let (mut bytes, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_secs(10) {
        let now = folder_bytes(folder);
        if now != bytes {
            (bytes, since) = (now, Instant::now());
        }
        thread::park_timeout(Duration::from_millis(500));
    }
    bytes
}

/// Resident memory in MiB: all of it, and without the pages of mapped files.
fn resident(process: &Process) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("a running process");
    let mib = |name: &str| {
        let text = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of /proc/PID/status");
        text.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().expect("kB") / 1024.0
    };
    (mib("VmRSS"), mib("RssAnon"))
}

pub fn run(section: &mut Section) {
    let folder = test_folder("figures-standalone");
    let (logs, data) = (folder.join("logs"), folder.join("data"));
    fs::create_dir_all(&logs).expect("make the log folder");
    let megabytes = env_number("LOGWEIR_BENCH_STANDALONE_MEGABYTES", 2_170);
    let lines = write_log(&folder.join("web.log"), megabytes * 1_000_000);
    let bytes = fs::metadata(folder.join("web.log")).expect("the log just written").len();
    section.head(format!("{} MB of log in {lines} lines of {} bytes.", bytes / 1_000_000, bytes / lines));
    let listen = free_address();
    let arguments = ["standalone", &logs.to_string_lossy(), "--data-dir", &data.to_string_lossy(), "--listen", &listen];
    let arguments = arguments.map(str::to_owned).into();
    let program =
        Program { name: "standalone".into(), arguments, environment: Vec::new(), listen, folder, wrapper: Vec::new() };

    section.row("started over logs that are there -> the first line is found", "<= 30 s", first_line(&program));
    let process = program.start_ready();
    let (before, begun) = (usage(process.pid()).cpu_secs, Instant::now());
    fs::rename(process.program.folder.join("web.log"), logs.join("web.log")).expect("move the log");
    await_committed(&process, lines);
    let secs = begun.elapsed().as_secs_f64();
    let cpu = usage(process.pid()).cpu_secs - before;
    section.row("indexing, file to committed", ">= 80,000 lines/s", format!("{:.0} lines/s", lines as f64 / secs));
    let peak = usage(process.pid()).peak_mib;
    section.note(format!(
        "Indexing took {secs:.0} s and {cpu:.0} s of CPU (merges meanwhile included), with at most {peak:.0} MiB resident, \
         pages of mapped files included."
    ));
    let index = await_quiet(&data.join("index"));
    section.row("index size / raw size", "<= 0.85", format!("{:.2}", index as f64 / bytes as f64));
    // The writer ends when nothing has come for 20 seconds, and nothing was merged for another 20.
    thread::park_timeout(Duration::from_secs(50));
    let figure = |(all, own)| format!("{all:.0} MiB ({own:.0} MiB without pages of mapped files)");
    section.row("RSS idle after it has indexed all that", "<= 200 MiB", figure(resident(&process)));
    process.stop();

    let process = program.start_ready();
    thread::park_timeout(Duration::from_secs(20));
    section.row("RSS idle with all lines indexed, after a restart", "<= 200 MiB", figure(resident(&process)));
    queries(&process, section);
    page::run(&process, &logs, section);
    let mut delays = Vec::new();
    for n in 0..20 {
        // Quiet, as a person's machine mostly is.
        thread::park_timeout(Duration::from_millis(1_500));
        let committed = metric(&process, COMMITTED).expect("the metric") as u64;
        let begun = Instant::now();
        fs::write(logs.join(format!("new-{n}.log")), "one line\n").expect("write a log");
        await_committed(&process, committed + 1);
        delays.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    let (p50, worst) = (quantile(&delays, 0.5), quantile(&delays, 1.0));
    section.row(
        "a new file's line written -> committed",
        "<= 3000 ms",
        format!("p50 {p50:.0} ms, worst {worst:.0} ms"),
    );
    process.stop();
}

/// What a new user waits for: with a data folder of its own, over a small log.
fn first_line(program: &Program) -> String {
    let folder = program.folder.join("first");
    fs::create_dir_all(folder.join("logs")).expect("make a folder");
    fs::write(folder.join("logs/app.log"), "the first line\n".repeat(100)).expect("write a log");
    let mut program = program.clone();
    program.arguments[1] = folder.join("logs").to_string_lossy().into_owned();
    program.arguments[3] = folder.join("data").to_string_lossy().into_owned();
    let begun = Instant::now();
    let process = program.start();
    wait_for("the first line", LIMIT, || {
        let answer = http_get(&process.program.listen, "/api/v1/search?q=first&size=1");
        answer.filter(|(_, body)| body.contains("\"offset\""))
    });
    let secs = begun.elapsed().as_secs_f64();
    process.stop();
    format!("{secs:.1} s")
}

/// Of each kind: what a person asks first, and what is slow elsewhere.
const QUERIES: [(&str, &str); 6] = [
    ("all", ""),
    ("a term in 17 % of the lines", "404"),
    ("a phrase in 2 %", "\"2026 10 30\""),
    ("a rare conjunction", "4242 AND 500 AND item"),
    ("a prefix of 40,000 words", "ab*"),
    ("a range", "log.offset:[1000000 TO 200000000]"),
];

/// The first page, its total and the histogram, as the page asks for them; one after the other, warm.
fn queries(process: &Process, section: &mut Section) {
    let address = &process.program.listen;
    let get = |path: &str| {
        let (status, body) = http_get(address, path).expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
        body
    };
    for (what, query) in QUERIES {
        let q: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let ask = || {
            let begun = Instant::now();
            let page = get(&format!("/api/v1/search?q={q}&from=now-1d&to=now%2B1d&size=100&count=true&cut=2000"));
            get(&format!("/api/v1/histogram?q={q}&from=now-1d&to=now%2B1d"));
            (begun.elapsed().as_secs_f64() * 1_000.0, page)
        };
        let page: serde_json::Value = serde_json::from_str(&ask().1).expect("JSON");
        let total = page["total"].as_u64().filter(|&total| total > 0).expect("lines that match");
        let times: Vec<f64> = (0..20).map(|_| ask().0).collect();
        let (p50, p95) = (quantile(&times, 0.5), quantile(&times, 0.95));
        let measured = format!("p50 {p50:.0} ms, p95 {p95:.0} ms");
        section.row(&format!("search and histogram, {what} ({total} lines)"), "p95 <= 500 ms", measured);
    }
}
