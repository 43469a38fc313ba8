//! The command line as its users have it: the program itself, its exit codes and what it says.

mod check;
mod process;
mod search;
mod users;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What a run gave.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn logweir<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    logweir_in(args, &[])
}

fn logweir_in<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>, env: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_logweir"))
        .args(args)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("the program prints UTF-8");
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A folder of the test's own and one file in it.
fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, content).unwrap();
    (dir, path)
}

fn with_config(subcommand: &str, path: &Path) -> Ran {
    logweir([subcommand.as_ref(), "-c".as_ref(), path.as_os_str()])
}

const SUBCOMMANDS: [&str; 8] =
    ["standalone", "agent", "transfer", "console", "check", "files", "search", "completions"];

#[test]
fn help_names_every_subcommand_and_every_subcommand_has_examples() {
    let help = logweir(["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for subcommand in SUBCOMMANDS {
        assert!(help.out.lines().any(|line| line.trim_start().starts_with(subcommand)), "{subcommand}\n{}", help.out);
        let own = logweir([subcommand, "--help"]);
        assert_eq!(own.code, 0);
        assert!(own.out.contains("Examples:") && own.out.contains(&format!("logweir {subcommand}")), "{}", own.out);
    }
}

#[test]
fn the_version_has_the_commit() {
    let version = logweir(["--version"]);
    assert_eq!(version.code, 0);
    let (number, commit) = version.out.trim().strip_prefix("logweir ").unwrap().split_once(' ').unwrap();
    assert_eq!(number, env!("CARGO_PKG_VERSION"));
    let commit = commit.strip_prefix('(').unwrap().strip_suffix(')').unwrap();
    assert!(commit == "unknown" || commit.chars().all(|c| c.is_ascii_hexdigit()), "{commit}");
}

#[test]
fn a_wrong_command_line_is_64_and_says_what_would_be_right() {
    for args in [vec![], vec!["agnet"], vec!["agent"], vec!["agent", "--confg", "x"], vec!["completions", "dos"]] {
        let ran = logweir(&args);
        assert_eq!(ran.code, 64, "{args:?}");
        assert_eq!(ran.out, "", "{args:?}");
        assert!(ran.err.contains("Usage:") || ran.err.contains("possible values"), "{args:?}: {}", ran.err);
    }
    assert!(logweir(["agnet"]).err.contains("'agent'"), "the nearest subcommand is named");
}

#[test]
fn settings_that_are_missing_or_a_folder_are_66() {
    for subcommand in ["agent", "transfer", "files"] {
        let dir = tempfile::tempdir().unwrap();
        let missing = with_config(subcommand, &dir.path().join("none.toml"));
        assert_eq!(missing.code, 66);
        assert!(missing.err.contains("none.toml") && missing.err.contains("No such file"), "{}", missing.err);
        let folder = with_config(subcommand, dir.path());
        assert_eq!(folder.code, 66);
        assert!(folder.err.contains("is a folder"), "{}", folder.err);
    }
}

#[test]
fn wrong_settings_are_78_and_every_mistake_is_named_with_its_place() {
    let (_dir, path) = file("[agent]\nmemory_bytes = \"much\"\nsweep_intervall_secs = 3\n[kafka]\nbrokers = []\n");
    let ran = with_config("agent", &path);
    assert_eq!(ran.code, 78);
    for part in [
        "agent.toml:2:1: agent.memory_bytes",
        "wrong type",
        "agent.toml:3:1: agent.sweep_intervall_secs is an unknown key; did you mean sweep_interval_secs?",
        "kafka.brokers",
    ] {
        assert!(ran.err.contains(part), "{part}\n{}", ran.err);
    }
}

#[test]
fn a_file_that_is_no_toml_is_78_with_its_line() {
    let (_dir, path) = file("[agent]\nhost = \n");
    let ran = with_config("agent", &path);
    assert_eq!(ran.code, 78);
    assert!(ran.err.contains("agent.toml:2:"), "{}", ran.err);
}

#[test]
fn a_wrong_environment_is_78_and_names_the_variable() {
    let (_dir, path) = file("");
    let args = ["agent".as_ref(), "-c".as_ref(), path.as_os_str()];
    let ran = logweir_in(args, &[("LOGWEIR__AGENT__MEMORY_BYTES", "1")]);
    assert_eq!(ran.code, 78);
    assert!(ran.err.contains("LOGWEIR__AGENT__MEMORY_BYTES"), "{}", ran.err);
}

#[test]
fn a_password_file_that_cannot_be_read_is_78_and_named() {
    let (_dir, path) = file("[etcd]\nusername = \"u\"\npassword_file = \"/nowhere/password\"\n");
    let ran = with_config("agent", &path);
    assert_eq!(ran.code, 78);
    assert!(ran.err.contains("/nowhere/password") && ran.err.contains("etcd.password_file"), "{}", ran.err);
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = logweir(["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("logweir") && ran.out.contains("transfer"), "{shell}");
    }
}

fn agent_settings(dir: &Path) -> PathBuf {
    let path = dir.join("agent.toml");
    std::fs::write(&path, format!("[agent]\ndata_dir = {:?}\n", dir.join("data"))).unwrap();
    path
}

#[test]
fn files_without_a_journal_is_66_and_names_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let ran = with_config("files", &agent_settings(dir.path()));
    assert_eq!(ran.code, 66);
    assert!(ran.err.contains(dir.path().join("data").to_str().unwrap()), "{}", ran.err);
}

#[test]
fn files_shows_what_the_journal_knows_as_a_table_and_as_json() {
    use logweir::journal::{Fingerprint, Journal, JournalOptions, NewFile};
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    std::fs::write(&log, "x".repeat(100)).unwrap();
    let inode = std::fs::metadata(&log).unwrap();
    let (mut journal, _) = Journal::open(&dir.path().join("data"), JournalOptions::default()).unwrap();
    let file = |path: &Path, ino, start| NewFile {
        path: path.to_owned(),
        topic: "nginx".into(),
        dev: inode.dev(),
        ino,
        head: Fingerprint::default(),
        start,
    };
    let gone = dir.path().join("gone.log");
    journal.register(vec![file(&log, inode.ino(), 30), file(&gone, inode.ino() + 1, 7)], 1).unwrap();
    journal.sync().unwrap();

    let settings = agent_settings(dir.path());
    let ran = with_config("files", &settings);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = ran.out.lines().map(words).collect();
    assert_eq!(lines[0], ["PATH", "TOPIC", "READ", "SETTLED", "SIZE", "LAG"]);
    assert_eq!(lines[1], [log.to_str().unwrap(), "nginx", "30", "30", "100", "70"]);
    assert_eq!(lines[2], [gone.to_str().unwrap(), "nginx", "7", "7", "-", "0"]);

    let json = logweir(["files".as_ref(), "--json".as_ref(), "--behind".as_ref(), "-c".as_ref(), settings.as_os_str()]);
    let value: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(value.as_array().unwrap().len(), 1, "only the one that is behind");
    assert_eq!(
        (&value[0]["lag_bytes"], &value[0]["size"], &value[0]["topic"]),
        (&70.into(), &100.into(), &"nginx".into())
    );
}

/// Settings of an agent with a file of entries, no etcd, and a broker's address where nobody listens.
fn offline(entries: &str, more: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = (dir.path().join("agent.toml"), dir.path().join("collect.json"));
    std::fs::write(&file, entries).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let data = dir.path().join("data");
    let text = format!(
        "[agent]\ndata_dir = {data:?}\n[collection]\nsource = \"file\"\nfile = {file:?}\n[etcd]\nendpoints = []\n\
         [kafka]\nbrokers = [\"{free}\"]\n{more}"
    );
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

#[test]
fn an_agent_whose_port_is_taken_does_not_start_and_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_dir, path) = offline("[]", &format!("[metrics]\nlisten = \"{address}\"\n"));
    let ran = with_config("agent", &path);
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains(&address) && ran.err.contains("metrics.listen"), "{}", ran.err);
}

#[test]
fn a_second_agent_on_the_same_folder_is_75_and_names_it() {
    use logweir::journal::{Journal, JournalOptions};
    let (dir, path) = offline("[]", "[metrics]\nlisten = \"\"\n");
    let data = dir.path().join("data");
    let _first = Journal::open(&data, JournalOptions::default()).unwrap();
    let ran = with_config("agent", &path);
    assert_eq!(ran.code, 75);
    assert!(ran.err.contains("another agent") && ran.err.contains(data.to_str().unwrap()), "{}", ran.err);
}
