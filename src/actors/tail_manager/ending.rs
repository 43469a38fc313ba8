//! The ends of tails. The problem: a tail is done, has panicked, or its file has gone or was replaced; who waited for it
//! goes on, what is lost is counted, and a file is forgotten only when nothing of it can come any more.

use super::{
    FORGIVEN, TailCounters, TailManager,
    beginning::ToOpen,
    roster::{Life, MissingFile},
};
use crate::{
    actors::tail_actor::BACKOFF,
    flow::OriginId,
    journal::{FileRecord, is_away},
    messages::{ForgetFile, LookUpFile, Settled},
};
use actix::prelude::*;
use std::{path::Path, time::Duration};
use tokio::time::Instant;

impl TailManager {
    pub(super) fn count_lost(&self, bytes: u64, why: &str, path: &Path, topic: &str) {
        if bytes > 0 {
            TailCounters::add(&self.shared.counters.lost_bytes, bytes);
            slog_scope::error!("bytes were destroyed before they were read";
                "path" => %path.display(), "topic" => topic, "bytes" => bytes, "why" => why);
        }
    }

    /// A file was replaced while nobody had it open: what is pending of it is gone, and its inode is another file's.
    pub(super) fn replaced_while_closed(&mut self, record: FileRecord, ctx: &mut Context<Self>) {
        slog_scope::warn!("a known file holds another content now; it is collected as a new one";
            "path" => %record.current_path.display(), "topic" => &record.topic, "file" => %record.file);
        let folder = record.current_path.parent().map(Path::to_owned);
        self.roster.detach(record.id);
        self.give_up(&record, "replaced while the agent did not have it open");
        if let Some(folder) = folder {
            self.scan(&folder, ctx);
        }
    }

    /// Nothing of this file can be read any more: its pending ranges are lost, then it is forgotten.
    pub(super) fn give_up(&mut self, record: &FileRecord, why: &str) {
        let bytes = record.pending.iter().map(|(_, range)| range.end - range.begin).sum();
        self.count_lost(bytes, why, &record.current_path, &record.topic);
        for (seq, _) in &record.pending {
            let settled = Settled { origin: record.id, seq: *seq, delivered: 0, dead: 0 };
            self.shared.journal.settled.tell(settled);
        }
        self.forget(record.id);
    }

    pub(super) fn forget(&mut self, id: OriginId) {
        self.ended(id);
        self.roster.forget(id);
        self.returned.remove(&id);
        drop(self.shared.left_open.take(id));
        self.panics.remove(&id);
        self.shared.journal.forget.tell(ForgetFile(id));
    }

    /// Forgets files that no scan has found for long; where their whole file system is away, for much longer.
    pub(super) fn forget_long_gone(&mut self, ctx: &mut Context<Self>) {
        let missing: Vec<_> = self.roster.long_gone(Instant::now(), self.settings.forget_after).collect();
        if missing.is_empty() {
            return;
        }
        let job = move || {
            let away = |file: &MissingFile| is_away(&file.path, file.device);
            missing.into_iter().map(|file| (away(&file), file)).collect::<Vec<_>>()
        };
        let future = tokio::task::spawn_blocking(job);
        ctx.spawn(future.into_actor(self).map(|missing, manager, ctx| {
            let after = manager.settings.forget_away_after;
            // Without an answer the next sweep asks again.
            for (away, file) in missing.unwrap_or_default() {
                if !away || file.since.elapsed() >= after {
                    manager.forget_missing(file.id, ctx);
                }
            }
        }));
    }

    fn forget_missing(&mut self, id: OriginId, ctx: &mut Context<Self>) {
        let look_up = self.shared.journal.look_up.clone();
        let future = async move { look_up.send(LookUpFile(id)).await };
        ctx.spawn(future.into_actor(self).map(move |answer, manager, _| {
            let still = manager.roster.get(id).is_some_and(|k| k.life == Life::Dormant && k.missing_since.is_some());
            if let (Ok(Some(record)), true) = (answer, still) {
                slog_scope::info!("a file is gone"; "path" => %record.current_path.display(),
                    "topic" => &record.topic, "file" => %record.file);
                manager.give_up(&record, "deleted before it was delivered");
            }
        }));
    }

    /// Learns from the journal how far a finished tail came, and looks whether there is more by now.
    pub(super) fn tail_done(&mut self, id: OriginId, ctx: &mut Context<Self>) {
        let look_up = self.shared.journal.look_up.clone();
        let future = async move { look_up.send(LookUpFile(id)).await };
        ctx.spawn(future.into_actor(self).map(move |answer, manager, ctx| {
            if let (Some(known), Ok(Some(record))) = (manager.roster.get_mut(id), answer) {
                known.position = record.position;
                known.pending = !record.pending.is_empty();
            }
            manager.ended(id);
            let retry_at = manager.roster.get(id).and_then(|known| known.retry_at);
            let wait = retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            if retry_at.is_some() {
                ctx.run_later(wait, Self::open_left);
            }
            let folder = manager.roster.get(id).filter(|known| known.entry.is_some());
            if let Some(folder) = folder.and_then(|known| known.path.as_deref()?.parent().map(Path::to_owned)) {
                manager.scan_later(&folder, wait, ctx);
            }
        }));
    }

    pub(super) fn restart(&mut self, id: OriginId, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let (panics, last) = self.panics.get(&id).copied().unwrap_or((0, now));
        let panics = if now.saturating_duration_since(last) > FORGIVEN { 0 } else { panics };
        self.panics.insert(id, (panics + 1, now));
        TailCounters::add(&self.shared.counters.tails_restarted, 1);
        self.shared.stats.restarted();
        if let Some(known) = self.roster.get_mut(id) {
            known.life = Life::Opening;
        }
        ctx.run_later(BACKOFF.wait(panics + 1), move |manager, ctx| {
            let Some(known) = manager.roster.get(id) else { return };
            let path = known.path.clone().unwrap_or_else(|| known.home.clone()).to_path_buf();
            manager.open(vec![ToOpen::Known(id, path)], None, ctx);
        });
    }

    pub(super) fn answer_stopping(&mut self, ctx: &mut Context<Self>) {
        if self.is_stopping() && self.tails.is_empty() {
            self.orderly = true;
            for waiting in self.stopping.drain(..) {
                // Who asked may have gone: nobody is left to be told.
                let _gone = waiting.send(());
            }
            ctx.stop();
        }
    }
}
