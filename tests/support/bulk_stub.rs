//! A server that takes bulk requests as Elasticsearch does, and fails as it is told: for tests, and for measuring the
//! transfer without an Elasticsearch beside it. It reads every item, counts every `_id`, and knows nothing of HTTP that
//! is not needed for that.

use serde::de::IgnoredAny;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
};

/// One document as it arrived.
#[derive(Clone, Debug)]
pub struct Doc<'a> {
    pub index: &'a str,
    pub source: &'a str,
}

/// A refusal of one document: status, type, reason.
pub type Refusal = (u16, &'static str, String);

/// Says what becomes of a document: `None` takes it.
pub type Judge = dyn FnMut(&Doc<'_>) -> Option<Refusal> + Send;

/// What the server does with a request.
pub enum Mood {
    /// Every document on its own.
    Judge(Box<Judge>),
    /// This status and body, whatever the request.
    Answer(u16, &'static str),
    /// Half of a right answer, then the end of the connection.
    Truncate,
    /// No answer; the connection stays open.
    Hang,
    /// The connection is closed without an answer.
    Close,
    /// A request over this many bytes is refused with 413.
    AtMost(usize),
}

impl Mood {
    pub fn good() -> Self {
        Self::Judge(Box::new(|_| None))
    }
}

/// What has arrived so far.
#[derive(Default)]
pub struct Seen {
    /// Per (index, id): how often it came, and its text where these are kept.
    pub docs: HashMap<(String, String), Arrived>,
    pub requests: u64,
    pub items: u64,
    pub created: u64,
    pub bytes: u64,
    /// Bodies of index templates by path.
    pub templates: Vec<(String, String)>,
    pub authorizations: Vec<String>,
    /// Items that are no JSON, or bodies that are no bulk body.
    pub malformed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Arrived {
    pub times: u32,
    pub created: bool,
    pub source: Option<String>,
}

struct Shared {
    seen: Mutex<Seen>,
    mood: Mutex<Mood>,
    /// Mood for index templates: a status, 200 by default.
    template_status: Mutex<u16>,
    keep_sources: bool,
    changed: watch::Sender<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running server on a free loopback port; it ends when this is dropped.
pub struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

impl Stub {
    /// Runs in a thread of its own, so that a test's paused clock doesn't concern it.
    pub fn start(keep_sources: bool, port: u16) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            mood: Mutex::new(Mood::good()),
            template_status: Mutex::new(200),
            keep_sources,
            changed: watch::Sender::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = shared.clone();
        std::thread::spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, served) => {}
                }
            })
        });
        Ok(Self { address, shared, _stop: stop })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set_mood(&self, mood: Mood) {
        *lock(&self.shared.mood) = mood;
    }

    pub fn set_template_status(&self, status: u16) {
        *lock(&self.shared.template_status) = status;
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.shared.seen)
    }

    /// Waits until what has arrived is as wanted.
    pub async fn wait_until(&self, wanted: impl Fn(&Seen) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        while !wanted(&self.seen()) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            // A connection that breaks is the client's matter.
            let _broken = serve(stream, shared).await;
        });
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    stream.set_nodelay(true)?;
    loop {
        let Some(head) = read_head(&mut stream, &mut buffer).await? else { return Ok(()) };
        while buffer.len() < head.end + head.length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let answer = respond(&shared, &head, &buffer[head.end..head.end + head.length]);
        shared.changed.send_modify(|n| *n += 1);
        match answer {
            Reply::Whole(status, body) => write(&mut stream, status, &body, body.len()).await?,
            Reply::Half(body) => {
                write(&mut stream, 200, &body[..body.len() / 2], body.len()).await?;
                return Ok(());
            }
            Reply::Hang => return std::future::pending().await,
            Reply::Close => return Ok(()),
        }
        buffer.drain(..head.end + head.length);
    }
}

async fn write(stream: &mut TcpStream, status: u16, body: &str, length: usize) -> std::io::Result<()> {
    let kind = "content-type: application/json";
    let head = format!("HTTP/1.1 {status} x\r\n{kind}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.flush().await
}

struct Head {
    path: String,
    authorization: Option<String>,
    length: usize,
    /// Where the body begins.
    end: usize,
}

async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Head>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let header = |name: &str| {
        let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        Some(line[name.len() + 1..].trim().to_owned())
    };
    let length = header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    buffer.reserve(length);
    Ok(Some(Head { path, authorization: header("authorization"), length, end }))
}

enum Reply {
    Whole(u16, String),
    Half(String),
    Hang,
    Close,
}

fn respond(shared: &Shared, head: &Head, body: &[u8]) -> Reply {
    let mut seen = lock(&shared.seen);
    if let Some(authorization) = &head.authorization
        && seen.authorizations.last() != Some(authorization)
    {
        seen.authorizations.push(authorization.clone());
    }
    if let Some(path) = head.path.strip_prefix("/_index_template/") {
        seen.templates.push((path.to_owned(), String::from_utf8_lossy(body).into_owned()));
        return match *lock(&shared.template_status) {
            200 => Reply::Whole(200, "{\"acknowledged\":true}".into()),
            status => Reply::Whole(status, refusal(status, "security_exception", "no right to install templates")),
        };
    }
    seen.requests += 1;
    seen.bytes += body.len() as u64;
    let mut good: fn(&Doc<'_>) -> Option<Refusal> = |_| None;
    match &mut *lock(&shared.mood) {
        Mood::Judge(judge) => Reply::Whole(200, bulk(&mut seen, body, judge.as_mut(), shared.keep_sources)),
        Mood::Truncate => Reply::Half(bulk(&mut seen, body, &mut good, shared.keep_sources)),
        Mood::Answer(status, text) => Reply::Whole(*status, (*text).into()),
        Mood::Hang => Reply::Hang,
        Mood::Close => Reply::Close,
        Mood::AtMost(limit) if body.len() > *limit => Reply::Whole(413, String::new()),
        Mood::AtMost(_) => Reply::Whole(200, bulk(&mut seen, body, &mut good, shared.keep_sources)),
    }
}

fn refusal(status: u16, kind: &str, reason: &str) -> String {
    serde_json::json!({"error": {"type": kind, "reason": reason}, "status": status}).to_string()
}

#[derive(serde::Deserialize)]
struct Action<'a> {
    #[serde(borrow)]
    create: Target<'a>,
}

#[derive(serde::Deserialize)]
struct Target<'a> {
    #[serde(borrow, rename = "_index")]
    index: &'a str,
    #[serde(rename = "_id")]
    id: &'a str,
}

fn bulk(
    seen: &mut Seen,
    body: &[u8],
    judge: &mut dyn FnMut(&Doc<'_>) -> Option<Refusal>,
    keep_sources: bool,
) -> String {
    let (mut items, mut errors) = (String::with_capacity(body.len() / 16), false);
    let Ok(text) = std::str::from_utf8(body) else {
        seen.malformed += 1;
        return String::new();
    };
    let mut lines = text.lines();
    while let (Some(action), Some(source)) = (lines.next(), lines.next()) {
        seen.items += 1;
        let Ok(Action { create: Target { index, id } }) = serde_json::from_str(action) else {
            seen.malformed += 1;
            return String::new();
        };
        let well_formed = serde_json::from_str::<IgnoredAny>(source).is_ok();
        seen.malformed += u64::from(!well_formed);
        let verdict = judge(&Doc { index, source });
        let arrived = seen.docs.entry((index.to_owned(), id.to_owned())).or_default();
        arrived.times += 1;
        if keep_sources {
            arrived.source = Some(source.to_owned());
        }
        let verdict = match verdict {
            None if arrived.created => Some((409, "version_conflict_engine_exception", "there already".to_owned())),
            other => other,
        };
        if !items.is_empty() {
            items.push(',');
        }
        match verdict {
            None => {
                arrived.created = true;
                seen.created += 1;
                items.push_str(r#"{"create":{"status":201}}"#);
            }
            Some((status, kind, reason)) => {
                errors = true;
                let error = serde_json::json!({"type": kind, "reason": reason});
                items.push_str(&format!(r#"{{"create":{{"status":{status},"error":{error}}}}}"#));
            }
        }
    }
    format!(r#"{{"errors":{errors},"items":[{items}]}}"#)
}
