//! `logweir console` over a large fleet: 2,000 agents that tell of themselves every 30 s, and 5,000 keys of entries, in a
//! real etcd. How long its calls take, and what it holds.

use super::{
    measure::{quantile, usage},
    report::Section,
};
use crate::support::{
    env_number,
    process::{Process, Program, free_address},
    servers::Server,
    test_folder, wait_for,
};
use logweir::{
    console::{Author, Role, Topics, Users},
    etcd::Session,
    settings::Etcd,
    store::EtcdStore,
    telemetry::{SEEN_PREFIX, STATUS_PREFIX, SourceStatus, Status, TopicStatus, now_ms},
};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(120);
const TOPICS: u64 = 50;
/// Calls of each kind, one after the other.
const CALLS: usize = 100;

const ASKED: [(&str, &str); 11] = [
    ("agents, the worst first", "/api/v1/agents"),
    ("agents, by lag, the last page", "/api/v1/agents?sort=lag&from=1900"),
    ("agents, found by a text", "/api/v1/agents?q=web-1"),
    ("one agent", "/api/v1/agents/agent/web-1000/1"),
    ("pipeline", "/api/v1/pipeline"),
    ("banner", "/api/v1/banner"),
    ("entries, a page", "/api/v1/entries?size=100"),
    ("entries, found by a text", "/api/v1/entries?q=web-1&size=100"),
    ("keys with the agents' answers, a page", "/api/v1/entries/keys?size=100"),
    ("what one host collects", "/api/v1/entries/effective?host=web-1000"),
    ("the page itself", "/agents"),
];

/// Who looks.
const USER: (&str, &str) = ("anna", "correct horse battery");

/// One HTTP call; status, head and body.
fn call(address: &str, head: &str, body: &str) -> Option<(u16, String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    write!(stream, "{head}Host: {address}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, head.to_owned(), body.to_owned()))
}

/// The cookie of a session.
fn log_in(address: &str) -> Option<String> {
    let body = format!("{{\"name\":\"{}\",\"password\":\"{}\"}}", USER.0, USER.1);
    let head = "POST /api/v1/login HTTP/1.0\r\nX-Logweir: 1\r\nContent-Type: application/json\r\n";
    let (_, head, _) = call(address, head, &body).filter(|(status, ..)| *status == 200)?;
    let cookies = head
        .lines()
        .filter_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")));
    Some(cookies.filter_map(|(_, value)| value.split(';').next()).collect::<Vec<_>>().join("; "))
}

fn get(address: &str, cookie: &str, path: &str) -> Option<(u16, String)> {
    let (status, _, body) = call(address, &format!("GET {path} HTTP/1.0\r\nCookie: {cookie}\r\n"), "")?;
    Some((status, body))
}

/// As an agent with three keys and some topics tells of itself.
fn status(n: u64) -> Status {
    let host = format!("web-{n}");
    let keys = [
        "/logweir/collect/all".into(),
        format!("/logweir/collect/group/g{}", n % 20),
        format!("/logweir/collect/host/{host}"),
    ];
    let refused = (n % 500 == 7).then(|| "line 3 column 8: \"path\" is empty".to_owned());
    let source = SourceStatus { applied_revision: Some(7), refused, refused_revision: None };
    let topic = |k: u64| (format!("topic-{}", (n + k) % TOPICS), TopicStatus { lag: n * k, lines_per_second: 3.0 });
    Status {
        kind: "agent".into(),
        host,
        instance: "1".into(),
        version: "0.1.0".into(),
        started_ms: now_ms(),
        can: vec!["files".into()],
        sources: keys.iter().map(|key| (key.clone(), source.clone())).collect(),
        keys: keys.into(),
        files: 40,
        lag: n,
        topics: (0..5).map(topic).collect(),
        last_error: n.is_multiple_of(10).then(|| "the broker refuses a record: message too large".repeat(3)),
        last_error_ms: n.is_multiple_of(10).then(now_ms),
        ..Status::default()
    }
}

async fn tell(session: &Session, n: u64) {
    let status = status(n);
    let key = format!("{STATUS_PREFIX}agent/{}/1", status.host);
    session.put(&key, &serde_json::to_vec(&status).expect("JSON"), None).await.expect("put a status");
}

/// Transactions that etcd has made so far; all but a few are the console's.
fn transactions(etcd: &Etcd) -> u64 {
    let address = etcd.endpoints[0].trim_start_matches("http://");
    let (_, _, text) = call(address, "GET /metrics HTTP/1.0\r\n", "").expect("etcd's own figures");
    let made = |line: &&str| line.starts_with("grpc_server_handled_total") && line.contains("\"Txn\"");
    let figures = text.lines().filter(made).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    figures.sum::<f64>() as u64
}

/// Records of processes that outlive them, and their bytes.
fn records(etcd: &Etcd) -> (u64, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (all, _) = runtime.block_on(Session::new(etcd.clone()).list(SEEN_PREFIX)).expect("etcd answers");
    (all.len() as u64, all.iter().map(|kv| kv.key.len() + kv.value.len()).sum())
}

/// Puts everything there, and goes on telling until it is to end.
fn fleet(etcd: Etcd, agents: u64, keys: u64, there: &AtomicBool, end: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let session = Session::new(etcd);
        let users = Users::new(Arc::new(EtcdStore::new(session.clone())));
        let user = (Role::Admin, Topics::default(), Users::hash(USER.1).expect("a hash"));
        users.add(&Author::of_command_line(), USER.0, user, false).await.expect("add a user");
        for n in 0..agents {
            tell(&session, n).await;
        }
        for n in 0..keys {
            let entries = format!(
                "[{{\"path\":\"/var/log/app-{n}/*.log\",\"topic\":\"topic-{}\",\"labels\":{{\"team\":\"shop\"}}}}]",
                n % TOPICS
            );
            session.put(&format!("/logweir/collect/host/h{n}"), entries.as_bytes(), None).await.expect("put entries");
        }
        there.store(true, Relaxed);
        let mut turn = tokio::time::interval(Duration::from_secs(30) / u32::try_from(agents).unwrap_or(u32::MAX));
        for n in (0..agents).cycle() {
            turn.tick().await;
            if end.load(Relaxed) {
                return;
            }
            tell(&session, n).await;
        }
    });
}

fn resident_mib(process: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("a running process");
    let text = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    text.trim().trim_end_matches(" kB").parse::<f64>().expect("kB") / 1024.0
}

pub fn run(section: &mut Section) {
    let (agents, keys) = (env_number("LOGWEIR_BENCH_AGENTS", 2_000), env_number("LOGWEIR_BENCH_KEYS", 5_000));
    section.head(format!("{agents} agents that tell of themselves every 30 s and {keys} keys of entries"));
    let folder = test_folder("figures-console");
    let server = Server::start_with("etcd", &format!("test-{}-console", std::process::id()), &[]);
    let etcd = Etcd { endpoints: vec![server.fact("url").to_owned()], ..Etcd::default() };
    let (there, end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let telling = thread::spawn({
        let (etcd, there, end) = (etcd.clone(), there.clone(), end.clone());
        move || fleet(etcd, agents, keys, &there, &end)
    });
    wait_for("all keys in etcd", LIMIT, || there.load(Relaxed).then_some(()));
    let listen = free_address();
    let settings = format!("[console]\nlisten = \"{listen}\"\n[etcd]\nendpoints = [{:?}]\n", etcd.endpoints[0]);
    let (begun, made_before) = (Instant::now(), transactions(&etcd));
    let process = Program::new("console", &folder, &listen, &settings).start();
    let all = format!("\"total\":{agents}");
    let cookie = wait_for("a login", LIMIT, || log_in(&listen));
    wait_for("all agents on the page", LIMIT, || {
        get(&listen, &cookie, "/api/v1/agents?kind=agent&size=1").filter(|(_, body)| body.contains(&all))
    });
    section.row("start to everything known", "-", format!("{} ms", begun.elapsed().as_millis()));
    for (what, path) in ASKED {
        let times: Vec<f64> = (0..CALLS)
            .map(|_| {
                let begun = Instant::now();
                let (status, body) = get(&listen, &cookie, path).expect("an answer");
                assert_eq!(status, 200, "{path}: {body}");
                begun.elapsed().as_secs_f64() * 1_000.0
            })
            .collect();
        let (p50, p95) = (quantile(&times, 0.5), quantile(&times, 0.95));
        section.row(what, "p95 <= 300 ms", format!("p50 {p50:.1} ms, p95 {p95:.1} ms"));
    }
    // The calls above were answered while these were written.
    let bytes = wait_for("a record of each", LIMIT, || Some(records(&etcd)).filter(|(there, _)| *there > agents)).1;
    let figure = format!(
        "{} transactions, {} kB, within {} s of the start",
        transactions(&etcd) - made_before,
        bytes / 1_000,
        begun.elapsed().as_secs()
    );
    section.row("each agent written down for later", "-", figure);
    let before = usage(process.pid()).cpu_secs;
    thread::park_timeout(Duration::from_secs(30));
    let used = usage(process.pid()).cpu_secs - before;
    section.row("CPU while nobody looks", "-", format!("{:.2} % of a core", used / 0.3));
    let figure = format!("{:.0} MiB (at most {:.0} MiB)", resident_mib(&process), usage(process.pid()).peak_mib);
    section.row("RSS", "<= 150 MiB", figure);
    process.stop();
    end.store(true, Relaxed);
    telling.join().expect("the simulated fleet");
}
