//! One test's own corner of the shared servers: its topic, its keys in etcd, its group and its indices, with an agent and
//! a transfer that are configured for exactly these.

use crate::support::{
    env_number,
    kafka::{TopicReader, create_topic, group_lag},
    oracle::{Fold, Form, Oracle},
    process::{Process, Program, free_address},
    rng::Rng,
    servers::{Servers, servers},
    test_folder, wait_for,
    writer::{LogWriter, Written},
};
use serde_json::{Value, json};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::MutexGuard,
    time::{Duration, Instant},
};

/// Without any progress for so long, a test gives up and says what is missing.
const NO_PROGRESS: Duration = Duration::from_secs(90);

pub struct Scene {
    pub servers: MutexGuard<'static, Servers>,
    pub name: String,
    pub logs: PathBuf,
    pub topic: String,
    pub agent: Program,
    pub transfer: Program,
}

/// Lines of a central test.
pub fn central_lines() -> u64 {
    env_number("LOGWEIR_TEST_LINES", 200_000)
}

/// Shown whether or not the test passes: libtest captures only the print macros.
pub fn report(text: &str) {
    // A closed standard error is no reason to fail a test.
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Scene {
    pub fn new(name: &str) -> Self {
        let servers = servers();
        let folder = test_folder(name);
        let topic = format!("pipeline-{name}");
        create_topic(servers.kafka.fact("address"), &topic, 4);
        let (agent, transfer) = (agent_program(name, &folder, &servers), transfer_program(name, &folder, &servers));
        let scene = Self { logs: folder.join("logs"), servers, name: name.to_owned(), topic, agent, transfer };
        let url = scene.servers.elastic.fact("url");
        let value = json!({"api_key": scene.servers.elastic.api_key(), "url_address": [url]});
        scene.servers.etcd_put(&format!("/test/{name}/elasticsearch"), &value.to_string());
        scene
    }

    /// The key of etcd where this test's collection entries stand.
    pub fn key(&self) -> String {
        format!("/test/{}/collect", self.name)
    }

    /// Collects the files that match these patterns of the log folder, and nothing else.
    pub fn collect(&self, patterns: &[&str]) {
        let entry = |pattern: &&str| json!({"path": self.logs.join(pattern), "topic": self.topic});
        let entries: Vec<Value> = patterns.iter().map(entry).collect();
        self.servers.etcd_put(&self.key(), &Value::from(entries).to_string());
    }

    /// A writer of `files` logs here.
    pub fn writer(&self, files: usize, rotate_after: u64, rng: Rng) -> LogWriter {
        LogWriter::new(&self.logs, files, rotate_after, rng)
    }

    /// Reads the topic until every written line is in it, or nothing comes any more; then stops the agent in order and
    /// judges all records. Returns what is wrong, and the number of repeats.
    pub fn judge_kafka(&self, agent: Process, written: &Written) -> (Vec<String>, u64) {
        self.judge_kafka_without(0, agent, written)
    }

    /// The same where so many lines can't be in the topic: it doesn't wait for them, but they count as missing.
    pub fn judge_kafka_without(&self, refused: usize, mut agent: Process, written: &Written) -> (Vec<String>, u64) {
        let mut reader = TopicReader::new(self.servers.kafka.fact("address"), &self.topic);
        let mut fold = Fold::new(written);
        let mut progress = (0, Instant::now());
        while fold.oracle.arrived() + refused < written.lines() && progress.1.elapsed() < NO_PROGRESS {
            agent.assert_running();
            reader.read_to_end(|record| see(&mut fold, record));
            if fold.oracle.arrived() > progress.0 {
                progress = (fold.oracle.arrived(), Instant::now());
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        agent.stop();
        reader.read_to_end(|record| see(&mut fold, record));
        let repeats = fold.repeats;
        (fold.oracle.verdict(), repeats)
    }

    /// Waits until the transfer has settled the whole topic, stops it in order, and judges all documents.
    pub fn judge_elastic(&self, mut transfer: Process, written: &Written) -> Vec<String> {
        let (address, group) = (self.servers.kafka.fact("address").to_owned(), group(&self.name));
        let what = format!("the transfer to settle {}, see {}", self.topic, self.transfer.log().display());
        let mut progress = (i64::MAX, Instant::now());
        wait_for(&what, Duration::from_secs(3_600), || {
            transfer.assert_running();
            let lag = group_lag(&address, &group, &self.topic);
            if lag < progress.0 {
                progress = (lag, Instant::now());
            }
            assert!(progress.1.elapsed() < NO_PROGRESS, "no progress: {lag} records are left of {what}");
            (lag == 0).then_some(())
        });
        transfer.stop();
        let mut oracle = Oracle::new(written, Form::Text);
        self.servers.elastic.documents(&format!("logweir-{}-*", self.topic), |document| {
            let field = |name: &str| field(document, name).clone();
            let (message, file) = (field("message"), field("logweir.file"));
            let offset = field("log.offset").as_u64().unwrap_or(u64::MAX);
            oracle.see(message.as_str().unwrap_or_default().as_bytes(), file.as_str().unwrap_or_default(), offset);
        });
        oracle.verdict()
    }
}

fn see(fold: &mut Fold<'_>, record: &rdkafka::message::BorrowedMessage<'_>) {
    use rdkafka::Message as _;
    fold.see(record.key(), record.payload());
}

/// A field by its dotted name, whether the document has it nested or flat.
fn field<'a>(document: &'a Value, name: &str) -> &'a Value {
    match &document[name] {
        Value::Null => name.split('.').fold(document, |value, part| &value[part]),
        flat => flat,
    }
}

fn group(name: &str) -> String {
    format!("transfer-{name}")
}

fn agent_program(name: &str, folder: &Path, servers: &Servers) -> Program {
    let listen = free_address();
    let configuration = format!(
        r#"
[agent]
data_dir = "{data}"
host = "test-host"
sweep_interval_secs = 5
[etcd]
endpoints = ["{etcd}"]
keys = ["/test/{name}/collect"]
[kafka]
brokers = ["{kafka}"]
[log]
level = "debug"
[metrics]
listen = "{listen}"
metrics_interval_secs = 5
"#,
        data = folder.join("agent-data").display(),
        etcd = servers.etcd.fact("url"),
        kafka = servers.kafka.fact("address"),
    );
    Program::new("agent", folder, &listen, &configuration)
}

/// Static membership (by host and instance) with a session of 6 s, so that ten kills don't cost ten rebalances.
fn transfer_program(name: &str, folder: &Path, servers: &Servers) -> Program {
    let listen = free_address();
    let configuration = format!(
        r#"
[transfer]
host = "test-host"
instance = "{name}"
[etcd]
endpoints = ["{etcd}"]
keys = ["/test/{name}/collect"]
[kafka]
brokers = ["{kafka}"]
group = "{group}"
[kafka.options]
"session.timeout.ms" = 6000
"heartbeat.interval.ms" = 1000
[elasticsearch]
config_key = "/test/{name}/elasticsearch"
replicas = 0
[log]
level = "debug"
[metrics]
listen = "{listen}"
metrics_interval_secs = 5
"#,
        etcd = servers.etcd.fact("url"),
        kafka = servers.kafka.fact("address"),
        group = group(name),
    );
    Program::new("transfer", folder, &listen, &configuration)
}
