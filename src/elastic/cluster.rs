//! The way to the servers. The problem: one of several nodes may be down or hang, and a silent firewall answers never.
//! Every request has a deadline; a node that fails is left out for a while, unless all are.

use super::{
    answer::{Answer, FILTER, whole},
    credentials::ElasticConfig,
    reader::{MOST, Reader},
    template,
    template::TemplateSettings,
    verdict::Reason,
};
use crate::flow::Backoff;
use bytes::Bytes;
use elasticsearch::{
    auth::Credentials,
    cert::{Certificate, CertificateValidation},
    http::{
        Method, Url,
        headers::{CONTENT_TYPE, HeaderMap, HeaderValue},
        transport::{SingleNodeConnectionPool, Transport, TransportBuilder},
    },
};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// The client could not be made from this configuration.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("Elasticsearch client: {0}")]
pub struct ClusterError(String);

/// The nodes of one cluster, and the credentials for them.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    next: AtomicUsize,
    deadline: Duration,
    backoff: Backoff,
}

#[derive(Debug)]
struct Node {
    url: String,
    /// For what changes something.
    transport: Transport,
    /// For questions.
    reader: Reader,
    state: Mutex<NodeState>,
}

#[derive(Clone, Copy, Debug, Default)]
struct NodeState {
    failures: u32,
    left_out_until: Option<Instant>,
}

fn failed(error: impl std::fmt::Display) -> ClusterError {
    ClusterError(error.to_string())
}

fn transport(config: &ElasticConfig, url: Url) -> Result<Transport, ClusterError> {
    // No proxy: log servers are reached directly, and a proxy of the environment would see the credentials.
    let mut builder =
        TransportBuilder::new(SingleNodeConnectionPool::new(url)).disable_proxy().enable_meta_header(false);
    if let Some(key) = &config.api_key {
        builder = builder.auth(match key.split_once(':') {
            Some((id, key)) => Credentials::ApiKey(id.into(), key.into()),
            None => Credentials::EncodedApiKey(key.clone()),
        });
    } else if let (Some(user), Some(password)) = (&config.username, &config.password) {
        builder = builder.auth(Credentials::Basic(user.clone(), password.clone()));
    }
    if let Some(pem) = &config.ca_cert {
        let certificate = Certificate::from_pem(pem.as_bytes()).map_err(failed)?;
        builder = builder.cert_validation(CertificateValidation::Full(certificate));
    }
    builder.build().map_err(failed)
}

fn silent(timed_out: bool, text: &str) -> Answer {
    Answer::Silent { timed_out, reason: Reason::new(0, "no_answer", text) }
}

fn no_node() -> Answer {
    silent(false, "no URL is configured")
}

impl Cluster {
    /// `deadline`: of every request; `backoff`: how long a failed node is left out.
    ///
    /// # Errors
    /// A URL or certificate can't be used.
    pub fn new(config: &ElasticConfig, deadline: Duration, backoff: Backoff) -> Result<Self, ClusterError> {
        config.check().map_err(ClusterError)?;
        let node = |url: &String| {
            let parsed = Url::parse(url).map_err(failed)?;
            let reader = Reader::new(config, parsed.clone()).map_err(failed)?;
            Ok(Node { url: url.clone(), transport: transport(config, parsed)?, reader, state: Mutex::default() })
        };
        let nodes = config.urls.iter().map(node).collect::<Result<Vec<_>, ClusterError>>()?;
        Ok(Self { nodes, next: AtomicUsize::new(0), deadline, backoff })
    }

    /// The next node in turn that isn't left out; where all are, the one whose time ends first.
    fn node(&self) -> Option<&Node> {
        let (first, now) = (self.next.fetch_add(1, Relaxed), Instant::now());
        let turn = (0..self.nodes.len()).map(|i| &self.nodes[(first + i) % self.nodes.len()]);
        turn.min_by_key(|node| node.state().left_out_until.filter(|until| *until > now))
    }

    /// Changes something, or tries to.
    async fn send(&self, method: Method, path: &str, kind: &'static str, body: Bytes) -> Result<(u16, Bytes), Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let node = self.node().ok_or_else(no_node)?;
        let request = async {
            let sent = node.transport.send(method, path, headers, None::<&()>, Some(body), None).await?;
            crate::crash::point(if method == Method::Post { "bulk_sent" } else { "template_sent" });
            let status = sent.status_code().as_u16();
            if sent.content_length().is_some_and(|length| length > MOST as u64) {
                return Ok((status, Bytes::new()));
            }
            Ok::<_, elasticsearch::Error>((status, sent.bytes().await?))
        };
        self.answer(node, request).await
    }

    /// Lets a node answer within the deadline, and remembers how it did.
    async fn answer<T, E: std::error::Error>(
        &self,
        node: &Node,
        request: impl Future<Output = Result<(u16, T), E>>,
    ) -> Result<(u16, T), Answer> {
        match tokio::time::timeout(self.deadline, request).await {
            Ok(Ok((status, body))) => {
                node.answered(!matches!(status, 502..=504), &self.backoff);
                Ok((status, body))
            }
            Ok(Err(error)) => {
                node.answered(false, &self.backoff);
                Err(silent(false, &node.told(&error)))
            }
            Err(_) => {
                node.answered(false, &self.backoff);
                Err(silent(true, &format!("{}: no answer within {:?}", node.url, self.deadline)))
            }
        }
    }

    /// Sends one bulk request with `count` documents.
    pub async fn bulk(&self, body: Bytes, count: usize) -> Answer {
        // Elasticsearch gives up on an unavailable shard before we give up on Elasticsearch, so that the verdict comes
        // for that index alone.
        let path = format!("_bulk?{FILTER}&timeout={}ms", (self.deadline / 2).as_millis());
        match self.send(Method::Post, &path, "application/x-ndjson", body).await {
            Ok((status, body)) => Answer::read(status, &body, count),
            Err(answer) => answer,
        }
    }

    /// Asks something that changes nothing; the HTTP status and the answer's text, `None` where that is longer than an
    /// answer may be.
    ///
    /// # Errors
    /// No answer.
    pub async fn query(&self, path: &str, body: Option<&serde_json::Value>) -> Result<(u16, Option<Bytes>), Reason> {
        let asked = async {
            let node = self.node().ok_or_else(no_node)?;
            self.answer(node, node.reader.ask(path, body.map(ToString::to_string))).await
        };
        asked.await.map_err(|answer| match answer {
            Answer::Silent { reason, .. } | Answer::Refused(reason) => reason,
            Answer::Items(_) | Answer::TooLarge => Reason::new(0, "no_answer", ""),
        })
    }

    /// Installs the index template for a pattern.
    ///
    /// # Errors
    /// Why it isn't installed; to be tried again.
    pub async fn install_template(&self, pattern: &str, settings: &TemplateSettings) -> Result<(), Reason> {
        let path = format!("_index_template/{}", template::template_name(pattern));
        for attempt in 0..template::PRIORITIES {
            let body = template::index_template(pattern, settings, attempt).to_string();
            let (reason, taken) = match self.send(Method::Put, &path, "application/json", body.into()).await {
                Ok((200, _)) => return Ok(()),
                Ok((status, body)) => {
                    (whole(status, &body), status == 400 && memchr::memmem::find(&body, b"same priority").is_some())
                }
                Err(Answer::Silent { reason, .. }) => return Err(reason),
                Err(_) => return Err(Reason::new(0, "no_answer", "")),
            };
            // Another template of ours, for an overlapping pattern, has this priority.
            if !taken {
                return Err(reason);
            }
        }
        Err(Reason::new(400, "no_free_priority", "all priorities are taken by overlapping index templates"))
    }
}

impl Node {
    fn state(&self) -> NodeState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, well: bool, backoff: &Backoff) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if well {
            *state = NodeState::default();
        } else {
            let failures = state.failures.saturating_add(1);
            *state = NodeState { failures, left_out_until: Some(Instant::now() + backoff.wait(failures)) };
        }
    }

    /// The error with its causes ("error sending request" alone helps nobody).
    fn told(&self, error: &impl std::error::Error) -> String {
        let mut text = format!("{}: {error}", self.url);
        let mut cause = error.source();
        while let Some(next) = cause {
            let next_text = next.to_string();
            if !text.contains(&next_text) {
                text = format!("{text}: {next_text}");
            }
            cause = next.source();
        }
        text
    }
}
