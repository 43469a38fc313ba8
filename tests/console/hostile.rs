//! Lines that want to be more than lines, and more lines than anybody reads.

use crate::{browser::Browser, fake::Fake, page::ROWS};
use serde_json::json;

const MESSAGE: &str = "document.querySelector('#rows .message')";

#[test]
fn markup_escape_codes_and_hidden_characters_are_only_text() {
    let server = Fake::start();
    let script = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";
    server
        .write("/var/log/a/1.log", "\u{1b}[31mred alarm\u{1b}[0m plain \u{1b}]0;title\u{7}\u{1b}[2Jend \u{202e}txet\0");
    server.documents.write("/var/log/a/2.log", Fake::now() + 1, script, json!({ "user": script, "labels.x": script }));
    let browser = Browser::start("hostile");
    browser.open(&server.url("/?cols=user&from="));
    browser.wait("both lines", &format!("{ROWS} === 2"));
    assert_eq!(browser.text(&format!("{MESSAGE}.textContent")), script);
    browser.click("#rows .row .chevron");
    browser.wait("its fields", "document.querySelector('.details tr[data-field=user]')");
    browser.click("tr[data-field=user] [data-act=top]");
    browser.wait("its values", "document.querySelector('tr[data-field=user] .top')");
    browser.shot("markup");
    let escaped = "document.querySelectorAll('#rows .message')[1]";
    assert_eq!(browser.text(&format!("{escaped}.textContent")), "red alarm plain end U+202Etxet␀");
    assert_eq!(browser.text(&format!("{escaped}.querySelector('.fg-1').textContent")), "red alarm");
    // The word within the colour is marked at its place.
    browser.click("tr[data-field=user] [data-act=in]");
    browser.wait("only that line", &format!("{ROWS} === 1"));
    browser.open(&server.url("/?q=alarm"));
    browser.wait("the mark", "document.querySelector('#rows mark')?.textContent === 'alarm'");
    browser.keys("jc");
    browser.wait("the context", "document.querySelector('.around .found')");
    assert_eq!(browser.get("document.querySelectorAll('main script, main img').length"), 0);
    assert!(browser.text("document.title").contains("logweir"));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_line_of_a_megabyte_is_cut_until_somebody_asks() {
    let server = Fake::start();
    let long = format!("begin {} the-end", "0123456789 ".repeat(95_000));
    for _ in 0..20 {
        server.write("/var/log/a/long.log", &long);
    }
    let browser = Browser::start("long");
    browser.open(&server.url("/"));
    browser.wait("the lines", &format!("{ROWS} === 20"));
    browser.shot("long");
    assert!(browser.get(&format!("{MESSAGE}.textContent.length")).as_u64() < Some(3_000));
    let sent = "performance.getEntriesByType('resource').reduce((sum, e) => sum + e.transferSize, 0)";
    assert!(browser.get(sent).as_u64() < Some(200_000), "the whole lines don't travel");
    browser.click("#rows .row .chevron");
    browser.click("tr[data-field=message] .all");
    browser.wait("the whole line", "document.querySelector('.whole')?.textContent.endsWith(' the-end')");
    assert_eq!(browser.get("document.querySelector('.whole').textContent.length"), long.len());
    browser.shot("long-open");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn ten_thousand_rows_scroll_and_a_flood_of_live_lines_is_counted() {
    let server = Fake::start();
    let now = Fake::now();
    for i in 0..10_500 {
        server.documents.write(
            "/var/log/a/many.log",
            now - i,
            &format!("INFO line {i} of many, {}", "x".repeat(120)),
            json!({}),
        );
    }
    let browser = Browser::start("many");
    browser.open(&server.url("/"));
    browser.wait("the first rows", &format!("{ROWS} >= 100"));
    browser.wait("all rows that are kept", &format!("(scrollTo(0, 1e9), {ROWS} === 10000)"));
    browser.wait("a hint", "document.querySelector('#more').textContent.includes('10,000')");
    let frames = browser.get(
        "(() => { window.frames_ = []; let last = performance.now(); let y = 0; const step = (at) => { frames_.push(at - last); \
         last = at; scrollTo(0, y += 400); if (frames_.length < 200) requestAnimationFrame(step); }; requestAnimationFrame(step); return 1; })()",
    );
    assert_eq!(frames, 1);
    browser.wait("200 frames", "frames_.length === 200");
    let frame = browser.get("frames_.sort((a, b) => a - b)[190]");
    println!("10,000 rows: the 95th of 100 frames of scrolling takes {frame} ms");
    browser.get("scrollTo(0, 0)");
    browser.click("#live");
    browser.wait("the live tail", "document.querySelector('#live').getAttribute('aria-pressed') === 'true'");
    for i in 0..30_000 {
        server.write("/var/log/a/flood.log", &format!("flood {i}"));
    }
    browser.wait("the missed lines, told", "!document.querySelector('#note').hidden");
    assert!(browser.get(ROWS).as_u64() <= Some(2_000));
    browser.shot("flood");
    assert_eq!(browser.complaints(), [""; 0]);
}
