//! Somebody who may see some topics only: every call and page that can be read is walked, and of the others nothing is
//! found, neither their names nor their files' paths.

use crate::{
    api::send,
    fake::Fake,
    gate::{Login, call, folder_with, login, tell_of_processes},
};
use logweir::{
    console::{Entrance, Role},
    telemetry::{SourceStatus, Status},
};
use serde_json::{Value, json};

/// Stands in everything that the other topic brings along.
const SECRET: &str = "bank";
const ALL: &str = "/logweir/collect/all";
const OTHERS: &str = "/logweir/collect/host/bank-01";
const WRONG: &str = "/logweir/collect/group/web";

/// Both topics in all there is: lines, processes, entries, histories, saved searches.
fn server() -> (Fake, Login, Login, Login) {
    let users: [(&str, Role, &[&str]); 3] =
        [("root", Role::Admin, &["*"]), ("shopper", Role::Viewer, &["shop*"]), ("editor", Role::Editor, &["shop*"])];
    let server = Fake::with_keys_and(Entrance::login(), Some(folder_with(&users)));
    let [root, shopper, editor] = ["root", "shopper", "editor"].map(|name| login(&server, name));
    server.write("/var/log/shop/a.log", "of the shop");
    server.write("/var/log/bank/b.log", "of the bank");
    tell_of_processes(&server);
    let refused = |of: &str| SourceStatus { refused: Some(format!("{of}: topic bank: no")), ..SourceStatus::default() };
    server.fleet.tell(Status {
        kind: "agent".into(),
        host: "web-01".into(),
        instance: "1".into(),
        keys: [ALL, WRONG, OTHERS].map(str::to_owned).into(),
        sources: [ALL, OTHERS].map(|key| (key.to_owned(), refused(key))).into(),
        ..Status::default()
    });
    let entry = |topic: &str| json!({ "path": format!("/var/log/{topic}/*.log"), "topic": topic });
    for (text, seen) in [(json!([entry("bank")]), 0), (json!([entry("shop"), entry("bank")]), 1)] {
        let headers = if seen == 0 { "If-Match: 0\r\n".to_owned() } else { revision(&server, &root) };
        let put =
            call(&server, "PUT", &format!("entries/key?key={ALL}"), &(root.headers() + &headers), &text.to_string());
        assert_eq!(put.0, 200, "{put:?}");
    }
    server.kept.outside(OTHERS, Some(&json!([entry("bank")]).to_string()));
    let wrong = json!([entry("shop"), { "path": "/var/log/bank/c.log", "topic": "bank", "bank_limit": 5 }]);
    server.kept.outside(WRONG, Some(&wrong.to_string()));
    let saved = json!({ "q": "logweir.topic:bank" }).to_string();
    assert_eq!(call(&server, "PUT", "searches/the%20bank", &root.headers(), &saved).0, 204);
    assert_eq!(call(&server, "PUT", "searches/mine", &shopper.headers(), r#"{"q":"timeout"}"#).0, 204);
    server.kept.health.ready_but("collection", "topic bank is refused");
    (server, root, shopper, editor)
}

fn revision(server: &Fake, who: &Login) -> String {
    let (_, key) = call(server, "GET", &format!("entries/key?key={ALL}"), &who.headers(), "");
    format!("If-Match: {}\r\n", key["revision"])
}

#[test]
fn names_of_fields_are_taken_from_a_few_pages_of_lines_however_long_these_are() {
    let (server, _, shopper, _) = server();
    // Two are more than a page has.
    let long = "x".repeat(9 << 20);
    for n in 0..6 {
        let later = Fake::now() + n;
        server.documents.write("/var/log/shop/a.log", later, &long, json!({ (format!("of_line_{n}")): "x" }));
    }
    let (_, fields) = call(&server, "GET", "fields", &shopper.headers(), "");
    let names = fields.as_array().unwrap().iter().filter_map(|field| field["name"].as_str());
    let shown: Vec<&str> = names.filter_map(|name| name.strip_prefix("of_line_")).collect();
    assert_eq!(shown, ["2", "3", "4", "5"]);
}

/// What a call is asked with: values of its parameters, several where each tells something else.
fn questions(path: &str) -> Vec<String> {
    let processes = ["standalone/standalone-host/1", "transfer/transfer-host/1", "agent/web-01/1"];
    match path {
        "/agents/{kind}/{host}/{instance}" => processes.map(|name| format!("agents/{name}")).into(),
        "/agents/{kind}/{host}/{instance}/files" => vec![format!("agents/{}/files", processes[0])],
        "/values" => ["logweir.topic", "log.file.path"].map(|field| format!("values?field={field}")).into(),
        "/around" => vec!["around?file=00000000000000aa&offset=0".into()],
        "/export" => ["ndjson", "csv"].map(|format| format!("export?format={format}")).into(),
        "/entries/key" | "/entries/history" => [ALL, WRONG].map(|key| format!("{}?key={key}", &path[1..])).into(),
        "/entries/record" => vec![format!("entries/record?key={ALL}&at=0")],
        "/entries/effective" => ["web-01", "unknown"].map(|host| format!("entries/effective?host={host}")).into(),
        "/entries/keys" => ["", "?wrong=true"].map(|which| format!("entries/keys{which}")).into(),
        "/paths" => vec!["paths?path=/var".into()],
        "/agents" => ["", "?troubled=true", "?q=web"].map(|which| format!("agents{which}")).into(),
        path => vec![path[1..].into()],
    }
}

#[test]
fn of_other_topics_nothing_is_found_whatever_is_asked() {
    let (server, root, shopper, _) = server();
    let (_, described) = call(&server, "GET", "openapi.json", "", "");
    let (mut open, mut secret) = (0, Vec::new());
    let mut paths: Vec<String> = Vec::new();
    for (path, operations) in described["paths"].as_object().unwrap() {
        // The live tail has no end, and a test of its own.
        if operations["get"].is_object() && !path.ends_with("/live") {
            let path = path.strip_prefix("/api/v1").unwrap();
            paths.extend(questions(path).into_iter().map(|question| format!("/api/v1/{question}")));
        }
    }
    paths.extend(
        ["/files", "/metrics", "/health", "/", "/collect", "/agents", "/pipeline", "/people"].map(str::to_owned),
    );
    for path in &paths {
        let (status, head, body) = send(&server, "GET", path, &shopper.headers(), "");
        assert!([200, 403, 404].contains(&status), "{path}: {status} {body}");
        assert!(!format!("{head}{body}").contains(SECRET), "{path}: {body}");
        open += usize::from(status == 200);
        let (_, _, all) = send(&server, "GET", path, &root.headers(), "");
        if all.contains(SECRET) {
            secret.push(path.split(['?', '{']).next().unwrap_or(path).trim_start_matches("/api/v1/"));
        }
    }
    assert!(open > 20, "{open} of {}", paths.len());
    // There was something to be found.
    for path in ["search", "values", "export", "searches", "entries", "entries/keys", "entries/key", "banner"] {
        assert!(secret.contains(&path), "{path}: {secret:?}");
    }
    for path in [
        "entries/record",
        "entries/effective",
        "entries/export",
        "agents",
        "pipeline",
        "collected",
        "/files",
        "/health",
    ] {
        assert!(secret.contains(&path), "{path}: {secret:?}");
    }
}

#[test]
fn what_is_of_their_topics_is_told_and_what_can_only_be_told_as_a_whole_is_refused_with_the_reason() {
    let (server, _, shopper, editor) = server();
    let ask = |who: &Login, path: &str| {
        let (status, _, body) = send(&server, "GET", &format!("/api/v1/{path}"), &who.headers(), "");
        (status, serde_json::from_str::<Value>(&body).unwrap_or_default())
    };
    let (_, entries) = ask(&shopper, "entries");
    assert_eq!((&entries["total"], &entries["wrong"]), (&json!(2), &json!(1)), "{entries}");
    assert_eq!(entries["entries"][0]["entry"]["topic"], "shop");
    let (_, keys) = ask(&shopper, "entries/keys");
    assert_eq!((&keys["total"], &keys["keys"][0]["entries"]), (&json!(2), &json!(1)), "{keys}");
    let mistake = &keys["keys"].as_array().unwrap().iter().find(|row| row["key"] == WRONG).unwrap()["mistake"];
    assert!(mistake["reason"].as_str().unwrap().contains("only who may see all topics"), "{mistake}");
    // Words of what isn't shown find nothing, and so does a key that has nothing to show.
    for path in ["entries?q=bank", "entries/keys?q=bank", "entries?key=/logweir/collect/host/bank-01", "agents?q=bank"]
    {
        assert_eq!(ask(&shopper, path).1["total"], 0, "{path}");
    }
    let (_, effective) = ask(&shopper, "entries/effective?host=web-01");
    let agent = &effective["agents"][0];
    assert_eq!((&agent["keys"], &agent["wrong"]), (&json!([ALL, WRONG]), &json!([WRONG])), "{effective}");
    assert_eq!(agent["entries"].as_array().unwrap().len(), 1, "{effective}");
    let (_, searches) = ask(&shopper, "searches");
    assert_eq!(searches.as_object().unwrap().keys().collect::<Vec<_>>(), ["mine"]);
    let (status, _, figures) = send(&server, "GET", "/metrics", &shopper.headers(), "");
    assert!(status == 403 && figures.contains("all topics"), "{status} {figures}");
    for path in ["entries/key?key=x", "entries/history?key=x", "entries/record?key=x&at=0", "entries/export"] {
        let (status, refused) = ask(&shopper, path);
        assert_eq!(status, 403, "{path}");
        assert!(refused["error"].as_str().unwrap().contains("other topics"), "{refused}");
    }
    // Who changes keys changes them as a whole, and so has to see them.
    assert_eq!(ask(&editor, "entries").1["total"], 5);
    assert!(ask(&editor, &format!("entries/key?key={ALL}")).1["text"].as_str().unwrap().contains(SECRET));
    assert!(!ask(&editor, "search").1.to_string().contains(SECRET), "lines are another matter");
}
