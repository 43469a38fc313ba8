//! The page over what `standalone` has indexed, as a person meets it: how much is sent, how soon it can be used, and how
//! long a line takes to be seen.

use super::{measure::quantile, report::Section};
use crate::{
    browser::Browser,
    support::{
        process::{Process, http_get},
        wait_for,
    },
};
use std::{
    fs::OpenOptions,
    io::Write as _,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

const LIMIT: Duration = Duration::from_secs(60);
const VISITS: usize = 5;
const LINES: usize = 20;

pub fn run(process: &Process, logs: &Path, section: &mut Section) {
    let url = format!("http://{}", process.program.listen);
    first_page(&url, section);
    live(&url, logs, section);
    in_search(process, logs, section);
}

/// A browser that has never been there, over and over.
fn first_page(url: &str, section: &mut Section) {
    let (mut bytes, mut ready) = (0.0, Vec::new());
    for _ in 0..VISITS {
        let browser = Browser::start("figures");
        browser.open(&format!("{url}/"));
        let number = |expression: &str| browser.get(expression).as_f64().expect("a number");
        ready.push(number("Number(document.documentElement.dataset.ready)"));
        bytes = number(
            "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]\
             .filter((e) => !e.name.includes('/api/')).reduce((sum, e) => sum + e.transferSize, 0)",
        );
    }
    section.row("first page, bytes", "<= 300 kB", format!("{:.0} kB", bytes / 1e3));
    let measured = format!("p50 {:.0} ms, worst {:.0} ms", quantile(&ready, 0.5), quantile(&ready, 1.0));
    section.row("first page, until it can be used", "<= 500 ms", measured);
}

fn now_ms() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs_f64() * 1e3
}

fn append(logs: &Path, line: &str) {
    let file = OpenOptions::new().create(true).append(true).open(logs.join("seen.log"));
    writeln!(file.expect("open a log"), "{line}").expect("write a log");
}

/// By a mark that the page itself sets when the row is there.
fn live(url: &str, logs: &Path, section: &mut Section) {
    let browser = Browser::start("figures");
    browser.open(&format!("{url}/?q=measured"));
    browser.get(
        "(window.seen_ = {}, new MutationObserver(() => { for (const m of document.querySelectorAll('#rows .message')) \
         seen_[m.textContent] ??= Date.now(); }).observe(document.querySelector('#rows'), { childList: true, subtree: true }), 1)",
    );
    browser.click("#live");
    browser.wait("the live tail", "document.querySelector('#live').getAttribute('aria-pressed') === 'true'");
    let mut n = 0;
    wait_for("the first line in the live tail", LIMIT, || {
        n += 1;
        append(logs, &format!("measured beginning {n}"));
        browser.get("Object.keys(seen_).length > 0").as_bool().filter(|&seen| seen)
    });
    let delays: Vec<f64> = (0..LINES)
        .map(|i| {
            let written = now_ms();
            append(logs, &format!("measured live {i}"));
            let seen = browser.wait("the line", &format!("seen_['measured live {i}']"));
            seen.as_f64().expect("milliseconds") - written
        })
        .collect();
    let measured = format!("p50 {:.0} ms, worst {:.0} ms", quantile(&delays, 0.5), quantile(&delays, 1.0));
    section.row("a line written -> seen in the live tail", "<= 200 ms", measured);
}

/// Asked without a pause until it is found.
fn in_search(process: &Process, logs: &Path, section: &mut Section) {
    let delays: Vec<f64> = (0..LINES)
        .map(|i| {
            let begun = Instant::now();
            append(logs, &format!("searched{i}"));
            wait_for("the line", LIMIT, || {
                let answer = http_get(&process.program.listen, &format!("/api/v1/search?q=searched{i}&size=1"));
                answer.filter(|(_, body)| body.contains("\"offset\""))
            });
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let measured = format!("p50 {:.0} ms, worst {:.0} ms", quantile(&delays, 0.5), quantile(&delays, 1.0));
    section.row("a line written -> found", "<= 3000 ms", measured);
}
