//! The servers under `tests/backends/` are what the other tests take them for: real, and with their data still there after
//! SIGKILL, under the same addresses.

use crate::support::{
    kafka::{TopicReader, create_topic},
    servers::servers,
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use serde_json::json;
use std::time::Duration;

#[test]
fn each_server_keeps_its_data_and_address_when_it_is_killed() {
    let mut servers = servers();
    servers.etcd_put("/test/servers", "kept");
    let body = json!({"message": "kept", "logweir": {"file": "a"}, "log": {"offset": 1}});
    servers.elastic.request(
        "PUT",
        "/kept",
        Some(&json!({"mappings": {"properties": {"logweir.file": {"type": "keyword"}}}})),
    );
    servers.elastic.request("PUT", "/kept/_create/1", Some(&body));
    let address = servers.kafka.fact("address").to_owned();
    create_topic(&address, "kept", 3);
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &address).set("acks", "all").create().expect("a producer");
    for n in 0..50 {
        producer.send(BaseRecord::to("kept").key("key").payload(&format!("{n}"))).expect("a record is queued");
    }
    producer.flush(Duration::from_secs(30)).expect("records are delivered");

    for server in [&servers.etcd, &servers.kafka, &servers.elastic] {
        server.kill();
    }
    servers.etcd.start();
    servers.kafka.start();
    servers.elastic.start();

    assert_eq!(servers.etcd_get("/test/servers"), "kept");
    let mut documents = 0;
    servers.elastic.documents("kept", |document| documents += usize::from(document["message"] == "kept"));
    assert_eq!(documents, 1);
    assert_eq!(servers.kafka.fact("address"), address);
    let mut records = 0;
    TopicReader::new(&address, "kept").read_to_end(|_| records += 1);
    assert_eq!(records, 50);
}
