//! Whether Elasticsearch is there, takes our credentials, and keeps what it acknowledges. Every URL is asked alone: the
//! client would hide a dead one behind the others. Nothing is written.

use super::report::{Fault, Report};
use crate::{
    elastic::{Cluster, ElasticConfig, Reason, template_name},
    flow::Backoff,
    settings::Elasticsearch,
};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

const CHECK: &str = "elasticsearch";
const CREDENTIALS: &str = "correct the credentials, in [elasticsearch] or at config_key in etcd";
/// More indices that aren't safe are only counted.
const NAMED: usize = 3;

/// Addresses and credentials of the settings, where they have any.
///
/// # Errors
/// The CA's file can't be read.
pub fn of_settings(settings: &Elasticsearch) -> Result<ElasticConfig, String> {
    let ca = settings.ca_file.as_ref().map(|file| {
        std::fs::read_to_string(file).map_err(|error| format!("elasticsearch.ca_file {}: {error}", file.display()))
    });
    let text = |secret: &Option<crate::settings::Secret>| secret.as_ref().map(|secret| secret.reveal().to_owned());
    // As in the settings' description: a key comes before user and password.
    let api_key = text(&settings.api_key);
    let with_user = api_key.is_none() && !settings.username.is_empty();
    Ok(ElasticConfig {
        urls: settings.urls.clone(),
        username: with_user.then(|| settings.username.clone()),
        password: text(&settings.password).filter(|_| with_user),
        api_key,
        ca_cert: ca.transpose()?,
    })
}

/// `indices`: each pattern of index names with one name that it stands for.
pub async fn check(
    config: &ElasticConfig,
    replicas: u64,
    indices: &BTreeMap<String, String>,
    deadline: Duration,
) -> Report {
    let mut report = Report::default();
    if let Some(cluster) = usable(config, deadline, &mut report).await {
        let mut asking = Asking { cluster, report: &mut report };
        asking.user().await;
        asking.health(replicas).await;
        asking.privileges(indices).await;
        for (pattern, sample) in indices {
            asking.template(pattern, sample).await;
            asking.durability(pattern).await;
        }
    }
    report
}

/// For who only reads: the console. `indices`: names and patterns.
pub async fn check_reading(config: &ElasticConfig, indices: &[String], deadline: Duration) -> Report {
    let mut report = Report::default();
    if let Some(cluster) = usable(config, deadline, &mut report).await {
        let mut asking = Asking { cluster, report: &mut report };
        asking.user().await;
        // Replicas are the business of who writes.
        asking.health(0).await;
        asking.may_read(indices).await;
    }
    report
}

/// Asks every server; one that can be asked more.
async fn usable(config: &ElasticConfig, deadline: Duration, report: &mut Report) -> Option<Cluster> {
    let asked = config.urls.iter().map(async |url| {
        let one = ElasticConfig { urls: vec![url.clone()], ..config.clone() };
        let cluster = Cluster::new(&one, deadline, Backoff::new(Duration::from_millis(1), Duration::from_millis(1)));
        let cluster = cluster.map_err(|error| (Fault::Settings, error.to_string()))?;
        let answer = cluster.query("", None).await;
        Ok((cluster, answer))
    });
    let mut usable = None;
    for (url, answer) in config.urls.iter().zip(join_all(asked).await) {
        match answer {
            Err((fault, reason)) => report.fail(CHECK, fault, format!("{url}: {reason}"), "check the URL and the CA"),
            Ok((cluster, answer)) => {
                if server(url, answer, report) {
                    usable.get_or_insert(cluster);
                }
            }
        }
    }
    usable
}

/// Judges one server's first answer; whether it can be asked more.
fn server(url: &str, answer: Result<(u16, Option<Bytes>), Reason>, report: &mut Report) -> bool {
    let (status, body) = match answer {
        Ok(answer) => answer,
        Err(reason) => {
            let text = if reason.text.is_empty() { format!("{url}: no answer") } else { reason.text.to_string() };
            report.fail(CHECK, Fault::Server, text, "check the URL, the server, the network and the CA");
            return false;
        }
    };
    let version = json(body.as_ref())["version"]["number"].as_str().map(str::to_owned);
    match (status, version) {
        (200, Some(version)) => report.ok(CHECK, format!("{url}: version {version}")),
        (401, _) => {
            report.fail(CHECK, Fault::Server, format!("{url}: refuses the credentials (401)"), CREDENTIALS);
            return false;
        }
        (403, _) => report.warn(CHECK, format!("{url}: its version may not be asked (403)"), "allow cluster:monitor"),
        (status, _) => {
            let text = format!("{url}: answers {status}, which is no Elasticsearch");
            report.fail(CHECK, Fault::Server, text, "check the URL and whatever stands before the server");
            return false;
        }
    }
    true
}

fn json(body: Option<&Bytes>) -> Value {
    body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default()
}

struct Asking<'a> {
    cluster: Cluster,
    report: &'a mut Report,
}

impl Asking<'_> {
    /// The answer's status and JSON; no answer is a failure.
    async fn ask(&mut self, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        match self.cluster.query(path, body.as_ref()).await {
            Ok((status, body)) => Some((status, json(body.as_ref()))),
            Err(reason) => {
                self.report.fail(CHECK, Fault::Server, reason.text.to_string(), "check the server and the network");
                None
            }
        }
    }

    fn not_asked(&mut self, what: &str, status: u16) {
        let advice = "allow it to these credentials to have it checked";
        self.report.warn(CHECK, format!("{what} can't be asked ({status})"), advice);
    }

    async fn user(&mut self) {
        match self.ask("_security/_authenticate", None).await {
            Some((200, answer)) => {
                let user = answer["username"].as_str().unwrap_or("?");
                let by = answer["authentication_type"].as_str().unwrap_or("?");
                self.report.ok(CHECK, format!("authenticated as {user} ({by})"));
            }
            Some((401, _)) => {
                self.report.fail(CHECK, Fault::Server, "the credentials are refused (401)", CREDENTIALS);
            }
            // OpenSearch, or a server whose security is switched off.
            Some(_) => self.report.ok(CHECK, "the server has no users to ask about"),
            None => {}
        }
    }

    async fn health(&mut self, replicas: u64) {
        match self.ask("_cluster/health?filter_path=status,number_of_data_nodes", None).await {
            Some((200, answer)) => health(&answer, replicas, self.report),
            Some((status, _)) => self.not_asked("the cluster's health", status),
            None => {}
        }
    }

    async fn privileges(&mut self, indices: &BTreeMap<String, String>) {
        let names: Vec<&String> = indices.keys().collect();
        let body = json!({
            "cluster": ["manage_index_templates"],
            "index": [{"names": names, "privileges": ["create_doc", "auto_configure"]}],
        });
        if let Some((200, answer)) = self.ask("_security/user/_has_privileges", Some(body)).await {
            privileges(&answer, self.report);
        }
    }

    async fn may_read(&mut self, indices: &[String]) {
        let body = json!({"index": [{"names": indices, "privileges": ["read"]}]});
        if let Some((200, answer)) = self.ask("_security/user/_has_privileges", Some(body)).await {
            reading(&answer, self.report);
        }
    }

    async fn template(&mut self, pattern: &str, sample: &str) {
        let name = template_name(pattern);
        match self.ask(&format!("_index_template/{name}?filter_path=index_templates.name"), None).await {
            Some((200, _)) => self.report.ok(CHECK, format!("index template {name} for {pattern} is installed")),
            Some((404, _)) => {
                let text =
                    format!("index template {name} for {pattern}: the transfer installs it before its first write");
                self.report.ok(CHECK, text);
            }
            Some((status, _)) => self.not_asked("the index templates", status),
            None => {}
        }
        // What a new index would get from all templates together, an operator's own among them.
        let path = format!("_index_template/_simulate_index/{sample}?filter_path=template.settings");
        if let Some((200, answer)) = self.ask(&path, Some(json!({}))).await
            && answer["template"]["settings"]["index"]["translog"]["durability"].as_str().is_some_and(is_async)
        {
            let text = format!("new indices like {sample} get index.translog.durability = async");
            let advice = "set it to request in the index template: async loses acknowledged documents with a server";
            self.report.warn(CHECK, text, advice);
        }
    }

    async fn durability(&mut self, pattern: &str) {
        let path = format!(
            "{pattern}/_settings/index.translog.durability?include_defaults=true&flat_settings=true&ignore_unavailable=true"
        );
        match self.ask(&path, None).await {
            Some((200, answer)) => durability(pattern, &answer, self.report),
            Some((404, _)) | None => {}
            Some((status, _)) => self.not_asked(&format!("the settings of {pattern}"), status),
        }
    }
}

fn is_async(durability: &str) -> bool {
    durability.eq_ignore_ascii_case("async")
}

fn health(answer: &Value, replicas: u64, report: &mut Report) {
    let status = answer["status"].as_str().unwrap_or("unknown");
    let nodes = answer["number_of_data_nodes"].as_u64().unwrap_or(0);
    let text = format!("cluster health: {status}, data nodes: {nodes}");
    match status {
        "green" => report.ok(CHECK, text),
        "yellow" => report.warn(CHECK, text, "replicas are missing: add nodes, or look at _cluster/allocation/explain"),
        _ => report.warn(CHECK, text, "some indices can't be written; look at _cluster/allocation/explain"),
    }
    if nodes > 0 && replicas >= nodes {
        let text = format!("elasticsearch.replicas = {replicas}, but data nodes: {nodes}: new indices stay yellow");
        report.warn(CHECK, text, "add nodes, or lower it");
    }
}

fn privileges(answer: &Value, report: &mut Report) {
    if answer["has_all_requested"] == true {
        return report.ok(CHECK, "the credentials allow to create documents, indices and index templates");
    }
    let mut missing: Vec<String> = denied(&answer["cluster"]).map(|name| format!("cluster: {name}")).collect();
    for (index, rights) in answer["index"].as_object().into_iter().flatten() {
        missing.extend(denied(rights).map(|name| format!("{index}: {name}")));
    }
    let text = format!("the credentials don't allow {}", missing.join(", "));
    report.fail(CHECK, Fault::Server, text, "give the user or API key these privileges; until then records wait");
}

fn reading(answer: &Value, report: &mut Report) {
    if answer["has_all_requested"] == true {
        return report.ok(CHECK, "the credentials allow to read the indices");
    }
    let denied = answer["index"].as_object().into_iter().flatten().filter(|(_, rights)| denied(rights).count() > 0);
    let names: Vec<&str> = denied.map(|(index, _)| index.as_str()).collect();
    let text = format!("the credentials don't allow to read {}", names.join(", "));
    report.fail(CHECK, Fault::Server, text, "give the user or API key the privilege read; until then nothing is found");
}

fn denied(rights: &Value) -> impl Iterator<Item = &str> {
    rights.as_object().into_iter().flatten().filter(|(_, allowed)| **allowed == false).map(|(name, _)| name.as_str())
}

fn durability(pattern: &str, answer: &Value, report: &mut Report) {
    let setting = |index: &Value| {
        let value =
            ["settings", "defaults"].into_iter().find_map(|part| index[part]["index.translog.durability"].as_str());
        value.is_some_and(is_async)
    };
    let indices = answer.as_object().map_or(0, serde_json::Map::len);
    let lax: Vec<&str> = answer
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, index)| setting(index))
        .map(|(name, _)| name.as_str())
        .collect();
    if lax.is_empty() {
        return report.ok(CHECK, format!("{pattern}: indices: {indices}, translog durability: request"));
    }
    let named = lax.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let text = format!("{} of {indices} indices have index.translog.durability = async: {named}", lax.len());
    report.warn(CHECK, text, "set it to request: async loses acknowledged documents with a server");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Exit, check::report::Level};

    fn judged(judge: impl FnOnce(&mut Report)) -> (Vec<Level>, String) {
        let mut report = Report::default();
        judge(&mut report);
        (report.lines.iter().map(|line| line.level).collect(), report.text())
    }

    #[test]
    fn a_first_answer_is_judged() {
        let mut report = Report::default();
        let body = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        assert!(server("http://a", Ok((200, body(r#"{"version":{"number":"8.19.0"}}"#))), &mut report));
        assert!(server("http://a", Ok((403, body(""))), &mut report));
        assert_eq!(report.exit(), Exit::Ok);
        for (status, text) in [(401, "{}"), (200, "<html>"), (502, "")] {
            let mut report = Report::default();
            assert!(!server("http://a", Ok((status, body(text))), &mut report));
            assert_eq!(report.exit(), Exit::Unavailable);
        }
    }

    #[test]
    fn health_that_is_not_green_and_too_many_replicas_are_warnings() {
        let with = |status, nodes, replicas| {
            judged(|report| health(&json!({"status": status, "number_of_data_nodes": nodes}), replicas, report)).0
        };
        assert_eq!(with("green", 3, 1), [Level::Ok]);
        assert_eq!(with("green", 1, 1), [Level::Ok, Level::Warn]);
        assert_eq!(with("yellow", 3, 1), [Level::Warn]);
        assert_eq!(with("red", 3, 1), [Level::Warn]);
    }

    #[test]
    fn missing_privileges_are_named() {
        let answer = json!({"has_all_requested": false, "cluster": {"manage_index_templates": true},
            "index": {"logweir-*": {"create_doc": false, "auto_configure": true}}});
        let (levels, text) = judged(|report| privileges(&answer, report));
        assert_eq!(levels, [Level::Fail]);
        assert!(text.contains("don't allow logweir-*: create_doc ->"), "{text}");
        assert_eq!(judged(|report| privileges(&json!({"has_all_requested": true}), report)).0, [Level::Ok]);
    }

    #[test]
    fn indices_that_may_not_be_read_are_named() {
        let answer = json!({"has_all_requested": false, "index": {"a-*": {"read": true}, "b-*": {"read": false}}});
        let (levels, text) = judged(|report| reading(&answer, report));
        assert_eq!(levels, [Level::Fail]);
        assert!(text.contains("don't allow to read b-* ->"), "{text}");
        assert_eq!(judged(|report| reading(&json!({"has_all_requested": true}), report)).0, [Level::Ok]);
    }

    #[test]
    fn indices_that_acknowledge_before_they_sync_are_named() {
        let of = |value| json!({"settings": {"index.translog.durability": value}, "defaults": {}});
        let default = json!({"settings": {}, "defaults": {"index.translog.durability": "REQUEST"}});
        let answer = json!({"a": of("async"), "b": of("request"), "c": default});
        let (levels, text) = judged(|report| durability("a*", &answer, report));
        assert_eq!(levels, [Level::Warn]);
        assert!(text.contains("1 of 3 indices") && text.contains("async: a"), "{text}");
        assert_eq!(judged(|report| durability("a*", &json!({}), report)).0, [Level::Ok]);
    }
}
