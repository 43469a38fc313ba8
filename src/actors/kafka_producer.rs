//! Sends batches to Kafka and settles them. The problem: a line is delivered only when the broker says so, topics fail
//! one by one, the client can fail as a whole, and none of that may lose a line or hold up what is healthy.
//!
//! A batch goes to its topic's [`Outbox`]; when the topic's partitions are known it is handed to librdkafka, and this
//! handler returns. The thread behind [`Link`] settles what is acknowledged; this actor only hears of the rest.

use crate::{
    flow::Origin,
    flow::{Backoff, Retries},
    kafka::{
        DeadLetter, DeadLetterFile, ErrorCode, ErrorKind, Flight, Landed, Link, Next, Notice, Outbox, Outcome,
        ProducerCounters, Unsettled, Verdict,
        config::ProducerOptions,
        key::KeyTemplate,
        native::{Client, ClientError, Topic},
    },
    messages::{ChildStopped, InjectPanic, LineBatch, Shutdown},
    telemetry::{ActorStats, Mailbox},
};
use actix::prelude::*;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::Semaphore;

/// What the producer needs to know.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    pub options: ProducerOptions,
    pub dead_letters: DeadLetterFile,
    /// So many bytes of one topic may be with librdkafka: two requests' worth (`batch.size`), see [`Outbox`].
    pub max_bytes_per_topic: u32,
    /// How long an orderly stop waits for deliveries; the rest stays pending in the journal.
    pub stop_deadline: Duration,
    /// How long the brokers may take to say what partitions a topic has.
    pub lookup_deadline: Duration,
}

impl ProducerSettings {
    /// With the usual deadlines.
    pub fn new(options: ProducerOptions, dead_letters: DeadLetterFile) -> Self {
        Self {
            max_bytes_per_topic: 2 * options.batch_bytes(),
            options,
            dead_letters,
            stop_deadline: Duration::from_secs(10),
            lookup_deadline: Duration::from_secs(5),
        }
    }
}

/// Topics that are asked for at the same time: each takes a thread while it waits.
const LOOKUPS: usize = 4;

const LONGEST_WAIT: Duration = Duration::from_secs(10);
const WAITS: Backoff = Backoff::new(Duration::from_millis(100), LONGEST_WAIT);
/// A topic that was never written to may be in the making: it is an operator's matter only after so many failures.
const MAY_BE_NEW: u32 = 6;

/// The producing actor.
pub struct KafkaProducer {
    settings: ProducerSettings,
    parent: Mailbox<ChildStopped>,
    stats: Arc<ActorStats>,
    counters: Arc<ProducerCounters>,
    unsettled: Arc<Unsettled>,
    link: Option<Link>,
    /// Counts clients; what an earlier one still says is recognised by it.
    generation: u64,
    /// The client has failed for good and gives back what it has.
    ending: bool,
    topics: HashMap<Arc<str>, TopicState>,
    lookups: Arc<Semaphore>,
    next_order: u64,
    random: crate::kafka::Chooser,
    retries: Retries,
    orderly: bool,
}

/// A topic: what waits for it, and whether it can be written to.
struct TopicState {
    outbox: Outbox,
    handle: Option<Arc<Topic>>,
    state: State,
    retries: Retries,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Unknown,
    LookingUp,
    /// So many partitions.
    Ready(i32),
    /// It failed; it is looked up again later.
    Waiting,
}

/// From the thread of client number `generation`.
#[derive(Message)]
#[rtype(result = "()")]
struct Noticed {
    generation: u64,
    notice: Notice,
}

impl KafkaProducer {
    /// `counters` outlive a restart of the actor. Nothing connects before the actor is started.
    pub fn new(
        settings: ProducerSettings,
        parent: Mailbox<ChildStopped>,
        stats: Arc<ActorStats>,
        counters: Arc<ProducerCounters>,
    ) -> Self {
        Self {
            settings,
            parent,
            stats,
            unsettled: Unsettled::new(counters.clone()),
            counters,
            link: None,
            generation: 0,
            ending: false,
            topics: HashMap::new(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            next_order: 0,
            random: crate::kafka::Chooser::new(seed()),
            retries: Retries::new(WAITS),
            orderly: false,
        }
    }

    /// Makes the client; tries again later where that fails.
    fn connect(&mut self, ctx: &mut Context<Self>) {
        self.generation += 1;
        self.ending = false;
        match self.start_link(ctx) {
            Ok(link) => self.link = Some(link),
            Err(error) => {
                self.counters.error(ErrorKind::Client, 1);
                slog_scope::error!("no Kafka client"; "reason" => %error);
                ctx.run_later(self.retries.failed(), Self::connect);
                return;
            }
        }
        let topics: Vec<Arc<str>> = self.topics.keys().cloned().collect();
        topics.iter().for_each(|topic| self.pump(topic, ctx));
    }

    fn start_link(&self, ctx: &Context<Self>) -> Result<Link, ClientError> {
        let (address, stats, generation) = (ctx.address().downgrade(), self.stats.clone(), self.generation);
        Link::start(&self.settings.options, self.unsettled.clone(), move |notice| {
            if let Some(address) = address.upgrade() {
                Mailbox::new(address.recipient(), stats.clone()).tell(Noticed { generation, notice });
            }
        })
    }

    /// Sends what may be sent of this topic.
    fn pump(&mut self, name: &Arc<str>, ctx: &mut Context<Self>) {
        let Some(link) = self.link.as_ref().filter(|_| !self.ending) else { return };
        let client = link.client().clone();
        loop {
            let Some(topic) = self.topics.get_mut(name) else { return };
            let (partitions, handle) = match (topic.state, &topic.handle) {
                (State::Ready(partitions), Some(handle)) => (partitions, handle.clone()),
                (State::Unknown, _) if topic.outbox.waiting() > 0 => return self.look_up(name, &client, ctx),
                _ => return,
            };
            match topic.outbox.next(partitions) {
                Next::Nothing => return,
                Next::NoPartition(number) => {
                    slog_scope::error!("the topic has no such partition, it waits";
                        "topic" => %name, "partition" => number, "partitions" => partitions);
                    return self.wait(name, ErrorCode::UNKNOWN_PARTITION, ctx);
                }
                Next::Send(flight, partition) => {
                    let landed = client.produce(&handle, partition, flight);
                    crate::crash::point("sent");
                    if let Some(landed) = landed {
                        self.came_back(landed, ctx);
                    }
                }
            }
        }
    }

    /// Asks for the topic's partitions, away from this thread.
    fn look_up(&mut self, name: &Arc<str>, client: &Arc<Client>, ctx: &mut Context<Self>) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        let handle = match topic.handle.clone() {
            Some(handle) => handle,
            None => match Topic::new(client, name) {
                Ok(handle) => topic.handle.insert(Arc::new(handle)).clone(),
                Err(code) => return self.wait(name, code, ctx),
            },
        };
        topic.state = State::LookingUp;
        let (lookups, deadline) = (self.lookups.clone(), self.settings.lookup_deadline);
        let asked = async move {
            let _one_of_few = lookups.acquire().await;
            let answer = actix_rt::task::spawn_blocking(move || handle.partitions(deadline)).await;
            answer.unwrap_or(Err(ErrorCode::FAIL))
        };
        let (name, generation) = (name.clone(), self.generation);
        ctx.spawn(asked.into_actor(self).map(move |answer, actor, ctx| {
            let current = actor.generation == generation;
            let Some(topic) = actor.topics.get_mut(&name).filter(|_| current) else { return };
            match answer {
                Ok(partitions) => {
                    topic.state = State::Ready(partitions);
                    slog_scope::debug!("topic found"; "topic" => %name, "partitions" => partitions);
                    actor.pump(&name, ctx);
                }
                Err(code) => actor.wait(&name, code, ctx),
            }
        }));
    }

    /// The topic failed: it is looked up again after a while, and its batches wait.
    fn wait(&mut self, name: &Arc<str>, code: ErrorCode, ctx: &mut Context<Self>) {
        self.counters.error(code.verdict().into(), 1);
        let Some(topic) = self.topics.get_mut(name) else { return };
        if topic.outbox.flow().take_delivered() {
            topic.retries.succeeded();
        }
        topic.complain(name, code);
        if topic.state == State::Waiting {
            return;
        }
        topic.state = State::Waiting;
        let (name, generation) = (name.clone(), self.generation);
        ctx.run_later(topic.retries.failed(), move |actor, ctx| {
            let current = actor.generation == generation;
            if let Some(topic) = actor.topics.get_mut(&name).filter(|t| current && t.state == State::Waiting) {
                topic.state = State::Unknown;
                actor.pump(&name, ctx);
            }
        });
    }

    /// A sending is answered, and not simply by "delivered".
    fn came_back(&mut self, landed: Landed, ctx: &mut Context<Self>) {
        let name = landed.flight.flow.topic.clone();
        let Some(topic) = self.topics.get_mut(&name) else { return };
        match topic.outbox.landed(landed) {
            Outcome::Settle(batch) => self.unsettled.settle(batch, 0),
            Outcome::Bury(flight) => self.bury(flight, ctx),
            Outcome::More => self.counters.error(ErrorKind::Refused, 1),
            Outcome::Again(_) if self.ending => {}
            Outcome::Again(code) => self.wait(&name, code, ctx),
        }
    }

    /// Writes the refused lines of a batch to the dead-letter file, then settles it.
    fn bury(&mut self, flight: Flight, ctx: &mut Context<Self>) {
        let (file, letters) = (self.settings.dead_letters.clone(), dead_letters(&flight));
        for letter in letters.iter().take(1) {
            slog_scope::error!("the broker refuses lines for good, they go to the dead-letter file";
                "topic" => &letter.topic, "lines" => letters.len(), "reason" => &letter.reason,
                "file" => %file.path().display());
        }
        let written = actix_rt::task::spawn_blocking(move || file.append(&letters).map_err(|error| error.to_string()));
        ctx.spawn(written.into_actor(self).map(move |written, actor, ctx| {
            let reason = match written {
                Ok(Ok(())) => {
                    crate::crash::point("dead_letter_kept");
                    let dead = flight.dead.len() as u32;
                    actor.counters.error(ErrorKind::Refused, u64::from(dead));
                    return actor.unsettled.settle(flight.batch, dead);
                }
                Ok(Err(reason)) => reason,
                Err(panic) => panic.to_string(),
            };
            actor.counters.error(ErrorKind::DeadLetterFile, 1);
            slog_scope::error!("refused lines can't be kept yet, their batch waits"; "reason" => reason);
            ctx.run_later(LONGEST_WAIT, move |actor, ctx| actor.bury(flight, ctx));
        }));
    }

    /// The client can't be used any more: take back what it has, then make another.
    fn renew(&mut self, code: ErrorCode, text: &str) {
        if self.ending {
            return;
        }
        self.ending = true;
        self.counters.recreated();
        self.counters.error(ErrorKind::Client, 1);
        slog_scope::error!("the Kafka client failed for good, a new one sends again"; "code" => %code, "text" => text);
        if let Some(link) = &self.link {
            link.stop();
        }
    }

    /// The client's thread has ended.
    fn gone(&mut self, lost: bool, ctx: &mut Context<Self>) {
        if lost || !self.ending {
            // Some batches can't be got back: the parent starts everything again from the journal.
            slog_scope::error!("batches are lost in a failed Kafka client, they are read again");
            return ctx.stop();
        }
        self.link = None;
        self.generation += 1;
        for topic in self.topics.values_mut() {
            topic.handle = None;
            topic.state = State::Unknown;
        }
        ctx.run_later(self.retries.failed(), Self::connect);
    }
}

impl TopicState {
    /// The log folds repeats.
    fn complain(&self, name: &str, code: ErrorCode) {
        let waiting = self.outbox.waiting();
        if code.verdict() == Verdict::Topic && self.retries.failures() >= MAY_BE_NEW {
            slog_scope::error!("the topic can't be written to, it waits";
                "topic" => name, "reason" => %code, "batches" => waiting);
        } else {
            slog_scope::warn!("the topic waits"; "topic" => name, "reason" => %code, "batches" => waiting);
        }
    }
}

fn seed() -> u64 {
    // Without random numbers from the system, the clock is random enough to spread waits and chunks.
    getrandom::u64().unwrap_or_else(|_| now_ms())
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn dead_letters(flight: &Flight) -> Vec<DeadLetter> {
    let batch = &flight.batch;
    let template = match &batch.origin {
        Origin::File(origin) => Some(KeyTemplate::new(origin, batch.read_ms)),
        Origin::Partition(_) => None,
    };
    let letter = |&(index, code): &(u32, ErrorCode)| {
        let line = batch.lines.get(index as usize)?;
        let mut key = Vec::new();
        if let Some(template) = &template {
            template.append(batch.begin + u64::from(line.start), &mut key);
        }
        Some(DeadLetter {
            time_ms: now_ms(),
            topic: batch.origin.topic().to_string(),
            partition: flight.partition,
            code: code.0,
            reason: code.to_string(),
            part: DeadLetter::part_text(line.part),
            key,
            value: batch.bytes(line).to_vec(),
        })
    };
    flight.dead.iter().filter_map(letter).collect()
}

impl Actor for KafkaProducer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.connect(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.parent.tell(ChildStopped { kind: self.stats.kind(), id: 0, orderly: self.orderly });
    }
}

impl Handler<LineBatch> for KafkaProducer {
    type Result = ();

    fn handle(&mut self, batch: LineBatch, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        self.unsettled.accept();
        if crate::crash::mutation("settle_before_delivery") {
            batch.settle_to.tell(batch.settled(0));
        }
        if batch.lines.is_empty() {
            return self.unsettled.settle(batch, 0);
        }
        let name = batch.origin.topic().clone();
        let topic = self.topics.entry(name.clone()).or_insert_with(|| TopicState {
            outbox: Outbox::new(name.clone(), self.settings.max_bytes_per_topic, self.random.random()),
            handle: None,
            state: State::Unknown,
            retries: Retries::new(WAITS),
        });
        topic.outbox.accept(batch, self.next_order);
        self.next_order += 1;
        self.pump(&name, ctx);
    }
}

impl Handler<Noticed> for KafkaProducer {
    type Result = ();

    fn handle(&mut self, noticed: Noticed, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        match noticed.notice {
            Notice::Landed(landed) => {
                let name = landed.flight.flow.topic.clone();
                self.came_back(*landed, ctx);
                self.pump(&name, ctx);
            }
            Notice::Room(name) => self.pump(&name, ctx),
            Notice::Fatal { code, text } if noticed.generation == self.generation => self.renew(code, &text),
            Notice::Gone { lost } if noticed.generation == self.generation => self.gone(lost, ctx),
            Notice::Fatal { .. } | Notice::Gone { .. } => {}
        }
    }
}

impl Handler<Shutdown> for KafkaProducer {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let (unsettled, deadline) = (self.unsettled.clone(), self.settings.stop_deadline);
        let idle = async move { unsettled.wait_idle(deadline).await };
        Box::pin(idle.into_actor(self).map(|idle, actor, ctx| {
            if !idle {
                slog_scope::warn!("stopping with undelivered batches, they stay pending in the journal";
                    "batches" => actor.counters.unsettled());
            }
            actor.orderly = true;
            ctx.stop();
        }))
    }
}

impl Handler<InjectPanic> for KafkaProducer {
    type Result = ();

    #[expect(clippy::panic, reason = "asked for, to prove that it is survived")]
    fn handle(&mut self, _: InjectPanic, _: &mut Self::Context) {
        panic!("injected");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow::{Credit, FileId, FileOrigin, PartitionRule},
        messages::{Line, Part, Settled},
    };
    use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};
    use std::collections::BTreeMap;
    use tokio::sync::mpsc;

    /// Makes the client fail for good while it has records.
    #[derive(Message)]
    #[rtype(result = "()")]
    struct Fail;

    impl Handler<Fail> for KafkaProducer {
        type Result = ();
        fn handle(&mut self, _: Fail, _: &mut Self::Context) {
            self.link.as_ref().unwrap().client().fail_for_good();
        }
    }

    struct Journal(mpsc::UnboundedSender<Settled>);

    impl Actor for Journal {
        type Context = Context<Self>;
    }

    impl Handler<Settled> for Journal {
        type Result = ();
        fn handle(&mut self, settled: Settled, _: &mut Self::Context) {
            self.0.send(settled).unwrap();
        }
    }

    impl Handler<ChildStopped> for Journal {
        type Result = ();
        fn handle(&mut self, _: ChildStopped, _: &mut Self::Context) {}
    }

    #[actix_rt::test]
    async fn what_is_queued_or_on_its_way_when_the_client_fails_is_sent_by_the_next_one() {
        crate::telemetry::init_for_tests();
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let (sender, mut settled) = mpsc::unbounded_channel();
        let (journal, stats) = (Journal(sender).start(), ActorStats::new("test", 16));
        let options = BTreeMap::from([
            ("bootstrap.servers".to_owned(), cluster.bootstrap_servers()),
            ("linger.ms".to_owned(), "20".to_owned()),
            ("batch.num.messages".to_owned(), "10".to_owned()),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let settings = ProducerSettings::new(
            ProducerOptions::new(&options).unwrap(),
            DeadLetterFile::new(folder.path().join("dead"), 1000),
        );
        let counters = Arc::<ProducerCounters>::default();
        let parent = Mailbox::new(journal.clone().recipient(), stats.clone());
        let producer = KafkaProducer::new(settings, parent, stats.clone(), counters.clone()).start();
        let batch = |seq| LineBatch {
            origin: Origin::File(Arc::new(FileOrigin {
                id: 1,
                topic: "t".into(),
                partition: PartitionRule::File,
                host: "h".into(),
                file: FileId(1),
                entry: None,
                path: b"/f".as_slice().into(),
            })),
            seq,
            begin: seq * 10,
            end: seq * 10 + 10,
            read_ms: 1,
            data: b"one two 
"
            .to_vec()
            .into(),
            lines: vec![Line { start: 0, len: 3, part: Part::Whole }, Line { start: 4, len: 3, part: Part::Whole }],
            records: Vec::new(),
            credit: Credit::none(),
            settle_to: Mailbox::new(journal.clone().recipient(), stats.clone()),
        };
        producer.send(batch(0)).await.unwrap();
        assert_eq!(settled.recv().await.unwrap().seq, 0);
        cluster.broker_round_trip_time(1, Duration::from_millis(300)).unwrap();
        for seq in 1..=50 {
            producer.send(batch(seq)).await.unwrap();
            if seq == 30 {
                tokio::time::sleep(Duration::from_millis(60)).await;
                producer.send(Fail).await.unwrap();
            }
        }
        let mut missing: std::collections::BTreeSet<u64> = (1..=50).collect();
        while !missing.is_empty() {
            let settled = tokio::time::timeout(Duration::from_secs(60), settled.recv()).await.unwrap().unwrap();
            assert!(missing.remove(&settled.seq), "settled twice: {settled:?}");
            assert_eq!((settled.delivered, settled.dead), (2, 0));
        }
        assert_eq!((counters.recreations(), counters.unsettled()), (1, 0));
    }
}
