//! All that match, as a file. The problem: it may be millions of lines, which fit into nobody's memory, and a
//! spreadsheet takes a cell that begins with `=` for a program. So pages of a bounded size follow one another while the
//! receiver takes them, and such a cell gets an apostrophe before it. A failure on the way ends the connection, not the
//! file: what is there is seen to be cut off.

use super::{Parts, ask, error::ApiError, gate::Person};
use crate::search::model::{Order, Page, PageRequest, Scope};
use actix_web::{HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;
use std::io;

/// Hits of one piece.
const PIECE: usize = 1_000;
const DEFAULT_COLUMNS: [&str; 5] = ["@timestamp", "host.name", "log.file.path", "log.offset", "message"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    #[serde(default)]
    q: String,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    order: Order,
    #[serde(default)]
    format: Format,
    /// Comma-separated; of a CSV.
    columns: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Ndjson,
    Csv,
}

pub async fn export(
    asked: web::Query<Asked>,
    person: Person,
    parts: web::Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let asked = asked.into_inner();
    let mut scope = ask::scope(&person, &asked.q, asked.from.as_deref(), asked.to.as_deref())?;
    // Lines that come while it runs would make an export of the newest lines first endless.
    scope.to_ms.get_or_insert(ask::now_ms() + 1);
    let columns: Vec<String> = match &asked.columns {
        Some(columns) => columns.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect(),
        None => DEFAULT_COLUMNS.map(str::to_owned).to_vec(),
    };
    let (kind, ending) = match asked.format {
        Format::Ndjson => ("application/x-ndjson", "ndjson"),
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
    };
    let mut writing =
        Writing { parts, scope, order: asked.order, format: asked.format, columns, after: None, ended: false };
    // A question that can't be answered is refused with its reason, before anything is sent.
    let first = writing.page().await?;
    let first = writing.write(first, true);
    let rest = stream::unfold((Some(first), writing), |(first, mut writing)| async move {
        let piece = match first {
            Some(first) => Ok(first),
            None if writing.ended => return None,
            None => match writing.page().await {
                Ok(page) => Ok(writing.write(page, false)),
                Err(e) => {
                    writing.ended = true;
                    slog_scope::warn!("an export ended before its end"; "reason" => %e);
                    Err(io::Error::other(e))
                }
            },
        };
        Some((piece, (None, writing)))
    });
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"logweir.{ending}\"")))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(rest))
}

/// An export on its way.
struct Writing {
    parts: web::Data<Parts>,
    scope: Scope,
    order: Order,
    format: Format,
    columns: Vec<String>,
    after: Option<String>,
    ended: bool,
}

impl Writing {
    async fn page(&mut self) -> Result<Page, ApiError> {
        let (scope, after) = (self.scope.clone(), self.after.take());
        let request = PageRequest { scope, order: self.order, size: PIECE, after, count: false };
        let page = self.parts.backend.page(request).await?;
        if let Some(reason) = page.incomplete {
            return Err(ApiError::unavailable(reason));
        }
        // A page may be shorter than was asked for and not the last one.
        self.ended = page.after.is_none();
        self.after = page.after.clone();
        Ok(page)
    }

    fn write(&self, page: Page, head: bool) -> Bytes {
        let mut out = Vec::with_capacity(page.hits.len() * 300);
        if head && self.format == Format::Csv {
            // The one name that begins like a formula and is none.
            let name = |name: &String| if name == "@timestamp" { name.clone() } else { cell(name) };
            write_row(&mut out, self.columns.iter().map(name));
        }
        for hit in page.hits {
            match self.format {
                Format::Ndjson => {
                    out.extend_from_slice(Value::Object(hit.fields).to_string().as_bytes());
                    out.push(b'\n');
                }
                Format::Csv => write_row(&mut out, self.columns.iter().map(|name| value_cell(hit.fields.get(name)))),
            }
        }
        out.into()
    }
}

fn write_row(out: &mut Vec<u8>, cells: impl Iterator<Item = String>) {
    for (i, cell) in cells.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(cell.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn value_cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => cell(text),
        // A number is one, also with a minus before it.
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => cell(&other.to_string()),
    }
}

/// RFC 4180, and no formula: in a spreadsheet `=`, `+`, `-`, `@` begin one (also in their wide forms), tabs and line
/// ends can hide it.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let safe = if formula { format!("'{text}") } else { text.to_owned() };
    if safe.contains(['"', ',', '\r', '\n', ';', '\t']) || formula {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_none_breaks_its_row() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"\nnext", "\"say \"\"x\"\"\nnext\""),
            ("=1+1", "\"'=1+1\""),
            ("-2+3|cmd", "\"'-2+3|cmd\""),
            ("\t=1", "\"'\t=1\""),
            ("＝1", "\"'＝1\""),
            ("", ""),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
        assert_eq!(value_cell(Some(&Value::from(-5))), "-5");
        assert_eq!(value_cell(Some(&serde_json::json!(["=a", 1]))), "\"[\"\"=a\"\",1]\"");
        assert_eq!(value_cell(None), "");
    }
}
