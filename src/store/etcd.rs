//! The store in etcd. The problem: an answer that didn't come says nothing about what was done. A commit that checks a
//! key which it also puts can be made again: if it was done, the check fails, and the key holds what was to be put.

use super::{Check, Committed, Item, Store, StoreError, Write, allowed};
use crate::etcd::{EtcdError, Kv, Listing, Session, TxnCheck, TxnWrite};
use futures_util::future::BoxFuture;

/// One etcd transaction a commit.
#[derive(Clone, Debug)]
pub struct EtcdStore(Session);

impl EtcdStore {
    /// Doesn't connect yet.
    pub fn new(session: Session) -> Self {
        Self(session)
    }

    async fn listed(&self, listing: Listing<'_>) -> Result<Vec<Item>, StoreError> {
        Ok(self.0.listing(&listing).await.map_err(failed)?.into_iter().map(Item::from).collect())
    }

    async fn once(&self, checks: &[Check], writes: &[Write]) -> Result<Committed, EtcdError> {
        let checks = checks.iter().map(|Check::Revision { key, revision }| TxnCheck { key, revision: *revision });
        let writes = writes.iter().map(|write| match write {
            Write::Put { key, value } => TxnWrite { key, value: Some(value) },
            Write::Delete { key } => TxnWrite { key, value: None },
        });
        let done = self.0.transaction(&checks.collect::<Vec<_>>(), &writes.collect::<Vec<_>>()).await?;
        Ok(match done {
            Ok(revision) => Committed::Done(revision),
            Err(now) => Committed::Conflict(now.into_iter().map(Item::from).collect()),
        })
    }

    async fn committed(&self, checks: &[Check], writes: &[Write]) -> Result<Committed, StoreError> {
        allowed(checks, writes)?;
        let tries = if is_repeatable(checks, writes) { self.0.settings().endpoints.len() + 1 } else { 1 };
        let mut result = self.once(checks, writes).await;
        for _ in 1..tries {
            // After a deadline nobody waits once more; a connection that broke is another one by now.
            if !matches!(&result, Err(EtcdError::Failed { .. })) {
                break;
            }
            result = match self.once(checks, writes).await {
                Ok(Committed::Conflict(now)) => Ok(done_before(checks, writes, now)),
                other => other,
            };
        }
        result.map_err(|error| match (&error, failed(error.clone())) {
            (EtcdError::Deadline { .. } | EtcdError::Failed { .. }, StoreError::Unavailable(reason)) => {
                StoreError::Unavailable(format!("{reason}; whether the change was made is not known"))
            }
            (_, known) => known,
        })
    }
}

/// Whether a second try can do no harm, and can be told from the first one.
fn is_repeatable(checks: &[Check], writes: &[Write]) -> bool {
    writes
        .iter()
        .any(|write| matches!(write, Write::Put { .. }) && checks.iter().any(|check| check.key() == write.key()))
}

/// A conflict after a try whose answer got lost: with that try itself, if every key that is checked and written is as the
/// commit wanted it.
fn done_before(checks: &[Check], writes: &[Write], now: Vec<Item>) -> Committed {
    let item = |key: &str| now.iter().find(|item| item.key == key);
    let checked = |write: &&Write| checks.iter().any(|check| check.key() == write.key());
    let as_wanted = |write: &Write| match write {
        Write::Put { key, value } => item(key).is_some_and(|item| item.value == *value),
        Write::Delete { key } => item(key).is_none(),
    };
    let done = writes.iter().filter(checked).all(as_wanted);
    let revision = writes.iter().filter(checked).find_map(|write| item(write.key())).map(|item| item.revision);
    match revision {
        Some(revision) if done => Committed::Done(revision),
        _ => Committed::Conflict(now),
    }
}

impl From<Kv> for Item {
    fn from(Kv { key, value, revision }: Kv) -> Self {
        Self { key, value, revision }
    }
}

fn failed(error: EtcdError) -> StoreError {
    let text = error.to_string();
    if text.contains("request is too large") || text.contains("too many operations") {
        return StoreError::TooLarge(text);
    }
    StoreError::Unavailable(text)
}

impl Store for EtcdStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Item>, StoreError>> {
        Box::pin(async move { Ok(self.0.get(key).await.map_err(failed)?.map(Item::from)) })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Item>, StoreError>> {
        Box::pin(self.listed(Listing { prefix, after, limit, ..Listing::default() }))
    }

    fn list_last<'a>(
        &'a self,
        prefix: &'a str,
        before: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Item>, StoreError>> {
        Box::pin(self.listed(Listing { prefix, before, limit, last: true, ..Listing::default() }))
    }

    fn keys<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, i64)>, StoreError>> {
        Box::pin(async move {
            let listing = Listing { prefix, limit: usize::MAX, keys_only: true, ..Listing::default() };
            let all = self.0.listing(&listing).await.map_err(failed)?;
            Ok(all.into_iter().map(|kv| (kv.key, kv.revision)).collect())
        })
    }

    fn commit(&self, checks: Vec<Check>, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move { self.committed(&checks, &writes).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_with_the_own_lost_try_is_no_conflict() {
        let checks = [Check::absent("a"), Check::revision("b", 3)];
        let writes = [Write::put("a", "1"), Write::delete("b"), Write::put("c", "2")];
        assert!(is_repeatable(&checks, &writes) && !is_repeatable(&checks[1..], &writes));
        let item = |key: &str, value: &str| Item { key: key.into(), value: value.into(), revision: 7 };
        assert_eq!(done_before(&checks, &writes, vec![item("a", "1")]), Committed::Done(7));
        for now in [vec![], vec![item("a", "other")], vec![item("a", "1"), item("b", "0")]] {
            assert_eq!(done_before(&checks, &writes, now.clone()), Committed::Conflict(now));
        }
    }

    #[test]
    fn what_etcd_takes_for_too_large_is_told_as_that() {
        let reason = "etcdserver: request is too large".to_owned();
        let error = EtcdError::Failed { endpoints: "e".into(), call: "txn", reason };
        assert!(matches!(failed(error), StoreError::TooLarge(_)));
    }
}
