//! A process from its start to its end: one per data folder, what it says of itself, and how it stops.

use crate::{
    scene::Scene,
    support::{process::http_get, rng::Rng, wait_for},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{process::Command, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);

fn liveness(scene: &Scene, kind: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let key = format!("/logweir/status/{kind}/test-host/");
    wait_for(&format!("{what} at {key}"), LIMIT, || {
        let all = scene.servers.etcd_get_all(&key);
        all.lines().filter_map(|line| serde_json::from_str(line).ok()).find(|value| wanted(value))
    })
}

#[test]
fn a_second_agent_on_a_data_folder_is_refused_and_the_first_goes_on() {
    let scene = Scene::new("second-agent");
    scene.collect(&["app-*.log"]);
    let mut writer = scene.writer(2, u64::MAX, Rng::new(3));
    let agent = scene.agent.start_ready();
    let mut second = scene.agent.with("LOGWEIR__METRICS__LISTEN", "");
    second.name = "second".to_owned();
    let status = second.start().wait();
    assert_eq!(status.code(), Some(75), "{}", second.logged());
    let folder = scene.agent.folder.join("agent-data");
    assert!(second.logged().contains(folder.to_str().unwrap()), "{}", second.logged());
    assert!(second.logged().contains("another"), "{}", second.logged());
    writer.write(500);
    let (verdict, _) = scene.judge_kafka(agent, writer.written());
    assert!(verdict.is_empty(), "{verdict:#?}");
}

#[test]
fn an_agent_says_what_it_reads_how_far_and_in_etcd_that_it_lives() {
    let scene = Scene::new("says");
    scene.collect(&["app-*.log"]);
    let mut writer = scene.writer(3, u64::MAX, Rng::new(4));
    writer.write(3_000);
    let agent = scene.agent.start_ready();
    let transfer = scene.transfer.start_ready();
    let settled = |rows: &Value| {
        let rows = rows.as_array().expect("an array").iter();
        let (mut bytes, mut files) = (0, 0);
        for row in rows {
            assert_eq!(row["topic"], scene.topic.as_str());
            files += u64::from(row["settled"] == row["size"]);
            bytes += row["settled"].as_u64().unwrap();
        }
        (files, bytes)
    };
    let sizes: u64 = (0..3).map(|n| scene.logs.join(format!("app-{n}.log")).metadata().unwrap().len()).sum();
    wait_for("the running agent's /files", LIMIT, || {
        let (_, body) = http_get(&scene.agent.listen, "/files")?;
        (settled(&serde_json::from_str(&body).expect("JSON")) == (3, sizes)).then_some(())
    });
    let what = "the command files, beside the running agent";
    wait_for(what, LIMIT, || {
        let ran = Command::new(env!("CARGO_BIN_EXE_logweir"))
            .args(["files", "--json", "-c", &scene.agent.arguments[2]])
            .output()
            .expect("run the program");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        (settled(&serde_json::from_slice(&ran.stdout).expect("JSON")) == (3, sizes)).then_some(())
    });

    let key = scene.key();
    for kind in ["agent", "transfer"] {
        let value = liveness(&scene, kind, "files or partitions", |v| v["files"].as_u64().is_some_and(|n| n > 0));
        for (field, wanted) in [("kind", kind), ("host", "test-host"), ("version", env!("CARGO_PKG_VERSION"))] {
            assert_eq!(value[field], wanted, "{value}");
        }
        // A transfer reads the topics that etcd remembers of other tests, too.
        let files = value["files"].as_u64().unwrap();
        assert!(if kind == "agent" { files == 3 } else { files >= 4 }, "{value}");
        assert!(value["started_ms"].as_u64().is_some_and(|ms| ms > 1_700_000_000_000), "{value}");
        for field in ["lag", "lines_per_second", "bytes_per_second"] {
            assert!(value[field].is_number(), "{field}: {value}");
        }
        assert!(value["sources"][&key]["applied_revision"].is_u64(), "{value}");
        assert!(value.as_object().unwrap().contains_key("last_error"), "{value}");
    }
    scene.servers.etcd_put(&key, "[{]");
    for kind in ["agent", "transfer"] {
        let refused = |v: &Value| v["sources"][&key]["refused"].as_str().is_some_and(|why| why.contains("line 1"));
        let value = liveness(&scene, kind, "the refusal", refused);
        assert!(value["sources"][&key]["applied_revision"].is_u64(), "what is in force stays: {value}");
    }
    agent.stop();
    transfer.stop();
    assert_eq!(scene.servers.etcd_get_all("/logweir/status/agent/test-host/"), "", "the key goes with its process");
    assert_eq!(scene.servers.etcd_get_all("/logweir/status/transfer/test-host/"), "");
}

#[test]
fn a_stop_without_a_broker_ends_in_order_and_a_second_signal_ends_it_at_once_and_nothing_is_lost() {
    let mut scene = Scene::new("two-signals");
    scene.collect(&["app-*.log"]);
    let mut writer = scene.writer(2, u64::MAX, Rng::new(5));
    writer.write(500);
    let agent = scene.agent.with("LOGWEIR__AGENT__SHUTDOWN_TIMEOUT_SECS", "600");
    let mut process = agent.start_ready();
    wait_for("the first lines to be read", LIMIT, || (process.bytes_read() > writer.written().bytes).then_some(()));
    scene.servers.kafka.kill();
    let before = process.bytes_read();
    let bytes = writer.written().bytes;
    writer.write(500);
    let more = writer.written().bytes - bytes;
    wait_for("lines that can't be delivered", LIMIT, || (process.bytes_read() - before >= more).then_some(()));
    let pid = Pid::from_raw(process.pid() as i32).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    wait_for("the first signal to be taken", LIMIT, || agent.logged().contains("stopping in order").then_some(()));
    kill_process(pid, Signal::TERM).unwrap();
    // Ten minutes were allowed for an orderly stop; this waits for one at the most.
    assert_eq!(process.wait().code(), Some(143), "{}", agent.log().display());

    // With a deadline that is shorter than the outage, an orderly stop ends all the same.
    let agent = scene.agent.with("LOGWEIR__AGENT__SHUTDOWN_TIMEOUT_SECS", "2");
    let mut process = agent.start();
    wait_for("the next one", LIMIT, || {
        process.assert_running();
        http_get(&agent.listen, "/health")
    });
    process.stop();

    scene.servers.kafka.start();
    let agent = scene.agent.start_ready();
    let (verdict, _) = scene.judge_kafka(agent, writer.written());
    assert!(verdict.is_empty(), "{verdict:#?}\nagent's log: {}", scene.agent.log().display());
}
