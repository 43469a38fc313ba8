//! What tests against real servers need: the servers, the program under test as a process, a writer of logs, and the
//! oracle that knows what has to arrive.
//!
//! Everything here blocks: a test is a plain function on its own thread, so that killing and restarting processes can't
//! disturb a runtime, and the harness shares no code with what it judges (`kcat`-like reading by rdkafka's plain
//! consumer, Elasticsearch by `curl`, etcd by `etcdctl`).

pub mod clock;
pub mod elastic;
pub mod kafka;
pub mod oracle;
pub mod process;
pub mod rng;
pub mod servers;
pub mod writer;

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// Asks again and again until `answer` gives something. `limit` only ends a test that hangs; it judges no speed.
/// Panics with `what` when it is over.
pub fn wait_for<T>(what: &str, limit: Duration, mut answer: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = answer() {
            return found;
        }
        assert!(begun.elapsed() < limit, "waited {} s in vain for {what}", limit.as_secs());
        // What is waited for happens in another process, which can't notify this one.
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// A number from the environment, or the default; panics on nonsense, so that a typing error doesn't test less.
pub fn env_number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// The folder for logs and data of one test, fresh, under `target/`; it stays for reading after a failure.
pub fn test_folder(name: &str) -> PathBuf {
    let folder = target().join("test-runs").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("remove the folder of an earlier run");
    }
    std::fs::create_dir_all(&folder).expect("make the test's folder");
    folder
}

fn target() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target")
}
