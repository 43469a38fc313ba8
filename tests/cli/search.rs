//! `logweir search` against a standalone that says what the test tells it.

use super::{Ran, logweir, logweir_in};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

fn hit(offset: u64, message: &str) -> String {
    format!(
        r#"{{"time_ms":1795246112111,"file":"a41f9c0e77d2b3c8","offset":{offset},"cursor":"n[]","marks":{{}},"fields":
        {{"message":"{message}","host.name":"web-01","log.file.path":"/var/log/a.log","log.offset":{offset}}}}}"#
    )
    .replace('\n', "")
}

/// Answers requests in turn: what is asked for, and the whole answer but the head.
fn standalone(answers: Vec<(&'static str, u16, String)>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = move || {
        let mut asked = Vec::new();
        // Kept open until all is asked, as a live tail is.
        let mut open: Vec<TcpStream> = Vec::new();
        for (path, status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut request).unwrap();
            assert!(request.starts_with(&format!("GET /api/v1/{path}?")), "{request}");
            asked.push(request);
            let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n\r\n{body}");
            stream.write_all(head.as_bytes()).unwrap();
            if path == "live" {
                open.push(stream);
            }
        }
        asked
    };
    (url, thread::spawn(serve))
}

fn search(args: &[&str]) -> Ran {
    logweir(["search"].iter().chain(args))
}

#[test]
fn a_wrong_query_is_pointed_at() {
    let ran = search(&["timeout (a OR"]);
    assert_eq!(ran.code, 64, "{}", ran.err);
    assert!(ran.err.contains("\n  timeout (a OR\n               ^"), "{}", ran.err);
    let ran = search(&[&"x".repeat(100_000)]);
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("at most 32768 bytes") && ran.err.len() < 1000, "{}", ran.err);
    for args in [["x", "--since", "soon"], ["x", "--from", "yesterday"], ["x", "-n", "0"], ["x", "--url", "nowhere"]] {
        assert_eq!(search(&args).code, 64, "{args:?}");
    }
}

#[test]
fn a_standalone_that_is_not_there_is_said_so() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ran = search(&["x", "--url", &format!("http://127.0.0.1:{port}")]);
    assert_eq!(ran.code, 69, "{}", ran.err);
    assert!(ran.err.contains("is `logweir standalone` running there?"), "{}", ran.err);
}

#[test]
fn lines_are_printed_the_newest_last() {
    let page = || {
        format!(r#"{{"hits":[{},{}],"total":null,"incomplete":null}}"#, hit(9, "second"), hit(1, "first \\u001b[31m"))
    };
    let (url, served) = standalone(vec![("search", 200, page()), ("search", 200, page())]);
    let ran = search(&["first OR second", "--since", "1h", "--url", &url]);
    let line = |text: &str| format!("2026-11-21T07:28:32.111Z web-01 /var/log/a.log {text}\n");
    assert_eq!((ran.code, ran.out), (0, line("first \u{241b}[31m") + &line("second")), "{}", ran.err);
    let json = logweir_in(["search", "x", "--json", "--url", &url], &[("NO_COLOR", "1")]);
    let first: serde_json::Value = serde_json::from_str(json.out.lines().next().unwrap()).unwrap();
    assert_eq!(first["message"], "first \u{1b}[31m");
    let asked = served.join().unwrap();
    assert!(asked[0].contains("q=first+OR+second") && asked[0].contains("&from=1") && asked[0].contains("size=100"));
}

#[test]
fn what_the_standalone_refuses_is_passed_on() {
    let refusal = r#"{"error":"the query is too expensive: make it longer"}"#.to_owned();
    let (url, _) = standalone(vec![("search", 422, refusal)]);
    let ran = search(&["x*", "--url", &url]);
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains("make it longer"), "{}", ran.err);
}

#[test]
fn following_prints_each_line_once_and_ends_with_its_reader() {
    let event = |offset, text| format!("event: line\ndata: {}\n\n", hit(offset, text));
    let live = format!(": begun\n\n{}{}event: skipped\ndata: {{\"lines\":7}}\n\n", event(9, "known"), event(12, "new"));
    let page = format!(r#"{{"hits":[{}],"total":null,"incomplete":null}}"#, hit(9, "known"));
    let (url, _served) = standalone(vec![("live", 200, live), ("search", 200, page)]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_logweir"))
        .args(["search", "", "--follow", "--url", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    // The stub has closed the stream.
    assert_eq!(child.wait().unwrap().code(), Some(69), "{err}");
    assert_eq!(out.matches("known").count() + out.matches("new").count(), 2, "{out}");
    assert!(err.contains("7 lines came too fast"), "{err}");
}
