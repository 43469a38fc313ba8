//! What people do on the search page, in a real browser.

use crate::{
    browser::{Browser, DOWN, ENTER, ESCAPE, RIGHT, TAB},
    fake::Fake,
    support::wait_for,
};
use serde_json::json;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
pub const ROWS: &str = "document.querySelectorAll('#rows .row').length";
const SEEN: &str = "[...document.querySelectorAll('#rows .message')].map((m) => m.textContent)";

pub fn has_rows(count: usize) -> String {
    format!("{ROWS} === {count}")
}

/// 60 lines of three files within the last 50 minutes; every fourth one a failure.
pub fn some_lines(server: &Fake) {
    let now = Fake::now();
    for i in 0..60_i64 {
        let path = ["/var/log/nginx/access.log", "/var/log/shop/app.log", "/var/log/pay/service.log"][i as usize % 3];
        let status = if i % 4 == 0 { 503 } else { 200 };
        let level = if i % 4 == 0 { "ERROR read timeout" } else { "INFO served" };
        let more = json!({ "status": status, "labels.team": if i % 2 == 0 { "web front" } else { "shop" } });
        server.documents.write(path, now - (60 - i) * 50_000, &format!("{level} request {i} of 10.0.0.{i}"), more);
    }
}

#[test]
fn a_line_is_seen_live_and_found() {
    let server = Fake::start();
    let browser = Browser::start("live");
    server.write("/var/log/shop/app.log", "before anybody looks");
    browser.open(&server.url("/"));
    browser.wait("the line of the past", &has_rows(1));
    browser.click("#live");
    browser.wait("the live tail", "document.querySelector('#live').getAttribute('aria-pressed') === 'true'");
    browser.wait("its stream", "performance.getEntriesByType('resource').some((e) => e.name.includes('/live'))");
    // A watcher is there once a line gets through; the page shows each once.
    wait_for("a line in the live tail", LIMIT, || {
        server.write("/var/log/shop/app.log", "now it happens");
        (browser.get(ROWS).as_u64() > Some(1)).then_some(())
    });
    browser.get("(new MutationObserver(() => { if (document.querySelector('#rows .message')?.textContent === 'measured') window.seen_ ??= Date.now(); }).observe(document.querySelector('#rows'), { childList: true, subtree: true }), 1)");
    let written = server.write("/var/log/shop/app.log", "measured").time_ms;
    let seen = browser.wait("its moment", "window.seen_").as_i64().unwrap();
    println!("written -> on the page of a live tail: {} ms", seen - written);
    browser.look("live");
    assert_eq!(browser.get(&format!("{SEEN}.slice(0, 2)")), json!(["measured", "now it happens"]));
    assert!(browser.text("location.search").contains("live=1"));
    // What is in the search and didn't come by the tail is added, at its place and once.
    browser.open(&server.url("/?live=1"));
    browser.wait("the tail with its past", "document.querySelectorAll('#rows .row').length >= 3");
    let all = browser.get(&format!("{SEEN}.join('|')")).as_str().unwrap().to_owned();
    assert!(all.starts_with("measured|now it happens") && all.ends_with("|before anybody looks"), "{all}");
    assert_eq!(all.matches("measured").count(), 1);
    // Paused: lines wait and are counted.
    browser.keys("p");
    let shown = browser.get(ROWS);
    server.write("/var/log/shop/app.log", "while paused");
    browser.wait("a waiting line", "/[1-9]/.test(document.querySelector('#pause').textContent)");
    assert_eq!(browser.get(ROWS), shown);
    browser.look("live-paused");
    browser.click("#pause");
    browser.wait("the line that waited", &format!("{SEEN}[0] === 'while paused'"));
    // A filter holds for what comes.
    browser.keys("/");
    browser.keys("special");
    browser.keys(ENTER);
    browser.wait("nothing that matches", &has_rows(0));
    wait_for("a line that matches", LIMIT, || {
        server.write("/var/log/shop/app.log", "something else");
        server.write("/var/log/shop/app.log", "a special line");
        (browser.get(ROWS).as_u64() > Some(0)).then_some(())
    });
    assert_eq!(browser.get(&format!("{SEEN}.every((text) => text === 'a special line')")), true);
    browser.click("#live");
    browser.wait("the search", "!document.querySelector('#chart').hidden");
    browser.wait("the mark", "document.querySelector('#rows mark')?.textContent === 'special'");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn fields_open_filter_become_columns_and_tell_their_values() {
    let server = Fake::start();
    some_lines(&server);
    let browser = Browser::start("fields");
    browser.open(&server.url("/"));
    browser.wait("all lines", &has_rows(60));
    browser.look("search");
    browser.click("#rows .row .chevron");
    browser.wait("its fields", "document.querySelector('.details tr[data-field=\"labels.team\"]')");
    browser.look("row-open");
    // The newest line is number 59 of team shop.
    browser.click("tr[data-field=\"labels.team\"] [data-act=in]");
    browser.wait("the filtered lines", &has_rows(30));
    assert_eq!(browser.text("document.querySelector('#q').value"), "labels.team:shop");
    browser.click("#rows .row .chevron");
    browser.click("tr[data-field=\"status\"] [data-act=out]");
    browser.wait(
        "nothing else than 200 is left of it",
        "document.querySelector('#q').value === 'labels.team:shop -status:200'",
    );
    browser.wait("no line", &has_rows(0));
    browser.back();
    browser.wait("back to the first filter", &has_rows(30));
    browser.back();
    browser.wait("back to all", &has_rows(60));
    browser.click("#rows .row .chevron");
    browser.click("tr[data-field=\"status\"] [data-act=top]");
    browser.wait("top values", "document.querySelectorAll('tr[data-field=\"status\"] .top').length === 2");
    assert!(browser.text("document.querySelector('tr[data-field=\"status\"] .top').textContent").contains("75.0 %"));
    browser.look("top-values");
    browser.click("tr[data-field=\"status\"] [data-act=column]");
    browser.wait("the column", "document.querySelector('#head').textContent.includes('status')");
    assert!(browser.text("location.search").contains("cols=log.file.path%2Cstatus"));
    browser.click("#head [data-remove=status]");
    browser.wait("no column", "!document.querySelector('#head').textContent.includes('status')");
    browser.click("#fields-toggle");
    browser.click("#fields [data-field=\"log.file.path\"]");
    browser.wait("values of the file", "document.querySelectorAll('#fields .top').length === 3");
    browser.look("fields-panel");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_span_is_chosen_by_dragging_clicking_and_writing() {
    let server = Fake::start();
    some_lines(&server);
    let browser = Browser::start("zoom");
    browser.open(&server.url("/"));
    browser.wait("all lines", &has_rows(60));
    browser.drag("#bars", 0.5, 0.9);
    browser.wait("fewer lines", &format!("{ROWS} < 35 && {ROWS} > 15"));
    let zoomed = browser.text("location.search");
    assert!(zoomed.contains("from=20") && zoomed.contains("to=20"), "{zoomed}");
    browser.look("zoomed");
    browser.back();
    browser.wait("all lines again", &has_rows(60));
    // By the keyboard: the first bar, opened.
    browser.get("document.querySelector('#bars').focus()");
    browser.keys(RIGHT);
    browser.wait("the bar's count", "!document.querySelector('#tip').hidden");
    browser.look("bar-tip");
    browser.keys(ENTER);
    browser.wait("its lines", &format!("{ROWS} >= 1 && {ROWS} < 4"));
    browser.click("#zoom-out");
    browser.wait("a longer span", "new URLSearchParams(location.search).get('from')");
    browser.click("#time");
    browser.look("time-panel");
    browser.click("[data-from=\"-5m\"]");
    browser.wait("five minutes", &format!("location.search === '?from=-5m' && {ROWS} > 3 && {ROWS} < 8"));
    browser.click("#time");
    browser.get("(document.querySelector('#from').value = 'yesterday')");
    browser.click("#time-panel [type=submit]");
    browser.wait("what is wrong", "document.querySelector('#time-panel .bad').textContent");
    browser.keys(ESCAPE);
    browser.wait("no panel", "document.querySelector('#time-panel').hidden");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn lines_around_a_hit_come_in_the_order_of_the_file() {
    let server = Fake::start();
    let now = Fake::now();
    for i in 0..1_000 {
        let message = if i == 500 { "the needle" } else { "hay" };
        server.documents.write("/var/log/shop/app.log", now, &format!("{message} {i}"), json!({}));
        server.documents.write("/var/log/other/app.log", now, &format!("elsewhere {i}"), json!({}));
    }
    let browser = Browser::start("context");
    browser.open(&server.url("/?q=needle"));
    browser.wait("the hit", &has_rows(1));
    browser.keys("jc");
    browser.wait("its surroundings", "document.querySelectorAll('.around .line').length === 101");
    let lines = "[...document.querySelectorAll('.around .message')].map((m) => m.textContent)";
    assert_eq!(browser.get(&format!("{lines}[49]")), "hay 499");
    assert_eq!(browser.get(&format!("{lines}[51]")), "hay 501");
    assert_eq!(browser.text("document.querySelector('.around .found .message').textContent"), "the needle 500");
    browser.look("context");
    browser.click("[data-more=before]");
    browser.wait("earlier lines", "document.querySelectorAll('.around .line').length === 151");
    assert_eq!(browser.get(&format!("{lines}[0]")), "hay 400");
    browser.click("[data-more=after]");
    browser.wait("later lines", "document.querySelectorAll('.around .line').length === 201");
    assert_eq!(browser.get(&format!("{lines}.at(-1)")), "hay 600");
    // The address shows the same to somebody else.
    let shared = browser.text("location.href");
    browser.keys(ESCAPE);
    // The address changes by an event that comes after the dialog is closed.
    browser.wait("it to close", "!document.querySelector('#context').open && !location.search.includes('ctx=')");
    browser.open(&shared);
    browser.wait("the shared surroundings", "document.querySelector('.around .found')");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// 80 lines of half a megabyte: a page of them is short and not the last one, and so are the lines around one.
#[test]
fn long_lines_come_page_after_page_to_the_last() {
    let server = Fake::start();
    let (now, text) = (Fake::now(), "word ".repeat(100_000));
    for i in 0..80_i64 {
        let word = if i == 40 { "needle" } else { "hay" };
        server.documents.write("/var/log/app.log", now - (80 - i) * 1_000, &format!("{word} {i} {text}"), json!({}));
    }
    let browser = Browser::start("long");
    browser.open(&server.url("/"));
    browser.wait("the first page", &format!("{ROWS} >= 33"));
    browser.wait("the end", &format!("(scrollTo(0, document.body.scrollHeight), {})", has_rows(80)));
    let numbers = |of: &str| browser.get(&format!("{of}.map((text) => Number(text.split(' ')[1]))"));
    assert_eq!(numbers(SEEN), json!((0..80).rev().collect::<Vec<_>>()));
    browser.wait("no more", "!document.querySelector('#more button')");
    browser.open(&server.url("/?q=needle"));
    browser.wait("the hit", &has_rows(1));
    browser.keys("jc");
    let around = "[...document.querySelectorAll('.around .message')].map((m) => m.textContent)";
    browser.wait("as many around it as an answer holds", &format!("{around}.length === 33"));
    assert_eq!(numbers(around), json!((24..=56).collect::<Vec<_>>()));
    for (way, lines) in [("before", 57), ("after", 80)] {
        let all =
            format!("(document.querySelector('[data-more={way}]:enabled')?.click(), {around}.length === {lines})");
        browser.wait(way, &all);
        browser.wait("its end", &format!("document.querySelector('[data-more={way}]').disabled"));
    }
    assert_eq!(numbers(around), json!((0..80).collect::<Vec<_>>()));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_is_found_is_downloaded() {
    let server = Fake::start();
    some_lines(&server);
    let browser = Browser::start("export");
    browser.open(&server.url("/?q=timeout"));
    browser.wait("the hits", &has_rows(15));
    for (format, begin, lines) in [("ndjson", "{\"", 15), ("csv", "@timestamp,log.file.path,message\r\n", 16)] {
        browser.click("#export");
        browser.look("export");
        browser.click(&format!("#export-{format}"));
        let file = browser.folder.join(format!("logweir.{format}"));
        let text = wait_for("the download", LIMIT, || std::fs::read_to_string(&file).ok().filter(|t| !t.is_empty()));
        assert!(text.starts_with(begin), "{text}");
        assert_eq!(text.lines().count(), lines);
        browser.keys(ESCAPE);
    }
}

#[test]
fn the_keyboard_is_enough() {
    let server = Fake::start();
    some_lines(&server);
    let browser = Browser::start("keyboard");
    browser.open(&server.url("/"));
    browser.wait("all lines", &has_rows(60));
    browser.wait("the fields", "document.querySelectorAll('#fields .field').length > 3");
    browser.keys("/");
    browser.keys("sta");
    browser.wait("fields to complete", "document.querySelectorAll('#suggestions li').length");
    browser.look("completion");
    browser.keys(TAB);
    browser.wait("its values", "document.querySelector('#suggestions li span')?.textContent === '200'");
    browser.keys(DOWN);
    browser.keys(DOWN);
    browser.keys(ENTER);
    assert_eq!(browser.text("document.querySelector('#q').value"), "status:503 ");
    browser.keys(ENTER);
    browser.wait("its lines", &has_rows(15));
    browser.keys(ESCAPE);
    browser.keys("jjk");
    assert_eq!(browser.get("[...document.querySelectorAll('.row')].indexOf(document.activeElement)"), 0);
    browser.keys(ENTER);
    browser.wait("the open row", "document.querySelector('.row.open .details')");
    browser.keys(TAB);
    browser.wait("the focus within", "document.activeElement.closest('.row') !== null");
    browser.keys("c");
    browser.wait("the context", "document.querySelector('#context').open");
    browser.keys(ESCAPE);
    browser.wait("no context", "!document.querySelector('#context').open");
    browser.keys(ESCAPE);
    browser.wait("a closed row", "!document.querySelector('.row.open')");
    browser.keys("?");
    browser.wait("help", "document.querySelector('#keys').open");
    browser.look("help");
    browser.keys(ESCAPE);
    browser.keys("t");
    browser.wait("the time", "!document.querySelector('#time-panel').hidden");
    browser.keys(ESCAPE);
    browser.keys("l");
    browser.wait("the live tail", "document.querySelector('#live').getAttribute('aria-pressed') === 'true'");
    browser.keys("l");
    browser.wait("the search", "document.querySelector('#live').getAttribute('aria-pressed') === 'false'");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn searches_are_saved_under_a_name() {
    let server = Fake::start();
    some_lines(&server);
    let browser = Browser::start("saved");
    browser.open(&server.url("/?q=timeout&cols=status"));
    browser.wait("the hits", &has_rows(15));
    browser.click("#saved");
    browser.wait("the form", "document.activeElement.id === 'saved-name'");
    browser.keys("slow <b>pages</b>");
    browser.keys(ENTER);
    browser
        .wait("the saved one", "document.querySelector('#saved-panel li strong')?.textContent === 'slow <b>pages</b>'");
    browser.look("saved");
    browser.open(&server.url("/"));
    browser.wait("all lines", &has_rows(60));
    browser.click("#saved");
    browser.click("#saved-panel li a");
    browser.wait("the saved search", &has_rows(15));
    assert_eq!(browser.text("location.search"), "?q=timeout&cols=status");
    browser.click("#saved");
    browser.click("#saved-panel li button");
    browser.wait("none", "!document.querySelector('#saved-panel li')");
    assert_eq!(browser.complaints(), [""; 0]);
}
