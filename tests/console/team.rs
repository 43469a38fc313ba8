//! A team's whole way, on real servers: the first admin, an entry, two agents that apply it, a line that is found; mistakes,
//! conflicts and restored versions; who may only look; an agent that dies and etcd that is away.

use crate::{
    browser::Browser,
    page::ROWS,
    support::{
        kafka::create_topic,
        process::{Process, Program, free_address},
        servers::{Server, Servers, servers},
        test_folder, wait_for,
    },
};
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::PathBuf,
    sync::MutexGuard,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(60);
const ALL: &str = "/logweir/collect/all";
const PASSWORD: &str = "correct horse battery";
const CONFIRM: &str = "#review footer .primary";

/// Servers, two agents, a transfer and a console, with an etcd of their own: people's names and signs of life have fixed
/// keys there.
struct Team {
    servers: MutexGuard<'static, Servers>,
    etcd: Server,
    logs: PathBuf,
    topic: &'static str,
    agents: [Program; 2],
    transfer: Program,
    console: Program,
}

impl Team {
    fn new(name: &'static str) -> Self {
        let servers = servers();
        let etcd = Server::start_with("etcd", &format!("test-{}-{name}", std::process::id()), &[]);
        let folder = test_folder(&format!("console/{name}-team"));
        let logs = folder.join("logs");
        fs::create_dir(&logs).unwrap();
        create_topic(servers.kafka.fact("address"), name, 2);
        let (url, kafka) = (etcd.fact("url").to_owned(), servers.kafka.fact("address").to_owned());
        let program = |kind: &str, instance: &str, own: &str| {
            let (listen, folder) = (free_address(), folder.join(format!("{kind}-{instance}")));
            fs::create_dir(&folder).unwrap();
            let listens = if kind == "console" { "console" } else { "metrics" };
            let configuration = format!(
                "[{kind}]\nhost = \"{instance}\"\n{own}\n[etcd]\nendpoints = [\"{url}\"]\n[log]\nlevel = \"debug\"\n"
            );
            let program = Program::new(kind, &folder, &listen, &configuration);
            program.with(&format!("LOGWEIR__{}__LISTEN", listens.to_uppercase()), &listen)
        };
        let agent = |host: &str| {
            let data = folder.join(format!("data-{host}"));
            let agent = program("agent", host, &format!("data_dir = \"{}\"", data.display()));
            agent.with("LOGWEIR__KAFKA__BROKERS", &kafka)
        };
        let agents = [agent("web-01"), agent("web-02")];
        let transfer = program("transfer", "carrier", "")
            .with("LOGWEIR__KAFKA__BROKERS", &kafka)
            .with("LOGWEIR__KAFKA__GROUP", name)
            .with("LOGWEIR__ELASTICSEARCH__REPLICAS", "0");
        let console = program("console", "desk", "");
        Self { servers, etcd, logs, topic: name, agents, transfer, console }
    }

    fn put(&self, key: &str, value: &str) {
        self.etcd.command("ctl", &["put", "--", key, value]);
    }

    fn write(&self, file: &str, line: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.logs.join(file));
        writeln!(file.unwrap(), "{line}").unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.console.listen)
    }

    /// The address, and what is behind it when it is asked by nobody.
    fn browser(&self, name: &str) -> Browser {
        let browser = Browser::start(name);
        browser.open(&self.url("/"));
        browser
    }

    /// The one-time code, as an operator finds it.
    fn code(&self) -> String {
        wait_for("the one-time code in the log", LIMIT, || {
            let log = self.console.logged();
            let line = log.lines().rev().find(|line| line.contains("/setup"))?;
            let word = |word: &str| word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-').to_owned();
            let is_code =
                |word: &String| word.len() >= 20 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            line.split([' ', '=', '"', '\u{1b}', ':', ',']).map(word).find(is_code)
        })
    }
}

/// Writes into a field, as if typed over what was there.
fn fill(browser: &Browser, css: &str, text: &str) {
    browser.click(css);
    browser.get(&format!("(document.querySelector('{css}').select(), 1)"));
    browser.keys(text);
}

fn submit_login(browser: &Browser, name: &str, password: &str) {
    fill(browser, "[name=name]", name);
    fill(browser, "[name=password]", password);
    browser.click("#enter button[type=submit]");
    browser.wait("to be in", "document.querySelector('#rows')");
}

/// A call of the API with the browser's session, as the page makes it.
fn call(browser: &Browser, method: &str, path: &str, body: &Value) -> (u64, Value) {
    browser.get(&format!(
        "(window.answer_ = null, import(document.querySelector('script[type=module]').src.replace(/[^/]*$/, 'util.js'))\
         .then((m) => m.change('{method}', {path}, JSON.stringify({body})))\
         .then((a) => {{ answer_ = [200, a ?? null]; }}, (e) => {{ answer_ = [e.status ?? 0, e.message]; }}), 1)",
        path = json!(path),
    ));
    let answer = browser.wait("an answer", "answer_");
    (answer[0].as_u64().unwrap(), answer[1].clone())
}

/// `GET` with the browser's session.
fn ask(browser: &Browser, path: &str) -> Value {
    browser.get(&format!(
        "(window.asked_ = null, fetch('/api/v1/' + {}).then((a) => a.json()).then((a) => {{ asked_ = a; }}), 1)",
        json!(path)
    ));
    browser.wait("an answer", "asked_")
}

/// How many agents have taken over a key's present value.
fn applied(browser: &Browser, key: &str) -> Option<usize> {
    let answer = ask(browser, &format!("entries/key?key={key}"));
    answer["answers"]["applied"].as_array().map(Vec::len)
}

#[test]
fn a_team_decides_what_is_collected_sees_who_does_it_and_finds_what_happened() {
    let mut team = Team::new("team");
    let value = json!({"api_key": team.servers.elastic.api_key(), "url_address": [team.servers.elastic.fact("url")]});
    team.put("elasticsearch_config", &value.to_string());
    let console = team.console.start();
    let mut agents: Vec<Process> = team.agents.iter().map(Program::start_ready).collect();
    let transfer = team.transfer.start_ready();

    // The first admin, by the code in the log.
    let code = team.code();
    let admin = team.browser("team");
    admin.wait("the way to the first admin", "document.querySelector('#enter[data-call=setup]')");
    fill(&admin, "[name=code]", &code);
    fill(&admin, "[name=name]", "ada");
    fill(&admin, "[name=password]", PASSWORD);
    fill(&admin, "[name=again]", PASSWORD);
    admin.look("setup");
    admin.click("#enter button[type=submit]");
    admin.wait("to be in", "document.querySelector('#rows')");

    an_entry_is_applied_and_its_line_found(&team, &admin);
    mistakes_are_shown_where_they_are(&team, &admin);
    two_editors_are_in_conflict_and_an_old_version_comes_back(&team, &admin);
    a_viewer_looks_and_changes_nothing(&team, &admin);
    an_agent_that_dies_is_shown(&team, &admin, &mut agents);
    etcd_goes_and_comes_back(&mut team, &admin);

    for agent in agents {
        agent.stop();
    }
    transfer.stop();
    console.stop();
}

fn an_entry_is_applied_and_its_line_found(team: &Team, admin: &Browser) {
    team.write("shop.log", "ERROR the first needle of the team");
    admin.open(&team.url("/collect"));
    fill(admin, "#path", &team.logs.join("*.log").to_string_lossy());
    fill(admin, "#topic", team.topic);
    admin.click("#save");
    admin.wait("the difference", "document.querySelector('#review[open] .diff ins')");
    admin.look("difference");
    let begun = Instant::now();
    admin.click(CONFIRM);
    wait_for("both agents to apply it", LIMIT, || (applied(admin, ALL)? == 2).then_some(()));
    println!("saved -> applied by both agents: {} ms", begun.elapsed().as_millis());
    admin.wait("it on the page", "/2/.test(document.querySelector('#of-keys .verdict.applied')?.textContent)");
    admin.look("collection");
    // Found within a minute, at the very worst.
    admin.open(&team.url("/?q=needle"));
    admin.wait("the line", &format!("(document.querySelector('#run').click(), {ROWS} >= 1)"));
    println!("saved -> found in the search: {} ms", begun.elapsed().as_millis());
    admin.look("found");
}

fn mistakes_are_shown_where_they_are(team: &Team, admin: &Browser) {
    admin.open(&team.url("/collect"));
    fill(admin, "#path", "/var/log/[");
    fill(admin, "#topic", team.topic);
    admin.click("#save");
    admin.wait("the wrong glob at its field", "document.querySelector('#path[aria-invalid=true]')");
    fill(admin, "#path", "/var/log/right.log");
    fill(admin, "#topic", "not a topic");
    admin.click("#save");
    admin.wait("the wrong topic at its field", "document.querySelector('#topic[aria-invalid=true]')");
    assert!(admin.get("document.querySelector('#path[aria-invalid]')").is_null(), "the path is right now");
    admin.look("mistake");

    // Behind the console's back.
    team.put("/logweir/collect/host/web-02", r#"[{"path":"/a","topic":"t","rate_limit":5}]"#);
    admin.wait("the agent that refuses", "document.querySelector('#of-keys .verdict.refused')");
    admin.wait("what is wrong", "/rate_limit/.test(document.querySelector('#wrong-keys').textContent)");
    let key = "entries/key?key=/logweir/collect/host/web-02";
    let refused = wait_for("the agent's reason", LIMIT, || {
        Some(ask(admin, key)["answers"]["refused"][0].clone()).filter(|refused| refused.is_object())
    });
    assert_eq!(refused["host"], "web-02");
    assert!(refused["reason"].as_str().unwrap().contains("rate_limit"), "{refused}");
    admin.look("refused");
    team.etcd.command("ctl", &["del", "--", "/logweir/collect/host/web-02"]);
    admin.wait("nothing wrong any more", "document.querySelector('#wrong-keys').hidden");
}

fn two_editors_are_in_conflict_and_an_old_version_comes_back(team: &Team, admin: &Browser) {
    admin.open(&team.url("/collect"));
    let before = ask(admin, &format!("entries/key?key={ALL}"))["text"].as_str().unwrap().to_owned();
    fill(admin, "#path", "/var/log/mine.log");
    fill(admin, "#topic", "mine");
    admin.click("#save");
    admin.wait("the difference", "document.querySelector('#review[open] .diff ins')");
    let theirs = before.replacen('[', r#"[{"path":"/var/log/theirs.log","topic":"theirs"},"#, 1);
    team.put(ALL, &theirs);
    admin.click(CONFIRM);
    admin.wait("both versions", "document.querySelectorAll('#review .version').length === 2");
    let shown = admin.text("document.querySelector('#review .versions').textContent");
    assert!(shown.contains("theirs.log") && shown.contains("mine.log"), "{shown}");
    admin.look("conflict");
    // The own change onto theirs, looked at once more.
    admin.click(CONFIRM);
    admin.wait("the difference again", "document.querySelector('#review[open] .diff ins')");
    admin.click(CONFIRM);
    let both = wait_for("both changes", LIMIT, || {
        let text = ask(admin, &format!("entries/key?key={ALL}"))["text"].as_str()?.to_owned();
        text.contains("mine.log").then_some(text)
    });
    assert!(both.contains("theirs.log"), "{both}");

    // The history has all of it, and who it was; the first version comes back.
    let history = format!("entries/history?key={ALL}");
    let records = wait_for("three records", LIMIT, || {
        ask(admin, &history)["records"].as_array().filter(|records| records.len() >= 3).cloned()
    });
    let from: Vec<_> = records.iter().map(|record| record["from"].as_str().unwrap()).collect();
    assert_eq!(from, ["console", "outside", "console"], "{records:?}");
    assert_eq!(records[0]["author"], "ada");
    admin.open(&team.url(&format!("/collect?key={ALL}")));
    admin.click("#key-history li:last-child summary");
    admin.click("#key-history li:last-child button");
    admin.wait("the difference from now", "document.querySelector('#review[open] .diff del')");
    admin.look("restore");
    admin.click(CONFIRM);
    wait_for("the first version", LIMIT, || {
        (ask(admin, &format!("entries/key?key={ALL}"))["text"] == before.as_str()).then_some(())
    });
    wait_for("both agents to apply it", LIMIT, || (applied(admin, ALL)? == 2).then_some(()));
}

fn a_viewer_looks_and_changes_nothing(team: &Team, admin: &Browser) {
    admin.open(&team.url("/people"));
    fill(admin, "#add-user [name=name]", "vera");
    fill(admin, "#add-user [name=password]", PASSWORD);
    admin.get("(document.querySelector('#add-user [name=role]').value = 'viewer', 1)");
    admin.click("#add-user button[type=submit]");
    admin.wait("the new user", "/vera/.test(document.querySelector('#users').textContent)");
    admin.look("people");

    let viewer = team.browser("team-viewer");
    submit_login(&viewer, "vera", PASSWORD);
    viewer.open(&team.url("/collect"));
    viewer.wait("the entries", "document.querySelector('#entries table')");
    assert!(viewer.get("document.querySelector('#add, #import, [data-at$=remove]')").is_null());
    viewer.look("viewer");
    let key = format!("entries/key?key={ALL}");
    assert_eq!(call(&viewer, "PUT", &key, &json!([])).0, 403);
    assert_eq!(call(&viewer, "DELETE", &key, &Value::Null).0, 403);
    assert_ne!(ask(&viewer, &key)["text"], "[]");
    viewer.open(&team.url("/?q=needle"));
    viewer.wait("the line", &format!("{ROWS} >= 1"));
    let audit = ask(admin, "audit").to_string();
    assert!(audit.contains("vera") && audit.contains("entries.restore"), "{audit}");
}

fn an_agent_that_dies_is_shown(team: &Team, admin: &Browser, agents: &mut Vec<Process>) {
    admin.open(&team.url("/agents"));
    let names = "[...document.querySelectorAll('#list tbody tr')].map((row) => row.dataset.name)";
    admin.wait("both agents", &format!("{names}.filter((n) => n.startsWith('agent/')).length === 2"));
    admin.look("agents");
    let begun = Instant::now();
    agents.remove(0).kill();
    let row = "document.querySelector('#list tr[data-name^=\"agent/web-01\"]')";
    admin.wait("the dead agent", &format!("/gone/i.test({row}?.className + {row}?.textContent)"));
    println!("killed -> shown as gone: {} ms", begun.elapsed().as_millis());
    admin.wait("the banner", "/web-01/.test(document.querySelector('#notices').textContent)");
    admin.look("gone");
    agents.push(team.agents[0].start_ready());
    admin.wait("it back", &format!("!/gone/i.test({row}.className + {row}.textContent)"));
}

fn etcd_goes_and_comes_back(team: &mut Team, admin: &Browser) {
    admin.open(&team.url("/collect"));
    team.etcd.kill();
    admin.wait(
        "that etcd is away",
        "!document.querySelector('#away').hidden && document.querySelector('#entries table')",
    );
    admin.look("etcd-away");
    team.etcd.start();
    admin.wait("etcd again", "document.querySelector('#away').hidden");
    fill(admin, "#path", "/var/log/after.log");
    fill(admin, "#topic", "after");
    admin.click("#save");
    admin.click(CONFIRM);
    wait_for("both agents to apply it", LIMIT, || (applied(admin, ALL)? == 2).then_some(()));
}
