//! The store in etcd: the same contract as that of the file, and what only a server can do to it.

use crate::server::Server;
use logweir::{
    etcd::Session,
    store::{Check, Committed, EtcdStore, MAX_COMMIT_BYTES, MAX_COMMIT_KEYS, Store, StoreError, Write},
};

#[path = "../support/store_conformance.rs"]
mod conformance;

#[actix_rt::test]
async fn it_holds_the_contract() {
    let server = Server::start().await;
    conformance::holds(&EtcdStore::new(Session::new(server.settings()))).await;
}

#[actix_rt::test]
async fn a_server_that_is_away_is_told_and_what_was_lost_on_the_way_can_be_committed_again() {
    let mut server = Server::start().await;
    let store = EtcdStore::new(Session::new(server.settings()));
    let commit = || store.commit(vec![Check::absent("k")], vec![Write::put("k", "1"), Write::put("audit", "x")]);
    let Committed::Done(revision) = commit().await.unwrap() else { panic!("it's empty") };
    server.kill();
    let told = commit().await.unwrap_err();
    assert!(matches!(&told, StoreError::Unavailable(text) if text.contains("is not known")), "{told}");
    server.run().await;
    let Committed::Conflict(now) = commit().await.unwrap() else { panic!("it is there") };
    assert_eq!((now[0].revision, now[0].value.as_slice()), (revision, b"1".as_slice()));
}
