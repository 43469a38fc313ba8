//! The queue against every kind of answer, without a server: the clock is a number.

use super::*;
use crate::{
    elastic::{Answer, PauseRule, Request, Verdict},
    flow::{Backoff, Credit, PartitionOrigin},
    messages::{Line, Part, Record, Settled},
    telemetry::{ActorStats, Mailbox, init_for_tests},
};
use actix::prelude::*;
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

impl Handler<Settled> for Deaf {
    type Result = ();
    fn handle(&mut self, _: Settled, _: &mut Self::Context) {}
}

struct Bench {
    queue: Queue,
    now: Instant,
    to: Mailbox<Settled>,
    seq: u64,
}

fn settings() -> QueueSettings {
    QueueSettings {
        linger: Duration::from_millis(100),
        in_flight: 2,
        // As shipped, less than the minute that the pause rule looks at: a longer wait forgets the good records meanwhile.
        backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
        pause: PauseRule { over_percent: 10, at_least: 10 },
        install_templates: false,
        ..QueueSettings::default()
    }
}

fn reason(status: u16, kind: &str) -> Reason {
    Reason::new(status, kind, "")
}

impl Bench {
    fn new(settings: QueueSettings) -> Self {
        init_for_tests();
        let now = Instant::now();
        let index = "{topic}-%Y".parse().unwrap();
        let queue = Queue::new(settings, index, Arc::default(), now);
        let to = Mailbox::new(Deaf.start().recipient(), ActorStats::new("deaf", 16));
        Self { queue, now, to, seq: 0 }
    }

    /// A batch of `lines` lines of one topic; its number.
    fn push(&mut self, topic: &str, lines: u32) -> u64 {
        self.seq += 1;
        let lines = (0..lines).map(|n| Line { start: n, len: 1, part: Part::Whole }).collect::<Vec<_>>();
        let record = |n| Record { offset: n, timestamp_ms: 0, key: None };
        let batch = LineBatch {
            origin: Origin::Partition(Arc::new(PartitionOrigin { id: 1, topic: topic.into(), partition: 0 })),
            seq: self.seq,
            begin: 0,
            end: 0,
            read_ms: 0,
            data: vec![b'x'; lines.len()].into(),
            records: (0..lines.len() as i64).map(record).collect(),
            lines,
            credit: Credit::none(),
            settle_to: self.to.clone(),
        };
        assert!(self.queue.push(batch, self.now).is_none());
        self.seq
    }

    /// The next request, after waiting where that is asked for.
    fn request(&mut self) -> Request {
        loop {
            match self.queue.next(self.now) {
                Next::Send(request) => return request,
                Next::Wait(until) => self.now = until,
                other => panic!("{other:?}"),
            }
        }
    }

    fn topics(request: &Request) -> Vec<String> {
        request.places.iter().map(|place| place.index.trim_end_matches("-1970").to_owned()).collect()
    }

    fn answer(&mut self, request: Request, answer: Answer) -> Vec<u64> {
        let outcome = self.queue.answered(request, answer, self.now);
        assert!(outcome.dead.is_empty());
        outcome.settled.into_iter().map(|(_, settled)| settled.seq).collect()
    }

    fn created(&mut self, request: Request) -> Vec<u64> {
        self.answer(request, Answer::Items(vec![]))
    }

    /// Every document of the request gets this verdict.
    fn all(request: &Request, verdict: &Verdict) -> Answer {
        Answer::Items((0..request.documents() as u32).map(|n| (n, verdict.clone())).collect())
    }
}

#[actix_rt::test]
async fn a_request_goes_out_by_time_by_count_and_by_bytes() {
    let mut bench = Bench::new(QueueSettings { bulk_documents: 3, ..settings() });
    bench.push("a", 2);
    assert!(
        matches!(bench.queue.next(bench.now), Next::Wait(until) if until == bench.now + Duration::from_millis(100))
    );
    bench.push("a", 2);
    let first = bench.request();
    assert_eq!(first.documents(), 3);
    assert_eq!(bench.request().documents(), 1);

    let mut bench = Bench::new(QueueSettings { bulk_bytes: 1000, ..settings() });
    bench.push("a", 10);
    let request = bench.request();
    assert!(request.documents() > 1 && request.body.len() <= 1000, "{}", request.body.len());
    assert_eq!(bench.now, bench.queue.fresh.front().unwrap().since, "without waiting");
}

#[actix_rt::test]
async fn no_more_requests_than_allowed_are_under_way() {
    let mut bench = Bench::new(QueueSettings { bulk_documents: 1, ..settings() });
    bench.push("a", 5);
    let (first, _second) = (bench.request(), bench.request());
    assert!(matches!(bench.queue.next(bench.now), Next::Idle));
    bench.created(first);
    bench.request();
}

#[actix_rt::test]
async fn after_a_failure_one_request_tries_for_all_and_waits_grow() {
    let mut bench = Bench::new(QueueSettings { bulk_documents: 1, ..settings() });
    bench.push("a", 4);
    let (first, second) = (bench.request(), bench.request());
    let silent = || Answer::Silent { timed_out: false, reason: reason(0, "no_answer") };
    for request in [first, second] {
        assert!(bench.answer(request, silent()).is_empty());
    }
    let mut waits = Vec::new();
    for _ in 0..4 {
        let failed = bench.now;
        let request = bench.request();
        waits.push(bench.now - failed);
        assert!(matches!(bench.queue.next(bench.now), Next::Idle), "one at a time");
        bench.answer(request, silent());
    }
    assert!(waits[0] <= Duration::from_secs(1), "two that failed together count once: {waits:?}");
    assert!(waits[3] >= Duration::from_secs(4), "{waits:?}");
    assert_eq!(bench.queue.counters.paused().into_keys().collect::<Vec<_>>(), ["Elasticsearch"]);
    let request = bench.request();
    bench.created(request);
    assert!(bench.queue.counters.paused().is_empty());
    bench.request();
    bench.request();
}

#[actix_rt::test]
async fn new_servers_end_every_wait() {
    let mut bench = Bench::new(settings());
    bench.push("a", 1);
    for _ in 0..8 {
        let request = bench.request();
        bench.answer(request, Answer::Refused(reason(401, "security_exception")));
    }
    bench.queue.servers_changed();
    assert!(matches!(bench.queue.next(bench.now), Next::Send(_)));
}

#[actix_rt::test]
async fn one_hanging_index_holds_up_only_itself() {
    let mut bench = Bench::new(settings());
    let (slow, quick) = (bench.push("slow", 2), bench.push("quick", 2));
    let request = bench.request();
    assert_eq!(Bench::topics(&request), ["slow", "quick"]);
    bench.answer(request, Answer::Silent { timed_out: true, reason: reason(0, "no_answer") });
    for _ in 0..2 {
        let request = bench.request();
        match &Bench::topics(&request)[..] {
            [topic] if topic == "quick" => assert_eq!(bench.created(request), [quick]),
            [topic] if topic == "slow" => {
                bench.answer(request, Answer::Silent { timed_out: true, reason: reason(0, "no_answer") });
            }
            mixed => panic!("{mixed:?}"),
        }
    }
    let paused = bench.queue.counters.paused();
    assert!(paused.len() == 1 && paused.iter().all(|(index, _)| index.contains("slow")), "{paused:?}");
    // New lines of it go straight to its own lane; the other's don't wait.
    let (slow_too, quick_too) = (bench.push("slow", 1), bench.push("quick", 1));
    let request = bench.request();
    assert_eq!(Bench::topics(&request), ["quick"]);
    assert_eq!(bench.created(request), [quick_too]);
    let request = bench.request();
    assert_eq!((Bench::topics(&request), request.documents()), (vec!["slow".to_owned()], 3));
    assert_eq!(bench.created(request), [slow, slow_too]);
    assert!(bench.queue.is_empty() && bench.queue.lanes.values().all(Lane::is_idle));
    assert!(bench.queue.counters.paused().is_empty());
}

#[actix_rt::test]
async fn an_index_that_takes_some_is_not_cut_off() {
    let mut bench = Bench::new(settings());
    bench.push("a", 3);
    let request = bench.request();
    bench.answer(request, Answer::Items(vec![(1, Verdict::Retry(reason(429, "es_rejected_execution_exception")))]));
    let more = bench.push("a", 1);
    let request = bench.request();
    assert_eq!((request.documents(), bench.created(request)), (1, vec![more]));
    let again = bench.request();
    assert_eq!((again.documents(), bench.created(again)), (1, vec![1]));
}

#[actix_rt::test]
async fn a_topic_over_the_tenth_is_held_and_lets_its_records_go_when_they_are_few() {
    let mut bench = Bench::new(settings());
    let bad = Verdict::Dead(reason(400, "document_parsing_exception"));
    bench.push("a", 50);
    let request = bench.request();
    let verdicts = (0..11).map(|n| (n, bad.clone())).collect();
    bench.answer(request, Answer::Items(verdicts));
    assert_eq!(bench.queue.paused_topics().len(), 1);
    let paused = bench.queue.counters.paused();
    assert!(paused["a"].contains("document_parsing_exception"), "{paused:?}");
    // They are tried again, more and more rarely, for as long as it takes.
    let (paused, mut tries) = (bench.now, 0);
    while bench.now < paused + Duration::from_secs(600) {
        let request = bench.request();
        assert_eq!(request.documents(), 11);
        bench.answer_all(request, &bad);
        tries += 1;
    }
    assert!((8..60).contains(&tries), "{tries}");
    // Another topic isn't concerned, and good records of this one are taken.
    let (other, good) = (bench.push("b", 1), bench.push("a", 1000));
    let mut settled = Vec::new();
    while settled.len() < 2 {
        let request = bench.request();
        if request.documents() == 11 {
            bench.answer_all(request, &bad);
        } else {
            settled.extend(bench.created(request));
        }
    }
    assert_eq!(settled, [other, good]);
    // Among a thousand good ones eleven are few.
    assert!(bench.queue.paused_topics().is_empty());
    assert!(bench.queue.counters.paused().is_empty());
    let lines = bench.queue.counters.by_topic.all().into_iter().collect::<std::collections::BTreeMap<_, _>>();
    assert_eq!((lines["a"], lines["b"]), (1039, 1), "what was delivered, by topic");
    let request = bench.request();
    let answer = Bench::all(&request, &bad);
    let outcome = bench.queue.answered(request, answer, bench.now);
    assert_eq!(outcome.dead.len(), 11);
    let settled: Vec<_> = outcome.dead.iter().filter_map(|dead| bench.queue.dead_kept(dead)).collect();
    assert_eq!(settled.len(), 1);
    assert_eq!((settled[0].1.delivered, settled[0].1.dead), (39, 11));
    assert!(bench.queue.is_empty());
}

impl Bench {
    fn answer_all(&mut self, request: Request, verdict: &Verdict) {
        let answer = Self::all(&request, verdict);
        self.answer(request, answer);
    }
}

/// What a server answers to a request in the model test.
#[derive(Clone, Debug)]
enum Act {
    Good,
    Items(Vec<u8>),
    TooLarge,
    Refused(u16),
    Silent(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        Just(Act::Good),
        proptest::collection::vec(0..5u8, 1..40).prop_map(Act::Items),
        Just(Act::TooLarge),
        prop_oneof![Just(400), Just(401), Just(500)].prop_map(Act::Refused),
        any::<bool>().prop_map(Act::Silent),
    ];
    proptest::collection::vec(act, 0..30)
}

fn answer_of(act: &Act, request: &Request) -> Answer {
    let verdict = |(number, kind): (usize, &u8)| match kind {
        1 => Some((number as u32, Verdict::Conflict)),
        2 => Some((number as u32, Verdict::Dead(reason(400, "document_parsing_exception")))),
        3 => Some((number as u32, Verdict::Retry(reason(429, "full")))),
        _ => None,
    };
    match act {
        Act::Good => Answer::Items(vec![]),
        Act::Items(kinds) => {
            Answer::Items(kinds.iter().cycle().take(request.documents()).enumerate().filter_map(verdict).collect())
        }
        Act::TooLarge => Answer::TooLarge,
        Act::Refused(status) => Answer::Refused(reason(*status, "refused")),
        Act::Silent(timed_out) => Answer::Silent { timed_out: *timed_out, reason: reason(0, "no_answer") },
    }
}

proptest! {
    #[test]
    fn whatever_is_answered_every_batch_is_settled_once_with_all_its_lines(
        batches in proptest::collection::vec((0..3usize, 1..30u32), 1..12),
        acts in acts(),
        limit in 1..20usize,
    ) {
        System::new().block_on(async move {
            let mut bench = Bench::new(QueueSettings { bulk_documents: limit, ..settings() });
            let lines: BTreeMap<u64, u32> =
                batches.iter().map(|(topic, lines)| (bench.push(["a", "b", "c"][*topic], *lines), *lines)).collect();
            let mut settled: BTreeMap<u64, u32> = BTreeMap::new();
            let mut note = |notice: Notice| {
                let sum = notice.1.delivered + notice.1.dead;
                assert_eq!(settled.insert(notice.1.seq, sum), None, "settled twice");
            };
            let mut acts = acts.iter();
            for _ in 0..10_000 {
                if bench.queue.is_empty() {
                    break;
                }
                let request = bench.request();
                let answer = answer_of(acts.next().unwrap_or(&Act::Good), &request);
                let outcome = bench.queue.answered(request, answer, bench.now);
                outcome.settled.into_iter().for_each(&mut note);
                outcome.dead.iter().filter_map(|dead| bench.queue.dead_kept(dead)).for_each(&mut note);
            }
            assert_eq!(settled, lines);
        });
    }
}

/// The records of level ERROR that `run` writes on this thread.
fn errors(run: impl FnOnce()) -> Vec<String> {
    struct Errors(std::sync::Mutex<Vec<String>>);
    struct Keys(String);
    impl slog::Serializer for Keys {
        fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
            self.0 += &format!(" {key}={value}");
            Ok(())
        }
    }
    impl slog::Drain for Errors {
        type Ok = ();
        type Err = slog::Never;
        fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
            let mut keys = Keys(record.msg().to_string());
            slog::KV::serialize(&record.kv(), record, &mut keys).unwrap();
            if record.level() == slog::Level::Error {
                self.0.lock().unwrap().push(keys.0);
            }
            Ok(())
        }
    }
    let errors = Arc::new(Errors(std::sync::Mutex::default()));
    slog_scope::scope(&slog::Logger::root(errors.clone(), slog::o!()), run);
    let mut told = errors.0.lock().unwrap();
    std::mem::take(&mut *told)
}

#[actix_rt::test]
async fn a_document_that_is_refused_for_long_is_named_in_an_error_while_the_others_go_on() {
    let mut bench = Bench::new(settings());
    // Only the first batch has a line with this number.
    let verdicts = |request: &Request| {
        let stuck = request.items.iter().position(|sent| sent.item.line == 3);
        stuck.map(|n| (n as u32, Verdict::Retry(reason(500, "some_new_exception")))).into_iter().collect::<Vec<_>>()
    };
    let (stuck, begin) = (bench.push("a", 5), bench.now);
    let mut settled = Vec::new();
    let told = errors(|| {
        while bench.now < begin + Duration::from_secs(500) {
            bench.push("a", 2);
            let request = bench.request();
            let answer = Answer::Items(verdicts(&request));
            settled.extend(bench.answer(request, answer));
        }
    });
    assert!(settled.len() > 100 && !settled.contains(&stuck), "{settled:?}");
    assert!(told.is_empty(), "{told:?}");
    bench.now = begin + Duration::from_secs(600);
    let told = errors(|| {
        loop {
            let request = bench.request();
            let verdicts = verdicts(&request);
            let refused = !verdicts.is_empty();
            bench.answer(request, Answer::Items(verdicts));
            if refused {
                return;
            }
        }
    });
    assert_eq!(told.len(), 1, "{told:?}");
    for part in
        ["again and again", " topic=a", " partition=0", " offset=3", " index=a-1970", " kind=some_new_exception"]
    {
        assert!(told[0].contains(part), "{part}: {}", told[0]);
    }
}
