use super::{super::FileStore, *};
use crate::store::{Check, Committed, Store as _, Write};
use std::os::unix::fs::PermissionsExt as _;

fn key(time: u64, word: &str) -> String {
    format!("{AUDIT}{time:013}-{word}")
}

fn record(revision: i64, text: &str) -> Record {
    Record { revision, value: text.as_bytes().to_vec().into() }
}

fn log(dir: &tempfile::TempDir) -> Log {
    Log::beside(&dir.path().join("console.json"))
}

fn store(dir: &tempfile::TempDir) -> FileStore {
    FileStore::new(dir.path().join("console.json")).mount("collect.json", dir.path().join("collect.json"))
}

fn add(log: &Log, times: impl IntoIterator<Item = u64>, text: &str) -> Added {
    log.add(times.into_iter().map(|time| (key(time, "a"), record(1, text))).collect()).unwrap()
}

fn times(items: Vec<Item>) -> Vec<u64> {
    items.iter().map(|item| time(&item.key).unwrap().parse().unwrap()).collect()
}

/// Large enough for a piece to have three.
const LARGE: usize = 400 << 10;

#[test]
fn records_are_found_from_both_ends_of_several_pieces_also_where_the_clock_was_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(&dir);
    let large = "x".repeat(LARGE);
    for time in [100, 110, 130, 120, 140, 115, 150, 90, 160, 170] {
        add(&log, [time], &large);
    }
    let all = [90, 100, 110, 115, 120, 130, 140, 150, 160, 170];
    assert!(log.pieces().unwrap().len() > 2, "{:?}", log.pieces());
    assert_eq!(times(log.list(AUDIT, None, 99).unwrap()), all);
    assert_eq!(times(log.list_last(AUDIT, None, 3).unwrap()), [170, 160, 150]);
    for (at, time) in all.iter().enumerate() {
        let place = key(*time, "a");
        assert_eq!(times(log.list("/", Some(&place), 2).unwrap()), all[at + 1..all.len().min(at + 3)]);
        let before: Vec<u64> = all[..at].iter().rev().copied().take(2).collect();
        assert_eq!(times(log.list_last("", Some(&place), 2).unwrap()), before);
        assert_eq!(log.get(&place).unwrap().unwrap().value.len(), LARGE);
        assert_eq!(log.get(&key(*time, "b")).unwrap(), None);
    }
    assert!(
        log.list(AUDIT, Some("/x"), 9).unwrap().is_empty() && log.list_last(AUDIT, Some("/a"), 9).unwrap().is_empty()
    );
    assert!(log.list("/logweir/history/", None, 9).unwrap().is_empty());
    log.remove(&all[..5].iter().map(|time| key(*time, "a")).collect::<Vec<_>>()).unwrap();
    assert_eq!(times(log.list(AUDIT, None, 99).unwrap()), all[5..]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&log.folder), mode(&log.path(&log.pieces().unwrap()[0]))), (0o700, 0o600));
}

#[test]
fn records_of_one_moment_stay_together_however_many() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(&dir);
    let text = "x".repeat(LARGE);
    add(&log, [99], "x");
    log.add((0..9).map(|n| (key(100, &n.to_string()), record(1, &text))).collect()).unwrap();
    log.add([(key(100, "late"), record(1, &text))].into()).unwrap();
    assert_eq!(log.pieces().unwrap(), ["0000000000099"]);
    add(&log, [101], "x");
    assert_eq!(log.pieces().unwrap(), ["0000000000099", "0000000000101"]);
    assert_eq!(log.list(AUDIT, None, 99).unwrap().len(), 12);
}

#[test]
fn a_line_that_a_crash_has_cut_off_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(&dir);
    add(&log, [100, 101], "x");
    let path = log.path("0000000000100");
    let text = fs::read_to_string(&path).unwrap();
    for cut in [1, 20, text.len() / 2 - 1] {
        fs::write(&path, &text[..text.len() - cut]).unwrap();
        assert_eq!(times(log.list(AUDIT, None, 9).unwrap()), [100]);
        add(&log, [102], "x");
        assert_eq!(times(log.list(AUDIT, None, 9).unwrap()), [100, 102], "{cut}");
    }
    fs::write(&path, format!("damaged\n{text}")).unwrap();
    assert_eq!(times(log.list(AUDIT, None, 9).unwrap()), [100, 101]);
    log.remove(&[key(100, "a")]).unwrap();
    assert_eq!(times(log.list(AUDIT, None, 9).unwrap()), [101]);
    assert!(fs::read_to_string(&path).unwrap().starts_with("damaged\n"), "what can't be read isn't removed");
}

#[test]
fn what_was_told_while_the_clock_stood_years_ahead_makes_no_piece_grow() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(&dir);
    let (now, ahead) = (1_795_246_112_111, 2_145_916_800_000);
    add(&log, [now], "x");
    add(&log, [ahead], "x");
    let later = now + 1..now + 10;
    for time in later.clone() {
        add(&log, [time], &"x".repeat(LARGE));
    }
    assert_eq!(log.pieces().unwrap(), [now, now + 4, now + 7, ahead].map(|time| time.to_string()));
    let all: Vec<u64> = [now].into_iter().chain(later).chain([ahead]).collect();
    assert_eq!(times(log.list(AUDIT, None, 99).unwrap()), all);
    assert_eq!(times(log.list_last(AUDIT, None, 99).unwrap()), all.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn of_too_many_pieces_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(&dir);
    add(&log, [100_000], "x");
    // Earlier ones are pieces of their own.
    for time in (1_000..1_000 + MOST_PIECES as u64 + 5).rev() {
        fs::write(log.path(&format!("{time:013}")), "").unwrap();
    }
    add(&log, [100_001], "x");
    assert_eq!(log.pieces().unwrap().len(), MOST_PIECES);
    assert_eq!(times(log.list(AUDIT, None, 9).unwrap()), [100_000, 100_001]);
}

#[actix_rt::test]
async fn a_change_appends_its_record_and_writes_no_other_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let told = |n: u64| vec![Write::put("k", n.to_string()), Write::put(key(n, "a"), "x".repeat(1_000))];
    for n in 0..100 {
        store.commit(vec![], told(n)).await.unwrap();
    }
    assert!(fs::metadata(dir.path().join("console.json")).unwrap().len() < 500);
    let item = store.get(&key(99, "a")).await.unwrap().unwrap();
    assert_eq!(item.revision, store.get("k").await.unwrap().unwrap().revision);
    // Another process sees them, and checks hold for them as for any key.
    let other = super::tests::store(&dir);
    assert_eq!(other.get(&key(99, "a")).await.unwrap(), Some(item.clone()));
    let absent = other.commit(vec![Check::absent(&item.key)], told(200)).await.unwrap();
    assert_eq!(absent, Committed::Conflict(vec![item.clone()]));
    assert!(matches!(
        other.commit(vec![Check::unchanged(&item)], vec![Write::delete(&item.key)]).await,
        Ok(Committed::Done(_))
    ));
    assert_eq!(store.get(&item.key).await.unwrap(), None);
    assert_eq!(store.keys("").await.unwrap().len(), 100);
    assert_eq!(store.keys(AUDIT).await.unwrap().len(), 99);
}

#[actix_rt::test]
async fn records_of_an_earlier_version_are_read_and_move_with_the_next_change() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("console.json");
    let item = |n: u64| format!(r#""{}":{{"revision":{n},"text":"old {n}"}}"#, key(n, "a"));
    let items = (1..1_500).map(item).collect::<Vec<_>>().join(",");
    fs::write(&file, format!(r#"{{"version":1,"revision":2000,"items":{{{items},"k":{{"revision":3,"text":"1"}}}}}}"#))
        .unwrap();
    let store = store(&dir);
    let last = async || times(store.list_last(AUDIT, None, 2).await.unwrap());
    assert_eq!(last().await, [1_499, 1_498]);
    let copy = fs::read(&file).unwrap();
    store.commit(vec![], vec![Write::put("k", "2"), Write::put(key(1_500, "a"), "new")]).await.unwrap();
    assert_eq!(last().await, [1_500, 1_499]);
    let all = store.list(AUDIT, None, 9_999).await.unwrap();
    assert_eq!((all.len(), all[6].revision, all[6].value.as_slice()), (1_500, 7, b"old 7".as_slice()));
    assert!(!fs::read_to_string(&file).unwrap().contains(AUDIT));
    // A crash before the file was replaced: they are in both, and told once.
    fs::remove_file(&file).unwrap();
    fs::write(&file, copy).unwrap();
    assert_eq!(store.list(AUDIT, None, 9_999).await.unwrap().len(), 1_500);
    store.commit(vec![], vec![Write::put("k", "3")]).await.unwrap();
    assert_eq!(store.keys(AUDIT).await.unwrap().len(), 1_500);
}

#[actix_rt::test]
async fn a_change_is_made_though_old_records_cant_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let old = key(1, "a");
    store.commit(vec![], vec![Write::put(&old, "old")]).await.unwrap();
    // What the piece is replaced by can't be written.
    let new = dir.path().join("console.audit/0000000000001.jsonl.new");
    fs::create_dir(&new).unwrap();
    let forget = || vec![Write::put("k", "1"), Write::put(key(2, "a"), "new"), Write::delete(&old)];
    assert!(matches!(store.commit(vec![], forget()).await, Ok(Committed::Done(_))));
    assert!(store.get("k").await.unwrap().is_some() && store.get(&old).await.unwrap().is_some());
    fs::remove_dir(&new).unwrap();
    store.commit(vec![], forget()).await.unwrap();
    assert_eq!(store.get(&old).await.unwrap(), None);
}

#[actix_rt::test]
async fn a_change_that_cant_be_told_is_not_made_and_one_that_is_not_made_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let change = |n: u64| vec![Write::put("k", n.to_string()), Write::put(key(n, "a"), "told")];
    store.commit(vec![], change(1)).await.unwrap();
    // What the file is replaced by can't be written.
    fs::create_dir(dir.path().join("console.json.new")).unwrap();
    store.commit(vec![], change(2)).await.unwrap_err();
    assert_eq!(store.keys("").await.unwrap().len(), 2);
    assert_eq!(store.get("k").await.unwrap().unwrap().value, b"1");
    // A mounted file was written by then: its change holds, and so does its record.
    let mounted = vec![Write::put("collect.json", "[]"), Write::put(key(3, "a"), "told")];
    store.commit(vec![], mounted).await.unwrap_err();
    fs::remove_dir(dir.path().join("console.json.new")).unwrap();
    assert!(store.get("collect.json").await.unwrap().is_some() && store.get(&key(3, "a")).await.unwrap().is_some());
    // The log can't be written.
    fs::remove_dir_all(dir.path().join("console.audit")).unwrap();
    fs::write(dir.path().join("console.audit"), "").unwrap();
    store.commit(vec![], change(4)).await.unwrap_err();
    assert_eq!(store.get("k").await.unwrap().unwrap().value, b"1");
}
