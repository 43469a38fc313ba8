//! Several keys at once: transactions, and lists that are read piece by piece.

use super::session::{EtcdError, Kv, MAX_ANSWER_BYTES, Session, Swap};
use etcd_client::{
    Client, Compare, CompareOp, GetOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, TxnResponse,
};

/// A key that has to be at this revision (0: not there).
#[derive(Clone, Copy, Debug)]
pub struct TxnCheck<'a> {
    pub key: &'a str,
    pub revision: i64,
}

/// A key and its new value; `None` deletes it.
#[derive(Clone, Copy, Debug)]
pub struct TxnWrite<'a> {
    pub key: &'a str,
    pub value: Option<&'a [u8]>,
}

/// Which keys are listed: those that begin with `prefix`, between `after` and `before`, both excluded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listing<'a> {
    pub prefix: &'a str,
    pub after: Option<&'a str>,
    pub before: Option<&'a str>,
    pub limit: usize,
    /// From the end.
    pub last: bool,
    /// Without their values.
    pub keys_only: bool,
}

impl Session {
    /// Makes all writes if all checks hold, and answers with the revision of it; else what the checked keys are now.
    ///
    /// # Errors
    /// See [`EtcdError`]; after a deadline or a failure it may have been done or not.
    pub async fn transaction(
        &self,
        checks: &[TxnCheck<'_>],
        writes: &[TxnWrite<'_>],
    ) -> Result<Result<i64, Vec<Kv>>, EtcdError> {
        let compares = checks.iter().map(|c| Compare::mod_revision(c.key, CompareOp::Equal, c.revision));
        let puts = writes.iter().map(|write| match write.value {
            Some(value) => TxnOp::put(write.key, value, None),
            None => TxnOp::delete(write.key, None),
        });
        let gets = checks.iter().map(|check| TxnOp::get(check.key, None));
        let txn = Txn::new().when(compares.collect::<Vec<_>>()).and_then(puts.collect::<Vec<_>>());
        let txn = txn.or_else(gets.collect::<Vec<_>>());
        let run = async |client: Client| client.kv_client().max_decoding_message_size(MAX_ANSWER_BYTES).txn(txn).await;
        let answer = self.call("txn", run).await?;
        Ok(if answer.succeeded() { Ok(revision(&answer)) } else { Err(found(&answer)) })
    }

    /// Lists keys in order, or from the end.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn listing(&self, listing: &Listing<'_>) -> Result<Vec<Kv>, EtcdError> {
        let first = match listing.after {
            Some(after) if after >= listing.prefix => format!("{after}\0"),
            // etcd knows no empty key.
            _ if listing.prefix.is_empty() => "\0".into(),
            _ => listing.prefix.to_owned(),
        };
        let mut end = behind(listing.prefix);
        if let Some(before) = listing.before.filter(|before| end == b"\0" || before.as_bytes() < end.as_slice()) {
            end = before.into();
        }
        // etcd takes such a range for an error, or for one key.
        if listing.limit == 0 || (end != b"\0" && end.as_slice() <= first.as_bytes()) {
            return Ok(Vec::new());
        }
        let order = if listing.last { SortOrder::Descend } else { SortOrder::Ascend };
        // 0 is no limit.
        let limit = i64::try_from(listing.limit).unwrap_or(0);
        let mut options = GetOptions::new().with_range(end).with_limit(limit).with_sort(SortTarget::Key, order);
        if listing.keys_only {
            options = options.with_keys_only();
        }
        let read = |client: Client| {
            let (first, options) = (first.clone(), Some(options.clone()));
            async move { client.kv_client().max_decoding_message_size(MAX_ANSWER_BYTES).get(first, options).await }
        };
        Ok(self.retry("list", read).await?.kvs().iter().map(Kv::from).collect())
    }
}

/// The first key behind all that begin with `prefix`; `\0` means the end of all keys.
fn behind(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        // Text has no byte 255.
        Some(last) => *last += 1,
        None => end.push(0),
    }
    end
}

/// A write (or a deletion, for `None`) that needs the key to be at `revision` still.
pub(super) fn swap(key: &str, value: Option<&[u8]>, revision: i64) -> Txn {
    let then = match value {
        Some(value) => TxnOp::put(key, value, None),
        None => TxnOp::delete(key, None),
    };
    let unchanged = Compare::mod_revision(key, CompareOp::Equal, revision);
    Txn::new().when([unchanged]).and_then([then]).or_else([TxnOp::get(key, None)])
}

pub(super) fn swapped(answer: &TxnResponse) -> Swap {
    if answer.succeeded() { Swap::Done(revision(answer)) } else { Swap::Conflict(found(answer).into_iter().next()) }
}

fn revision(answer: &TxnResponse) -> i64 {
    answer.header().map_or(0, |header| header.revision())
}

fn found(answer: &TxnResponse) -> Vec<Kv> {
    let answers = answer.op_responses();
    let gets = answers.iter().filter_map(|op| if let TxnOpResponse::Get(get) = op { Some(get) } else { None });
    gets.flat_map(|get| get.kvs().iter().map(Kv::from)).collect()
}
