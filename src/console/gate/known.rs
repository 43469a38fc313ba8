//! What the store says, remembered for a second. The problem: each call asks who somebody is, a page makes several calls
//! a second, and a user who is disabled has to be out everywhere at once. And when the store is away, those who are in
//! must still see what the console knows, and be told so, instead of waiting for a deadline with each call.

use crate::store::{Item, Store, StoreError};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// So long nobody asks again; and so long somebody who is disabled at another console may still be in.
const FRESH: Duration = Duration::from_secs(1);
/// So long what was known holds while the store is away.
const STALE: Duration = Duration::from_secs(900);
/// So long the store may take, and so long it is left alone where it took longer.
const PATIENCE: Duration = Duration::from_secs(1);
const AWAY: Duration = Duration::from_secs(3);
/// Keys that are remembered.
const MOST: usize = 10_000;

/// Keys of the store, a second old at most.
pub struct Known {
    store: Arc<dyn Store>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Only what is there: what isn't could be of any number.
    items: HashMap<String, (Instant, Item)>,
    away_until: Option<Instant>,
    /// Changes with each [`Known::forget`], so that an older answer isn't remembered after it.
    round: u64,
}

impl Known {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What isn't there is never remembered.
    ///
    /// # Errors
    /// The store is away, and the key isn't known from before.
    pub async fn get(&self, key: &str) -> Result<Option<Item>, StoreError> {
        let (known, away, round) = {
            let seen = self.seen();
            (seen.items.get(key).cloned(), seen.away_until.is_some_and(|until| Instant::now() < until), seen.round)
        };
        if let Some((at, item)) = &known {
            let age = at.elapsed();
            if age < FRESH || (away && age < STALE) {
                return Ok(Some(item.clone()));
            }
        }
        // Who isn't known has to wait for the store itself.
        let asked = match &known {
            Some(_) => timeout(PATIENCE, self.store.get(key)).await,
            None => Ok(self.store.get(key).await),
        };
        let asked = asked.unwrap_or_else(|_| Err(StoreError::Unavailable("the store doesn't answer".into())));
        let mut seen = self.seen();
        match asked {
            Ok(item) => {
                seen.away_until = None;
                seen.remember(key, item.as_ref(), round);
                Ok(item)
            }
            Err(error) => {
                seen.away_until = Some(Instant::now() + AWAY);
                match known {
                    Some((at, item)) if at.elapsed() < STALE => Ok(Some(item)),
                    _ => Err(error),
                }
            }
        }
    }

    /// Something was changed here: everything is asked for again.
    pub fn forget(&self) {
        let mut seen = self.seen();
        seen.round += 1;
        seen.items.clear();
    }

    /// One key was changed here.
    pub fn forget_one(&self, key: &str) {
        let mut seen = self.seen();
        seen.round += 1;
        seen.items.remove(key);
    }
}

impl Seen {
    fn remember(&mut self, key: &str, item: Option<&Item>, round: u64) {
        if round != self.round {
            return;
        }
        let Some(item) = item else {
            self.items.remove(key);
            return;
        };
        if self.items.len() >= MOST {
            self.items.retain(|_, (at, _)| at.elapsed() < FRESH);
        }
        if self.items.len() < MOST {
            self.items.insert(key.to_owned(), (Instant::now(), item.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Check, Committed, Write};
    use futures_util::future::BoxFuture;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

    /// One key, `k`.
    #[derive(Default)]
    struct Fake {
        gone: AtomicBool,
        away: AtomicBool,
        asked: AtomicUsize,
    }

    impl Store for Fake {
        fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Item>, StoreError>> {
            self.asked.fetch_add(1, Relaxed);
            Box::pin(async move {
                if self.away.load(Relaxed) {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    return Err(StoreError::Unavailable("away".into()));
                }
                let there = key == "k" && !self.gone.load(Relaxed);
                Ok(there.then(|| Item { key: key.into(), value: Vec::new(), revision: 1 }))
            })
        }

        fn list<'a>(
            &'a self,
            _: &'a str,
            _: Option<&'a str>,
            _: usize,
        ) -> BoxFuture<'a, Result<Vec<Item>, StoreError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn list_last<'a>(
            &'a self,
            _: &'a str,
            _: Option<&'a str>,
            _: usize,
        ) -> BoxFuture<'a, Result<Vec<Item>, StoreError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn keys<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<(String, i64)>, StoreError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn commit(&self, _: Vec<Check>, _: Vec<Write>) -> BoxFuture<'_, Result<Committed, StoreError>> {
            Box::pin(async { Ok(Committed::Done(1)) })
        }
    }

    #[actix_rt::test]
    async fn a_key_is_asked_for_once_a_second_and_at_once_after_a_change_here() {
        tokio::time::pause();
        let store = Arc::new(Fake::default());
        let known = Known::new(store.clone());
        for _ in 0..10 {
            assert!(known.get("k").await.unwrap().is_some());
        }
        assert_eq!(store.asked.load(Relaxed), 1);
        store.gone.store(true, Relaxed);
        assert!(known.get("k").await.unwrap().is_some());
        known.forget();
        assert!(known.get("k").await.unwrap().is_none());
        store.gone.store(false, Relaxed);
        assert!(known.get("k").await.unwrap().is_some(), "what isn't there is asked for each time");
        store.gone.store(true, Relaxed);
        tokio::time::advance(FRESH).await;
        assert!(known.get("k").await.unwrap().is_none(), "gone elsewhere, out within a second");
    }

    #[actix_rt::test]
    async fn while_the_store_is_away_who_is_in_stays_in_for_a_while_and_nobody_else_comes_in() {
        tokio::time::pause();
        let store = Arc::new(Fake::default());
        let known = Known::new(store.clone());
        known.get("k").await.unwrap();
        store.away.store(true, Relaxed);
        tokio::time::advance(FRESH).await;
        let begun = Instant::now();
        for _ in 0..10 {
            assert!(known.get("k").await.unwrap().is_some());
        }
        assert!(begun.elapsed() < 2 * PATIENCE, "only the first waits: {:?}", begun.elapsed());
        assert!(known.get("other").await.is_err());
        tokio::time::advance(STALE).await;
        assert!(known.get("k").await.is_err(), "not for ever");
        store.away.store(false, Relaxed);
        assert!(known.get("k").await.unwrap().is_some());
    }
}
