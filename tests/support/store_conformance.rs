//! What every store promises, tried on whichever is given. The module around it brings the store's names.

use super::{Check, Committed, MAX_COMMIT_BYTES, MAX_COMMIT_KEYS, Store, StoreError, Write};

/// An empty store.
pub async fn holds(store: &dyn Store) {
    keys_are_listed_from_both_ends(store).await;
    a_commit_is_done_as_a_whole_or_not_at_all(store).await;
    what_is_too_much_is_refused_and_not_done(store).await;
    keys_of_the_audit_are_like_all_others(store).await;
}

async fn names(store: &dyn Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    store.list(prefix, after, limit).await.unwrap().into_iter().map(|item| item.key).collect()
}

async fn last(store: &dyn Store, prefix: &str, before: Option<&str>, limit: usize) -> Vec<String> {
    store.list_last(prefix, before, limit).await.unwrap().into_iter().map(|item| item.key).collect()
}

async fn keys_are_listed_from_both_ends(store: &dyn Store) {
    let all = ["/l/a", "/l/a/1", "/l/a/2", "/l/a/ä", "/l/b", "/m"];
    let puts = all.into_iter().rev().map(|key| Write::put(key, key.to_uppercase())).collect();
    let Committed::Done(revision) = store.commit(vec![], puts).await.unwrap() else { panic!("nothing was checked") };
    let item = store.get("/l/a").await.unwrap().unwrap();
    assert_eq!((item.value.as_slice(), item.revision), (b"/L/A".as_slice(), revision));
    assert_eq!(store.get("/l").await.unwrap(), None);
    assert_eq!(names(store, "/l/a/", None, 9).await, ["/l/a/1", "/l/a/2", "/l/a/ä"]);
    assert_eq!(names(store, "/l/", None, 2).await, ["/l/a", "/l/a/1"]);
    assert_eq!(names(store, "/l/", Some("/l/a/1"), 2).await, ["/l/a/2", "/l/a/ä"]);
    assert_eq!(names(store, "/l/", Some("/a"), 1).await, ["/l/a"], "a place before the prefix");
    assert!(
        names(store, "/l/", Some("/l/b"), 9).await.is_empty() && names(store, "/l/", Some("/x"), 9).await.is_empty()
    );
    assert!(names(store, "/l/", None, 0).await.is_empty() && names(store, "/x", None, 9).await.is_empty());
    assert_eq!(names(store, "", None, 99).await, all);
    assert_eq!(last(store, "/l/a/", None, 2).await, ["/l/a/ä", "/l/a/2"]);
    assert_eq!(last(store, "/l/a/", Some("/l/a/2"), 9).await, ["/l/a/1"]);
    assert_eq!(last(store, "/l/a/", Some("/z"), 1).await, ["/l/a/ä"], "a place behind the prefix");
    assert!(
        last(store, "/l/a/", Some("/l/a/1"), 9).await.is_empty()
            && last(store, "/l/a/", Some("/a"), 9).await.is_empty()
    );
    assert_eq!(last(store, "", None, 1).await, ["/m"]);
    let keys = store.keys("/l/a/").await.unwrap();
    assert_eq!(keys, ["/l/a/1", "/l/a/2", "/l/a/ä"].map(|key| (key.to_owned(), revision)));
}

async fn a_commit_is_done_as_a_whole_or_not_at_all(store: &dyn Store) {
    let before = store.get("/m").await.unwrap().unwrap();
    let writes = || vec![Write::put("/m", "new"), Write::put("/n", "record"), Write::delete("/l/b")];
    // One of two checks doesn't hold.
    let checks = vec![Check::unchanged(&before), Check::absent("/l/a")];
    let Committed::Conflict(now) = store.commit(checks, writes()).await.unwrap() else { panic!("/l/a is there") };
    assert_eq!(now.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["/m", "/l/a"]);
    assert_eq!(store.get("/m").await.unwrap().as_ref(), Some(&before));
    assert!(store.get("/n").await.unwrap().is_none() && store.get("/l/b").await.unwrap().is_some());
    // A key that isn't there isn't named.
    let checks = vec![Check::revision("/none", 1)];
    assert_eq!(store.commit(checks, writes()).await.unwrap(), Committed::Conflict(vec![]));
    let checks = vec![Check::unchanged(&before), Check::absent("/n")];
    let Committed::Done(revision) = store.commit(checks.clone(), writes()).await.unwrap() else { panic!("all holds") };
    assert!(revision > before.revision);
    for key in ["/m", "/n"] {
        assert_eq!(store.get(key).await.unwrap().unwrap().revision, revision, "{key}");
    }
    assert_eq!(store.get("/l/b").await.unwrap(), None);
    assert!(matches!(store.commit(checks, writes()).await.unwrap(), Committed::Conflict(_)));
    // A key that comes back isn't the one that was there.
    let old = store.get("/n").await.unwrap().unwrap();
    store.commit(vec![], vec![Write::delete("/n")]).await.unwrap();
    assert!(matches!(store.commit(vec![Check::unchanged(&old)], vec![]).await.unwrap(), Committed::Conflict(_)));
    store.commit(vec![Check::absent("/n")], vec![Write::put("/n", "record")]).await.unwrap();
    let check = vec![Check::unchanged(&old)];
    assert!(matches!(store.commit(check, vec![Write::delete("/n")]).await.unwrap(), Committed::Conflict(_)));
    assert!(matches!(store.commit(vec![], vec![Write::delete("/none")]).await.unwrap(), Committed::Done(_)));
}

async fn what_is_too_much_is_refused_and_not_done(store: &dyn Store) {
    let many = |count: usize| (0..count).map(|i| Write::put(format!("/many/{i:03}"), "x")).collect::<Vec<_>>();
    assert!(matches!(store.commit(vec![], many(MAX_COMMIT_KEYS + 1)).await, Err(StoreError::TooLarge(_))));
    assert!(store.keys("/many/").await.unwrap().is_empty());
    let checks = (0..MAX_COMMIT_KEYS).map(|i| Check::absent(format!("/many/{i:03}"))).collect();
    assert!(matches!(store.commit(checks, many(MAX_COMMIT_KEYS)).await.unwrap(), Committed::Done(_)));
    assert_eq!(store.keys("/many/").await.unwrap().len(), MAX_COMMIT_KEYS);
    let large = |bytes: usize| vec![Write::put("/large", vec![b'x'; bytes - "/large".len()])];
    assert!(matches!(store.commit(vec![], large(MAX_COMMIT_BYTES + 1)).await, Err(StoreError::TooLarge(_))));
    assert_eq!(store.get("/large").await.unwrap(), None);
    let Committed::Done(_) = store.commit(vec![], large(MAX_COMMIT_BYTES)).await.unwrap() else { panic!("it fits") };
    let twice = vec![Write::put("/twice", "1"), Write::delete("/twice")];
    assert!(matches!(store.commit(vec![], twice).await, Err(StoreError::Refused(_))));
}

/// Wherever a store keeps them.
async fn keys_of_the_audit_are_like_all_others(store: &dyn Store) {
    let key = |n: i64| format!("/logweir/audit/{:013}-{n:08x}", 1_795_246_112_111 + n);
    let puts = [7, 5, 6].map(|n| Write::put(key(n), n.to_string()));
    let others = ["/logweir/audit", "/logweir/audit/other", "/logweir/b"].map(|key| Write::put(key, "x"));
    let writes = puts.into_iter().chain(others).collect();
    let Committed::Done(revision) = store.commit(vec![], writes).await.unwrap() else { panic!("nothing was checked") };
    let item = store.get(&key(5)).await.unwrap().unwrap();
    assert_eq!((item.value.as_slice(), item.revision), (b"5".as_slice(), revision));
    assert_eq!(
        names(store, "/logweir/audit/", Some(&key(5)), 9).await,
        [key(6), key(7), "/logweir/audit/other".into()]
    );
    assert_eq!(names(store, "/logweir/", None, 3).await, ["/logweir/audit".into(), key(5), key(6)]);
    assert_eq!(last(store, "/logweir/", None, 3).await, ["/logweir/b".into(), "/logweir/audit/other".into(), key(7)]);
    assert_eq!(last(store, "/logweir/audit/", Some(&key(7)), 9).await, [key(6), key(5)]);
    let keys = store.keys("/logweir/audit/1").await.unwrap();
    assert_eq!(keys, [5, 6, 7].map(|n| (key(n), revision)));
    // What is told of a change that is refused isn't told.
    let refused = store.commit(vec![Check::absent("/logweir/b")], vec![Write::put(key(8), "no")]).await.unwrap();
    assert!(matches!(refused, Committed::Conflict(_)) && store.get(&key(8)).await.unwrap().is_none());
    let again = vec![Write::put(key(6), "again"), Write::delete(key(7)), Write::delete(key(9))];
    assert!(matches!(store.commit(vec![Check::unchanged(&item)], again.clone()).await.unwrap(), Committed::Done(_)));
    assert_eq!(store.get(&key(6)).await.unwrap().unwrap().value, b"again");
    assert_eq!(names(store, "/logweir/audit/1", None, 9).await, [key(5), key(6)]);
    let late = store.commit(vec![Check::revision(key(6), revision)], again).await.unwrap();
    assert!(matches!(late, Committed::Conflict(now) if now[0].key == key(6)));
}
