//! `benches/RESULTS.md`: every figure with what it is measured against, the machine and the commit.

use super::scene::Bench;
use std::{fmt::Write as _, fs, process::Command};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/RESULTS.md");
/// Before a part that is measured by itself.
const SECTION: &str = "\n## ";

pub struct Report {
    head: String,
    rows: Vec<[String; 3]>,
    notes: Vec<String>,
}

impl Report {
    pub fn new(bench: &Bench) -> Self {
        let head = format!(
            "{}; servers on the same machine.\n{}, {} MB of log in {} lines, {} pairs.",
            machine(),
            commit(),
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
        add_rows(&mut text, &self.rows, &self.notes);
        // The parts that this run didn't measure stay.
        let before = fs::read_to_string(FILE).unwrap_or_default();
        text.push_str(before.find(SECTION).map_or("", |at| &before[at..]));
        fs::write(FILE, text).expect("write benches/RESULTS.md");
    }
}

/// A part of the results that is measured by itself, under its own heading.
pub struct Section {
    name: &'static str,
    head: String,
    rows: Vec<[String; 3]>,
    notes: Vec<String>,
}

impl Section {
    pub fn new(name: &'static str) -> Self {
        Self { name, head: String::new(), rows: Vec::new(), notes: Vec::new() }
    }

    /// What is measured with.
    pub fn head(&mut self, text: String) {
        self.head = text;
    }

    /// See [`Report::row`].
    pub fn row(&mut self, what: &str, must: &str, measured: String) {
        println!("{what}: {measured} (must: {must})");
        self.rows.push([what.to_owned(), must.to_owned(), measured]);
    }

    pub fn note(&mut self, text: String) {
        println!("{text}");
        self.notes.push(text);
    }

    /// Takes the place of the section of this name.
    pub fn write(&self) {
        let mut text = format!("{SECTION}{}\n\n{}.\n{}, {}\n\n", self.name, machine(), commit(), self.head);
        text.push_str("| what | must | measured |\n|---|---|---|\n");
        add_rows(&mut text, &self.rows, &self.notes);
        let mut file = fs::read_to_string(FILE).unwrap_or_default();
        let heading = format!("{SECTION}{}\n", self.name);
        let begin = file.find(&heading).unwrap_or(file.len());
        let rest = file[begin..].get(heading.len()..).and_then(|rest| rest.find(SECTION));
        let end = rest.map_or(file.len(), |at| begin + heading.len() + at);
        file.replace_range(begin..end, &text);
        fs::write(FILE, file).expect("write benches/RESULTS.md");
    }
}

fn add_rows(text: &mut String, rows: &[[String; 3]], notes: &[String]) {
    for [what, must, measured] in rows {
        writeln!(text, "| {what} | {must} | {measured} |").expect("writing to a String");
    }
    for note in notes {
        write!(text, "\n{note}\n").expect("writing to a String");
    }
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Machine: {cores} cores ({}), Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

fn commit() -> String {
    let commit = output("git", &["describe", "--always", "--dirty"]);
    format!("Commit {commit}, {}", output("date", &["-u", "+%Y-%m-%d"]))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
