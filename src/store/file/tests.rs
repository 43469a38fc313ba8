use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn store(dir: &tempfile::TempDir) -> FileStore {
    FileStore::new(dir.path().join("console.json")).mount("collect.json", dir.path().join("collect.json"))
}

async fn put(store: &FileStore, key: &str, value: &str, revision: i64) -> Committed {
    store.commit(vec![Check::revision(key, revision)], vec![Write::put(key, value)]).await.unwrap()
}

#[actix_rt::test]
async fn it_holds_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    crate::store::conformance::holds(&store(&dir)).await;
}

#[actix_rt::test]
async fn what_was_committed_is_there_after_a_restart_and_only_for_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let binary = vec![0, 255, 10];
    store(&dir).commit(vec![], vec![Write::put("a", "ä\n"), Write::put("b", binary.clone())]).await.unwrap();
    let again = store(&dir);
    assert_eq!(again.get("a").await.unwrap().unwrap().value, "ä\n".as_bytes());
    assert_eq!(again.get("b").await.unwrap().unwrap().value, binary);
    for name in ["console.json", "console.json.lock"] {
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let Committed::Done(next) = put(&again, "c", "1", 0).await else { panic!("nobody else writes") };
    assert!(next > again.get("a").await.unwrap().unwrap().revision);
}

#[actix_rt::test]
async fn two_processes_see_and_never_overwrite_each_others_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (store(&dir), store(&dir));
    let Committed::Done(first) = put(&one, "k", "1", 0).await else { panic!("nobody else writes") };
    let Committed::Done(_) = put(&two, "k", "2", first).await else { panic!("it has seen the first") };
    let Committed::Conflict(now) = put(&one, "k", "3", first).await else { panic!("must not be overwritten") };
    assert_eq!(now[0].value, b"2");
    // At the same time: each adds one to a number, as often as it takes.
    let count = |store: FileStore| async move {
        for _ in 0..20 {
            loop {
                let item = store.get("n").await.unwrap();
                let n: u32 = item.as_ref().map_or(0, |i| String::from_utf8(i.value.clone()).unwrap().parse().unwrap());
                let revision = item.map_or(0, |item| item.revision);
                if let Committed::Done(_) = put(&store, "n", &(n + 1).to_string(), revision).await {
                    break;
                }
            }
        }
    };
    futures_util::future::join(count(one.clone()), count(two)).await;
    assert_eq!(one.get("n").await.unwrap().unwrap().value, b"40");
}

#[actix_rt::test]
async fn a_mounted_file_that_somebody_edits_has_a_new_revision_and_a_commit_on_the_old_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (file, store) = (dir.path().join("collect.json"), store(&dir));
    assert_eq!(store.get("collect.json").await.unwrap(), None);
    let Committed::Done(first) = put(&store, "collect.json", "[]", 0).await else { panic!("nobody else writes") };
    assert_eq!(fs::read_to_string(&file).unwrap(), "[]");
    fs::write(&file, "[ ]").unwrap();
    let Committed::Conflict(now) = put(&store, "collect.json", "[1]", first).await else { panic!("must be refused") };
    assert_eq!(fs::read_to_string(&file).unwrap(), "[ ]");
    assert!(now[0].value == b"[ ]" && now[0].revision > first, "{now:?}");
    // Another process knows it by the same revision.
    let other = super::FileStore::new(dir.path().join("console.json")).mount("collect.json", &file);
    assert_eq!(other.get("collect.json").await.unwrap().unwrap(), now[0]);
    fs::remove_file(&file).unwrap();
    assert_eq!(store.get("collect.json").await.unwrap(), None);
    assert!(matches!(put(&store, "collect.json", "[2]", 0).await, Committed::Done(_)));
    store.commit(vec![], vec![Write::delete("collect.json")]).await.unwrap();
    assert!(!file.exists());
}

#[actix_rt::test]
async fn a_damaged_file_is_told_and_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (file, store) = (dir.path().join("console.json"), store(&dir));
    put(&store, "k", "1", 0).await;
    for (damaged, reason) in [("{ damaged", "damaged"), (r#"{"version":2,"revision":1,"items":{}}"#, "newer")] {
        fs::remove_file(&file).unwrap();
        fs::write(&file, damaged).unwrap();
        let told = store.commit(vec![], vec![Write::put("k", "2")]).await.unwrap_err().to_string();
        assert!(told.contains(reason) && told.contains("console.json"), "{told}");
        assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
    }
}
