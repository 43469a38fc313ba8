//! Calls to etcd with deadlines. The problem: the client library waits as long as a server is away, and keeps a token
//! that the server has forgotten. So every call has a deadline, and a connection that failed is made anew.

use super::txn::{swap, swapped};
use crate::settings::Etcd;
use etcd_client::{
    BalancedChannelBuilder, Channel, Client, ConnectOptions, Error, GetOptions, KeyValue, OpenSslClientConfig,
    PutOptions,
};
use std::{fmt, fs, io, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};
use tonic::transport::{Endpoint, Uri, channel::Change};

/// Largest answer that is taken: a prefix may hold many values of 1.5 MB.
pub(super) const MAX_ANSWER_BYTES: usize = 256 << 20;
/// A connection without any sign of life for this long, and then for [`KEEP_ALIVE_TIMEOUT`], is given up. Not below
/// five seconds: etcd closes the connection of whoever asks more often.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What can go wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdError {
    /// No answer within the deadline.
    #[error("etcd {endpoints}: {call}: no answer within {ms} ms")]
    Deadline { endpoints: String, call: &'static str, ms: u64 },
    /// Wrong user, password or certificate, or no permission: an operator must act.
    #[error("etcd {endpoints}: {call}: {reason}")]
    Denied { endpoints: String, call: &'static str, reason: String },
    /// Anything else: no connection, no leader, no space.
    #[error("etcd {endpoints}: {call}: {reason}")]
    Failed { endpoints: String, call: &'static str, reason: String },
    /// A file of the settings is missing or no PEM.
    #[error("{0}")]
    Settings(String),
}

impl EtcdError {
    /// Tells that keys can't be watched at the moment, and that what is `known` of them stays valid: ERROR where waiting
    /// alone won't help.
    pub fn tell_lost(&self, known: &str) {
        match self {
            Self::Denied { .. } | Self::Settings(_) => {
                slog_scope::error!("etcd can't be watched, {} stay valid", known; "reason" => %self,
                    "advice" => "correct [etcd] in the settings, or the user's rights");
            }
            Self::Deadline { .. } | Self::Failed { .. } => {
                slog_scope::warn!("etcd can't be watched, {} stay valid", known; "reason" => %self);
            }
        }
    }
}

/// One key with its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Kv {
    pub key: String,
    pub value: Vec<u8>,
    /// Revision of its last change.
    pub revision: i64,
}

impl fmt::Debug for Kv {
    /// Without the value: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kv({} at revision {}, {} bytes)", self.key, self.revision, self.value.len())
    }
}

impl From<&KeyValue> for Kv {
    fn from(kv: &KeyValue) -> Self {
        Self {
            key: String::from_utf8_lossy(kv.key()).into_owned(),
            value: kv.value().to_vec(),
            revision: kv.mod_revision(),
        }
    }
}

/// How a compare-and-swap went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// Written; the key's new revision (of a deletion: the store's).
    Done(i64),
    /// Somebody else was faster: what is there now.
    Conflict(Option<Kv>),
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    pub version: String,
    /// What stops it from writing: no space, corruption, no leader.
    pub alarms: Vec<String>,
}

/// A connection to etcd, made at the first call and made anew after a failure. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Etcd,
    client: Mutex<Option<Client>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.settings.endpoints).finish()
    }
}

impl Session {
    /// Doesn't connect yet.
    pub fn new(settings: Etcd) -> Self {
        Self { inner: Arc::new(Inner { settings, client: Mutex::new(None) }) }
    }

    pub fn settings(&self) -> &Etcd {
        &self.inner.settings
    }

    pub(super) fn deadline(&self) -> Duration {
        Duration::from_millis(self.inner.settings.request_timeout_ms)
    }

    /// # Errors
    /// See [`EtcdError`].
    pub async fn get(&self, key: &str) -> Result<Option<Kv>, EtcdError> {
        let read = |client: Client| async move { client.kv_client().get(key, None).await };
        Ok(self.retry("get", read).await?.kvs().first().map(Kv::from))
    }

    /// How the server that answers is. With one endpoint it says whether that one is there; it is asked once.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn status(&self) -> Result<ServerStatus, EtcdError> {
        let ask = async |client: Client| client.maintenance_client().status().await;
        let answer = self.call("status", ask).await?;
        let mut alarms = answer.errors().to_vec();
        if answer.leader() == 0 && alarms.is_empty() {
            alarms.push("it has no leader".into());
        }
        Ok(ServerStatus { version: answer.version().into(), alarms })
    }

    /// The keys that begin with `prefix`, and the store's revision at which they were so.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn list(&self, prefix: &str) -> Result<(Vec<Kv>, i64), EtcdError> {
        self.range(prefix, true).await
    }

    pub(super) async fn range(&self, key: &str, prefix: bool) -> Result<(Vec<Kv>, i64), EtcdError> {
        let options = prefix.then(|| GetOptions::new().with_prefix());
        let read = |client: Client| {
            let options = options.clone();
            async move { client.kv_client().max_decoding_message_size(MAX_ANSWER_BYTES).get(key, options).await }
        };
        let answer = self.retry("list", read).await?;
        Ok((answer.kvs().iter().map(Kv::from).collect(), answer.header().map_or(0, |h| h.revision())))
    }

    /// Puts the value if the key isn't there. The answer is what was there instead (after a broken connection it may be
    /// what this call has put).
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn put_if_absent(&self, key: &str, value: &[u8]) -> Result<Option<Kv>, EtcdError> {
        let run = |client: Client| async move { client.kv_client().txn(swap(key, Some(value), 0)).await };
        match swapped(&self.retry("txn", run).await?) {
            Swap::Done(_) => Ok(None),
            Swap::Conflict(there) => Ok(there),
        }
    }

    /// Writes the value (or deletes the key, for `None`) if its revision is still `revision` (0: it isn't there).
    ///
    /// # Errors
    /// See [`EtcdError`]; after a deadline it may have been done or not.
    pub async fn swap(&self, key: &str, value: Option<&[u8]>, revision: i64) -> Result<Swap, EtcdError> {
        let txn = swap(key, value, revision);
        let answer = self.call("txn", async |client: Client| client.kv_client().txn(txn).await).await?;
        Ok(swapped(&answer))
    }

    /// Puts the value, under a lease if there is one.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn put(&self, key: &str, value: &[u8], lease: Option<i64>) -> Result<(), EtcdError> {
        let options = lease.map(|id| PutOptions::new().with_lease(id));
        let run = |client: Client| {
            let options = options.clone();
            async move { client.kv_client().put(key, value, options).await }
        };
        self.retry("put", run).await.map(drop)
    }

    /// A call that may be made twice is made again: a connection that broke meanwhile, or an endpoint that has gone, costs
    /// one try.
    pub(super) async fn retry<T, F: Future<Output = Result<T, Error>>>(
        &self,
        call: &'static str,
        run: impl Fn(Client) -> F,
    ) -> Result<T, EtcdError> {
        let tries = self.inner.settings.endpoints.len() + 1;
        let mut result = self.call(call, async |client| run(client).await).await;
        for _ in 1..tries {
            if !matches!(result, Err(EtcdError::Failed { .. })) {
                break;
            }
            result = self.call(call, async |client| run(client).await).await;
        }
        result
    }

    /// Runs one call with a connection and a deadline.
    pub(super) async fn call<T>(
        &self,
        call: &'static str,
        run: impl AsyncFnOnce(Client) -> Result<T, Error>,
    ) -> Result<T, EtcdError> {
        let client = self.client().await?;
        match timeout(self.deadline(), run(client)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(e)) => {
                let error = self.explain(call, &e);
                // The connection comes back by itself and knows which endpoint is away; a token doesn't.
                if matches!(error, EtcdError::Denied { .. }) {
                    self.reset().await;
                }
                Err(error)
            }
            Err(_) => {
                self.reset().await;
                Err(self.late(call, self.deadline()))
            }
        }
    }

    /// The next call connects anew.
    pub(super) async fn reset(&self) {
        *self.inner.client.lock().await = None;
    }

    async fn client(&self) -> Result<Client, EtcdError> {
        let mut client = self.inner.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let settings = &self.inner.settings;
        let options = options(settings)?;
        // Connecting authenticates, which is a call of its own.
        let deadline = Duration::from_millis(settings.connect_timeout_ms + settings.request_timeout_ms);
        let new = match timeout(deadline, connect(&settings.endpoints, options)).await {
            Ok(Ok(new)) => new,
            Ok(Err(e)) => return Err(self.explain("connect", &e)),
            Err(_) => return Err(self.late("connect", deadline)),
        };
        Ok(client.insert(new).clone())
    }

    pub(super) fn late(&self, call: &'static str, after: Duration) -> EtcdError {
        EtcdError::Deadline { endpoints: self.endpoints(), call, ms: after.as_millis() as u64 }
    }

    pub(super) fn failed(&self, call: &'static str, reason: impl Into<String>) -> EtcdError {
        EtcdError::Failed { endpoints: self.endpoints(), call, reason: reason.into() }
    }

    pub(super) fn explain(&self, call: &'static str, error: &Error) -> EtcdError {
        let Error::GRpcStatus(status) = error else { return self.failed(call, causes(error)) };
        // gRPC's numbers: 3 invalid argument, 7 permission denied, 16 unauthenticated.
        let denied = matches!(status.code() as i32, 7 | 16) || status.message().contains("authentication");
        let reason = [status.message().to_owned(), causes(status)].into_iter().find(|r| !r.is_empty());
        let reason = reason.unwrap_or_else(|| status.code().to_string());
        if denied { EtcdError::Denied { endpoints: self.endpoints(), call, reason } } else { self.failed(call, reason) }
    }

    fn endpoints(&self) -> String {
        self.inner.settings.endpoints.join(",")
    }
}

/// An error and what it came from.
fn causes(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |e| e.source());
    let mut told: Vec<String> = all.map(ToString::to_string).collect();
    told.dedup();
    told.join(": ")
}

async fn connect(endpoints: &[String], options: ConnectOptions) -> Result<Client, Error> {
    if endpoints.iter().any(|e| e.starts_with("https:")) {
        Client::connect(endpoints, Some(options)).await
    } else {
        Client::connect_with_balanced_channel(endpoints, Some(options), Plain).await
    }
}

/// Connections without TLS. The library's own go through OpenSSL's connector, which leaves Nagle's algorithm on: 44 ms
/// for a call that takes 2 ms.
struct Plain;

impl BalancedChannelBuilder for Plain {
    type Error = Error;

    fn balanced_channel(self, size: usize) -> Result<(Channel, mpsc::Sender<Change<Uri, Endpoint>>), Error> {
        let (channel, endpoints) = tonic::transport::Channel::balance_channel(size);
        Ok((Channel::Tonic(channel), endpoints))
    }
}

fn options(settings: &Etcd) -> Result<ConnectOptions, EtcdError> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
        .with_keep_alive(KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT)
        .with_keep_alive_while_idle(false)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if !settings.username.is_empty() {
        let password = settings.password.as_ref().map_or("", |p| p.reveal());
        options = options.with_user(&settings.username, password);
    }
    if settings.ca_file.is_some() || settings.cert_file.is_some() {
        let read = |file: &Path| {
            fs::read(file).map_err(|e: io::Error| EtcdError::Settings(format!("{}: {e}", file.display())))
        };
        let mut tls = OpenSslClientConfig::default();
        if let Some(file) = &settings.ca_file {
            tls = tls.ca_cert_pem(&read(file)?);
        }
        if let (Some(cert), Some(key)) = (&settings.cert_file, &settings.key_file) {
            tls = tls.client_cert_pem_and_key(&read(cert)?, &read(key)?);
        }
        options = options.with_openssl_tls(tls);
    }
    Ok(options)
}
