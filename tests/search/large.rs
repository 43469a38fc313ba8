//! Lines of half a megabyte: what is answered at once is bounded, and nothing is left out or told twice.

use crate::{
    command,
    compare::{Pages, around_differences, differences},
    model::Model,
    questions::Question,
    stores,
};
use logweir::{
    calendar::rfc3339,
    search::{
        budget::ANSWER_BYTES,
        model::{Around, Backend, Hit, LineAt, Order, PageRequest, Scope},
        parse::parse,
    },
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const LINES: u64 = 110;
/// So many small lines come first.
const SMALL: u64 = 50;
const BYTES: usize = 500_000;
const FILE: &str = "a41f9c0e77d2b3c8";

/// Small lines before large ones and among them, several of one millisecond, over two days.
fn documents() -> Vec<Value> {
    let large = |n: u64| format!("large {n} {}", "0123456789abcdef ".repeat(BYTES / 17));
    let document = |n: u64| {
        let text = if n < SMALL || n % 6 == 5 { format!("small {n}") } else { large(n) };
        json!({
            "@timestamp": rfc3339(1_794_960_000_000 + (n / 4 * 6_000_000) as i64), "message": text,
            "log": {"offset": n * 1_000_000}, "logweir": {"file": FILE, "topic": "t"},
        })
    };
    (0..LINES).map(document).collect()
}

fn scope() -> Scope {
    Scope { query: parse("").unwrap(), from_ms: None, to_ms: None }
}

fn bytes<'a>(hits: impl IntoIterator<Item = &'a Hit>) -> usize {
    hits.into_iter().map(Hit::bytes).sum()
}

/// All pages of so many lines each, one after the other; the offsets, and how many pages it took.
async fn paged(backend: &dyn Backend, order: Order, size: usize) -> (Vec<u64>, usize) {
    let mut request = PageRequest { scope: scope(), order, size, after: None, count: true };
    let (mut offsets, mut pages) = (Vec::new(), 0);
    loop {
        let page = backend.page(request.clone()).await.unwrap();
        assert!(bytes(&page.hits) <= ANSWER_BYTES, "a page of {} bytes", bytes(&page.hits));
        assert_eq!(page.total, request.count.then_some(LINES));
        offsets.extend(page.hits.iter().map(|hit| hit.offset.unwrap()));
        pages += 1;
        (request.count, request.after) = (false, page.after);
        if request.after.is_none() {
            return (offsets, pages);
        }
    }
}

async fn judge(tested: &dyn Backend, documents: &[Value]) {
    let all: Vec<u64> = (0..LINES).map(|n| n * 1_000_000).collect();
    for size in [10_000, 1_000, 40, 7] {
        let (oldest, pages) = paged(tested, Order::OldestFirst, size).await;
        assert_eq!(oldest, all, "{size}");
        assert!(pages > 1, "{size}: all in one page");
        let (mut newest, _) = paged(tested, Order::NewestFirst, size).await;
        newest.reverse();
        assert_eq!(newest, all, "{size}");
    }
    let model = Model::new(documents);
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let question = Question { text: String::new(), scope: scope(), order, page: 1_000 };
        assert_eq!(differences(&model, tested, &question, Pages::All).await, [""; 0]);
    }
    let lines = [0, 1, 49, 80, 109, 111].map(|n| LineAt { file: FILE.to_owned(), offset: n * 1_000_000 });
    assert_eq!(around_differences(&model, tested, &lines).await, [""; 0]);
    // One side is full of small lines, the other one of large ones.
    let (expected, found) =
        (model.around(lines[2].clone(), 45, 45).await, tested.around(lines[2].clone(), 45, 45).await);
    let counts = |around: Around| (around.before.len(), around.after.len(), around.more_before, around.more_after);
    assert_eq!(found.map(counts), expected.map(counts));
    let around = tested.around(lines[3].clone(), 1_000, 1_000).await.unwrap();
    let (before, after) = (around.before.len(), around.after.len());
    assert!(bytes(around.before.iter().chain(&around.line).chain(&around.after)) <= ANSWER_BYTES);
    assert!(before.abs_diff(after) <= 1 && before > 10, "{before} before, {after} after");
    assert!(around.more_before && around.more_after);
    // From each end on, to the ends of the file.
    let mut seen: BTreeSet<u64> = [lines[3].offset].into();
    let (mut first, mut last) = (lines[3].offset, lines[3].offset);
    loop {
        let line = |offset| LineAt { file: FILE.to_owned(), offset };
        let (up, down) =
            (tested.around(line(first), 50, 0).await.unwrap(), tested.around(line(last), 0, 50).await.unwrap());
        seen.extend(up.before.iter().chain(&down.after).filter_map(|hit| hit.offset));
        (first, last) = (*seen.first().unwrap(), *seen.last().unwrap());
        if !up.more_before && !down.more_after {
            break;
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

#[tokio::test]
async fn large_lines_of_the_embedded_index_come_in_bounded_pages() {
    let (documents, folder) = (documents(), tempfile::tempdir().unwrap());
    judge(&stores::in_the_embedded_index(&documents, folder.path()), &documents).await;
}

#[tokio::test]
async fn large_lines_of_elasticsearch_come_in_bounded_pages() {
    let documents = documents();
    judge(&stores::in_elasticsearch(&documents, "large").await, &documents).await;
    let folder = tempfile::tempdir().unwrap();
    let settings = command::settings(folder.path(), stores::elasticsearch());
    let output = command::search(&settings, &["", "--index", "large-*", "--json", "-n", "55"]).output().unwrap();
    let offset = |line: &[u8]| serde_json::from_slice::<Value>(line).unwrap()["log.offset"].as_u64().unwrap();
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let expected: Vec<u64> = (LINES - 55..LINES).map(|n| n * 1_000_000).collect();
    assert_eq!(lines.map(offset).collect::<Vec<_>>(), expected, "{}", String::from_utf8_lossy(&output.stderr));
}

/// 80 MB of lines: more than an answer of Elasticsearch may have are asked for at first.
#[tokio::test]
async fn an_answer_of_elasticsearch_that_is_too_large_is_asked_for_in_parts() {
    let text = "fedcba9876543210 ".repeat(50_000);
    let document = |n: u64| {
        json!({
            "@timestamp": "2026-11-19T10:00:00.000Z", "message": format!("{n} {text}"), "log": {"offset": n},
            "logweir": {"file": FILE, "topic": "t"},
        })
    };
    let documents: Vec<Value> = (0..95).map(document).collect();
    let elastic = stores::in_elasticsearch(&documents, "huge").await;
    let mut request =
        PageRequest { scope: scope(), order: Order::OldestFirst, size: 10_000, after: None, count: false };
    let mut offsets = Vec::new();
    loop {
        let page = elastic.page(request.clone()).await.unwrap();
        assert!(bytes(&page.hits) <= ANSWER_BYTES);
        offsets.extend(page.hits.iter().map(|hit| hit.offset.unwrap()));
        request.after = page.after;
        if request.after.is_none() {
            break;
        }
    }
    assert_eq!(offsets, (0..95).collect::<Vec<u64>>());
}
