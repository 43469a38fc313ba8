//! The liveness key: there while its process lives, with its figures, back after its lease was lost.

use crate::{collect::collector, server::Server};
use actix::prelude::*;
use logweir::{
    actors::status_reporter::{LEASE_SECS, StatusReporter},
    etcd::{LeasedKey, Session},
    messages::{ChildStopped, Shutdown},
    telemetry::{ActorStats, StatusBoard, init_for_tests},
};
use std::{process::Command, sync::Arc, time::Duration};

/// The key's value as soon as `wanted` holds for it.
async fn value(session: &Session, key: &str, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    for _ in 0..1_200 {
        if let Ok(Some(kv)) = session.get(key).await {
            let value = serde_json::from_slice(&kv.value).unwrap();
            if wanted(&value) {
                return value;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{key} never had the expected value");
}

#[actix_rt::test]
async fn the_last_error_of_the_log_is_in_the_key_with_its_time() {
    let server = Server::start().await;
    let session = Session::new(server.settings());
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("transfer.toml");
    let settings = format!(
        "[transfer]\nhost = \"h\"\n[etcd]\nendpoints = [\"{}\"]\n[kafka]\nbrokers = [\"127.0.0.1:1\"]\n[metrics]\nlisten = \"\"\n",
        server.url()
    );
    std::fs::write(&config, settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut transfer = command.arg("transfer").arg("-c").arg(&config).stderr(log).spawn().unwrap();
    // No credentials in etcd: an ERROR of an actor that knows nothing of the key.
    let wanted = "there are no credentials for Elasticsearch in etcd, key: elasticsearch_config";
    let told = |v: &serde_json::Value| v["last_error"].as_str().is_some_and(|text| text.starts_with(wanted));
    let status = value(&session, "/logweir/status/transfer/h/1", told).await;
    assert!(status["last_error_ms"].as_u64() >= status["started_ms"].as_u64(), "{status}");
    transfer.kill().unwrap();
    transfer.wait().unwrap();
}

#[actix_rt::test]
async fn the_key_shows_changes_comes_back_after_a_lost_lease_and_goes_with_its_process() {
    init_for_tests();
    let server = Server::start().await;
    let session = Session::new(server.settings());
    let board = Arc::new(StatusBoard::new("agent", "web-01", "1"));
    let (parent, mut stopped) = collector::<ChildStopped>();
    let key = LeasedKey::new(session.clone(), board.key(), LEASE_SECS);
    let stats = ActorStats::new(StatusReporter::KIND, 16);
    let reporter = StatusReporter::new(board.clone(), key, parent, stats).start();

    let name = "/logweir/status/agent/web-01/1";
    let first = value(&session, name, |_| true).await;
    assert_eq!((first["kind"].as_str(), first["host"].as_str()), (Some("agent"), Some("web-01")));
    assert!(first["started_ms"].as_u64().is_some_and(|ms| ms > 0));

    board.set_work(7, 4096);
    board.applied("/logweir/collect/all", Some(12));
    board.refused("/logweir/collect/all", Some(13), "line 3 column 4: no".into());
    let next = value(&session, name, |v| v["files"] == 7).await;
    assert_eq!(next["lag"], 4096);
    assert_eq!(next["sources"]["/logweir/collect/all"]["applied_revision"], 12);
    assert_eq!(next["sources"]["/logweir/collect/all"]["refused"], "line 3 column 4: no");

    let lease = server.ctl(&["lease", "list"]).lines().last().unwrap().to_owned();
    server.ctl(&["lease", "revoke", &lease]);
    value(&session, name, |v| v["files"] == 7).await;

    reporter.send(Shutdown).await.unwrap();
    assert!(stopped.next().await.orderly);
    assert_eq!(session.get(name).await.unwrap(), None);
    let (kept, _) = session.list("/logweir/seen/").await.unwrap();
    assert!(kept.is_empty(), "where no console keeps anything of it, nothing stays");
}
