//! The whole: `logweir standalone` over files that are written while somebody looks.

use crate::{
    browser::{Browser, ENTER, ESCAPE},
    house::{Standalone, append},
    page::ROWS,
    support::wait_for,
};
use std::{
    fs,
    time::{Duration, SystemTime},
};

const LIMIT: Duration = Duration::from_secs(60);

fn now_ms() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

#[test]
fn a_line_that_is_written_is_seen_found_opened_and_downloaded() {
    let standalone = Standalone::start("whole");
    let browser = Browser::start("whole");
    browser.open(&standalone.url("/"));
    browser.wait("that nothing has come yet", "!document.querySelector('#empty').hidden");
    // The first line comes to the waiting page by itself.
    standalone.write("app.log", "ERROR the very first line\n");
    browser.wait("the first line", &format!("{ROWS} === 1"));
    browser.look("first-line");

    // Live, before it is committed.
    browser.click("#live");
    browser.wait("the live tail", "document.querySelector('#live').getAttribute('aria-pressed') === 'true'");
    wait_for("a line in the live tail", LIMIT, || {
        standalone.write("app.log", "INFO warming up\n");
        (browser.get(ROWS).as_u64() > Some(1)).then_some(())
    });
    browser.get(
        "(window.seen_ = {}, new MutationObserver(() => { for (const m of document.querySelectorAll('#rows .message')) \
         seen_[m.textContent] ??= Date.now(); }).observe(document.querySelector('#rows'), { childList: true, subtree: true }), 1)",
    );
    for i in 0..10 {
        let written = now_ms();
        standalone.write("app.log", &format!("INFO measured {i}\n"));
        let seen = browser.wait("the measured line", &format!("seen_['INFO measured {i}']")).as_i64().unwrap();
        println!("written -> live tail: {} ms", seen - written);
    }
    browser.click("#live");

    // Found, with its fields.
    let written = now_ms();
    standalone.write("app.log", "WARN needle <script>document.title = 'taken'</script> \u{1b}[31mred\u{1b}[0m\n");
    let (address, found) = (standalone.address.clone(), "/api/v1/search?q=needle");
    wait_for("the needle", LIMIT, || {
        crate::support::process::http_get(&address, found).filter(|(_, body)| body.contains("needle"))
    });
    println!("written -> in search: {} ms", now_ms() - written);
    browser.keys("/");
    browser.keys("needle");
    browser.keys(ENTER);
    browser.wait("the needle", "document.querySelector('#rows mark')?.textContent === 'needle'");
    let shown = "document.querySelector('#rows .message').textContent";
    assert_eq!(browser.text(shown), "WARN needle <script>document.title = 'taken'</script> red");
    browser.click("#rows .row .chevron");
    browser.wait("its fields", "document.querySelector('.details tr[data-field=\"log.file.path\"]')");
    browser.look("needle");
    browser.click("tr[data-field=\"log.file.path\"] [data-act=top]");
    browser.wait("its values", "document.querySelector('tr[data-field=\"log.file.path\"] .top')");
    browser.keys("c");
    browser.wait("its surroundings", "document.querySelector('.around .found')");
    browser.wait(
        "its neighbour",
        "document.querySelector('.around .found').previousElementSibling.textContent.includes('measured 9')",
    );
    browser.look("context");
    browser.keys(ESCAPE);

    // A long line, cut until somebody asks.
    standalone.write("long.log", &format!("begin {}\n", "0123456789 ".repeat(40_000)));
    // Found before the page asks: asked again and again, it would draw the row anew while somebody looks into it.
    standalone.wait_found("begin", 1);
    browser.open(&standalone.url("/?q=begin"));
    browser.wait("the long line", &format!("{ROWS} === 1"));
    browser.click("#rows .row .chevron");
    browser.click("tr[data-field=message] .all");
    browser.wait("the whole line", "document.querySelector('.whole')?.textContent.length === 440006");

    // Downloaded.
    browser.open(&standalone.url("/?q=measured&order=oldest_first"));
    browser.wait("the lines", &format!("{ROWS} === 10"));
    browser.click("#export");
    browser.click("#export-ndjson");
    let file = browser.folder.join("logweir.ndjson");
    let text = wait_for("the download", LIMIT, || fs::read_to_string(&file).ok().filter(|t| t.lines().count() == 10));
    assert!(text.lines().all(|line| line.starts_with('{') && line.contains("INFO measured ")), "{text}");
    let left = browser.complaints();
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_path_that_is_added_on_the_page_is_collected() {
    let standalone = Standalone::start("adding");
    let other = standalone.folder.join("other");
    fs::create_dir(&other).unwrap();
    append(&other.join("late.log"), "a late line\n");
    let browser = Browser::start("adding");
    browser.open(&standalone.url("/collect"));
    browser.wait("the entry of the command line", "document.querySelector('#entries code')");
    browser.click("#path");
    browser.keys(&format!("{}/*.log", other.display()));
    browser.click("#topic");
    browser.wait("a topic that may be meant", "document.querySelector('#topic').value === 'other'");
    browser.keys(ENTER);
    browser.wait("what would change", "document.querySelector('#review[open] ins')");
    browser.keys(ENTER);
    browser.wait("both entries", "document.querySelectorAll('#entries tbody tr').length === 2");
    browser.wait("its file", "document.querySelector('#files').textContent.includes('late.log')");
    browser.wait("its end", "!document.querySelector('#files .behind')");
    browser.look("collection");
    browser.open(&standalone.url("/?q=late"));
    browser.wait("its line", &format!("(document.querySelector('#run').click(), {ROWS} === 1)"));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_folder_that_is_added_on_the_page_is_everything_below_it_as_on_the_command_line() {
    let standalone = Standalone::start("below");
    let other = standalone.folder.join("other");
    fs::create_dir_all(other.join("deep/er")).unwrap();
    append(&other.join("deep/er/app.log"), "a deep line\n");
    append(&other.join("old.log.gz"), "compressed\n");
    let browser = Browser::start("below");
    browser.open(&standalone.url("/collect"));
    browser.wait("the entry of the command line", "document.querySelector('#entries code')");
    browser.click("#path");
    browser.keys(&other.display().to_string());
    browser.click("#topic");
    browser.wait("the offer", "!document.querySelector('#below-row').hidden");
    browser.wait("the topic of folders", "document.querySelector('#topic').value === 'logs'");
    browser.look("folder");
    browser.keys(ENTER);
    browser.wait("what would change", "document.querySelector('#review[open] ins')");
    browser.keys(ENTER);
    browser.wait("both entries", "document.querySelectorAll('#entries tbody tr').length === 2");
    let entries = standalone.entries();
    let mut expected = entries[0].clone();
    expected["path"] = format!("{}/**", other.display()).into();
    assert_eq!(entries[1], expected, "the same as of the command line");
    browser.open(&standalone.url("/?q=deep"));
    browser.wait("its line", &format!("(document.querySelector('#run').click(), {ROWS} === 1)"));
    // Only what is directly in it, and what isn't there.
    browser.open(&standalone.url("/collect"));
    browser.wait("both entries", "document.querySelectorAll('#entries tbody tr').length === 2");
    browser.click("#path");
    browser.keys(&format!("{}/deep", other.display()));
    browser.click("#topic");
    browser.click("#below");
    browser.click("#save");
    browser.wait("what would change", "document.querySelector('#review[open] ins')");
    browser.keys(ENTER);
    browser.wait("the third entry", "document.querySelectorAll('#entries tbody tr').length === 3");
    assert_eq!(standalone.entries()[2], serde_json::json!({ "path": other.join("deep"), "topic": "logs" }));
    browser.click("#path");
    browser.keys(&format!("{}/none.log", other.display()));
    browser.click("#topic");
    browser.wait("that it isn't there", "document.querySelector('#meant').textContent");
    assert_eq!(browser.complaints(), [""; 0]);
}
