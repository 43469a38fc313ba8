//! Two consoles over one etcd, as processes: the first admin comes in by the code of the log, and who is out at one is
//! out at the other.

use crate::server::Server;
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Ends a test that hangs.
const LIMIT: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse battery";

struct Console {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Console {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until<T>(what: &str, mut so: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = so() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

impl Console {
    fn start(etcd: &Server, instance: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = folder.path().join("console.toml");
        let text = format!(
            "[console]\nlisten = \"{address}\"\ninstance = \"{instance}\"\n[etcd]\nendpoints = [\"{}\"]\n",
            etcd.url()
        );
        fs::write(&settings, text).unwrap();
        let log = folder.path().join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_logweir"))
            .args(["console".as_ref(), "-c".as_ref(), settings.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let console = Self { child, address, log, _folder: folder };
        until("the console listens", || TcpStream::connect(console.address).ok());
        console
    }

    fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Status, head and body.
    fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, Value) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let head = format!("{method} /api/v1/{path} HTTP/1.0\r\nHost: {}\r\nX-Logweir: 1\r\n{headers}", self.address);
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_owned(), serde_json::from_str(body).unwrap_or_default())
    }
}

/// The value of the session's cookie.
fn session(head: &str) -> String {
    let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: logweir_session_")).unwrap();
    set.split(['=', ';']).nth(1).unwrap().to_owned()
}

fn cookie(console: &Console, word: &str) -> String {
    format!("Cookie: logweir_session_{}={word}\r\n", console.address.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_admin_comes_in_by_the_code_of_the_log_and_who_is_out_is_out_at_every_console() {
    let etcd = Server::start().await;
    let (one, other) = (Console::start(&etcd, "1"), Console::start(&etcd, "2"));
    let told = until("the one-time code", || Some(one.logged()).filter(|log| log.contains("/setup")));
    let is_code = |word: &&str| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let code = told.split(|c: char| !c.is_ascii_alphanumeric()).find(is_code).expect("the code").to_owned();
    let setup = |code: &str| json!({ "code": code, "name": "anna", "password": PASSWORD }).to_string();
    assert_eq!(one.call("GET", "me", "", "").0, 401);
    assert_eq!(one.call("POST", "setup", "", &setup(&code.replace(['a', '1'], "0"))).0, 401);
    let (status, head, me) = one.call("POST", "setup", "", &setup(&code));
    assert_eq!((status, &me["role"]), (200, &json!("admin")), "{me}");
    assert_eq!(one.call("POST", "setup", "", &setup(&code)).0, 409, "once");
    assert_eq!(other.call("POST", "setup", "", &setup(&code)).0, 409, "and at no other console");

    // One session at both.
    let anna = session(&head);
    let csrf = format!("X-CSRF-Token: {}\r\n", me["csrf"].as_str().unwrap());
    assert_eq!(other.call("GET", "me", &cookie(&other, &anna), "").2["name"], "anna");
    let vera = json!({ "name": "vera", "role": "viewer", "password": PASSWORD }).to_string();
    assert_eq!(one.call("POST", "users", &(cookie(&one, &anna) + &csrf), &vera).0, 201);
    let login = json!({ "name": "vera", "password": PASSWORD }).to_string();
    let (status, head, _) = other.call("POST", "login", "", &login);
    assert_eq!(status, 200);
    let vera = session(&head);
    assert_eq!(one.call("GET", "me", &cookie(&one, &vera), "").0, 200);
    let out = one.call("PUT", "users/vera", &(cookie(&one, &anna) + &csrf), r#"{"disabled":true}"#);
    assert_eq!(out.0, 200, "{}", out.2);
    assert_eq!(one.call("GET", "me", &cookie(&one, &vera), "").0, 401);
    until("vera is out at the other", || (other.call("GET", "me", &cookie(&other, &vera), "").0 == 401).then_some(()));
    assert_eq!(other.call("POST", "login", "", &login).0, 401);

    // Nobody reads what opens something out of etcd.
    let all = etcd.ctl(&["get", "--prefix", "/logweir/"]);
    assert!(all.contains("argon2id") && !all.contains(PASSWORD) && !all.contains(&anna) && !all.contains(&code));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_etcd_is_away_who_is_in_stays_in_and_nobody_else_comes_in() {
    let mut etcd = Server::start().await;
    let console = Console::start(&etcd, "1");
    let told = until("the one-time code", || Some(console.logged()).filter(|log| log.contains("/setup")));
    let is_code = |word: &&str| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let code = told.split(|c: char| !c.is_ascii_alphanumeric()).find(is_code).expect("the code");
    let setup = json!({ "code": code, "name": "anna", "password": PASSWORD }).to_string();
    let (status, head, _) = console.call("POST", "setup", "", &setup);
    assert_eq!(status, 200);
    let anna = cookie(&console, &session(&head));
    assert_eq!(console.call("GET", "me", &anna, "").0, 200);
    etcd.kill();
    for _ in 0..5 {
        assert_eq!(console.call("GET", "me", &anna, "").0, 200);
        assert_eq!(console.call("GET", "banner", &anna, "").0, 200, "what is known is shown");
    }
    let login = json!({ "name": "anna", "password": PASSWORD }).to_string();
    assert_eq!(console.call("POST", "login", "", &login).0, 503);
    assert_eq!(console.call("GET", "me", &cookie(&console, &"0".repeat(64)), "").0, 503, "nobody can tell");
    etcd.run().await;
    until("etcd is back", || (console.call("POST", "login", "", &login).0 == 200).then_some(()));
}
