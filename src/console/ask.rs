//! From a call's parameters to what the back end is asked, and from its answer to JSON. The problem: every call means
//! the same by `q`, `from` and `to`, and a line of a megabyte must not travel fifty times because fifty rows show its
//! beginning.

use super::{error::ApiError, gate::Person};
use crate::search::{
    marks::{Marker, in_utf16},
    model::{Hit, Scope},
    parse,
    query::Query,
    span,
};
use actix_web::{HttpResponse, http::header};
use serde_json::{Map, Value, json};

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    crate::telemetry::now_ms() as i64
}

pub fn query(text: &str) -> Result<Query, ApiError> {
    parse::parse(text).map_err(|e| ApiError::wrong_query(e.to_string(), e.position, e.expected))
}

/// Of the topics that `person` may see. `from` and `to`: RFC 3339, milliseconds since 1970, or relative to now.
pub fn scope(person: &Person, q: &str, from: Option<&str>, to: Option<&str>) -> Result<Scope, ApiError> {
    let (from_ms, to_ms) = span(from, to)?;
    Ok(Scope { query: person.topics.restrict(query(q)?), from_ms, to_ms })
}

pub fn span(from: Option<&str>, to: Option<&str>) -> Result<(Option<i64>, Option<i64>), ApiError> {
    span::span(from, to, now_ms()).map_err(|e| ApiError::bad(e.to_string()))
}

/// An answer that nobody keeps.
pub fn json(value: &Value) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(value)
}

/// How hits are sent: with the places of what was searched for, in UTF-16 code units as browsers count, and with texts
/// beyond `cut` characters cut and their whole length told.
#[derive(Debug)]
pub struct Showing {
    marker: Marker,
    cut: usize,
}

impl Showing {
    /// `cut`: `None` sends whole texts.
    pub fn new(query: &Query, cut: Option<usize>) -> Self {
        Self { marker: Marker::new(query), cut: cut.unwrap_or(usize::MAX) }
    }

    pub fn hits(&self, hits: &[Hit]) -> Vec<Value> {
        hits.iter().map(|hit| self.hit(hit)).collect()
    }

    pub fn hit(&self, hit: &Hit) -> Value {
        let (mut fields, mut marks, mut long) = (hit.fields.clone(), Map::new(), Map::new());
        for (name, value) in &mut fields {
            if let Value::String(text) = value
                && text.len() > self.cut
                && let Some((end, _)) = text.char_indices().nth(self.cut)
            {
                long.insert(name.clone(), text.chars().count().into());
                text.truncate(end);
            }
            let found = match &*value {
                Value::String(text) => in_utf16(text, &self.marker.marks(name, text)),
                Value::Number(_) | Value::Bool(_) => {
                    let text = value.to_string();
                    in_utf16(&text, &self.marker.marks(name, &text))
                }
                _ => Vec::new(),
            };
            if !found.is_empty() {
                marks.insert(name.clone(), json!(found));
            }
        }
        let mut shown = json!({
            "time_ms": hit.time_ms, "file": hit.file, "offset": hit.offset, "cursor": hit.cursor, "fields": fields,
            "marks": marks,
        });
        if !long.is_empty() {
            shown["cut"] = Value::Object(long);
        }
        shown
    }
}

/// Widths of bars, in milliseconds.
const WIDTHS: [i64; 27] = [
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    604_800_000,
    2_592_000_000,
    31_536_000_000,
];

/// The width of bars that makes up to 120 of a span, and mostly more than 60.
pub fn bar_width(from_ms: i64, to_ms: i64) -> i64 {
    let span = to_ms.saturating_sub(from_ms).max(1);
    WIDTHS.into_iter().find(|width| span / width <= 120).unwrap_or(span / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_readable_number_of_bars() {
        for (span, width) in [(15 * 60_000, 10_000), (3_600_000, 30_000), (86_400_000, 900_000), (1_000, 10), (0, 10)] {
            assert_eq!(bar_width(1_795_246_112_111, 1_795_246_112_111 + span), width, "{span}");
        }
        assert!(bar_width(0, i64::MAX) > 0);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character_and_its_length_told() {
        let fields = Map::from_iter([("message".to_owned(), Value::from("é".repeat(10)))]);
        let hit = Hit { time_ms: 1, file: None, offset: None, fields, cursor: "c".into() };
        let cut = Showing::new(&Query::All, Some(4)).hit(&hit);
        assert_eq!((&cut["fields"]["message"], &cut["cut"]["message"]), (&"éééé".into(), &10.into()));
        assert!(Showing::new(&Query::All, Some(10)).hit(&hit).get("cut").is_none());
    }
}
