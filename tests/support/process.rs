//! The program under test as a process of its own: started with a configuration, killed, stopped, asked for its health.
//! All its output goes to one log file per name, which every failure names.

use super::wait_for;
use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(60);

/// How a process is started, again and again.
#[derive(Clone)]
pub struct Program {
    pub name: String,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// The command and its arguments that run it (`prlimit`, `unshare`, ...); empty: none.
    pub wrapper: Vec<String>,
    /// `HOST:PORT` of its /health.
    pub listen: String,
    pub folder: PathBuf,
}

impl Program {
    /// `logweir <subcommand> -c <configuration>`; the configuration is written to `folder`.
    pub fn new(subcommand: &str, folder: &Path, listen: &str, configuration: &str) -> Self {
        let file = folder.join(format!("{subcommand}.toml"));
        fs::write(&file, configuration).expect("write a configuration");
        Self {
            name: subcommand.to_owned(),
            arguments: vec![subcommand.to_owned(), "-c".to_owned(), file.to_string_lossy().into_owned()],
            environment: Vec::new(),
            wrapper: Vec::new(),
            listen: listen.to_owned(),
            folder: folder.to_owned(),
        }
    }

    /// The same with one more environment variable.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut program = self.clone();
        program.environment.push((name.to_owned(), value.to_owned()));
        program
    }

    /// The same, run by a command that replaces itself by it.
    pub fn wrapped_in(&self, command: &[&str]) -> Self {
        let wrapper = command.iter().map(|&word| word.to_owned()).collect();
        Self { wrapper, ..self.clone() }
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// What it has logged in all its runs.
    pub fn logged(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    /// Started, perhaps not ready yet. It dies with the thread that starts it, so a killed test leaves none.
    pub fn start(&self) -> Process {
        let log = OpenOptions::new().create(true).append(true).open(self.log()).expect("open the log");
        let program = ["setpriv", "--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_logweir")];
        // A change of rights would undo the signal, so it comes before.
        let words: Vec<&str> = self.wrapper.iter().map(String::as_str).chain(program).collect();
        let child = Command::new(words[0])
            .args(&words[1..])
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone().expect("duplicate the log's handle"))
            .stderr(log)
            .spawn()
            .expect("start setpriv (Debian: util-linux)");
        Process { program: self.clone(), child }
    }

    /// Started, and its /health says that it is ready.
    pub fn start_ready(&self) -> Process {
        let mut process = self.start();
        let what = format!("{} to be ready (http://{}/health), see {}", self.name, self.listen, self.log().display());
        wait_for(&what, LIMIT, || {
            process.assert_running();
            http_get(&self.listen, "/health").filter(|(status, _)| *status == 200)
        });
        process
    }
}

pub struct Process {
    pub program: Program,
    child: Child,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM; it has to end by itself with exit code 0.
    pub fn stop(mut self) {
        self.terminate();
        let status = self.wait();
        assert!(status.success(), "{} ended with {status} at SIGTERM, see {}", self.program.name, self.log());
    }

    /// SIGTERM, and no more.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("send SIGTERM");
    }

    /// Waits for its end; panics if it doesn't come.
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}, see {}", self.program.name, self.log());
        wait_for(&what, LIMIT, || self.child.try_wait().expect("wait for a process"))
    }

    /// Waits until a crash point has killed it.
    pub fn wait_killed(&mut self, why: &str) {
        let status = self.wait();
        assert_eq!(status.signal(), Some(9), "{} should be killed by {why}, see {}", self.program.name, self.log());
    }

    /// Whether it is still there.
    pub fn runs_on(&mut self) -> bool {
        self.child.try_wait().expect("look at a process").is_none()
    }

    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("look at a process") {
            panic!("{} ended with {status}, see {}\n{}", self.program.name, self.log(), self.last_lines());
        }
    }

    /// Bytes that it has read by system calls so far, from files and sockets.
    pub fn bytes_read(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/io", self.pid())).expect("read /proc/PID/io");
        let value = text.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("rchar in /proc/PID/io");
        value.parse().expect("a number of bytes")
    }

    fn log(&self) -> String {
        self.program.log().display().to_string()
    }

    fn last_lines(&self) -> String {
        let text = self.program.logged();
        let lines: Vec<&str> = text.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn end(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A loopback address that nobody listens on now.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind a free port");
    listener.local_addr().expect("the port just bound").to_string()
}

/// Status and body; `None` while nobody answers.
pub fn http_get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
