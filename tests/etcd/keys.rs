//! [`KeyWatch`], [`Session`] and [`LeasedKey`] against a server that is killed, compacted, locked or changed meanwhile.

use crate::server::Server;
use logweir::etcd::{EtcdError, Event, KeyRange, KeyWatch, LeasedKey, Session, Swap};
use logweir::settings::{Etcd, Secret};
use std::time::Duration;

const RELIST_NEVER: Duration = Duration::from_secs(3_600);

fn watch(settings: Etcd, relist: Duration) -> KeyWatch {
    KeyWatch::new(Session::new(settings), vec![KeyRange::key("/one"), KeyRange::prefix("/many/")], relist)
}

/// The next event, in words.
async fn told(watch: &mut KeyWatch) -> String {
    let event = tokio::time::timeout(Duration::from_secs(60), watch.next()).await.expect("an event within a minute");
    match event {
        Event::Snapshot { kvs, .. } => {
            let all: Vec<String> =
                kvs.iter().map(|kv| format!("{}={}", kv.key, String::from_utf8_lossy(&kv.value))).collect();
            format!("all {}", all.join(" "))
        }
        Event::Put(kv) => format!("put {}={}", kv.key, String::from_utf8_lossy(&kv.value)),
        Event::Delete { key, .. } => format!("delete {key}"),
        Event::Lost(_) => "lost".into(),
    }
}

/// The next event that isn't about the lost connection.
async fn found(watch: &mut KeyWatch) -> String {
    loop {
        let event = told(watch).await;
        if event != "lost" {
            return event;
        }
    }
}

#[actix_rt::test]
async fn what_is_there_is_listed_and_every_later_change_is_told_in_order() {
    let server = Server::start().await;
    let session = Session::new(server.settings());
    session.put("/one", b"1", None).await.unwrap();
    session.put("/onetwo", b"not watched", None).await.unwrap();
    session.put("/many/a", b"a", None).await.unwrap();
    let mut watch = watch(server.settings(), RELIST_NEVER);
    assert_eq!(told(&mut watch).await, "all /many/a=a /one=1");
    session.put("/many/b", b"b", None).await.unwrap();
    assert_eq!(told(&mut watch).await, "put /many/b=b");
    session.put("/one", b"2", None).await.unwrap();
    assert_eq!(told(&mut watch).await, "put /one=2");
    let revision = session.get("/many/a").await.unwrap().unwrap().revision;
    assert!(matches!(session.swap("/many/a", None, revision).await.unwrap(), Swap::Done(_)));
    assert_eq!(told(&mut watch).await, "delete /many/a");
}

#[actix_rt::test]
async fn a_killed_server_is_told_and_changes_and_deletions_meanwhile_are_found() {
    let mut server = Server::start().await;
    let session = Session::new(server.settings());
    session.put("/one", b"1", None).await.unwrap();
    session.put("/many/a", b"a", None).await.unwrap();
    let mut watch = watch(server.settings(), RELIST_NEVER);
    assert_eq!(told(&mut watch).await, "all /many/a=a /one=1");
    server.kill();
    assert_eq!(told(&mut watch).await, "lost");
    server.run().await;
    // The watch hasn't been polled meanwhile: what is changed now is changed "during the disconnect".
    server.ctl(&["del", "/many/a"]);
    server.ctl(&["put", "/one", "2"]);
    assert_eq!(found(&mut watch).await, "all /one=2");
    session.put("/many/c", b"c", None).await.unwrap();
    assert_eq!(told(&mut watch).await, "put /many/c=c");
}

#[actix_rt::test]
async fn a_compaction_behind_the_watchs_back_loses_nothing() {
    let mut server = Server::start().await;
    let session = Session::new(server.settings());
    session.put("/one", b"1", None).await.unwrap();
    session.put("/many/a", b"a", None).await.unwrap();
    let mut watch = watch(server.settings(), RELIST_NEVER);
    assert_eq!(told(&mut watch).await, "all /many/a=a /one=1");
    server.kill();
    server.run().await;
    server.ctl(&["del", "/many/a"]);
    server.ctl(&["put", "/one", "2"]);
    server.ctl(&["put", "/one", "3"]);
    let revision = session.get("/one").await.unwrap().unwrap().revision;
    server.ctl(&["compact", &revision.to_string()]);
    assert_eq!(found(&mut watch).await, "all /one=3");
}

#[actix_rt::test]
async fn everything_is_listed_again_now_and_then() {
    let server = Server::start().await;
    Session::new(server.settings()).put("/one", b"1", None).await.unwrap();
    let mut watch = watch(server.settings(), Duration::from_millis(100));
    for _ in 0..3 {
        assert_eq!(told(&mut watch).await, "all /one=1");
    }
}

#[actix_rt::test]
async fn a_dead_endpoint_among_several_does_no_harm() {
    let server = Server::start().await;
    let mut settings = server.settings();
    settings.endpoints.insert(0, "http://127.0.0.1:1".into());
    let session = Session::new(settings.clone());
    for i in 0..5 {
        session.put(&format!("/x{i}"), b"1", None).await.unwrap();
    }
    session.put_if_absent("/one", b"1").await.unwrap();
    let mut watch = watch(settings, RELIST_NEVER);
    assert_eq!(found(&mut watch).await, "all /one=1");
}

#[actix_rt::test]
async fn a_wrong_password_is_told_as_such_and_the_right_one_works() {
    let server = Server::start().await;
    for args in [
        ["user", "add", "root:right", ""],
        ["role", "add", "root", ""],
        ["user", "grant-role", "root", "root"],
        ["auth", "enable", "", ""],
    ] {
        server.ctl(&args.into_iter().filter(|a| !a.is_empty()).collect::<Vec<_>>());
    }
    let with =
        |password: &str| Etcd { username: "root".into(), password: Some(Secret::new(password)), ..server.settings() };
    let wrong = Session::new(with("wrong")).get("/one").await.unwrap_err();
    assert!(matches!(&wrong, EtcdError::Denied { .. }), "{wrong}");
    assert!(wrong.to_string().contains("invalid user ID or password"), "{wrong}");
    assert_eq!(told(&mut watch(with("wrong"), RELIST_NEVER)).await, "lost");
    Session::new(with("right")).put("/one", b"1", None).await.unwrap();
    assert_eq!(told(&mut watch(with("right"), RELIST_NEVER)).await, "all /one=1");
}

#[actix_rt::test]
async fn a_server_that_is_away_is_told_within_the_deadline() {
    let mut server = Server::start().await;
    server.kill();
    let told = Session::new(server.settings()).get("/one").await.unwrap_err().to_string();
    assert!(told.contains("127.0.0.1"), "{told}");
}

#[actix_rt::test]
async fn compare_and_swap_tells_who_was_faster() {
    let server = Server::start().await;
    let session = Session::new(server.settings());
    assert_eq!(session.put_if_absent("/one", b"1").await.unwrap(), None);
    let there = session.put_if_absent("/one", b"2").await.unwrap().unwrap();
    assert_eq!(there.value, b"1");
    let Swap::Done(revision) = session.swap("/one", Some(b"3"), there.revision).await.unwrap() else { panic!() };
    assert_eq!(session.get("/one").await.unwrap().unwrap().revision, revision);
    let Swap::Conflict(Some(now)) = session.swap("/one", None, there.revision).await.unwrap() else { panic!() };
    assert_eq!(now.value, b"3");
    assert_eq!(session.swap("/none", None, 7).await.unwrap(), Swap::Conflict(None));
}

#[actix_rt::test]
async fn a_leased_key_comes_back_after_its_lease_was_lost_and_goes_with_it() {
    let server = Server::start().await;
    let session = Session::new(server.settings());
    let mut key = LeasedKey::new(session.clone(), "/status", 60);
    assert!(!key.keep_alive().await.unwrap());
    key.put(b"1").await.unwrap();
    assert!(key.keep_alive().await.unwrap());
    let lease = server.ctl(&["lease", "list"]).lines().last().unwrap().to_owned();
    server.ctl(&["lease", "revoke", &lease]);
    assert_eq!(session.get("/status").await.unwrap(), None);
    assert!(!key.keep_alive().await.unwrap());
    key.put(b"2").await.unwrap();
    let lease = server.ctl(&["lease", "list"]).lines().last().unwrap().to_owned();
    server.ctl(&["lease", "revoke", &lease]);
    key.put(b"3").await.unwrap();
    assert_eq!(session.get("/status").await.unwrap().unwrap().value, b"3");
    key.revoke().await.unwrap();
    assert_eq!(session.get("/status").await.unwrap(), None);
}
