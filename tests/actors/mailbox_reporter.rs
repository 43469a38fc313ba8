use actix::prelude::*;
use logweir::{
    actors::{
        mailbox_reporter::{MailboxReporter, Tails},
        supervision::Latest,
    },
    messages::{ChildStopped, FileStatus, InjectPanic, ListTails, Shutdown},
    telemetry::{ActorStats, Mailbox, Registry},
};
use slog::{Drain, KV, Logger, Never, OwnedKVList, Record, o};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

type Keys = BTreeMap<String, String>;

/// Keeps the keys of every record.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<Keys>>>);

impl Drain for Captured {
    type Ok = ();
    type Err = Never;
    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        struct Read(Keys);
        impl slog::Serializer for Read {
            fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
                self.0.insert(key.to_string(), value.to_string());
                Ok(())
            }
        }
        let mut keys = Read(Keys::new());
        record.kv().serialize(record, &mut keys).unwrap();
        self.0.lock().unwrap().push(keys.0);
        Ok(())
    }
}

impl Captured {
    /// The records of one kind of actor since the last call.
    fn take(&self, kind: &str) -> Vec<Keys> {
        let mut records = std::mem::take(&mut *self.0.lock().unwrap());
        records.retain(|keys| keys.get("actor").is_some_and(|actor| actor == kind));
        records
    }
}

/// Runs a test on a thread whose log is captured.
fn captured<F: Future<Output = ()>>(test: impl FnOnce(Captured) -> F) {
    logweir::telemetry::init_for_tests();
    let captured = Captured::default();
    let logger = Logger::root(captured.clone().fuse(), o!());
    slog_scope::scope(&logger, || {
        actix_rt::System::new().block_on(async {
            tokio::time::pause();
            test(captured).await;
        });
    });
}

struct Parent(tokio::sync::mpsc::UnboundedSender<ChildStopped>);
impl Actor for Parent {
    type Context = Context<Self>;
}
impl Handler<ChildStopped> for Parent {
    type Result = ();
    fn handle(&mut self, message: ChildStopped, _: &mut Context<Self>) {
        self.0.send(message).unwrap();
    }
}

struct Manager(Vec<FileStatus>);
impl Actor for Manager {
    type Context = Context<Self>;
}
impl Handler<ListTails> for Manager {
    type Result = MessageResult<ListTails>;
    fn handle(&mut self, _: ListTails, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.0.clone())
    }
}

struct Setup {
    registry: Registry,
    list: Latest<ListTails>,
    reporter: Addr<MailboxReporter>,
    stopped: tokio::sync::mpsc::UnboundedReceiver<ChildStopped>,
}

fn start() -> Setup {
    let (tell, stopped) = tokio::sync::mpsc::unbounded_channel();
    let parent = Mailbox::new(Parent(tell).start().recipient(), ActorStats::new("parent", 16));
    let (registry, list) = (Registry::default(), Latest::none());
    let stats = ActorStats::new("mailbox_reporter", 16);
    registry.actor(stats.clone());
    let tails = Some(Tails { kind: "tail", list: list.clone() });
    let reporter = MailboxReporter::new(registry.clone(), Duration::from_secs(10), tails, parent, stats).start();
    Setup { registry, list, reporter, stopped }
}

async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

#[test]
fn each_kind_of_actor_has_one_record_an_interval_with_what_happened_since_the_last() {
    captured(|log| async move {
        let setup = start();
        let stats = ActorStats::new("journal", 256);
        setup.registry.actor(stats.clone());
        (0..5).for_each(|_| stats.sent_one());
        (0..3).for_each(|_| drop(stats.handling()));
        stats.restarted();
        stats.sent_one();
        pass(11).await;
        let records = log.take("journal");
        assert_eq!(records.len(), 1);
        for (key, value) in
            [("depth", "1"), ("high_water", "5"), ("capacity", "256"), ("handled", "3"), ("restarts", "1")]
        {
            assert_eq!(records[0][key], value, "{key}");
        }
        assert!(records[0]["p50_us"].parse::<u64>().unwrap() <= records[0]["p99_us"].parse().unwrap());

        drop(stats.handling());
        pass(20).await;
        let records = log.take("journal");
        assert_eq!(records.iter().map(|r| r["handled"].as_str()).collect::<Vec<_>>(), ["1", "0"]);
        assert_eq!(records[1]["high_water"], "0");
        assert_eq!(records[1]["p99_us"], "0", "nothing was handled since");
    });
}

#[test]
fn the_tails_are_summed_up_and_the_worst_named() {
    captured(|log| async move {
        let setup = start();
        setup.registry.actor(ActorStats::new("tail", 16));
        pass(11).await;
        assert!(!log.take("tail")[0].contains_key("files"), "nobody to ask yet");
        let status = |path: &str, settled| FileStatus {
            path: path.into(),
            topic: "nginx".into(),
            file: "0".repeat(16),
            read: 90,
            settled,
            size: Some(100),
        };
        let manager = Manager(vec![status("/a", 100), status("/b", 30), status("/c", 60)]).start();
        setup.list.set(Some(Mailbox::new(manager.recipient(), ActorStats::new("manager", 16))));
        pass(10).await;
        let records = log.take("tail");
        assert_eq!(records.len(), 1);
        assert_eq!((records[0]["files"].as_str(), records[0]["lag_bytes"].as_str()), ("3", "110"));
        assert_eq!(records[0]["worst"], "/b (nginx) 70 bytes, /c (nginx) 40 bytes");
    });
}

#[test]
fn a_stop_is_orderly_and_a_panic_is_not() {
    captured(|log| async move {
        let mut setup = start();
        setup.reporter.send(Shutdown).await.unwrap();
        assert!(setup.stopped.recv().await.unwrap().orderly);
        assert_eq!(log.take("mailbox_reporter").len(), 1, "a last report");

        let mut setup = start();
        assert!(setup.reporter.send(InjectPanic).await.is_err());
        let stopped = setup.stopped.recv().await.unwrap();
        assert_eq!((stopped.kind, stopped.orderly), ("mailbox_reporter", false));
    });
}
