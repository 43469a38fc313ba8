//! Feeds EsBatcher alone, without Kafka: `bulk_feed URL MEGABYTES`, 200-byte lines of eight files in 256 KiB batches.
//! Prints user and system time per gigabyte of log, and the peak memory. Against `bulk_stub` it measures rendering,
//! requests and answers.

use actix::prelude::*;
use logweir::{
    actors::es_batcher::{EsBatcher, EsBatcherSettings, Neighbours},
    collection::Delivery,
    document::DEFAULT_INDEX,
    elastic::{ElasticConfig, ElasticCounters, QueueSettings, TemplateSettings},
    flow::{ChunkPool, Credits, Origin, PartitionOrigin},
    messages::*,
    telemetry::{ActorStats, Mailbox},
};
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::sync::mpsc;

const BATCH: usize = 256 << 10;
const CREDITS: usize = 32 << 20;

/// Stands for every neighbour.
struct Ends(mpsc::UnboundedSender<u64>);

impl Actor for Ends {
    type Context = Context<Self>;
}

impl Handler<Settled> for Ends {
    type Result = ();
    fn handle(&mut self, settled: Settled, _: &mut Self::Context) {
        // The end of the measurement closes the channel.
        let _closed = self.0.send(u64::from(settled.delivered));
    }
}

impl Handler<ChildStopped> for Ends {
    type Result = ();
    fn handle(&mut self, _: ChildStopped, _: &mut Self::Context) {}
}

impl Handler<KeepDeadLetter> for Ends {
    type Result = Result<(), DeadLetterError>;
    fn handle(&mut self, _: KeepDeadLetter, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<LookUpEntry> for Ends {
    type Result = Result<Option<Arc<Delivery>>, EntryStoreError>;
    fn handle(&mut self, _: LookUpEntry, _: &mut Self::Context) -> Self::Result {
        Ok(None)
    }
}

fn line(number: u64) -> String {
    let (a, b, bytes) = (number % 251, number / 7 % 251, number * 37 % 90_000);
    let mut line = format!(
        "10.1.{a}.{b} - - [21/Nov/2026:10:06:09 +0000] \"GET /shop/item/{number}?ref=start HTTP/1.1\" 200 {bytes} \
         \"https://example.org/shop\" \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\""
    );
    line.truncate(200);
    line
}

/// Lines and records of one batch, as the consumer makes them.
fn batch(number: &mut u64, pool: &ChunkPool) -> (Vec<u8>, Vec<Line>, Vec<Record>, usize) {
    let (mut data, mut lines, mut records, mut text) = (pool.take(BATCH), Vec::new(), Vec::new(), 0);
    while data.len() + 300 < BATCH {
        let file = *number / 500 % 8;
        let key = format!("web-01 a41f9c0e77d2b3c{file} {} 1795246112111 - /var/log/app/{file}.log", *number * 201);
        let record =
            Record { offset: *number as i64, timestamp_ms: 0, key: Some((data.len() as u32, key.len() as u32)) };
        data.extend_from_slice(key.as_bytes());
        let line = line(*number);
        lines.push(Line { start: data.len() as u32, len: line.len() as u32, part: Part::Whole });
        data.extend_from_slice(line.as_bytes());
        records.push(record);
        text += line.len();
        *number += 1;
    }
    (data, lines, records, text)
}

async fn feed(url: String, megabytes: usize) -> Result<(), MailboxError> {
    let (ends, mut settled) = mpsc::unbounded_channel();
    let ends = Ends(ends).start();
    let stats = ActorStats::new("ends", 16);
    let neighbours = Neighbours {
        entries: Mailbox::new(ends.clone().recipient(), stats.clone()),
        dead_letters: Mailbox::new(ends.clone().recipient(), stats.clone()),
        parent: Mailbox::new(ends.clone().recipient(), stats.clone()),
    };
    let settings = EsBatcherSettings {
        queue: QueueSettings::default(),
        template: TemplateSettings::default(),
        index: DEFAULT_INDEX.parse().unwrap_or_else(|_| unreachable!("the default is tested")),
        deadline: Duration::from_secs(60),
        stop_deadline: Duration::from_secs(60),
    };
    let config = ElasticConfig { urls: vec![url], ..ElasticConfig::default() };
    let (counters, es_stats) = (Arc::new(ElasticCounters::default()), ActorStats::new(EsBatcher::KIND, 16));
    let batcher = EsBatcher::new(settings, Some(&config), neighbours, counters.clone(), es_stats.clone()).start();
    let batches: Mailbox<LineBatch> = Mailbox::new(batcher.recipient(), es_stats);
    let (pool, credits, topic): (_, _, Arc<str>) = (ChunkPool::new(BATCH, 64), Credits::new(CREDITS), "bench".into());
    let origin = Arc::new(PartitionOrigin { id: 1, topic: topic.clone(), partition: 0 });
    let (making, before) = (making(megabytes, &pool), cpu());
    let (mut number, mut bytes, mut seq) = (0, 0, 0);
    while bytes < megabytes << 20 {
        let (data, lines, records, text) = batch(&mut number, &pool);
        bytes += text;
        seq += 1;
        let credit = credits.take(&topic, data.len()).await;
        let (origin, data) = (Origin::Partition(origin.clone()), pool.seal(data));
        let settle_to = Mailbox::new(ends.clone().recipient(), stats.clone());
        let (begin, end) = (0, 0);
        let batch = LineBatch { origin, seq, begin, end, read_ms: 0, data, lines, records, credit, settle_to };
        batches.send(batch).await?;
    }
    let mut done = 0;
    while done < number {
        done += settled.recv().await.unwrap_or(number);
    }
    let per_gb = |time: Duration| time.as_secs_f64() * 1e9 / bytes as f64;
    println!(
        "{} lines, {} MB: {:.2} CPU-s/GB (making lines {:.2} more); {} requests, {} sent again; peak RSS {} kB",
        number,
        bytes / 1_000_000,
        per_gb((cpu() - before).saturating_sub(making)),
        per_gb(making),
        counters.requests.load(Relaxed),
        counters.retried.load(Relaxed),
        peak_kb(),
    );
    Ok(())
}

/// User and system time of this process, in the kernel's steps of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// What making the lines costs, to be taken off.
fn making(megabytes: usize, pool: &ChunkPool) -> Duration {
    let (before, mut number, mut bytes) = (cpu(), 0, 0);
    while bytes < megabytes << 20 {
        let (data, _, _, text) = batch(&mut number, pool);
        bytes += text;
        drop(pool.seal(data));
    }
    cpu() - before
}

fn peak_kb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or("?").trim().trim_end_matches(" kB").to_owned()
}

fn main() {
    logweir::telemetry::init_for_tests();
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://127.0.0.1:9299".into());
    let megabytes = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(200);
    if let Err(error) = System::new().block_on(feed(url, megabytes)) {
        eprintln!("{error}");
    }
}
