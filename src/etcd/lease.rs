//! A key that is there while its process lives. The problem: a lease runs out while etcd or the network is away, and the
//! key with it; whoever then only renews the lease writes into the void. So a lost lease is replaced and the key
//! written again.

use super::session::{EtcdError, Session};
use etcd_client::Client;

/// One key under a lease. It has no timer of its own: its owner calls [`LeasedKey::put`] and [`LeasedKey::keep_alive`].
#[derive(Debug)]
pub struct LeasedKey {
    session: Session,
    key: String,
    /// Life of the key without a sign of its owner; seconds.
    ttl_secs: i64,
    lease: Option<i64>,
}

impl LeasedKey {
    pub fn new(session: Session, key: impl Into<String>, ttl_secs: u32) -> Self {
        Self { session, key: key.into(), ttl_secs: i64::from(ttl_secs.max(5)), lease: None }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// The connection that it is written by.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Writes the key, under a new lease if the last one is lost.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn put(&mut self, value: &[u8]) -> Result<(), EtcdError> {
        let known = self.lease.is_some();
        match self.put_once(value).await {
            Err(_) if known => {
                self.lease = None;
                self.put_once(value).await
            }
            result => result,
        }
    }

    async fn put_once(&mut self, value: &[u8]) -> Result<(), EtcdError> {
        let lease = match self.lease {
            Some(lease) => lease,
            None => {
                let ttl = self.ttl_secs;
                let run = async |client: Client| client.lease_client().grant(ttl, None).await;
                let lease = self.session.call("lease grant", run).await?.id();
                *self.lease.insert(lease)
            }
        };
        let result = self.session.put(&self.key, value, Some(lease)).await;
        if result.is_err() {
            self.lease = None;
        }
        result
    }

    /// Renews the lease. `false`: there is none (any more), the key has to be put again.
    ///
    /// # Errors
    /// See [`EtcdError`]; the lease may still be alive.
    pub async fn keep_alive(&mut self) -> Result<bool, EtcdError> {
        let Some(lease) = self.lease else { return Ok(false) };
        // The library asks once and answers when the server has answered.
        let run = async |client: Client| match client.lease_client().keep_alive(lease).await {
            Ok(_) => Ok(true),
            Err(etcd_client::Error::LeaseKeepAliveError(_)) => Ok(false),
            Err(e) => Err(e),
        };
        let alive = self.session.call("lease keep-alive", run).await?;
        if !alive {
            self.lease = None;
        }
        Ok(alive)
    }

    /// Gives the lease back: the key goes at once. For an orderly stop.
    ///
    /// # Errors
    /// See [`EtcdError`]; the key goes when the lease has run out.
    pub async fn revoke(&mut self) -> Result<(), EtcdError> {
        let Some(lease) = self.lease.take() else { return Ok(()) };
        let run = async |client: Client| client.lease_client().revoke(lease).await;
        self.session.call("lease revoke", run).await.map(drop)
    }
}
