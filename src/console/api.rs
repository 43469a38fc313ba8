//! What the page asks the back end: hits, bars, values, fields, and the lines around one.

use super::{
    Parts,
    ask::{self, Showing},
    collected::end,
    error::ApiError,
    gate::Person,
};
use crate::search::{
    model::{Around as Found, LineAt, MAX_PAGE, Order, PageRequest, Scope, SearchError},
    query::Query,
};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeSet;

/// Hits of a page where nothing else is asked for.
const DEFAULT_SIZE: usize = 100;
/// Lines before and after, each.
const MAX_AROUND: usize = 1_000;
/// Values of a field.
const MAX_VALUES: usize = 1_000;
/// Newest lines that tell which fields somebody's topics have.
const LOOKED_AT: usize = 1_000;
/// Pages of these: where lines are long, a page has a few only, and each costs a search.
const PAGES: usize = 4;
/// Bars of a histogram, as the back ends allow.
const MAX_BARS: i64 = 2_000;

type Answer = Result<HttpResponse, ApiError>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    #[serde(default)]
    q: String,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    order: Order,
    size: Option<usize>,
    after: Option<String>,
    #[serde(default)]
    count: bool,
    /// Longer texts are cut to so many characters.
    cut: Option<usize>,
}

pub async fn search(asked: web::Query<Search>, person: Person, parts: web::Data<Parts>) -> Answer {
    let asked = asked.into_inner();
    let showing = Showing::new(&ask::query(&asked.q)?, asked.cut);
    let scope = ask::scope(&person, &asked.q, asked.from.as_deref(), asked.to.as_deref())?;
    let size = limited("size", asked.size, DEFAULT_SIZE, MAX_PAGE)?;
    let request = PageRequest { scope, order: asked.order, size, after: asked.after, count: asked.count };
    let page = parts.backend.page(request).await?;
    let hits = showing.hits(&page.hits);
    let told = json!({ "hits": hits, "after": page.after, "total": page.total, "incomplete": page.incomplete });
    Ok(ask::json(&told))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    #[serde(default)]
    q: String,
    from: Option<String>,
    to: Option<String>,
    interval_ms: Option<i64>,
}

pub async fn histogram(asked: web::Query<Histogram>, person: Person, parts: web::Data<Parts>) -> Answer {
    let mut scope = ask::scope(&person, &asked.q, asked.from.as_deref(), asked.to.as_deref())?;
    let to_ms = scope.to_ms.unwrap_or_else(|| ask::now_ms() + 1);
    let from_ms = match scope.from_ms {
        Some(from_ms) => from_ms,
        None => end(&parts, &person, Order::OldestFirst).await?.unwrap_or(to_ms.saturating_sub(60_000)),
    };
    (scope.from_ms, scope.to_ms) = (Some(from_ms), Some(to_ms));
    let interval_ms = asked.interval_ms.unwrap_or_else(|| ask::bar_width(from_ms, to_ms));
    if interval_ms < 1 || to_ms.saturating_sub(from_ms) / interval_ms >= MAX_BARS {
        return Err(ApiError::bad(format!("interval_ms has to make 1 to {MAX_BARS} bars of the span")));
    }
    let histogram = parts.backend.histogram(scope, interval_ms).await?;
    Ok(ask::json(&json!({
        "interval_ms": histogram.interval_ms, "bars": histogram.bars, "total": histogram.total,
        "from_ms": from_ms, "to_ms": to_ms,
    })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    #[serde(default)]
    q: String,
    from: Option<String>,
    to: Option<String>,
    field: String,
    size: Option<usize>,
}

pub async fn values(asked: web::Query<Values>, person: Person, parts: web::Data<Parts>) -> Answer {
    let asked = asked.into_inner();
    let scope = ask::scope(&person, &asked.q, asked.from.as_deref(), asked.to.as_deref())?;
    let size = limited("size", asked.size, 10, MAX_VALUES)?;
    Ok(ask::json(&json!(parts.backend.top_values(scope, asked.field, size).await?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    from: Option<String>,
    to: Option<String>,
}

pub async fn fields(asked: web::Query<Fields>, person: Person, parts: web::Data<Parts>) -> Answer {
    let (from_ms, to_ms) = ask::span(asked.from.as_deref(), asked.to.as_deref())?;
    let mut fields = parts.backend.fields(from_ms, to_ms).await?;
    if !person.topics.all() {
        // The names of fields tell of other topics, too: only those that some line shows which may be seen.
        let scope = Scope { query: person.topics.restrict(Query::All), from_ms, to_ms };
        let shown = names(&parts, scope).await?;
        fields.retain(|field| shown.contains(&field.name));
    }
    Ok(ask::json(&json!(fields)))
}

/// Names of the fields that the newest lines have.
async fn names(parts: &Parts, scope: Scope) -> Result<BTreeSet<String>, SearchError> {
    let (mut names, mut left) = (BTreeSet::new(), LOOKED_AT);
    let mut request = PageRequest { scope, order: Order::NewestFirst, size: left, after: None, count: false };
    for _ in 0..PAGES {
        let page = parts.backend.page(request.clone()).await?;
        left = left.saturating_sub(page.hits.len());
        names.extend(page.hits.into_iter().flat_map(|hit| hit.fields).map(|(name, _)| name));
        if page.after.is_none() || left == 0 {
            break;
        }
        (request.size, request.after) = (left, page.after);
    }
    Ok(names)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Around {
    file: String,
    offset: u64,
    before: Option<usize>,
    after: Option<usize>,
    cut: Option<usize>,
    /// What is marked in the lines.
    #[serde(default)]
    q: String,
}

pub async fn around(asked: web::Query<Around>, person: Person, parts: web::Data<Parts>) -> Answer {
    let asked = asked.into_inner();
    if asked.file.len() != 16 || !asked.file.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ApiError::bad("file: 16 hex digits are expected"));
    }
    let showing = Showing::new(&ask::query(&asked.q)?, asked.cut);
    let before = limited("before", asked.before, 20, MAX_AROUND)?;
    let after = limited("after", asked.after, 20, MAX_AROUND)?;
    let around = parts.backend.around(LineAt { file: asked.file, offset: asked.offset }, before, after).await?;
    if !may_see(&person, &around) {
        return Err(ApiError::not_found("there is no such line"));
    }
    let line = around.line.as_ref().map(|hit| showing.hit(hit));
    Ok(ask::json(&json!({
        "before": showing.hits(&around.before), "line": line, "after": showing.hits(&around.after),
        "more_before": around.more_before, "more_after": around.more_after,
    })))
}

/// A file's lines are all of one topic. Where some may not be seen, the answer is the same as for a file that isn't there.
fn may_see(person: &Person, found: &Found) -> bool {
    let mut hits = found.before.iter().chain(&found.line).chain(&found.after).peekable();
    person.topics.all() || (hits.peek().is_some() && hits.all(|hit| person.topics.allow_hit(hit)))
}

fn limited(name: &str, asked: Option<usize>, default: usize, most: usize) -> Result<usize, ApiError> {
    match asked.unwrap_or(default) {
        n if n <= most => Ok(n),
        n => Err(ApiError::bad(format!("{name}: at most {most}, not {n}"))),
    }
}
