use super::*;
use crate::{
    console::entries::{
        book::tests::{book, kv, put},
        change::{Change, Changed, change},
    },
    etcd::Event,
    store::Write,
};

const KEY: &str = "/l/all";

/// Somebody writes to the store with another client; answers what a watch tells.
async fn etcdctl(book: &Book, value: &str) -> Event {
    let done = book.store.commit(vec![], vec![Write::put(KEY, value)]).await.unwrap();
    let Committed::Done(revision) = done else { panic!("nothing was checked") };
    Event::Put(kv(KEY, revision, value))
}

async fn mine(book: &Book, seen: i64, text: &str) -> i64 {
    let wanted = Change {
        key: KEY.into(),
        seen,
        text: Some(text.into()),
        author: "anna".into(),
        from: From::Console,
        time_ms: 1,
        audit: vec![],
    };
    let Changed::Done(revision) = change(&*book.store, &wanted).await.unwrap() else { panic!("nobody else writes") };
    revision
}

async fn told(book: &Book) -> Vec<(Option<String>, From)> {
    let records = history::records(&*book.store, KEY, None, 99).await.unwrap();
    records.into_iter().map(|placed| (placed.record.text, placed.record.from)).collect()
}

#[actix_rt::test]
async fn a_change_from_outside_is_recorded_once_by_however_many_consoles() {
    let (_dir, one) = book();
    let two = Book::new(one.store.clone(), one.source().clone(), None);
    for book in [&one, &two] {
        book.apply(&Event::Snapshot { kvs: vec![], revision: 0 });
    }
    let mut events = vec![etcdctl(&one, "[1]").await, etcdctl(&one, "[2]").await];
    one.store.commit(vec![], vec![Write::delete(KEY)]).await.unwrap();
    events.push(Event::Delete { key: KEY.into(), revision: 99 });
    for event in &events {
        one.apply(event);
        two.apply(event);
    }
    for book in [&one, &two, &one] {
        book.catch_up().await.unwrap();
    }
    let outside = |text: Option<&str>| (text.map(str::to_owned), From::Outside);
    assert_eq!(told(&one).await, [outside(None), outside(Some("[2]")), outside(Some("[1]"))]);
    assert_eq!(one.store.keys("/logweir/audit/").await.unwrap().len(), 1, "one an hour");
}

#[actix_rt::test]
async fn what_a_console_wrote_is_no_change_from_outside_and_mixes_with_those() {
    let (_dir, book) = book();
    let theirs = etcdctl(&book, "[1]").await;
    let Event::Put(first) = &theirs else { panic!("it is a put") };
    book.apply(&Event::Snapshot { kvs: vec![first.clone()], revision: first.revision });
    let second = mine(&book, first.revision, "[2]").await;
    // This console, or another one, hears of it by the watch.
    put(&book, KEY, second, "[2]");
    book.apply(&etcdctl(&book, "[3]").await);
    book.catch_up().await.unwrap();
    let third = book.key(KEY).unwrap().item.revision;
    let fourth = mine(&book, third, "[4]").await;
    put(&book, KEY, fourth, "[4]");
    book.catch_up().await.unwrap();
    let texts = [("[4]", From::Console), ("[3]", From::Outside), ("[2]", From::Console), ("[1]", From::Outside)];
    assert_eq!(told(&book).await, texts.map(|(text, from)| (Some(text.to_owned()), from)));
}

#[actix_rt::test]
async fn what_was_there_before_the_console_is_no_news_but_can_be_gone_back_to() {
    let (_dir, book) = book();
    let Event::Put(first) = etcdctl(&book, "[1]").await else { panic!("it is a put") };
    book.apply(&Event::Snapshot { kvs: vec![first], revision: 1 });
    book.catch_up().await.unwrap();
    assert!(told(&book).await.is_empty());
    book.apply(&etcdctl(&book, "[2]").await);
    book.catch_up().await.unwrap();
    let outside = |text: &str| (Some(text.to_owned()), From::Outside);
    assert_eq!(told(&book).await, [outside("[2]"), outside("[1]")]);
}

#[actix_rt::test]
async fn the_same_put_again_is_no_change_and_is_in_nobodys_history() {
    let (_dir, book) = book();
    book.apply(&Event::Snapshot { kvs: vec![], revision: 0 });
    for n in 0..3 {
        book.apply(&etcdctl(&book, "[1]").await);
        assert_eq!(book.outside.waiting.lock().unwrap().noticed.len(), usize::from(n == 0), "put {n}");
        book.catch_up().await.unwrap();
    }
    // One that was away when it was put first.
    let other = Book::new(book.store.clone(), book.source().clone(), None);
    other.apply(&Event::Snapshot { kvs: vec![], revision: 0 });
    other.apply(&etcdctl(&book, "[1]").await);
    other.catch_up().await.unwrap();
    assert_eq!(told(&book).await, [(Some("[1]".into()), From::Outside)]);
    // What comes then is recorded, and what it replaced is not recorded once more.
    let seen = other.key(KEY).unwrap().item.revision;
    mine(&other, seen, "[2]").await;
    assert_eq!(told(&book).await, [(Some("[2]".into()), From::Console), (Some("[1]".into()), From::Outside)]);
    assert_eq!(book.store.keys("/logweir/audit/").await.unwrap().len(), 1);
}

#[actix_rt::test]
async fn changes_from_outside_are_told_in_the_audit_once_an_hour() {
    let (_dir, book) = book();
    book.apply(&Event::Snapshot { kvs: vec![], revision: 0 });
    for n in 0..5 {
        book.apply(&etcdctl(&book, &format!("[{n}]")).await);
        book.catch_up().await.unwrap();
    }
    let audited = async || book.store.keys("/logweir/audit/").await.unwrap().len();
    assert_eq!((told(&book).await.len(), audited().await), (5, 1));
    // An hour later.
    for mut placed in history::records(&*book.store, KEY, None, 9).await.unwrap() {
        placed.record.audited_ms = placed.record.audited_ms.map(|ms| ms - AUDITED_MS);
        book.store.commit(vec![], vec![placed.record.write(KEY, placed.at)]).await.unwrap();
    }
    for n in 5..8 {
        book.apply(&etcdctl(&book, &format!("[{n}]")).await);
        book.catch_up().await.unwrap();
    }
    assert_eq!((told(&book).await.len(), audited().await), (8, 2));
}

#[test]
fn what_waits_is_bounded() {
    let outside = Outside::default();
    for n in 0..MOST_WAITING + 7 {
        outside.notice(Noticed { key: format!("{n}"), before: None, now: None });
    }
    assert_eq!(outside.waiting.lock().unwrap().left_out, 7);
    while outside.next().is_some() {}
    let large = || Some((vec![0; MOST_BYTES / 4], 1));
    for n in 0..5 {
        outside.notice(Noticed { key: format!("{n}"), before: None, now: large() });
    }
    let waiting = outside.waiting.lock().unwrap();
    assert_eq!((waiting.noticed.len(), waiting.left_out), (4, 1));
}
