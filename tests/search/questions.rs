//! What is asked: queries that once were wrong somewhere or could be, and as many made up as one likes.

use crate::{
    corpus::{BEGIN_MS, DAYS, file},
    support::rng::Rng,
};
use logweir::search::{
    model::{Order, Scope},
    parse::parse,
};

pub struct Question {
    pub text: String,
    pub scope: Scope,
    pub order: Order,
    pub page: usize,
}

const FIXED: &[&str] = &[
    "*",
    "error",
    "ERROR",
    "timeout",
    "\"read timed out\"",
    "\"timed read\"",
    "read_timed_out",
    "10.0.1.3",
    "\"0 1 3\"",
    "conn*",
    "conn?",
    "conn??",
    "*fail*",
    "*ected",
    "c*n*d",
    "read_time*",
    "10.0.*",
    "?ailed",
    "失败",
    "连接*",
    "主机",
    "größe",
    "ΟΔΟΣ",
    "οδος",
    "istanbul",
    "İstanbul",
    "cafe",
    "café\u{301}",
    "ภาษาไทย",
    "ภาษา*",
    "script",
    "31mred",
    "it's",
    "message:*",
    "status:*",
    "status:503",
    "status:503.0",
    "status:abc",
    "status:50*",
    "status:-1",
    "status:>=500",
    "status:[404 TO 503}",
    "status:{404 TO *}",
    "status:<0",
    "status:>404.5",
    "status:[a TO z]",
    "status:>1e30",
    "status:<99999999999999999999",
    "took:0.1",
    "took:>2.5",
    "took:<=0.225",
    "took:[1 TO 2]",
    "took:abc",
    "ok:true",
    "ok:false",
    "ok:TRUE",
    "ok:1",
    "ok:t*",
    "ok:[a TO z]",
    "user.name:u1",
    "user.name:u1*",
    "user.name:*1",
    "user.name:[u1 TO u2}",
    "user.name:U1",
    "user:*",
    "user:u1",
    "user.tags:x",
    "user.tags:y",
    "-user.tags:y",
    "use:*",
    "host.name:web-01",
    "host.name:web*",
    "host.name:Web-01",
    "host.name:db\\*1",
    "host.name:db?1",
    "host.name:*",
    "host.name:>web-01",
    "host.name:web",
    "labels.team:\"web front\"",
    "labels.team:web*",
    "labels.team:a\\\\b",
    "labels.team:团队",
    "labels.team:团*",
    "labels.env:prod -labels.team:core",
    "labels:*",
    "log:*",
    "logweir:*",
    "log.offset:0",
    "log.offset:>100000",
    "log.offset:[100 TO 200]",
    "log.offset:{0 TO 99.5]",
    "log.offset:-5",
    "log.offset:<0",
    "log.offset:1*",
    "log.offset:abc",
    "log.offset:>1e19",
    "log.offset:<1e19",
    "log.offset:5.5",
    "log.file.path:/var/log/app-1.log",
    "log.file.path:*app-?.log",
    "logweir.topic:nginx_log",
    "logweir.topic:error*",
    "logweir.part:2",
    "logweir.part:*",
    "logweir.invalid_utf8:true",
    "logweir.invalid_utf8:*",
    "logweir.file:xyz",
    "logweir.file:a41f*",
    "logweir.file:*1111",
    "logweir.file:>a41f000000003333",
    "logweir.file:A41F000000001111",
    "@timestamp:*",
    "@timestamp:2026-11-19",
    "@timestamp:>=2026-11-20",
    "@timestamp:<2026-11-18T06:00:00+01:00",
    "@timestamp:[2026-11-18 TO 2026-11-19}",
    "unknown:5",
    "unknown:*",
    "-unknown:*",
    "unknown:[1 TO 2]",
    "unknown:a*",
    "NOT error",
    "-error -warn",
    "NOT (error OR warn)",
    "NOT NOT error",
    "error AND NOT closed",
    "error OR 失败 OR script",
    "(conn* OR fail*) -status:*",
    "status:(500 OR 503) OR took:>4",
    "ERROR pool closed timed",
    "* -*",
    "NOT *",
    "a\\*b",
    "c \\{x\\}",
    "\"quoted it\"",
    "done",
    "\"超时 done\"",
    "x*",
    "xx*xx",
    "?*",
    "*?*",
    "\"- - GET\"",
    "NOT -GET",
];

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.below(from.len() as u64) as usize]
}

fn made_up(rng: &mut Rng, depth: u64) -> String {
    if depth == 0 || rng.once_in(3) {
        return match rng.below(8) {
            0 => format!("conn{}", rng.below(60)),
            1 => format!(
                "\"{} {}\"",
                pick(rng, &["read", "timed", "api", "items"]),
                pick(rng, &["timed", "out", "v1", "id"])
            ),
            2 => format!("{}*", pick(rng, &["c", "co", "fa", "re", "1", "ti", "连", "x"])),
            3 => format!("status:{}{}", pick(rng, &["", ">", "<", ">=", "<="]), rng.below(600)),
            4 => format!("took:[{} TO {}]", rng.below(3), rng.below(6)),
            5 => format!("logweir.file:{}", file(rng.below(10))),
            6 => format!("log.offset:[{} TO {}}}", rng.below(300_000), rng.below(600_000)),
            _ => pick(rng, FIXED).to_owned(),
        };
    }
    match rng.below(4) {
        0 => format!("NOT ({})", made_up(rng, depth - 1)),
        1 => format!("({}) OR ({})", made_up(rng, depth - 1), made_up(rng, depth - 1)),
        _ => format!("({}) ({})", made_up(rng, depth - 1), made_up(rng, depth - 1)),
    }
}

pub fn questions(made_up_count: u64, rng: &mut Rng) -> Vec<Question> {
    let mut texts: Vec<String> = FIXED.iter().map(|text| (*text).to_owned()).collect();
    texts.extend((0..made_up_count).map(|_| made_up(rng, 3)));
    let all = DAYS as u64 * 86_400_000;
    let question = |(n, text): (usize, String)| {
        let from = BEGIN_MS + rng.below(all) as i64;
        let to = from + rng.below(all / 2) as i64;
        // Every third one within a span, some of whole days.
        let (from_ms, to_ms) = match n % 6 {
            0 => (Some(from), Some(to)),
            3 => (Some(BEGIN_MS + 86_400_000), Some(BEGIN_MS + 2 * 86_400_000)),
            4 => (Some(from), None),
            _ => (None, None),
        };
        let query = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let order = if n % 2 == 0 { Order::NewestFirst } else { Order::OldestFirst };
        Question { text, scope: Scope { query, from_ms, to_ms }, order, page: [50, 333, 1000][n % 3] }
    };
    texts.into_iter().enumerate().map(question).collect()
}
