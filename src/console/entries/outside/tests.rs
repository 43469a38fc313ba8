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
    assert_eq!(one.store.keys("/logweir/audit/").await.unwrap().len(), 3);
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
