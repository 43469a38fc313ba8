//! Memory credits. The problem: no line may wait in an unbounded queue, and one failing topic must not take the
//! memory of all. A source takes credit *before* it reads; the credit travels in the batch and returns when the
//! batch is settled and dropped. First come, first served; one name (a topic) holds at most an eighth of the whole.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One name may hold this part of all credits.
const SHARE: usize = 8;

/// The credits of a process, in bytes. Cloning gives another handle of the same credits.
#[derive(Clone, Debug)]
pub struct Credits {
    all: Arc<Semaphore>,
    all_bytes: usize,
    shares: Arc<Mutex<HashMap<Arc<str>, Arc<Semaphore>>>>,
}

impl Credits {
    /// `bytes` in all, an eighth of it for each name.
    pub fn new(bytes: usize) -> Self {
        let all_bytes = bytes.clamp(SHARE, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { all: Arc::new(Semaphore::new(all_bytes)), all_bytes, shares: Arc::default() }
    }

    /// What one name may hold, in bytes.
    pub fn share_bytes(&self) -> usize {
        self.all_bytes / SHARE
    }

    /// Bytes that nobody holds at the moment.
    pub fn free_bytes(&self) -> usize {
        self.all.available_permits()
    }

    fn share(&self, name: &Arc<str>) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.entry(name.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.share_bytes()))).clone()
    }

    /// Waits until `bytes` are free for `name`. More than its share counts as its whole share, so that one very long
    /// line still passes, alone. Cancel-safe: dropping the future leaves the queue.
    pub async fn take(&self, name: &Arc<str>, bytes: usize) -> Credit {
        let bytes = bytes.clamp(1, self.share_bytes()) as u32;
        // The share first: whoever waits for it holds nothing of the whole.
        let share = self.share(name).acquire_many_owned(bytes).await;
        let all = self.all.clone().acquire_many_owned(bytes).await;
        // Neither semaphore is ever closed, so an error can't happen; if it did, an uncredited batch loses nothing.
        Credit { permits: share.ok().zip(all.ok()) }
    }

    /// The same without waiting: `None` where it would have to wait.
    pub fn try_take(&self, name: &Arc<str>, bytes: usize) -> Option<Credit> {
        let bytes = bytes.clamp(1, self.share_bytes()) as u32;
        let share = self.share(name).try_acquire_many_owned(bytes).ok()?;
        let all = self.all.clone().try_acquire_many_owned(bytes).ok()?;
        Some(Credit { permits: Some((share, all)) })
    }
}

/// Bytes held by one batch; dropping it gives them back.
#[derive(Debug, Default)]
pub struct Credit {
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Credit {
    /// Credit for nothing, for tests and for batches that are accounted elsewhere.
    pub fn none() -> Self {
        Self::default()
    }

    pub fn bytes(&self) -> usize {
        self.permits.as_ref().map_or(0, |(share, _)| share.num_permits())
    }

    /// Gives back what is over `bytes`: a source takes for what it may read and keeps what it did read.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes().saturating_sub(bytes);
        if let Some((share, all)) = &mut self.permits {
            drop((share.split(surplus), all.split(surplus)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn one_name_holds_an_eighth_and_the_others_go_on() {
        let credits = Credits::new(800);
        let (slow, quick): (Arc<str>, Arc<str>) = ("slow".into(), "quick".into());
        let held = credits.take(&slow, 100).await;
        assert!(credits.try_take(&slow, 1).is_none());
        assert!(credits.try_take(&quick, 100).is_some());
        drop(held);
        assert!(credits.try_take(&slow, 1).is_some());
    }

    #[actix_rt::test]
    async fn first_come_first_served_and_cancel_safe() {
        let credits = Credits::new(800);
        let name: Arc<str> = "t".into();
        let mut held = credits.take(&name, 5000).await;
        assert_eq!((held.bytes(), credits.free_bytes()), (100, 700));
        let waiting = tokio::spawn({
            let (credits, name) = (credits.clone(), name.clone());
            async move { credits.take(&name, 60).await.bytes() }
        });
        tokio::task::yield_now().await;
        held.shrink_to(50);
        assert!(credits.try_take(&name, 50).is_none(), "the one who waits comes first");
        waiting.abort();
        assert!(waiting.await.is_err());
        assert!(credits.try_take(&name, 50).is_some());
    }
}
