//! The servers, the log that is measured with, and an agent that collects one pattern.

use crate::support::{
    env_number,
    kafka::create_topic,
    process::{Program, free_address},
    rng::Rng,
    servers::{Servers, compile_fully, servers},
    test_folder,
};
use serde_json::json;
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::MutexGuard,
};

pub struct Bench {
    pub servers: MutexGuard<'static, Servers>,
    /// A log of web requests of about 200 bytes each.
    pub log: PathBuf,
    pub bytes: u64,
    pub lines: u64,
    pub pairs: u64,
}

impl Bench {
    pub fn new() -> Self {
        let folder = test_folder("figures");
        let log = folder.join("web.log");
        let lines = write_log(&log, env_number("LOGWEIR_BENCH_MEGABYTES", 1_100) * 1_000_000);
        let bytes = fs::metadata(&log).expect("the log just written").len();
        compile_fully();
        let servers = servers();
        Self { servers, log, bytes, lines, pairs: env_number("LOGWEIR_BENCH_PAIRS", 7) }
    }

    pub fn broker(&self) -> &str {
        self.servers.kafka.fact("address")
    }

    /// The agent as shipped, with default settings, collecting `pattern` into a new topic with the name of the run.
    pub fn agent(&self, run: &str, pattern: &Path) -> Program {
        create_topic(self.broker(), run, 1);
        let folder = test_folder(&format!("figures-{run}"));
        let listen = free_address();
        let configuration = format!(
            "[agent]\ndata_dir = \"{}\"\n[etcd]\nendpoints = [\"{}\"]\nkeys = [\"/bench/{run}\"]\n[kafka]\nbrokers = \
             [\"{}\"]\n[metrics]\nlisten = \"{listen}\"\n",
            folder.join("data").display(),
            self.servers.etcd.fact("url"),
            self.broker()
        );
        self.servers.etcd_put(&format!("/bench/{run}"), &json!([{"path": pattern, "topic": run}]).to_string());
        Program::new("agent", &folder, &listen, &configuration)
    }

    /// Calls `each` for every line of the log, in order, without its end.
    pub fn each_line(&self, mut each: impl FnMut(&[u8])) {
        let file = BufReader::with_capacity(1 << 20, File::open(&self.log).expect("the log"));
        for line in file.split(b'\n') {
            each(&line.expect("read the log"));
        }
    }
}

/// A log of web requests; answers the number of its lines.
pub fn write_log(path: &Path, bytes: u64) -> u64 {
    let mut rng = Rng::new(1);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).expect("create the log"));
    let (mut written, mut lines) = (0, 0);
    while written < bytes {
        let line = format!(
            "10.{}.{}.{} - - [21/Nov/2026:10:{:02}:{:02} +0000] \"GET /catalogue/item/{}?session={:016x} HTTP/1.1\" {} {} \
             \"https://www.example.org/catalogue/{}\" \"Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101\"\n",
            rng.below(256),
            rng.below(256),
            rng.below(256),
            rng.below(60),
            rng.below(60),
            rng.below(100_000),
            rng.next(),
            [200, 200, 200, 304, 404, 500][rng.below(6) as usize],
            rng.below(100_000),
            rng.below(1_000),
            rng.below(150)
        );
        file.write_all(line.as_bytes()).expect("write the log");
        written += line.len() as u64;
        lines += 1;
    }
    file.flush().expect("write the log");
    lines
}
