//! Who may do what: every call of the API, by everybody there can be.

use crate::{api::send, fake::Fake};
use logweir::{
    console::{Author, Ends, Entrance, Role, Topics, Users},
    store::{FileStore, Store as _, Write},
    telemetry::{DeadLetterSample, DeadLetterStatus, Status, TopicStatus},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

pub const PASSWORD: &str = "correct horse battery";
const OWN: &str = "X-Logweir: 1\r\n";

/// A console with users, all with the same password.
pub fn with_users(users: &[(&str, Role, &[&str])]) -> Fake {
    entered_by(users, Entrance::login())
}

fn entered_by(users: &[(&str, Role, &[&str])], entrance: Entrance) -> Fake {
    Fake::with(entrance, Some(folder_with(users)))
}

/// The data folder of a console with users.
pub fn folder_with(users: &[(&str, Role, &[&str])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = Users::new(Arc::new(FileStore::new(folder.path().join("console.json"))));
    let author = Author { name: "test".into(), address: "command line".into() };
    let hash = Users::hash(PASSWORD).unwrap();
    actix_rt::System::new().block_on(async {
        for (name, role, topics) in users {
            let topics = Topics::try_from(topics.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()).unwrap();
            store.add(&author, name, (*role, topics, hash.clone()), false).await.unwrap();
        }
    });
    folder
}

fn people() -> Fake {
    with_users(&[
        ("root", Role::Admin, &["*"]),
        ("vera", Role::Viewer, &["*"]),
        ("edda", Role::Editor, &["*"]),
        ("gone", Role::Admin, &["*"]),
        ("idle", Role::Admin, &["*"]),
    ])
}

/// What a browser keeps after a login.
#[derive(Clone, Debug)]
pub struct Login {
    pub cookies: String,
    pub csrf: String,
}

impl Login {
    /// Headers of a change.
    pub fn headers(&self) -> String {
        format!("{OWN}Cookie: {}\r\nX-CSRF-Token: {}\r\n", self.cookies, self.csrf)
    }
}

fn try_login(server: &Fake, name: &str, password: &str, headers: &str) -> (u16, String, Value) {
    let body = json!({ "name": name, "password": password }).to_string();
    let (status, head, body) = send(server, "POST", "/api/v1/login", &format!("{OWN}{headers}"), &body);
    (status, head, serde_json::from_str(&body).unwrap_or_default())
}

fn cookies(head: &str) -> String {
    let set = head.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
    set.filter_map(|cookie| cookie.split(';').next()).collect::<Vec<_>>().join("; ")
}

pub fn login(server: &Fake, name: &str) -> Login {
    let (status, head, body) = try_login(server, name, PASSWORD, "");
    assert_eq!(status, 200, "{body}");
    Login { cookies: cookies(&head), csrf: body["csrf"].as_str().unwrap().to_owned() }
}

pub fn call(server: &Fake, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let (status, _, body) = send(server, method, &format!("/api/v1/{path}"), headers, body);
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// Only the status: the answer may have no end.
fn status(server: &Fake, method: &str, path: &str, headers: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}", server.address);
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).unwrap();
    std::str::from_utf8(&begin[9..]).unwrap().parse().unwrap()
}

fn store(server: &Fake) -> FileStore {
    FileStore::new(server.folder.path().join("console.json"))
}

/// All that the store has written: its own file, and the audit.
fn kept_by(server: &Fake) -> String {
    let folder = server.folder.path();
    let mut files = vec![folder.join("console.json")];
    files.extend(fs::read_dir(folder.join("console.audit")).unwrap().map(|file| file.unwrap().path()));
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

fn in_store<T>(run: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(run)
}

/// All that can be changed, without what is only noted: sessions, the audit, when a token was used.
fn state(server: &Fake) -> BTreeMap<String, String> {
    let items = in_store(store(server).list("/", None, 10_000)).unwrap();
    let items =
        items.into_iter().filter(|i| !["/logweir/sessions/", "/logweir/audit/"].iter().any(|p| i.key.starts_with(p)));
    let mut all: BTreeMap<String, String> = items
        .map(|item| {
            let mut value: Value = serde_json::from_slice(&item.value).unwrap_or_default();
            if let Some(used) = value.get_mut("last_used_ms") {
                *used = Value::Null;
            }
            (item.key, value.to_string())
        })
        .collect();
    for file in ["collect.json", "searches.json"] {
        all.insert(file.into(), fs::read_to_string(server.folder.path().join(file)).unwrap_or_default());
    }
    all
}

fn make_token(server: &Fake, owner: &Login, wanted: &Value) -> String {
    let (status, made) = call(server, "POST", "tokens", &owner.headers(), &wanted.to_string());
    assert_eq!(status, 201, "{made}");
    made["token"].as_str().unwrap().to_owned()
}

/// Bodies that would change something.
fn harmful(method: &str, path: &str) -> Value {
    match (method, path) {
        ("post", "/api/v1/users") => json!({ "name": "mallory", "role": "admin", "password": PASSWORD }),
        ("put", "/api/v1/users/{name}") => json!({ "disabled": true }),
        ("post", "/api/v1/tokens") => json!({ "name": "x", "role": "viewer", "days": 1 }),
        ("put", "/api/v1/me/password") => json!({ "old": PASSWORD, "new": "another correct horse" }),
        ("put", "/api/v1/connection") => json!({ "url_address": ["http://evil.example"] }),
        ("put", "/api/v1/collection") => json!([{ "path": "/etc/shadow", "topic": "t" }]),
        _ => json!({}),
    }
}

#[test]
fn every_call_by_everybody() {
    let server = people();
    let [root, vera, edda, gone, idle] = ["root", "vera", "edda", "gone", "idle"].map(|name| login(&server, name));
    let token = make_token(&server, &vera, &json!({ "name": "ci", "role": "viewer", "days": 1 }));
    let ended = make_token(&server, &gone, &json!({ "name": "ci", "role": "admin", "days": 1 }));
    let (status_of, _) = call(&server, "PUT", "users/gone", &root.headers(), r#"{"disabled":true}"#);
    assert_eq!(status_of, 200);
    // Nobody has used it for long.
    in_store(async {
        let store = store(&server);
        for item in store.list("/logweir/sessions/", None, 100).await.unwrap() {
            let mut session: Value = serde_json::from_slice(&item.value).unwrap();
            if session["user"] == "idle" {
                session["seen_ms"] = json!(session["seen_ms"].as_i64().unwrap() - 1_800_000);
                store.commit(vec![], vec![Write::put(item.key, session.to_string())]).await.unwrap();
            }
        }
    });
    let forged = Login { cookies: root.cookies.replace(['a', '3', '7'], "0"), csrf: root.csrf.clone() };
    let other = if token.ends_with('0') { '1' } else { '0' };
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let rank = |role: &str| ["none", "viewer", "editor", "admin"].iter().position(|r| *r == role).unwrap();
    let everybody: Vec<(&str, String, usize)> = vec![
        ("nobody", OWN.into(), 0),
        ("viewer", vera.headers(), 1),
        ("editor", edda.headers(), 2),
        ("admin", root.headers(), 3),
        ("viewer's token", bearer(&token), 1),
        ("disabled user", gone.headers(), 0),
        ("disabled user's token", bearer(&ended), 0),
        ("expired session", idle.headers(), 0),
        ("forged cookie", forged.headers(), 0),
        ("forged token", bearer(&format!("{}{}", &token[..token.len() - 1], other)), 0),
        ("nonsense", "Authorization: Basic cm9vdDpyb290\r\n".into(), 0),
    ];
    let (_, described) = call(&server, "GET", "openapi.json", "", "");
    let before = state(&server);
    let (mut tried, mut last) = (0, Vec::new());
    for (path, operations) in described["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let least = rank(operation["x-least-role"].as_str().unwrap());
            let address = path.replace("{name}", "vera").replace("{id}", "0000000000000000");
            for (who, headers, rank) in &everybody {
                if path.ends_with("/logout") && rank >= &least {
                    last.push((address.clone(), headers.clone()));
                    continue;
                }
                // Who is let in does no harm with half a body.
                let takes_body = operation["requestBody"].is_object();
                let body = match (takes_body, *rank >= least) {
                    (false, _) => String::new(),
                    (true, true) => "[".into(),
                    (true, false) => harmful(method, path).to_string(),
                };
                let status = status(&server, &method.to_uppercase(), &address, headers, &body);
                let allowed = match (*rank >= least, *rank) {
                    (true, _) => status != 401 && (status != 403 || *who == "viewer's token"),
                    (false, 0) => status == 401,
                    (false, _) => status == 403,
                };
                assert!(allowed, "{method} {path} by {who}: {status}");
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "{tried}");
    assert_eq!(state(&server), before, "nothing was changed");
    for (address, headers) in last {
        assert_eq!(status(&server, "POST", &address, &headers, ""), 204);
    }
    for login in [&vera, &edda, &root] {
        assert_eq!(call(&server, "GET", "me", &login.headers(), "").0, 401, "logged out");
    }
    // Pages and figures, too.
    for (path, expected) in [("/", 303), ("/collect", 303), ("/people", 303), ("/metrics", 401), ("/nothing", 401)] {
        assert_eq!(status(&server, "GET", path, "", ""), expected, "{path}");
    }
    for path in ["/health/live", "/login"] {
        assert_eq!(status(&server, "GET", path, "", ""), 200, "{path}");
    }
}

#[test]
fn a_change_by_a_session_needs_its_own_csrf_token() {
    let server = people();
    let (root, other) = (login(&server, "root"), login(&server, "root"));
    for headers in [
        format!("{OWN}Cookie: {}\r\n", root.cookies),
        format!("{OWN}Cookie: {}\r\nX-CSRF-Token: {}\r\n", root.cookies, other.csrf),
        format!("Cookie: {}\r\nX-CSRF-Token: {}\r\n", root.cookies, root.csrf),
    ] {
        assert_eq!(call(&server, "PUT", "searches/a", &headers, "{}").0, 403, "{headers}");
    }
    assert_eq!(call(&server, "PUT", "searches/a", &root.headers(), "{}").0, 204);
}

#[test]
fn cookies_are_hidden_from_scripts_and_sites_and_their_words_from_the_store() {
    let server = people();
    let (_, head, body) = try_login(&server, "root", PASSWORD, "");
    let set: Vec<&str> = head.lines().filter(|line| line.starts_with("set-cookie: ")).collect();
    assert_eq!(set.len(), 2);
    for cookie in &set {
        assert!(cookie.contains("; path=/; httponly; samesite=strict") && !cookie.contains("domain"), "{cookie}");
    }
    let text = kept_by(&server);
    assert!(text.contains("root") && text.contains("login"));
    for cookie in set {
        let word = cookie.split(['=', ';']).nth(1).unwrap();
        assert!(word.len() >= 64 && !text.contains(word), "{cookie}");
    }
    assert!(!body.to_string().contains("argon2"));
    let (_, users) = call(&server, "GET", "users", &login(&server, "root").headers(), "");
    assert!(users[0]["name"].is_string() && !users.to_string().contains("argon2"), "{users}");
}

#[test]
fn another_password_ends_all_that_the_old_one_opened() {
    let server = people();
    let (root, vera, elsewhere) = (login(&server, "root"), login(&server, "vera"), login(&server, "vera"));
    let token = make_token(&server, &vera, &json!({ "name": "ci", "role": "viewer", "days": 1 }));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(call(&server, "GET", "me", &bearer, "").1["by"], "token");
    let change = json!({ "old": "wrong horse battery", "new": "a new horse battery" }).to_string();
    assert_eq!(call(&server, "PUT", "me/password", &vera.headers(), &change).0, 403);
    let weak = json!({ "old": PASSWORD, "new": "short" }).to_string();
    assert_eq!(call(&server, "PUT", "me/password", &vera.headers(), &weak).0, 400);
    assert_eq!(call(&server, "GET", "me", &elsewhere.headers(), "").0, 200);
    let change = json!({ "old": PASSWORD, "new": "a new horse battery" }).to_string();
    let (status, head, _) = send(&server, "PUT", "/api/v1/me/password", &vera.headers(), &change);
    assert_eq!(status, 200);
    for headers in [vera.headers(), elsewhere.headers(), bearer] {
        assert_eq!(call(&server, "GET", "me", &headers, "").0, 401);
    }
    let renewed = format!("Cookie: {}\r\n", cookies(&head));
    assert_eq!(call(&server, "GET", "me", &renewed, "").1["name"], "vera", "who changed it stays in");
    assert_eq!(try_login(&server, "vera", PASSWORD, "").0, 401);
    // An admin's change does the same.
    let reset = json!({ "password": "yet another horse" }).to_string();
    assert_eq!(call(&server, "PUT", "users/vera", &root.headers(), &reset).0, 200);
    assert_eq!(call(&server, "GET", "me", &renewed, "").0, 401);
    assert_eq!(try_login(&server, "vera", "yet another horse", "").0, 200);
}

#[test]
fn whoever_guesses_is_soon_slow_and_keeps_nobody_out_whose_browser_is_known() {
    let server = people();
    let (_, head, _) = try_login(&server, "vera", PASSWORD, "");
    let known = format!("Cookie: {}\r\n", cookies(&head));
    let mut answers = BTreeMap::<u16, usize>::new();
    for i in 0..60 {
        let (status, head, body) = try_login(&server, "vera", &format!("wrong password {i}"), "");
        *answers.entry(status).or_default() += 1;
        match status {
            401 => assert_eq!(body["error"], "the name or the password is wrong"),
            429 => assert!(head.contains("retry-after: "), "{head}"),
            other => panic!("{other}: {body}"),
        }
    }
    assert_eq!(answers[&401], 6, "{answers:?}");
    assert_eq!(try_login(&server, "vera", PASSWORD, "").0, 429, "not even with the right one, from there");
    assert_eq!(try_login(&server, "vera", PASSWORD, &known).0, 200, "the browser that was in before");
    assert_eq!(try_login(&server, "root", PASSWORD, &known).0, 200, "others");
    let (status, _, unknown) = try_login(&server, "nobody-there", "wrong password", "");
    assert_eq!((status, &unknown["error"]), (401, &json!("the name or the password is wrong")));
}

#[test]
fn a_program_that_logs_in_for_each_call_is_held_back_and_keeps_few_sessions() {
    let server = people();
    let early = login(&server, "vera");
    let all: Vec<Login> = (1..60).map(|_| login(&server, "vera")).collect();
    let (status, head, refused) = try_login(&server, "vera", PASSWORD, &format!("Cookie: {}\r\n", early.cookies));
    assert_eq!(status, 429, "{refused}");
    assert!(head.contains("retry-after: ") && refused["error"].as_str().unwrap().contains("make a token"), "{refused}");
    let sessions = in_store(store(&server).list("/logweir/sessions/", None, 1_000)).unwrap();
    assert_eq!(sessions.len(), 50);
    assert_eq!(call(&server, "GET", "me", &early.headers(), "").0, 401, "the oldest has ended");
    assert_eq!(call(&server, "GET", "me", &all[58].headers(), "").0, 200);
    // What it leaves is a record each, and others come in.
    let root = login(&server, "root");
    let (_, audit) = call(&server, "GET", "audit?action=login&author=vera&size=1000", &root.headers(), "");
    assert_eq!(audit["records"].as_array().unwrap().len(), 60);
    assert_eq!(audit["records"][0]["detail"], "more than 50 sessions; 1 ended");
    // Another password for each call is no way round.
    let change = json!({ "old": PASSWORD, "new": "a new horse battery" }).to_string();
    assert_eq!(call(&server, "PUT", "me/password", &all[58].headers(), &change).0, 429);
}

/// A live tail that stays open as long as it is kept; only its status is read.
pub fn watch(server: &Fake, who: &Login) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /api/v1/live HTTP/1.1\r\nHost: {}\r\n{}\r\n", server.address, who.headers()).unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).unwrap();
    (std::str::from_utf8(&begin[9..]).unwrap().parse().unwrap(), stream)
}

#[test]
fn one_persons_live_tails_leave_room_for_others() {
    let server = people();
    let (vera, again, edda) = (login(&server, "vera"), login(&server, "vera"), login(&server, "edda"));
    let mut open: Vec<_> = (0..20).map(|n| watch(&server, if n % 2 == 0 { &vera } else { &again })).collect();
    assert!(open.iter().all(|(status, _)| *status == 200));
    assert_eq!(watch(&server, &vera).0, 429);
    let (_, refused) = call(&server, "GET", "live", &vera.headers(), "");
    assert!(refused["error"].as_str().unwrap().contains("close one"), "{refused}");
    assert_eq!(watch(&server, &edda).0, 200);
    open.pop();
    crate::support::wait_for("the place of the one that is closed", Duration::from_secs(30), || {
        (watch(&server, &vera).0 == 200).then_some(())
    });
}

#[test]
fn whether_it_is_well_is_told_to_machines_and_why_not_to_people() {
    let server = with_users(&[("root", Role::Admin, &["*"]), ("shopper", Role::Viewer, &["shop*"])]);
    let ask = |path: &str, headers: &str| {
        let (status, _, body) = send(&server, "GET", path, headers, "");
        (status, body)
    };
    let plain = |status: u16, told: &str| (status, format!("{{\"status\":\"{told}\"}}"));
    let (root, shopper) = (login(&server, "root"), login(&server, "shopper"));
    let forged = "Authorization: Bearer lw_none\r\n".to_owned();
    server.kept.health.not_ready("kafka", "broker-7 doesn't answer");
    for headers in [String::new(), forged, shopper.headers()] {
        assert_eq!(ask("/health", &headers), plain(503, "not ready"));
        assert_eq!(ask("/health/ready", &headers), plain(503, "not ready"));
        assert_eq!(ask("/health/live", &headers), plain(200, "not ready"));
    }
    let (status, told) = ask("/health", &root.headers());
    assert!(status == 503 && told.contains("broker-7"), "{told}");
    server.kept.health.ready("kafka");
    assert_eq!(ask("/health", ""), plain(200, "ready"));
    server.kept.health.dead("kafka", "fenced");
    assert_eq!(ask("/health/live", ""), plain(503, "dead"));
    // Without users this machine's own people are told.
    let open = Fake::start();
    open.kept.health.not_ready("kafka", "broker-7 doesn't answer");
    let (status, _, told) = send(&open, "GET", "/health", "", "");
    assert!(status == 503 && told.contains("broker-7"), "{told}");
}

#[test]
fn ten_thousand_failed_logins_from_as_many_addresses_fill_nothing() {
    let entrance = Entrance { behind_proxy: true, ..Entrance::login() };
    let server = entered_by(&[("root", Role::Admin, &["*"]), ("vera", Role::Viewer, &["*"])], entrance);
    let (_, head, _) = try_login(&server, "vera", PASSWORD, "");
    let known = format!("Cookie: {}\r\n", cookies(&head));
    let size = || kept_by(&server).len();
    let before = size();
    let mut statuses = BTreeMap::<u16, usize>::new();
    for i in 0..10_000 {
        let from = format!("X-Forwarded-For: 10.{}.{}.{}\r\n", i >> 16, (i >> 8) & 255, i & 255);
        *statuses.entry(try_login(&server, "vera", "wrong password", &from).0).or_default() += 1;
    }
    // 60 at once, and some more in the time that this takes.
    assert!(statuses[&401] < 200 && statuses[&429] > 9_000, "{statuses:?}");
    assert!(size() < before + 4_000, "the audit tells of them together: {} -> {}", before, size());
    assert_eq!(try_login(&server, "vera", PASSWORD, &known).0, 200);
    let root = login(&server, "root");
    let (_, audit) = call(&server, "GET", "audit?action=login.refused", &root.headers(), "");
    assert!(audit["records"].as_array().unwrap().iter().any(|r| r["subject"] == "vera"), "{audit}");
}

#[test]
fn a_body_that_never_ends_and_one_that_is_too_large_are_refused() {
    let server = people();
    for line in [
        "POST /api/v1/login",
        "PUT /api/v1/collection",
        "POST /api/v1/nothing",
        "POST /api/v1/logout",
        "GET /login",
        "GET /",
        "POST /assets/x",
    ] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = format!("{line} HTTP/1.1\r\nHost: {}\r\n{OWN}Transfer-Encoding: chunked\r\n\r\n", server.address);
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
        // The server hangs up before that.
        let sent = (0..100_000).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
        assert!(sent < 100_000, "{line}");
    }
    let long = json!({ "name": "root", "password": "x".repeat(20_000) }).to_string();
    assert_eq!(call(&server, "POST", "login", OWN, &long).0, 413);
    assert_eq!(try_login(&server, "root", &"x".repeat(1_001), "").0, 400);
    assert_eq!(try_login(&server, "<script>alert(1)</script>", PASSWORD, "").0, 401);
}

#[test]
fn lines_of_other_topics_are_nowhere_to_be_found() {
    let server = with_users(&[("root", Role::Admin, &["*"]), ("shopper", Role::Viewer, &["shop*"])]);
    let own = server.write("/var/log/shop/a.log", "timeout in the shop");
    let other =
        server.documents.write("/var/log/bank/b.log", Fake::now(), "timeout in the bank", json!({ "iban": "DE02" }));
    let (root, shopper) = (login(&server, "root"), login(&server, "shopper"));
    let ask = |who: &Login, path: &str| {
        let (status, _, body) = send(&server, "GET", &format!("/api/v1/{path}"), &who.headers(), "");
        (status, body)
    };
    for path in [
        "search?q=timeout&count=true",
        "search?q=x%20OR%20NOT%20x",
        "search?q=logweir.topic:bank%20OR%20*",
        "values?field=logweir.topic",
        "values?field=iban",
        "fields",
        "export",
        "export?format=csv&columns=message,iban",
    ] {
        let (status, body) = ask(&shopper, path);
        assert_eq!(status, 200, "{path}: {body}");
        assert!(!body.contains("bank") && !body.contains("DE02") && !body.contains("\"iban\""), "{path}: {body}");
        assert!(ask(&root, path).1.contains("bank") || path.contains("iban") || path == "fields", "{path}");
    }
    assert!(ask(&root, "fields").1.contains("iban"));
    let (_, bars) = ask(&shopper, "histogram");
    assert_eq!(serde_json::from_str::<Value>(&bars).unwrap()["total"], 1);
    let around = |hit: &logweir::search::model::Hit| format!("around?file={}&offset=0", hit.file.as_ref().unwrap());
    assert_eq!(ask(&shopper, &around(&own)).0, 200);
    let (hidden, nothing) = (ask(&shopper, &around(&other)), ask(&shopper, "around?file=00000000000000aa&offset=0"));
    assert_eq!(hidden, nothing, "one can't tell that it is there");
    assert_eq!(hidden.0, 404);
    assert_eq!(ask(&root, &around(&other)).0, 200);
}

/// Everything that processes tell, with a topic in it that not everybody may see.
pub fn tell_of_processes(server: &Fake) {
    let topics =
        || ["shop", "bank"].map(|topic| (topic.to_owned(), TopicStatus { lag: 5, lines_per_second: 1.0 })).into();
    let named = |kind: &str| Status {
        kind: kind.into(),
        host: format!("{kind}-host"),
        instance: "1".into(),
        topics: topics(),
        can: vec!["files".into()],
        last_error: Some("topic bank: no such topic".into()),
        last_error_ms: Some(Fake::now() as u64),
        ..Status::default()
    };
    server.fleet.tell(named("standalone"));
    let sample =
        |topic: &str| DeadLetterSample { topic: topic.into(), error: format!("{topic} failed"), ..Default::default() };
    let letters = |topic: &str| DeadLetterStatus { count: 2, sample: sample(topic) };
    server.fleet.tell(Status {
        dead_letters: [("a".to_owned(), letters("shop")), ("b".to_owned(), letters("bank"))].into(),
        paused: ["shop", "bank", "bank-without-figures", "logweir-bank-2026"]
            .map(|name| (name.to_owned(), format!("{name} waits")))
            .into(),
        ..named("transfer")
    });
}

#[test]
fn what_processes_tell_of_other_topics_is_nowhere_to_be_found() {
    let server = with_users(&[("root", Role::Admin, &["*"]), ("shopper", Role::Viewer, &["shop*"])]);
    let (root, shopper) = (login(&server, "root"), login(&server, "shopper"));
    tell_of_processes(&server);
    let ask = |who: &Login, path: &str| {
        let (status, _, body) = send(&server, "GET", path, &who.headers(), "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    };
    for path in [
        "/api/v1/agents",
        "/api/v1/agents/standalone/standalone-host/1",
        "/api/v1/agents/transfer/transfer-host/1",
        "/api/v1/agents/standalone/standalone-host/1/files",
        "/api/v1/pipeline",
        "/api/v1/banner",
        "/api/v1/collected",
        "/files",
    ] {
        let (all, own) = (ask(&root, path), ask(&shopper, path));
        assert!(all.contains("bank"), "{path}: {all}");
        assert!(!own.contains("bank"), "{path}: {own}");
        assert!(own.contains("shop") || path == "/api/v1/agents", "{path}: {own}");
    }
    let json = |who: &Login, path: &str| serde_json::from_str::<Value>(&ask(who, path)).unwrap();
    for (words, found) in [("bank", 0), ("no%20such", 0), ("shop", 2), ("", 2)] {
        let path = format!("/api/v1/agents?q={words}");
        assert_eq!(json(&shopper, &path)["total"], found, "{words}");
        assert_eq!(json(&root, &path)["total"], 2, "{words}");
    }
    let row = &json(&shopper, "/api/v1/agents")["agents"][0];
    assert!(row["last_error"].is_null() && row["last_error_ms"].is_number(), "that there is one is told: {row}");
    assert_eq!(json(&shopper, "/api/v1/pipeline")["topics"][0]["paused"], "shop waits");
}

/// When the store says that the only session was used last; it can be set.
fn seen_ms(server: &Fake, set: Option<i64>) -> i64 {
    in_store(async {
        let store = store(server);
        let item = store.list("/logweir/sessions/", None, 1).await.unwrap().remove(0);
        let mut session: Value = serde_json::from_slice(&item.value).unwrap();
        if let Some(seen) = set {
            session["seen_ms"] = json!(seen);
            store.commit(vec![], vec![Write::put(item.key, session.to_string())]).await.unwrap();
        }
        session["seen_ms"].as_i64().unwrap()
    })
}

#[test]
fn what_a_page_asks_by_itself_is_no_use_of_a_session() {
    let server = with_users(&[("root", Role::Admin, &["*"])]);
    let root = login(&server, "root");
    let before = seen_ms(&server, Some(Fake::now() - 1_000_000));
    let background = root.headers() + "X-Logweir-Background: 1\r\n";
    let stream = root.headers() + "Accept: text/event-stream\r\n";
    assert_eq!(call(&server, "GET", "banner", &background, "").0, 200);
    assert_eq!(status(&server, "GET", "/api/v1/live", &stream, ""), 200);
    assert_eq!(seen_ms(&server, None), before);
    assert_eq!(call(&server, "GET", "banner", &root.headers(), "").0, 200);
    assert!(seen_ms(&server, None) > before, "a person's call");
}

#[test]
fn a_session_ends_while_its_page_asks_on_and_its_live_tail_with_it() {
    let ends = Ends { idle_ms: 3_000, ..Ends::default() };
    let server = entered_by(&[("root", Role::Admin, &["*"])], Entrance { ends, ..Entrance::login() });
    let root = login(&server, "root");
    let background = root.headers() + "X-Logweir-Background: 1\r\n";
    let mut live = TcpStream::connect(server.address).unwrap();
    live.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("GET /api/v1/live HTTP/1.1\r\nHost: {}\r\n{}\r\n", server.address, root.headers());
    live.write_all(head.as_bytes()).unwrap();
    crate::support::wait_for("the end of the session", Duration::from_secs(20), || {
        (call(&server, "GET", "banner", &background, "").0 == 401).then_some(())
    });
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while !all.ends_with(b"\r\n0\r\n\r\n") {
        let n = live.read(&mut piece).unwrap();
        all.extend_from_slice(&piece[..n]);
        let heartbeats = String::from_utf8_lossy(&all).matches(": heartbeat").count();
        assert!(n > 0 && heartbeats < 3, "the stream isn't ended in order");
    }
}

#[test]
fn a_live_tail_shows_own_topics_only_and_ends_with_the_session_and_its_rights() {
    for change in [r#"{"disabled":true}"#, r#"{"topics":["other"]}"#] {
        live_until(change);
    }
}

/// Somebody looks on while an admin changes them.
fn live_until(change: &str) {
    let server = with_users(&[("root", Role::Admin, &["*"]), ("shopper", Role::Viewer, &["shop"])]);
    let (root, shopper) = (login(&server, "root"), login(&server, "shopper"));
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("GET /api/v1/live HTTP/1.1\r\nHost: {}\r\n{}\r\n", server.address, shopper.headers());
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = Vec::new();
    let mut read_until = |what: &str, stream: &mut TcpStream| {
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&all).contains(what) {
            let n = stream.read(&mut piece).unwrap();
            assert!(n > 0, "{}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&piece[..n]);
        }
        String::from_utf8_lossy(&all).into_owned()
    };
    read_until("begun", &mut stream);
    server.write("/var/log/bank/b.log", "of the bank");
    server.write("/var/log/shop/a.log", "of the shop");
    assert!(!read_until("of the shop", &mut stream).contains("of the bank"));
    assert_eq!(call(&server, "PUT", "users/shopper", &root.headers(), change).0, 200);
    let mut rest = Vec::new();
    let mut piece = [0; 4096];
    // A heartbeat comes every 15 s, a look at the session every 3 s.
    while String::from_utf8_lossy(&rest).matches(": heartbeat").count() < 3 {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            n => rest.extend_from_slice(&piece[..n]),
        }
    }
    assert!(rest.ends_with(b"0\r\n\r\n"), "the stream is ended by {change}");
}

#[test]
fn without_users_this_machine_is_the_admin_until_there_is_one() {
    let server = Fake::start();
    let (_, me) = call(&server, "GET", "me", "", "");
    assert_eq!((&me["name"], &me["role"], &me["by"]), (&json!("local"), &json!("admin"), &json!("local")));
    let user = |name: &str, role: &str| json!({ "name": name, "role": role, "password": PASSWORD }).to_string();
    let (status, refused) = call(&server, "POST", "users", OWN, &user("vera", "viewer"));
    assert_eq!(status, 400, "{refused}");
    assert_eq!(call(&server, "POST", "tokens", OWN, r#"{"name":"x","role":"viewer","days":1}"#).0, 409);
    assert_eq!(call(&server, "POST", "users", OWN, &user("root", "admin")).0, 201);
    assert_eq!(call(&server, "GET", "me", "", "").0, 401, "now people log in");
    assert_eq!(call(&server, "POST", "users", OWN, &user("mallory", "admin")).0, 401);
    let root = login(&server, "root");
    assert_eq!(call(&server, "POST", "users", &root.headers(), &user("vera", "viewer")).0, 201);
    assert_eq!(call(&server, "POST", "users", &root.headers(), &user("vera", "viewer")).0, 409);
    for name in ["<script>alert(1)</script>", "a/b", "", "local"] {
        assert_eq!(call(&server, "POST", "users", &root.headers(), &user(name, "viewer")).0, 400, "{name}");
    }
    assert_eq!(call(&server, "PUT", "users/root", &root.headers(), r#"{"role":"viewer"}"#).0, 409, "the last admin");
    assert_eq!(call(&server, "PUT", "users/nobody-there", &root.headers(), r#"{"role":"viewer"}"#).0, 404);
    let (_, audit) = call(&server, "GET", "audit?text=vera", &root.headers(), "");
    assert_eq!(audit["records"][0]["action"], "user.add", "{audit}");
    assert_eq!(audit["records"][0]["author"], "root", "{audit}");
}

#[test]
fn a_token_is_shown_once_listed_and_ended() {
    let server = people();
    let (root, vera) = (login(&server, "root"), login(&server, "vera"));
    let wrong =
        [json!({ "name": "x", "role": "admin", "days": 1 }), json!({ "name": "x", "role": "viewer", "days": 400 })];
    for wanted in wrong {
        assert_eq!(call(&server, "POST", "tokens", &vera.headers(), &wanted.to_string()).0, 400, "{wanted}");
    }
    let token = make_token(&server, &vera, &json!({ "name": "<b>ci</b>", "role": "viewer", "days": 1 }));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(call(&server, "GET", "search", &bearer, "").0, 200);
    assert_eq!(call(&server, "PUT", "searches/by-token", &bearer, "{}").0, 204, "no session, no CSRF");
    assert_eq!(call(&server, "POST", "tokens", &bearer, r#"{"name":"x","role":"viewer","days":1}"#).0, 403);
    let (_, listed) = call(&server, "GET", "tokens", &vera.headers(), "");
    assert!(listed[0]["last_used_ms"].is_number() && !listed.to_string().contains(&token[20..]), "{listed}");
    for _ in 1..100 {
        make_token(&server, &vera, &json!({ "name": "more", "role": "viewer", "days": 1 }));
    }
    assert_eq!(call(&server, "POST", "tokens", &vera.headers(), r#"{"name":"x","role":"viewer","days":1}"#).0, 409);
    let id = listed[0]["id"].as_str().unwrap();
    let edda = login(&server, "edda");
    assert_eq!(call(&server, "GET", "tokens", &edda.headers(), "").1, json!([]), "others' are not seen");
    assert_eq!(call(&server, "DELETE", &format!("tokens/{id}"), &edda.headers(), "").0, 404);
    assert_eq!(call(&server, "DELETE", &format!("tokens/{id}"), &root.headers(), "").0, 204);
    assert_eq!(call(&server, "GET", "search", &bearer, "").0, 401);
}

#[test]
fn other_machines_need_users_and_tls() {
    let server = people();
    let reason = server.try_again_on("0.0.0.0:0");
    assert!(reason.contains("in the open"), "{reason}");
    assert!(server.try_again_with("0.0.0.0:0", Entrance { behind_proxy: true, ..Entrance::login() }).is_ok());
    let nobody = Fake::start();
    let refused = nobody.try_again_with("0.0.0.0:0", Entrance { behind_proxy: true, ..Entrance::login() });
    assert!(refused.unwrap_err().contains("no users yet"));
}

/// A certificate of its own for localhost.
fn certificate(dir: &std::path::Path, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (certificate, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &format!("/CN={name}")])
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

/// What curl says, trusting one certificate only.
fn curl(server: &Fake, trusted: &std::path::Path, arguments: &[&str]) -> Option<String> {
    let answer = std::process::Command::new("curl")
        .args(["-sS", "-i", "--max-time", "20", "--noproxy", "*", "--cacert"])
        .arg(trusted)
        .args(arguments)
        .arg(format!(
            "https://localhost:{}/api/v1/{}",
            server.address.port(),
            if arguments.is_empty() { "me" } else { "login" }
        ))
        .output()
        .unwrap();
    answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).to_lowercase())
}

#[test]
fn over_tls_cookies_are_for_tls_only_and_a_new_certificate_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (certificate(dir.path(), "first"), certificate(dir.path(), "second"));
    let files = logweir::console::TlsFiles { certificate: dir.path().join("use.pem"), key: dir.path().join("use.key") };
    let take = |from: &(std::path::PathBuf, std::path::PathBuf)| {
        fs::copy(&from.1, &files.key).unwrap();
        fs::copy(&from.0, &files.certificate).unwrap();
    };
    take(&first);
    let entrance = Entrance { tls: Some(files.clone()), ..Entrance::login() };
    let server = entered_by(&[("root", Role::Admin, &["*"])], entrance);
    let me = curl(&server, &first.0, &[]).unwrap();
    assert!(me.starts_with("http/1.1 401") && me.contains("strict-transport-security: max-age=31536000"), "{me}");
    let body = json!({ "name": "root", "password": PASSWORD }).to_string();
    let login = curl(&server, &first.0, &["-H", "X-Logweir: 1", "-d", &body]).unwrap();
    assert!(
        login.contains("set-cookie: __host-logweir_session=") && login.contains("samesite=strict; secure"),
        "{login}"
    );
    assert!(curl(&server, &second.0, &[]).is_none(), "another certificate");
    // A wrong one is refused and the old one stays; then a right one comes.
    fs::write(&files.certificate, "no certificate").unwrap();
    assert!(curl(&server, &first.0, &[]).is_some());
    take(&second);
    crate::support::wait_for("the new certificate", Duration::from_secs(60), || curl(&server, &second.0, &[]));
    assert!(curl(&server, &first.0, &[]).is_none());
    // Plain HTTP isn't answered there.
    let mut plain = TcpStream::connect(server.address).unwrap();
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"));
}

#[test]
fn the_connection_is_written_and_what_is_secret_in_it_never_read() {
    let server = people();
    let (root, edda) = (login(&server, "root"), login(&server, "edda"));
    let put = |who: &Login, body: &Value, more: &str| {
        call(&server, "PUT", "connection", &(who.headers() + more), &body.to_string())
    };
    assert_eq!(call(&server, "GET", "connection", &root.headers(), "").1["revision"], 0);
    let good = json!({ "url_address": ["http://es-1:9200"], "api_key": "very:secret" });
    assert_eq!(put(&edda, &good, "").0, 403);
    for wrong in [
        json!({ "url_address": [] }),
        json!([]),
        json!({ "url_address": ["http://a"], "api_key": "a", "username": "b" }),
    ] {
        let (status, answer) = put(&root, &wrong, "");
        assert_eq!(status, 400, "{answer}");
    }
    assert_eq!(put(&root, &good, "If-Match: \"7\"\r\n").0, 409);
    assert_eq!(put(&root, &good, "If-Match: \"0\"\r\n").0, 204);
    let (_, told) = call(&server, "GET", "connection", &root.headers(), "");
    assert_eq!((&told["kind"], &told["urls"]), (&json!("api_key"), &json!(["http://es-1:9200"])));
    let (_, audit) = call(&server, "GET", "audit?action=connection", &root.headers(), "");
    assert_eq!(audit["records"][0]["author"], "root");
    assert!(!format!("{told}{audit}").contains("very:secret"), "{told} {audit}");
    let item = in_store(store(&server).get("elasticsearch_config")).unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&item.value).unwrap(), good, "as its readers expect it");
}
