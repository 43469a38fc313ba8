//! `logweir check` against real servers: good settings pass, and where a limit of "exactly once" doesn't hold, as with a
//! single broker, that is said.

use crate::scene::Scene;
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Exit code and what was said.
fn check(config: &Path) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_logweir"))
        .arg("check")
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), said)
}

fn assert_line(said: &str, level: &str, parts: &[&str]) {
    let found = said.lines().any(|line| line.starts_with(level) && parts.iter().all(|part| line.contains(part)));
    assert!(found, "no {level} line with {parts:?} in\n{said}");
}

#[test]
fn good_settings_pass_and_a_single_brokers_limits_are_warned_of() {
    let scene = Scene::new("check");
    std::fs::create_dir_all(&scene.logs).expect("make the log folder");
    std::fs::write(scene.logs.join("app-0.log"), "one line\n").expect("write a log");
    scene.collect(&["app-*.log"]);
    let (topic, etcd) = (scene.topic.as_str(), scene.servers.etcd.fact("url"));

    let (code, said) = check(&scene.agent.folder.join("agent.toml"));
    assert_eq!(code, 0, "{said}");
    assert_line(&said, "ok", &[etcd, "version 3."]);
    assert_line(&said, "ok", &[&scene.key(), "entries: 1"]);
    assert_line(&said, "ok", &["app-*.log", "files: 1, bytes: 9"]);
    assert_line(&said, "warn", &[topic, "replicas: 1"]);
    assert_line(&said, "warn", &[topic, "min.insync.replicas = 1"]);

    let (code, said) = check(&scene.transfer.folder.join("transfer.toml"));
    assert_eq!(code, 0, "{said}");
    assert_line(&said, "ok", &["elasticsearch", "version 8."]);
    assert_line(&said, "ok", &["elasticsearch", "credentials allow"]);
    assert_line(&said, "warn", &[topic, "min.insync.replicas = 1"]);

    scene.servers.etcd_put(&scene.key(), r#"[{"path":"/var/log/a","topik":"a"}]"#);
    let (code, said) = check(&scene.agent.folder.join("agent.toml"));
    assert_eq!(code, 65, "{said}");
    assert_line(&said, "FAIL", &[&scene.key(), "line 1 column", "topik"]);
}
