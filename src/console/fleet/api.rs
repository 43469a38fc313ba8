//! The calls about processes and how lines flow. All that ask are answered from memory.

use super::{
    Process, State,
    agents::{By, Question, last_error, row},
    banner::Notice,
    memory::Dismissed,
    status_key,
};
use crate::{
    console::{
        Parts, ask,
        error::ApiError,
        gate::{Author, Person},
    },
    messages::FilesAnswer,
    telemetry::now_ms,
};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

/// Lines of a page.
pub const MAX_SIZE: usize = 1_000;
const DEFAULT_SIZE: usize = 100;

type Answer = Result<HttpResponse, ApiError>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agents {
    #[serde(default)]
    q: String,
    kind: Option<String>,
    state: Option<State>,
    #[serde(default)]
    troubled: bool,
    #[serde(default)]
    sort: By,
    #[serde(default)]
    reverse: bool,
    #[serde(default)]
    from: usize,
    size: Option<usize>,
}

pub async fn agents(asked: web::Query<Agents>, parts: web::Data<Parts>, person: Person) -> Answer {
    let asked = asked.into_inner();
    let size = asked.size.unwrap_or(DEFAULT_SIZE);
    if size > MAX_SIZE {
        return Err(ApiError::bad(format!("size: at most {MAX_SIZE}, not {size}")));
    }
    let question = Question {
        text: asked.q,
        kind: asked.kind,
        state: asked.state,
        troubled: asked.troubled,
        by: asked.sort,
        reverse: asked.reverse,
        from: asked.from,
        size,
        topics: person.topics,
    };
    let (now_ms, known) = (now_ms(), parts.fleet.known());
    let (rows, total) = known.page(&question, now_ms);
    let counts = known.counts(question.kind.as_deref(), now_ms);
    let answer = json!({ "agents": rows, "total": total, "counts": counts, "now_ms": now_ms, "away": known.away });
    Ok(ask::json(&answer))
}

/// Kind, host and instance.
type Name = (String, String, String);

pub async fn agent(name: web::Path<Name>, parts: web::Data<Parts>, person: Person) -> Answer {
    let (kind, host, instance) = name.into_inner();
    let known = parts.fleet.known();
    let process = known.get(&kind, &host, &instance).ok_or_else(|| unknown(&kind, &host, &instance))?;
    let mut status = process.status.clone();
    let may_see = |topic: &str| person.topics.allow(topic);
    status.topics.retain(|topic, _| may_see(topic));
    status.dead_letters.retain(|_, letters| may_see(&letters.sample.topic));
    status.paused.retain(|name, _| may_see(name));
    if !person.topics.all() {
        // Keys of entries, and what is wrong with them.
        status.keys.clear();
        status.sources.clear();
    }
    status.last_error = last_error(process, &person.topics).map(str::to_owned);
    let answer =
        json!({ "row": row(process, &person.topics), "status": status, "now_ms": now_ms(), "away": known.away });
    Ok(ask::json(&answer))
}

fn unknown(kind: &str, host: &str, instance: &str) -> ApiError {
    ApiError::not_found(format!("no {kind} {host}/{instance} has told of itself"))
}

/// Nobody wants to hear of it any more.
pub async fn forget(name: web::Path<Name>, parts: web::Data<Parts>, person: Person) -> Answer {
    let (kind, host, instance) = name.into_inner();
    let alive = parts.fleet.known().get(&kind, &host, &instance).map(Process::is_alive);
    if alive.ok_or_else(|| unknown(&kind, &host, &instance))? {
        return Err(ApiError::conflict(format!("{kind} {host}/{instance} is alive; stop it first")));
    }
    let audit = Author::from(&person).did("agent.forget", &format!("{kind} {host}/{instance}"), "");
    let audit = audit.map_err(|e| ApiError::unavailable(e.to_string()))?;
    match parts.fleet.forget(&*parts.store, &status_key(&kind, &host, &instance), audit).await? {
        Dismissed::Done => Ok(HttpResponse::NoContent().finish()),
        Dismissed::TooSoon => Err(ApiError::conflict(format!(
            "{kind} {host}/{instance} went just now, and no console has written that down yet; try again in a moment"
        ))),
        Dismissed::Conflict => Err(ApiError::conflict(format!(
            "{kind} {host}/{instance} has told of itself again, or somebody else was faster; nothing was done"
        ))),
    }
}

pub async fn files(name: web::Path<Name>, parts: web::Data<Parts>, person: Person) -> Answer {
    let (kind, host, instance) = name.into_inner();
    {
        let known = parts.fleet.known();
        let process = known.get(&kind, &host, &instance).ok_or_else(|| unknown(&kind, &host, &instance))?;
        if !process.is_alive() {
            return Err(ApiError::conflict(format!("{host} is gone, so it can't be asked for its files")));
        }
        if !process.status.can.iter().any(|can| can == FilesAnswer::CAN) {
            let version = &process.status.version;
            return Err(ApiError::conflict(format!("{kind} {host} (version {version}) can't be asked for files")));
        }
    }
    let answer = parts.agent_files.files(&host, &instance).await.map_err(ApiError::unavailable)?;
    let files: Vec<_> = answer.files.iter().filter(|file| person.topics.allow(&file.topic)).collect();
    Ok(ask::json(&json!({ "files": files, "left_out": answer.left_out, "time_ms": answer.time_ms })))
}

pub async fn pipeline(parts: web::Data<Parts>, person: Person) -> Answer {
    let known = parts.fleet.known();
    let pipeline = known.pipeline(|topic| person.topics.allow(topic));
    let mut answer = serde_json::to_value(pipeline).map_err(|e| ApiError::unavailable(e.to_string()))?;
    answer["now_ms"] = now_ms().into();
    answer["away"] = serde_json::to_value(&known.away).unwrap_or(Value::Null);
    Ok(ask::json(&answer))
}

pub async fn banner(parts: web::Data<Parts>, person: Person) -> Answer {
    let now_ms = now_ms();
    let mut notices = parts.fleet.banner(now_ms, |topic| person.topics.allow(topic));
    if !person.entries().all() {
        notices.retain(|notice| !notice.is_of_entries());
    }
    if !person.topics.all() {
        notices.iter_mut().for_each(Notice::hide_servers_words);
    }
    Ok(ask::json(&json!({ "notices": notices, "now_ms": now_ms })))
}
