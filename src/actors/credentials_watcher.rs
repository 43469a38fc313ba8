//! CredentialsWatcher: keeps the transfer's way to Elasticsearch equal to the key in etcd. The problem: credentials are
//! changed by hand while everything runs, so a good value is taken over at once, and a bad or deleted one changes
//! nothing but is told.

use super::stopping::stops_at_once;
use crate::{
    collection::Refusal,
    elastic::ElasticConfig,
    etcd::{Event, KeyRange, KeyWatch, Kv, Session},
    messages::{ChildStopped, ConfigRefused, UseBatcher, UseElastic},
    telemetry::{ActorStats, Mailbox, StatusBoard},
};
use actix::prelude::*;
use futures_util::stream::unfold;
use std::{sync::Arc, time::Duration};

/// Where the credentials are.
#[derive(Clone, Debug)]
pub struct CredentialsSource {
    pub session: Session,
    /// etcd key.
    pub key: String,
    /// The key is read again this often, in case an event got lost.
    pub relist: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct CredentialsWatcher {
    source: CredentialsSource,
    batcher: Mailbox<UseElastic>,
    supervisor: Mailbox<ConfigRefused>,
    parent: Mailbox<ChildStopped>,
    status: Arc<StatusBoard>,
    stats: Arc<ActorStats>,
    /// What is in force.
    current: Option<Arc<ElasticConfig>>,
    /// Revision that was looked at last, good or bad.
    judged: Option<i64>,
    /// Whether a missing key was told.
    told_missing: bool,
    orderly: bool,
}

/// From the actor's own watch to itself.
#[derive(Debug)]
pub struct Seen(Event);

impl CredentialsWatcher {
    /// Kind of this actor in log and metrics.
    pub const KIND: &str = "credentials_watcher";
    /// What a process awaits of it ([`StatusBoard::awaits`]).
    pub const FIRST: &str = "first credentials for Elasticsearch";

    pub fn new(
        source: CredentialsSource,
        batcher: Mailbox<UseElastic>,
        supervisor: Mailbox<ConfigRefused>,
        parent: Mailbox<ChildStopped>,
        status: Arc<StatusBoard>,
        stats: Arc<ActorStats>,
    ) -> Self {
        Self {
            source,
            batcher,
            supervisor,
            parent,
            status,
            stats,
            current: None,
            judged: None,
            told_missing: false,
            orderly: false,
        }
    }

    fn seen(&mut self, event: Event) {
        match event {
            Event::Put(kv) => self.judge(&kv),
            Event::Snapshot { kvs, .. } => match kvs.iter().find(|kv| kv.key == self.source.key) {
                Some(kv) => self.judge(kv),
                None => self.missing(),
            },
            Event::Delete { .. } => self.missing(),
            Event::Lost(error) => {
                self.status.still_awaits(Self::FIRST, error.to_string());
                error.tell_lost("the credentials that are known");
            }
        }
    }

    fn missing(&mut self) {
        self.judged = None;
        self.status.still_awaits(Self::FIRST, format!("there is no key {} in etcd", self.source.key));
        if !std::mem::replace(&mut self.told_missing, true) {
            let known =
                if self.current.is_some() { "the last ones stay in use" } else { "nothing reaches Elasticsearch" };
            slog_scope::error!("there are no credentials for Elasticsearch in etcd"; "key" => &self.source.key,
                "so" => known, "advice" => r#"put {"api_key":"..","url_address":["https://..:9200"]} there"#);
        }
    }

    /// Takes a value over, or refuses it. A list repeats values that were judged before.
    fn judge(&mut self, kv: &Kv) {
        if self.judged.replace(kv.revision) == Some(kv.revision) {
            return;
        }
        self.told_missing = false;
        let parsed = match std::str::from_utf8(&kv.value) {
            Ok(text) => ElasticConfig::parse(text).map_err(|error| (error.reason, error.line, error.column)),
            Err(_) => Err(("is no UTF-8 text".to_owned(), None, None)),
        };
        match parsed {
            Ok(config) => {
                self.status.applied(&kv.key, Some(kv.revision));
                slog_scope::info!("credentials for Elasticsearch taken over"; "key" => &kv.key,
                    "revision" => kv.revision, "urls" => config.urls.join(" "));
                let config = Arc::new(config);
                if self.current.as_ref() != Some(&config) {
                    self.current = Some(config.clone());
                    self.batcher.tell(UseElastic(config));
                }
                self.status.has(Self::FIRST);
            }
            Err((reason, line, column)) => {
                let refusal = Refusal { source: kv.key.clone(), revision: Some(kv.revision), line, column, reason };
                slog_scope::error!("credentials for Elasticsearch refused, the old ones stay in use";
                    "source" => &refusal.source, "revision" => refusal.revision, "line" => line, "column" => column,
                    "reason" => &refusal.reason);
                self.status.refused(&kv.key, refusal.revision, refusal.to_string());
                self.status.still_awaits(Self::FIRST, refusal.to_string());
                self.supervisor.tell(ConfigRefused(refusal));
            }
        }
    }
}

impl Actor for CredentialsWatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let range = KeyRange::key(self.source.key.clone());
        let watch = KeyWatch::new(self.source.session.clone(), vec![range], self.source.relist);
        let next = async |mut watch: KeyWatch| Some((Seen(watch.next().await), watch));
        ctx.add_stream(unfold(watch, next));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.parent.tell(ChildStopped { kind: Self::KIND, id: 0, orderly: self.orderly });
    }
}

impl StreamHandler<Seen> for CredentialsWatcher {
    fn handle(&mut self, Seen(event): Seen, _: &mut Self::Context) {
        let stats = self.stats.clone();
        stats.sent_one();
        let _handling = stats.handling();
        self.seen(event);
    }

    /// The watch never ends; the default would stop the actor.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<UseBatcher> for CredentialsWatcher {
    type Result = ();

    fn handle(&mut self, UseBatcher(batcher): UseBatcher, _: &mut Self::Context) {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        if let Some(config) = &self.current {
            batcher.tell(UseElastic(config.clone()));
        }
        self.batcher = batcher;
    }
}

stops_at_once!(CredentialsWatcher);
