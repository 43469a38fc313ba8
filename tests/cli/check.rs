//! `logweir check` where something is wrong: it says what, ends within its deadlines and with the right exit code.

use super::{Ran, logweir, logweir_in};
use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

/// A port where nobody listens.
fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server that takes connections and never answers.
fn silent_server() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn check(path: &Path, more: &[&str]) -> Ran {
    let args = ["check".as_ref(), path.as_os_str(), "--timeout-secs".as_ref(), "1".as_ref()];
    logweir(args.into_iter().chain(more.iter().map(AsRef::as_ref)))
}

/// An agent's settings with entries from a file.
fn agent(dir: &Path, kafka: SocketAddr, entries: &str) -> PathBuf {
    std::fs::write(dir.join("collect.json"), entries).unwrap();
    let path = dir.join("agent.toml");
    let (data, file) = (dir.join("data"), dir.join("collect.json"));
    let text = format!(
        "[agent]\ndata_dir = {data:?}\n[collection]\nsource = \"file\"\nfile = {file:?}\n\
         [etcd]\nendpoints = []\n[kafka]\nbrokers = [\"{kafka}\"]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn transfer(dir: &Path, etcd: SocketAddr, kafka: SocketAddr, urls: &str) -> PathBuf {
    let path = dir.join("transfer.toml");
    let text = format!(
        "[etcd]\nendpoints = [\"http://{etcd}\"]\nconnect_timeout_ms = 500\nrequest_timeout_ms = 500\n\
         [kafka]\nbrokers = [\"{kafka}\"]\ntopics = [\"t\"]\n[elasticsearch]\nurls = [{urls}]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// The lines of a level.
fn lines<'a>(ran: &'a Ran, level: &str) -> Vec<&'a str> {
    ran.out.lines().filter(|line| line.starts_with(level)).collect()
}

fn has(ran: &Ran, level: &str, parts: &[&str]) -> bool {
    lines(ran, level).iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn wrong_settings_are_78_and_each_mistake_is_a_line_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("settings.toml");
    std::fs::write(&path, "[agent]\nmemory_bytes = \"much\"\nhosst = \"a\"\n[kafka]\nbrokers = []\n").unwrap();
    let ran = check(&path, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (78, ""));
    assert!(has(&ran, "FAIL", &["settings.toml:2:1", "agent.memory_bytes"]), "{}", ran.out);
    assert!(has(&ran, "FAIL", &["settings.toml:3:1", "did you mean host?"]), "{}", ran.out);
    assert!(has(&ran, "FAIL", &["kafka.brokers"]), "{}", ran.out);
    assert_eq!(lines(&ran, "ok").len(), 0);
}

#[test]
fn what_the_file_is_for_is_seen_or_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    std::fs::write(&path, "[log]\nlevel = \"loud\"\n").unwrap();
    let ran = check(&path, &[]);
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("--as agent, --as transfer or --as console"), "{}", ran.err);
    assert_eq!(check(&path, &["--as", "transfer"]).code, 78);
    let missing = check(&dir.path().join("none.toml"), &[]);
    assert_eq!(missing.code, 66);
    assert!(missing.err.contains("none.toml"), "{}", missing.err);
}

#[test]
fn refused_entries_are_65_with_their_place_although_kafka_is_away_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = agent(dir.path(), closed_port(), "[\n {\"path\": \"/var/log/a\", \"topik\": \"t\"}]");
    let ran = check(&path, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (65, ""), "{}", ran.out);
    assert!(has(&ran, "FAIL", &["collect.json line 2 column 25", "topic"]), "{}", ran.out);
    assert!(has(&ran, "FAIL", &["kafka", "Connection refused"]), "{}", ran.out);
}

#[test]
fn an_agent_without_kafka_is_69_and_everything_else_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    std::fs::write(&log, "12345\n").unwrap();
    let path = agent(dir.path(), closed_port(), &format!("[{{\"path\": {log:?}, \"topic\": \"t\"}}]"));
    let ran = check(&path, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (69, ""), "{}", ran.out);
    for parts in
        [&["settings"][..], &["data_dir"], &["MiB free"], &["journal", "none yet"], &["a.log to t", "bytes: 6"]]
    {
        assert!(has(&ran, "ok", parts), "{parts:?}\n{}", ran.out);
    }
    assert!(!dir.path().join("data").exists(), "a check makes nothing");
}

#[test]
fn a_transfer_without_any_server_is_69_and_names_each() {
    let dir = tempfile::tempdir().unwrap();
    let (etcd, kafka, elastic) = (closed_port(), closed_port(), closed_port());
    let path = transfer(dir.path(), etcd, kafka, &format!("\"http://{elastic}\""));
    let ran = check(&path, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (69, ""), "{}", ran.out);
    for (check, server) in [("etcd", etcd), ("kafka", kafka), ("elasticsearch", elastic)] {
        assert!(has(&ran, "FAIL", &[check, &server.to_string(), "->"]), "{check}\n{}", ran.out);
    }
}

#[test]
fn servers_that_never_answer_are_given_up_at_their_deadlines() {
    let dir = tempfile::tempdir().unwrap();
    let silent = [silent_server(), silent_server(), silent_server()];
    let [etcd, kafka, elastic] = silent.each_ref().map(|server| server.local_addr().unwrap());
    let path = transfer(dir.path(), etcd, kafka, &format!("\"http://{elastic}\""));
    // That it ends at all is what is tested: without a deadline it would wait as long as the servers live.
    let ran = check(&path, &[]);
    assert_eq!(ran.code, 69, "{}", ran.out);
    assert_eq!(lines(&ran, "FAIL").len(), 3, "{}", ran.out);
}

#[test]
fn the_json_says_the_same_and_no_secret_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (etcd, kafka, elastic) = (closed_port(), closed_port(), closed_port());
    let path = transfer(dir.path(), etcd, kafka, &format!("\"http://{elastic}\""));
    let args = ["check".as_ref(), path.as_os_str(), "--json".as_ref(), "--timeout-secs=1".as_ref()];
    let secrets = [
        ("LOGWEIR__ELASTICSEARCH__API_KEY", "s3cret"),
        ("LOGWEIR__ETCD__USERNAME", "u"),
        ("LOGWEIR__ETCD__PASSWORD", "s3cret"),
        ("LOGWEIR__KAFKA__OPTIONS__SASL_PASSWORD", "s3cret"),
    ];
    let ran = logweir_in(args, &secrets);
    assert_eq!(ran.code, 69, "{}{}", ran.out, ran.err);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["exit"], 69);
    let checks = value["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["level"] == "fail" && check["check"] == "kafka"), "{}", ran.out);
    assert!(!ran.out.contains("s3cret") && !ran.err.contains("s3cret"), "{}{}", ran.out, ran.err);
}

#[test]
fn a_damaged_journal_is_74_where_nothing_comes_before_it() {
    use logweir::journal::{Fingerprint, Journal, JournalOptions, NewFile};
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    {
        let (mut journal, _) = Journal::open(&data, JournalOptions::default()).unwrap();
        for name in ["/a", "/b"] {
            let topic = "t".to_owned();
            let file = NewFile { path: name.into(), topic, dev: 1, ino: 2, head: Fingerprint::default(), start: 0 };
            journal.register(vec![file], 1).unwrap();
        }
        journal.sync().unwrap();
    }
    let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
    let address = cluster.bootstrap_servers().parse().unwrap();
    let path = agent(dir.path(), address, "[]");
    let sound = check(&path, &[]);
    assert!(has(&sound, "ok", &["journal", "2 files"]), "{}", sound.out);
    for entry in std::fs::read_dir(&data).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|ending| ending == "log") {
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            std::fs::write(&file, bytes).unwrap();
        }
    }
    let ran = check(&path, &[]);
    assert!(has(&ran, "FAIL", &["journal", "damaged"]), "{}", ran.out);
    assert_eq!((ran.code, sound.code), (74, 0), "{}\n{}", sound.out, ran.out);
}
