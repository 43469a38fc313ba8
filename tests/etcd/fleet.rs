//! Real agents and a real console on a real etcd: what each says of itself is seen, a change and its refusal, the files of
//! one, who has gone, also while no console ran, and an etcd that stops and comes back.

use crate::server::Server;
use logweir::{
    console::{Author, Role, Topics, Users},
    etcd::Session,
    store::EtcdStore,
};
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command},
    sync::Arc,
    time::{Duration, Instant},
};

const KEY: &str = "/logweir/collect/all";
/// Ends a test that hangs; a lease is 45 s.
const LIMIT: Duration = Duration::from_secs(120);

/// A process of the program under test; ends with the test.
struct Process(Child);

impl Process {
    fn start(kind: &str, name: &str, dir: &Path, settings: &str) -> Self {
        let config = dir.join(format!("{name}.toml"));
        std::fs::write(&config, settings).unwrap();
        let log = std::fs::File::create(dir.join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
        let child = command.arg(kind).arg("-c").arg(&config).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        Self(child.unwrap())
    }

    fn signal(&mut self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn agent(server: &Server, host: &str, dir: &Path) -> Process {
    // Its Kafka is away: what it says of itself doesn't depend on it.
    let settings = format!(
        "[agent]\nhost = \"{host}\"\ndata_dir = {:?}\n[etcd]\nendpoints = [\"{}\"]\n[kafka]\nbrokers = [\"127.0.0.1:1\"]\n[metrics]\nlisten = \"\"\n",
        dir.join(host),
        server.url()
    );
    Process::start("agent", host, dir, &settings)
}

struct Console {
    _process: Process,
    address: String,
    /// Of a session, and what changes need besides.
    cookie: String,
    csrf: String,
}

/// Who looks on in these tests.
const USER: (&str, &str) = ("anna", "correct horse battery");

impl Console {
    /// Started, and somebody has logged in.
    async fn start(server: &Server, dir: &Path) -> Self {
        let users = Users::new(Arc::new(EtcdStore::new(Session::new(server.settings()))));
        let hash = Users::hash(USER.1).unwrap();
        users.add(&Author::of_command_line(), USER.0, (Role::Admin, Topics::default(), hash), false).await.unwrap();
        Self::another(server, dir, "con").await
    }

    /// The same where the user is known.
    async fn another(server: &Server, dir: &Path, host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let settings = format!(
            "[console]\nhost = \"{host}\"\nlisten = \"{address}\"\n[etcd]\nendpoints = [\"{}\"]\nrequest_timeout_ms = 1000\n",
            server.url()
        );
        let process = Process::start("console", host, dir, &settings);
        let mut console = Self { _process: process, address, cookie: String::new(), csrf: String::new() };
        let begun = Instant::now();
        while console.cookie.is_empty() {
            assert!(begun.elapsed() < LIMIT, "nobody can log in");
            (console.cookie, console.csrf) = console.log_in().await.unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        console
    }

    /// The session's cookie and what proves that a page made a call; `None` while nobody answers.
    async fn log_in(&self) -> Option<(String, String)> {
        let body = json!({ "name": USER.0, "password": USER.1 }).to_string();
        let request = reqwest::Client::new().post(format!("http://{}/api/v1/login", self.address));
        let answer = request.header("X-Logweir", "1").header("Content-Type", "application/json").body(body).send();
        let answer = answer.await.ok().filter(|answer| answer.status() == 200)?;
        let cookies = answer.headers().get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
        let cookies = cookies.filter_map(|cookie| cookie.split(';').next()).collect::<Vec<_>>().join("; ");
        let me: Value = serde_json::from_str(&answer.text().await.ok()?).ok()?;
        Some((cookies, me["csrf"].as_str()?.to_owned()))
    }

    /// Nobody wants to hear of it any more; the answer's status.
    async fn forget(&self, host: &str) -> u16 {
        let request = reqwest::Client::new().delete(format!("http://{}/api/v1/agents/agent/{host}/1", self.address));
        let request =
            request.header("Cookie", &self.cookie).header("X-Logweir", "1").header("X-CSRF-Token", &self.csrf);
        request.send().await.unwrap().status().as_u16()
    }

    /// `None` while nobody answers; the status and the answer.
    async fn get(&self, path: &str) -> Option<(u16, Value)> {
        let request = reqwest::Client::new().get(format!("http://{}/api/v1/{path}", self.address));
        let answer = request.header("Cookie", &self.cookie).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, serde_json::from_str(&answer.text().await.ok()?).ok()?))
    }

    /// The answer as soon as `wanted` holds for it.
    async fn wait(&self, what: &str, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.get(path).await;
            if let Some((200, answer)) = &answer
                && wanted(answer)
            {
                return answer.clone();
            }
            assert!(begun.elapsed() < LIMIT, "waited in vain for {what}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Nothing is known of it (any more).
    async fn wait_unknown(&self, host: &str) {
        let begun = Instant::now();
        while !matches!(self.get(&format!("agents/agent/{host}/1")).await, Some((404, _))) {
            assert!(begun.elapsed() < LIMIT, "waited in vain for {host} to be unknown");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn state(&self, host: &str, state: &str) -> Value {
        let path = format!("agents/agent/{host}/1");
        self.wait(&format!("{host} to be {state}"), &path, |told| told["row"]["state"] == state).await
    }
}

fn notices(banner: &Value) -> Vec<&str> {
    banner["notices"].as_array().unwrap().iter().map(|notice| notice["kind"].as_str().unwrap()).collect()
}

#[actix_rt::test]
async fn agents_are_seen_with_what_they_apply_refuse_and_read_until_they_go() {
    let server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let console = Console::start(&server, dir.path()).await;
    let (mut one, mut two) = (agent(&server, "one", dir.path()), agent(&server, "two", dir.path()));
    for host in ["one", "two"] {
        console.state(host, "alive").await;
    }
    // A change is applied by both.
    let log = dir.path().join("app.log");
    std::fs::write(&log, "a line\n").unwrap();
    let entries = json!([{ "path": log, "topic": "app" }]).to_string();
    server.ctl(&["put", KEY, &entries]);
    let begun = Instant::now();
    for host in ["one", "two"] {
        let path = format!("agents/agent/{host}/1");
        let applied = |told: &Value| told["status"]["sources"][KEY]["applied_revision"].is_i64();
        let told = console.wait("the key to be applied", &path, applied).await;
        assert_eq!(told["status"]["keys"][0], KEY);
    }
    println!("put -> seen as applied by both: {} ms", begun.elapsed().as_millis());
    // Its files, asked for now.
    let there = |told: &Value| told["files"][0]["path"] == json!(log);
    let files = console.wait("its file", "agents/agent/one/1/files", there).await;
    assert_eq!((&files["files"][0]["topic"], &files["files"][0]["size"]), (&"app".into(), &7.into()));
    let console_itself = console.get("agents/console/con/1/files").await.unwrap();
    assert_eq!(console_itself.0, 409, "{console_itself:?}");
    // A wrong value is refused with its reason, and what ran keeps running.
    server.ctl(&["put", KEY, "[{\"path\":\"\",\"topic\":\"app\"}]"]);
    let refused = |told: &Value| told["row"]["refused"][0]["reason"].as_str().is_some_and(|r| r.contains("is empty"));
    let told = console.wait("the refusal", "agents/agent/two/1", refused).await;
    let (applied, refused) =
        (&told["status"]["sources"][KEY]["applied_revision"], &told["row"]["refused"][0]["revision"]);
    assert!(applied.as_i64() < refused.as_i64(), "{told}");
    let told = console.wait("a notice of it", "banner", |banner| notices(banner).contains(&"key_refused")).await;
    let notice = told["notices"].as_array().unwrap().iter().find(|notice| notice["kind"] == "key_refused").unwrap();
    assert_eq!(notice["who"], KEY);
    // One is killed, one stops in order.
    one.signal(rustix::process::Signal::KILL);
    let begun = Instant::now();
    two.signal(rustix::process::Signal::TERM);
    console.state("two", "stopped").await;
    let gone = console.state("one", "gone").await;
    println!("killed -> seen as gone: {} s", begun.elapsed().as_secs());
    assert!(gone["status"]["sources"][KEY]["applied_revision"].is_i64(), "what it told last is still known");
    let told = console.wait("a notice of it", "banner", |banner| notices(banner).contains(&"agent_gone")).await;
    let notice = told["notices"].as_array().unwrap().iter().find(|notice| notice["kind"] == "agent_gone").unwrap();
    assert_eq!((&notice["who"], &notice["count"]), (&"one".into(), &1.into()), "who stopped in order is no trouble");
}

/// The record that outlives the process as soon as it's there: itself, and how often it was written.
async fn record(server: &Server, host: &str) -> (Value, u64) {
    let (session, key) = (Session::new(server.settings()), format!("/logweir/seen/agent/{host}/1"));
    let begun = Instant::now();
    loop {
        if let Some(kv) = session.get(&key).await.unwrap() {
            let told: Value = serde_json::from_str(&server.ctl(&["get", &key, "-w", "json"])).unwrap();
            return (serde_json::from_slice(&kv.value).unwrap(), told["kvs"][0]["version"].as_u64().unwrap());
        }
        assert!(begun.elapsed() < LIMIT, "waited in vain for {key}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[actix_rt::test]
async fn who_died_while_no_console_ran_is_gone_for_the_next_one_until_somebody_dismisses_it() {
    let server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let console = Console::start(&server, dir.path()).await;
    let (mut one, mut two) = (agent(&server, "one", dir.path()), agent(&server, "two", dir.path()));
    for host in ["one", "two"] {
        console.state(host, "alive").await;
        // Each is told of more than once; the record is written once.
        server.ctl(&["put", KEY, &json!([{ "path": "/nowhere", "topic": host }]).to_string()]);
        let path = format!("agents/agent/{host}/1");
        let applied = |told: &Value| told["status"]["sources"][KEY]["applied_revision"].is_i64();
        console.wait("the key to be applied", &path, applied).await;
        let (record, version) = record(&server, host).await;
        assert_eq!((version, &record["went_ms"]), (1, &Value::Null), "{record}");
    }
    assert_eq!(console.forget("one").await, 409, "it lives");
    drop(console);
    one.signal(rustix::process::Signal::KILL);
    // As when its lease has run out.
    server.ctl(&["del", "/logweir/status/agent/one/1"]);
    two.signal(rustix::process::Signal::TERM);
    let (left, _) = record(&server, "two").await;
    assert!(left["went_ms"].is_u64() && left["status"]["leaving"] == true, "it says so itself: {left}");
    let (one_was, _) = record(&server, "one").await;
    let console = Console::another(&server, dir.path(), "con").await;
    let gone = console.state("one", "gone").await;
    assert_eq!(gone["row"]["version"], env!("CARGO_PKG_VERSION"), "what it told last is still known");
    assert_eq!((&gone["row"]["unwatched"], &gone["row"]["told_ms"]), (&true.into(), &one_was["told_ms"]));
    console.state("two", "stopped").await;
    let told = console.wait("a notice of it", "banner", |banner| notices(banner).contains(&"agent_gone")).await;
    let notice = told["notices"].as_array().unwrap().iter().find(|notice| notice["kind"] == "agent_gone").unwrap();
    assert_eq!(
        (&notice["who"], &notice["count"], &notice["since_ms"]),
        (&"one".into(), &1.into(), &one_was["told_ms"])
    );
    // Dismissed on one console it's away on all, and on those that start later.
    let other = Console::another(&server, dir.path(), "con-2").await;
    other.state("one", "gone").await;
    assert_eq!(console.forget("one").await, 204);
    assert_eq!(console.get("agents/agent/one/1").await.unwrap().0, 404);
    other.wait_unknown("one").await;
    other.state("two", "stopped").await;
    assert_eq!(console.forget("one").await, 404, "only once");
    let audit = console.get("audit?action=agent.forget").await.unwrap().1;
    assert_eq!(
        (&audit["records"][0]["subject"], audit["records"].as_array().unwrap().len()),
        (&"agent one/1".into(), 1)
    );
    drop((console, other));
    let console = Console::another(&server, dir.path(), "con").await;
    console.state("two", "stopped").await;
    assert_eq!(console.get("agents/agent/one/1").await.unwrap().0, 404);
    // It's there again when it starts again.
    let _one = agent(&server, "one", dir.path());
    console.state("one", "alive").await;
    record(&server, "one").await;
}

#[actix_rt::test]
async fn while_etcd_is_away_what_was_known_is_shown_and_it_goes_on_by_itself() {
    let mut server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let console = Console::start(&server, dir.path()).await;
    let _agent = agent(&server, "one", dir.path());
    console.state("one", "alive").await;
    server.kill();
    let told = console.wait("that etcd is away", "agents", |told| !told["away"].is_null()).await;
    assert_eq!(told["counts"]["alive"], 2, "agent and console, as last known");
    console.wait("a notice of it", "banner", |banner| notices(banner).contains(&"etcd_away")).await;
    let files = console.get("agents/agent/one/1/files").await.unwrap();
    assert_eq!(files.0, 503, "{files:?}");
    server.run().await;
    console.wait("that it is back", "agents", |told| told["away"].is_null()).await;
    console.wait("no notice", "banner", |banner| !notices(banner).contains(&"etcd_away")).await;
    console.state("one", "alive").await;
}
