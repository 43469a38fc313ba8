//! The whole way with everything encrypted and everybody signed in: etcd with TLS, user and password; Kafka with SASL
//! over TLS; Elasticsearch with TLS, the certificate of its authority in the configuration in etcd, and one of two nodes
//! down.

use crate::support::{
    kafka::create_topic_as,
    oracle::{Form, Oracle},
    process::{Program, free_address},
    rng::Rng,
    servers::{Server, servers},
    test_folder, wait_for,
    writer::LogWriter,
};
use rdkafka::ClientConfig;
use serde_json::json;
use std::{fs, path::Path, time::Duration};

const LINES: u64 = 3_000;
const TOPIC: &str = "secured";
const ES_KEY: &str = "/test/tls/elasticsearch";

/// A user who may read and write everything, and nobody else.
fn add_user(etcd: &Server) {
    for command in [
        &["user", "add", "root:rootsecret"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "all"],
        &["role", "grant-permission", "all", "--prefix=true", "readwrite", "/"],
        &["user", "add", "weir:s3cret"],
        &["user", "grant-role", "weir", "all"],
        &["auth", "enable"],
    ] {
        etcd.command("ctl", command);
    }
}

/// What agent and transfer have in common.
fn shared(etcd: &Server, kafka: &Server, folder: &Path, listen: &str) -> String {
    let (password, sasl) = (folder.join("etcd.password"), folder.join("sasl.password"));
    fs::write(&password, "s3cret\n").expect("write a password file");
    fs::write(&sasl, "secret\n").expect("write a password file");
    format!(
        r#"
[etcd]
endpoints = ["{etcd}"]
username = "weir"
password_file = "{password}"
ca_file = "{etcd_ca}"
keys = ["/test/tls/collect"]
[kafka.options]
"security.protocol" = "sasl_ssl"
"sasl.mechanism" = "PLAIN"
"sasl.username" = "logweir"
"ssl.ca.location" = "{kafka_ca}"
[kafka.option_files]
"sasl.password" = "{sasl}"
[log]
level = "debug"
[metrics]
listen = "{listen}"
"#,
        etcd = etcd.fact("url"),
        password = password.display(),
        etcd_ca = etcd.ca().expect("etcd's authority").display(),
        kafka_ca = kafka.ca().expect("Kafka's authority").display(),
        sasl = sasl.display(),
    )
}

fn programs(etcd: &Server, kafka: &Server, folder: &Path) -> (Program, Program) {
    let brokers = kafka.fact("address");
    let listen = free_address();
    let agent = format!(
        "[agent]\ndata_dir = \"{}\"\nhost = \"test-host\"\n[kafka]\nbrokers = [\"{brokers}\"]\n{}",
        folder.join("agent-data").display(),
        shared(etcd, kafka, folder, &listen)
    );
    let agent = Program::new("agent", folder, &listen, &agent);
    let listen = free_address();
    let transfer = format!(
        "[transfer]\nhost = \"test-host\"\n[kafka]\nbrokers = [\"{brokers}\"]\ngroup = \"tls\"\n\
         [elasticsearch]\nconfig_key = \"{ES_KEY}\"\nreplicas = 0\n{}",
        shared(etcd, kafka, folder, &listen)
    );
    (agent, Program::new("transfer", folder, &listen, &transfer))
}

#[test]
fn lines_arrive_when_all_servers_ask_for_encryption_and_a_password() {
    // For the time only: the servers of this test are its own.
    let _alone = servers();
    let instance = format!("test-{}-tls", std::process::id());
    let etcd = Server::start_with("etcd", &instance, &[("ETCD_TLS", "true")]);
    let kafka = Server::start_with("kafka", &instance, &[("KAFKA_PROTOCOL", "SASL_SSL"), ("KAFKA_HEAP", "256m")]);
    let elastic = Server::start_with("elasticsearch", &instance, &[("ES_TLS", "true")]);
    let folder = test_folder("tls");
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", kafka.fact("address"))
        .set("security.protocol", "sasl_ssl")
        .set("sasl.mechanism", "PLAIN")
        .set("sasl.username", "logweir")
        .set("sasl.password", "secret")
        .set("ssl.ca.location", kafka.ca().expect("Kafka's authority").to_string_lossy());
    create_topic_as(&client, TOPIC, 2);
    let entries = json!([{"path": folder.join("logs/*.log"), "topic": TOPIC}]);
    etcd.command("ctl", &["put", "--", "/test/tls/collect", &entries.to_string()]);
    let ca = fs::read_to_string(elastic.ca().expect("Elasticsearch's authority")).expect("read the certificate");
    // A node that is down comes first in turn.
    let down = format!("https://{}", free_address());
    let config = json!({"api_key": elastic.api_key(), "url_address": [down, elastic.fact("url")], "ca_cert": ca});
    etcd.command("ctl", &["put", "--", ES_KEY, &config.to_string()]);
    add_user(&etcd);

    let mut writer = LogWriter::new(&folder.join("logs"), 2, u64::MAX, Rng::new(41));
    writer.write(LINES);
    let (agent, transfer) = programs(&etcd, &kafka, &folder);
    let (mut collecting, mut transferring) = (agent.start_ready(), transfer.start_ready());
    let what = format!("all documents, see {} and {}", agent.log().display(), transfer.log().display());
    let pattern = format!("logweir-{TOPIC}-*");
    wait_for(&what, Duration::from_secs(180), || {
        collecting.assert_running();
        transferring.assert_running();
        (elastic.count(&pattern) == Some(LINES)).then_some(())
    });
    collecting.stop();
    transferring.stop();
    let mut oracle = Oracle::new(writer.written(), Form::Text);
    elastic.documents(&pattern, |document| {
        let message = document["message"].as_str().expect("a message");
        let offset = document["log"]["offset"].as_u64().expect("an offset");
        oracle.see(message.as_bytes(), document["logweir"]["file"].as_str().expect("a file"), offset);
    });
    assert_eq!(oracle.verdict(), Vec::<String>::new());
    assert!(transfer.logged().contains(&format!("{down}: ")), "the node that is down was never tried");
    // With a wrong password an agent says so, and goes on trying.
    fs::write(folder.join("etcd.password"), "wrong\n").expect("write a password file");
    let before = agent.logged().len();
    let mut denied = agent.start();
    wait_for("the refusal in the agent's log", Duration::from_secs(60), || {
        denied.assert_running();
        agent.logged()[before..].contains("invalid user ID or password").then_some(())
    });
    assert!(!agent.logged().contains("s3cret") && !transfer.logged().contains("s3cret"), "a secret in the log");
    denied.stop();
    for server in [&etcd, &kafka, &elastic] {
        server.command("wipe", &[]);
    }
}
