//! What people do on the page, once more over the real thing: a `logweir standalone` with lines of the last 50 minutes.
//! What only a test's own documents can show (times of one millisecond, numbers, failures) is in `page` and `states`.

use crate::{
    api::{read_to, tail},
    browser::{Browser, DOWN, ENTER, ESCAPE, RIGHT, TAB},
    house::Standalone,
    page::{ROWS, has_rows},
    support::{process::http_get, wait_for},
};
use serde_json::Value;
use std::{io::BufRead as _, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);
const QUERY: &str = "document.querySelector('#q').value";

#[test]
fn a_span_is_chosen_by_dragging_by_keys_and_by_its_name() {
    let standalone = Standalone::with_lines("real-zoom");
    let browser = Browser::start("real-zoom");
    browser.open(&standalone.url("/"));
    browser.wait("all lines", &has_rows(60));
    browser.drag("#bars", 0.5, 0.9);
    browser.wait("fewer lines", &format!("{ROWS} < 35 && {ROWS} > 15"));
    let zoomed = browser.text("location.search");
    assert!(zoomed.contains("from=20") && zoomed.contains("to=20"), "{zoomed}");
    let shown = browser.get(ROWS);
    browser.look("zoomed");
    // The same by the calls beneath: what is shown is what the index has of that span.
    let query = zoomed.trim_start_matches('?');
    let (_, found) = http_get(&standalone.address, &format!("/api/v1/search?count=true&{query}")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap()["total"], shown);
    browser.back();
    browser.wait("all lines again", &has_rows(60));
    browser.get("document.querySelector('#bars').focus()");
    browser.keys(RIGHT);
    browser.wait("the bar's count", "!document.querySelector('#tip').hidden");
    browser.keys(ENTER);
    browser.wait("its lines", &format!("{ROWS} >= 1 && {ROWS} < 4"));
    browser.click("#zoom-out");
    browser.wait("a longer span", "new URLSearchParams(location.search).get('from')");
    browser.click("#time");
    browser.click("[data-from=\"-5m\"]");
    browser.wait("five minutes", &format!("location.search === '?from=-5m' && {ROWS} > 3 && {ROWS} < 8"));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_a_row_shows_is_filtered_by_in_and_out_and_what_is_left_is_downloaded() {
    let standalone = Standalone::with_lines("real-filter");
    let browser = Browser::start("real-filter");
    browser.open(&standalone.url("/"));
    browser.wait("all lines", &has_rows(60));
    // The newest line is number 59, of file pay.log.
    browser.click("#rows .row .chevron");
    browser.click("tr[data-field=\"labels.team\"] [data-act=in]");
    browser.wait("the team's lines", &has_rows(40));
    assert_eq!(browser.text(QUERY), "labels.team:\"web front\"");
    browser.click("#rows .row .chevron");
    browser.click("tr[data-field=\"log.file.path\"] [data-act=out]");
    browser.wait("the other file's lines", &has_rows(20));
    assert!(browser.text(QUERY).starts_with("labels.team:\"web front\" -log.file.path:"), "{}", browser.text(QUERY));
    let files = "[...document.querySelectorAll('#rows .row')].every((row) => row.textContent.includes('nginx.log'))";
    assert_eq!(browser.get(files), true);
    browser.look("filtered");
    browser.click("#rows .row .chevron");
    browser.click("tr[data-field=\"labels.team\"] [data-act=column]");
    browser.wait("the column", "document.querySelector('#head').textContent.includes('labels.team')");
    for (format, lines) in [("ndjson", 20), ("csv", 21)] {
        browser.click("#export");
        browser.click(&format!("#export-{format}"));
        let file = browser.folder.join(format!("logweir.{format}"));
        let whole = |text: &String| text.lines().count() == lines && text.ends_with('\n');
        let text = wait_for("the download", LIMIT, || std::fs::read_to_string(&file).ok().filter(whole));
        let told = text.lines().filter(|line| line.contains("nginx.log") && line.contains("web front")).count();
        assert_eq!(told, 20, "{text}");
        browser.keys(ESCAPE);
    }
    // A column is nothing that "back" undoes.
    browser.back();
    browser.wait("back to the first filter", &has_rows(40));
    browser.back();
    browser.wait("back to all", &has_rows(60));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_line_is_found_opened_and_seen_in_its_file_by_the_keyboard_alone() {
    let standalone = Standalone::with_lines("real-keyboard");
    let browser = Browser::start("real-keyboard");
    browser.open(&standalone.url("/"));
    browser.wait("all lines", &has_rows(60));
    browser.wait("the fields", "document.querySelectorAll('#fields .field').length > 3");
    browser.keys("/");
    browser.keys("lab");
    browser
        .wait("a field to complete", "document.querySelector('#suggestions li')?.textContent.includes('labels.team')");
    browser.keys(TAB);
    browser.wait("its values", "document.querySelectorAll('#suggestions li').length === 2");
    browser.keys(DOWN);
    browser.keys(DOWN);
    browser.keys(ENTER);
    assert_eq!(browser.text(QUERY), "labels.team:shop ");
    browser.keys("timeout");
    browser.keys(ENTER);
    browser.wait("its lines", &has_rows(5));
    browser.keys(ESCAPE);
    browser.keys("jjk");
    assert_eq!(browser.get("[...document.querySelectorAll('.row')].indexOf(document.activeElement)"), 0);
    browser.keys(ENTER);
    browser.wait("the open row", "document.querySelector('.row.open .details')");
    browser.keys("c");
    browser.wait("all lines of its file", "document.querySelectorAll('.around .line').length === 20");
    let found = "document.querySelector('.around .found')";
    // Number 52 is the last failure of the file, between numbers 49 and 55.
    assert!(browser.text(&format!("{found}.textContent")).contains("request 52 "));
    assert!(browser.text(&format!("{found}.previousElementSibling.textContent")).contains("request 49 "));
    assert!(browser.text(&format!("{found}.nextElementSibling.textContent")).contains("request 55 "));
    browser.look("context");
    browser.keys(ESCAPE);
    browser.keys(ESCAPE);
    browser.wait("a closed row", "!document.querySelector('.row.open')");
    browser.keys("l");
    browser.wait("the live tail", "document.querySelector('#live').getAttribute('aria-pressed') === 'true'");
    wait_for("a line that the filter lets through", LIMIT, || {
        standalone.write("shop.log", "INFO not asked for\n");
        standalone.write("nginx.log", "a timeout of the other team\n");
        standalone.write("shop.log", "a live timeout\n");
        (browser.get("document.querySelector('#rows .message')?.textContent") == "a live timeout").then_some(())
    });
    let seen = "[...document.querySelectorAll('#rows .message')].every((m) => m.textContent.includes('timeout') && !m.textContent.includes('other'))";
    assert_eq!(browser.get(seen), true);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_process_that_has_gone_is_told_and_when_it_is_back_the_page_is_too() {
    let mut standalone = Standalone::with_lines("real-gone");
    let browser = Browser::start("real-gone");
    browser.open(&standalone.url("/?live=1"));
    browser.wait("all lines", &has_rows(60));
    standalone.stop();
    browser.wait("that it has gone", "!document.querySelector('#offline').hidden");
    browser.look("gone");
    assert_eq!(browser.get(ROWS), 60, "what was there stays");
    // Written while nobody collects: the page shows it by itself, once.
    standalone.write("shop.log", "written meanwhile\n");
    standalone.again();
    browser.wait("that it is back", "document.querySelector('#offline').hidden");
    let seen =
        "[...document.querySelectorAll('#rows .message')].filter((m) => m.textContent === 'written meanwhile').length";
    browser.wait("the line of meanwhile", seen);
    standalone.write("shop.log", "written afterwards\n");
    browser.wait("the next line", "document.querySelector('#rows .message').textContent === 'written afterwards'");
    // A question that failed meanwhile is asked anew, which clears the page for a moment.
    browser.wait("each line once", &format!("{seen} === 1 && {}", has_rows(62)));
    browser.click("#live");
    // The last one is found when it is committed.
    browser.wait("the search", &format!("(document.querySelector('#run').click(), {})", has_rows(62)));
}

#[test]
fn a_phone_shows_all_there_is() {
    let standalone = Standalone::with_lines("real-narrow");
    let browser = Browser::with("real-narrow", "en", (390, 844));
    let overflow = "document.documentElement.scrollWidth - 390";
    browser.open(&standalone.url("/?q=timeout"));
    browser.wait("the lines", &has_rows(15));
    assert!(browser.get(overflow).as_i64() <= Some(0));
    browser.click("#rows .row .chevron");
    browser.click("tr[data-field=\"labels.team\"] [data-act=in]");
    // 56 is the newest failure: of file pay.log.
    browser.wait("the filtered lines", &has_rows(10));
    browser.click("#rows .row .chevron");
    browser.wait("the fields", "document.querySelector('.details')");
    browser.look("row");
    assert!(browser.get(overflow).as_i64() <= Some(0));
    browser.click(".details [data-context]");
    browser.wait("the context", "document.querySelector('.around .found')");
    assert!(browser.get("document.querySelector('#context').getBoundingClientRect().right").as_f64() <= Some(390.0));
    browser.look("context");
    browser.click("#context header button");
    browser.open(&standalone.url("/collect"));
    browser.wait("both entries", "document.querySelectorAll('#entries code').length >= 2");
    assert!(browser.get(overflow).as_i64() <= Some(0));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn two_hundred_watch_and_one_of_them_sleeps_while_the_files_are_read_and_searched() {
    let standalone = Standalone::start("real-viewers");
    standalone.write("app.log", "first\n");
    standalone.wait_found("first", 1);
    let mut asleep = tail(&standalone.address);
    let mut viewers: Vec<_> = (0..200).map(|_| tail(&standalone.address)).collect();
    standalone.write("app.log", "the one line\n");
    for viewer in &mut viewers {
        assert!(read_to(viewer, "data: ").contains("the one line"));
    }
    drop(viewers);
    // 40 MB go by while one sleeps, and all of it is collected and found.
    let long = format!("long {}\n", "x".repeat(2_000));
    for _ in 0..20 {
        standalone.write("app.log", &long.repeat(1_000));
    }
    standalone.wait_found("long", 20_000);
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
}

#[test]
fn a_query_of_100_kb_and_a_pattern_for_everything_are_answered_at_once_or_refused_with_the_reason() {
    let standalone = Standalone::with_lines("real-queries");
    let asked = |query: &str| {
        let (status, answer) = http_get(&standalone.address, &format!("/api/v1/search?count=true&q={query}")).unwrap();
        (status, serde_json::from_str::<Value>(&answer).unwrap_or_default())
    };
    let (status, answer) = asked(&"ab+".repeat(34_000));
    assert_eq!(status, 400, "{answer}");
    for everything in ["*", "*:*", "message:*", "?*", "*e*", "log.file.path:*"] {
        let (status, answer) = asked(everything);
        assert!(
            status == 400 && everything == "*:*" || (status, &answer["total"]) == (200, &60.into()),
            "{everything}: {answer}"
        );
    }
}
