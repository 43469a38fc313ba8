//! Damage that shows while `logweir standalone` runs: the day is rebuilt without a restart, nothing is lost or doubled, and a
//! kill in the middle changes nothing of that.

use crate::{
    standalone::{House, LIMIT},
    standalone_bad::{day_of, sorted, spoil, two_files},
    support::{env_number, process::http_get, rng::Rng, wait_for, writer::Background},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// What is done to a day under the running process, and whether that has a writer open.
type Damage = (fn(&Path), bool);

fn files_of(day: &Path, end: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(day).unwrap().flatten().map(|file| file.path());
    files.filter(|file| file.extension().is_some_and(|of| of == end)).collect()
}

#[test]
fn a_day_that_is_taken_away_or_torn_under_the_process_comes_back_as_it_was_and_is_written_on() {
    let ways: [(&str, Damage); 3] = [
        // While it is written, it can't be removed in one step.
        ("folder", (|day| fs::rename(day, day.join("../../taken")).unwrap(), true)),
        // An open writer would write it anew.
        ("meta", (|day| fs::remove_file(day.join("meta.json")).unwrap(), false)),
        ("columns", (|day| files_of(day, "fast").iter().for_each(|file| fs::remove_file(file).unwrap()), true)),
    ];
    for (name, (damage, written)) in ways {
        let (house, mut process) = two_files(&format!("mending-{name}"));
        let before = house.documents();
        if !written {
            process.stop();
            process = house.program.start_ready();
        }
        damage(&day_of(&house));
        house.append("a.log", b"after\n");
        house.wait_for_log(&["WARN", "rebuilt", "files_gone: 0", "without_time: 0"]);
        house.append("b.log", b"on\n");
        house.wait_for_messages("a.log", &["one", "two", "after"]);
        house.wait_for_messages("b.log", &["lost", "on"]);
        process.stop();
        let old = |document: &Value| !["after", "on"].iter().any(|new| document["message"] == *new);
        assert_eq!(sorted(house.documents().into_iter().filter(old).collect()), sorted(before), "{name}");
        assert_eq!(house.documents().len(), 5, "{name}: {}", house.program.log().display());
    }
}

#[test]
fn a_search_that_meets_damage_makes_the_day_be_rebuilt_and_finds_everything_afterwards() {
    let (house, process) = two_files("mending-search");
    let before = house.documents();
    spoil(&day_of(&house), "store");
    let search = || -> Value {
        let (status, body) = http_get(&house.program.listen, "/api/v1/search?q=&count=true").unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    };
    wait_for("the search to notice", LIMIT, || {
        search();
        house.program.logged().contains("set aside").then_some(())
    });
    house.wait_for_log(&["WARN", "rebuilt", "lines: 3", "without_time: 0"]);
    wait_for("the search to find everything", LIMIT, || {
        let page = search();
        (page["total"] == 3 && page["incomplete"].is_null()).then_some(())
    });
    house.append("a.log", b"after\n");
    house.wait_for_messages("a.log", &["one", "two", "after"]);
    process.stop();
    let old = |document: &Value| document["message"] != "after";
    assert_eq!(sorted(house.documents().into_iter().filter(old).collect()), sorted(before));
}

/// While it is written, a folder can't be removed in one step.
fn take_away(house: &House) {
    let away = (1..).map(|n| house.folder.join(format!("taken-{n}"))).find(|path| !path.exists()).unwrap();
    fs::rename(day_of(house), away).unwrap();
}

/// Steps of mending a day while the process runs.
const POINTS: &[&str] = &["index_set_aside", "index_rebuilt"];

#[test]
fn a_kill_at_any_step_of_mending_a_day_loses_and_repeats_nothing() {
    for point in POINTS {
        let house = House::new(&format!("mending-{}", point.replace('_', "-")));
        let mut writer = house.writer(3, u64::MAX, 19);
        let mut doomed = house.program.with("LOGWEIR_CRASH_AT", point).start_ready();
        writer.write(500);
        wait_for("the first commit", LIMIT, || (!house.documents().is_empty()).then_some(()));
        take_away(&house);
        wait_for("the process to die there", LIMIT, || {
            writer.write(20);
            (!doomed.runs_on()).then_some(())
        });
        doomed.wait_killed(point);
        let process = house.program.start_ready();
        writer.write(200);
        let verdict = house.judge(process, writer.written());
        assert!(verdict.is_empty(), "killed at {point}: {verdict:#?}\nlog: {}", house.program.log().display());
    }
}

#[test]
fn every_line_is_there_once_while_the_day_is_taken_away_again_and_again_and_the_process_killed() {
    let house = House::new("mending-again");
    let mut rng = Rng::from_env();
    let (lines, rounds) = (20_000, env_number("LOGWEIR_TEST_KILLS", 6));
    let writing = Background::start(house.writer(4, u64::MAX, rng.next()), lines, Duration::from_secs(rounds * 4));
    let mut process = house.program.start_ready();
    for _ in 0..rounds {
        wait_for("lines in the day", LIMIT, || (!house.documents().is_empty()).then_some(()));
        let told = || house.program.logged().matches("is damaged and set aside").count();
        let before = told();
        take_away(&house);
        // Killed before anybody knows, it is a day that somebody removed.
        wait_for("the damage to be noticed", LIMIT, || (told() > before).then_some(()));
        std::thread::park_timeout(Duration::from_millis(rng.below(400)));
        process.kill();
        process = house.program.start_ready();
    }
    let writer = writing.finish();
    let verdict = house.judge(process, writer.written());
    assert!(verdict.is_empty(), "{verdict:#?}\nlog: {}", house.program.log().display());
}

#[test]
fn what_was_never_asked_for_stays_away_and_long_lines_are_cut_as_before_where_the_day_tells_nothing() {
    let mut house = House::new("mending-cuts");
    let path = house.logs.join("a.log");
    let entries = json!([{ "path": path, "topic": "t", "start": "end", "max_line_bytes": 20 }]);
    fs::create_dir_all(house.data()).unwrap();
    fs::write(house.data().join("collect.json"), entries.to_string()).unwrap();
    house.program.arguments.remove(1);
    house.append("a.log", b"never asked for\nnor this\n");
    let process = house.program.start_ready();
    house.wait_for_log(&["a.log"]);
    let long = format!("{}{}{}", "a".repeat(20), "b".repeat(20), "c".repeat(5));
    house.append("a.log", format!("short\n{long}\n").as_bytes());
    let expected = ["short", &long[..20], &long[20..40], &long[40..]];
    house.wait_for_messages("a.log", &expected);
    // In order: the journal keeps no ranges.
    process.stop();
    let before = sorted(house.documents());
    files_of(&day_of(&house), "fast").iter().for_each(|file| fs::remove_file(file).unwrap());
    let process = house.program.start_ready();
    house.wait_for_log(&["WARN", "rebuilt", "without_time: 4"]);
    process.stop();
    let told = |documents: &[Value]| -> Vec<Value> {
        documents.iter().map(|of| json!([of["message"], of["log"], of["logweir"]])).collect()
    };
    assert_eq!(told(&sorted(house.documents())), told(&before));
}
