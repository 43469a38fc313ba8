//! What has come of what is collected: the first line, the newest one, and, where the console's own process reads the
//! files, how far they are. A person who has just added a path wants to see that it works.

use super::{Parts, ask, error::ApiError, gate::Person};
use crate::{
    search::{
        model::{Order, PageRequest, Scope, SearchError},
        query::Query,
    },
    telemetry::JsonPage,
};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /api/v1/collected`. What can't be told is `null` and has its reason in `problems`: one part that fails hides no
/// other.
pub async fn show(person: Person, parts: web::Data<Parts>) -> Result<HttpResponse, ApiError> {
    let mut problems = Vec::new();
    let files = match parts.pages.iter().find(|(path, _)| *path == "/files") {
        Some((_, files)) => seen(files, &person).await.map_err(|e| problems.push(e)).unwrap_or(Value::Null),
        None => Value::Null,
    };
    let (mut first_ms, mut last_ms) = (None, None);
    for (time, order) in [(&mut first_ms, Order::OldestFirst), (&mut last_ms, Order::NewestFirst)] {
        match end(&parts, &person, order).await {
            Ok(found) => *time = found,
            Err(e) => problems.push(e.to_string()),
        }
    }
    problems.dedup();
    Ok(ask::json(&json!({ "files": files, "first_ms": first_ms, "last_ms": last_ms, "problems": problems })))
}

/// What a page of files tells, of the topics that `person` may see.
async fn seen(page: &JsonPage, person: &Person) -> Result<Value, String> {
    let mut told = page().await?;
    if person.topics.all() {
        return Ok(told);
    }
    let may_see = |file: &Value| file["topic"].as_str().is_some_and(|topic| person.topics.allow(topic));
    // What is no list says nothing of topics, so nobody knows what is in it.
    let files = told.as_array_mut().ok_or("only who may see all topics may read this")?;
    files.retain(may_see);
    Ok(told)
}

/// The same for a page of the process' own figures; for example `GET /files`.
pub fn page_for(person: Person, page: JsonPage) -> JsonPage {
    Arc::new(move || {
        let (person, page) = (person.clone(), page.clone());
        Box::pin(async move { seen(&page, &person).await })
    })
}

/// Time of the first or last document of all that `person` may see.
pub async fn end(parts: &Parts, person: &Person, order: Order) -> Result<Option<i64>, SearchError> {
    let scope = Scope { query: person.topics.restrict(Query::All), from_ms: None, to_ms: None };
    let page = parts.backend.page(PageRequest { scope, order, size: 1, after: None, count: false }).await?;
    Ok(page.hits.first().map(|hit| hit.time_ms))
}
