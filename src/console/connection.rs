//! How Elasticsearch is reached: the value of the key that transfers and consoles watch. The problem: it holds a secret
//! that people have to be able to replace and nobody may read. So it is written, checked as its readers will check it,
//! and only what opens nothing is told of it: addresses, and the kind of secret.

use super::{
    Parts, ask,
    error::ApiError,
    gate::{Author, Person},
};
use crate::{
    elastic::ElasticConfig,
    store::{Check, Committed, Write},
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde_json::{Value, json};

/// Largest body: a CA's certificates are in it.
pub const MAX_BODY: usize = 256 << 10;

type Answer = Result<HttpResponse, ApiError>;

/// The key, where there is one.
fn key(parts: &Parts) -> Result<&str, ApiError> {
    let none = "this console's connection is not in the store: it searches its own index, or what its settings name";
    parts.connection.as_deref().ok_or_else(|| ApiError::not_found(none))
}

/// What may be told of a value.
fn told(config: &ElasticConfig) -> Value {
    let kind = match (&config.api_key, &config.username) {
        (Some(_), _) => "api_key",
        (None, Some(_)) => "password",
        (None, None) => "none",
    };
    json!({ "urls": config.urls, "kind": kind, "username": config.username, "has_ca": config.ca_cert.is_some() })
}

/// `GET /api/v1/connection`
pub async fn show(parts: web::Data<Parts>) -> Answer {
    let key = key(&parts)?;
    let item = parts.store.get(key).await?;
    let text = item.as_ref().map(|item| String::from_utf8_lossy(&item.value).into_owned());
    let mut answer = match text.as_deref().map(ElasticConfig::parse) {
        Some(Ok(config)) => told(&config),
        Some(Err(error)) => json!({ "urls": [], "kind": "none", "problem": error.to_string() }),
        None => json!({ "urls": [], "kind": "none" }),
    };
    answer["key"] = key.into();
    answer["revision"] = item.map_or(0, |item| item.revision).into();
    Ok(ask::json(&answer))
}

/// `PUT /api/v1/connection`: the body is the whole value; `If-Match` may name the revision that was seen.
pub async fn replace(request: HttpRequest, person: Person, body: web::Json<Value>, parts: web::Data<Parts>) -> Answer {
    let key = key(&parts)?;
    let text = body.to_string();
    let config = ElasticConfig::parse(&text).map_err(|error| ApiError::bad(error.to_string()))?;
    let seen = request.headers().get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    let seen = seen.map(|value| value.trim_matches('"').parse::<i64>());
    let checks = match seen {
        Some(Ok(revision)) => vec![Check::revision(key, revision)],
        Some(Err(_)) => return Err(ApiError::bad("If-Match: a revision is expected")),
        None => Vec::new(),
    };
    let detail = told(&config);
    let detail = format!("{}, secret: {}", config.urls.join(" "), detail["kind"].as_str().unwrap_or_default());
    let record = Author::from(&person).did("connection.put", key, detail)?;
    match parts.store.commit(checks, vec![Write::put(key, text), record]).await? {
        Committed::Done(_) => Ok(HttpResponse::NoContent().finish()),
        Committed::Conflict(_) => Err(ApiError::conflict("the connection was changed meanwhile; nothing was written")),
    }
}
