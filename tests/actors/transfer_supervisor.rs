//! The whole transfer in this process, from librdkafka's mock cluster to a stub of Elasticsearch: whichever actor panics,
//! every record becomes one document.

use crate::bulk_stub::Stub;
use actix::prelude::*;
use logweir::{
    actors::transfer_supervisor::{TransferParts, TransferSupervisor},
    messages::{InjectPanicInto, Shutdown},
    settings::TransferSettings,
    telemetry::{Health, Registry, Totals},
};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use std::{sync::Arc, time::Duration};

const TOPIC: &str = "lines";

/// What a record names that an agent with an etcd has sent.
const ENTRY_KEY: &str = "web-01 a41f9c0e77d2b3c8 18273645 1795246112111 0000beef /var/log/nginx/access.log";

struct Scene {
    _cluster: MockCluster<'static, DefaultProducerContext>,
    producer: ThreadedProducer<DefaultProducerContext>,
    stub: Stub,
    parts: Arc<TransferParts>,
    supervisor: Addr<TransferSupervisor>,
    written: usize,
}

impl Scene {
    fn start() -> Self {
        logweir::telemetry::init_for_tests();
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let producer = ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
        let stub = Stub::start(true, 0).unwrap();
        let mut settings = TransferSettings::default();
        settings.transfer.host = "test".into();
        settings.etcd.endpoints = Vec::new();
        settings.kafka.brokers = vec![cluster.bootstrap_servers()];
        settings.kafka.topics = vec![TOPIC.into()];
        settings.kafka.topics_from_entries = false;
        settings.kafka.options.0.insert("session.timeout.ms".into(), "6000".into());
        settings.kafka.options.0.insert("heartbeat.interval.ms".into(), "500".into());
        settings.elasticsearch.urls = vec![stub.url()];
        let parts = Arc::new(TransferParts::new(settings, Registry::default(), Health::default()).unwrap());
        let (supervisor, _) = TransferSupervisor::start(parts.clone());
        Self { _cluster: cluster, producer, stub, parts, supervisor, written: 0 }
    }

    fn write(&mut self, records: usize) {
        for _ in 0..records {
            let value = format!("line {}", self.written);
            let partition = (self.written % 2) as i32;
            let record: BaseRecord<'_, str, str> = BaseRecord::to(TOPIC).partition(partition).payload(&value);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
            self.written += 1;
        }
        self.producer.flush(Duration::from_secs(30)).unwrap();
    }

    /// Waits until every record is there, and nothing else.
    async fn all_arrive(&self, when: &str) {
        let wait = self.stub.wait_until(|seen| seen.docs.len() >= self.written);
        // Only ends a test that hangs.
        let waited = tokio::time::timeout(Duration::from_secs(120), wait).await;
        let arrived = self.stub.seen().docs.len();
        assert!(waited.is_ok(), "{when}: {arrived} of {} records", self.written);
        assert_eq!(arrived, self.written, "{when}: one document a record");
    }

    fn restarts(&self, kind: &str) -> u64 {
        self.parts.registry.actors().iter().find(|stats| stats.kind() == kind).unwrap().restarts()
    }
}

#[actix_rt::test]
async fn without_any_etcd_a_record_that_names_an_entry_goes_to_the_default_index_and_is_counted() {
    let mut scene = Scene::start();
    for round in 1..=2 {
        let record = BaseRecord::to(TOPIC).partition(0).key(ENTRY_KEY).payload(if round == 1 { "one" } else { "two" });
        scene.producer.send(record).map_err(|(error, _)| error).unwrap();
        scene.written += 1;
        scene.write(10);
        scene.all_arrive("without etcd").await;
        let metrics = scene.parts.registry.render();
        assert!(metrics.contains(&format!("\nlogweir_documents_without_entry_total {round}.0\n")), "{metrics}");
    }
    scene.supervisor.send(Shutdown).await.unwrap();
}

#[actix_rt::test]
async fn a_panic_in_any_actor_is_survived_and_each_record_is_one_document() {
    let mut scene = Scene::start();
    scene.write(100);
    scene.all_arrive("before any panic").await;
    for kind in ["es_batcher", "kafka_consumer", "dead_letters", "collection_watcher", "mailbox_reporter"] {
        scene.write(50);
        let before = scene.restarts(kind);
        assert!(scene.supervisor.send(InjectPanicInto(kind)).await.unwrap(), "{kind}");
        scene.write(50);
        scene.all_arrive(kind).await;
        // What comes after the last record may come after the restart, too.
        while scene.restarts(kind) == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    scene.write(10);
    scene.all_arrive("after all").await;
    // What the liveness key tells of it.
    let told = async || loop {
        let status = scene.parts.board.status(&Totals::default(), 1.0);
        let bulk = status.bulk.unwrap_or_default();
        if bulk.documents_per_second >= 610.0 {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let status = tokio::time::timeout(Duration::from_secs(60), told()).await.expect("the figures of all records");
    assert!(status.topics[TOPIC].lines_per_second >= 610.0, "{status:?}");
    assert!(status.bulk.is_some_and(|bulk| bulk.requests > 0) && status.paused.is_empty(), "{status:?}");
    scene.supervisor.send(Shutdown).await.unwrap();
    let metrics = scene.parts.registry.render();
    assert!(metrics.contains("\nlogweir_documents_created_total 610.0\n"), "{metrics}");
}
