//! `agent` and `transfer` as processes, without any server: what the log says at the very
//! end.

use super::offline;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Only ends a test that hangs.
const LIMIT: Duration = Duration::from_secs(60);

struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// `logweir <subcommand>` with these settings; its `/health` is at an address of its own.
    fn start(subcommand: &str, settings: &Path) -> Self {
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let log = settings.with_extension("log");
        let child = Command::new(env!("CARGO_BIN_EXE_logweir"))
            .args([subcommand.as_ref(), "-c".as_ref(), settings.as_os_str()])
            .env("LOGWEIR__METRICS__LISTEN", &listen)
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
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
