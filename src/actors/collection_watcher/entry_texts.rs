//! The texts of entries that records refer to. The problem: a record has room for eight hex digits only, and must find its
//! labels and index by them after its entry has changed or gone. So the agent puts the text into etcd before it sends the
//! first record, once for all agents, and the transfer finds it there.

use super::CollectionWatcher;
use crate::{
    collection::{Delivery, ENTRY_PREFIX},
    etcd::Kv,
    flow::EntryId,
    messages::{EntryStoreError, LookUpEntry, PublishEntry},
    telemetry::Mailbox,
};
use actix::prelude::*;
use std::sync::Arc;

/// Asks the watcher of the moment.
pub async fn ask<M, T>(watcher: Option<Mailbox<M>>, message: M) -> Result<T, EntryStoreError>
where
    M: Message<Result = Result<T, EntryStoreError>> + Send + 'static,
    T: Send + 'static,
{
    let restarting = || EntryStoreError::Failed("it is being restarted".into());
    watcher.ok_or_else(restarting)?.send(message).await.unwrap_or_else(|_| Err(restarting()))
}

/// An entry's text, which must be the one that its key is the hash of.
pub(super) fn read_text(id: &str, kv: &Kv) -> Result<(EntryId, Delivery), String> {
    let id: EntryId = id.parse().map_err(|e| format!("{e}"))?;
    let delivery: Delivery = serde_json::from_slice(&kv.value).map_err(|e| e.to_string())?;
    if delivery.id() != Some(id) {
        return Err("the key is not the hash of its value".into());
    }
    Ok((id, delivery))
}

impl Handler<PublishEntry> for CollectionWatcher {
    type Result = ResponseActFuture<Self, Result<(), EntryStoreError>>;

    fn handle(&mut self, PublishEntry { entry, delivery }: PublishEntry, _: &mut Self::Context) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let known = self.texts.get(&entry).map(|there| **there == delivery);
        let session = self.session().cloned();
        let text = delivery.canonical();
        let put = async move {
            if let Some(same) = known {
                return if same { Ok(()) } else { Err(collision(entry)) };
            }
            let session = session.ok_or(EntryStoreError::NotConfigured)?;
            let key = format!("{ENTRY_PREFIX}{entry}");
            let there = session.put_if_absent(&key, text.as_bytes()).await;
            match there.map_err(|e| EntryStoreError::Failed(e.to_string()))? {
                Some(kv) if kv.value != text.as_bytes() => Err(collision(entry)),
                _ => Ok(()),
            }
        };
        Box::pin(put.into_actor(self).map(move |result, actor, _| {
            if result.is_ok() {
                actor.texts.insert(entry, Arc::new(delivery));
            }
            result
        }))
    }
}

/// Two different texts with one hash: the second can't be used until something in it is changed.
fn collision(entry: EntryId) -> EntryStoreError {
    let reason = "holds another text with the same hash; change a label of the entry a little";
    EntryStoreError::Failed(format!("{ENTRY_PREFIX}{entry} {reason}"))
}

impl Handler<LookUpEntry> for CollectionWatcher {
    type Result = ResponseActFuture<Self, Result<Option<Arc<Delivery>>, EntryStoreError>>;

    /// What isn't known may just have been published: it is looked up.
    fn handle(&mut self, LookUpEntry(entry): LookUpEntry, _: &mut Self::Context) -> Self::Result {
        let stats = self.stats.clone();
        let _handling = stats.handling();
        let known = self.texts.get(&entry).cloned();
        let session = self.session().cloned();
        let get = async move {
            if known.is_some() {
                return Ok(known);
            }
            let session = session.ok_or(EntryStoreError::NotConfigured)?;
            let failed = EntryStoreError::Failed;
            let kv = session.get(&format!("{ENTRY_PREFIX}{entry}")).await;
            let Some(kv) = kv.map_err(|e| failed(e.to_string()))? else { return Ok(None) };
            let text = read_text(&entry.to_string(), &kv);
            text.map(|(_, delivery)| Some(Arc::new(delivery))).map_err(|e| failed(format!("{}: {e}", kv.key)))
        };
        Box::pin(get.into_actor(self).map(move |result, actor, _| {
            if let Ok(Some(delivery)) = &result {
                actor.texts.insert(entry, delivery.clone());
            }
            result
        }))
    }
}
