//! The journal is gone, though it had been there: an ERROR says so, and the settings say what happens to the files.

use crate::{
    records::{Records, records, wait_for_records},
    scene::Scene,
    support::wait_for,
};
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    time::Duration,
};

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("open a log");
    file.write_all(text.as_bytes()).expect("write a log");
}

fn lines(records: &Records) -> Vec<String> {
    let mut lines: Vec<_> = records.values().map(|r| String::from_utf8_lossy(&r.value).into_owned()).collect();
    lines.sort();
    lines
}

/// What is in Kafka after the journal was lost and the agent was started with this setting.
fn after_a_loss(name: &str, setting: &str) -> (Scene, Vec<String>) {
    let scene = Scene::new(name);
    fs::create_dir_all(&scene.logs).unwrap();
    let (a, b) = (scene.logs.join("a.log"), scene.logs.join("b.log"));
    append(&a, "a1\n");
    scene.collect(&["*.log"]);
    let agent = scene.agent.with("LOGWEIR__AGENT__ON_LOST_POSITIONS", setting);
    let mut process = agent.start_ready();
    wait_for_records(&scene, &mut process, "the first line", |all| lines(all) == ["a1"]);
    process.stop();
    lose_journal(&scene);
    let before = agent.logged().len();
    let mut process = agent.start_ready();
    assert!(agent.logged()[before..].lines().any(|line| line.contains("ERRO") && line.contains("journal")));
    let looked_at = format!("{} to be looked at", a.display());
    wait_for(&looked_at, Duration::from_secs(60), || agent_knows(&scene, "a.log"));
    append(&a, "a2\n");
    append(&b, "b1\n");
    let both = |all: &Records| ["a2", "b1"].iter().all(|line| lines(all).iter().any(|found| found == line));
    wait_for_records(&scene, &mut process, "the next lines", both);
    process.stop();
    let found = lines(&records(&scene));
    (scene, found)
}

fn lose_journal(scene: &Scene) {
    let data = scene.agent.folder.join("agent-data");
    for file in fs::read_dir(&data).unwrap().flatten() {
        if file.file_name().to_string_lossy().ends_with(".log") {
            fs::remove_file(file.path()).unwrap();
        }
    }
}

fn agent_knows(scene: &Scene, name: &str) -> Option<()> {
    let (_, body) = crate::support::process::http_get(&scene.agent.listen, "/files")?;
    body.contains(name).then_some(())
}

#[test]
fn with_resend_everything_is_sent_again_under_a_new_identity() {
    let (scene, found) = after_a_loss("lost-resend", "resend");
    assert_eq!(found, ["a1", "a1", "a2", "b1"]);
    let all = records(&scene);
    let of = |text: &[u8]| all.values().filter(|r| r.value == text).map(|r| r.file.clone()).collect::<Vec<_>>();
    assert!(of(b"a1").contains(&of(b"a2")[0]), "the file goes on under its new identity");
}

#[test]
fn with_end_only_what_is_written_later_is_sent() {
    let (_scene, found) = after_a_loss("lost-end", "end");
    assert_eq!(found, ["a1", "a2", "b1"]);
}

/// The setting is for what was collected when the positions were lost, also where that was nothing at all.
#[test]
fn with_end_an_entry_that_is_added_later_is_read_from_its_beginning() {
    for (name, first) in [("lost-end-empty", &[][..]), ("lost-end-later", &["a.log"])] {
        let scene = Scene::new(name);
        fs::create_dir_all(&scene.logs).unwrap();
        append(&scene.logs.join("a.log"), "a1\n");
        append(&scene.logs.join("b.log"), "b1\n");
        scene.collect(first);
        let agent = scene.agent.with("LOGWEIR__AGENT__ON_LOST_POSITIONS", "end");
        agent.start_ready().stop();
        lose_journal(&scene);
        let before = agent.logged().len();
        let mut process = agent.start_ready();
        assert!(agent.logged()[before..].contains("all positions are lost"), "{}", agent.log().display());
        if !first.is_empty() {
            wait_for("a.log to be looked at", Duration::from_secs(60), || agent_knows(&scene, "a.log"));
        }
        scene.collect(&["a.log", "b.log"]);
        wait_for_records(&scene, &mut process, "the later entry's line", |all| {
            lines(all).iter().any(|line| line == "b1")
        });
        process.stop();
    }
}
