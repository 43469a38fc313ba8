//! The collection watcher alone, on a file of entries, with collectors for its neighbours.

use actix::prelude::*;
use logweir::{
    actors::collection_watcher::{CollectionWatcher, Listener, Source},
    collection::{Delivery, Intake},
    messages::{ApplyDiff, ChildStopped, ConfigRefused, InjectPanic, PublishEntry, Shutdown, UseTopics},
    telemetry::{ActorStats, Mailbox, StatusBoard, init_for_tests},
};
use std::{
    marker::PhantomData,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

struct Neighbour<M> {
    told: UnboundedSender<M>,
    kind: PhantomData<M>,
}

impl<M: Unpin + 'static> Actor for Neighbour<M> {
    type Context = Context<Self>;
}

impl<M: Message<Result = ()> + Unpin + 'static> Handler<M> for Neighbour<M> {
    type Result = ();
    fn handle(&mut self, message: M, _: &mut Self::Context) {
        let _ = self.told.send(message);
    }
}

fn neighbour<M: Message<Result = ()> + Unpin + Send + 'static>() -> (Mailbox<M>, UnboundedReceiver<M>) {
    let (told, collected) = unbounded_channel();
    let addr = Neighbour { told, kind: PhantomData }.start();
    (Mailbox::new(addr.recipient(), ActorStats::new("neighbour", 16)), collected)
}

struct Told {
    tails: UnboundedReceiver<ApplyDiff>,
    refused: UnboundedReceiver<ConfigRefused>,
    stopped: UnboundedReceiver<ChildStopped>,
}

fn on_file(file: &Path) -> (Addr<CollectionWatcher>, Told) {
    init_for_tests();
    let source =
        Source::File { file: file.into(), session: None, templates: vec![], relist: Duration::from_secs(3_600) };
    let (tell_tails, tails) = neighbour();
    let (supervisor, refused) = neighbour();
    let (parent, stopped) = neighbour();
    let intake = Arc::new(Mutex::new(Intake::new("/base".into(), vec![], false)));
    let status = Arc::new(StatusBoard::new("agent", "h", "1"));
    let stats = ActorStats::new(CollectionWatcher::KIND, 16);
    let listener = Listener::Tails(tell_tails);
    let watcher = CollectionWatcher::new(source, listener, intake, supervisor, parent, status, stats).start();
    (watcher, Told { tails, refused, stopped })
}

#[actix_rt::test]
async fn a_file_gives_the_same_differences_and_a_missing_or_wrong_one_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("collect.json");
    let (watcher, mut told) = on_file(&file);
    let missing = told.refused.recv().await.unwrap().0;
    assert!(missing.reason.contains("can't be read"), "{missing}");
    std::fs::write(&file, r#"[{"path":"a","topic":"t"}]"#).unwrap();
    assert_eq!(told.tails.recv().await.unwrap().0.added[0].path, "/base/a");
    std::fs::write(&file, "[{\n\"path\":\"/a\"}]").unwrap();
    let refusal = told.refused.recv().await.unwrap().0;
    assert_eq!((refusal.source.as_str(), refusal.line, refusal.column), (file.to_str().unwrap(), Some(1), Some(2)));
    std::fs::remove_file(&file).unwrap();
    assert!(told.refused.recv().await.unwrap().0.reason.contains("can't be read"));
    assert!(told.tails.is_empty());
    std::fs::write(&file, "[]").unwrap();
    assert_eq!(told.tails.recv().await.unwrap().0.removed.len(), 1);

    let delivery = Delivery { index: Some("i".into()), ..Delivery::default() };
    let publish = PublishEntry { entry: delivery.id().unwrap(), delivery };
    assert!(watcher.send(publish).await.unwrap().unwrap_err().to_string().contains("no etcd"));
    watcher.send(Shutdown).await.unwrap();
    assert!(told.stopped.recv().await.unwrap().orderly);
}

#[actix_rt::test]
async fn a_panic_is_told_to_the_parent() {
    let dir = tempfile::tempdir().unwrap();
    let (watcher, mut told) = on_file(&dir.path().join("collect.json"));
    assert!(watcher.send(InjectPanic).await.is_err());
    assert!(!told.stopped.recv().await.unwrap().orderly);
}

#[actix_rt::test]
async fn without_anything_to_watch_the_topics_of_the_settings_are_told() {
    init_for_tests();
    let (consumer, mut topics) = neighbour::<UseTopics>();
    let (supervisor, _refused) = neighbour();
    let (parent, _stopped) = neighbour();
    let listener = Listener::Consumer { consumer, topics: ["b", "a"].map(String::from).into() };
    let intake = Arc::new(Mutex::new(Intake::new("/".into(), vec![], true)));
    let status = Arc::new(StatusBoard::new("transfer", "h", "1"));
    let stats = ActorStats::new(CollectionWatcher::KIND, 16);
    CollectionWatcher::new(Source::Nothing { session: None }, listener, intake, supervisor, parent, status, stats)
        .start();
    assert_eq!(topics.recv().await.unwrap().0, ["a", "b"]);
}
