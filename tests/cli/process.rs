//! `agent` and `transfer` as processes, without any server: what `/health` says until there is a configuration, and what
//! the log says at the very end.

use super::offline;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Only ends a test that hangs.
const LIMIT: Duration = Duration::from_secs(60);

struct Running {
    child: Child,
    log: PathBuf,
    listen: String,
}

impl Running {
    /// `logweir <subcommand>` with these settings; its `/health` is at an address of its own.
    fn start(subcommand: &str, settings: &Path) -> Self {
        Self::start_by(&[], subcommand, settings)
    }

    /// The same, run by a command that replaces itself by it.
    fn start_by(wrapper: &[&str], subcommand: &str, settings: &Path) -> Self {
        let words: Vec<&str> = wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_logweir")]).collect();
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let log = settings.with_extension("log");
        let child = Command::new(words[0])
            .args(&words[1..])
            .args([subcommand.as_ref(), "-c".as_ref(), settings.as_os_str()])
            .env("LOGWEIR__METRICS__LISTEN", &listen)
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log, listen }
    }

    fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it is so.
    fn until<T>(&mut self, what: &str, mut so: impl FnMut(&Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = so(self) {
                return found;
            }
            let runs = self.child.try_wait().unwrap().is_none();
            assert!(runs && begun.elapsed() < LIMIT, "never: {what}\n{}", self.logged());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Status and body of `/health`.
    fn health(&self) -> Option<(u16, serde_json::Value)> {
        let mut stream = TcpStream::connect(&self.listen).ok()?;
        write!(stream, "GET /health HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, serde_json::from_str(body).ok()?))
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < LIMIT, "it doesn't end\n{}", self.logged());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_second_signal_ends_an_agent_at_once_with_the_last_word_in_the_log() {
    let (dir, settings) = offline("[]", "");
    let log = dir.path().join("a.log");
    std::fs::write(&log, "a line that no broker takes\n").unwrap();
    let entries = serde_json::json!([{ "path": log, "topic": "t" }]).to_string();
    std::fs::write(dir.path().join("collect.json"), entries).unwrap();
    let mut agent = Running::start("agent", &settings);
    agent.until("the line is read", |agent| agent.logged().contains("a file is collected").then_some(()));
    agent.terminate();
    agent.until("the first signal is taken", |agent| agent.logged().contains("stopping in order").then_some(()));
    agent.terminate();
    assert_eq!(agent.wait().code(), Some(143), "{}", agent.logged());
    assert!(agent.logged().contains("ended at once"), "{}", agent.logged());
}

#[test]
fn an_agent_is_ready_when_it_has_read_its_entries_and_says_before_why_it_has_not() {
    let (dir, settings) = offline("[]", "");
    let file = dir.path().join("collect.json");
    std::fs::remove_file(&file).unwrap();
    let mut agent = Running::start("agent", &settings);
    let (status, health) = agent.until("the reason", |agent| {
        agent.health().filter(|(_, health)| health["conditions"]["collection"]["reason"].to_string().contains("can't"))
    });
    assert_eq!((status, &health["live"], &health["ready"]), (503, &true.into(), &false.into()), "{health}");
    assert!(health.to_string().contains(file.to_str().unwrap()), "{health}");
    std::fs::write(&file, "[]").unwrap();
    agent.until("ready", |agent| agent.health().filter(|(status, _)| *status == 200));
    // What goes wrong later is told, and what is known stays in force.
    std::fs::remove_file(&file).unwrap();
    let (status, _) = agent.until("the refusal", |agent| {
        agent.health().filter(|(_, health)| health["conditions"]["collection"]["reason"].to_string().contains("can't"))
    });
    assert_eq!(status, 200);
}

#[test]
fn without_etcd_neither_process_is_ready_and_both_say_why() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for subcommand in ["agent", "transfer"] {
        let dir = tempfile::tempdir().unwrap();
        let settings = dir.path().join("settings.toml");
        let own = match subcommand {
            "agent" => format!("[agent]\ndata_dir = {:?}\n", dir.path().join("data")),
            _ => "[transfer]\n".to_owned(),
        };
        let text = format!("{own}[etcd]\nendpoints = [\"http://{nobody}\"]\n[kafka]\nbrokers = [\"{nobody}\"]\n");
        std::fs::write(&settings, text).unwrap();
        let mut process = Running::start(subcommand, &settings);
        let condition = if subcommand == "agent" { "collection" } else { "configuration" };
        let (status, health) = process.until("a first answer", Running::health);
        assert_eq!((status, &health["live"]), (503, &true.into()), "{health}");
        let waits = health["conditions"][condition]["reason"].to_string();
        assert!(waits.contains("waiting for the first"), "{health}");
        process.until("the reason", |process| {
            let (status, health) = process.health()?;
            assert_eq!(status, 503, "{health}");
            health["conditions"][condition]["reason"].to_string().contains(&nobody.to_string()).then_some(())
        });
    }
}

#[test]
fn an_agent_that_may_open_few_files_says_so_and_what_would_help() {
    for (limit, few) in [("512:512", true), ("512:4096", false)] {
        let (_dir, settings) = offline("[]", "");
        let wrapper = ["prlimit", &format!("--nofile={limit}"), "--"];
        let mut agent = Running::start_by(&wrapper, "agent", &settings);
        agent.until("ready", |agent| agent.health().filter(|(status, _)| *status == 200));
        let log = agent.logged();
        let line = log.lines().find(|line| line.contains("few files may be open"));
        assert_eq!(line.is_some(), few, "{log}");
        assert!(
            line.is_none_or(|line| line.contains("WARN") && line.contains("512") && line.contains("ulimit")),
            "{log}"
        );
    }
}
