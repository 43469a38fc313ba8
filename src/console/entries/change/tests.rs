use super::*;
use crate::store::FileStore;

const KEY: &str = "/logweir/collect/all";

fn store(dir: &tempfile::TempDir) -> FileStore {
    FileStore::new(dir.path().join("console.json"))
}

fn put(seen: i64, text: &str) -> Change {
    Change {
        key: KEY.into(),
        seen,
        text: Some(text.as_bytes().to_vec()),
        author: "anna".into(),
        from: From::Console,
        time_ms: 1_000,
        audit: vec![Write::put(format!("/logweir/audit/{seen}-{}", text.len()), "{}")],
    }
}

async fn done(store: &FileStore, wanted: Change) -> i64 {
    match change(store, &wanted).await.unwrap() {
        Changed::Done(revision) => revision,
        Changed::Conflict(now) => panic!("{now:?}"),
    }
}

async fn texts(store: &FileStore) -> Vec<(Option<String>, From)> {
    let all = history::records(store, KEY, None, 500).await.unwrap();
    all.into_iter().map(|placed| (placed.record.text, placed.record.from)).collect()
}

#[actix_rt::test]
async fn a_change_its_history_and_its_audit_are_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let first = done(&store, put(0, "[1]")).await;
    let audit = store.list("/logweir/audit/", None, 9).await.unwrap();
    assert_eq!((audit.len(), audit[0].revision), (1, first));
    let found = history::records(&store, KEY, None, 9).await.unwrap();
    assert_eq!((found[0].made, found[0].record.author.as_str()), (Some(first), "anna"));
    // The second of two editors hears what is there, and nothing of what they did is.
    let second = done(&store, put(first, "[2]")).await;
    let Changed::Conflict(Some(now)) = change(&store, &put(first, "[3]")).await.unwrap() else { panic!("too late") };
    assert_eq!((now.value.as_slice(), now.revision), (b"[2]".as_slice(), second));
    assert_eq!(store.keys("/logweir/audit/").await.unwrap().len(), 2);
    assert_eq!(texts(&store).await, [(Some("[2]".into()), From::Console), (Some("[1]".into()), From::Console)]);
}

#[actix_rt::test]
async fn a_key_that_is_deleted_while_somebody_edits_it_stays_deleted_and_can_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let first = done(&store, put(0, "[1]")).await;
    done(&store, Change { text: None, ..put(first, "") }).await;
    assert_eq!(change(&store, &put(first, "[2]")).await.unwrap(), Changed::Conflict(None));
    assert_eq!(store.get(KEY).await.unwrap(), None);
    done(&store, put(0, "[2]")).await;
    let told: Vec<_> = texts(&store).await.into_iter().map(|(text, _)| text).collect();
    assert_eq!(told, [Some("[2]".into()), None, Some("[1]".into())]);
}

#[actix_rt::test]
async fn what_others_wrote_is_in_the_history_before_it_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    store.commit(vec![], vec![Write::put(KEY, "theirs")]).await.unwrap();
    let theirs = store.get(KEY).await.unwrap().unwrap();
    let mine = done(&store, put(theirs.revision, "[1]")).await;
    assert_eq!(texts(&store).await, [(Some("[1]".into()), From::Console), (Some("theirs".into()), From::Outside)]);
    // Nothing is told twice.
    done(&store, put(mine, "[2]")).await;
    assert_eq!(texts(&store).await.len(), 3);
}

#[actix_rt::test]
async fn only_the_last_changes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let mut seen = 0;
    for n in 0..history::KEPT + 5 {
        seen = done(&store, put(seen, &format!("[{n}]"))).await;
    }
    let left = texts(&store).await;
    assert!(left.len() <= history::KEPT && left.len() > history::KEPT - 5, "{}", left.len());
    assert_eq!(left[0].0.as_deref(), Some("[204]"));
}

#[actix_rt::test]
async fn a_megabyte_is_refused_plainly_and_a_long_text_from_outside_can_be_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let megabyte = "\"".repeat(1 << 20);
    let Err(StoreError::TooLarge(told)) = change(&store, &put(0, &megabyte)).await else { panic!("must be refused") };
    assert!(told.contains("1048576 bytes") && told.contains("groups or hosts"), "{told}");
    assert_eq!(store.get(KEY).await.unwrap(), None);
    // The largest that is allowed fits with its history, however many quotes it holds.
    let first = done(&store, put(0, &"\"".repeat(MAX_TEXT_BYTES / 2))).await;
    store.commit(vec![Check::revision(KEY, first)], vec![Write::put(KEY, megabyte)]).await.unwrap();
    let theirs = store.get(KEY).await.unwrap().unwrap();
    done(&store, put(theirs.revision, "[]")).await;
    let records = history::records(&store, KEY, None, 9).await.unwrap();
    assert_eq!(records[1].record.omitted_bytes, Some(1 << 20));
}
