//! The pages about processes, in a real browser: who is worst, what one of them tells, how lines flow, what needs a
//! person, and what is shown while etcd is away.

use crate::{
    browser::{Browser, ENTER, ESCAPE},
    fake::Fake,
    gate::with_users,
    people::log_in,
};
use logweir::{
    console::Role,
    etcd::{EtcdError, Event, Kv, Mirror as _},
    store::Store as _,
    telemetry::{
        BulkStatus, DeadLetterSample, DeadLetterStatus, STATUS_PREFIX, SourceStatus, Status, TopicStatus, now_ms,
    },
};
use serde_json::{Value, json};

const KEY: &str = "/logweir/collect/all";
const NAMES: &str = "[...document.querySelectorAll('#list tbody tr')].map((row) => row.dataset.name.split('/')[1])";

fn agent(host: &str) -> Status {
    Status {
        kind: "agent".into(),
        host: host.into(),
        instance: "1".into(),
        version: "0.1.0".into(),
        started_ms: now_ms() - 7_200_000,
        can: vec!["files".into()],
        keys: vec![KEY.into()],
        sources: [(KEY.to_owned(), SourceStatus { applied_revision: Some(12), ..SourceStatus::default() })].into(),
        files: 42,
        topics: [("shop".to_owned(), TopicStatus { lag: 0, lines_per_second: 12.5 })].into(),
        lines_per_second: 12.5,
        ..Status::default()
    }
}

fn transfer() -> Status {
    let sample = DeadLetterSample {
        index: "logweir-shop-2026.11.21".into(),
        topic: "shop".into(),
        partition: 3,
        offset: 1234,
        error: "document_parsing_exception: failed to parse field [took] of type [long]".into(),
        time_ms: now_ms(),
    };
    Status {
        kind: "transfer".into(),
        topics: [
            ("shop".to_owned(), TopicStatus { lag: 500, lines_per_second: 11.0 }),
            ("pay".to_owned(), TopicStatus { lag: 7, lines_per_second: 0.0 }),
        ]
        .into(),
        bulk: Some(BulkStatus { requests: 17, retries: 2, documents_per_second: 11.0 }),
        dead_letters: [("document_parsing_exception".to_owned(), DeadLetterStatus { count: 4, sample })].into(),
        paused: [("pay".to_owned(), "too many of its records are refused".to_owned())].into(),
        can: Vec::new(),
        keys: Vec::new(),
        ..agent("carrier")
    }
}

fn key(kind: &str, host: &str) -> String {
    format!("{STATUS_PREFIX}{kind}/{host}/1")
}

fn kv(status: &Status) -> Kv {
    Kv { key: key(&status.kind, &status.host), value: serde_json::to_vec(status).unwrap(), revision: 1 }
}

/// 250 agents, of which one is gone, one refuses, one has lost bytes; and a transfer.
fn a_fleet(server: &Fake) {
    let refused = SourceStatus {
        applied_revision: Some(11),
        refused: Some(format!("{KEY} (revision 12) line 3 column 8: \"path\" is empty")),
        refused_revision: Some(12),
    };
    let mut all: Vec<Status> = (0..250).map(|n| Status { lag: n, ..agent(&format!("web-{n:03}")) }).collect();
    all[7].sources = [(KEY.to_owned(), refused)].into();
    all[8].bytes_lost = 4_096;
    all.push(agent("<b>bold"));
    all.push(transfer());
    server.fleet.apply(&Event::Snapshot { kvs: all.iter().map(kv).collect(), revision: 1 });
    server.fleet.apply(&Event::Delete { key: key("agent", "web-009"), revision: 2 });
}

fn no_complaints(browser: &Browser) {
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_worst_stand_first_and_a_table_of_hundreds_is_found_through() {
    let server = Fake::start();
    a_fleet(&server);
    let browser = Browser::start("agents");
    browser.open(&server.url("/agents"));
    browser.wait("the first page", &format!("{NAMES}.length === 100"));
    browser.look("agents");
    let first = browser.get(&format!("{NAMES}.slice(0, 5)"));
    assert_eq!(first, serde_json::json!(["web-009", "web-007", "web-008", "carrier", "web-249"]));
    assert_eq!(browser.text("document.querySelector('#list tbody .state').textContent"), "Gone");
    browser.click("#next");
    browser.wait("the second page", "document.querySelector('#where').textContent.startsWith('101')");
    // By the keyboard: find one, and see everything that it tells.
    browser.click("#find");
    browser.keys("BOLD");
    browser.wait("one", &format!("{NAMES}.length === 1"));
    assert!(browser.text("location.search").contains("q=BOLD"), "the address can be shared");
    assert_eq!(browser.get("document.querySelectorAll('#list b').length"), 0, "a name is no markup");
    browser.get("(document.querySelector('#list .link').focus(), 1)");
    browser.keys(ENTER);
    browser.wait("its details", "document.querySelector('#details').open");
    browser.wait("its files", "document.querySelector('#files')?.textContent.includes('/var/log/shop/app.log')");
    browser.look("agent");
    let details = browser.text("document.querySelector('#details').textContent");
    assert!(details.contains(KEY) && details.contains("12") && details.contains("shop"), "{details}");
    browser.keys(ESCAPE);
    browser.wait("the table again", "!document.querySelector('#details').open");
    // The event comes after the dialog is closed.
    browser.wait("where it came from", "document.activeElement.className === 'link'");
    // By columns, with the direction told.
    browser.open(&server.url("/agents?kind=agent"));
    browser.wait("the agents", &format!("{NAMES}.length === 100"));
    browser.click("#list th:nth-child(2) button");
    browser.wait("by host", &format!("{NAMES}[0].startsWith('<b>')"));
    browser.click("#list th:nth-child(2) button");
    browser.wait("the other way", &format!("{NAMES}[0] === 'web-249'"));
    assert_eq!(browser.text("document.querySelector('#list th:nth-child(2)').ariaSort"), "descending");
    no_complaints(&browser);
}

#[test]
fn the_pipeline_shows_what_waits_and_why() {
    let server = Fake::start();
    a_fleet(&server);
    let browser = Browser::start("pipeline");
    browser.open(&server.url("/pipeline"));
    browser.wait("both topics", "document.querySelectorAll('#topics tbody tr').length === 2");
    browser.look("pipeline");
    let row = |topic: &str| browser.text(&format!("document.querySelector('[data-topic={topic}]').textContent"));
    assert!(row("pay").contains("too many of its records are refused"), "{}", row("pay"));
    assert!(row("shop").contains("500"), "{}", row("shop"));
    let letters = browser.text("document.querySelector('#letters').textContent");
    assert!(letters.contains("failed to parse field [took]") && letters.contains("offset 1,234"), "{letters}");
    no_complaints(&browser);
}

#[test]
fn what_needs_a_person_is_told_on_every_page_and_an_etcd_that_is_away_too() {
    let server = Fake::start();
    a_fleet(&server);
    let browser = Browser::start("banner");
    for page in ["/", "/collect", "/agents", "/pipeline"] {
        browser.open(&server.url(page));
        browser.wait(page, "document.querySelectorAll('#notices li[data-kind]').length === 5");
    }
    let seen = "[...document.querySelectorAll('#notices li[data-kind]')].filter((one) => !one.hidden).length";
    assert_eq!(browser.get(seen), 2, "the page itself stays in sight");
    browser.click("#notices .more button");
    assert_eq!(browser.get(seen), 5);
    let kinds = browser.get("[...document.querySelectorAll('#notices li[data-kind]')].map((one) => one.dataset.kind)");
    assert_eq!(kinds, serde_json::json!(["agent_gone", "key_refused", "paused", "dead_letters", "bytes_lost"]));
    let text = browser.text("document.querySelector('#notices').textContent");
    assert!(text.contains("web-009") && text.contains("start the agent there again"), "{text}");
    let lost = EtcdError::Failed { endpoints: "http://127.0.0.1:2379".into(), call: "watch", reason: "refused".into() };
    server.fleet.apply(&Event::Lost(lost));
    browser.open(&server.url("/agents"));
    browser.wait("that etcd is away", "!document.querySelector('#away').hidden");
    browser.wait("what was known", &format!("{NAMES}.length === 100"));
    browser.look("etcd-away");
    assert_eq!(browser.text("document.querySelector('#notices li').dataset.kind"), "etcd_away");
    server.fleet.apply(&Event::Snapshot { kvs: vec![kv(&agent("web-000"))], revision: 9 });
    browser.wait("that it is back", "document.querySelector('#away').hidden");
    no_complaints(&browser);
}

#[test]
fn one_that_is_gone_can_be_dismissed_by_who_may_change_things() {
    let server =
        with_users(&[("root", Role::Admin, &["*"]), ("edda", Role::Editor, &["*"]), ("vera", Role::Viewer, &["*"])]);
    a_fleet(&server);
    // As consoles have written it down; when the other one went nobody watched.
    let record = |host: &str| key("agent", host).replace("/status/", "/seen/");
    let seen = json!({ "first_ms": 5, "told_ms": now_ms() - 7_200_000, "went_ms": now_ms(), "unwatched": true, "status": agent("lost") });
    server.kept.outside(&record("web-009"), Some("{}"));
    server.fleet.apply(&Event::Put(Kv { key: record("lost"), value: seen.to_string().into(), revision: 3 }));
    let browser = Browser::start("forget");
    let enter = |name: &str| {
        log_in(&browser, &server, "/agents", name);
        browser.wait("the table", &format!("document.querySelector('#list') && {NAMES}.length === 100"));
    };
    let open = |host: &str| {
        browser.get(&format!("(document.querySelector('[data-name=\"agent/{host}/1\"] .link').click(), 1)"));
        let there = "document.querySelector('#details').open && document.querySelector('#details-title')?.textContent";
        browser.wait("its details", &format!("{there} === 'Agent {host}'"));
        assert_eq!(browser.get("document.activeElement.id"), "details-close", "one key too many dismisses nobody");
    };
    enter("vera");
    open("web-009");
    assert_eq!(browser.get("document.querySelector('#forget')"), Value::Null, "a viewer can't");
    browser.keys(ESCAPE);
    browser.click("#who");
    browser.wait("who", "!document.querySelector('#who-panel').hidden");
    browser.click("#log-out");
    browser.wait("the way in", "location.pathname === '/login'");
    enter("edda");
    assert_eq!(browser.get(&format!("{NAMES}.slice(0, 3)")), json!(["web-009", "lost", "web-007"]));
    open("web-007");
    assert_eq!(browser.get("document.querySelector('#forget').hidden"), true, "it is alive");
    browser.keys(ESCAPE);
    open("lost");
    let details = browser.text("document.querySelector('#details').textContent");
    assert!(details.contains("no console ran") && details.contains("Last sign2 hr ago"), "{details}");
    browser.look("unwatched");
    browser.keys(ESCAPE);
    open("web-009");
    browser.look("forget");
    browser.click("#forget");
    browser.wait("that it's away", &format!("!document.querySelector('#details').open && {NAMES}[0] === 'lost'"));
    assert!(browser.text("document.querySelector('#toast').textContent").contains("web-009"));
    let kept = actix_rt::System::new().block_on(server.kept.store.get(&record("web-009"))).unwrap();
    assert_eq!(kept, None);
    // The page may have asked for it once more just before.
    let of_it = |complaint: &String| complaint.contains("/agents/agent/web-009/1") && complaint.contains("404");
    assert_eq!(browser.complaints().into_iter().filter(|one| !of_it(one)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn narrow_dark_and_chinese_pages_hold_all_there_is() {
    let server = Fake::start();
    a_fleet(&server);
    for (name, language, dark, size) in [
        ("narrow", "en", true, (390, 844)),
        ("hans", "zh-CN", false, (1280, 800)),
        ("hant", "zh-TW", true, (1280, 800)),
    ] {
        let browser = Browser::with(&format!("fleet-{name}"), language, size);
        if dark {
            browser.dark();
        }
        for page in ["agents", "pipeline"] {
            browser.open(&server.url(&format!("/{page}")));
            browser.wait(page, "document.querySelector('tbody tr')");
            browser.look(page);
            let overflow = format!("document.documentElement.scrollWidth - {}", size.0);
            assert!(browser.get(&overflow).as_i64() <= Some(0), "{name} {page}: wider than its window");
        }
        browser.open(&server.url("/agents?q=web-000"));
        browser.click("#list .link");
        browser.wait("the details", "document.querySelector('#files')");
        browser.look("details");
        no_complaints(&browser);
    }
}
