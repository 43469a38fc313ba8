//! `logweir search -c`: the same from the command line, with what the transfer's settings say.

use crate::{
    corpus,
    stores::{elasticsearch, in_elasticsearch},
    support::servers::Server,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub fn settings(folder: &Path, server: &Server) -> PathBuf {
    let file = folder.join("transfer.toml");
    let password = folder.join("password");
    std::fs::write(&password, server.fact("password")).unwrap();
    let text = format!(
        "[kafka]\ntopics = [\"x\"]\ntopics_from_entries = false\n[elasticsearch]\nurls = [\"{}\"]\nusername = \"{}\"\n\
         password_file = \"{}\"\nindex = \"command-{{topic}}-%Y\"\n",
        server.fact("url"),
        server.fact("user"),
        password.display()
    );
    std::fs::write(&file, text).unwrap();
    file
}

pub fn search(settings: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    command.arg("search").args(args).arg("-c").arg(settings).stdin(Stdio::null());
    command
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn elasticsearch_is_searched_and_followed_from_the_command_line() {
    let documents = corpus::documents(500, 5);
    in_elasticsearch(&documents, "command-t").await;
    let folder = tempfile::tempdir().unwrap();
    let (server, settings) = (elasticsearch(), settings(folder.path(), elasticsearch()));
    let output = search(&settings, &["*", "--json", "-n", "7"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let found: Vec<Value> = output
        .stdout
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert_eq!(found.len(), 7);
    let times: Vec<_> = found.iter().map(|document| document["@timestamp"].as_str().unwrap().to_owned()).collect();
    let newest = documents.iter().map(|document| document["@timestamp"].as_str().unwrap()).max();
    assert!(times.is_sorted() && times.last().map(String::as_str) == newest, "{times:?}");

    let following = search(&settings, &["freshly", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut following = Killed(following);
    for n in 0..3 {
        let now = logweir::calendar::rfc3339(logweir::telemetry::now_ms() as i64).unwrap();
        let document = json!({
            "@timestamp": now, "message": format!("freshly written {n}"), "log": {"offset": n},
            "logweir": {"file": "a41f9c0e77d2b3c8", "topic": "t"},
        });
        server.request("POST", "/command-t-new/_doc", Some(&document));
    }
    let out = BufReader::new(following.0.stdout.take().unwrap());
    let lines: Vec<String> = out.lines().take(3).map(Result::unwrap).collect();
    for (n, line) in lines.iter().enumerate() {
        assert!(line.ends_with(&format!("freshly written {n}")), "{lines:#?}");
    }
}
