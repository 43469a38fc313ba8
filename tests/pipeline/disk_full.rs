//! The disk of the agent's data folder is full: what can't be journalled isn't sent, an ERROR says so, and reading goes on
//! when there is room.

use crate::{
    scene::Scene,
    support::{kafka::TopicReader, process::Process, rng::Rng, wait_for},
};
use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    time::Duration,
};

/// A file that takes all the room of the agent's data folder. The folder is a small file system in the agent's own mount
/// namespace, which is reached through the agent.
fn fill(agent: &Process, data: &std::path::Path) -> PathBuf {
    let inside = PathBuf::from(format!("/proc/{}/root{}", agent.pid(), data.display()));
    let filler = inside.join("filler");
    let mut file = File::create(&filler).expect("make a file in the agent's data folder");
    let failed = loop {
        if let Err(failed) = file.write_all(&[0; 4096]) {
            break failed;
        }
    };
    assert_eq!(failed.kind(), std::io::ErrorKind::StorageFull, "{failed}");
    filler
}

#[test]
fn a_full_disk_stops_the_reading_with_an_error_and_it_goes_on_when_there_is_room() {
    let scene = Scene::new("disk-full");
    scene.collect(&["app-*.log"]);
    // No rotation: a new file that can't be registered is another matter.
    let mut writer = scene.writer(3, u64::MAX, Rng::new(37));
    let data = scene.agent.folder.join("agent-data");
    fs::create_dir_all(&data).unwrap();
    let mount = r#"mount -t tmpfs -o size=1m logweir "$0" && exec "$@""#;
    let mut wrapper = vec!["unshare", "--mount"];
    if !rustix::process::geteuid().is_root() {
        wrapper.push("--map-root-user");
    }
    wrapper.extend(["sh", "-c", mount, data.to_str().unwrap()]);
    let agent = scene.agent.wrapped_in(&wrapper).start_ready();
    writer.write(1_000);
    let filler = fill(&agent, &data);
    // A few ranges may find room in the journal's last page.
    wait_for("an ERROR that reading stops", Duration::from_secs(60), || {
        writer.write(30);
        let words = ["ERRO", "reading stops", "No space left"];
        let full = |line: &str| words.iter().all(|word| line.contains(word));
        scene.agent.logged().lines().any(full).then_some(())
    });
    writer.write(1_000);
    let mut in_kafka = 0;
    TopicReader::new(scene.servers.kafka.fact("address"), &scene.topic).read_to_end(|_| in_kafka += 1);
    assert!(in_kafka < writer.written().lines(), "what can't be journalled isn't sent");
    fs::remove_file(filler).unwrap();
    let (verdict, repeats) = scene.judge_kafka(agent, writer.written());
    assert!(verdict.is_empty(), "{verdict:#?}\nagent's log: {}", scene.agent.log().display());
    assert_eq!(repeats, 0, "a full disk is no crash");
}
