//! The live tail: lines as they come, as server-sent events. The problem: lines may come faster than a person reads, a
//! browser draws or a network carries, and none of them may cost the others memory. So a viewer gets a limited number of
//! lines a second and is told how many it was not shown; and nothing is taken from the source before the connection has
//! taken what was sent before, so a viewer that stops reading holds one buffer and no more. And a program of one person that
//! opens one after the other must leave places for the others: each person has a share.

use super::{
    Parts,
    ask::{self, Showing},
    error::ApiError,
    gate::{By, Gate, Person},
};
use crate::search::{model::Hit, query::Query};
use actix_web::{HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveEvent {
    Line(Box<Hit>),
    /// So many documents went by that the subscriber was too slow to look at.
    Skipped(u64),
    /// New documents can't be had at the moment, for this reason; `None`: they can again, and none was missed.
    Trouble(Option<String>),
}

/// Tells of new documents while they come.
pub trait LiveSource: Send + Sync {
    /// New documents that match, from now on. It may be dropped at any time, and buffers a bounded number of documents:
    /// who doesn't read misses some and is told so.
    fn subscribe(&self, query: Query) -> BoxStream<'static, LiveEvent>;
}

/// Something is sent at least this often, so that both sides notice when the other has gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// So often is looked whether a viewer may still watch.
const CHECKED: Duration = Duration::from_secs(3);
/// Lines a viewer gets within one [`WINDOW`]; more than anybody reads, less than makes a browser sweat.
const LINES: u64 = 150;
const WINDOW: Duration = Duration::from_millis(250);
/// Viewers at the same time.
const MAX_VIEWERS: usize = 500;
/// Of one person, with all sessions and tokens together. Where there are no users everybody is the same one, and has all.
const OF_ONE: usize = 20;
/// When to look whether there is a place again; a page that is closed makes one at once.
const AGAIN: Duration = Duration::from_secs(15);
/// Characters of a value that are sent; the page gets the whole line when somebody asks for it.
const CUT: usize = 4096;

/// Those who watch, by name.
#[derive(Clone, Debug, Default)]
pub struct Viewers(Arc<Mutex<HashMap<String, usize>>>);

/// One of them; gone when dropped.
#[derive(Debug)]
struct Viewer {
    viewers: Viewers,
    name: String,
}

impl Viewers {
    fn by_name(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, person: &Person) -> Result<Viewer, ApiError> {
        let mut by_name = self.by_name();
        if by_name.values().sum::<usize>() >= MAX_VIEWERS {
            return Err(ApiError::unavailable(format!("{MAX_VIEWERS} live tails are open already")));
        }
        let own = by_name.entry(person.name.clone()).or_default();
        if *own >= OF_ONE && person.by != By::Local {
            let text = format!("you have {OF_ONE} live tails open already; close one of them first");
            return Err(ApiError::too_often(text, AGAIN.as_secs()));
        }
        *own += 1;
        Ok(Viewer { viewers: self.clone(), name: person.name.clone() })
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut by_name = self.viewers.by_name();
        if let Some(own) = by_name.get_mut(&self.name) {
            *own -= 1;
            if *own == 0 {
                by_name.remove(&self.name);
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    #[serde(default)]
    q: String,
}

pub async fn live(
    asked: web::Query<Asked>,
    person: Person,
    parts: web::Data<Parts>,
    viewers: web::Data<Viewers>,
    gate: web::Data<Gate>,
) -> Result<HttpResponse, ApiError> {
    let query = ask::query(&asked.q)?;
    let viewer = viewers.enter(&person)?;
    let showing = Showing::new(&query, Some(CUT));
    let sending = Sending::new(parts.live.subscribe(person.topics.restrict(query)), showing, viewer);
    let body = stream::unfold(sending, |mut sending| async move { Some((sending.next().await?, sending)) });
    let body = body.take_until(turned_out(gate, person));
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(body.map(Ok::<_, std::convert::Infallible>)))
}

/// Ends when the viewer may no longer watch: the session is over, the user disabled.
async fn turned_out(gate: web::Data<Gate>, person: Person) {
    loop {
        tokio::time::sleep(CHECKED).await;
        if !gate.still(&person).await {
            return;
        }
    }
}

/// One viewer's events on their way.
struct Sending {
    events: BoxStream<'static, LiveEvent>,
    showing: Showing,
    window_ends: Instant,
    sent: u64,
    skipped: u64,
    begun: bool,
    _viewer: Viewer,
}

impl Sending {
    fn new(events: BoxStream<'static, LiveEvent>, showing: Showing, viewer: Viewer) -> Self {
        let window_ends = Instant::now() + WINDOW;
        Self { events, showing, window_ends, sent: 0, skipped: 0, begun: false, _viewer: viewer }
    }

    /// The next piece of the answer; `None` when the source has ended.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            return Some(Bytes::from_static(b"retry: 1000\n: begun\n\n"));
        }
        let mut out = Vec::new();
        let heartbeat = Instant::now() + HEARTBEAT;
        loop {
            if self.window_ends <= Instant::now() {
                (self.window_ends, self.sent) = (Instant::now() + WINDOW, 0);
                self.tell_skipped(&mut out);
            }
            // What is there already goes into one piece.
            let until = match (out.is_empty(), self.skipped) {
                (false, _) => Instant::now(),
                (true, 0) => heartbeat,
                (true, _) => self.window_ends,
            };
            match timeout_at(until, self.events.next()).await {
                Ok(Some(event)) => self.take(event, &mut out),
                Ok(None) => return None,
                Err(_) if !out.is_empty() => return Some(out.into()),
                Err(_) if self.skipped > 0 => {}
                Err(_) => return Some(Bytes::from_static(b": heartbeat\n\n")),
            }
            if out.len() >= 64 << 10 {
                return Some(out.into());
            }
        }
    }

    fn take(&mut self, event: LiveEvent, out: &mut Vec<u8>) {
        match event {
            LiveEvent::Line(hit) if self.sent < LINES => {
                self.sent += 1;
                write(out, "line", &self.showing.hit(&hit));
            }
            LiveEvent::Line(_) => self.skipped += 1,
            LiveEvent::Skipped(count) => self.skipped += count,
            LiveEvent::Trouble(reason) => write(out, "trouble", &serde_json::json!({ "reason": reason })),
        }
    }

    fn tell_skipped(&mut self, out: &mut Vec<u8>) {
        if self.skipped > 0 {
            write(out, "skipped", &serde_json::json!({ "lines": self.skipped }));
            self.skipped = 0;
        }
    }
}

/// JSON has no line ends of its own, so an event is one `data` line.
fn write(out: &mut Vec<u8>, event: &str, data: &serde_json::Value) {
    out.extend_from_slice(format!("event: {event}\ndata: {data}\n\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError as _;

    fn line(offset: u64) -> LiveEvent {
        let fields = serde_json::from_str(r#"{"message":"one\ntwo <script>"}"#).unwrap();
        let hit = Hit { time_ms: 1, file: None, offset: Some(offset), fields, cursor: String::new() };
        LiveEvent::Line(Box::new(hit))
    }

    fn sending(events: impl futures_util::Stream<Item = LiveEvent> + Send + 'static) -> Sending {
        let viewer = Viewers::default().enter(&Person::local("::1".into())).unwrap();
        Sending::new(events.boxed(), Showing::new(&Query::All, None), viewer)
    }

    async fn text(sending: &mut Sending) -> Option<String> {
        sending.next().await.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[actix_rt::test]
    async fn a_flood_is_cut_and_counted() {
        tokio::time::pause();
        let flood = stream::iter((0..1000).map(line)).chain(stream::pending());
        let mut sending = sending(flood);
        assert!(text(&mut sending).await.unwrap().starts_with("retry: "));
        let mut all = String::new();
        while !all.contains("event: skipped") {
            all += &text(&mut sending).await.unwrap();
        }
        assert_eq!(all.matches("event: line").count() as u64, LINES);
        assert!(all.ends_with(&format!("data: {{\"lines\":{}}}\n\n", 1000 - LINES)), "{all}");
        assert!(all.contains(r#"one\ntwo <script>"#), "a line end never ends an event");
        assert_eq!(text(&mut sending).await.unwrap(), ": heartbeat\n\n");
    }

    #[actix_rt::test]
    async fn a_missed_document_is_told_and_an_ended_source_ends_the_answer() {
        tokio::time::pause();
        let mut sending = sending(stream::iter([LiveEvent::Skipped(7), line(1)]).chain(stream::pending()));
        text(&mut sending).await;
        let mut all = text(&mut sending).await.unwrap();
        all += &text(&mut sending).await.unwrap();
        assert!(all.contains("{\"lines\":7}"), "{all}");
        let mut ended = super::tests::sending(stream::empty());
        text(&mut ended).await;
        assert_eq!(text(&mut ended).await, None);
    }

    #[test]
    fn there_is_room_for_so_many_viewers_and_one_who_leaves_makes_room() {
        let (viewers, local) = (Viewers::default(), Person::local("::1".into()));
        let mut all: Vec<_> = (0..MAX_VIEWERS).map(|_| viewers.enter(&local).unwrap()).collect();
        assert_eq!(viewers.enter(&local).unwrap_err().status_code(), 503);
        all.pop();
        viewers.enter(&local).unwrap();
        all.clear();
        assert!(viewers.by_name().is_empty());
    }

    #[test]
    fn one_person_leaves_room_for_others_whatever_they_are_known_by() {
        let viewers = Viewers::default();
        let by = |name: &str, by: By| Person { name: name.into(), by, ..Person::local("::1".into()) };
        let (session, token) = (By::Session { key: "k".into(), csrf: "c".into() }, By::Token("id".into()));
        let mut own: Vec<_> = (0..OF_ONE).map(|_| viewers.enter(&by("anna", session.clone())).unwrap()).collect();
        assert_eq!(viewers.enter(&by("anna", token.clone())).unwrap_err().status_code(), 429);
        let _other = viewers.enter(&by("bert", token.clone())).unwrap();
        own.pop();
        viewers.enter(&by("anna", token)).unwrap();
    }
}
