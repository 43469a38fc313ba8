//! Files -> index in one process: exactly once, whatever is killed, with no server at all. The index is read by plain
//! tantivy, not by the program.

use crate::{
    agent::{duration, wait_until},
    scene::{central_lines, report},
    support::{
        env_number,
        oracle::{Form, Oracle},
        process::{Process, Program, free_address},
        rng::Rng,
        test_folder, wait_for,
        writer::{Background, LogWriter, Written},
    },
};
use serde_json::Value;
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tantivy::{
    Index, IndexReader, ReloadPolicy, TantivyDocument,
    schema::{Value as _, document::ReferenceValueLeaf},
};

pub const LIMIT: Duration = Duration::from_secs(120);

pub struct House {
    pub folder: PathBuf,
    pub logs: PathBuf,
    pub program: Program,
}

impl House {
    /// Collects everything below its `logs`.
    pub fn new(name: &str) -> Self {
        let folder = test_folder(&format!("standalone-{name}"));
        let logs = folder.join("logs");
        fs::create_dir_all(&logs).expect("make the log folder");
        let listen = free_address();
        let words = ["standalone", &logs.to_string_lossy(), "--listen", &listen, "--data-dir"];
        let mut arguments = words.map(str::to_owned).to_vec();
        arguments.push(folder.join("data").to_string_lossy().into_owned());
        let program = Program {
            name: "standalone".into(),
            arguments,
            environment: Vec::new(),
            listen,
            folder: folder.clone(),
            wrapper: Vec::new(),
        };
        Self { folder, logs, program: program.with("LOGWEIR__LOG__LEVEL", "debug") }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub fn writer(&self, files: usize, rotate_after: u64, seed: u64) -> LogWriter {
        LogWriter::new(&self.logs, files, rotate_after, Rng::new(seed))
    }

    /// The documents of all days.
    pub fn documents(&self) -> Vec<Value> {
        let days = fs::read_dir(self.data().join("index")).expect("list the index").flatten();
        let is_day = |path: &PathBuf| path.is_dir() && path.file_name().is_some_and(|name| name.len() == 10);
        days.map(|day| day.path()).filter(is_day).flat_map(|day| documents_of(&day)).collect()
    }

    /// The messages of one file, in its order.
    pub fn messages(&self, file: &str) -> Vec<String> {
        let mut found: Vec<(u64, String)> = self
            .documents()
            .iter()
            .filter(|document| document["log"]["file"]["path"].as_str().is_some_and(|path| path.ends_with(file)))
            .map(|document| (document["log"]["offset"].as_u64().unwrap(), document["message"].as_str().unwrap().into()))
            .collect();
        found.sort();
        found.into_iter().map(|(_, message)| message).collect()
    }

    pub fn wait_for_messages(&self, file: &str, expected: &[&str]) {
        wait_for(&format!("{expected:?} of {file}, see {}", self.program.log().display()), LIMIT, || {
            (self.messages(file) == expected).then_some(())
        });
    }

    pub fn wait_for_log(&self, words: &[&str]) {
        wait_for(&format!("a line with {words:?} in {}", self.program.log().display()), LIMIT, || {
            self.program.logged().lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
        });
    }

    pub fn append(&self, name: &str, text: &[u8]) {
        append(&self.logs.join(name), text);
    }

    /// Waits until as many documents are there as lines were written, or none come any more; stops and judges.
    pub fn judge(&self, process: Process, written: &Written) -> Vec<String> {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let now = self.documents().len();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            if now >= written.lines() || since.elapsed() > Duration::from_secs(30) {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
        process.stop();
        self.verdict(written)
    }

    fn verdict(&self, written: &Written) -> Vec<String> {
        let mut found: Vec<(String, u64, String)> = self
            .documents()
            .into_iter()
            .map(|document| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let offset = document["log"]["offset"].as_u64().unwrap_or(u64::MAX);
                (text(&document["logweir"]["file"]), offset, text(&document["message"]))
            })
            .collect();
        found.sort();
        let mut oracle = Oracle::new(written, Form::Text);
        found.iter().for_each(|(file, offset, message)| oracle.see(message.as_bytes(), file, *offset));
        oracle.verdict()
    }
}

pub fn append(path: &Path, text: &[u8]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("open a log");
    file.write_all(text).expect("write a log");
}

/// Nothing while the day is being made or merged: whoever waits asks again.
pub fn documents_of(day: &Path) -> Vec<Value> {
    let read = || -> tantivy::Result<Vec<Value>> {
        let index = Index::open_in_dir(day)?;
        let source = index.schema().get_field("source")?;
        let mut all = Vec::new();
        // Without a thread that looks for commits.
        let reader: IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        for segment in reader.searcher().segment_readers() {
            let store = segment.get_store_reader(10)?;
            for document in store.iter::<TantivyDocument>(segment.alive_bitset()) {
                let document = document?;
                let value = document.get_first(source).and_then(|value| value.as_leaf());
                if let Some(ReferenceValueLeaf::Bytes(json)) = value {
                    all.push(serde_json::from_slice(json).expect("a document is JSON"));
                }
            }
        }
        Ok(all)
    };
    read().unwrap_or_default()
}

#[test]
fn every_line_is_in_the_index_once_after_kills_at_random_moments() {
    let house = House::new("kills");
    let (lines, kills) = (central_lines().min(100_000), env_number("LOGWEIR_TEST_KILLS", 10));
    let mut rng = Rng::from_env();
    let writer = house.writer(6, lines / 50, rng.next());
    let mut process = house.program.start_ready();
    let over = duration(lines) + Duration::from_secs(kills * 2);
    let mut moments: Vec<u64> = (0..kills).map(|_| rng.below(over.as_millis() as u64 * 9 / 10)).collect();
    moments.sort_unstable();
    let writing = Background::start(writer, lines, over);
    let begun = Instant::now();
    for at in moments {
        wait_until(begun, Duration::from_millis(at));
        process.kill();
        process = house.program.start();
    }
    let writer = writing.finish();
    let verdict = house.judge(process, writer.written());
    report(&format!("files -> index: {} lines, {kills} kills", writer.written().lines()));
    assert!(verdict.is_empty(), "{verdict:#?}\nlog: {}", house.program.log().display());
}

/// Steps of the index, with the pass at which it dies.
const POINTS: &[&str] = &[
    "index_day_change",
    "index_commit",
    "index_commit:3",
    "index_prepared",
    "index_prepared:3",
    "index_committed",
    "index_committed:3",
    "index_settled",
    "index_settled:3",
    "journal_settled",
];

#[test]
fn a_kill_at_any_step_of_the_index_loses_and_repeats_nothing() {
    for point in POINTS {
        let house = House::new(&format!("crash-{}", point.replace([':', '_'], "-")));
        let mut writer = house.writer(3, 300, 13);
        let mut doomed = house.program.with("LOGWEIR_CRASH_AT", point).start();
        let mut burst = 0;
        while doomed.runs_on() {
            writer.write(100);
            burst += 1;
            assert!(burst < 600, "crash point {point} was never passed, see {}", house.program.log().display());
            std::thread::park_timeout(Duration::from_millis(100));
        }
        doomed.wait_killed(point);
        let process = house.program.start_ready();
        writer.write(200);
        let verdict = house.judge(process, writer.written());
        assert!(verdict.is_empty(), "killed at {point}: {verdict:#?}\nlog: {}", house.program.log().display());
    }
}

#[test]
fn a_kill_while_a_day_is_removed_leaves_nothing_of_it() {
    let house = House::new("retention");
    let old = house.data().join("index/2020-01-01");
    fs::create_dir_all(&old).unwrap();
    let damaged = house.data().join("index/2020-01-02.damaged-1");
    fs::create_dir(&damaged).unwrap();
    let mut program = house.program.clone();
    program.arguments.extend(["--retention-days".into(), "3".into()]);
    house.append("a.log", b"one\n");
    program.with("LOGWEIR_CRASH_AT", "index_retention").start().wait_killed("index_retention");
    assert!(!old.exists() && old.with_extension("removed").exists());
    let process = program.start_ready();
    house.wait_for_messages("a.log", &["one"]);
    process.stop();
    assert!(!old.with_extension("removed").exists());
    assert!(!damaged.exists(), "a damaged day is over like any other");
    assert!(!house.data().join("index/2020-01-02").exists(), "and isn't rebuilt before");
    // By bytes, it goes once what was rebuilt in its place has gone.
    fs::create_dir(&damaged).unwrap();
    fs::write(damaged.join("rebuilt"), "").unwrap();
    let end = program.arguments.len();
    program.arguments.splice(end - 2.., ["--retention-bytes".to_owned(), "1G".to_owned()]);
    let process = program.start_ready();
    wait_for("the damaged day to go", LIMIT, || (!damaged.exists()).then_some(()));
    process.stop();
}

/// A burst of lines, in which the process is killed at this step of the commit; and a second one.
fn story(name: &str, environment: &[(&str, &str)], crash: &str) -> Vec<String> {
    let house = House::new(name);
    let mut program = house.program.with("LOGWEIR_CRASH_AT", crash);
    for (name, value) in environment {
        program = program.with(name, value);
    }
    let mut writer = house.writer(2, u64::MAX, 11);
    writer.write(500);
    program.start().wait_killed(crash);
    let process = house.program.start_ready();
    writer.write(100);
    house.judge(process, writer.written())
}

#[test]
fn known_mistakes_are_caught_and_without_them_nothing_is_wrong() {
    // Before a commit the journal writes what was settled: by mistake, what is lost now.
    let (before, after) = ("index_commit", "index_committed");
    assert_eq!(story("no-mutation", &[], before), Vec::<String>::new());
    assert_eq!(story("no-mutation-crash", &[], after), Vec::<String>::new());
    let caught = |found: Vec<String>, kind: &str| assert!(found.iter().any(|f| f.starts_with(kind)), "{found:#?}");
    caught(story("mutation-settle", &[("LOGWEIR_MUTATION", "settle_before_commit")], before), "missing");
    caught(story("mutation-payload", &[("LOGWEIR_MUTATION", "no_payload")], after), "arrived more than once");
}
