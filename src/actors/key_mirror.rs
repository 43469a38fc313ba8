//! KeyMirror: keeps what the console knows of etcd equal to etcd. The problem: a page over two thousand agents can't ask
//! etcd for each of them, and etcd may be away while somebody looks. So all keys that pages speak of are watched by one,
//! and those who know what they mean ([`Mirror`]) answer from memory.

use super::stopping::stops_at_once;
use crate::{
    etcd::{Event, KeyRange, KeyWatch, Mirror, Session},
    messages::ChildStopped,
    telemetry::{ActorStats, Health, Mailbox},
};
use actix::prelude::*;
use futures_util::stream::unfold;
use std::{sync::Arc, time::Duration};

/// What is watched.
#[derive(Clone)]
pub struct MirrorSource {
    pub session: Session,
    pub ranges: Vec<KeyRange>,
    /// Everything is listed again this often, in case an event got lost.
    pub relist: Duration,
    pub mirrors: Vec<Arc<dyn Mirror>>,
    /// Told as `etcd`.
    pub health: Health,
}

/// See the module.
pub struct KeyMirror {
    source: MirrorSource,
    parent: Mailbox<ChildStopped>,
    stats: Arc<ActorStats>,
    lost: bool,
    orderly: bool,
}

/// From the actor's own watch to itself.
struct Seen(Event);

impl KeyMirror {
    /// Kind of this actor in log and metrics.
    pub const KIND: &str = "key_mirror";
    /// Name of etcd at `/health`.
    const ETCD: &str = "etcd";

    pub fn new(source: MirrorSource, parent: Mailbox<ChildStopped>, stats: Arc<ActorStats>) -> Self {
        Self { source, parent, stats, lost: false, orderly: false }
    }

    fn note(&mut self, event: &Event) {
        let health = &self.source.health;
        match event {
            Event::Snapshot { .. } => {
                if std::mem::take(&mut self.lost) {
                    slog_scope::info!("etcd is watched again");
                }
                health.ready(Self::ETCD);
            }
            Event::Lost(error) => {
                self.lost = true;
                error.tell_lost("the keys that are known");
                // Before the first list there is nothing to show; after it the pages show what is known, and its age.
                let known = health.report().conditions.get(Self::ETCD).is_some_and(|was| was.ready);
                match known {
                    true => health.ready_but(Self::ETCD, error.to_string()),
                    false => health.not_ready(Self::ETCD, error.to_string()),
                }
            }
            Event::Put(_) | Event::Delete { .. } => {}
        }
    }
}

impl Actor for KeyMirror {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let source = &self.source;
        let watch = KeyWatch::new(source.session.clone(), source.ranges.clone(), source.relist);
        let next = async |mut watch: KeyWatch| Some((Seen(watch.next().await), watch));
        ctx.add_stream(unfold(watch, next));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.parent.tell(ChildStopped { kind: Self::KIND, id: 0, orderly: self.orderly });
    }
}

impl StreamHandler<Seen> for KeyMirror {
    fn handle(&mut self, Seen(event): Seen, _: &mut Self::Context) {
        let stats = self.stats.clone();
        stats.sent_one();
        let _handling = stats.handling();
        // First those who answer from it, then those who say that it is there.
        self.source.mirrors.iter().for_each(|mirror| mirror.apply(&event));
        self.note(&event);
    }

    /// The watch never ends; the default would stop the actor.
    fn finished(&mut self, _: &mut Self::Context) {}
}

stops_at_once!(KeyMirror);
