//! Elasticsearch, and OpenSearch, as a [`Backend`]. The problem: it has to find the same documents in the same order as
//! the embedded index, over indices that others may have made, and to say so when a part of them didn't answer. Only
//! what both servers know is used.

mod ask;
mod dsl;
mod fetch;
mod follow;
mod hot;

pub use follow::{Follow, News};
pub use hot::HotElastic;

use super::{
    budget::centred,
    cursor,
    histogram::{MAX_BARS, check_bars, too_many_bars},
    model::{
        Around, Backend, Field, FieldKind, Histogram, Hit, LineAt, MAX_PAGE, Order, Page, PageRequest, Scope,
        SearchError, TopValues,
    },
    query::{DEFAULT_FIELD, Query, TIME_FIELD},
    value::Number,
};
use crate::elastic::Cluster;
use ask::Answer;
use dsl::Kinds;
use fetch::{Documents, Pace, Wanted, fetch};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Values of one answer, at most.
const MAX_VALUES: usize = 10_000;

/// Fields about which is asked whether any document has them.
const MAX_FIELDS: usize = 1000;

/// Searches indices of a cluster.
#[derive(Clone, Debug)]
pub struct Elastic {
    cluster: Arc<Cluster>,
    /// Patterns, with commas between.
    indices: String,
    pace: Arc<Pace>,
}

/// By what hits are sorted, with the type where an index doesn't have the field: own lines by file and offset, records
/// of other producers by their place in Kafka.
const SORT: [(&str, &str); 6] = [
    (TIME_FIELD, "date"),
    ("logweir.file", "keyword"),
    ("log.offset", "long"),
    ("logweir.topic", "keyword"),
    ("logweir.partition", "integer"),
    ("logweir.offset", "long"),
];

fn sort(order: Order) -> Value {
    let (order, missing) = match order {
        Order::OldestFirst => ("asc", "_last"),
        Order::NewestFirst => ("desc", "_first"),
    };
    let by = |(name, kind): (&str, &str)| json!({name: {"order": order, "missing": missing, "unmapped_type": kind}});
    SORT.into_iter().map(by).collect()
}

impl Elastic {
    /// `patterns`: of the indices that hold lines; the cluster's deadline is that of every call.
    pub fn new(cluster: Arc<Cluster>, patterns: &[String]) -> Self {
        let encoded = |pattern: &String| url::form_urlencoded::byte_serialize(pattern.as_bytes()).collect::<String>();
        // `*` stays as it is; `+` for a space doesn't occur in names of indices.
        let indices = patterns.iter().map(encoded).collect::<Vec<_>>().join(",");
        Self { cluster, indices, pace: Arc::default() }
    }

    fn path(&self, call: &str, parameters: &str) -> String {
        format!("{}/{call}?ignore_unavailable=true&allow_no_indices=true{parameters}", self.indices)
    }

    async fn search(&self, body: Value) -> Result<Answer, SearchError> {
        ask::ask(&self.cluster, &self.path("_search", ""), Some(&body)).await
    }

    /// Whether the indices can be searched now.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub async fn ping(&self) -> Result<(), SearchError> {
        self.search(json!({"size": 0, "track_total_hits": false, "terminate_after": 1})).await.map(drop)
    }

    /// What kinds of values the fields have that a query names.
    async fn kinds(&self, query: &Query) -> Result<Kinds, SearchError> {
        let mut kinds = Kinds::default();
        query.each_field(&mut |name| kinds.want(name));
        let unknown = kinds.unknown();
        if !unknown.is_empty() {
            let names = url::form_urlencoded::byte_serialize(unknown.join(",").as_bytes()).collect::<String>();
            // A space is `+` in forms only.
            let path = self.path("_field_caps", &format!("&fields={}", names.replace('+', "%20")));
            kinds.learn(&ask::ask(&self.cluster, &path, None).await?.body["fields"]);
        }
        Ok(kinds)
    }

    async fn filter(&self, scope: &Scope) -> Result<Value, SearchError> {
        let query = dsl::query(&scope.query, &self.kinds(&scope.query).await?);
        let mut all = vec![query];
        all.extend(dsl::span(scope.from_ms, scope.to_ms));
        Ok(json!({"bool": {"filter": all}}))
    }

    async fn read_page(&self, request: PageRequest) -> Result<Page, SearchError> {
        if !(1..=MAX_PAGE).contains(&request.size) {
            return Err(SearchError::Refused(format!("a page has 1 to {MAX_PAGE} lines")));
        }
        let mut body = json!({
            "sort": sort(request.order),
            "query": self.filter(&request.scope).await?,
            "track_total_hits": request.count,
        });
        if let Some(after) = &request.after {
            let values = cursor::read(request.order, after)?;
            if values.len() != SORT.len() {
                return Err(SearchError::Refused("`after` is a cursor of another index".to_owned()));
            }
            body["search_after"] = values.into();
        }
        let found = self.fetch(Wanted { body, size: request.size, order: request.order, own: 0 }).await?;
        let page = Page::new(found.hits, found.more, found.total.filter(|_| request.count));
        Ok(Page { incomplete: found.incomplete, ..page })
    }

    async fn fetch(&self, wanted: Wanted) -> Result<Documents, SearchError> {
        let path = self.path("_search", "");
        let ask = |body: Value| -> BoxFuture<'_, _> {
            let path = &path;
            Box::pin(async move { ask::ask_up_to(&self.cluster, path, Some(&body)).await })
        };
        fetch(&self.pace, wanted, ask).await
    }

    async fn count_bars(&self, scope: Scope, interval_ms: i64) -> Result<Histogram, SearchError> {
        check_bars(&scope, interval_ms)?;
        let bars = json!({"field": TIME_FIELD, "fixed_interval": format!("{interval_ms}ms"), "min_doc_count": 1});
        let body = json!({
            "size": 0,
            "track_total_hits": true,
            "query": self.filter(&scope).await?,
            "aggs": {"bars": {"date_histogram": bars}},
        });
        let answer = self.search(body).await?;
        answer.complete()?;
        let buckets = answer.body["aggregations"]["bars"]["buckets"].as_array();
        let bar = |bucket: &Value| Some((bucket["key"].as_i64()?, bucket["doc_count"].as_u64()?));
        let bars: Vec<_> = buckets.into_iter().flatten().filter_map(bar).collect();
        if bars.len() > MAX_BARS {
            return Err(too_many_bars());
        }
        Ok(Histogram { interval_ms, total: bars.iter().map(|(_, count)| count).sum(), bars })
    }

    async fn count_values(&self, scope: Scope, field: String, size: usize) -> Result<TopValues, SearchError> {
        if field == DEFAULT_FIELD {
            let text = format!("{DEFAULT_FIELD} is a text: it has words, not values to be counted");
            return Err(SearchError::Refused(text));
        }
        let size = size.clamp(1, MAX_VALUES);
        let order = json!([{"_count": "desc"}, {"_key": "asc"}]);
        // An index tells its own most frequent values only; so many that the sum is right.
        let terms = json!({"field": field, "size": size, "shard_size": MAX_VALUES, "order": order});
        let body = json!({
            "size": 0,
            "track_total_hits": true,
            "query": self.filter(&scope).await?,
            "aggs": {"top": {"terms": terms}, "with": {"filter": {"exists": {"field": field}}}},
        });
        let answer = self.search(body).await?;
        answer.complete()?;
        let found = &answer.body["aggregations"];
        let value = |bucket: &Value| {
            let text = match &bucket["key"] {
                Value::String(text) => text.clone(),
                // Booleans are 0 and 1 with a text beside.
                number => match bucket["key_as_string"].as_str().filter(|text| matches!(*text, "true" | "false")) {
                    Some(text) => text.to_owned(),
                    None => Number::of(number)?.to_text(),
                },
            };
            Some((text, bucket["doc_count"].as_u64()?))
        };
        let buckets = found["top"]["buckets"].as_array();
        Ok(TopValues {
            values: buckets.into_iter().flatten().filter_map(value).collect(),
            with_field: found["with"]["doc_count"].as_u64().unwrap_or_default(),
            total: answer.body["hits"]["total"]["value"].as_u64().unwrap_or_default(),
        })
    }

    /// A mapping names fields that no document has, so it is asked which ones have any.
    async fn read_fields(&self, from_ms: Option<i64>, to_ms: Option<i64>) -> Result<Vec<Field>, SearchError> {
        let path = self.path("_field_caps", "&fields=*");
        let mapped = dsl::fields(&ask::ask(&self.cluster, &path, None).await?.body["fields"]);
        let mapped: BTreeMap<String, FieldKind> = mapped.into_iter().take(MAX_FIELDS).collect();
        let names: Vec<&String> = mapped.keys().collect();
        let exists = |name: &&String| json!({"filter": {"exists": {"field": name}}});
        let asked: Map<_, _> = names.iter().enumerate().map(|(i, name)| (i.to_string(), exists(name))).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let span: Vec<_> = dsl::span(from_ms, to_ms).collect();
        let answer = self.search(json!({"size": 0, "query": {"bool": {"filter": span}}, "aggs": asked})).await?;
        answer.complete()?;
        let there = |i: usize| answer.body["aggregations"][i.to_string()]["doc_count"].as_u64() > Some(0);
        let fields = mapped.iter().enumerate().filter(|(i, _)| there(*i));
        Ok(fields.map(|(_, (name, kind))| Field { name: name.clone(), kind: *kind }).collect())
    }

    /// Lines of a file on one side of an offset, the nearest first.
    async fn side(&self, line: &LineAt, test: &str, order: Order, size: usize) -> Result<Documents, SearchError> {
        let direction = if order == Order::OldestFirst { "asc" } else { "desc" };
        let filter = json!([
            {"term": {"logweir.file": line.file}},
            {"range": {"log.offset": {test: line.offset}}},
        ]);
        let mut by = vec![json!({"log.offset": {"order": direction, "unmapped_type": "long"}})];
        by.extend(sort(Order::NewestFirst).as_array().cloned().unwrap_or_default());
        let body = json!({"sort": by, "query": {"bool": {"filter": filter}}, "track_total_hits": false});
        let found = self.fetch(Wanted { body, size, order: Order::NewestFirst, own: 1 }).await?;
        found.incomplete.clone().map_or(Ok(found), |reason| Err(SearchError::Unavailable(reason)))
    }

    async fn read_around(&self, line: LineAt, before: usize, after: usize) -> Result<Around, SearchError> {
        if line.file.len() != 16 || !line.file.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(SearchError::Refused("a file is named by 16 hex digits, as in logweir.file".to_owned()));
        }
        let (before, after) = (before.min(MAX_PAGE), after.min(MAX_PAGE));
        let (earlier, there, later) = futures_util::future::try_join3(
            self.side(&line, "lt", Order::NewestFirst, before),
            self.side(&line, "gte", Order::OldestFirst, 1),
            self.side(&line, "gt", Order::OldestFirst, after),
        )
        .await?;
        let there = there.hits.into_iter().find(|hit| hit.offset == Some(line.offset));
        let all = |side: Documents| side.hits.into_iter().chain(side.beyond).map(Ok);
        let more = (earlier.more, later.more);
        let around = centred(there, (before, all(earlier)), (after, all(later)))?;
        Ok(Around { more_before: around.more_before || more.0, more_after: around.more_after || more.1, ..around })
    }
}

/// The documents of an answer.
fn hits(body: &mut Value, order: Order) -> Result<Vec<Hit>, SearchError> {
    let Value::Array(found) = body["hits"]["hits"].take() else { return Ok(Vec::new()) };
    found.into_iter().map(|document| fetch::hit(document, order, 0)).collect()
}

impl Backend for Elastic {
    fn page(&self, request: PageRequest) -> BoxFuture<'_, Result<Page, SearchError>> {
        Box::pin(self.read_page(request))
    }

    fn histogram(&self, scope: Scope, interval_ms: i64) -> BoxFuture<'_, Result<Histogram, SearchError>> {
        Box::pin(self.count_bars(scope, interval_ms))
    }

    fn top_values(&self, scope: Scope, field: String, size: usize) -> BoxFuture<'_, Result<TopValues, SearchError>> {
        Box::pin(self.count_values(scope, field, size))
    }

    fn fields(&self, from_ms: Option<i64>, to_ms: Option<i64>) -> BoxFuture<'_, Result<Vec<Field>, SearchError>> {
        Box::pin(self.read_fields(from_ms, to_ms))
    }

    fn around(&self, line: LineAt, before: usize, after: usize) -> BoxFuture<'_, Result<Around, SearchError>> {
        Box::pin(self.read_around(line, before, after))
    }
}
