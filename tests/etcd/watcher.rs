//! The collection watcher on a real etcd: what people write there, good or bad, and what the neighbours hear of it.

use crate::{
    collect::{Collected, collector},
    server::Server,
};
use actix::prelude::*;
use logweir::{
    actors::collection_watcher::{CollectionWatcher, Listener, SharedIntake, Source},
    collection::{CollectionDiff, Delivery, Intake, KeyTemplate},
    etcd::{Session, Swap},
    messages::{
        ApplyDiff, ChildStopped, ConfigRefused, InjectPanic, LookUpEntry, PublishEntry, Shutdown, UseConsumer,
        UseTails, UseTopics,
    },
    telemetry::{ActorStats, StatusBoard, init_for_tests},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const ALL: &str = "/logweir/collect/all";
const HOST: &str = "/logweir/collect/host/web-01";

struct Neighbours {
    tails: Collected<ApplyDiff>,
    topics: Collected<UseTopics>,
    refused: Collected<ConfigRefused>,
    stopped: Collected<ChildStopped>,
    board: Arc<StatusBoard>,
    intake: SharedIntake,
}

fn templates() -> Vec<KeyTemplate> {
    [
        ALL,
        "/logweir/collect/group/{group}",
        "/logweir/collect/host/{host}",
        "/logagent/%s/log_config",
        "collect_log_conf",
    ]
    .map(|t| KeyTemplate::parse(t).unwrap())
    .into()
}

fn intake() -> SharedIntake {
    Arc::new(Mutex::new(Intake::new("/base".into(), vec![], true)))
}

const RELIST: Duration = Duration::from_secs(3_600);

fn start(server: &Server, agent: bool, intake: SharedIntake) -> (Addr<CollectionWatcher>, Neighbours) {
    let (session, templates) = (Session::new(server.settings()), templates());
    let source = if agent {
        Source::Keys { session, templates, host: "web-01".into(), groups: vec!["web".into()], relist: RELIST }
    } else {
        Source::AllKeys { session, templates, relist: RELIST }
    };
    start_with(source, agent, intake)
}

fn start_with(source: Source, agent: bool, intake: SharedIntake) -> (Addr<CollectionWatcher>, Neighbours) {
    init_for_tests();
    let (tell_tails, tails) = collector();
    let (consumer, topics) = collector();
    let (supervisor, refused) = collector();
    let (parent, stopped) = collector();
    let listener =
        if agent { Listener::Tails(tell_tails) } else { Listener::Consumer { consumer, topics: BTreeSet::new() } };
    let board = Arc::new(StatusBoard::new("agent", "web-01", "1"));
    let stats = ActorStats::new(CollectionWatcher::KIND, 16);
    let watcher =
        CollectionWatcher::new(source, listener, intake.clone(), supervisor, parent, board.clone(), stats).start();
    (watcher, Neighbours { tails, topics, refused, stopped, board, intake })
}

fn entry(path: &str, topic: &str) -> String {
    format!(r#"[{{"path":"{path}","topic":"{topic}"}}]"#)
}

async fn put(server: &Server, key: &str, value: &str) {
    Session::new(server.settings()).put(key, value.as_bytes(), None).await.unwrap();
}

async fn delete(server: &Server, key: &str) {
    let session = Session::new(server.settings());
    let revision = session.get(key).await.unwrap().unwrap().revision;
    assert!(matches!(session.swap(key, None, revision).await.unwrap(), Swap::Done(_)));
}

/// `+path`, `~path`, `-path` of a difference.
fn words(ApplyDiff(diff): ApplyDiff) -> Vec<String> {
    let CollectionDiff { added, changed, removed } = diff;
    let added = added.into_iter().map(|e| format!("+{}", e.path));
    let changed = changed.into_iter().map(|e| format!("~{}", e.path));
    added.chain(changed).chain(removed.into_iter().map(|k| format!("-{}", k.path))).collect()
}

#[actix_rt::test]
async fn a_refused_value_touches_nothing_and_a_later_good_one_is_taken_over() {
    let server = Server::start().await;
    put(&server, ALL, &entry("/a", "t")).await;
    put(&server, HOST, "{\"path\":3}").await;
    let (_watcher, mut told) = start(&server, true, intake());
    assert_eq!(words(told.tails.next().await), ["+/a"]);
    let refusal = told.refused.next().await.0;
    assert_eq!((refusal.source.as_str(), refusal.line, refusal.column), (HOST, Some(1), Some(1)));

    let bad = [
        "no JSON",
        r#"[{"path":"/a","topic":"t","tpoic":"t"}]"#,
        r#"[{"path":"/a","topic":"t","multiline":{}}]"#,
        r#"[{"path":"../a","topic":"t"}]"#,
        r#"[{"path":"","topic":"t"}]"#,
        r#"[{"path":"/a","topic":"a b"}]"#,
        r#"[{"path":"/a","topic":"t"},{"path":"/a","topic":"t"}]"#,
    ];
    for value in bad {
        put(&server, ALL, value).await;
        let refusal = told.refused.next().await.0;
        assert_eq!(refusal.source, ALL);
        let revision = Session::new(server.settings()).get(ALL).await.unwrap().unwrap().revision;
        assert_eq!(refusal.revision, Some(revision));
        assert!(refusal.line.is_some() && refusal.column.is_some() && !refusal.reason.is_empty(), "{refusal}");
        let sources = told.board.sources();
        assert_eq!(sources[ALL].refused_revision, Some(revision));
        assert!(sources[ALL].refused.as_ref().is_some_and(|r| r.contains(&refusal.reason)));
    }
    assert!(told.tails.is_empty(), "what runs must not be touched");
    put(&server, ALL, &entry("/b", "t")).await;
    assert_eq!(words(told.tails.next().await), ["+/b", "-/a"]);
    assert_eq!(told.board.sources()[ALL].refused, None);
    delete(&server, ALL).await;
    assert_eq!(words(told.tails.next().await), ["-/b"]);
    put(&server, "collect_log_conf", &entry("log/error", "error.log")).await;
    assert_eq!(words(told.tails.next().await), ["+/base/log/error"]);
}

#[actix_rt::test]
async fn a_key_per_address_and_a_key_per_group_are_watched() {
    let server = Server::start().await;
    let (_watcher, mut told) = start(&server, true, intake());
    put(&server, "/logweir/collect/group/web", &entry("/g", "t")).await;
    assert_eq!(words(told.tails.next().await), ["+/g"]);
    put(&server, "/logweir/collect/group/other", &entry("/no", "t")).await;
    let names = logweir::collection::LocalNames::of_this_machine("web-01", &[]).unwrap();
    for (i, address) in names.addresses.iter().enumerate() {
        put(&server, &format!("/logagent/{address}/log_config"), &entry(&format!("/ip{i}"), "t")).await;
        assert_eq!(words(told.tails.next().await), [format!("+/ip{i}")]);
    }
}

#[actix_rt::test]
async fn a_killed_server_stops_nothing_and_what_changed_meanwhile_is_told_once() {
    let mut server = Server::start().await;
    put(&server, ALL, &entry("/a", "t")).await;
    put(&server, HOST, &entry("/h", "t")).await;
    let (_watcher, mut told) = start(&server, true, intake());
    assert_eq!(words(told.tails.next().await), ["+/a", "+/h"]);
    server.kill();
    server.run().await;
    delete(&server, HOST).await;
    put(&server, ALL, r#"[{"path":"/a","topic":"t","max_line_bytes":100},{"path":"/c","topic":"t"}]"#).await;
    // The watch may have come back between the two changes.
    let mut changes = words(told.tails.next().await);
    while changes.len() < 3 {
        changes.extend(words(told.tails.next().await));
    }
    changes.sort();
    assert_eq!(changes, ["+/c", "-/h", "~/a"]);
}

#[actix_rt::test]
async fn ten_thousand_entries_in_one_value_are_taken_and_one_changed_among_them_is_all_that_is_told() {
    let server = Server::start().await;
    let value = |changed: &str| {
        let one =
            |i: usize| format!(r#"{{"path":"/v/{i}{}","topic":"t{}"}}"#, if i == 5_000 { changed } else { "" }, i % 9);
        format!("[{}]", (0..10_000).map(one).collect::<Vec<_>>().join(",\n"))
    };
    let (_watcher, mut told) = start(&server, true, intake());
    put(&server, ALL, &value("")).await;
    assert_eq!(words(told.tails.next().await).len(), 10_000);
    put(&server, ALL, &value("x")).await;
    assert_eq!(words(told.tails.next().await), ["+/v/5000x", "-/v/5000"]);
}

#[actix_rt::test]
async fn after_a_panic_only_what_changed_is_told_and_a_new_neighbour_hears_everything() {
    let server = Server::start().await;
    put(&server, ALL, r#"[{"path":"/a","topic":"t"},{"path":"/b","topic":"t"}]"#).await;
    let (watcher, mut told) = start(&server, true, intake());
    assert_eq!(words(told.tails.next().await), ["+/a", "+/b"]);
    assert!(watcher.send(InjectPanic).await.is_err());
    assert!(!told.stopped.next().await.orderly);

    put(&server, ALL, &entry("/a", "t")).await;
    let (watcher, mut told) = start(&server, true, told.intake);
    assert_eq!(words(told.tails.next().await), ["-/b"]);
    let (tails, mut fresh) = collector();
    watcher.send(UseTails(tails)).await.unwrap();
    assert_eq!(words(fresh.next().await), ["+/a"]);
    put(&server, ALL, &entry("/c", "t")).await;
    assert_eq!(words(fresh.next().await), ["+/c", "-/a"]);
    watcher.send(Shutdown).await.unwrap();
    assert!(told.stopped.next().await.orderly);
}

#[actix_rt::test]
async fn the_transfer_finds_the_topics_of_all_hosts_and_keeps_those_whose_entry_has_gone() {
    let server = Server::start().await;
    put(&server, ALL, &entry("/a", "t1")).await;
    put(&server, "/logagent/192.168.7.7/log_config", &entry("/b", "t2")).await;
    put(&server, "/logagent/192.168.7.7/other", &entry("/b", "no")).await;
    let (watcher, mut told) = start(&server, false, intake());
    assert_eq!(told.topics.next().await.0, ["t1", "t2"]);
    put(&server, "/logweir/collect/host/any", &entry("/c", "t3")).await;
    assert_eq!(told.topics.next().await.0, ["t1", "t2", "t3"]);

    delete(&server, "/logagent/192.168.7.7/log_config").await;
    put(&server, "/logweir/collect/host/other", &entry("/d", "t4")).await;
    assert_eq!(told.topics.next().await.0, ["t1", "t2", "t3", "t4"], "what is in t2 has still to be transferred");
    let (consumer, mut fresh) = collector();
    watcher.send(UseConsumer(consumer)).await.unwrap();
    assert_eq!(fresh.next().await.0.len(), 4);
    // The next transfer knows it, too.
    let (_watcher, mut told) = start(&server, false, intake());
    assert_eq!(told.topics.next().await.0, ["t1", "t2", "t3", "t4"]);
}

#[actix_rt::test]
async fn two_installations_on_one_etcd_transfer_each_their_own_topics() {
    let server = Server::start().await;
    let transfer = |key: &str| {
        let (session, templates) = (Session::new(server.settings()), vec![KeyTemplate::parse(key).unwrap()]);
        start_with(Source::AllKeys { session, templates, relist: RELIST }, false, intake())
    };
    put(&server, "/one/collect/web-01", &entry("/a", "t1")).await;
    put(&server, "/two/collect/web-01", &entry("/b", "t2")).await;
    let (_one, mut told) = transfer("/one/collect/{host}");
    assert_eq!(told.topics.next().await.0, ["t1"]);
    let (_two, mut told_too) = transfer("/two/collect/{host}");
    assert_eq!(told_too.topics.next().await.0, ["t2"]);
    // An agent of the first that has its entries in a file.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("collect.json");
    std::fs::write(&file, entry("/c", "t3")).unwrap();
    let (session, templates) =
        (Some(Session::new(server.settings())), vec![KeyTemplate::parse("/one/collect/{host}").unwrap()]);
    let (_agent, _) = start_with(Source::File { file, session, templates, relist: RELIST }, true, intake());
    assert_eq!(told.topics.next().await.0, ["t1", "t3"]);
    // Both are remembered, each for its own, and last longer than their entries.
    delete(&server, "/one/collect/web-01").await;
    delete(&server, "/two/collect/web-01").await;
    let (_one, mut told) = transfer("/one/collect/{host}");
    assert_eq!(told.topics.next().await.0, ["t1", "t3"]);
    let (_two, mut told_too) = transfer("/two/collect/{host}");
    assert_eq!(told_too.topics.next().await.0, ["t2"]);
}

#[actix_rt::test]
async fn an_entrys_text_is_published_once_and_found_by_the_transfer() {
    let server = Server::start().await;
    let (agent, _told) = start(&server, true, intake());
    let (transfer, _told_too) = start(&server, false, intake());
    let delivery = Delivery { index: Some("app-%Y".into()), ..Delivery::default() };
    let entry = delivery.id().unwrap();
    assert_eq!(transfer.send(LookUpEntry(entry)).await.unwrap(), Ok(None));
    for _ in 0..2 {
        let publish = PublishEntry { entry, delivery: delivery.clone() };
        assert_eq!(agent.send(publish).await.unwrap(), Ok(()));
    }
    assert_eq!(transfer.send(LookUpEntry(entry)).await.unwrap(), Ok(Some(Arc::new(delivery.clone()))));

    // Also where the topics are all in the settings, and the entries themselves are not watched.
    let source = Source::Nothing { session: Some(Session::new(server.settings())) };
    let (by_settings, _told) = start_with(source, false, intake());
    assert_eq!(by_settings.send(LookUpEntry(entry)).await.unwrap(), Ok(Some(Arc::new(delivery.clone()))));

    let other = Delivery { index: Some("other".into()), ..Delivery::default() };
    put(&server, &format!("/logweir/entry/{}", other.id().unwrap()), &delivery.canonical()).await;
    let collision = agent.send(PublishEntry { entry: other.id().unwrap(), delivery: other }).await.unwrap();
    assert!(collision.unwrap_err().to_string().contains("another text with the same hash"));
}

/// Not a limit, only a figure: what the aim of 50 ms is about.
#[actix_rt::test]
async fn the_way_from_a_put_to_the_difference_is_measured() {
    let server = Server::start().await;
    let (_watcher, mut told) = start(&server, true, intake());
    put(&server, ALL, &entry("/0", "t")).await;
    assert_eq!(words(told.tails.next().await), ["+/0"]);
    let session = Session::new(server.settings());
    let mut times = Vec::new();
    for i in 1..=50 {
        let value = entry(&format!("/{i}"), "t");
        let since = Instant::now();
        session.put(ALL, value.as_bytes(), None).await.unwrap();
        assert_eq!(words(told.tails.next().await)[0], format!("+/{i}"));
        times.push(since.elapsed());
    }
    times.sort_unstable();
    println!("put -> ApplyDiff: median {:?}, longest {:?}", times[25], times[49]);
}
