//! Keeps the process's idea of what to collect equal to etcd's (or a file's). The problem: the values are written by
//! people, at any time, sometimes wrong, and etcd may be away; what runs must only be touched by a good value that says
//! something new. The watching is done by the rooms `etcd` and `collection`; this actor tells the neighbours: the agent's
//! tails get differences, the transfer's consumer topics. It also keeps the texts of entries that records refer to.

mod entry_texts;
mod source;

pub use entry_texts::ask;
pub use source::Source;

use super::stopping::stops_at_once;
use crate::{
    collection::{
        Delivery, ENTRY_PREFIX, FileContent, FileWatch, Intake, Judgement, KeyTemplate, LocalNames, Refusal,
        TOPIC_PREFIX, TopicMemory, Value,
    },
    etcd::{Event, KeyRange, KeyWatch, Kv, Session},
    flow::EntryId,
    messages::{ApplyDiff, ChildStopped, ConfigRefused, UseConsumer, UseTails, UseTopics},
    telemetry::{ActorStats, Mailbox, StatusBoard},
};
use actix::prelude::*;
use entry_texts::read_text;
use futures_util::stream::unfold;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The machine's addresses are looked at this often where a key template asks for them.
const ADDRESSES_INTERVAL: Duration = Duration::from_secs(30);

/// Who is told.
#[derive(Clone, Debug)]
pub enum Listener {
    /// The agent's tail manager.
    Tails(Mailbox<ApplyDiff>),
    /// The transfer's consumer; the topics of the settings are always among what it is told.
    Consumer { consumer: Mailbox<UseTopics>, topics: BTreeSet<String> },
}

/// What was taken in and told so far. It outlives the actor, so that a restart tells only what changed meanwhile.
pub type SharedIntake = Arc<Mutex<Intake>>;

/// See the module.
#[derive(Debug)]
pub struct CollectionWatcher {
    source: Source,
    listener: Listener,
    intake: SharedIntake,
    supervisor: Mailbox<ConfigRefused>,
    parent: Mailbox<ChildStopped>,
    status: Arc<StatusBoard>,
    stats: Arc<ActorStats>,
    /// Keys in the order of the templates (agent).
    keys: Vec<String>,
    watching: Option<SpawnHandle>,
    /// Entry texts known to be in etcd.
    texts: HashMap<EntryId, Arc<Delivery>>,
    /// Topics that etcd remembers, whoever put them there.
    memory: TopicMemory,
    told_topics: Option<Vec<String>>,
    lost: bool,
    orderly: bool,
}

/// From the actor's own watch to itself.
#[derive(Debug)]
pub enum Seen {
    Etcd(Event),
    File(FileContent),
}

impl CollectionWatcher {
    /// Kind of this actor in log and metrics.
    pub const KIND: &str = "collection_watcher";
    /// What a process awaits of it ([`StatusBoard::awaits`]).
    pub const FIRST_LIST: &str = "first list of collection entries";

    pub fn new(
        source: Source,
        listener: Listener,
        intake: SharedIntake,
        supervisor: Mailbox<ConfigRefused>,
        parent: Mailbox<ChildStopped>,
        status: Arc<StatusBoard>,
        stats: Arc<ActorStats>,
    ) -> Self {
        let memory = TopicMemory::new(source.templates().into());
        Self {
            source,
            listener,
            intake,
            supervisor,
            parent,
            status,
            stats,
            keys: Vec::new(),
            watching: None,
            texts: HashMap::new(),
            memory,
            told_topics: None,
            lost: false,
            orderly: false,
        }
    }

    fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> Option<&Session> {
        self.source.session()
    }

    /// The keys to watch now. Fails where the kernel doesn't tell the addresses.
    fn ranges(&mut self) -> std::io::Result<Vec<KeyRange>> {
        match &self.source {
            Source::Keys { templates, host, groups, .. } => {
                let names = LocalNames::of_this_machine(host, groups)?;
                self.keys = templates.iter().flat_map(|t| t.keys(&names)).collect();
                self.intake().reorder(self.keys.clone());
                self.status.watches(self.keys.clone());
                Ok(self.keys.iter().map(KeyRange::key).collect())
            }
            Source::AllKeys { templates, .. } => {
                let one = |t: &KeyTemplate| KeyRange { key: t.prefix().into(), prefix: !t.is_fixed() };
                let own = [ENTRY_PREFIX, TOPIC_PREFIX].map(KeyRange::prefix);
                Ok(templates.iter().map(one).chain(own).collect())
            }
            Source::File { .. } | Source::Nothing { .. } => Ok(Vec::new()),
        }
    }

    /// Begins to watch, in place of what was watched before.
    fn watch(&mut self, ctx: &mut Context<Self>) {
        let ranges = match self.ranges() {
            Ok(ranges) => ranges,
            Err(e) => {
                slog_scope::error!("this machine's addresses can't be found"; "reason" => %e);
                self.status.still_awaits(Self::FIRST_LIST, format!("this machine's addresses can't be found: {e}"));
                return;
            }
        };
        if let Some(before) = self.watching.take() {
            ctx.cancel_future(before);
        }
        let handle = match &self.source {
            Source::Keys { session, relist, .. } | Source::AllKeys { session, relist, .. } => {
                if ranges.is_empty() {
                    slog_scope::warn!("the key templates make no key on this machine, so nothing is collected");
                    self.status.has(Self::FIRST_LIST);
                    return;
                }
                let watch = KeyWatch::new(session.clone(), ranges, *relist);
                let next = async |mut watch: KeyWatch| Some((Seen::Etcd(watch.next().await), watch));
                ctx.add_stream(unfold(watch, next))
            }
            Source::File { file, relist, .. } => {
                self.status.watches(vec![file.display().to_string()]);
                let watch = FileWatch::new(file.clone(), *relist);
                let next = async |mut watch: FileWatch| Some((Seen::File(watch.next().await), watch));
                ctx.add_stream(unfold(watch, next))
            }
            Source::Nothing { .. } => return,
        };
        self.watching = Some(handle);
    }

    /// The machine may have other addresses now, and so other keys.
    fn check_addresses(&mut self, ctx: &mut Context<Self>) {
        let before = self.keys.clone();
        if self.ranges().is_ok() && self.keys != before {
            slog_scope::info!("this machine's addresses have changed, other keys are watched"; "keys" => self.keys.join(" "));
            self.watch(ctx);
        }
    }

    /// Whether the key holds entries (and isn't only below a template's prefix by chance).
    fn is_collection(&self, key: &str) -> bool {
        match &self.source {
            Source::Keys { .. } => self.keys.iter().any(|k| k == key),
            Source::AllKeys { templates, .. } => templates.iter().any(|t| t.fits(key)),
            Source::File { .. } | Source::Nothing { .. } => false,
        }
    }

    fn snapshot(&mut self, kvs: &[Kv]) -> Vec<Judgement> {
        let lost = std::mem::take(&mut self.lost);
        if lost {
            slog_scope::info!("etcd is watched again");
        }
        // A list of all topics says which are gone; an agent has none, but its etcd may have come back from a copy.
        if lost || matches!(self.source, Source::AllKeys { .. }) {
            self.memory.forget();
        }
        for kv in kvs {
            self.note(kv);
        }
        let values: Vec<Value<'_>> = kvs.iter().filter(|kv| self.is_collection(&kv.key)).map(value).collect();
        self.intake().snapshot(&values)
    }

    /// Takes a key of our own: an entry's text or a topic. Whether it was one.
    fn note(&mut self, kv: &Kv) -> bool {
        if let Some(id) = kv.key.strip_prefix(ENTRY_PREFIX) {
            match read_text(id, kv) {
                Ok((id, delivery)) => {
                    self.texts.insert(id, Arc::new(delivery));
                }
                Err(reason) => {
                    slog_scope::warn!("an entry's text can't be used"; "key" => &kv.key, "reason" => reason);
                }
            }
            return true;
        }
        self.memory.found(&kv.key)
    }

    fn seen(&mut self, seen: Seen) -> Vec<Judgement> {
        match seen {
            Seen::Etcd(Event::Snapshot { kvs, .. }) => self.snapshot(&kvs),
            Seen::Etcd(Event::Put(kv)) => {
                if self.note(&kv) || !self.is_collection(&kv.key) {
                    return Vec::new();
                }
                self.intake().put(&value(&kv)).into_iter().collect()
            }
            Seen::Etcd(Event::Delete { key, .. }) => {
                self.memory.gone(&key);
                self.intake().delete(&key).into_iter().collect()
            }
            Seen::Etcd(Event::Lost(e)) => {
                self.lost = true;
                self.status.still_awaits(Self::FIRST_LIST, e.to_string());
                e.tell_lost("the entries that are known");
                Vec::new()
            }
            Seen::File(content) => self.file_seen(&content).into_iter().collect(),
        }
    }

    fn file_seen(&mut self, content: &FileContent) -> Option<Judgement> {
        let Source::File { file, .. } = &self.source else { return None };
        let source = file.display().to_string();
        match content {
            FileContent::Text(bytes) => self.intake().put(&Value { source: &source, bytes, revision: None }),
            FileContent::Unreadable(reason) => {
                let reason = format!("can't be read: {reason} (to collect nothing, let it hold [])");
                self.status.still_awaits(Self::FIRST_LIST, format!("{source} {reason}"));
                let (revision, line, column) = (None, None, None);
                Some(Judgement::Refused(Refusal { source, revision, line, column, reason }))
            }
        }
    }

    /// Tells operators what became of each value.
    fn report(&self, judgements: Vec<Judgement>) {
        for judgement in judgements {
            match judgement {
                Judgement::Accepted { source, revision, entries } => {
                    slog_scope::info!("collection entries taken over"; "source" => &source, "revision" => revision,
                        "entries" => entries);
                    self.status.applied(&source, revision);
                }
                Judgement::Gone { source } => {
                    slog_scope::info!("collection entries removed with their key"; "source" => &source);
                    self.status.gone(&source);
                }
                Judgement::Refused(refusal) => {
                    slog_scope::error!("collection entries refused, what ran keeps running"; "source" => &refusal.source,
                        "revision" => refusal.revision, "line" => refusal.line, "column" => refusal.column,
                        "reason" => &refusal.reason);
                    self.status.refused(&refusal.source, refusal.revision, refusal.to_string());
                    self.supervisor.tell(ConfigRefused(refusal));
                }
            }
        }
    }

    /// Tells the neighbour what is new for it; of the first list also that nothing is.
    fn tell(&mut self, first: bool, ctx: &mut Context<Self>) {
        let (diff, topics, missing) = {
            let shared = self.intake.clone();
            let mut intake = shared.lock().unwrap_or_else(PoisonError::into_inner);
            // First the difference: it is what the topics are taken from.
            (intake.diff(), intake.topics(), self.memory.missing(intake.named_topics()))
        };
        match &self.listener {
            Listener::Tails(tails) => {
                if first || !diff.is_empty() {
                    slog_scope::debug!("entries changed"; "added" => diff.added.len(), "changed" => diff.changed.len(),
                        "removed" => diff.removed.len());
                    tails.tell(ApplyDiff(diff));
                }
            }
            Listener::Consumer { consumer, topics: always } => {
                let named = always.iter().chain(&topics).map(String::as_str);
                let all: BTreeSet<&str> = named.chain(self.memory.topics()).collect();
                let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
                if self.told_topics.as_ref() != Some(&all) {
                    self.told_topics = Some(all.clone());
                    consumer.tell(UseTopics(all));
                }
            }
        }
        self.remember(missing, ctx);
    }

    /// Remembers topics in etcd: their records have to be transferred also when their entry has gone.
    fn remember(&mut self, missing: Vec<String>, ctx: &mut Context<Self>) {
        let Some(session) = self.session().cloned() else { return };
        for key in missing {
            let session = session.clone();
            let put = async move {
                let done = session.put_if_absent(&key, b"").await;
                (key, done)
            };
            ctx.spawn(put.into_actor(self).map(|(key, done), actor, _| {
                if let Err(e) = &done {
                    // The next event or the next list comes back to it.
                    slog_scope::warn!("a topic can't be remembered in etcd yet"; "key" => &key, "reason" => %e);
                }
                actor.memory.put(key, done.is_ok());
            }));
        }
    }
}

fn value(kv: &Kv) -> Value<'_> {
    Value { source: &kv.key, bytes: &kv.value, revision: Some(kv.revision) }
}

impl Actor for CollectionWatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.watch(ctx);
        if matches!(self.source, Source::Nothing { .. }) {
            self.status.has(Self::FIRST_LIST);
        }
        if let Source::Keys { templates, .. } = &self.source
            && templates.iter().any(KeyTemplate::asks_for_addresses)
        {
            ctx.run_interval(ADDRESSES_INTERVAL, Self::check_addresses);
        }
        if let Listener::Consumer { topics, .. } = &self.listener
            && !topics.is_empty()
        {
            self.tell(false, ctx);
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.parent.tell(ChildStopped { kind: Self::KIND, id: 0, orderly: self.orderly });
    }
}

impl StreamHandler<Seen> for CollectionWatcher {
    fn handle(&mut self, seen: Seen, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        stats.sent_one();
        let _handling = stats.handling();
        let is_list = matches!(&seen, Seen::Etcd(Event::Snapshot { .. }) | Seen::File(FileContent::Text(_)));
        let first = is_list && self.status.is_awaited(Self::FIRST_LIST);
        let judgements = self.seen(seen);
        // First those who act on it, then those who read of it.
        self.tell(first, ctx);
        self.report(judgements);
        if is_list {
            self.status.has(Self::FIRST_LIST);
        }
    }

    /// The watches never end; the default would stop the actor.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<UseTails> for CollectionWatcher {
    type Result = ();

    fn handle(&mut self, UseTails(tails): UseTails, _: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let all = self.intake().all();
        if !all.is_empty() {
            tails.tell(ApplyDiff(all));
        }
        self.listener = Listener::Tails(tails);
    }
}

impl Handler<UseConsumer> for CollectionWatcher {
    type Result = ();

    fn handle(&mut self, UseConsumer(new): UseConsumer, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        if let Listener::Consumer { consumer, .. } = &mut self.listener {
            *consumer = new;
        }
        // Before the first list there is nothing to tell: a consumer told too little would leave its topics.
        if self.told_topics.take().is_some() {
            self.tell(false, ctx);
        }
    }
}

stops_at_once!(CollectionWatcher);
