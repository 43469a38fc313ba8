//! The calls beneath the page, by plain sockets: what they answer, and whom they don't.

use crate::fake::Fake;
use logweir::search::{budget::ANSWER_BYTES, model::SearchError};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Command,
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Status, head and body.
pub fn send(server: &Fake, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {}\r\n", server.address) };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    let body = if head.contains("transfer-encoding: chunked") { whole(body) } else { body.to_owned() };
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, body)
}

/// A body that came in pieces, each after its length.
fn whole(mut rest: &str) -> String {
    let mut all = String::new();
    loop {
        let (length, after) = rest.split_once("\r\n").expect("the last piece is there");
        match usize::from_str_radix(length, 16).unwrap() {
            0 => return all,
            length => {
                all.push_str(&after[..length]);
                rest = &after[length + 2..];
            }
        }
    }
}

pub fn get(server: &Fake, path: &str) -> (u16, Value) {
    let (status, _, body) = send(server, "GET", path, "", "");
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[test]
fn pages_of_a_search_follow_one_another_with_marks_in_browser_units() {
    let server = Fake::start();
    for i in 0..5 {
        server.write("/var/log/shop/a.log", &format!("😀 line {i} read timeout"));
    }
    let (_, first) = get(&server, "/api/v1/search?q=timeout&size=2&count=true&order=oldest_first");
    assert_eq!(first["total"], 5);
    assert_eq!(first["hits"][0]["marks"]["message"], json!([[15, 22]]));
    let cursor = first["hits"][1]["cursor"].as_str().unwrap();
    let (_, second) = get(&server, &format!("/api/v1/search?q=timeout&size=2&order=oldest_first&after={cursor}"));
    assert!(second["hits"][0]["fields"]["message"].as_str().unwrap().contains("line 2"), "{second}");
    assert_eq!(second["total"], Value::Null);
}

#[test]
fn a_wrong_question_is_refused_with_what_is_wrong() {
    let server = Fake::start();
    let (status, answer) = get(&server, "/api/v1/search?q=a%20AND%20(b");
    assert_eq!((status, &answer["position"]), (400, &json!(8)), "{answer}");
    assert!(answer["expected"].is_string() && answer["error"].is_string());
    for path in [
        "search?from=yesterday",
        "search?size=10001",
        "search?sise=1",
        "search?order=x",
        "histogram?from=0&interval_ms=1",
        "around?file=xyz&offset=1",
        "values?q=a",
        "export?q=(",
        "live?q=(",
        "export?format=xls",
    ] {
        let (status, answer) = get(&server, &format!("/api/v1/{path}"));
        assert_eq!(status, 400, "{path}");
        assert!(answer["error"].is_string(), "{path}: {answer}");
    }
    assert_eq!(get(&server, &format!("/api/v1/search?q={}", "a+".repeat(50_000))).0, 400, "a query of 100 kB");
}

#[test]
fn a_back_end_that_fails_is_told_with_its_kind() {
    let server = Fake::start();
    for (failure, expected) in [
        (SearchError::Refused("no".into()), 400),
        (SearchError::Unavailable("gone".into()), 503),
        (SearchError::TooExpensive("much".into()), 422),
    ] {
        *server.documents.failure.lock().unwrap() = Some(failure);
        for path in
            ["search", "histogram", "values?field=a", "fields", "around?file=00000000000000aa&offset=1", "export"]
        {
            let (status, answer) = get(&server, &format!("/api/v1/{path}"));
            assert_eq!(status, expected, "{path}");
            assert!(answer["error"].is_string(), "{path}");
        }
    }
}

#[test]
fn what_is_not_in_the_table_of_calls_is_not_there() {
    let server = Fake::start();
    let own = "X-Logweir: 1\r\n";
    for path in ["nothing", "search/more", "search/", "Search", "searches", "%2e%2e/files", "openapi.json/x"] {
        let (status, _, body) = send(&server, "POST", &format!("/api/v1/{path}"), own, "{}");
        // What is there knows no such method.
        assert_eq!(status, if path == "searches" { 405 } else { 404 }, "{path}");
        assert!(body.starts_with("{\"error\":"), "{path}: {body}");
    }
    assert_eq!(send(&server, "GET", "/api/v2/search", "", "").0, 404);
    assert_eq!(send(&server, "GET", "/api", "", "").0, 404);
}

#[test]
fn the_api_describes_itself_and_every_call_that_it_describes_is_there() {
    let server = Fake::start();
    let (status, described) = get(&server, "/api/v1/openapi.json");
    assert_eq!((status, &described["openapi"]), (200, &json!("3.1.0")));
    let paths = described["paths"].as_object().unwrap();
    assert!(paths.len() >= 10, "{paths:?}");
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["responses"]["200"]["content"]["text/event-stream"].is_object() {
                // It has no end; another test reads it.
                continue;
            }
            let path = path.replace("{name}", "a");
            let (status, _, body) = send(&server, &method.to_uppercase(), &path, "X-Logweir: 1\r\n", "");
            assert!(status != 405 && !body.contains("no such call"), "{method} {path}: {status} {body}");
        }
    }
}

#[test]
fn an_export_holds_every_line_and_no_formula() {
    let server = Fake::start();
    let now = Fake::now();
    for i in 0..2_500 {
        server.documents.write("/var/log/shop/a.log", now, &format!("line {i}, \"x\""), json!({ "n": -i }));
    }
    server.write("/var/log/shop/a.log", "=cmd|' /C calc'!A0");
    let (_, head, body) = send(&server, "GET", "/api/v1/export?order=oldest_first", "", "");
    assert!(head.contains("attachment; filename=\"logweir.ndjson\""), "{head}");
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2_501);
    assert_eq!(lines[1_700]["message"], "line 1700, \"x\"");
    let (_, _, csv) = send(&server, "GET", "/api/v1/export?format=csv&columns=n,message&order=oldest_first", "", "");
    assert!(csv.starts_with("n,message\r\n0,\"line 0, \"\"x\"\"\"\r\n-1,"), "{}", &csv[..100]);
    assert!(csv.ends_with(",\"'=cmd|' /C calc'!A0\"\r\n"), "{}", &csv[csv.len() - 60..]);
}

/// 100 MB of lines pass through a few pages, none of which is larger than an answer may be.
#[test]
fn an_export_of_long_lines_goes_on_behind_short_pages() {
    let server = Fake::start();
    let (now, text) = (Fake::now(), "x".repeat(500_000));
    for i in 0..200 {
        server.documents.write("/var/log/shop/a.log", now, &format!("{i} {text}"), Value::Null);
    }
    for (order, first, last) in [("oldest_first", 0, 199), ("newest_first", 199, 0)] {
        let (_, _, body) = send(&server, "GET", &format!("/api/v1/export?order={order}"), "", "");
        let number = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["message"].as_str().and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap()
        };
        let mut numbers: Vec<u64> = body.lines().map(number).collect();
        assert_eq!((numbers[0], numbers[199]), (first, last), "{order}");
        numbers.sort_unstable();
        assert_eq!(numbers, (0..200).collect::<Vec<u64>>(), "{order}");
    }
    let largest = server.documents.largest.load(Relaxed);
    assert!((10 << 20..=ANSWER_BYTES).contains(&largest), "{largest}");
    let (_, page) = get(&server, "/api/v1/search?size=10000&cut=10");
    let (hits, after) = (page["hits"].as_array().unwrap(), page["after"].as_str().unwrap());
    assert_eq!((hits.len(), hits[0]["cut"]["message"].as_u64()), (33, Some(500_004)));
    assert_eq!(
        get(&server, &format!("/api/v1/search?size=10000&cut=10&after={after}")).1["hits"][0]["cut"]["message"],
        500_004
    );
    let (file, offset) = (hits[20]["file"].as_str().unwrap(), &hits[20]["offset"]);
    let (_, around) = get(&server, &format!("/api/v1/around?file={file}&offset={offset}&before=50&after=50&cut=10"));
    let count = |name: &str| around[name].as_array().unwrap().len();
    assert_eq!((count("before"), count("after")), (16, 16));
    assert_eq!((&around["more_before"], &around["more_after"]), (&json!(true), &json!(true)));
}

#[test]
fn a_search_from_the_command_line_goes_on_behind_short_pages() {
    let server = Fake::start();
    let (now, text) = (Fake::now(), "x".repeat(500_000));
    for i in 0..80 {
        server.documents.write("/var/log/shop/a.log", now, &format!("{i} {text}"), json!({ "n": i }));
    }
    let search = ["search", "--url", &server.url(""), "--json", "-n", "70"];
    let output = Command::new(env!("CARGO_BIN_EXE_logweir")).args(search).output().unwrap();
    let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap();
    let numbers: Vec<u64> = str::from_utf8(&output.stdout).unwrap().lines().map(number).collect();
    assert_eq!(numbers, (10..80).collect::<Vec<_>>(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn only_this_machine_and_this_page_are_answered() {
    let server = Fake::start();
    let own = "X-Logweir: 1\r\n";
    assert_eq!(send(&server, "GET", "/", "Host: logs.example\r\n", "").0, 403);
    assert_eq!(send(&server, "GET", "/api/v1/search", "Sec-Fetch-Site: cross-site\r\n", "").0, 403);
    assert_eq!(send(&server, "PUT", "/api/v1/searches/a", "", "{}").0, 403);
    assert_eq!(
        send(&server, "PUT", "/api/v1/searches/a", &format!("{own}Origin: http://evil.example\r\n"), "{}").0,
        403
    );
    assert_eq!(send(&server, "PUT", "/api/v1/searches/a", own, "{}").0, 204);
    assert_eq!(send(&server, "PUT", "/api/v1/searches/b", own, &"x".repeat(70_000)).0, 413);
    for path in ["/", "/collect", "/api/v1/search", "/nothing", "/assets/0/app.js"] {
        let (_, head, _) = send(&server, "GET", path, "", "");
        assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{path}: {head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{path}");
    }
}

#[test]
fn a_path_is_told_what_it_means_and_nothing_is_written() {
    let server = Fake::start();
    let folder = server.folder.path().canonicalize().unwrap();
    std::fs::create_dir(folder.join("logs")).unwrap();
    let (status, told) = get(&server, "/api/v1/paths?path=logs");
    assert_eq!((status, &told["kind"], &told["problem"]), (200, &json!("folder"), &Value::Null), "{told}");
    assert_eq!(told["entries"][0]["path"], json!(folder.join("logs/**")));
    assert!(told["entries"][0]["exclude"].to_string().contains("gz"), "{told}");
    assert_eq!(get(&server, "/api/v1/paths?path=logs/a.log").1["kind"], "missing");
    assert_eq!(get(&server, "/api/v1/entries").1["total"], 0);
    for wrong in ["paths", "paths?path=", "paths?path=a&x=1"] {
        assert_eq!(get(&server, &format!("/api/v1/{wrong}")).0, 400, "{wrong}");
    }
}

/// A live tail that has begun.
pub fn tail(address: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET /api/v1/live HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    read_to(&mut reader, ": begun");
    reader
}

pub fn read_to(reader: &mut impl std::io::BufRead, text: &str) -> String {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the live tail ended before {text}");
    }
    line
}

#[test]
fn two_hundred_viewers_see_a_line_and_one_that_does_not_read_misses_some_and_is_told() {
    let server = Fake::start();
    let mut asleep = tail(&server.address.to_string());
    let mut viewers: Vec<_> = (0..200).map(|_| tail(&server.address.to_string())).collect();
    server.write("/var/log/shop/a.log", "the one line");
    for viewer in &mut viewers {
        read_to(viewer, "event: line");
        read_to(viewer, "data: ");
    }
    drop(viewers);
    // 40 MB go by while it sleeps.
    let long = "x".repeat(2_000);
    for _ in 0..20_000 {
        server.write("/var/log/shop/b.log", &long);
    }
    let mut held = 0;
    let skipped = loop {
        let mut line = String::new();
        assert!(asleep.read_line(&mut line).unwrap() > 0, "the live tail ended");
        held += line.len();
        if line.contains("{\"lines\":") {
            break line;
        }
    };
    assert!(held < 20 << 20, "{held} bytes were kept for a viewer that didn't read");
    assert!(!skipped.contains("{\"lines\":0}"), "{skipped}");
    assert_eq!(get(&server, "/api/v1/search?size=1").0, 200);
}

#[test]
fn another_address_than_loopback_is_refused() {
    let server = Fake::start();
    let error = server.try_again_on("0.0.0.0:0");
    assert!(error.contains("in the open") && error.contains("0.0.0.0:0"), "{error}");
    let taken = server.try_again_on(&server.address.to_string());
    assert!(taken.contains(&server.address.to_string()), "{taken}");
}
