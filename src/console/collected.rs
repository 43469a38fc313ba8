//! What has come of what is collected: the first line, the newest one, and, where the console's own process reads the
//! files, how far they are. A person who has just added a path wants to see that it works.

use super::{Parts, ask, error::ApiError, gate::Person};
use crate::search::{
    model::{Order, PageRequest, Scope, SearchError},
    query::Query,
};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

/// `GET /api/v1/collected`. What can't be told is `null` and has its reason in `problems`: one part that fails hides no
/// other.
pub async fn show(person: Person, parts: web::Data<Parts>) -> Result<HttpResponse, ApiError> {
    let mut problems = Vec::new();
    let files = match parts.pages.iter().find(|(path, _)| *path == "/files") {
        Some((_, files)) => files().await.map_err(|e| problems.push(e)).unwrap_or(Value::Null),
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

/// Time of the first or last document of all that `person` may see.
pub async fn end(parts: &Parts, person: &Person, order: Order) -> Result<Option<i64>, SearchError> {
    let scope = Scope { query: person.topics.restrict(Query::All), from_ms: None, to_ms: None };
    let page = parts.backend.page(PageRequest { scope, order, size: 1, after: None, count: false }).await?;
    Ok(page.hits.first().map(|hit| hit.time_ms))
}
