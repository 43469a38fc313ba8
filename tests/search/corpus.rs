//! Documents of every kind that a search meets, the same in every run with the same seed.

use crate::support::rng::Rng;
use logweir::calendar::rfc3339;
use serde_json::{Value, json};

/// 2026-11-18, midnight; four days from there.
pub const BEGIN_MS: i64 = 1_794_960_000_000;
pub const DAYS: i64 = 4;
const DAY_MS: i64 = 86_400_000;

const FILES: u64 = 9;
const HOSTS: [&str; 4] = ["web-01", "web-02", "Web-01", "db*1"];
const TEAMS: [&str; 4] = ["web front", "core", "a\\b", "团队"];
const CODES: [i64; 5] = [200, 404, 500, 503, -1];

/// Of file number `n`.
pub fn file(n: u64) -> String {
    format!("{:016x}", 0xa41f_0000_0000_0000_u64 + n * 0x1111)
}

fn message(rng: &mut Rng, n: u64) -> String {
    let code = CODES[rng.below(5) as usize];
    match rng.below(14) {
        0..=3 => format!("10.0.{}.{} - - GET /api/v{}/items?id={n} HTTP/1.1 {code}", n % 3, n % 7, n % 4),
        4 => format!("ERROR com.acme.Pool: read timed out after {} ms, connection {n} closed", rng.below(900)),
        5 => format!("WARN read_timed_out=true retry={} request_id=req-{:x}", n % 5, rng.next()),
        6 => format!("{{\"level\":\"info\",\"msg\":\"connect ok\",\"took\":{}.{}}}", n % 9, n % 10),
        7 => format!("连接失败：主机 {} 超时 ✅ done", n % 4),
        8 => format!("a*b?c \\ {{x}} [y] (z) \"quoted\" 'it’s' {n}"),
        9 => "--- ... ***".to_owned(),
        10 => format!("Größe ΟΔΟΣ İstanbul café\u{301} ภาษาไทย {}", n % 3),
        11 => format!("{} end", "x".repeat(250 + (n % 12) as usize)),
        12 => format!("broken \u{fffd} bytes \u{1b}[31mred\u{1b}[0m <script>alert({n})</script>"),
        _ => format!("connected conn{} connector fail failed failure {}", n % 50, n % 2),
    }
}

/// A line that the embedded index's own writer can take: one whose fields are texts.
pub struct Plain {
    /// The line as it stands in its file.
    pub bytes: Vec<u8>,
    pub document: Value,
}

/// The same document without what only parsing brings; a line that is no UTF-8 really is none.
pub fn plain(document: &Value) -> Plain {
    let mut document = document.clone();
    let fields = document.as_object_mut().unwrap();
    fields.retain(|name, _| !["status", "took", "ok", "user"].contains(&name.as_str()));
    let message = document["message"].as_str().unwrap();
    let mut bytes = message.as_bytes().to_vec();
    if document["logweir"]["invalid_utf8"] == true {
        bytes = [b"no \xff text ", message.as_bytes()].concat();
        document["message"] = format!("no \u{fffd} text {message}").into();
    }
    Plain { bytes, document }
}

/// `count` documents as the transfer would send them.
pub fn documents(count: u64, seed: u64) -> Vec<Value> {
    let mut rng = Rng::new(seed);
    let mut offsets = [0_u64; FILES as usize];
    let mut documents = Vec::new();
    let step = DAYS * DAY_MS / count.max(1) as i64;
    for n in 0..count {
        let of_file = rng.below(FILES);
        // A thousand lines of one millisecond, now and then; a clock that goes back, too.
        let ms = match n % 5000 {
            0..1000 => BEGIN_MS + (n / 5000 * 5000) as i64 * step,
            _ => BEGIN_MS + (n as i64 * step + rng.below(3000) as i64 - 1500).clamp(0, DAYS * DAY_MS - 1),
        };
        let text = message(&mut rng, n);
        let offset = &mut offsets[of_file as usize];
        let mut document = json!({
            "@timestamp": rfc3339(ms),
            "message": text,
            "host": {"name": HOSTS[(of_file % 4) as usize]},
            "log": {"file": {"path": format!("/var/log/app-{of_file}.log")}, "offset": *offset},
            "logweir": {"file": file(of_file), "topic": if of_file < 5 { "nginx_log" } else { "error.log" }},
        });
        *offset += text.len() as u64 + 1;
        if of_file.is_multiple_of(3) {
            document["labels"] = json!({"team": TEAMS[(n % 4) as usize], "env": "prod"});
        }
        if rng.once_in(3) {
            document["status"] = CODES[rng.below(5) as usize].into();
            document["took"] = json!(rng.below(40) as f64 / 8.0 + 0.1);
        }
        if rng.once_in(4) {
            document["ok"] = rng.once_in(2).into();
            let tags = &["x", "y", "x"][..=(n % 3) as usize];
            document["user"] = json!({"name": format!("u{}", rng.below(300)), "tags": tags});
        }
        if rng.once_in(50) {
            document["logweir"]["part"] = "2".into();
            document["logweir"]["invalid_utf8"] = true.into();
        }
        documents.push(document);
    }
    documents
}
