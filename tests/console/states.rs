//! The page's states: nothing there, nothing found, a wrong query, a server that has gone, narrow, dark, Chinese.

use crate::{
    browser::{Browser, ENTER},
    fake::Fake,
    page::{ROWS, some_lines},
};
use logweir::search::model::SearchError;

#[test]
fn the_first_start_says_what_is_collected_and_a_path_is_added_right_there() {
    let server = Fake::start();
    let browser = Browser::start("first");
    browser.open(&server.url("/"));
    browser.wait("what to do", "!document.querySelector('#empty').hidden");
    browser.look("first-start");
    browser.click("#empty a");
    browser.wait("the collection", "document.querySelector('#entries').textContent");
    browser.click("#path");
    browser.keys("/var/log/shop/*.log");
    browser.click("#topic");
    assert_eq!(browser.text("document.querySelector('#topic').value"), "shop");
    browser.keys(ENTER);
    browser.wait("what would change", "document.querySelector('#review[open] ins')");
    browser.look("review");
    browser.keys(ENTER);
    browser.wait("the entry", "document.querySelector('#entries code')?.textContent === '/var/log/shop/*.log'");
    let saved = std::fs::read_to_string(server.folder.path().join("collect.json")).unwrap();
    assert_eq!(saved, "[\n  {\"path\":\"/var/log/shop/*.log\",\"topic\":\"shop\"}\n]\n");
    // A wrong one is refused with its reason, and what was there stays.
    browser.click("#path");
    browser.keys("/var/[x");
    browser.click("#topic");
    browser.keys(ENTER);
    browser.wait("the refusal", "document.querySelector('#refused').textContent.includes('is no glob')");
    browser.look("refused");
    assert_eq!(std::fs::read_to_string(server.folder.path().join("collect.json")).unwrap(), saved);
    server.write("/var/log/shop/app.log", "the first line");
    browser.wait("its time", "!document.querySelector('#facts .faint')");
    browser.look("collection");
    browser.open(&server.url("/"));
    browser.wait("it on the page", &format!("{ROWS} === 1"));
    browser.open(&server.url("/collect"));
    browser.click("#entries .actions button:last-child");
    browser.wait("what would change", "document.querySelector('#review[open] del')");
    browser.keys(ENTER);
    browser.wait("no entry", "!document.querySelector('#entries table')");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_page_that_waits_for_the_first_line_shows_it_by_itself() {
    let server = Fake::start();
    let browser = Browser::start("waiting");
    browser.open(&server.url("/"));
    browser.wait("the empty page", "!document.querySelector('#empty').hidden");
    server.write("/var/log/shop/app.log", "the first line");
    browser.wait("the first line", &format!("{ROWS} === 1"));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_wrong_query_points_at_the_character_and_an_empty_answer_says_what_to_do() {
    let server = Fake::start();
    some_lines(&server);
    let browser = Browser::start("wrong");
    browser.open(&server.url("/?q=timeout%20AND%20)x"));
    browser.wait("the character", "document.querySelector('#wrong-character')?.textContent === ')'");
    browser.look("wrong-query");
    assert_eq!(browser.get(ROWS), 0);
    browser.open(&server.url("/?live=1&q=timeout%20AND%20)x"));
    browser
        .wait("the character, also in a live tail", "document.querySelector('#wrong-character')?.textContent === ')'");
    browser.open(&server.url("/?q=nosuchword&from=-5m"));
    browser.wait("what to do", "!document.querySelector('#empty').hidden");
    browser.look("nothing-found");
    browser.click("#empty .acts button:nth-child(2)");
    browser.wait("lines again", &format!("{ROWS} > 0"));
    assert_eq!(browser.text("document.querySelector('#q').value"), "");
}

#[test]
fn a_server_that_has_gone_is_told_and_comes_back_by_itself() {
    let mut server = Fake::start();
    some_lines(&server);
    let browser = Browser::start("gone");
    browser.open(&server.url("/"));
    browser.wait("all lines", &format!("{ROWS} === 60"));
    server.stop();
    browser.click("#run");
    browser.wait("that it has gone", "!document.querySelector('#offline').hidden");
    browser.look("server-gone");
    assert_eq!(browser.get(ROWS), 60, "what was there stays");
    server.again();
    browser.wait("that it is back", "document.querySelector('#offline').hidden");
    *server.documents.failure.lock().unwrap() =
        Some(SearchError::TooExpensive("a wildcard over 4,000,000 words".into()));
    browser.click("#run");
    browser.wait("the reason", "document.querySelector('#offline').textContent.includes('4,000,000 words')");
    browser.look("too-expensive");
}

#[test]
fn narrow_dark_and_chinese_pages_hold_all_there_is() {
    let server = Fake::start();
    some_lines(&server);
    for (name, language, dark, size) in [
        ("narrow", "en", false, (390, 844)),
        ("narrow-dark", "en", true, (390, 844)),
        ("zh-hans", "zh-CN", false, (1280, 800)),
        ("zh-hant-dark", "zh-TW", true, (1280, 800)),
    ] {
        let browser = Browser::with(name, language, size);
        if dark {
            browser.dark();
        }
        browser.open(&server.url("/?q=request"));
        browser.wait("the lines", &format!("{ROWS} === 60"));
        browser.look("search");
        let overflow = format!("document.documentElement.scrollWidth - {}", size.0);
        assert!(browser.get(&overflow).as_i64() <= Some(0), "{name}: wider than its window");
        browser.click("#rows .row .chevron");
        browser.wait("the fields", "document.querySelector('.details')");
        browser.look("row-open");
        assert!(browser.get(&overflow).as_i64() <= Some(0), "{name}: wider than its window");
        browser.click(".details [data-context]");
        browser.wait("the context", "document.querySelector('.around .found')");
        browser.look("context");
        browser.click("#context header button");
        browser.click("#time");
        browser.look("time");
        assert!(browser.get(&overflow).as_i64() <= Some(0), "{name}: wider than its window");
        browser.open(&server.url("/collect"));
        browser.look("collection");
        assert!(browser.get(&overflow).as_i64() <= Some(0), "{name}: wider than its window");
        let title = match language {
            "zh-CN" => "正在采集的内容",
            "zh-TW" => "正在採集的內容",
            _ => "What is being collected",
        };
        assert_eq!(browser.text("document.querySelector('h1').textContent"), title);
        let background = browser.text("getComputedStyle(document.body).backgroundColor");
        assert_eq!(background == "rgb(14, 18, 22)", dark, "{background}");
        // What one chooses wins, and is there after the next opening.
        browser.click("#theme");
        browser.get("(document.querySelector('#language').value = 'zh-Hant', document.querySelector('#language').dispatchEvent(new Event('change')))");
        browser.wait("the chosen language", "document.documentElement.lang === 'zh-Hant'");
        let background = browser.text("getComputedStyle(document.body).backgroundColor");
        assert_eq!(background == "rgb(14, 18, 22)", !dark, "{background}");
        assert_eq!(browser.complaints(), [""; 0]);
    }
}

#[test]
fn the_first_page_is_small_and_quick() {
    let server = Fake::start();
    some_lines(&server);
    for i in 0..100 {
        server.write(
            "/var/log/nginx/access.log",
            &format!("10.0.0.{i} - - \"GET /shop/item/{i} HTTP/1.1\" 200 1234 \"-\" \"Mozilla/5.0\""),
        );
    }
    let browser = Browser::start("first-page");
    browser.open(&server.url("/"));
    browser.wait("the lines", &format!("{ROWS} === 100"));
    browser.wait("the fields", "document.querySelectorAll('#fields .field').length > 3");
    let entries = "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]";
    let bytes = browser.get(&format!("{entries}.reduce((sum, e) => sum + e.transferSize, 0)"));
    println!("first page: {bytes} bytes on the wire, {} requests", browser.get(&format!("{entries}.length")));
    assert!(bytes.as_u64() <= Some(120_000), "{bytes}");
    for _ in 0..3 {
        browser.devtools("Network.clearBrowserCache", &serde_json::json!({}));
        browser.open(&server.url("/"));
        browser.wait("the lines", &format!("{ROWS} === 100"));
        println!("interactive after {} ms", browser.get("document.documentElement.dataset.ready"));
    }
    browser.open(&server.url("/"));
    println!("with its assets kept: {} ms", browser.get("document.documentElement.dataset.ready"));
}
