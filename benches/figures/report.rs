//! `benches/RESULTS.md`: every figure with what it is measured against, the machine and the commit.

use super::scene::Bench;
use std::{fmt::Write as _, fs, process::Command};

pub struct Report {
    head: String,
    rows: Vec<[String; 3]>,
    notes: Vec<String>,
}

impl Report {
    pub fn new(bench: &Bench) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let commit = output("git", &["describe", "--always", "--dirty"]);
        let date = output("date", &["-u", "+%Y-%m-%d"]);
        let head = format!(
            "Machine: {cores} cores ({}), Linux {}; servers on the same machine.\nCommit {commit}, {date}, {} MB of log \
             in {} lines, {} pairs.",
            model.trim_start_matches([' ', '\t', ':']),
            kernel.trim(),
            bench.bytes / 1_000_000,
            bench.lines,
            bench.pairs
        );
        Self { head, rows: Vec::new(), notes: Vec::new() }
    }

    /// `must` names the bound that the figure is held to.
    pub fn row(&mut self, what: &str, must: &str, measured: String) {
        println!("{what}: {measured} (must: {must})");
        self.rows.push([what.to_owned(), must.to_owned(), measured]);
    }

    pub fn note(&mut self, text: String) {
        println!("{text}");
        self.notes.push(text);
    }

    pub fn write(&self) {
        let mut text = format!(
            "# Figures\n\nWritten by `make bench` (`benches/figures.rs`), which says how each is measured.\n\n{}\n\n\
             | what | must | measured |\n|---|---|---|\n",
            self.head
        );
        for [what, must, measured] in &self.rows {
            writeln!(text, "| {what} | {must} | {measured} |").expect("writing to a String");
        }
        for note in &self.notes {
            write!(text, "\n{note}\n").expect("writing to a String");
        }
        fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/RESULTS.md"), text).expect("write benches/RESULTS.md");
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
