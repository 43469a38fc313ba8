//! The collection: what its calls promise, and the page that uses them.

use crate::{
    api::{get, send},
    browser::Browser,
    fake::Fake,
};
use serde_json::{Value, json};

const ALL: &str = "/logweir/collect/all";
const OWN: &str = "X-Logweir: 1\r\n";

fn put(server: &Fake, key: &str, seen: i64, text: &str) -> (u16, Value) {
    let (status, _, body) =
        send(server, "PUT", &format!("/api/v1/entries/key?key={key}"), &format!("{OWN}If-Match: \"{seen}\"\r\n"), text);
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

fn post(server: &Fake, call: &str, body: &Value) -> (u16, Value) {
    let headers = format!("{OWN}Content-Type: application/json\r\n");
    let (status, _, answer) = send(server, "POST", &format!("/api/v1/entries/{call}"), &headers, &body.to_string());
    (status, serde_json::from_str(&answer).unwrap_or(Value::Null))
}

fn records(server: &Fake, key: &str) -> Vec<Value> {
    get(server, &format!("/api/v1/entries/history?key={key}")).1["records"].as_array().unwrap().clone()
}

#[test]
fn a_change_needs_the_revision_that_was_seen_and_the_second_gets_both_versions() {
    let server = Fake::with_keys();
    let entry = |path: &str| format!("[{{\"path\":\"{path}\",\"topic\":\"t\"}}]");
    let (_, none) = get(&server, &format!("/api/v1/entries/key?key={ALL}"));
    assert_eq!((&none["revision"], &none["may_write"]), (&json!(0), &json!(true)));
    let (status, done) = put(&server, ALL, 0, &entry("/a"));
    assert_eq!(status, 200, "{done}");
    let first = done["revision"].as_i64().unwrap();
    assert_eq!(put(&server, ALL, first, &entry("/b")).0, 200);
    let (status, conflict) = put(&server, ALL, first, &entry("/c"));
    assert_eq!((status, conflict["text"].as_str()), (409, Some(entry("/b").as_str())));
    let diff = conflict["diff"].as_str().unwrap();
    assert!(diff.contains("-    \"path\": \"/b\"") && diff.contains("+    \"path\": \"/c\""), "{diff}");
    let path = format!("/api/v1/entries/key?key={ALL}");
    assert_eq!(send(&server, "PUT", &path, OWN, "[]").0, 400, "without a revision");
    assert_eq!(send(&server, "DELETE", &path, &format!("{OWN}If-Match: {first}\r\n"), "").0, 409);
    // What is deleted while somebody edits it is told as that.
    let now = conflict["revision"].as_i64().unwrap();
    assert_eq!(send(&server, "DELETE", &path, &format!("{OWN}If-Match: {now}\r\n"), "").0, 200);
    let (status, gone) = put(&server, ALL, now, &entry("/d"));
    assert_eq!((status, &gone["text"], &gone["revision"]), (409, &Value::Null, &json!(0)));
    assert!(gone["error"].as_str().unwrap().contains("deleted"), "{gone}");
    assert_eq!(records(&server, ALL).iter().map(|r| r["deleted"] == true).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn what_is_wrong_is_told_by_entry_and_field_and_never_written() {
    let server = Fake::with_keys();
    let wrong = "[\n{\"path\":\"/a\",\"topic\":\"t\"},\n{\"path\":\"/var/[\",\"topic\":\"t\"}]";
    let (status, refused) = put(&server, ALL, 0, wrong);
    assert_eq!(
        (status, &refused["entry"], &refused["field"], &refused["line"]),
        (400, &json!(1), &json!("path"), &json!(3))
    );
    let (_, checked) = post(&server, "check", &json!({ "key": ALL, "text": wrong }));
    assert_eq!((&checked["mistake"]["field"], &checked["revision"]), (&json!("path"), &json!(0)));
    let good = "[{\"path\":\"/a\",\"topic\":\"t\"}]";
    let (_, checked) = post(&server, "check", &json!({ "key": ALL, "text": good }));
    assert!(checked["mistake"].is_null() && checked["diff"].as_str().unwrap().contains("+    \"path\": \"/a\""));
    assert_eq!(get(&server, "/api/v1/entries").1["total"], 0);
    for key in [
        "elasticsearch_config",
        "/logweir/users/anna",
        "/logweir/collect/host/a/b",
        "/logweir/collect/host/%7Bhost%7D",
        "",
    ] {
        let (status, refused) = put(&server, key, 0, good);
        assert!(status == 400 && refused["error"].as_str().unwrap().contains("no key of entries"), "{key}: {refused}");
        assert_ne!(get(&server, &format!("/api/v1/entries/key?key={key}")).0, 200, "{key}");
    }
    let megabyte: Vec<Value> =
        (0..20_000).map(|n| json!({ "path": format!("/var/log/{n}/a.log"), "topic": "t" })).collect();
    let (status, refused) = put(&server, ALL, 0, &json!(megabyte).to_string());
    assert!(status == 413 && refused["error"].as_str().unwrap().contains("groups or hosts"), "{status} {refused}");
    assert!(server.kept.book.key(ALL).is_none());
}

#[test]
fn a_text_of_the_history_is_restored_and_changes_from_outside_are_in_it() {
    let server = Fake::with_keys();
    let first = put(&server, ALL, 0, "[{\"path\":\"/a\",\"topic\":\"t\"}]").1["revision"].as_i64().unwrap();
    put(&server, ALL, first, "[]");
    server.kept.outside(ALL, Some("no JSON"));
    let mut found = records(&server, ALL);
    // The record is written by the server as soon as it gets to it.
    for _ in 0..200 {
        if found.len() == 3 {
            break;
        }
        std::thread::yield_now();
        found = records(&server, ALL);
    }
    assert_eq!(
        found.iter().map(|r| r["from"].as_str().unwrap()).collect::<Vec<_>>(),
        ["outside", "console", "console"]
    );
    assert_eq!(found[1]["author"], "local");
    let (_, listed) = get(&server, "/api/v1/entries/keys?wrong=true");
    assert!(
        listed["wrong"] == 1 && listed["keys"][0]["mistake"]["reason"].as_str().unwrap().contains("JSON"),
        "{listed}"
    );
    let at = &found[2]["at"];
    let (_, record) = get(&server, &format!("/api/v1/entries/record?key={ALL}&at={at}"));
    assert!(
        record["text"].as_str().unwrap().contains("/a") && record["diff"].as_str().unwrap().contains("+    \"path\"")
    );
    let now = server.kept.book.key(ALL).unwrap().item.revision;
    assert_eq!(post(&server, "restore", &json!({ "key": ALL, "at": at, "seen": first })).0, 409);
    assert_eq!(post(&server, "restore", &json!({ "key": ALL, "at": at, "seen": now })).0, 200);
    assert_eq!(get(&server, "/api/v1/entries").1["entries"][0]["entry"]["path"], "/a");
    // A text that was wrong then is wrong now.
    let now = server.kept.book.key(ALL).unwrap().item.revision;
    assert_eq!(post(&server, "restore", &json!({ "key": ALL, "at": found[0]["at"], "seen": now })).0, 400);
    assert_eq!(post(&server, "restore", &json!({ "key": ALL, "at": 12345, "seen": now })).0, 404);
}

#[test]
fn a_file_of_keys_is_looked_at_and_then_written_only_as_it_was_looked_at() {
    let server = Fake::with_keys();
    put(&server, ALL, 0, "[{\"path\":\"/a\",\"topic\":\"t\"}]");
    let keys = json!({
        ALL: [{ "path": "/b", "topic": "t" }], "/logweir/collect/host/new": [{ "path": "/c", "topic": "t" }],
        "/logweir/collect/host/wrong": [{ "path": "/c" }], "somewhere": [],
    });
    let (_, look) = post(&server, "import", &json!({ "keys": keys }));
    let result = |answer: &Value, key: &str| {
        answer["keys"].as_array().unwrap().iter().find(|row| row["key"] == key).unwrap()["result"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        [ALL, "/logweir/collect/host/new", "/logweir/collect/host/wrong", "somewhere"].map(|key| result(&look, key)),
        ["change", "new", "wrong", "no_key"]
    );
    assert_eq!(get(&server, "/api/v1/entries").1["total"], 1, "a look writes nothing");
    let seen = server.kept.book.key(ALL).unwrap().item.revision;
    server.kept.outside(ALL, Some("[]"));
    let seen = json!({ ALL: seen, "/logweir/collect/host/new": 0 });
    let (_, done) = post(&server, "import", &json!({ "keys": keys, "seen": seen }));
    assert_eq!(
        [ALL, "/logweir/collect/host/new", "somewhere"].map(|key| result(&done, key)),
        ["conflict", "done", "no_key"]
    );
    let (_, head, export) = send(&server, "GET", "/api/v1/entries/export", "", "");
    assert!(head.contains("attachment"), "{head}");
    let export: Value = serde_json::from_str(&export).unwrap();
    assert_eq!(export, json!({ ALL: [], "/logweir/collect/host/new": [{ "path": "/c", "topic": "t" }] }));
}

#[test]
fn the_file_of_standalone_is_changed_by_hand_and_by_the_page() {
    let server = Fake::start();
    let file = server.folder.path().join("collect.json");
    std::fs::write(&file, "[{\"path\":\"/a\",\"topic\":\"t\"}]").unwrap();
    let (_, key) = get(&server, "/api/v1/entries/key?key=collect.json");
    assert_eq!(key["entries"], 1);
    let seen = key["revision"].as_i64().unwrap();
    std::fs::write(&file, "[]").unwrap();
    let (status, conflict) = put(&server, "collect.json", seen, "[{\"path\":\"/b\",\"topic\":\"t\"}]");
    assert_eq!((status, conflict["text"].as_str()), (409, Some("[]")));
    let now = conflict["revision"].as_i64().unwrap();
    assert_eq!(put(&server, "collect.json", now, "[{\"path\":\"b\",\"topic\":\"t\"}]").0, 200);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "[{\"path\":\"b\",\"topic\":\"t\"}]");
    let from: Vec<Value> = records(&server, "collect.json").iter().map(|record| record["from"].clone()).collect();
    assert_eq!(from[0], "console");
    assert_eq!(from[1], "outside");
    assert_eq!(get(&server, "/api/v1/entries/effective?host=any").1["assumed"]["entries"][0]["entry"]["path"], "b");
}

#[test]
fn an_entry_is_added_changed_copied_and_removed_on_the_page() {
    let server = Fake::with_keys();
    put(&server, ALL, 0, "[{\"path\":\"/var/log/a.log\",\"topic\":\"a\",\"labels\":{\"team\":\"shop\"}}]");
    let browser = Browser::start("collection");
    browser.open(&server.url("/collect"));
    browser.wait("the entry", "document.querySelectorAll('#entries tbody tr').length === 1");
    // Copied into the key of a host.
    browser.click("#entries .actions button:nth-child(2)");
    assert_eq!(browser.text("document.querySelector('#labels').value"), "team=shop");
    browser.get("(document.querySelector('#key').value = '/logweir/collect/host/web-01', document.querySelector('#path').value = '/var/[')");
    browser.click("#save");
    browser.wait(
        "the mistake at its field",
        "document.activeElement.id === 'path' && document.activeElement.getAttribute('aria-invalid')",
    );
    browser.look("mistake");
    browser.get("document.querySelector('#path').value = '/var/log/b.log'");
    browser.get("(document.querySelector('#max').value = '7', document.querySelector('#advanced').open = true)");
    browser.click("#save");
    browser.wait(
        "the mistake at the other field, by the browser or the server",
        "document.querySelector('#max:invalid, #max[aria-invalid]')",
    );
    browser.get("document.querySelector('#max').value = '1000'");
    browser.click("#save");
    browser.wait("the difference", "document.querySelector('#review[open] ins')");
    browser.look("difference");
    browser.click("#review footer .primary");
    browser.wait("both entries", "document.querySelectorAll('#entries tbody tr').length === 2");
    let host = server.kept.book.key("/logweir/collect/host/web-01").unwrap().rows[0].json.clone();
    assert_eq!(
        host,
        json!({ "path": "/var/log/b.log", "topic": "a", "labels": { "team": "shop" }, "max_line_bytes": 1000 })
    );
    // Found by a word, and changed.
    browser.get("(document.querySelector('#words').value = 'web-01', document.querySelector('#words').dispatchEvent(new Event('input')))");
    browser.wait("one of them", "document.querySelectorAll('#entries tbody tr').length === 1");
    browser.click("#entries .actions button:first-child");
    browser.get("document.querySelector('#topic').value = 'other'");
    browser.click("#save");
    browser.wait("the difference", "document.querySelector('#review[open] ins')");
    browser.click("#review footer .primary");
    browser.wait("the change", "document.querySelector('#entries td a')?.textContent === 'other'");
    browser.click("#entries .actions button:last-child");
    browser.wait("the difference", "document.querySelector('#review[open] del')");
    browser.click("#review footer .primary");
    browser.wait("nothing of it", "!document.querySelector('#entries tbody')");
    assert_eq!(server.kept.book.key("/logweir/collect/host/web-01").unwrap().item.value, b"[]\n");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn two_editors_see_both_versions_and_neither_loses_a_change() {
    let server = Fake::with_keys();
    put(&server, ALL, 0, "[{\"path\":\"/a\",\"topic\":\"t\"},{\"path\":\"/b\",\"topic\":\"t\"}]");
    let browser = Browser::start("conflict");
    browser.open(&server.url("/collect"));
    browser.wait("the entries", "document.querySelectorAll('#entries tbody tr').length === 2");
    browser.click("#entries .actions button:first-child");
    browser.get("document.querySelector('#path').value = '/mine'");
    browser.click("#save");
    browser.wait("the difference", "document.querySelector('#review[open] ins')");
    server.kept.outside(ALL, Some("[{\"path\":\"/a\",\"topic\":\"t\"},{\"path\":\"/theirs\",\"topic\":\"t\"}]"));
    browser.click("#review footer .primary");
    browser.wait("both versions", "document.querySelectorAll('#review[open] .version').length === 2");
    browser.look("conflict");
    browser.click("#review footer .primary");
    browser.wait("the change to theirs", "document.querySelector('#review[open] ins')?.textContent.includes('/mine')");
    browser.click("#review footer .primary");
    browser.wait("both changes", "document.querySelector('#entries').textContent.includes('/mine') && document.querySelector('#entries').textContent.includes('/theirs')");
    assert!(!browser.text("document.querySelector('#entries').textContent").contains("/a"));
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|text| text.contains("409 (Conflict)")), "{complaints:?}");
}

#[test]
fn a_key_that_others_broke_is_shown_repaired_and_taken_back_to_an_old_text() {
    let server = Fake::with_keys();
    let host = "/logweir/collect/host/<img src=x onerror=\"document.title='taken'\">";
    put(&server, ALL, 0, "[{\"path\":\"/a\",\"topic\":\"t\"}]");
    server.kept.outside(ALL, Some("[\n  {\"path\":\"/a\",\"topik\":\"t\"}\n]"));
    server.kept.outside(host, Some("[{\"path\":\"<b>bold</b>\",\"topic\":\"t\"}]"));
    let browser = Browser::start("repair");
    browser.open(&server.url("/collect"));
    browser.wait(
        "the mistake",
        "document.querySelector('#wrong-keys:not([hidden]) .banner')?.textContent.includes('did you mean \"topic\"')",
    );
    browser.look("wrong-key");
    browser.click("#wrong-keys button");
    browser.wait(
        "the text",
        "document.querySelector('#of-key[open]') && document.querySelector('#key-text').value.includes('topik')",
    );
    browser.wait("its history", "document.querySelectorAll('#key-history li').length === 2");
    browser.click("#key-save");
    browser.wait(
        "where it is wrong",
        "!document.querySelector('#key-refused').hidden && document.querySelector('#key-text').selectionStart === 17",
    );
    browser.look("key");
    // Back to what was there before.
    browser.click("#key-history li:last-child summary");
    browser.wait("what it changed", "document.querySelector('#key-history li:last-child ins')");
    browser.click("#key-history li:last-child button");
    browser.wait("what would change", "document.querySelector('#review[open] .diff')");
    browser.look("restore");
    browser.click("#review footer .primary");
    browser.wait(
        "the old text",
        "document.querySelector('#key-text').value.includes('topic') && document.querySelector('#wrong-keys').hidden",
    );
    browser.wait("a record of it", "document.querySelectorAll('#key-history li').length === 3");
    browser.click("#key-close");
    browser.get("(document.querySelector('#host').value = 'web-09')");
    browser.click("#effective button");
    browser.wait("what it collects", "document.querySelector('#review[open] table')");
    browser.look("effective");
    browser.click("#review footer button");
    assert_eq!(browser.get("document.querySelectorAll('main img, main b, dialog img').length"), 0);
    assert!(browser.text("document.title").contains("logweir"));
    assert_eq!(browser.complaints(), [""; 0]);
}
