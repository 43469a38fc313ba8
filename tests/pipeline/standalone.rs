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
    process::Command,
    time::{Duration, Instant},
};
use tantivy::{
    Index, TantivyDocument,
    schema::{Value as _, document::ReferenceValueLeaf},
};

const LIMIT: Duration = Duration::from_secs(120);

struct House {
    folder: PathBuf,
    logs: PathBuf,
    program: Program,
}

impl House {
    /// Collects everything below its `logs`.
    fn new(name: &str) -> Self {
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

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn writer(&self, files: usize, rotate_after: u64, seed: u64) -> LogWriter {
        LogWriter::new(&self.logs, files, rotate_after, Rng::new(seed))
    }

    /// The documents of all days.
    fn documents(&self) -> Vec<Value> {
        let days = fs::read_dir(self.data().join("index")).expect("list the index").flatten();
        let is_day = |path: &PathBuf| path.is_dir() && path.file_name().is_some_and(|name| name.len() == 10);
        days.map(|day| day.path()).filter(is_day).flat_map(|day| documents_of(&day)).collect()
    }

    /// The messages of one file, in its order.
    fn messages(&self, file: &str) -> Vec<String> {
        let mut found: Vec<(u64, String)> = self
            .documents()
            .iter()
            .filter(|document| document["log"]["file"]["path"].as_str().is_some_and(|path| path.ends_with(file)))
            .map(|document| (document["log"]["offset"].as_u64().unwrap(), document["message"].as_str().unwrap().into()))
            .collect();
        found.sort();
        found.into_iter().map(|(_, message)| message).collect()
    }

    fn wait_for_messages(&self, file: &str, expected: &[&str]) {
        wait_for(&format!("{expected:?} of {file}, see {}", self.program.log().display()), LIMIT, || {
            (self.messages(file) == expected).then_some(())
        });
    }

    fn wait_for_log(&self, words: &[&str]) {
        wait_for(&format!("a line with {words:?} in {}", self.program.log().display()), LIMIT, || {
            self.program.logged().lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
        });
    }

    fn append(&self, name: &str, text: &[u8]) {
        append(&self.logs.join(name), text);
    }

    /// Waits until as many documents are there as lines were written, or none come any more; stops and judges.
    fn judge(&self, process: Process, written: &Written) -> Vec<String> {
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

fn append(path: &Path, text: &[u8]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("open a log");
    file.write_all(text).expect("write a log");
}

/// Nothing while the day is being made or merged: whoever waits asks again.
fn documents_of(day: &Path) -> Vec<Value> {
    let read = || -> tantivy::Result<Vec<Value>> {
        let index = Index::open_in_dir(day)?;
        let source = index.schema().get_field("source")?;
        let mut all = Vec::new();
        for segment in index.reader()?.searcher().segment_readers() {
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
    let mut program = house.program.clone();
    program.arguments.extend(["--retention-days".into(), "3".into()]);
    house.append("a.log", b"one\n");
    program.with("LOGWEIR_CRASH_AT", "index_retention").start().wait_killed("index_retention");
    assert!(!old.exists() && old.with_extension("removed").exists());
    let process = program.start_ready();
    house.wait_for_messages("a.log", &["one"]);
    process.stop();
    assert!(!old.with_extension("removed").exists());
}

/// Two bursts of lines; the first is committed, the second isn't yet when the process is killed.
fn story(name: &str, environment: &[(&str, &str)], crash: Option<&str>) -> Vec<String> {
    let house = House::new(name);
    let mut program = house.program.with("LOGWEIR__INDEX__COMMIT_INTERVAL_MS", "60000");
    for (name, value) in environment {
        program = program.with(name, value);
    }
    let mut writer = house.writer(2, u64::MAX, 11);
    if let Some(point) = crash {
        writer.write(500);
        program.with("LOGWEIR_CRASH_AT", point).start().wait_killed(point);
    } else {
        let process = program.start_ready();
        writer.write(500);
        wait_for("the first commit", LIMIT, || (!house.documents().is_empty()).then_some(()));
        let before = process.bytes_read();
        let written = writer.written().bytes;
        writer.write(500);
        wait_for("the second burst to be read", LIMIT, || {
            (process.bytes_read() - before >= writer.written().bytes - written).then_some(())
        });
        // The journal writes what was settled (here: by mistake) every 100 ms.
        std::thread::park_timeout(Duration::from_secs(1));
        process.kill();
    }
    let process = house.program.start_ready();
    writer.write(100);
    house.judge(process, writer.written())
}

#[test]
fn known_mistakes_are_caught_and_without_them_nothing_is_wrong() {
    assert_eq!(story("no-mutation", &[], None), Vec::<String>::new());
    assert_eq!(story("no-mutation-crash", &[], Some("index_committed")), Vec::<String>::new());
    let caught = |found: Vec<String>, kind: &str| assert!(found.iter().any(|f| f.starts_with(kind)), "{found:#?}");
    let settled_early = [("LOGWEIR_MUTATION", "settle_before_commit")];
    caught(story("mutation-settle", &settled_early, None), "missing");
    let no_payload = [("LOGWEIR_MUTATION", "no_payload")];
    caught(story("mutation-payload", &no_payload, Some("index_committed")), "arrived more than once");
}

#[test]
fn what_is_no_text_and_our_own_data_are_left_out_and_a_late_path_comes_in() {
    let mut house = House::new("paths");
    house.append("x.log", b"shallow\n");
    fs::create_dir_all(house.logs.join("a/b")).unwrap();
    house.append("a/b/deep", b"deep\n");
    house.append("old.log.1.gz", b"\x1f\x8b\x08 compressed\n");
    house.append("noname", &[0, 1, 2, 3].repeat(100));
    house.append("wtmp", b"named like login records\n");
    let late = house.folder.join("late/later.log");
    house.program.arguments.insert(2, late.to_string_lossy().into_owned());
    // Named twice, collected once.
    house.program.arguments.insert(2, house.logs.join("a").to_string_lossy().into_owned());
    // The data folder below what is collected.
    let own = house.logs.join("own").to_string_lossy().into_owned();
    *house.program.arguments.last_mut().unwrap() = own;
    let process = house.program.start_ready();
    house.wait_for_log(&["WARN", "isn't there yet", "later.log"]);
    house.wait_for_log(&["holds no text", "noname"]);
    fs::create_dir_all(late.parent().unwrap()).unwrap();
    append(&late, b"came late\n");
    let all = || -> Vec<String> {
        let days = fs::read_dir(house.logs.join("own/index")).unwrap().flatten().map(|day| day.path());
        let documents = days.filter(|day| day.is_dir()).flat_map(|day| documents_of(&day));
        let mut all: Vec<String> = documents.map(|d| d["message"].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    };
    wait_for("the three lines", LIMIT, || (all() == ["came late", "deep", "shallow"]).then_some(()));
    process.stop();
    assert_eq!(all(), ["came late", "deep", "shallow"]);
}

#[test]
fn a_damaged_day_is_set_aside_and_told_and_rebuilt_from_the_files_that_are_there() {
    let house = House::new("damaged");
    house.append("a.log", b"one\n\ntwo\n");
    house.append("b.log", b"lost\n");
    let process = house.program.start_ready();
    house.wait_for_messages("a.log", &["one", "two"]);
    house.wait_for_messages("b.log", &["lost"]);
    process.stop();
    let days = fs::read_dir(house.data().join("index")).unwrap().flatten().map(|day| day.path());
    let day = days.into_iter().find(|day| day.is_dir()).unwrap();
    let files = fs::read_dir(&day).unwrap().flatten().map(|file| file.path());
    let store = files.into_iter().find(|file| file.extension().is_some_and(|e| e == "store")).unwrap();
    let mut bytes = fs::read(&store).unwrap();
    bytes[4] ^= 0xff;
    fs::write(&store, bytes).unwrap();
    let process = house.program.start_ready();
    house.wait_for_log(&["ERRO", "damaged", "set aside"]);
    house.append("a.log", b"after\n");
    wait_for("the new line", LIMIT, || house.messages("a.log").contains(&"after".to_owned()).then_some(()));
    process.stop();
    assert!(PathBuf::from(format!("{}.damaged-1", day.display())).exists());
    // One of the two files is gone meanwhile: that is said, and the rest comes back, once.
    fs::remove_file(house.logs.join("b.log")).unwrap();
    house.program.start_ready().stop();
    house.wait_for_log(&["WARN", "rebuilt", "files_gone: 1", "lines: 2"]);
    house.program.start_ready().stop();
    assert_eq!((house.messages("a.log").join(" "), house.messages("b.log").len()), ("one two after".into(), 0));
}

/// Exit code and output of a start that must fail.
fn refused(program: &Program) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_logweir")).args(&program.arguments).output().expect("start it");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_newer_data_folder_a_taken_port_and_a_foreign_address_are_refused_with_a_reason() {
    let house = House::new("refused");
    fs::create_dir_all(house.data().join("index")).unwrap();
    fs::write(house.data().join("index/version"), "7\n").unwrap();
    let (code, text) = refused(&house.program);
    assert!(code == 65 && text.contains("newer version (format 7"), "{code} {text}");
    assert_eq!(fs::read_to_string(house.data().join("index/version")).unwrap(), "7\n");
    fs::remove_dir_all(house.data()).unwrap();
    let listener = std::net::TcpListener::bind(&house.program.listen).unwrap();
    let (code, text) = refused(&house.program);
    assert!(code == 69 && text.contains(&house.program.listen) && text.contains("--listen"), "{code} {text}");
    drop(listener);
    let mut program = house.program.clone();
    program.arguments[3] = "0.0.0.0:8686".into();
    let (code, text) = refused(&program);
    assert!(code == 64 && text.contains("no login"), "{code} {text}");
}

#[test]
fn ten_thousand_fields_are_told_and_the_documents_are_whole() {
    let house = House::new("fields");
    house.append("a.log", b"many\n");
    let labels: serde_json::Map<String, Value> = (0..10_000).map(|n| (format!("f{n}"), "v".into())).collect();
    let entries = serde_json::json!([{ "path": house.logs.join("*.log"), "topic": "t", "labels": labels }]);
    fs::create_dir_all(house.data()).unwrap();
    fs::write(house.data().join("collect.json"), entries.to_string()).unwrap();
    let mut program = house.program.clone();
    program.arguments.remove(1);
    let process = program.start_ready();
    house.wait_for_messages("a.log", &["many"]);
    house.wait_for_log(&["WARN", "too many different fields"]);
    process.stop();
    assert_eq!(house.documents()[0]["labels"].as_object().unwrap().len(), 10_000);
}

/// A small disk of its own, gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).expect("make the mount point");
        let options = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(path).output().ok()?;
        mount.status.success().then(|| Self(path.into()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is left mounted is seen by the next run, which can't remove its folder.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_waited_for_with_an_error_and_nothing_is_lost() {
    let house = House::new("full");
    let Some(_disk) = SmallDisk::mount(&house.data(), "96m") else {
        return report("not tested, for this user may not mount: a full disk");
    };
    let process = house.program.start_ready();
    let mut writer = house.writer(3, 1000, 5);
    writer.write(2_000);
    let filler = house.data().join("filler");
    fs::write(&filler, vec![1; 60 << 20]).unwrap();
    // The first lines may all be committed by now; only what is to be committed needs room.
    writer.write(2_000);
    house.wait_for_log(&["ERRO", "disk is full"]);
    writer.write(500);
    let before = house.documents().len();
    std::thread::park_timeout(Duration::from_secs(2));
    assert_eq!(house.documents().len(), before, "nothing is written while there is no room");
    fs::remove_file(&filler).unwrap();
    let verdict = house.judge(process, writer.written());
    assert!(verdict.is_empty(), "{verdict:#?}\nlog: {}", house.program.log().display());
}
