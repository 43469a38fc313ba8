//! Taking over entries. The problem: a change of one entry must reach its own tails and no other, and an entry with
//! delivery fields must not send a line before the transfers can look these fields up.

use super::{FAST_SWEEP, TailManager, UseRules, entries::EntryState, roster};
use crate::{
    actors::tail_actor::BACKOFF,
    collection::{CollectionDiff, Entry, EntryKey},
    flow::{EntryId, OriginId},
    messages::{ApplyDiff, Drain, PublishEntry},
};
use actix::prelude::*;
use std::collections::{HashMap, HashSet};

impl TailManager {
    pub(super) fn apply(&mut self, diff: CollectionDiff, new: &HashSet<EntryKey>, ctx: &mut Context<Self>) {
        let mut touched = HashSet::new();
        for key in &diff.removed {
            self.entries.remove(key);
        }
        for entry in diff.added.into_iter().chain(diff.changed) {
            match EntryState::new(entry) {
                Ok(mut state) => {
                    state.published |= state.delivery.as_ref().is_some_and(|(id, _)| self.published.contains(id));
                    state.first = new.contains(&state.key);
                    touched.insert(state.key.clone());
                    self.entries.put(state);
                }
                Err(error) => slog_scope::error!("an entry can't be used"; "reason" => %error),
            }
        }
        for id in self.roster.assign(&self.entries, &touched) {
            self.use_entry(id);
        }
        self.publish(ctx);
        self.open_left(ctx);
        self.expand(touched, ctx);
    }

    /// Tells a tail the rules of its entry, or to end where it has none.
    pub(super) fn use_entry(&mut self, id: OriginId) {
        let Some(known) = self.roster.get_mut(id) else { return };
        let state = known.entry.as_ref().and_then(|key| self.entries.get(key));
        known.draining = state.is_none();
        match state {
            None => self.tell(id, Drain),
            Some(state) if state.published => self.tell(id, UseRules(state.rules())),
            // With the old rules until the text of the new ones is published.
            Some(_) => {}
        }
    }

    /// Puts the delivery fields of entries where the transfers look them up; only their own tails wait for it.
    pub(super) fn publish(&mut self, ctx: &mut Context<Self>) {
        let waiting: Vec<_> = self.entries.iter().filter(|s| !s.published).filter_map(|s| s.delivery.clone()).collect();
        for (entry, delivery) in waiting {
            if !self.publishing.insert(entry) {
                continue;
            }
            let store = self.entry_store.clone();
            let future = async move { store.send(PublishEntry { entry, delivery }).await };
            ctx.spawn(future.into_actor(self).map(move |answer, manager, ctx| {
                manager.publishing.remove(&entry);
                match answer {
                    Ok(Ok(())) => manager.entry_published(entry),
                    Ok(Err(error)) => manager.publish_later(entry, &error.to_string(), ctx),
                    Err(error) => manager.publish_later(entry, &error.to_string(), ctx),
                }
            }));
        }
    }

    pub(super) fn publish_later(&mut self, entry: EntryId, reason: &str, ctx: &mut Context<Self>) {
        slog_scope::warn!("an entry's fields can't be published yet; its files wait"; "entry" => %entry, "reason" => reason);
        ctx.run_later(BACKOFF.wait(5), |manager, ctx| manager.publish(ctx));
    }

    pub(super) fn entry_published(&mut self, entry: EntryId) {
        self.published.insert(entry);
        let mut keys = HashSet::new();
        for state in self.entries.iter_mut().filter(|s| s.delivery.as_ref().is_some_and(|(id, _)| *id == entry)) {
            state.published = true;
            keys.insert(state.key.clone());
        }
        let concerned = |known: &roster::Known| known.entry.as_ref().is_some_and(|key| keys.contains(key));
        let ids: Vec<_> = self.roster.iter().filter(|(_, known)| concerned(known)).map(|(id, _)| id).collect();
        for id in ids {
            self.use_entry(id);
        }
    }

    /// Entries whose first application could not be written down are applied later.
    pub(super) fn apply_remembered(
        &mut self,
        mut diff: CollectionDiff,
        new: &HashSet<EntryKey>,
        failed: &HashMap<EntryKey, String>,
        ctx: &mut Context<Self>,
    ) {
        let fails = |e: &Entry| failed.contains_key(&EntryKey { path: e.path.clone(), topic: e.topic.clone() });
        let later = CollectionDiff {
            added: diff.added.extract_if(.., |e| fails(e)).collect(),
            changed: diff.changed.extract_if(.., |e| fails(e)).collect(),
            removed: Vec::new(),
        };
        if let Some(reason) = failed.values().next() {
            slog_scope::error!("entries can't be applied yet"; "entries" => failed.len(), "reason" => reason);
            self.stats.sent_one();
            ctx.notify_later(ApplyDiff(later), FAST_SWEEP);
        }
        self.apply(diff, new, ctx);
    }
}

/// The entry's name in the journal.
pub(super) fn remembered_as(entry: &Entry) -> String {
    format!("{} {}", entry.topic, entry.path)
}
