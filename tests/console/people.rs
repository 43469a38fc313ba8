//! The pages of people, in a browser: the way in, users, tokens, one's own password, and who did what.

use crate::{
    browser::{Browser, ENTER, TAB},
    fake::Fake,
    gate::{PASSWORD, login, watch, with_users},
};
use logweir::console::Role;

pub fn log_in(browser: &Browser, server: &Fake, path: &str, name: &str) {
    browser.open(&server.url(path));
    browser.wait("the way in", "location.pathname === '/login' && document.querySelector('#enter')");
    browser.wait("the name has the focus", "document.activeElement.name === 'name'");
    browser.keys(name);
    browser.keys(TAB);
    browser.keys(PASSWORD);
    browser.keys(ENTER);
}

#[test]
fn a_person_logs_in_comes_back_to_where_they_were_and_logs_out() {
    let server = with_users(&[("root", Role::Admin, &["*"]), ("vera", Role::Viewer, &["*"])]);
    server.write("/var/log/shop/a.log", "needle");
    let browser = Browser::start("login");
    browser.open(&server.url("/login"));
    browser.keys("vera");
    browser.keys(TAB);
    browser.keys("a wrong password");
    browser.keys(ENTER);
    browser.wait("a refusal", "!document.querySelector('#refused').hidden");
    browser.look("refused");
    log_in(&browser, &server, "/?q=needle", "vera");
    browser.wait("the line that was asked for", "document.querySelector('#rows mark')?.textContent === 'needle'");
    assert_eq!(browser.get("document.querySelectorAll('.top nav a[href=\"/people\"]').length"), 0, "only for admins");
    browser.click("#who");
    browser.wait("who", "!document.querySelector('#who-panel').hidden");
    browser.look("who");
    browser.click("#log-out");
    browser.wait("the way in", "location.pathname === '/login'");
    browser.open(&server.url("/collect"));
    browser.wait("again", "location.pathname === '/login'");
    // Another site is no place to come back to.
    browser.open(&server.url("/login?to=https%3A%2F%2Fevil.example%2F"));
    browser.keys("vera");
    browser.keys(TAB);
    browser.keys(PASSWORD);
    browser.keys(ENTER);
    browser.wait("the own page", "location.pathname === '/' && document.querySelector('#bar')");
}

#[test]
fn who_watches_too_much_already_is_told_so_and_what_to_do() {
    let server = with_users(&[("vera", Role::Admin, &["*"])]);
    let elsewhere = login(&server, "vera");
    let open: Vec<_> = (0..20).map(|_| watch(&server, &elsewhere)).collect();
    let browser = Browser::start("too-many-tails");
    log_in(&browser, &server, "/", "vera");
    browser.wait("to be in", "document.querySelector('#rows')");
    browser.click("#live");
    browser.wait("the reason", "document.querySelector('#offline').textContent.includes('close one of them')");
    drop(open);
}

#[test]
fn the_first_user_is_made_on_the_page_and_makes_the_others() {
    let server = Fake::start();
    let browser = Browser::start("people");
    browser.open(&server.url("/people"));
    browser.wait("a hint", "document.querySelector('#open-hint')");
    browser.look("open");
    browser.click("#add-user [name=name]");
    browser.keys("root");
    browser.keys(TAB);
    browser.keys(PASSWORD);
    browser.keys(ENTER);
    browser.wait("the way in", "location.pathname === '/login'");
    log_in(&browser, &server, "/people", "root");
    browser.wait("the first user", "document.querySelector('[data-user=root]')");
    browser.click("#add-user [name=name]");
    browser.keys("vera");
    browser.keys(TAB);
    browser.keys(PASSWORD);
    browser.keys(ENTER);
    browser.wait("the second", "document.querySelector('[data-user=vera]')");
    browser
        .wait("its record", "[...document.querySelectorAll('#audit td')].some((td) => td.textContent === 'user.add')");
    browser.click("#add-token [name=name]");
    browser.keys("<b>nightly</b> report");
    browser.keys(ENTER);
    browser.wait("the token", "document.querySelector('#made .secret')?.value.startsWith('lw_')");
    browser.wait("its row", "document.querySelector('#tokens td')?.textContent === '<b>nightly</b> report'");
    browser.look("people");
    browser.click("[data-user=vera] [data-act=toggle]");
    browser.wait("that she is out", "document.querySelector('[data-user=vera] .bad')");
    browser.click("[data-user=root] [data-act=toggle]");
    browser.wait("the last admin stays", "!document.querySelector('#users-refused').hidden");
    browser.click("[data-user=vera] .actions button");
    browser.wait("the form", "document.querySelector('#edit-user').open");
    browser.look("edit");
    browser.get("(document.querySelector('#edit-user [name=role]').value = 'editor', 1)");
    browser.click("#edit-user [type=submit]");
    browser.wait(
        "the other role",
        "document.querySelector('[data-user=vera] td:nth-child(2)').textContent.startsWith('Editor')",
    );
    browser.click("#own [name=old]");
    browser.keys(PASSWORD);
    browser.keys(TAB);
    browser.keys("another horse battery");
    browser.keys(TAB);
    browser.keys("another horse battery");
    browser.keys(ENTER);
    browser.wait("the new password", "document.querySelector('#toast').textContent.includes('other sessions')");
    // The page goes on with its new session.
    browser.click("[data-user=vera] [data-act=toggle]");
    browser.wait("that she may come in", "!document.querySelector('[data-user=vera] .bad')");
    let unnamed = "[...document.querySelectorAll('main input:not([type=hidden]), main select, main button')].filter((e) => \
                   !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label'))).length";
    assert_eq!(browser.get(unnamed), 0, "everything has a name");
}

#[test]
fn the_pages_fit_a_phone_and_the_dark() {
    let server = with_users(&[("root", Role::Admin, &["*"])]);
    let browser = Browser::with("people-narrow", "zh-CN", (390, 844));
    browser.open(&server.url("/login"));
    browser.click("#theme");
    browser.look("login");
    log_in(&browser, &server, "/people", "root");
    browser.wait("the users", "document.querySelector('[data-user=root]')");
    browser.look("people");
    let wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(browser.get(wide), true, "nothing sticks out");
}
