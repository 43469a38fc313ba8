//! The calls that change what is collected. Each names the revision that its author saw; whoever comes second gets both
//! versions and has lost nothing.

use super::{
    api::{Answer, OfKey},
    change::{Change, Changed, change},
    diff::{self, aside, difference, difference_until},
    history::{self, From},
    import::{Import, Planned, Verdict},
};
use crate::{
    collection::{MAX_VALUE_BYTES, Placed},
    console::{
        Parts, ask,
        error::ApiError,
        gate::{Author, Person},
    },
    store::{Item, StoreError},
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

/// Largest body of one key's change.
pub const MAX_BODY: usize = MAX_VALUE_BYTES;
/// The same text as a JSON string.
pub const MAX_CHECK: usize = 2 * MAX_VALUE_BYTES;
/// Largest file of an import.
pub const MAX_IMPORT: usize = 16 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    key: String,
    /// `null`: what if the key were deleted.
    text: Option<String>,
}

/// `POST /api/v1/entries/check`: the mistake, or what would change. Nothing is written.
pub async fn check(asked: web::Json<Check>, parts: web::Data<Parts>) -> Answer {
    let Check { key, text } = asked.into_inner();
    must_be_key(&parts, &key)?;
    let now = parts.entries.store.get(&key).await?;
    let answer = aside(move || checked(&parts, &key, now.as_ref(), text.map(String::into_bytes).as_deref())).await?;
    Ok(ask::json(&answer))
}

fn checked(parts: &Parts, key: &str, now: Option<&Item>, text: Option<&[u8]>) -> Value {
    let deadline = diff::deadline();
    let read = text.map(|text| parts.entries.read(text)).transpose();
    let (mistake, entries) = match &read {
        Ok(entries) => (Value::Null, entries.as_ref().map_or(0, Vec::len)),
        Err(mistake) => (json!(mistake), 0),
    };
    let old = now.map(|item| item.value.as_slice());
    json!({
        "mistake": mistake, "entries": entries, "revision": now.map_or(0, |item| item.revision),
        "same": old == text, "diff": difference_until(deadline, key, old, text), "size": diff::size(deadline, old, text),
    })
}

fn must_be_key(parts: &Parts, key: &str) -> Result<(), ApiError> {
    if parts.entries.is_key(key) {
        return Ok(());
    }
    let templates = parts.entries.templates().join(", ");
    Err(ApiError::bad(format!("{key:?} is no key of entries; those are: {templates}")))
}

/// `If-Match`: the revision that was seen, 0 for a key that wasn't there.
fn seen(request: &HttpRequest) -> Result<i64, ApiError> {
    let value = request.headers().get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    let revision = value.and_then(|value| value.trim().trim_matches('"').parse().ok()).filter(|r| *r >= 0);
    revision.ok_or_else(|| ApiError::bad("If-Match: the revision that you saw is expected; 0 for a new key"))
}

/// `PUT /api/v1/entries/key`: the body is the whole array.
pub async fn put(
    request: HttpRequest,
    asked: web::Query<OfKey>,
    body: Bytes,
    person: Person,
    parts: web::Data<Parts>,
) -> Answer {
    let wanted = Wanted { action: "entries.put", key: &asked.key, seen: seen(&request)?, text: Some(body.to_vec()) };
    wanted.answer(&parts, &person).await
}

/// `DELETE /api/v1/entries/key`
pub async fn delete(request: HttpRequest, asked: web::Query<OfKey>, person: Person, parts: web::Data<Parts>) -> Answer {
    let wanted = Wanted { action: "entries.delete", key: &asked.key, seen: seen(&request)?, text: None };
    wanted.answer(&parts, &person).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    key: String,
    /// The record whose text is to be there again.
    at: i64,
    /// The revision that was seen.
    seen: i64,
}

/// `POST /api/v1/entries/restore`
pub async fn restore(asked: web::Json<Restore>, person: Person, parts: web::Data<Parts>) -> Answer {
    let Restore { key, at, seen } = asked.into_inner();
    let placed = history::record(&*parts.entries.store, &key, at).await?;
    let placed = placed.ok_or_else(|| ApiError::not_found(format!("there is no record {at} of {key}")))?;
    if let Some(bytes) = placed.record.omitted_bytes {
        return Err(ApiError::conflict(format!("this text of {bytes} bytes was too long to be kept")));
    }
    let text = placed.record.text.map(String::into_bytes);
    Wanted { action: "entries.restore", key: &key, seen, text }.answer(&parts, &person).await
}

/// What somebody wants a key to be.
struct Wanted<'a> {
    action: &'static str,
    key: &'a str,
    seen: i64,
    text: Option<Vec<u8>>,
}

enum Outcome {
    Done(i64),
    Wrong(Placed),
    Conflict(Option<Item>),
}

impl Wanted<'_> {
    async fn answer(self, parts: &Parts, person: &Person) -> Answer {
        must_be_key(parts, self.key)?;
        Ok(match self.make(parts, person).await? {
            Outcome::Done(revision) => ask::json(&json!({ "revision": revision })),
            Outcome::Wrong(mistake) => {
                let mut answer = json!(mistake);
                answer["error"] = mistake.reason.into();
                HttpResponse::BadRequest().json(answer)
            }
            Outcome::Conflict(now) => {
                let (key, text) = (self.key.to_owned(), self.text);
                HttpResponse::Conflict().json(aside(move || conflict(&key, now, text.as_deref())).await?)
            }
        })
    }

    async fn make(&self, parts: &Parts, person: &Person) -> Result<Outcome, StoreError> {
        let book = &parts.entries;
        let entries = match self.text.as_deref().map(|text| book.read(text)).transpose() {
            Ok(entries) => entries,
            Err(mistake) => return Ok(Outcome::Wrong(mistake)),
        };
        let detail = entries.map_or_else(String::new, |entries| format!("{} entries", entries.len()));
        let audit = Author::from(person).did(self.action, self.key, detail);
        let wanted = Change {
            key: self.key.into(),
            seen: self.seen,
            text: self.text.clone(),
            author: person.name.clone(),
            from: From::Console,
            time_ms: ask::now_ms(),
            audit: vec![audit.map_err(|e| StoreError::Unavailable(e.to_string()))?],
        };
        Ok(match change(&*book.store, &wanted).await? {
            Changed::Done(revision) => {
                book.written(self.key, self.text.as_deref(), revision);
                Outcome::Done(revision)
            }
            Changed::Conflict(now) => Outcome::Conflict(now),
        })
    }
}

/// Both versions.
fn conflict(key: &str, now: Option<Item>, text: Option<&[u8]>) -> Value {
    let theirs = now.as_ref().map(|item| String::from_utf8_lossy(&item.value));
    let error = match &now {
        Some(_) => "somebody else has changed the key meanwhile; nothing was written",
        None => "somebody else has deleted the key meanwhile; nothing was written",
    };
    let old = now.as_ref().map(|item| item.value.as_slice());
    json!({
        "error": error, "revision": now.as_ref().map_or(0, |item| item.revision), "text": theirs,
        "diff": difference(key, old, text),
    })
}

/// `POST /api/v1/entries/import`: without `seen` only what would be done. Each key by itself; what can't be done is told.
pub async fn import(asked: web::Json<Import>, person: Person, parts: web::Data<Parts>) -> Answer {
    if let Err(error) = parts.entries.look().await {
        return Err(error.into());
    }
    let (import, here) = (asked.into_inner(), parts.clone());
    let mut rows = Vec::new();
    for step in aside(move || steps(&here, &import)).await? {
        rows.push(match step {
            Step::Told(row) => row,
            Step::Make(planned, seen) => import_key(&parts, &person, planned, seen).await?,
        });
    }
    Ok(ask::json(&json!({ "keys": rows })))
}

/// What an import does with one key.
enum Step {
    /// Nothing; the answer's line.
    Told(Value),
    /// The change, if the key is still at the revision that was seen.
    Make(Planned, i64),
}

fn steps(parts: &Parts, import: &Import) -> Vec<Step> {
    let deadline = diff::deadline();
    let step = |planned: Planned| {
        let seen = import.seen.as_ref().and_then(|seen| seen.get(&planned.key).copied());
        match (&import.seen, seen, &planned.verdict) {
            (Some(_), Some(seen), Verdict::Change) => Step::Make(planned, seen),
            (Some(_), None, Verdict::Change) => Step::Told(json!({ "key": planned.key, "result": "left" })),
            _ => Step::Told(parts.entries.look_at(deadline, &planned)),
        }
    };
    parts.entries.plan(import).into_iter().map(step).collect()
}

async fn import_key(parts: &Parts, person: &Person, planned: Planned, seen: i64) -> Result<Value, ApiError> {
    let wanted = Wanted { action: "entries.import", key: &planned.key, seen, text: planned.text };
    let (result, revision) = match wanted.make(parts, person).await {
        Ok(Outcome::Done(revision)) => ("done", revision),
        Ok(Outcome::Conflict(now)) => ("conflict", now.map_or(0, |item| item.revision)),
        Ok(Outcome::Wrong(mistake)) => return Ok(json!({ "key": planned.key, "result": "wrong", "mistake": mistake })),
        Err(StoreError::TooLarge(reason)) => {
            return Ok(json!({ "key": planned.key, "result": "too_large", "reason": reason }));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(json!({ "key": planned.key, "result": result, "revision": revision }))
}
