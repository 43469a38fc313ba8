//! Two consoles change one key at the same moment: on a real server exactly one of them does, and each change is recorded
//! once, whoever else hears of it.

use crate::server::Server;
use logweir::{
    collection::KeyTemplate,
    console::entries::{
        Book, Source,
        change::{Change, Changed, change},
        history::{self, From},
    },
    etcd::{Event, Kv, Session},
    store::{EtcdStore, Store, Write},
};
use std::{collections::BTreeSet, sync::Arc};

const KEY: &str = "/logweir/collect/all";
const ROUNDS: usize = 30;

struct Console {
    store: Arc<EtcdStore>,
    book: Book,
}

impl Console {
    fn new(server: &Server) -> Self {
        let store = Arc::new(EtcdStore::new(Session::new(server.settings())));
        let source = Source::Watched(vec![KeyTemplate::parse(KEY).unwrap()]);
        let book = Book::new(store.clone(), source, None);
        book.apply(&Event::Snapshot { kvs: vec![], revision: 0 });
        Self { store, book }
    }

    async fn change(&self, author: &str, seen: i64, round: usize) -> Changed {
        let wanted = Change {
            key: KEY.into(),
            seen,
            text: Some(format!("[\"{author} {round}\"]").into_bytes()),
            author: author.into(),
            from: From::Console,
            time_ms: 1,
            audit: vec![Write::put(format!("/logweir/audit/{round:013}-{author}"), "{}")],
        };
        change(&*self.store, &wanted).await.unwrap()
    }
}

#[actix_rt::test]
async fn of_two_consoles_that_write_one_key_at_once_exactly_one_does_and_each_change_is_recorded_once() {
    let server = Server::start().await;
    let (one, two) = (Console::new(&server), Console::new(&server));
    let (mut seen, mut written) = (0, Vec::new());
    for round in 0..ROUNDS {
        let (first, second) = tokio::join!(one.change("anna", seen, round), two.change("otto", seen, round));
        let (author, revision, told) = match (first, second) {
            (Changed::Done(revision), Changed::Conflict(told)) => ("anna", revision, told),
            (Changed::Conflict(told), Changed::Done(revision)) => ("otto", revision, told),
            other => panic!("round {round}: {other:?}"),
        };
        // The other one is told what is there now.
        let now = one.store.get(KEY).await.unwrap().unwrap();
        assert_eq!(now.value, format!("[\"{author} {round}\"]").into_bytes());
        assert_eq!((now.revision, told.as_ref()), (revision, Some(&now)), "round {round}");
        // Both hear of it by their watches, and neither takes it for somebody else's.
        for console in [&one, &two] {
            console.book.apply(&Event::Put(Kv { key: KEY.into(), value: now.value.clone(), revision }));
            console.book.catch_up().await.unwrap();
        }
        written.push((author.to_owned(), revision));
        seen = revision;
    }
    let mut records = history::records(&*one.store, KEY, None, 999).await.unwrap();
    records.reverse();
    let told: Vec<_> = records.into_iter().map(|placed| (placed.record.author, placed.made.unwrap())).collect();
    assert_eq!(told, written);
    // And of what was refused there is nothing in the audit.
    let audit = one.store.keys("/logweir/audit/").await.unwrap();
    let revisions: BTreeSet<i64> = audit.iter().map(|(_, revision)| *revision).collect();
    assert_eq!((audit.len(), revisions.len()), (ROUNDS, ROUNDS));
}

#[actix_rt::test]
async fn a_change_from_outside_that_two_consoles_notice_at_once_is_recorded_once() {
    let server = Server::start().await;
    let (one, two) = (Console::new(&server), Console::new(&server));
    let session = Session::new(server.settings());
    for round in 0..ROUNDS {
        // Each value twice, as configuration management does it.
        for _ in 0..2 {
            session.put(KEY, format!("[{round}]").as_bytes(), None).await.unwrap();
            let now = one.store.get(KEY).await.unwrap().unwrap();
            let event = Event::Put(Kv { key: KEY.into(), value: now.value, revision: now.revision });
            one.book.apply(&event);
            two.book.apply(&event);
            let (first, second) = tokio::join!(one.book.catch_up(), two.book.catch_up());
            first.and(second).unwrap();
        }
    }
    let records = history::records(&*one.store, KEY, None, 999).await.unwrap();
    let texts: Vec<_> = records.into_iter().rev().map(|placed| placed.record.text.unwrap()).collect();
    assert_eq!(texts, (0..ROUNDS).map(|round| format!("[{round}]")).collect::<Vec<_>>());
    assert_eq!(one.store.keys("/logweir/audit/").await.unwrap().len(), 1, "one of this key in an hour");
}
