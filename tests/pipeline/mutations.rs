//! The proof of the proof: one story that is easy to get wrong, told once by the program as it is, and once with each known
//! mistake switched on (`LOGWEIR_MUTATION`). The oracle has to be content with the first and catch all others.

use crate::{
    scene::Scene,
    support::{process::Program, rng::Rng, wait_for},
};
use std::{thread, time::Duration};

/// Lines arrive; the broker dies; more lines are read but can't be delivered; the agent dies; both come back.
fn story(name: &str, mutation: Option<&str>) -> Vec<String> {
    let mut scene = Scene::new(name);
    let agent: Program = mutation.map_or(scene.agent.clone(), |name| scene.agent.with("LOGWEIR_MUTATION", name));
    scene.collect(&["app-*.log"]);
    let mut writer = scene.writer(2, u64::MAX, Rng::new(11));
    let process = agent.start_ready();
    writer.write(2_000);
    let bytes = writer.written().bytes;
    wait_for("the agent to read the first lines", Duration::from_secs(60), || {
        (process.bytes_read() > bytes).then_some(())
    });
    // What is read is on its way to the broker, or there. Then nothing gets there any more.
    thread::park_timeout(Duration::from_secs(1));
    scene.servers.kafka.kill();
    let before = process.bytes_read();
    writer.write(2_000);
    let bytes = writer.written().bytes - bytes;
    wait_for("the agent to read while the broker is down", Duration::from_secs(60), || {
        (process.bytes_read() - before >= bytes).then_some(())
    });
    // The journal writes what was settled (here: by mistake) every 100 ms.
    thread::park_timeout(Duration::from_secs(1));
    process.kill();
    scene.servers.kafka.start();
    let process = agent.start_ready();
    writer.write(500);
    scene.judge_kafka(process, writer.written()).0
}

fn assert_caught(name: &str, mutation: &str, kind: &str) {
    let verdict = story(name, Some(mutation));
    assert!(verdict.iter().any(|found| found.starts_with(kind)), "{mutation} wasn't caught as {kind:?}: {verdict:#?}");
}

#[test]
fn without_a_mistake_every_line_of_the_story_arrives_once() {
    assert_eq!(story("no-mutation", None), Vec::<String>::new());
}

#[test]
fn settling_before_delivery_is_caught() {
    assert_caught("mutation-settle", "settle_before_delivery", "missing");
}

#[test]
fn a_fresh_identity_at_restart_is_caught() {
    assert_caught("mutation-identity", "fresh_id_at_restart", "two identities for one file");
}

#[test]
fn forgetting_what_was_sent_but_not_delivered_is_caught() {
    assert_caught("mutation-pending", "skip_pending", "missing");
}
