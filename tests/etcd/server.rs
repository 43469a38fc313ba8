//! A real etcd on free ports with its data in a folder of its own, stopped when dropped.

use logweir::settings::Etcd;
use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

pub struct Server {
    dir: tempfile::TempDir,
    client: String,
    peer: String,
    child: Option<Child>,
}

fn free_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("its address"))
}

impl Server {
    /// Starts it and waits until it answers.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder for etcd");
        let mut server = Self { dir, client: free_url(), peer: free_url(), child: None };
        server.run().await;
        server
    }

    /// Settings for this server.
    pub fn settings(&self) -> Etcd {
        Etcd { endpoints: vec![self.client.clone()], request_timeout_ms: 2_000, ..Etcd::default() }
    }

    pub async fn run(&mut self) {
        let log = std::fs::File::create(self.log()).expect("etcd's log file");
        let mut command = Command::new("etcd");
        command
            .args(["--name", "one", "--logger", "zap", "--auto-compaction-retention", "0"])
            .args(["--data-dir".as_ref(), self.dir.path().join("data").as_os_str()])
            .args(["--listen-client-urls", &self.client, "--advertise-client-urls", &self.client])
            .args(["--listen-peer-urls", &self.peer, "--initial-advertise-peer-urls", &self.peer])
            .args(["--initial-cluster", &format!("one={}", self.peer)])
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().expect("etcd can't be started; install it: apt-get install etcd-server"));
        let session = logweir::etcd::Session::new(self.settings());
        for _ in 0..200 {
            // A server with users answers too, if only to refuse.
            match session.get("ready").await {
                Ok(_) | Err(logweir::etcd::EtcdError::Denied { .. }) => return,
                Err(e) if e.to_string().contains("user name is empty") => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("etcd doesn't answer, see {}", self.log().display());
    }

    fn log(&self) -> std::path::PathBuf {
        self.dir.path().join("etcd.log")
    }

    pub fn url(&self) -> &str {
        &self.client
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("etcd can be killed");
            child.wait().expect("etcd ends");
        }
    }

    /// Runs etcdctl against this server.
    pub fn ctl(&self, args: &[&str]) -> String {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.client)).args(args);
        let out = command.output().expect("etcdctl can't be started; install it: apt-get install etcd-client");
        assert!(out.status.success(), "etcdctl {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
