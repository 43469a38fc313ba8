//! File -> Kafka: CPU, throughput and memory of the producing path against `kcat -P -l`, with equal delivery options.
//!
//! ```text
//! cargo bench --bench produce -- BROKERS [--pairs N] [--mb N] [--chunk BYTES] [--set OPTION=VALUE]...
//! cargo bench --bench produce -- BROKERS --latency N      # one line each 50 ms, N lines
//! ```
//! Each measured run is a process of its own. CPU is user + system of that process, as the kernel counts it. Both
//! write to partition 0 of a topic of their own. The first pair is discarded; what counts is the median of the ratios,
//! because the machine's other load moves both runs of a pair alike.

use actix::prelude::*;
use anyhow::{Context as _, Result, bail};
use logweir::{
    actors::kafka_producer::{KafkaProducer, ProducerSettings},
    flow::{ChunkPool, Credit, Credits, EntryId, FileId, FileOrigin, Origin, PartitionRule},
    kafka::{DeadLetterFile, ProducerCounters, config::ProducerOptions},
    messages::{ChildStopped, Line, LineBatch, Part, Settled, Shutdown},
    telemetry::{ActorStats, Mailbox},
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

fn main() -> Result<()> {
    let args = Args::parse()?;
    match &args.mode {
        Mode::Pairs => pairs(&args),
        Mode::One => actix_rt::System::new().block_on(one(&args)),
        Mode::Latency(lines) => actix_rt::System::new().block_on(latency(&args, *lines)),
    }
}

enum Mode {
    Pairs,
    One,
    Latency(usize),
}

struct Args {
    mode: Mode,
    brokers: String,
    topic: String,
    pairs: usize,
    mb: usize,
    chunk: usize,
    load: Option<u32>,
    options: BTreeMap<String, String>,
}

impl Args {
    fn parse() -> Result<Self> {
        let mut args = Self {
            mode: Mode::Pairs,
            brokers: String::new(),
            topic: "logweir-bench".into(),
            pairs: 7,
            mb: 1000,
            chunk: 256 * 1024,
            load: None,
            options: BTreeMap::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match &*word {
                "--bench" => {}
                "--one" => args.mode = Mode::One,
                "--latency" => args.mode = Mode::Latency(value()?.parse()?),
                "--topic" => args.topic = value()?,
                "--pairs" => args.pairs = value()?.parse()?,
                "--mb" => args.mb = value()?.parse()?,
                "--chunk" => args.chunk = value()?.parse()?,
                "--load" => args.load = Some(value()?.parse()?),
                "--set" => {
                    let pair = value()?;
                    let (name, value) = pair.split_once('=').context("OPTION=VALUE")?;
                    args.options.insert(name.into(), value.into());
                }
                _ if word.starts_with('-') => bail!("unknown option {word}"),
                _ => args.brokers = word,
            }
        }
        if args.brokers.is_empty() {
            // `cargo test --benches` and a plain `cargo bench` have no broker to measure against.
            println!("no BROKERS given: nothing measured");
            std::process::exit(0);
        }
        args.options.insert("bootstrap.servers".into(), args.brokers.clone());
        Ok(args)
    }

    fn input(&self) -> PathBuf {
        std::env::temp_dir().join(format!("logweir-bench-{}.log", self.mb))
    }
}

// ---- pairs ----------------------------------------------------------------------------------------------------------

fn pairs(args: &Args) -> Result<()> {
    let input = args.input();
    if !input.exists() {
        generate(&input, args.mb)?;
    }
    let gb = std::fs::metadata(&input)?.len() as f64 / 1e9;
    let mut ratios = Vec::new();
    for pair in 0..=args.pairs {
        let ours = measured(Command::new(std::env::current_exe()?).args(std::env::args().skip(1)).arg("--one"))?;
        let theirs = measured(&mut kcat(args, &input))?;
        let ratio = (ours.cpu / theirs.cpu, theirs.wall / ours.wall);
        println!(
            "pair {pair}: ours {:.2} CPU-s/GB {:.2} s wall {} | kcat {:.2} CPU-s/GB {:.2} s wall | CPU {:.2}x, throughput {:.2}x{}",
            ours.cpu / gb,
            ours.wall,
            ours.said.trim(),
            theirs.cpu / gb,
            theirs.wall,
            ratio.0,
            ratio.1,
            if pair == 0 { " (discarded)" } else { "" },
        );
        if pair > 0 {
            ratios.push(ratio);
        }
    }
    println!("median: CPU {:.3}x, throughput {:.2}x", median(&ratios, |r| r.0), median(&ratios, |r| r.1));
    Ok(())
}

fn median(ratios: &[(f64, f64)], of: impl Fn(&(f64, f64)) -> f64) -> f64 {
    let mut values: Vec<f64> = ratios.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn kcat(args: &Args, input: &Path) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-P", "-q", "-b", &args.brokers, "-t", &format!("{}-kcat", args.topic), "-p", "0", "-l"]).arg(input);
    let options = match ProducerOptions::new(&args.options) {
        Ok(options) => options,
        Err(error) => unreachable!("checked by our own run: {error}"),
    };
    for (name, value) in options.iter() {
        let equal =
            ["acks", "enable.idempotence", "linger.ms", "batch.size", "batch.num.messages", "compression.codec"];
        if equal.contains(&name) {
            command.args(["-X", &format!("{name}={value}")]);
        }
    }
    command
}

struct Measured {
    cpu: f64,
    wall: f64,
    said: String,
}

fn measured(command: &mut Command) -> Result<Measured> {
    let (before, start) = (children_cpu()?, Instant::now());
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Measured { cpu: children_cpu()? - before, wall: start.elapsed().as_secs_f64(), said })
}

/// CPU seconds of this process's ended children, user + system (ticks of 10 ms).
fn children_cpu() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("/proc/self/stat")?.1;
    let ticks: u64 = fields.split_whitespace().skip(13).take(2).map(|n| n.parse::<u64>().unwrap_or(0)).sum();
    Ok(ticks as f64 / 100.0)
}

// ---- the path that is measured --------------------------------------------------------------------------------------

struct Settles(mpsc::UnboundedSender<Settled>);

impl Actor for Settles {
    type Context = Context<Self>;
}

impl Handler<Settled> for Settles {
    type Result = ();
    fn handle(&mut self, settled: Settled, _: &mut Self::Context) {
        let _nobody_waits = self.0.send(settled);
    }
}

impl Handler<ChildStopped> for Settles {
    type Result = ();
    fn handle(&mut self, _: ChildStopped, _: &mut Self::Context) {}
}

struct Route {
    producer: Addr<KafkaProducer>,
    sink: Mailbox<LineBatch>,
    settle_to: Mailbox<Settled>,
    settled: mpsc::UnboundedReceiver<Settled>,
    counters: Arc<ProducerCounters>,
    origin: Arc<FileOrigin>,
}

fn route(args: &Args) -> Result<Route> {
    slog_scope::set_global_logger(slog::Logger::root(slog::Discard, slog::o!())).cancel_reset();
    let (sender, settled) = mpsc::unbounded_channel();
    let settles = Settles(sender).start();
    let stats = ActorStats::new("bench", 16);
    let parent = Mailbox::new(settles.clone().recipient(), stats.clone());
    let settle_to = Mailbox::new(settles.recipient(), stats.clone());
    let file = DeadLetterFile::new(std::env::temp_dir().join("logweir-bench-dead-letters"), 1 << 20);
    let mut settings = ProducerSettings::new(ProducerOptions::new(&args.options)?, file);
    settings.max_bytes_per_topic = args.load.unwrap_or(settings.max_bytes_per_topic);
    let counters = Arc::new(ProducerCounters::default());
    let (stats_, counters_) = (stats.clone(), counters.clone());
    let producer = KafkaProducer::start_in_arbiter(&Arbiter::new().handle(), move |ctx| {
        ctx.set_mailbox_capacity(16);
        KafkaProducer::new(settings, parent, stats_, counters_)
    });
    let sink = Mailbox::new(producer.clone().recipient(), stats);
    let origin = Arc::new(FileOrigin {
        id: 1,
        topic: args.topic.as_str().into(),
        partition: PartitionRule::Number(0),
        host: "web-01".into(),
        file: FileId(0xa41f_9c0e_77d2_b3c8),
        entry: Some(EntryId(1)),
        path: b"/var/log/nginx/access.log".as_slice().into(),
    });
    Ok(Route { producer, sink, settle_to, settled, counters, origin })
}

async fn one(args: &Args) -> Result<()> {
    let mut path = route(args)?;
    let (pool, credits) = (ChunkPool::new(args.chunk, 16), Credits::new(32 << 20));
    let mut file = File::open(args.input())?;
    let (mut tail, mut position, mut sent, mut settled) = (Vec::new(), 0_u64, 0_u64, 0_u64);
    loop {
        let credit = credits.take(&path.origin.topic, args.chunk).await;
        while path.settled.try_recv().is_ok() {
            settled += 1;
        }
        let mut bytes = pool.take(args.chunk);
        bytes.extend_from_slice(&tail);
        tail.clear();
        let room = args.chunk - bytes.len();
        if (&mut file).take(room as u64).read_to_end(&mut bytes)? == 0 {
            break;
        }
        let cut = memchr::memrchr(b'\n', &bytes).context("a line longer than a chunk")? + 1;
        tail.extend_from_slice(&bytes[cut..]);
        bytes.truncate(cut);
        let batch = cut_lines(&path, pool.seal(bytes), position, sent, credit);
        position = batch.end;
        sent += 1;
        path.sink.send(batch).await?;
    }
    while settled < sent {
        path.settled.recv().await.context("settles")?;
        settled += 1;
    }
    path.producer.send(Shutdown).await?;
    println!("{} records, peak RSS {:.1} MiB", path.counters.records(), peak_rss_mib()?);
    Ok(())
}

fn cut_lines(path: &Route, data: logweir::flow::Chunk, begin: u64, seq: u64, credit: Credit) -> LineBatch {
    let mut lines = Vec::with_capacity(data.len() / 128);
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', &data) {
        lines.push(Line { start: start as u32, len: (end - start) as u32, part: Part::Whole });
        start = end + 1;
    }
    LineBatch {
        origin: Origin::File(path.origin.clone()),
        seq,
        begin,
        end: begin + data.len() as u64,
        read_ms: 1_795_246_112_111,
        data,
        lines,
        records: Vec::new(),
        credit,
        settle_to: path.settle_to.clone(),
    }
}

fn peak_rss_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// One line each 50 ms: from handing over to the settling.
async fn latency(args: &Args, lines: usize) -> Result<()> {
    let mut path = route(args)?;
    let mut times = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    for seq in 0..lines as u64 + 20 {
        tick.tick().await;
        let start = Instant::now();
        let batch = cut_lines(&path, b"one line that stands alone\n".to_vec().into(), seq, seq, Credit::none());
        path.sink.send(batch).await?;
        path.settled.recv().await.context("settled")?;
        times.push(start.elapsed());
    }
    let mut times = times.split_off(20);
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!("latency ms: p50 {:.2} p90 {:.2} p99 {:.2} max {:.2}", at(0.5), at(0.9), at(0.99), at(1.0));
    path.producer.send(Shutdown).await?;
    Ok(())
}

/// `mb` million bytes of lines as nginx writes them, of about 200 bytes, the same at every call.
fn generate(path: &Path, mb: usize) -> Result<()> {
    let mut random = logweir::kafka::Chooser::new(1);
    let mut out = BufWriter::new(File::create(path)?);
    let (mut written, mut second) = (0, 0_u64);
    while written < mb * 1_000_000 {
        let r = random.random();
        second += u64::from(r.is_multiple_of(50));
        let line = format!(
            "10.{}.{}.{} - - [21/Nov/2026:{:02}:{:02}:{:02} +0000] \"GET /shop/item/{}?ref={:x} HTTP/1.1\" {} {} \
             \"https://www.example.org/list/{}\" \"Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101 Firefox\" {}.{:03}\n",
            r & 255,
            r >> 8 & 255,
            r >> 16 & 255,
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            r >> 24 & 0xffff,
            r >> 40,
            [200, 200, 200, 304, 404, 500][(r >> 13) as usize % 6],
            r >> 20 & 0x3fff,
            r >> 33 & 63,
            100 + (r >> 50 & 31),
            r >> 60,
            r >> 3 & 511,
        );
        out.write_all(line.as_bytes())?;
        written += line.len();
    }
    out.flush()?;
    Ok(())
}
