//! Writes batches into the embedded index and settles them: the sink of `logweir standalone`. The problem: adding and
//! committing block for as long as the disk takes, and an actor must not; so an [`Engine`] does it on a thread of its
//! own, and this actor only hands over. What waits there is bounded by the batches' credits.

use super::supervision::Latest;
use crate::{
    collection::EntryTexts,
    flow::FileId,
    index::{Engine, EngineNeighbours, EngineSettings, IndexCounters, IndexError, IndexSet, LiveFeed, Work},
    messages::{ChildStopped, FlushJournal, InjectPanic, LineBatch, RecallJournal, Shutdown},
    telemetry::{ActorStats, Mailbox},
};
use actix::prelude::*;
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, Sender, channel},
    },
};
use tokio::sync::oneshot;

/// What outlives a restart of the writer.
#[derive(Clone)]
pub struct IndexWriterParts {
    pub set: IndexSet,
    pub settings: EngineSettings,
    pub texts: EntryTexts,
    pub feed: LiveFeed,
    pub counters: Arc<IndexCounters>,
    /// The journal of the moment.
    pub journal: Latest<FlushJournal>,
    /// The same one, for whoever mends damaged days.
    pub recall: Latest<RecallJournal>,
    /// Files of which the journal had batches that weren't settled when the process began; for the first writer only,
    /// for a later one there may be more.
    pub unsettled: Arc<Mutex<Option<HashSet<FileId>>>>,
}

pub struct IndexWriter {
    parts: IndexWriterParts,
    parent: Mailbox<ChildStopped>,
    stats: Arc<ActorStats>,
    work: Option<Sender<Work>>,
    /// Tells the engine that its work is not wanted any more.
    given_up: Arc<AtomicBool>,
    /// Tells the engine that nothing more comes.
    finishing: Arc<AtomicBool>,
    /// Who waits for the end of the engine.
    stopping: Vec<oneshot::Sender<()>>,
    orderly: bool,
}

/// The engine has ended.
#[derive(Message)]
#[rtype(result = "()")]
struct Ended(Result<(), IndexError>);

impl IndexWriter {
    /// Kind of this actor in log and metrics.
    pub const KIND: &str = "index_writer";

    pub fn new(parts: IndexWriterParts, parent: Mailbox<ChildStopped>, stats: Arc<ActorStats>) -> Self {
        Self {
            parts,
            parent,
            stats,
            work: None,
            given_up: Arc::default(),
            finishing: Arc::default(),
            stopping: Vec::new(),
            orderly: false,
        }
    }

    fn start_engine(&mut self, ctx: &Context<Self>) {
        let (sender, work) = channel();
        let (parts, ends) = (self.parts.clone(), (self.given_up.clone(), self.finishing.clone()));
        let me = Mailbox::<Ended>::new(ctx.address().recipient(), self.stats.clone());
        let run = move || {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work_off(parts, ends, &work)));
            me.tell(Ended(ended.unwrap_or(Err(IndexError::Panicked))));
        };
        match std::thread::Builder::new().name("index".into()).spawn(run) {
            // It ends with its work; nobody joins it.
            Ok(_thread) => self.work = Some(sender),
            Err(error) => slog_scope::error!("no thread for the index"; "reason" => %error),
        }
    }
}

/// The life of the engine's thread.
fn work_off(
    parts: IndexWriterParts,
    (given_up, finishing): (Arc<AtomicBool>, Arc<AtomicBool>),
    work: &Receiver<Work>,
) -> Result<(), IndexError> {
    // An earlier engine that was given up may still be at its last commit.
    let alone = parts.set.clone();
    let _alone = alone.lock_writing();
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| IndexError::thread(&e))?;
    let (journal, texts) = (parts.journal, parts.texts);
    let flush = move || {
        let restarting = || "it is being restarted".to_owned();
        let journal = journal.get().ok_or_else(restarting)?;
        let flushed = runtime.block_on(journal.send(FlushJournal)).map_err(|_| restarting())?;
        flushed.map_err(|error| error.to_string())
    };
    let neighbours = EngineNeighbours {
        flush_journal: Box::new(flush),
        delivery: Box::new(move |entry| texts.get(entry)),
        given_up,
        finishing,
    };
    let unsettled = parts.unsettled.lock().unwrap_or_else(PoisonError::into_inner).take();
    let set = parts.set.clone();
    let run =
        move || Engine::new(parts.set, parts.settings, neighbours, parts.feed, parts.counters, unsettled)?.run(work);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(Err(IndexError::Panicked));
    // The day may be why, and has no writer by now.
    ended.inspect_err(|error| set.note(error))
}

impl Actor for IndexWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.start_engine(ctx);
        if self.work.is_none() {
            ctx.stop();
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.given_up.store(true, Relaxed);
        self.parent.tell(ChildStopped { kind: self.stats.kind(), id: 0, orderly: self.orderly });
    }
}

impl Handler<LineBatch> for IndexWriter {
    type Result = ();

    fn handle(&mut self, batch: LineBatch, _: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let gone = self.work.as_ref().is_none_or(|work| work.send(Work::Batch(Box::new(batch))).is_err());
        if gone {
            slog_scope::debug!("a batch comes to an index that has ended; it is sent again");
        }
    }
}

impl Handler<Ended> for IndexWriter {
    type Result = ();

    fn handle(&mut self, Ended(ended): Ended, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        if let Err(error) = &ended {
            slog_scope::error!("the index is not written; what is not committed is sent again"; "reason" => %error);
        }
        self.orderly = ended.is_ok() && !self.stopping.is_empty();
        for waiting in self.stopping.drain(..) {
            // Whoever doesn't wait any more needs no answer.
            let _gone = waiting.send(());
        }
        ctx.stop();
    }
}

impl Handler<Shutdown> for IndexWriter {
    type Result = ResponseFuture<()>;

    /// Answered when everything that came is committed and settled, or can't be.
    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let (ended, wait) = oneshot::channel();
        self.stopping.push(ended);
        self.finishing.store(true, Relaxed);
        if self.work.take().is_none_or(|work| work.send(Work::Finish).is_err()) {
            slog_scope::debug!("the index had ended");
        }
        Box::pin(async move {
            // An actor that is gone has ended, too.
            let _ended = wait.await;
        })
    }
}

impl Handler<InjectPanic> for IndexWriter {
    type Result = ();

    #[expect(clippy::panic, reason = "asked for, to prove that it is survived")]
    fn handle(&mut self, _: InjectPanic, _: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        panic!("injected into {}", Self::KIND);
    }
}
