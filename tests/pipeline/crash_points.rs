//! At every step between reading and settling the process kills itself once (`LOGWEIR_CRASH_AT`), starts again without,
//! and every line is there exactly once. The names below are the program's own; one that is never passed fails its test.

use crate::{
    scene::Scene,
    support::{rng::Rng, wait_for},
};
use std::time::Duration;

/// Steps of the agent, with the pass at which it dies: a late one finds more done already.
const AGENT: &[&str] = &[
    // The first snapshot is the empty journal's own.
    "snapshot_begun",
    "snapshot_tmp",
    "snapshot_renamed",
    "journal_registered",
    "journal_registered:2",
    "read",
    "read:7",
    "journal_appended",
    "journal_appended:7",
    "sent",
    "sent:7",
    "delivered",
    "delivered:7",
    "settled",
    "settled:7",
    "journal_settled",
    "journal_settled:2",
];

/// Steps of replacing the journal, which an orderly stop does.
const SNAPSHOT: &[&str] = &["snapshot_begun", "snapshot_tmp", "snapshot_renamed", "snapshot_cleaned"];

/// Steps of the transfer.
const TRANSFER: &[&str] = &["bulk_built", "bulk_sent", "bulk_answered", "settled", "offset_stored", "offset_committed"];

/// File-safe name of a crash point.
fn plain(point: &str) -> String {
    point.replace([':', '_'], "-")
}

#[test]
fn a_kill_at_any_step_of_the_agent_loses_and_repeats_nothing() {
    for point in AGENT {
        let scene = Scene::new(&format!("crash-{}", plain(point)));
        scene.collect(&["app-*.log*"]);
        let mut writer = scene.writer(3, 300, Rng::new(13));
        let mut doomed = scene.agent.with("LOGWEIR_CRASH_AT", point).start();
        let mut burst = 0;
        while doomed.runs_on() {
            writer.write(100);
            burst += 1;
            assert!(burst < 600, "crash point {point} was never passed, see {}", scene.agent.log().display());
            std::thread::park_timeout(Duration::from_millis(100));
        }
        doomed.wait_killed(point);
        let agent = scene.agent.start_ready();
        writer.write(200);
        let (verdict, _) = scene.judge_kafka(agent, writer.written());
        assert!(verdict.is_empty(), "killed at {point}: {verdict:#?}\nagent's log: {}", scene.agent.log().display());
    }
}

#[test]
fn a_kill_at_any_step_of_replacing_the_journal_at_a_stop_loses_and_repeats_nothing() {
    for point in SNAPSHOT {
        let scene = Scene::new(&format!("crash-at-stop-{}", plain(point)));
        scene.collect(&["app-*.log*"]);
        let mut writer = scene.writer(3, 300, Rng::new(23));
        // The journal is there already, so that the next start makes no snapshot of its own.
        let process = scene.agent.start_ready();
        writer.write(300);
        process.kill();
        let mut doomed = scene.agent.with("LOGWEIR_CRASH_AT", point).start_ready();
        let (read, written) = (doomed.bytes_read(), writer.written().bytes);
        writer.write(1_000);
        let more = writer.written().bytes - written;
        wait_for("the agent to read before it is stopped", Duration::from_secs(60), || {
            (doomed.bytes_read() - read >= more).then_some(())
        });
        doomed.terminate();
        doomed.wait_killed(point);
        let agent = scene.agent.start_ready();
        writer.write(200);
        let (verdict, _) = scene.judge_kafka(agent, writer.written());
        assert!(verdict.is_empty(), "killed at {point}: {verdict:#?}\nagent's log: {}", scene.agent.log().display());
    }
}

#[test]
fn a_kill_at_any_step_of_the_transfer_loses_and_repeats_nothing() {
    for point in TRANSFER {
        let scene = Scene::new(&format!("crash-transfer-{}", plain(point)));
        scene.collect(&["app-*.log*"]);
        let mut writer = scene.writer(3, 300, Rng::new(17));
        let agent = scene.agent.start_ready();
        let mut doomed = scene.transfer.with("LOGWEIR_CRASH_AT", point).start();
        let mut burst = 0;
        while doomed.runs_on() {
            writer.write(100);
            burst += 1;
            assert!(burst < 600, "crash point {point} was never passed, see {}", scene.transfer.log().display());
            std::thread::park_timeout(Duration::from_millis(100));
        }
        doomed.wait_killed(point);
        let transfer = scene.transfer.start_ready();
        writer.write(200);
        let (verdict, _) = scene.judge_kafka(agent, writer.written());
        assert!(verdict.is_empty(), "in Kafka: {verdict:#?}\nagent's log: {}", scene.agent.log().display());
        let verdict = scene.judge_elastic(transfer, writer.written());
        assert!(verdict.is_empty(), "killed at {point}: {verdict:#?}\nlog: {}", scene.transfer.log().display());
    }
}
