//! What the page asks the back end: hits, bars, values, fields, and the lines around one.

use super::{
    Parts,
    ask::{self, Showing},
    collection::end,
    error::ApiError,
};
use crate::search::model::{LineAt, MAX_PAGE, Order, PageRequest};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

/// Hits of a page where nothing else is asked for.
const DEFAULT_SIZE: usize = 100;
/// Lines before and after, each.
const MAX_AROUND: usize = 1_000;
/// Values of a field.
const MAX_VALUES: usize = 1_000;
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

pub async fn search(asked: web::Query<Search>, parts: web::Data<Parts>) -> Answer {
    let asked = asked.into_inner();
    let scope = ask::scope(&asked.q, asked.from.as_deref(), asked.to.as_deref())?;
    let size = limited("size", asked.size, DEFAULT_SIZE, MAX_PAGE)?;
    let showing = Showing::new(&scope.query, asked.cut);
    let request = PageRequest { scope, order: asked.order, size, after: asked.after, count: asked.count };
    let page = parts.backend.page(request).await?;
    let hits = showing.hits(&page.hits);
    Ok(ask::json(&json!({ "hits": hits, "total": page.total, "incomplete": page.incomplete })))
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

pub async fn histogram(asked: web::Query<Histogram>, parts: web::Data<Parts>) -> Answer {
    let mut scope = ask::scope(&asked.q, asked.from.as_deref(), asked.to.as_deref())?;
    let to_ms = scope.to_ms.unwrap_or_else(|| ask::now_ms() + 1);
    let from_ms = match scope.from_ms {
        Some(from_ms) => from_ms,
        None => end(&parts, Order::OldestFirst).await?.unwrap_or(to_ms - 60_000),
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

pub async fn values(asked: web::Query<Values>, parts: web::Data<Parts>) -> Answer {
    let asked = asked.into_inner();
    let scope = ask::scope(&asked.q, asked.from.as_deref(), asked.to.as_deref())?;
    let size = limited("size", asked.size, 10, MAX_VALUES)?;
    Ok(ask::json(&json!(parts.backend.top_values(scope, asked.field, size).await?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    from: Option<String>,
    to: Option<String>,
}

pub async fn fields(asked: web::Query<Fields>, parts: web::Data<Parts>) -> Answer {
    let (from_ms, to_ms) = ask::span(asked.from.as_deref(), asked.to.as_deref())?;
    Ok(ask::json(&json!(parts.backend.fields(from_ms, to_ms).await?)))
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

pub async fn around(asked: web::Query<Around>, parts: web::Data<Parts>) -> Answer {
    let asked = asked.into_inner();
    if asked.file.len() != 16 || !asked.file.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ApiError::bad("file: 16 hex digits are expected"));
    }
    let showing = Showing::new(&ask::query(&asked.q)?, asked.cut);
    let before = limited("before", asked.before, 20, MAX_AROUND)?;
    let after = limited("after", asked.after, 20, MAX_AROUND)?;
    let around = parts.backend.around(LineAt { file: asked.file, offset: asked.offset }, before, after).await?;
    let line = around.line.as_ref().map(|hit| showing.hit(hit));
    Ok(ask::json(
        &json!({ "before": showing.hits(&around.before), "line": line, "after": showing.hits(&around.after) }),
    ))
}

fn limited(name: &str, asked: Option<usize>, default: usize, most: usize) -> Result<usize, ApiError> {
    match asked.unwrap_or(default) {
        n if n <= most => Ok(n),
        n => Err(ApiError::bad(format!("{name}: at most {most}, not {n}"))),
    }
}
