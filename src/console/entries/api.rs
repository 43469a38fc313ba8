//! The calls that show what is collected. They answer from memory, also while etcd is away; how old that is, is part of
//! the answer. Histories are read when somebody asks for them. Who looks and may not see all topics is told the entries of
//! theirs; what can only be told as a whole, a key's text and all that was made of it, is refused.

use super::{
    book::Key,
    diff::{self, aside, difference_until},
    history::{self, Placed},
    list::Question,
};
use crate::{
    console::{
        Parts, ask,
        error::ApiError,
        gate::{Person, Topics},
    },
    store::Item,
};
use actix_web::{HttpResponse, http::header, web};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Instant;

/// Rows of a page.
pub const MAX_SIZE: usize = 1_000;
const DEFAULT_SIZE: usize = 100;
/// Records of a page.
pub const MAX_RECORDS: usize = 100;

pub(super) type Answer = Result<HttpResponse, ApiError>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    #[serde(default)]
    q: String,
    key: Option<String>,
    #[serde(default)]
    wrong: bool,
    #[serde(default)]
    from: usize,
    size: Option<usize>,
}

impl List {
    fn question(self, topics: Topics) -> Result<Question, ApiError> {
        let size = self.size.unwrap_or(DEFAULT_SIZE);
        if size > MAX_SIZE {
            return Err(ApiError::bad(format!("size: at most {MAX_SIZE}, not {size}")));
        }
        Ok(Question { text: self.q, key: self.key, wrong: self.wrong, from: self.from, size, topics })
    }
}

/// Whether who asks may read keys as a whole.
fn must_see_all(person: &Person) -> Result<(), ApiError> {
    let reason = "a key is told as a whole here, with entries of other topics; only who may see all topics, or change \
                  entries, may read it";
    if person.entries().all() { Ok(()) } else { Err(ApiError::forbidden(reason)) }
}

/// Takes over what isn't watched. A store that doesn't answer is part of the answer, not the end of it.
async fn look(parts: &Parts) {
    if let Err(error) = parts.entries.look().await {
        slog_scope::debug!("the entries can't be read now"; "reason" => %error);
    }
}

/// `GET /api/v1/entries`
pub async fn entries(asked: web::Query<List>, person: Person, parts: web::Data<Parts>) -> Answer {
    let question = asked.into_inner().question(person.entries())?;
    look(&parts).await;
    let (listed, book) = (parts.entries.entries(&question), &parts.entries);
    Ok(ask::json(&json!({
        "entries": listed.rows, "total": listed.total, "wrong": book.wrong(&question.topics),
        "standing": book.standing(), "now_ms": ask::now_ms(),
    })))
}

/// `GET /api/v1/entries/keys`
pub async fn keys(asked: web::Query<List>, person: Person, parts: web::Data<Parts>) -> Answer {
    let question = asked.into_inner().question(person.entries())?;
    look(&parts).await;
    let book = &parts.entries;
    let mut listed = book.keys(&question);
    for row in &mut listed.rows {
        let answers = row["key"].as_str().map(|key| parts.fleet.answers(key, row["revision"].as_i64()));
        if let Some(answers) = answers {
            row["answers"] = json!({
                "applied": answers.applied.len(), "refused": answers.refused.len(), "waiting": answers.waiting.len(),
                "gone": answers.gone.len(),
            });
        }
    }
    Ok(ask::json(&json!({
        "keys": listed.rows, "total": listed.total, "wrong": book.wrong(&question.topics),
        "templates": book.templates(), "place": book.place(), "standing": book.standing(), "now_ms": ask::now_ms(),
    })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfKey {
    pub key: String,
}

/// `GET /api/v1/entries/key`: one that isn't there yet, but may be written, has the revision 0.
pub async fn key(asked: web::Query<OfKey>, person: Person, parts: web::Data<Parts>) -> Answer {
    must_see_all(&person)?;
    look(&parts).await;
    let (name, book) = (&asked.key, &parts.entries);
    let known = book.key(name);
    if known.is_none() && !book.is_key(name) {
        return Err(ApiError::not_found(format!("{name:?} is no key of entries")));
    }
    let answers = parts.fleet.answers(name, known.as_ref().map(|key| key.item.revision));
    let mut answer = known.as_ref().map_or_else(
        || json!({ "key": name, "scope": book.scope(name).map(|s| s.to_string()), "revision": 0, "entries": 0 }),
        |key| book.of_key(key, &person.entries()),
    );
    answer["text"] = known.as_ref().map_or_else(String::new, text).into();
    answer["may_write"] = book.is_key(name).into();
    answer["answers"] = json!(answers);
    answer["standing"] = json!(book.standing());
    answer["now_ms"] = ask::now_ms().into();
    Ok(ask::json(&answer))
}

fn text(key: &Key) -> String {
    String::from_utf8_lossy(&key.item.value).into_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    key: String,
    before: Option<i64>,
    size: Option<usize>,
}

/// `GET /api/v1/entries/history`: newest first.
pub async fn history(asked: web::Query<History>, person: Person, parts: web::Data<Parts>) -> Answer {
    must_see_all(&person)?;
    look(&parts).await;
    let size = asked.size.unwrap_or(20);
    if size == 0 || size > MAX_RECORDS {
        return Err(ApiError::bad(format!("size: 1 to {MAX_RECORDS}, not {size}")));
    }
    let book = &parts.entries;
    if matches!(book.source(), super::Source::Asked { .. }) {
        // What was seen a moment ago has to be in the answer.
        book.catch_up().await?;
    }
    if asked.before.is_some_and(|at| at < 0) {
        return Err(ApiError::bad("before: a number from 0 on is expected"));
    }
    let records = history::records(&*book.store, &asked.key, asked.before, size + 1).await?;
    let more = records.len() > size;
    let deadline = diff::deadline();
    let (mut records, rows) = aside(move || {
        let shown = records.iter().take(size).zip(1..);
        let rows: Vec<Value> = shown.map(|(one, next)| row(deadline, one, records.get(next))).collect();
        (records, rows)
    })
    .await?;
    records.truncate(size);
    let item = book.key(&asked.key).map(|key| key.item);
    let now = item.as_ref().map(|item| item.revision);
    // Made while nobody watched: its author and time are not known, and its text is the key's own.
    let newest = records.first().filter(|_| asked.before.is_none());
    let told = |item: &Item| newest.is_some_and(|one| one.made == now || one.record.holds(&item.value));
    let unrecorded = asked.before.is_none() && item.as_ref().is_some_and(|item| !told(item));
    let next = records.last().filter(|_| more).map(|one| one.at);
    Ok(ask::json(&json!({
        "key": asked.key, "records": rows, "next": next, "revision": now.unwrap_or(0), "unrecorded": unrecorded,
    })))
}

fn row(deadline: Instant, placed: &Placed, older: Option<&Placed>) -> Value {
    let record = &placed.record;
    let text = |placed: &Placed| placed.record.text.clone().map(String::into_bytes);
    let (old, new) = (older.and_then(text), text(placed));
    json!({
        "at": placed.at, "revision": placed.made, "time_ms": record.time_ms, "author": record.author,
        "from": record.from, "deleted": record.text.is_none(), "omitted_bytes": record.omitted_bytes,
        "bytes": record.text.as_ref().map(String::len), "size": diff::size(deadline, old.as_deref(), new.as_deref()),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfRecord {
    key: String,
    at: i64,
}

/// `GET /api/v1/entries/record`: what it changed, and what it is from what there is now.
pub async fn record(asked: web::Query<OfRecord>, person: Person, parts: web::Data<Parts>) -> Answer {
    must_see_all(&person)?;
    look(&parts).await;
    let (key, store) = (asked.key.as_str(), &*parts.entries.store);
    let placed = history::record(store, key, asked.at).await?;
    let placed = placed.ok_or_else(|| ApiError::not_found(format!("there is no record {} of {key}", asked.at)))?;
    let older = history::records(store, key, Some(asked.at), 1).await?.into_iter().next();
    let now = parts.entries.key(key).map(|key| key.item.value);
    let answer = aside(move || shown(&asked.key, &placed, older.as_ref(), now.as_deref())).await?;
    Ok(ask::json(&answer))
}

fn shown(key: &str, placed: &Placed, older: Option<&Placed>, now: Option<&[u8]>) -> Value {
    let deadline = diff::deadline();
    let text = |placed: &Placed| placed.record.text.clone().map(String::into_bytes);
    let mut answer = row(deadline, placed, older);
    let new = text(placed);
    answer["diff"] = difference_until(deadline, key, older.and_then(text).as_deref(), new.as_deref()).into();
    answer["from_now"] = difference_until(deadline, key, now, new.as_deref()).into();
    answer["same_as_now"] = (now == new.as_deref()).into();
    answer["text"] = json!(placed.record.text);
    answer
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfHost {
    host: String,
}

/// `GET /api/v1/entries/effective`: of each agent on that host; of a host without one, what the templates give it.
pub async fn effective(asked: web::Query<OfHost>, person: Person, parts: web::Data<Parts>) -> Answer {
    look(&parts).await;
    let (book, topics) = (&parts.entries, person.entries());
    let agents: Vec<(String, String, bool, Vec<String>)> = {
        let known = parts.fleet.known();
        let here = |kind: &str| matches!(kind, "agent" | "standalone");
        let all = known.all().filter(|p| here(&p.status.kind) && p.status.host == asked.host);
        all.map(|process| {
            let status = &process.status;
            // One of an older version tells only those of its keys that there are, without their order.
            let keys =
                if status.keys.is_empty() { status.sources.keys().cloned().collect() } else { status.keys.clone() };
            (status.kind.clone(), status.instance.clone(), process.is_alive(), keys)
        })
        .collect()
    };
    let shown = |mut keys: Vec<String>| {
        keys.retain(|name| topics.all() || book.key(name).is_some_and(|key| key.is_of(&topics)));
        let (entries, wrong) = book.effective(&keys, &topics);
        json!({ "keys": keys, "entries": entries, "wrong": wrong })
    };
    let agents: Vec<Value> = agents
        .into_iter()
        .map(|(kind, instance, alive, keys)| {
            let mut row = shown(keys);
            (row["kind"], row["instance"], row["alive"]) = (kind.into(), instance.into(), alive.into());
            row
        })
        .collect();
    let assumed = agents.is_empty().then(|| shown(book.keys_of_host(&asked.host)));
    Ok(ask::json(&json!({ "host": asked.host, "agents": agents, "assumed": assumed, "standing": book.standing() })))
}

/// `GET /api/v1/entries/export`
pub async fn export(person: Person, parts: web::Data<Parts>) -> Answer {
    must_see_all(&person)?;
    look(&parts).await;
    let mut answer = HttpResponse::Ok();
    answer
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"logweir-entries.json\""));
    Ok(answer.body(parts.entries.export()))
}
