//! The oracle must be able to fail: each kind of mistake, made by hand, is found. No server.

use crate::support::{
    oracle::{Fold, Form, Oracle},
    rng::Rng,
    test_folder,
    writer::{LogWriter, Written},
};
use std::{fs, path::Path};

/// A line as it stands in its file; the file's number and generation serve as its identity.
#[derive(Clone)]
struct Line {
    bytes: Vec<u8>,
    identity: String,
    offset: u64,
}

/// What was written, and the same read back from the files in order.
fn written(test: &str) -> (Written, Vec<Line>) {
    let folder = test_folder(test);
    let mut writer = LogWriter::new(&folder, 3, 200, Rng::new(7));
    writer.write(5_000);
    let written = writer.written().clone();
    let mut lines = Vec::new();
    for (file, expected) in written.files.iter().enumerate() {
        let newest = expected.last().map_or(0, |line| line.generation);
        for generation in 0..=newest {
            let age = newest - generation;
            let suffix = if age == 0 { String::new() } else { format!(".{age}") };
            let identity = format!("{file:08x}{generation:08x}");
            lines.extend(read(&folder.join(format!("app-{file}.log{suffix}")), &identity));
        }
    }
    (written, lines)
}

fn read(path: &Path, identity: &str) -> Vec<Line> {
    let bytes = fs::read(path).expect("a written log");
    let mut offset = 0;
    let lines = bytes.split_inclusive(|&byte| byte == b'\n').map(|piece| {
        let line = piece.strip_suffix(b"\n").unwrap_or(piece);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        offset += piece.len() as u64;
        Line { bytes: line.to_vec(), identity: identity.to_owned(), offset: offset - piece.len() as u64 }
    });
    lines.filter(|line| !line.bytes.is_empty()).collect()
}

fn verdict(written: &Written, lines: &[Line]) -> Vec<String> {
    let mut oracle = Oracle::new(written, Form::Raw);
    for line in lines {
        oracle.see(&line.bytes, &line.identity, line.offset);
    }
    oracle.verdict()
}

fn assert_found(verdict: &[String], kind: &str) {
    assert!(verdict.iter().any(|found| found.starts_with(kind)), "{kind:?} is not in {verdict:?}");
}

#[test]
fn what_was_written_and_arrives_as_it_is_passes_in_both_forms() {
    let (written, lines) = written("oracle-passes");
    assert!(written.lines() >= 5_000 && written.files.iter().all(|file| file.last().unwrap().generation > 1));
    assert_eq!(verdict(&written, &lines), Vec::<String>::new());

    let mut text = Oracle::new(&written, Form::Text);
    for line in &lines {
        text.see(String::from_utf8_lossy(&line.bytes).as_bytes(), &line.identity, line.offset);
    }
    assert_eq!(text.verdict(), Vec::<String>::new());
}

#[test]
fn the_written_logs_hold_everything_that_is_hard_to_read() {
    let (_, lines) = written("oracle-hard-lines");
    let some = |what: &str, hard: fn(&[u8]) -> bool| assert!(lines.iter().any(|line| hard(&line.bytes)), "no {what}");
    some("invalid UTF-8", |line| std::str::from_utf8(line).is_err());
    some("NUL byte", |line| line.contains(&0));
    some("character of several bytes", |line| std::str::from_utf8(line).is_ok_and(|line| !line.is_ascii()));
    some("carriage return inside", |line| line.contains(&b'\r'));
    some("long line", |line| line.len() > 10_000);
}

#[test]
fn every_kind_of_mistake_is_found() {
    let (written, lines) = written("oracle-finds");
    let with = |change: &dyn Fn(&mut Vec<Line>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        verdict(&written, &lines)
    };
    assert_found(&with(&|lines| drop(lines.remove(100))), "missing: 1,");
    assert_found(&with(&|lines| lines.push(lines[100].clone())), "arrived more than once: 1,");
    assert_found(&with(&|lines| *lines[100].bytes.last_mut().unwrap() = b'!'), "damaged: 1,");
    assert_found(&with(&|lines| lines[100].bytes.truncate(30)), "damaged: 1,");
    assert_found(&with(&|lines| lines[100].bytes.truncate(6)), "not one of our lines: 1,");
    assert_found(&with(&|lines| lines[100].offset += 1), "wrong position: 1,");
    assert_found(&with(&|lines| lines.swap(100, 101)), "out of order: 1,");
    assert_found(&with(&|lines| lines[100].identity = "f".repeat(16)), "two identities for one file: 1,");
    assert_found(&with(&|lines| lines.iter_mut().for_each(|l| l.identity = "f".repeat(16))), "one identity for two");
    let unknown = b"file=0 line=999999 crc=00000000 never written".to_vec();
    assert_found(&with(&|lines| lines[100].bytes = unknown.clone()), "never written: 1,");
}

#[test]
fn records_that_repeat_are_folded_and_counted_but_may_not_differ() {
    let (written, lines) = written("oracle-folds");
    let mut fold = Fold::new(&written);
    let key = |line: &Line| format!("host {} {} 1795246112111 - /var/log/a b.log", line.identity, line.offset);
    for line in lines.iter().chain(&lines[50..60]) {
        fold.see(Some(key(line).as_bytes()), Some(&line.bytes));
    }
    assert_eq!((fold.repeats, fold.oracle.arrived()), (10, written.lines()));

    fold.see(Some(key(&lines[70]).as_bytes()), Some(b"something else"));
    fold.see(None, Some(b"a stranger"));
    let verdict = fold.oracle.verdict();
    assert_found(&verdict, "a repeat that differs: 1,");
    assert_found(&verdict, "record without our key: 1,");
    assert_eq!(verdict.len(), 2, "{verdict:?}");
}
