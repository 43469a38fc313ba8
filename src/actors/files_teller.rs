//! FilesTeller: says which files this agent reads and how far, when somebody asks. The problem: ten thousand files of two
//! thousand agents can't stand in etcd all the time, and an agent has no address that a console knows. So a console puts
//! a question at a key of this agent's, and the answer is put beside it; both go by themselves.

use super::{stopping::stops_at_once, supervision::Latest};
use crate::{
    etcd::{Event, KeyRange, KeyWatch, LeasedKey, Session},
    messages::{ChildStopped, FilesAnswer, FilesQuestion, ListTails},
    telemetry::{ActorStats, Mailbox, StatusBoard, now_ms},
};
use actix::prelude::*;
use futures_util::stream::unfold;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Life of an answer; seconds.
const LEASE_SECS: u32 = 15;
/// The list of files and its way to etcd may take so long each.
const DEADLINE: Duration = Duration::from_secs(5);

/// See the module.
pub struct FilesTeller {
    session: Session,
    relist: Duration,
    board: Arc<StatusBoard>,
    tails: Latest<ListTails>,
    parent: Mailbox<ChildStopped>,
    stats: Arc<ActorStats>,
    /// `None` while an answer is made.
    answer: Option<LeasedKey>,
    /// Came while an answer was made; only the last question counts.
    next: Option<FilesQuestion>,
    /// Revision of the last question.
    asked: i64,
    orderly: bool,
}

/// From the actor's own watch to itself.
struct Seen(Event);

impl FilesTeller {
    /// Kind of this actor in log and metrics.
    pub const KIND: &str = "files_teller";

    pub fn new(
        session: Session,
        relist: Duration,
        board: Arc<StatusBoard>,
        tails: Latest<ListTails>,
        parent: Mailbox<ChildStopped>,
        stats: Arc<ActorStats>,
    ) -> Self {
        let answer = LeasedKey::new(session.clone(), board.answer_key(), LEASE_SECS);
        Self {
            session,
            relist,
            board,
            tails,
            parent,
            stats,
            answer: Some(answer),
            next: None,
            asked: 0,
            orderly: false,
        }
    }

    fn seen(&mut self, event: Event, ctx: &mut Context<Self>) {
        let kv = match event {
            Event::Put(kv) => Some(kv),
            Event::Snapshot { kvs, .. } => kvs.into_iter().next(),
            // The collection's own watch tells it; nobody can ask meanwhile.
            Event::Lost(_) | Event::Delete { .. } => None,
        };
        let Some(kv) = kv.filter(|kv| kv.revision > self.asked) else { return };
        self.asked = kv.revision;
        match serde_json::from_slice(&kv.value) {
            Ok(question) => self.tell(question, ctx),
            Err(error) => {
                slog_scope::warn!("a question about files can't be read"; "key" => &kv.key, "reason" => %error)
            }
        }
    }

    fn tell(&mut self, question: FilesQuestion, ctx: &mut Context<Self>) {
        let Some(mut key) = self.answer.take() else {
            self.next = Some(question);
            return;
        };
        let tails = self.tails.get();
        let told = async move {
            let done = timeout(2 * DEADLINE, answer(question, tails, &mut key)).await;
            (key, done.unwrap_or_else(|_| Err("it took too long".to_owned())))
        };
        ctx.spawn(told.into_actor(self).map(|(key, done), me, ctx| {
            me.answer = Some(key);
            if let Err(reason) = done {
                slog_scope::warn!("a question about files is not answered"; "reason" => reason);
            }
            if let Some(next) = me.next.take() {
                me.tell(next, ctx);
            }
        }));
    }
}

async fn answer(question: FilesQuestion, tails: Option<Mailbox<ListTails>>, key: &mut LeasedKey) -> Result<(), String> {
    let tails = tails.ok_or("the tail manager is being restarted")?;
    let files = timeout(DEADLINE, tails.send(ListTails)).await.map_err(|_| "the tail manager is busy")?;
    let files = files.map_err(|error| error.to_string())?;
    let text = FilesAnswer::of(question.id, now_ms(), files).to_json();
    key.put(&text).await.map_err(|error| error.to_string())
}

impl Actor for FilesTeller {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let range = KeyRange::key(self.board.ask_key());
        let watch = KeyWatch::new(self.session.clone(), vec![range], self.relist);
        let next = async |mut watch: KeyWatch| Some((Seen(watch.next().await), watch));
        ctx.add_stream(unfold(watch, next));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.parent.tell(ChildStopped { kind: Self::KIND, id: 0, orderly: self.orderly });
    }
}

impl StreamHandler<Seen> for FilesTeller {
    fn handle(&mut self, Seen(event): Seen, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        stats.sent_one();
        let _handling = stats.handling();
        self.seen(event, ctx);
    }

    /// The watch never ends; the default would stop the actor.
    fn finished(&mut self, _: &mut Self::Context) {}
}

stops_at_once!(FilesTeller);
