//! The real etcd, Kafka and Elasticsearch, started once per test process by the scripts in `tests/backends/`.
//!
//! libtest has no tear-down for a whole process, and a killed test process couldn't run one anyway. So each server is
//! *tied*: its script gets a pipe as standard input whose other end lives in this process, and a watchdog kills the
//! server at the pipe's end. However the tests end, no server stays. (Chosen over a `main` of our own, which would lose
//! libtest's filters and output, and over the parent-death signal, which fires when a *thread* ends.)
//!
//! One test at a time has the servers, because a test may kill them: [`servers`] gives a lock. Whoever keeps it for
//! longer than any test takes hangs, and the process ends with a message.

use super::{env_number, target};
use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Output, Stdio},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// All three, running.
pub struct Servers {
    pub etcd: Server,
    pub kafka: Server,
    pub elastic: Server,
}

/// One server of this test process.
pub struct Server {
    script: PathBuf,
    instance: String,
    /// What `start` printed: url, address, password, log, ...
    facts: HashMap<String, String>,
    /// The tie; dropped when the server is started again, or by the process's end.
    _tie: ChildStdin,
}

/// Lets the JVMs compile fully, for measuring; tests are over sooner with the quick compiler. To be called before the
/// first [`servers`].
pub fn compile_fully() {
    FULL.store(true, Relaxed);
}

static FULL: AtomicBool = AtomicBool::new(false);

/// The servers, for one test alone. What an earlier (failed) test left stopped is started again.
pub fn servers() -> MutexGuard<'static, Servers> {
    static SERVERS: OnceLock<Mutex<Servers>> = OnceLock::new();
    let all = SERVERS.get_or_init(|| {
        let instance = format!("test-{}", std::process::id());
        remove_leftovers();
        thread::scope(|scope| {
            let [etcd, kafka, elastic] = ["etcd", "kafka", "elasticsearch"].map(|name| {
                let instance = &instance;
                scope.spawn(move || Server::start_new(name, instance))
            });
            Mutex::new(Servers { etcd: joined(etcd), kafka: joined(kafka), elastic: joined(elastic) })
        })
    });
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    watch();
    for server in all.each() {
        server.ensure_running();
    }
    all
}

/// From now on the present thread's test has the servers. Every wait of a test has a limit of its own; this one is for
/// what was not thought of, so that no run hangs until somebody looks. Measurements take as long as they take.
fn watch() {
    static HOLDER: Mutex<Option<(String, Instant)>> = Mutex::new(None);
    static WATCHDOG: OnceLock<()> = OnceLock::new();
    if FULL.load(Relaxed) {
        return;
    }
    // A larger volume may take longer.
    let limit = env_number("LOGWEIR_TEST_LIMIT_SECS", 1_200 + env_number("LOGWEIR_TEST_LINES", 0) / 500);
    let test = thread::current().name().unwrap_or("a test").to_owned();
    *HOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some((test, Instant::now()));
    WATCHDOG.get_or_init(|| {
        thread::spawn(move || {
            loop {
                thread::park_timeout(Duration::from_secs(1));
                let holder = HOLDER.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((test, since)) = &*holder
                    && since.elapsed() > Duration::from_secs(limit)
                {
                    let logs = target().join("test-runs");
                    // Not by the print macros, which libtest captures; and a closed standard error changes nothing.
                    let _ = writeln!(
                        std::io::stderr(),
                        "\n{test} hangs: it has had the servers for {limit} s. Its logs are under {}; the run ends here.",
                        logs.display()
                    );
                    std::process::exit(124);
                }
            }
        });
    });
}

fn joined(thread: thread::ScopedJoinHandle<'_, Server>) -> Server {
    thread.join().unwrap_or_else(|reason| std::panic::resume_unwind(reason))
}

impl Servers {
    fn each(&mut self) -> [&mut Server; 3] {
        [&mut self.etcd, &mut self.kafka, &mut self.elastic]
    }
}

impl Server {
    fn start_new(name: &str, instance: &str) -> Self {
        Self::start_with(name, instance, &[])
    }

    /// One of its own beside those that all tests share, for example with `ETCD_TLS`; `instance` begins with
    /// `test-<pid>-`, so that its folder is removed one day. The variables hold for its first start.
    pub fn start_with(name: &str, instance: &str, environment: &[(&str, &str)]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/backends/{name}.sh"));
        let (facts, tie) = start(&script, instance, environment);
        Self { script, instance: instance.to_owned(), facts, _tie: tie }
    }

    /// Runs a command of its script that names the instance: `ctl`, `wipe`, ...
    pub fn command(&self, command: &str, arguments: &[&str]) -> String {
        self.script(&[&[command, self.instance.as_str()], arguments].concat())
    }

    /// What the script said of this server, for example `url`.
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).unwrap_or_else(|| panic!("{} said no '{name}' at its start", self.script.display()))
    }

    /// The certificate of its authority, a PEM file; only of a server with TLS.
    pub fn ca(&self) -> Option<PathBuf> {
        let file = Path::new(self.fact("log")).with_file_name("certs").join("ca.crt");
        file.exists().then_some(file)
    }

    /// SIGKILL; data stays, [`Server::start`] brings it back under the same address.
    pub fn kill(&self) {
        self.script(&["kill", &self.instance]);
    }

    /// Starts it again and returns when it answers.
    pub fn start(&mut self) {
        (self.facts, self._tie) = start(&self.script, &self.instance, &[]);
    }

    fn ensure_running(&mut self) {
        let status = Command::new(&self.script).args(["status", &self.instance]).output().expect("run a server script");
        if !status.status.success() {
            self.start();
        }
    }

    /// Runs a command of the server's script; panics with what it said when it fails.
    pub fn script(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.script).args(arguments).stdin(Stdio::null()).output().expect("run a script");
        said(&self.script, arguments, &output)
    }
}

/// etcd, through `etcdctl`.
impl Servers {
    pub fn etcd_put(&self, key: &str, value: &str) {
        self.etcd.script(&["ctl", &self.etcd.instance, "put", "--", key, value]);
    }

    pub fn etcd_delete(&self, key: &str) {
        self.etcd.script(&["ctl", &self.etcd.instance, "del", "--", key]);
    }

    /// All values whose keys begin with this, one a line.
    pub fn etcd_get_all(&self, prefix: &str) -> String {
        self.etcd.command("ctl", &["get", "--prefix", "--print-value-only", "--", prefix])
    }

    /// The value of a key; empty where there is none.
    pub fn etcd_get(&self, key: &str) -> String {
        let value = self.etcd.script(&["ctl", &self.etcd.instance, "get", "--print-value-only", "--", key]);
        value.trim_end_matches('\n').to_owned()
    }
}

fn start(script: &Path, instance: &str, environment: &[(&str, &str)]) -> (HashMap<String, String>, ChildStdin) {
    let mut command = Command::new(script);
    if FULL.load(Relaxed) {
        // Set and empty: instead of the script's own options, which choose the quick compiler.
        command.env("JAVA_OPTS", "");
    }
    let mut child = command
        .args(["start", instance])
        .env("TIED", "1")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{} can't be run: {e}", script.display()));
    let tie = child.stdin.take().expect("the pipe was asked for");
    let output = child.wait_with_output().expect("wait for a server script");
    let text = said(script, &["start", instance], &output);
    let facts = text.lines().filter_map(|line| line.split_once('='));
    (facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), tie)
}

fn said(script: &Path, arguments: &[&str], output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let name = script.file_name().unwrap_or_default().to_string_lossy();
    assert!(output.status.success(), "{name} {} failed: {out}{err}", arguments.join(" "));
    out.into_owned()
}

/// Folders of test processes that are gone: their servers died with them, their logs have been read or never will be.
fn remove_leftovers() {
    let Ok(folders) = fs::read_dir(target().join("backends")) else { return };
    for folder in folders.flatten() {
        let name = folder.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix("test-")) else { continue };
        let pid = pid.split('-').next().unwrap_or(pid);
        if !Path::new("/proc").join(pid).exists() {
            // Another process may remove it at the same time; what is left then is removed by the next one.
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}
