//! What waits for one topic, and what is next. The problem: one topic that can't be written to, or a record that the
//! broker refuses, must hold up nothing else, and what comes back must be sent again in its old order.
//!
//! - Batches wait in `held`; librdkafka gets no more at a time than fits into two requests. Measured: its idempotent
//!   producer sends one request per partition at a time, and while full ones wait behind it, its thread spins (`poll`
//!   with a time-out of 0). With one request's worth the path costs 0.68 of kcat's CPU and does 0.54 of its speed,
//!   because nobody works while the broker does; with two 0.87 and 1.03. Holding the rest back here also bounds the
//!   300 bytes or so that each queued record costs.
//! - What failed waits in `returned` until nothing of the topic is on its way any more; then it goes back to the
//!   front, in the old order.
//! - Until the broker has taken something, and again after it refused the topic, one batch goes alone. A topic whose
//!   rights are just being changed would otherwise refuse the first of several requests and take the last: lines out
//!   of their file's order.
//! - Lines that the broker refused are sent again *alone*: librdkafka packs lines of several batches into one record
//!   batch, and the broker refuses all of it for the sake of one, or because all of it together is too large. Groups
//!   are halved until the single line to blame is found.

use super::{Chooser, ErrorCode, Flight, Landed, TopicFlow, Verdict};
use crate::{
    flow::{FileId, Origin, PartitionRule},
    messages::LineBatch,
};
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// Batches of one topic.
#[derive(Debug)]
pub struct Outbox {
    flow: Arc<TopicFlow>,
    held: VecDeque<Flight>,
    returned: Vec<Flight>,
    chooser: Chooser,
    max_load: i64,
    /// The broker takes less at once than librdkafka packs: groups of so many bytes, one by one.
    group_bytes: Option<u64>,
    /// A flight that must be alone is on its way.
    alone: bool,
}

/// Groups grow again, and are given up at librdkafka's own batch size.
const WHOLE_BYTES: u64 = 1_000_000;

/// What to do now.
#[expect(clippy::large_enum_variant, reason = "one at a time, moved on at once: a box would only cost")]
#[derive(Debug)]
pub enum Next {
    /// Send these lines to this partition.
    Send(Flight, i32),
    /// The rule of the next batch names a partition that isn't there.
    NoPartition(i32),
    /// Wait: for batches, or for what is on its way (a wake-up is asked for).
    Nothing,
}

/// What became of a sending that came back.
#[derive(Debug)]
pub enum Outcome {
    /// Every line is acknowledged.
    Settle(LineBatch),
    /// The refused lines go to the dead letters, then it settles.
    Bury(Flight),
    /// More of it is to be sent.
    More,
    /// It is to be sent again, for this reason.
    Again(ErrorCode),
}

impl Outbox {
    /// `max_load`: so many bytes ([`Flight::weigh`]) may be on their way, or one batch.
    pub fn new(topic: Arc<str>, max_load: u32, seed: u64) -> Self {
        Self {
            flow: TopicFlow::new(topic),
            held: VecDeque::new(),
            returned: Vec::new(),
            chooser: Chooser::new(seed),
            max_load: i64::from(max_load.max(1)),
            group_bytes: None,
            alone: false,
        }
    }

    pub fn flow(&self) -> &Arc<TopicFlow> {
        &self.flow
    }

    /// Takes a batch that has lines.
    pub fn accept(&mut self, batch: LineBatch, order: u64) {
        self.held.push_back(Flight::new(batch, order, self.flow.clone()));
    }

    /// Batches that wait here.
    pub fn waiting(&self) -> usize {
        self.held.len() + self.returned.len()
    }

    /// What to send next, to a topic of so many partitions. It counts as on its way from here on.
    pub fn next(&mut self, partitions: i32) -> Next {
        if self.alone {
            return Next::Nothing;
        }
        if !self.returned.is_empty() {
            if self.flow.in_flight() > 0 && !self.flow.wake_at(0) {
                return Next::Nothing;
            }
            self.take_back();
        }
        let Some(front) = self.held.front_mut() else { return Next::Nothing };
        if let (false, Some(bytes)) = (front.alone, self.group_bytes) {
            front.regroup(bytes);
        }
        front.load = front.weigh();
        let careful = front.alone || !self.flow.is_open();
        let room = if careful { 0 } else { (self.max_load - front.load as i64).max(0) };
        if self.flow.in_flight() > room && !self.flow.wake_at(room) {
            return Next::Nothing;
        }
        let (rule, file) = match &front.batch.origin {
            Origin::File(origin) => (origin.partition, origin.file),
            Origin::Partition(_) => (PartitionRule::Random, FileId(0)),
        };
        let partition = match self.chooser.choose(rule, file, partitions) {
            Ok(partition) => partition,
            Err(number) => return Next::NoPartition(number),
        };
        match self.held.pop_front() {
            Some(mut flight) => {
                self.flow.add(flight.load);
                self.alone = flight.alone;
                flight.partition = Some(partition);
                Next::Send(flight, partition)
            }
            None => Next::Nothing,
        }
    }

    /// What came back goes to the front again, in its old order.
    fn take_back(&mut self) {
        self.returned.sort_by_key(|flight| flight.order);
        for flight in self.returned.drain(..).rev() {
            self.held.push_front(flight);
        }
    }

    /// Takes what came back from librdkafka; its lines are no longer on their way.
    pub fn landed(&mut self, landed: Landed) -> Outcome {
        let Landed { mut flight, failed } = landed;
        self.flow.take_off(flight.load);
        self.alone &= !flight.alone;
        let worst = failed.iter().filter(|failed| failed.code.verdict() != Verdict::Refused);
        if let Some(worst) = worst.max_by_key(|failed| failed.code.verdict()) {
            // All of it again, so that nothing of it is overtaken more than once.
            let code = worst.code;
            self.flow.refused();
            self.returned.push(flight);
            return Outcome::Again(code);
        }
        if failed.is_empty() {
            self.flow.delivered();
        }
        let (local, remote): (Vec<_>, Vec<_>) = failed.into_iter().partition(|failed| failed.local);
        flight.dead.extend(local.iter().map(|failed| (failed.line, failed.code)));
        flight.refused |= !remote.is_empty();
        let too_large = remote.iter().any(|failed| failed.code.is_size());
        for lines in runs(remote.iter().map(|failed| failed.line)).into_iter().rev() {
            match lines.len() {
                1 if flight.alone && flight.lines.len() == 1 => flight.dead.push((lines.start, remote[0].code)),
                1 => flight.rest.push(lines),
                _ if flight.alone => {
                    if too_large {
                        self.group_bytes = Some((flight.bytes(&lines) / 2).max(1));
                    }
                    halve(&mut flight, lines);
                }
                _ => flight.rest.push(lines),
            }
        }
        flight.alone |= flight.refused;
        if let Some(lines) = flight.rest.pop() {
            flight.lines = lines;
            self.returned.push(flight);
            return Outcome::More;
        }
        if flight.alone && !flight.refused {
            self.group_bytes = self.group_bytes.map(|bytes| bytes * 2).filter(|&bytes| bytes < WHOLE_BYTES);
        }
        if flight.dead.is_empty() { Outcome::Settle(flight.batch) } else { Outcome::Bury(flight) }
    }
}

fn halve(flight: &mut Flight, lines: Range<u32>) {
    let middle = lines.start + (lines.end - lines.start) / 2;
    flight.rest.push(middle..lines.end);
    flight.rest.push(lines.start..middle);
}

/// Rising numbers as ranges.
fn runs(numbers: impl Iterator<Item = u32>) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == number => run.end += 1,
            _ => runs.push(number..number + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow::{Credit, FileOrigin},
        kafka::Failed,
        messages::{Line, Part, Settled},
        telemetry::{ActorStats, Mailbox},
    };
    use actix::prelude::*;

    struct Nobody;

    impl Actor for Nobody {
        type Context = Context<Self>;
    }

    impl Handler<Settled> for Nobody {
        type Result = ();
        fn handle(&mut self, _: Settled, _: &mut Self::Context) {}
    }

    /// An outbox whose batches have lines of ten bytes, on one partition.
    struct Bench {
        outbox: Outbox,
        settle_to: Mailbox<Settled>,
        order: u64,
    }

    impl Bench {
        fn new(max_load: u32) -> Self {
            let settle_to = Mailbox::new(Nobody.start().recipient(), ActorStats::new("nobody", 1));
            let outbox = Outbox::new("t".into(), max_load, 1);
            outbox.flow.delivered();
            Self { outbox, settle_to, order: 0 }
        }

        fn accept(&mut self, lines: u32) {
            let origin = FileOrigin {
                id: 1,
                topic: "t".into(),
                partition: PartitionRule::File,
                host: "h".into(),
                file: FileId(1),
                entry: None,
                path: b"/f".as_slice().into(),
            };
            let batch = LineBatch {
                origin: Origin::File(Arc::new(origin)),
                seq: self.order,
                begin: 0,
                end: u64::from(lines) * 10,
                read_ms: 0,
                data: vec![b'x'; lines as usize * 10].into(),
                lines: (0..lines).map(|n| Line { start: n * 10, len: 10, part: Part::Whole }).collect(),
                records: Vec::new(),
                credit: Credit::none(),
                settle_to: self.settle_to.clone(),
            };
            self.outbox.accept(batch, self.order);
            self.order += 1;
        }

        fn next(&mut self) -> Option<Flight> {
            match self.outbox.next(1) {
                Next::Send(flight, 0) => Some(flight),
                Next::Nothing => None,
                other => panic!("{other:?}"),
            }
        }

        fn land(&mut self, flight: Flight, code: i32, lines: &[u32]) -> Outcome {
            let failed = |&line: &u32| Failed { line, code: ErrorCode(code), local: false };
            self.outbox.landed(Landed { flight, failed: lines.iter().map(failed).collect() })
        }
    }

    const SIZE: i32 = 10;
    /// What a line of ten bytes weighs, with host and path of one and two bytes.
    const LOAD: u64 = 10 + 68 + 3;

    #[actix_rt::test]
    async fn no_more_is_on_its_way_than_allowed_but_a_large_batch_passes() {
        let mut bench = Bench::new(10 * LOAD as u32);
        [6, 4, 1, 50].into_iter().for_each(|lines| bench.accept(lines));
        let first = bench.next().unwrap();
        let second = bench.next().unwrap();
        assert!(bench.next().is_none(), "ten are on their way");
        assert!(matches!(bench.land(first, 0, &[]), Outcome::Settle(_)));
        let third = bench.next().unwrap();
        assert!(bench.next().is_none(), "the large one waits for all others");
        bench.land(second, 0, &[]);
        assert!(third.flow.take_off(LOAD), "the thread that hears of it is asked to wake us");
        assert_eq!(bench.next().unwrap().lines, 0..50);
    }

    #[actix_rt::test]
    async fn what_failed_is_sent_again_in_the_old_order_after_everything_has_landed() {
        let mut bench = Bench::new(100 * LOAD as u32);
        (0..4).for_each(|_| bench.accept(2));
        let mut on_the_way: Vec<Flight> = (0..3).map(|_| bench.next().unwrap()).collect();
        let third = on_the_way.pop().unwrap();
        let second = on_the_way.pop().unwrap();
        assert!(matches!(bench.land(second, 29, &[0, 1]), Outcome::Again(ErrorCode(29))));
        assert!(bench.next().is_none(), "two are still on their way");
        assert!(matches!(bench.land(third, 29, &[1]), Outcome::Again(_)));
        bench.land(on_the_way.pop().unwrap(), 0, &[]);
        let again: Vec<u64> = std::iter::from_fn(|| bench.next()).map(|flight| flight.order).collect();
        assert_eq!(again, [1, 2, 3]);
    }

    #[actix_rt::test]
    async fn one_batch_goes_alone_until_the_broker_takes_it() {
        let mut bench = Bench::new(100 * LOAD as u32);
        (0..3).for_each(|_| bench.accept(1));
        let orders = |bench: &mut Bench| -> Vec<Flight> { std::iter::from_fn(|| bench.next()).collect() };
        bench.outbox.flow.refused();
        for _ in 0..2 {
            let [alone] = <[Flight; 1]>::try_from(orders(&mut bench)).unwrap();
            assert_eq!(alone.order, 0);
            assert!(matches!(bench.land(alone, 29, &[0]), Outcome::Again(_)));
        }
        let first = bench.next().unwrap();
        bench.land(first, 0, &[]);
        assert_eq!(orders(&mut bench).len(), 2, "it takes them");
    }

    #[actix_rt::test]
    async fn a_refusal_is_narrowed_down_to_the_line_that_is_to_blame() {
        let mut bench = Bench::new(100 * LOAD as u32);
        bench.accept(8);
        bench.accept(1);
        let (mut sendings, mut dead) = (0, Vec::new());
        let mut flight = bench.next().unwrap();
        let other = bench.next().unwrap();
        // librdkafka had packed both batches into one record batch.
        assert!(matches!(bench.land(other, 87, &[0]), Outcome::More));
        loop {
            sendings += 1;
            let bad: Vec<u32> = if flight.order == 0 && flight.lines.contains(&5) {
                flight.lines.clone().collect()
            } else {
                Vec::new()
            };
            match bench.land(flight, 87, &bad) {
                Outcome::More => {}
                Outcome::Bury(flight) => dead.extend(flight.dead.iter().map(|&(line, _)| (flight.order, line))),
                Outcome::Settle(batch) => assert_eq!(batch.seq, 1),
                other @ Outcome::Again(_) => panic!("{other:?}"),
            }
            match bench.next() {
                Some(next) => flight = next,
                None => break,
            }
            assert!(bench.next().is_none(), "it is alone");
        }
        assert_eq!(dead, [(0, 5)]);
        assert!(sendings <= 10, "{sendings}");
        assert_eq!(bench.outbox.flow.in_flight(), 0);
    }

    #[actix_rt::test]
    async fn a_broker_that_takes_less_at_once_gets_smaller_groups_and_larger_ones_again() {
        let mut bench = Bench::new(100 * LOAD as u32);
        bench.accept(8);
        bench.accept(8);
        // It takes at most three lines at once, first.
        let mut sizes = Vec::new();
        for limit in std::iter::repeat_n(3, 8).chain(std::iter::repeat(99)) {
            let Some(flight) = bench.next() else { break };
            sizes.push(flight.lines.len());
            let bad: Vec<u32> = if flight.lines.len() > limit { flight.lines.clone().collect() } else { Vec::new() };
            assert!(!matches!(bench.land(flight, SIZE, &bad), Outcome::Bury(_)));
        }
        assert_eq!(sizes, [8, 8, 4, 2, 2, 4, 2, 2, 2, 2, 2, 2]);
        assert_eq!(bench.outbox.group_bytes, Some(40));
    }
}
