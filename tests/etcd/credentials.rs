//! The credentials watcher on a real etcd: good values are taken over while everything runs, bad ones change nothing.

use crate::{
    collect::{Collected, collector},
    server::Server,
};
use actix::prelude::*;
use logweir::{
    actors::credentials_watcher::{CredentialsSource, CredentialsWatcher},
    etcd::{Session, Swap},
    messages::{ChildStopped, ConfigRefused, InjectPanic, UseBatcher, UseElastic},
    telemetry::{ActorStats, StatusBoard, init_for_tests},
};
use std::{sync::Arc, time::Duration};

const KEY: &str = "elasticsearch_config";

struct Neighbours {
    elastic: Collected<UseElastic>,
    refused: Collected<ConfigRefused>,
    stopped: Collected<ChildStopped>,
}

fn start(server: &Server) -> (Addr<CredentialsWatcher>, Neighbours) {
    init_for_tests();
    let source = CredentialsSource {
        session: Session::new(server.settings()),
        key: KEY.into(),
        relist: Duration::from_secs(3_600),
    };
    let (batcher, elastic) = collector();
    let (supervisor, refused) = collector();
    let (parent, stopped) = collector();
    let board = Arc::new(StatusBoard::new("transfer", "es-01", "1"));
    let stats = ActorStats::new(CredentialsWatcher::KIND, 16);
    let watcher = CredentialsWatcher::new(source, batcher, supervisor, parent, board, stats).start();
    (watcher, Neighbours { elastic, refused, stopped })
}

async fn put(server: &Server, value: &str) {
    Session::new(server.settings()).put(KEY, value.as_bytes(), None).await.unwrap();
}

fn value(key: &str) -> String {
    format!(r#"{{"api_key":"{key}","url_address":["http://localhost:9200"]}}"#)
}

#[actix_rt::test]
async fn a_bad_or_deleted_value_keeps_the_old_one_and_a_good_one_is_taken_over() {
    let server = Server::start().await;
    let (watcher, mut told) = start(&server);
    put(&server, &value("one")).await;
    assert_eq!(told.elastic.next().await.0.api_key.as_deref(), Some("one"));
    for bad in ["no JSON", "[]", r#"{"api_key":"s3cret"}"#, "{\n\"api_kee\":\"s3cret\"}", "\u{0}"] {
        put(&server, bad).await;
        let refusal = told.refused.next().await.0;
        assert_eq!(refusal.source, KEY);
        assert!(!refusal.to_string().contains("s3cret"), "{refusal}");
    }
    let session = Session::new(server.settings());
    let revision = session.get(KEY).await.unwrap().unwrap().revision;
    assert!(matches!(session.swap(KEY, None, revision).await.unwrap(), Swap::Done(_)));
    put(&server, &value("two")).await;
    assert_eq!(told.elastic.next().await.0.api_key.as_deref(), Some("two"));

    // A sink that was started anew gets what is in force.
    let (batcher, mut elastic) = collector();
    watcher.send(UseBatcher(batcher)).await.unwrap();
    let config: UseElastic = elastic.next().await;
    assert_eq!(config.0.api_key.as_deref(), Some("two"));
    assert!(told.elastic.is_empty() && told.refused.is_empty());
    assert!(watcher.send(InjectPanic).await.is_err());
    assert!(!told.stopped.next().await.orderly);
}
