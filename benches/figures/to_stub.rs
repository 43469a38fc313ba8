//! Kafka -> Elasticsearch without Elasticsearch's own cost: the transfer against a stub (`examples/bulk_stub.rs`) that parses
//! every item, counts distinct ids and answers 1 % with 429.

use super::{
    measure::{median, usage},
    report::Report,
    scene::Bench,
};
use crate::support::{
    kafka::{TopicReader, group_lag},
    process::{Program, free_address},
    test_folder, wait_for,
};
use std::{
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(1_800);

pub fn run(bench: &Bench, report: &mut Report) {
    // The topic as the agent makes it, with its keys.
    let topic = "to-stub";
    let reader = {
        let agent = bench.agent(topic, &bench.log).start();
        let reader = TopicReader::new(bench.broker(), topic);
        wait_for("the agent to fill the topic", LIMIT, || {
            (reader.ends().iter().sum::<i64>() >= bench.lines as i64).then_some(())
        });
        agent.stop();
        reader
    };
    drop(reader);
    let (mut cpu, mut peak, mut speed) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..3 {
        let (cpu_secs, peak_mib, secs) = transfer(bench, topic, run);
        println!("transfer {run}: {cpu_secs:.2} CPU s in {secs:.2} s, {peak_mib:.0} MiB");
        cpu.push(cpu_secs);
        peak.push(peak_mib);
        speed.push(bench.bytes as f64 / 1e6 / secs);
    }
    let per_gb = median(&cpu) / (bench.bytes as f64 / 1e9);
    report.row("transfer, Kafka -> bulk stub", "<= 8 CPU-s/GB of log", format!("{per_gb:.2} CPU-s/GB"));
    report.row("transfer's peak RSS in that run", "<= 128 MiB", format!("{:.0} MiB", median(&peak)));
    report.note(format!("Kafka -> bulk stub: {:.0} MB of log a second (median of 3).", median(&speed)));
}

/// CPU seconds, peak MiB and seconds of one transfer of the whole topic.
fn transfer(bench: &Bench, topic: &str, run: u32) -> (f64, f64, f64) {
    let folder = test_folder(&format!("figures-transfer-{run}"));
    let stub = Stub::start(&folder);
    let listen = free_address();
    let group = format!("bench-{run}");
    let configuration = format!(
        "[etcd]\nendpoints = []\n[kafka]\nbrokers = [\"{}\"]\ngroup = \"{group}\"\ntopics = [\"{topic}\"]\n\
         topics_from_entries = false\n[elasticsearch]\nurls = [\"http://{}\"]\n[metrics]\nlisten = \"{listen}\"\n",
        bench.broker(),
        stub.address
    );
    let begun = Instant::now();
    let mut process = Program::new("transfer", &folder, &listen, &configuration).start();
    wait_for("the stub to have every document", LIMIT, || {
        process.assert_running();
        (stub.distinct() >= bench.lines).then_some(())
    });
    let secs = begun.elapsed().as_secs_f64();
    wait_for("the offsets to be committed", LIMIT, || (group_lag(bench.broker(), &group, topic) == 0).then_some(()));
    let usage = usage(process.pid());
    process.stop();
    assert_eq!(stub.distinct(), bench.lines, "the stub has other documents than there are lines");
    (usage.cpu_secs, usage.peak_mib, secs)
}

/// `examples/bulk_stub.rs` as a process. It prints its counts once a second, so the time is known to a second.
struct Stub {
    child: Child,
    address: String,
    counts: PathBuf,
}

impl Stub {
    fn start(folder: &Path) -> Self {
        let (address, counts) = (free_address(), folder.join("stub.ndjson"));
        let port = address.rsplit(':').next().expect("an address with a port");
        let program = PathBuf::from(env!("CARGO_BIN_EXE_logweir")).with_file_name("examples").join("bulk_stub");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&program)
            .args([port, "1"])
            .stdout(File::create(&counts).expect("create a file for the counts"))
            .spawn()
            .unwrap_or_else(|e| panic!("{} can't be run: {e}", program.display()));
        let stub = Self { child, address, counts };
        wait_for("the bulk stub", LIMIT, || TcpStream::connect(&stub.address).ok());
        stub
    }

    /// Number of distinct ids that it has taken.
    fn distinct(&self) -> u64 {
        let text = fs::read_to_string(&self.counts).expect("the stub's counts");
        let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let Some(last) = complete.lines().last() else { return 0 };
        let counts: serde_json::Value = serde_json::from_str(last).expect("JSON from the stub");
        counts["distinct"].as_u64().expect("a number of distinct ids")
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
