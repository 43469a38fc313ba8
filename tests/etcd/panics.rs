//! The actors that exist only with an etcd are restarted like all others, in the agent, in the transfer and in the console, and what they
//! do goes on: the liveness key is written, changes of entries and credentials are taken over.

use crate::server::Server;
use logweir::{
    actors::{
        agent_supervisor::{AgentParts, AgentSupervisor},
        console_supervisor::{ConsoleParts, ConsoleSupervisor},
        transfer_supervisor::{TransferParts, TransferSupervisor},
    },
    console::Fleet,
    etcd::{KeyRange, Session},
    messages::{InjectPanicInto, Shutdown},
    settings::{AgentSettings, ConsoleSettings, TransferSettings},
    telemetry::{Health, Registry, STATUS_PREFIX, Status, StatusBoard, init_for_tests},
};
use std::{sync::Arc, time::Duration};

const ENTRIES: &str = "/logweir/collect/all";
const ELASTIC: &str = "elasticsearch_config";
/// Nobody listens there; the actors in question don't mind.
const NOWHERE: &str = "127.0.0.1:1";

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..1_200 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain for {what}");
}

fn restarts(registry: &Registry, kind: &str) -> u64 {
    registry.actors().iter().find(|stats| stats.kind() == kind).map_or(0, |stats| stats.restarts())
}

/// Whether the liveness key shows the refusal of this source's value.
async fn shows_refusal(session: &Session, board: &StatusBoard, source: &str) -> bool {
    let Ok(Some(kv)) = session.get(&board.key()).await else { return false };
    let value: serde_json::Value = serde_json::from_slice(&kv.value).unwrap();
    value["sources"][source]["refused"].is_string()
}

#[actix_rt::test]
async fn an_agents_watcher_and_status_reporter_go_on_after_a_panic() {
    init_for_tests();
    let server = Server::start().await;
    let session = Session::new(server.settings());
    let dir = tempfile::tempdir().unwrap();
    let mut settings = AgentSettings::default();
    settings.agent.data_dir = dir.path().join("data");
    settings.agent.host = "test".into();
    settings.etcd = server.settings();
    settings.kafka.brokers = vec![NOWHERE.into()];
    let parts = Arc::new(AgentParts::new(settings, Registry::default(), Health::default()).unwrap());
    let journal = parts.open_journal().unwrap();
    let (supervisor, _gone) = AgentSupervisor::start(parts.clone(), journal);
    for kind in ["status_reporter", "collection_watcher", "files_teller"] {
        session.put(ENTRIES, b"[]", None).await.unwrap();
        until("a good value", async || !shows_refusal(&session, &parts.board, ENTRIES).await).await;
        assert!(supervisor.send(InjectPanicInto(kind)).await.unwrap(), "{kind}");
        until(kind, async || restarts(&parts.registry, kind) > 0).await;
        session.put(ENTRIES, b"[{", None).await.unwrap();
        until("the refusal in the key", async || shows_refusal(&session, &parts.board, ENTRIES).await).await;
    }
    supervisor.send(Shutdown).await.unwrap();
    assert_eq!(session.get(&parts.board.key()).await.unwrap(), None);
}

#[actix_rt::test]
async fn a_transfers_watchers_and_status_reporter_go_on_after_a_panic() {
    init_for_tests();
    let server = Server::start().await;
    let session = Session::new(server.settings());
    let mut settings = TransferSettings::default();
    settings.transfer.host = "test".into();
    settings.etcd = server.settings();
    settings.kafka.brokers = vec![NOWHERE.into()];
    let parts = Arc::new(TransferParts::new(settings, Registry::default(), Health::default()).unwrap());
    let (supervisor, _gone) = TransferSupervisor::start(parts.clone());
    let good = format!(r#"{{"url_address":["http://{NOWHERE}"]}}"#);
    for (kind, source) in
        [("status_reporter", ELASTIC), ("collection_watcher", ENTRIES), ("credentials_watcher", ELASTIC)]
    {
        session.put(source, if source == ENTRIES { b"[]" } else { good.as_bytes() }, None).await.unwrap();
        until("a good value", async || !shows_refusal(&session, &parts.board, source).await).await;
        assert!(supervisor.send(InjectPanicInto(kind)).await.unwrap(), "{kind}");
        until(kind, async || restarts(&parts.registry, kind) > 0).await;
        session.put(source, b"[{", None).await.unwrap();
        until("the refusal in the key", async || shows_refusal(&session, &parts.board, source).await).await;
    }
    supervisor.send(Shutdown).await.unwrap();
    assert_eq!(session.get(&parts.board.key()).await.unwrap(), None);
}

#[actix_rt::test]
async fn a_consoles_mirror_watcher_and_status_reporter_go_on_after_a_panic() {
    init_for_tests();
    let server = Server::start().await;
    let session = Session::new(server.settings());
    let mut settings = ConsoleSettings::default();
    settings.console.host = "test".into();
    settings.etcd = server.settings();
    let health = Health::default();
    let mut parts = ConsoleParts::new(settings, None, Registry::default(), health.clone()).unwrap();
    let fleet = Arc::new(Fleet::new(health));
    parts.mirror([KeyRange::prefix(STATUS_PREFIX)], fleet.clone());
    let parts = Arc::new(parts);
    let (supervisor, _gone) = ConsoleSupervisor::start(parts.clone());
    for (round, kind) in ["key_mirror", "status_reporter", "credentials_watcher"].into_iter().enumerate() {
        until("its own sign of life", async || fleet.known().get("console", "test", "1").is_some()).await;
        assert!(supervisor.send(InjectPanicInto(kind)).await.unwrap(), "{kind}");
        until(kind, async || restarts(&parts.registry, kind) > 0).await;
        // What comes after the panic is seen: another process, and other servers.
        let host = format!("after-{round}");
        let status = Status { kind: "agent".into(), host: host.clone(), instance: "1".into(), ..Status::default() };
        let key = format!("{STATUS_PREFIX}agent/{host}/1");
        session.put(&key, &serde_json::to_vec(&status).unwrap(), None).await.unwrap();
        until("an agent that came later", async || fleet.known().get("agent", &host, "1").is_some()).await;
        let before = parts.elastic.current().map_or(0, |(_, generation)| generation);
        let servers = format!(r#"{{"url_address":["http://{NOWHERE}/{round}"]}}"#);
        session.put(ELASTIC, servers.as_bytes(), None).await.unwrap();
        until("other servers", async || parts.elastic.current().is_ok_and(|(_, now)| now > before)).await;
    }
    supervisor.send(Shutdown).await.unwrap();
    assert_eq!(session.get(&parts.board.key()).await.unwrap(), None);
}
