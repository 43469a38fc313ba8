//! What people and disks do to `logweir standalone`: paths that are no logs or can't be read, a day of the index that is
//! damaged, folders and ports that are somebody else's, a disk that is full, a day that ends.

use crate::{
    scene::report,
    standalone::{House, LIMIT, append, documents_of},
    support::{
        clock::Clock,
        process::{Process, Program},
        wait_for,
    },
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

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
    assert!(code == 64 && text.contains("listens only on this machine"), "{code} {text}");
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

/// The house's program as one for whom the permissions of files hold: any user but root, or root without these rights.
fn without_rights_over_files(house: &House) -> Program {
    if !rustix::process::geteuid().is_root() {
        return house.program.clone();
    }
    let without = "-dac_override,-dac_read_search";
    house.program.wrapped_in(&["setpriv", "--bounding-set", without, "--inh-caps", without, "--"])
}

#[test]
fn what_may_not_be_read_is_named_the_rest_is_collected_and_it_is_read_as_soon_as_it_may_be() {
    let mut house = House::new("unreadable");
    let closed = house.folder.join("closed");
    fs::create_dir(&closed).unwrap();
    append(&closed.join("door.log"), b"behind a door\n");
    let secret = house.folder.join("secret.log");
    append(&secret, b"secret\n");
    house.append("below.log", b"below\n");
    house.append("plain.log", b"plain\n");
    let all = [closed.clone(), secret.clone(), house.logs.join("below.log")];
    let set_mode =
        |mode| all.iter().for_each(|path| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap());
    set_mode(0o0);
    for path in &all[..2] {
        house.program.arguments.insert(2, path.to_string_lossy().into_owned());
    }
    let process = without_rights_over_files(&house).start_ready();
    house.wait_for_messages("plain.log", &["plain"]);
    for path in [&closed, &secret] {
        house.wait_for_log(&["WARN", "can't be read", &path.to_string_lossy(), "ermission denied"]);
    }
    house.wait_for_log(&["below.log", "ermission denied"]);
    assert_eq!(house.documents().len(), 1);
    set_mode(0o755);
    house.wait_for_messages("secret.log", &["secret"]);
    house.wait_for_messages("below.log", &["below"]);
    house.wait_for_messages("door.log", &["behind a door"]);
    process.stop();
    assert_eq!(house.documents().len(), 4);
}

/// The only day that there is, besides those that were set aside.
pub fn day_of(house: &House) -> PathBuf {
    let days = fs::read_dir(house.data().join("index")).unwrap().flatten().map(|day| day.path());
    days.into_iter().find(|day| day.is_dir() && day.file_name().is_some_and(|name| name.len() == 10)).unwrap()
}

/// In its place and without making it shorter: a process may have it mapped.
pub fn spoil(day: &Path, end: &str) {
    let files = fs::read_dir(day).unwrap().flatten().map(|file| file.path());
    for path in files.filter(|file| file.extension().is_some_and(|of| of == end)) {
        let file = fs::File::options().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 4).unwrap();
        file.write_all_at(&[byte[0] ^ 0xff], 4).unwrap();
    }
}

/// Two files in the index, one with labels; and the process that put them there.
pub fn two_files(name: &str) -> (House, Process) {
    let mut house = House::new(name);
    let entries = json!([
        { "path": house.logs.join("a.log"), "topic": "t", "labels": { "team": "shop" } },
        { "path": house.logs.join("b.log"), "topic": "t" },
    ]);
    fs::create_dir_all(house.data()).unwrap();
    fs::write(house.data().join("collect.json"), entries.to_string()).unwrap();
    house.program.arguments.remove(1);
    house.append("a.log", b"one\n\ntwo\n");
    house.append("b.log", b"lost\n");
    let process = house.program.start_ready();
    house.wait_for_messages("a.log", &["one", "two"]);
    house.wait_for_messages("b.log", &["lost"]);
    (house, process)
}

pub fn sorted(mut documents: Vec<Value>) -> Vec<Value> {
    documents.sort_by_key(|document| (document["logweir"]["file"].to_string(), document["log"]["offset"].as_u64()));
    documents
}

#[test]
fn a_damaged_day_is_set_aside_and_told_and_rebuilt_from_the_files_that_are_there() {
    let (house, process) = two_files("damaged");
    process.stop();
    let before = house.documents();
    let day = day_of(&house);
    spoil(&day, "store");
    // One of the two files is gone: that is said, and the rest comes back, once, while the process runs.
    fs::remove_file(house.logs.join("b.log")).unwrap();
    let process = house.program.start_ready();
    house.wait_for_log(&["ERRO", "damaged", "set aside"]);
    house.append("a.log", b"after\n");
    house.wait_for_log(&["WARN", "rebuilt", "files_gone: 1", "lines: 2", "without_time: 0"]);
    house.wait_for_messages("a.log", &["one", "two", "after"]);
    process.stop();
    assert!(PathBuf::from(format!("{}.damaged-1/rebuilt", day.display())).exists());
    house.program.start_ready().stop();
    assert_eq!((house.messages("a.log").join(" "), house.messages("b.log").len()), ("one two after".into(), 0));
    // As it was: with its time and its labels.
    let of_a = |documents: Vec<Value>| {
        let old = |document: &Value| document["labels"]["team"] == "shop" && document["message"] != "after";
        sorted(documents.into_iter().filter(old).collect())
    };
    assert_eq!(of_a(house.documents()), of_a(before));
}

#[test]
fn where_the_damaged_day_tells_nothing_the_journal_knows_times_and_labels_after_a_crash() {
    let (house, process) = two_files("damaged-columns");
    // Before a second commit, the journal has written down what the first one settled: these lines aren't sent again.
    house.append("b.log", b"more\n");
    house.wait_for_messages("b.log", &["lost", "more"]);
    let before = sorted(house.documents());
    process.kill();
    // As a power failure leaves them.
    let files = fs::read_dir(day_of(&house)).unwrap().flatten().map(|file| file.path());
    files
        .filter(|file| file.extension().is_some_and(|end| end == "fast"))
        .for_each(|file| fs::write(file, "").unwrap());
    let process = house.program.start_ready();
    house.wait_for_log(&["ERRO", "damaged", "set aside"]);
    house.wait_for_log(&["WARN", "rebuilt", "without_time: 0"]);
    assert!(!house.program.logged().contains("lines: 0, day"), "all were sent again: nothing is tested");
    wait_for("all lines", LIMIT, || (house.documents().len() == before.len()).then_some(()));
    process.stop();
    assert_eq!(sorted(house.documents()), before);
}

#[test]
fn a_day_that_ends_is_committed_before_the_next_one_begins_also_when_it_is_killed_there() {
    let house = House::new("midnight");
    let clock = Clock::new(&house.folder);
    let program = clock.of(&house.program);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    // A minute before midnight, and a minute after it.
    let (before, after) = (86_340 - now % 86_400, 86_460 - now % 86_400);
    clock.is_off_by_secs(before);
    let mut writer = house.writer(3, 300, 17);
    let mut doomed = program.with("LOGWEIR_CRASH_AT", "index_day_change:2").start_ready();
    writer.write(400);
    wait_for("lines of the first day", LIMIT, || (!house.documents().is_empty()).then_some(()));
    clock.is_off_by_secs(after);
    wait_for("the change of day", LIMIT, || {
        writer.write(50);
        (!doomed.runs_on()).then_some(())
    });
    doomed.wait_killed("index_day_change:2");
    let process = program.start_ready();
    writer.write(400);
    let of_both = || {
        let mut days: Vec<String> =
            house.documents().iter().map(|d| d["@timestamp"].as_str().unwrap()[..10].to_owned()).collect();
        days.sort();
        days.dedup();
        (days.len() == 2).then_some(())
    };
    wait_for("lines of the second day", LIMIT, of_both);
    // The clock is set back: lines of the day before come once more.
    clock.is_off_by_secs(before);
    writer.write(400);
    house.wait_for_log(&["another day begins in the index"]);
    let verdict = house.judge(process, writer.written());
    assert!(verdict.is_empty(), "{verdict:#?}\nlog: {}", house.program.log().display());
    let days: Vec<PathBuf> =
        fs::read_dir(house.data().join("index")).unwrap().flatten().map(|day| day.path()).collect();
    let days: Vec<&PathBuf> = days.iter().filter(|day| day.is_dir()).collect();
    assert_eq!(days.len(), 2, "{days:?}");
    for day in days {
        let name = day.file_name().unwrap().to_string_lossy();
        let documents = documents_of(day);
        assert!(
            !documents.is_empty() && documents.iter().all(|d| d["@timestamp"].as_str().unwrap().starts_with(&*name))
        );
    }
}
