//! The answers as the definition gives them: every document is looked at, one after the other, by the matcher of the
//! live tail. Slow, and too plain to be wrong in the same way as a store.

use futures_util::future::{BoxFuture, ready};
use logweir::search::{
    budget::{Room, centred},
    matcher::Matcher,
    model::{
        Around, Backend, Field, FieldKind, Histogram, Hit, LineAt, Order, Page, PageRequest, Scope, SearchError,
        TopValues,
    },
    span,
    value::flat,
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

pub struct Model {
    /// Oldest first.
    documents: Vec<Map<String, Value>>,
    /// What was found last: a question is asked several times.
    last: Mutex<Option<(Scope, Vec<usize>)>>,
}

fn time(document: &Map<String, Value>) -> i64 {
    span::absolute(document["@timestamp"].as_str().unwrap()).unwrap()
}

fn place(document: &Map<String, Value>) -> (i64, String, u64) {
    let file = document["logweir.file"].as_str().unwrap().to_owned();
    (time(document), file, document["log.offset"].as_u64().unwrap())
}

fn hit(document: &Map<String, Value>, cursor: usize) -> Hit {
    let (time_ms, file, offset) = place(document);
    Hit { time_ms, file: Some(file), offset: Some(offset), fields: document.clone(), cursor: cursor.to_string() }
}

impl Model {
    pub fn new(documents: &[Value]) -> Self {
        let mut documents: Vec<_> = documents.iter().cloned().map(flat).collect();
        documents.sort_by_cached_key(place);
        Self { documents, last: Mutex::default() }
    }

    fn found(&self, scope: &Scope) -> Vec<&Map<String, Value>> {
        let mut last = self.last.lock().unwrap();
        if let Some((_, found)) = last.as_ref().filter(|(of, _)| of == scope) {
            return found.iter().map(|&n| &self.documents[n]).collect();
        }
        let matcher = Matcher::new(&scope.query);
        let matches = |document: &Map<String, Value>| {
            let time = time(document);
            scope.from_ms.is_none_or(|from| time >= from)
                && scope.to_ms.is_none_or(|to| time < to)
                && matcher.matches(document)
        };
        let found: Vec<usize> = (0..self.documents.len()).filter(|&n| matches(&self.documents[n])).collect();
        let documents = found.iter().map(|&n| &self.documents[n]).collect();
        *last = Some((scope.clone(), found));
        documents
    }

    fn read_page(&self, request: &PageRequest) -> Page {
        let mut found = self.found(&request.scope);
        if request.order == Order::NewestFirst {
            found.reverse();
        }
        let begin = request.after.as_ref().map_or(0, |after| after.parse::<usize>().unwrap() + 1);
        let mut room = Room::default();
        let hits = found.iter().enumerate().skip(begin).take(request.size).map(|(n, document)| hit(document, n));
        let hits: Vec<Hit> = hits.take_while(|hit| room.take(hit)).collect();
        let more = begin + hits.len() < found.len();
        Page::new(hits, more, request.count.then_some(found.len() as u64))
    }
}

fn answer<T: Send + 'static>(answer: T) -> BoxFuture<'static, Result<T, SearchError>> {
    Box::pin(ready(Ok(answer)))
}

fn kind(value: &Value) -> FieldKind {
    match value {
        Value::Array(values) => kind(&values[0]),
        Value::Bool(_) => FieldKind::Boolean,
        Value::Number(number) if number.is_f64() => FieldKind::Float,
        Value::Number(_) => FieldKind::Integer,
        _ => FieldKind::Keyword,
    }
}

impl Backend for Model {
    fn page(&self, request: PageRequest) -> BoxFuture<'_, Result<Page, SearchError>> {
        answer(self.read_page(&request))
    }

    fn histogram(&self, scope: Scope, interval_ms: i64) -> BoxFuture<'_, Result<Histogram, SearchError>> {
        let mut bars: BTreeMap<i64, u64> = BTreeMap::new();
        for document in self.found(&scope) {
            *bars.entry(time(document).div_euclid(interval_ms) * interval_ms).or_default() += 1;
        }
        answer(Histogram { interval_ms, total: bars.values().sum(), bars: bars.into_iter().collect() })
    }

    fn top_values(&self, scope: Scope, field: String, size: usize) -> BoxFuture<'_, Result<TopValues, SearchError>> {
        let found = self.found(&scope);
        let (mut counts, mut with_field): (BTreeMap<String, u64>, u64) = (BTreeMap::new(), 0);
        for document in &found {
            let text = |value: &Value| match value {
                Value::String(text) if field == "@timestamp" => span::absolute(text).unwrap().to_string(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let values: BTreeSet<String> = match document.get(&field) {
                Some(Value::Array(values)) => values.iter().map(text).collect(),
                Some(value) => [text(value)].into(),
                None => continue,
            };
            with_field += 1;
            for value in values {
                *counts.entry(value).or_default() += 1;
            }
        }
        let mut values: Vec<_> = counts.into_iter().collect();
        let number = |text: &str| text.parse::<f64>().ok();
        values.sort_by(|(a, n), (b, m)| {
            m.cmp(n).then_with(|| match (number(a), number(b)) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                _ => a.cmp(b),
            })
        });
        values.truncate(size);
        answer(TopValues { values, with_field, total: found.len() as u64 })
    }

    fn fields(&self, from_ms: Option<i64>, to_ms: Option<i64>) -> BoxFuture<'_, Result<Vec<Field>, SearchError>> {
        let mut fields: BTreeMap<String, FieldKind> = BTreeMap::new();
        let within = |time: i64| from_ms.is_none_or(|from| time >= from) && to_ms.is_none_or(|to| time < to);
        for document in self.documents.iter().filter(|document| within(time(document))) {
            for (name, value) in document {
                let kind = match name.as_str() {
                    "message" => FieldKind::Text,
                    "@timestamp" => FieldKind::Date,
                    _ => kind(value),
                };
                fields.insert(name.clone(), kind);
            }
        }
        answer(fields.into_iter().map(|(name, kind)| Field { name, kind }).collect())
    }

    fn around(&self, line: LineAt, before: usize, after: usize) -> BoxFuture<'_, Result<Around, SearchError>> {
        let mut lines: Vec<_> =
            self.documents.iter().filter(|document| document["logweir.file"] == line.file.as_str()).collect();
        lines.sort_by_key(|document| document["log.offset"].as_u64());
        let at = lines.partition_point(|document| document["log.offset"].as_u64() < Some(line.offset));
        let there = lines.get(at).filter(|document| document["log.offset"].as_u64() == Some(line.offset));
        let behind = at + usize::from(there.is_some());
        let hit = |document: &&Map<String, Value>| Ok::<_, SearchError>(hit(document, 0));
        let line = there.map(hit).transpose().unwrap();
        let (earlier, later) = (lines[..at].iter().rev().map(hit), lines[behind..].iter().map(hit));
        answer(centred(line, (before, earlier), (after, later)).unwrap())
    }
}
