//! `logweir console user`: the people who may log in, by hand.

use super::logweir;
use std::{fs, path::Path};

fn user(dir: &Path, words: &[&str]) -> super::Ran {
    let place = ["--data-dir".as_ref(), dir.as_os_str()];
    let all = ["console", "user"].iter().chain(words).map(|word| std::ffi::OsStr::new(*word)).chain(place);
    logweir(all)
}

#[test]
fn users_are_added_changed_and_shown_and_no_password_is_an_argument() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret.txt");
    fs::write(&secret, "correct horse battery\nsecond line\n").unwrap();
    let secret = secret.to_str().unwrap();
    let first = user(dir.path(), &["add", "vera", "--password-file", secret]);
    assert!(first.code == 65 && first.err.contains("first user has to be an admin"), "{}", first.err);
    let added = user(dir.path(), &["add", "anna", "--role", "admin", "--password-file", secret]);
    assert_eq!((added.code, added.out.as_str()), (0, "anna can log in now\n"), "{}", added.err);
    let words = ["add", "vera", "--topics", "shop-*, web", "--password-file", secret];
    assert_eq!(user(dir.path(), &words).code, 0);
    let again = user(dir.path(), &words);
    assert!(again.code == 65 && again.err.contains("there already"), "{}", again.err);
    let listed = user(dir.path(), &["list"]).out;
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["anna", "admin", "*"], vec!["vera", "viewer", "shop-*,web"]]);
    assert_eq!(user(dir.path(), &["disable", "vera"]).code, 0);
    assert!(user(dir.path(), &["list"]).out.contains("disabled"));
    assert_eq!(user(dir.path(), &["enable", "vera"]).code, 0);
    assert_eq!(user(dir.path(), &["role", "vera", "--role", "editor"]).code, 0);
    assert_eq!(user(dir.path(), &["passwd", "vera", "--password-file", secret]).code, 0);
    let last = user(dir.path(), &["disable", "anna"]);
    assert!(last.code == 65 && last.err.contains("last admin"), "{}", last.err);
    // What is kept: a hash, for its owner only, and who did it.
    let text = fs::read_to_string(dir.path().join("console.json")).unwrap();
    let audit = fs::read_dir(dir.path().join("console.audit")).unwrap().next().unwrap().unwrap().path();
    let audit = fs::read_to_string(audit).unwrap();
    assert!(text.contains("argon2id") && audit.contains("command line"));
    assert!(!format!("{text}{audit}").contains("correct horse") && !audit.contains("argon2id"));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(dir.path().join("console.json")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_is_wrong_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let short = dir.path().join("short.txt");
    fs::write(&short, "short\n").unwrap();
    for (words, code, reason) in [
        (vec!["add", "anna", "--role", "admin", "--password-file", short.to_str().unwrap()], 65, "at least 12"),
        (vec!["add", "anna", "--role", "admin", "--password-file", "/nowhere"], 66, "/nowhere"),
        (vec!["add", "anna", "--role", "king"], 64, "viewer, editor and admin"),
        (vec!["add", "anna", "--topics", "a b"], 64, "no pattern of topics"),
        // Nobody can be asked.
        (vec!["add", "anna", "--role", "admin"], 64, "--password-file"),
        (vec!["disable", "nobody-there"], 65, "no user"),
        (vec!["passwd", "anna", "correct horse battery"], 64, "unexpected argument"),
    ] {
        let ran = user(dir.path(), &words);
        assert!(ran.code == code && ran.err.contains(reason), "{words:?}: {} {}", ran.code, ran.err);
    }
    let nowhere = user(&dir.path().join("nowhere"), &["list"]);
    assert_eq!(nowhere.code, 66, "{}", nowhere.err);
    assert_eq!(logweir(["console", "user", "list"]).code, 64, "whose?");
    assert_eq!(logweir(["console"]).code, 64);
}
