//! Asks a running `logweir standalone` over HTTP.

use super::{Asked, New, Told, lines};
use crate::{
    cli::{Exit, Failure},
    search::model::{Hit, Page},
};
use serde_json::Value;
use std::{collections::VecDeque, time::Duration};

/// A question of the standalone has a deadline of its own, which is shorter.
const DEADLINE: Duration = Duration::from_secs(60);

/// The standalone sends a sign of life every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// More bytes without the end of an event are no live tail.
const MAX_EVENT: usize = 64 << 20;

pub struct Source {
    client: reqwest::Client,
    url: String,
    live: Option<Live>,
}

/// The stream of new lines.
struct Live {
    response: reqwest::Response,
    events: Events,
}

/// Server-sent events, put together from what arrives.
#[derive(Default)]
struct Events {
    buffer: Vec<u8>,
    ready: VecDeque<Event>,
}

#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    data: String,
}

fn unavailable(reason: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Unavailable, reason)
}

impl Source {
    pub fn new(url: &str) -> Result<Self, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("--url {url}: {error}"));
        url::Url::parse(url).map_err(|error| wrong(&error))?;
        // No proxy: the standalone is on this machine.
        let client = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(5)).build();
        let client = client.map_err(|error| wrong(&error))?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned(), live: None })
    }

    async fn ask(&self, call: &str, parameters: &[(&str, String)]) -> Result<reqwest::Response, Failure> {
        let mut url = url::Url::parse(&format!("{}/api/v1/{call}", self.url))
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        url.query_pairs_mut().extend_pairs(parameters);
        let asked = tokio::time::timeout(DEADLINE, self.client.get(url).send()).await;
        let asked = asked.map_err(|_| unavailable(format!("{}: no answer within {DEADLINE:?}", self.url)))?;
        let response = asked.map_err(|error| {
            let reason = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
            unavailable(format!("{}: {reason}; is `logweir standalone` running there?", self.url))
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body: Value = serde_json::from_str(&response.text().await.unwrap_or_default()).unwrap_or_default();
        let reason = body["error"].as_str().map_or_else(|| format!("{}: answers {status}", self.url), str::to_owned);
        Err(Failure::new(if status.as_u16() == 400 { Exit::Usage } else { Exit::Unavailable }, reason))
    }
}

impl Source {
    async fn page(&self, parameters: &[(&str, String)]) -> Result<Page, Failure> {
        let response = self.ask("search", parameters).await?;
        let body = tokio::time::timeout(DEADLINE, response.bytes()).await;
        let body = body.map_err(|_| unavailable(format!("{}: the answer takes too long", self.url)))?;
        serde_json::from_slice(&body.map_err(unavailable)?)
            .map_err(|error| unavailable(format!("{}: is no logweir of this version: {error}", self.url)))
    }
}

impl super::Source for Source {
    fn newest<'a>(&'a self, asked: &'a Asked) -> Told<'a, Vec<Hit>> {
        Box::pin(async move {
            let mut parameters = vec![("q", asked.text.clone())];
            let times = [("from", asked.from_ms), ("to", asked.to_ms)];
            parameters.extend(times.into_iter().filter_map(|(name, ms)| Some((name, ms?.to_string()))));
            lines(asked.lines, |size, after| {
                let mut of_page = parameters.clone();
                of_page.push(("size", size.to_string()));
                of_page.extend(after.map(|after| ("after", after)));
                async move { self.page(&of_page).await }
            })
            .await
        })
    }

    fn begin<'a>(&'a mut self, asked: &'a Asked) -> Told<'a, Vec<Hit>> {
        Box::pin(async move {
            let response = self.ask("live", &[("q", asked.text.clone())]).await?;
            self.live = Some(Live { response, events: Events::default() });
            Ok(Vec::new())
        })
    }

    fn more<'a>(&'a mut self, _: &'a Asked) -> Told<'a, New> {
        Box::pin(async move {
            let Some(live) = &mut self.live else { return Err(unavailable("the live tail has not begun")) };
            let mut new = New::default();
            loop {
                while let Some(event) = live.events.ready.pop_front() {
                    match event.name.as_str() {
                        "line" => new.hits.push(serde_json::from_str(&event.data).map_err(unavailable)?),
                        "skipped" => {
                            let told: Value = serde_json::from_str(&event.data).map_err(unavailable)?;
                            new.skipped += told["lines"].as_u64().unwrap_or_default();
                        }
                        "error" => return Err(unavailable(event.data)),
                        _ => {}
                    }
                }
                if !new.hits.is_empty() || new.skipped > 0 {
                    return Ok(new);
                }
                let silent = |_| unavailable(format!("{}: no sign of life for {SILENCE:?}", self.url));
                match tokio::time::timeout(SILENCE, live.response.chunk()).await.map_err(silent)? {
                    Ok(Some(bytes)) => live.events.add(&bytes)?,
                    Ok(None) => return Err(unavailable(format!("{}: the live tail has ended", self.url))),
                    Err(error) => return Err(unavailable(format!("{}: {error}", self.url))),
                }
            }
        })
    }
}

impl Events {
    fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut looked = self.buffer.len().saturating_sub(1);
        self.buffer.extend_from_slice(bytes);
        while let Some(found) = memchr::memmem::find(&self.buffer[looked..], b"\n\n") {
            let block: Vec<u8> = self.buffer.drain(..looked + found + 2).collect();
            self.ready.extend(event(&String::from_utf8_lossy(&block)));
            looked = 0;
        }
        if self.buffer.len() > MAX_EVENT {
            return Err(unavailable("what answers is no live tail"));
        }
        Ok(())
    }
}

/// `None` for a comment, which is a sign of life.
fn event(block: &str) -> Option<Event> {
    let (mut name, mut data) = ("message".to_owned(), Vec::new());
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "data" => data.push(value),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| Event { name, data: data.join("\n") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_however_they_arrive() {
        let sent = "retry: 1000\n: begun\n\nevent: line\ndata: {\"é\":1}\n\n: heartbeat\n\nevent: skipped\ndata: a\ndata: b\n\n";
        for size in 1..sent.len() {
            let mut events = Events::default();
            for piece in sent.as_bytes().chunks(size) {
                events.add(piece).unwrap();
            }
            let event = |name: &str, data: &str| Event { name: name.into(), data: data.into() };
            assert_eq!(events.ready, [event("line", "{\"é\":1}"), event("skipped", "a\nb")], "{size}");
        }
    }
}
