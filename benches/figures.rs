//! `make bench`: the figures that users choose by, measured on the shipped program as a process with its default settings,
//! against real servers. Writes `benches/RESULTS.md` with the machine and the commit.
//!
//!     cargo bench --bench figures                       all of it
//!     cargo bench --bench figures -- latency idle       these parts: file, transfer, idle, latency, entry
//!     cargo bench --bench figures -- standalone         `logweir standalone`, without any server
//!     cargo bench --bench figures -- console            `logweir console` over a simulated fleet
//!
//! `LOGWEIR_BENCH_MEGABYTES` (1100) sets the size of the log, `LOGWEIR_BENCH_PAIRS` (7) how many pairs count; a small run is
//! for trying and says so in its results. CPU is user + system time. The broker runs with the JVM's full compiler.

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with tests/pipeline, which uses the rest")]
mod support;

#[path = "../tests/console/browser.rs"]
#[allow(dead_code, reason = "shared with tests/console, which uses the rest")]
mod browser;

mod figures {
    pub mod against_kcat;
    pub mod agent_alone;
    pub mod console;
    pub mod measure;
    pub mod page;
    pub mod report;
    pub mod scene;
    pub mod standalone;
    pub mod to_stub;
}

use figures::{
    against_kcat, agent_alone, console,
    report::{Report, Section},
    scene::Bench,
    standalone, to_stub,
};

fn main() {
    // cargo itself passes `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    if is_wanted("standalone") {
        let mut section = Section::new("Standalone");
        standalone::run(&mut section);
        section.write();
    }
    if is_wanted("console") {
        let mut section = Section::new("Console");
        console::run(&mut section);
        section.write();
    }
    if !wanted.is_empty() && wanted.iter().all(|part| ["standalone", "console"].contains(&part.as_str())) {
        return;
    }
    let bench = Bench::new();
    let mut report = Report::new(&bench);
    if is_wanted("file") {
        against_kcat::run(&bench, &mut report);
    }
    if is_wanted("transfer") {
        to_stub::run(&bench, &mut report);
    }
    if is_wanted("idle") {
        agent_alone::idle_files(&bench, &mut report);
    }
    if is_wanted("latency") {
        agent_alone::latency(&bench, &mut report);
    }
    if is_wanted("entry") {
        agent_alone::entry_change(&bench, &mut report);
    }
    report.write();
}
