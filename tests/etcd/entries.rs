//! `logweir entries` as people type it: checked before it is written, never over somebody else's change.

use crate::server::Server;
use logweir::{
    console::entries::history::{self, From},
    etcd::Session,
    store::EtcdStore,
};
use std::{
    io::Write,
    process::{Command, Stdio},
};

const KEY: &str = "/logweir/collect/all";

/// Exit code, standard output and standard error of one command line.
fn logweir(server: &Server, words: &[&str], editor: &str, stdin: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    command.arg("entries").args(words).args(["--etcd", server.url()]).env_remove("VISUAL").env("EDITOR", editor);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn value(server: &Server) -> String {
    server.ctl(&["get", "--print-value-only", KEY])
}

#[actix_rt::test]
async fn entries_are_put_listed_and_deleted_and_wrong_ones_are_never_written() {
    let server = Server::start().await;
    let good = "[{\"path\":\"/a\",\"topic\":\"t\"}]";
    let (code, out, _) = logweir(&server, &["list"], "", "");
    assert_eq!((code, out.as_str()), (0, "there are no entries\n"));
    let (code, out, err) = logweir(&server, &["put", "-", "--scope", "all", "--dry-run"], "", good);
    assert!(code == 0 && out.contains("+    \"path\": \"/a\""), "{code} {out} {err}");
    assert_eq!(value(&server), "");
    let (code, out, _) = logweir(&server, &["put", "-", "--scope", "all"], "", good);
    assert!(code == 0 && out.contains("written at revision"), "{code} {out}");
    let (code, out, _) = logweir(&server, &["put", "-", "--scope", "all"], "", good);
    assert!(code == 0 && out.contains("is like that already"), "{code} {out}");

    let (code, _, err) = logweir(&server, &["put", "-", "--scope", "all"], "", "[{\"path\":\"/a\",\"tpoic\":\"t\"}]");
    assert!(code == 65 && err.contains("line 1 column 15: unknown field \"tpoic\"; did you mean \"topic\"?"), "{err}");
    assert_eq!(value(&server).trim(), good);

    server.ctl(&["put", "/logweir/collect/host/x", "no JSON"]);
    let (code, out, _) = logweir(&server, &["list"], "", "");
    assert!(code == 65 && out.contains("  /a -> t\n") && out.contains("WRONG"), "{code} {out}");
    let (code, out, _) = logweir(&server, &["list", "--key", KEY], "", "");
    assert_eq!((code, out.trim()), (0, good));

    let (code, out, _) = logweir(&server, &["delete", "--scope", "all"], "", "");
    assert!(code == 0 && out.contains("deleted") && out.contains("-    \"path\": \"/a\""), "{code} {out}");
    let (code, _, err) = logweir(&server, &["delete", "--scope", "all"], "", "");
    assert!(code == 65 && err.contains("there is no key"), "{code} {err}");

    // What was done stands in the history and in the audit, and a console goes on with it.
    let store = EtcdStore::new(Session::new(server.settings()));
    let records = history::records(&store, KEY, None, 9).await.unwrap();
    let told: Vec<_> = records.iter().map(|placed| (placed.record.text.as_deref(), placed.record.from)).collect();
    assert_eq!(told, [(None, From::CommandLine), (Some(good), From::CommandLine)]);
    assert!(records[0].record.author.contains('@'), "{records:?}");
    let audit = server.ctl(&["get", "--prefix", "/logweir/audit/", "--print-value-only"]);
    assert!(audit.contains("entries.put") && audit.contains("entries.delete") && audit.contains(KEY), "{audit}");
    assert_eq!(audit.matches("command line").count(), 2, "a dry run and a wrong text are no changes: {audit}");
}

#[actix_rt::test]
async fn a_key_that_etcdctl_broke_and_one_that_is_too_large_are_mended_with_their_history() {
    let server = Server::start().await;
    let store = EtcdStore::new(Session::new(server.settings()));
    let large = format!("[{}]", vec![r#"{"path":"/a","topic":"t"}"#; 55_000].join(","));
    let session = Session::new(server.settings());
    session.put(KEY, large.as_bytes(), None).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &large).unwrap();
    let (code, _, err) = logweir(&server, &["put", file.path().to_str().unwrap(), "--scope", "host/a"], "", "");
    assert!(code == 65 && err.contains("stand together already"), "{code} {err}");
    let many: Vec<String> = (0..30_000).map(|n| format!(r#"{{"path":"/a/{n}","topic":"t"}}"#)).collect();
    std::fs::write(file.path(), format!("[{}]", many.join(","))).unwrap();
    let (code, _, err) = logweir(&server, &["put", file.path().to_str().unwrap(), "--scope", "host/a"], "", "");
    assert!(code == 65 && err.contains("groups or hosts"), "{code} {err}");
    let (code, _, err) = logweir(&server, &["put", "-", "--scope", "all"], "", "[]");
    assert_eq!(code, 0, "{err}");
    let records = history::records(&store, KEY, None, 9).await.unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!((records[1].record.from, records[1].record.omitted_bytes), (From::Outside, Some(large.len())));
}

#[actix_rt::test]
async fn an_edit_is_refused_when_somebody_else_was_faster_or_when_it_is_wrong_and_the_text_is_kept() {
    let server = Server::start().await;
    server.ctl(&["put", KEY, "[{\"path\":\"/a\",\"topic\":\"t\"}]"]);
    let edit = |editor: &str| logweir(&server, &["edit", "--scope", "all"], editor, "");
    let (code, out, err) = edit("sed -i s,/a,/b,");
    assert!(code == 0 && out.contains("+    \"path\": \"/b\""), "{code} {out} {err}");
    assert!(value(&server).contains("/b"));

    let theirs = "[{\"path\":\"/theirs\",\"topic\":\"t\"}]";
    let put = format!("ETCDCTL_API=3 etcdctl --endpoints={} put {KEY} '{theirs}' && sed -i s,/b,/mine,", server.url());
    let (code, _, err) = edit(&put);
    assert_eq!(code, 75, "{err}");
    assert!(err.contains("somebody else has changed") && err.contains("+    \"path\": \"/theirs\""), "{err}");
    assert_eq!(value(&server).trim(), theirs);
    let kept = err.rsplit(' ').next().unwrap().trim();
    assert!(std::fs::read_to_string(kept).unwrap().contains("/mine"), "{err}");
    std::fs::remove_file(kept).unwrap();

    let (code, _, err) = edit("sed -i s,topic,,");
    assert_eq!(code, 65, "{err}");
    std::fs::remove_file(err.rsplit(' ').next().unwrap().trim()).unwrap();
    let (code, _, err) = edit("false");
    assert!(code == 75 && err.contains("nothing was written"), "{code} {err}");
    assert_eq!(value(&server).trim(), theirs);
}

#[actix_rt::test]
async fn what_is_missing_on_the_command_line_and_a_server_that_is_away_have_their_exit_codes() {
    let mut server = Server::start().await;
    let (code, _, err) = logweir(&server, &["put", "-"], "", "[]");
    assert!(code == 64 && err.contains("which key?"), "{code} {err}");
    let (code, _, err) = logweir(&server, &["put", "/none/such", "--scope", "all"], "", "");
    assert!(code == 66 && err.contains("/none/such"), "{code} {err}");
    let (code, _, err) = logweir(&server, &["list", "--scope", "host/"], "", "");
    assert!(code == 64 && err.contains("is expected"), "{code} {err}");
    server.kill();
    let (code, _, err) = logweir(&server, &["list"], "", "");
    assert!(code == 69 && err.contains("etcd http://127.0.0.1"), "{code} {err}");
}
