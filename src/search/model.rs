//! What is asked and what is answered, whoever answers: Elasticsearch or the embedded index. The problem: a page, a
//! command and two stores have to mean the same by "newest first", "the lines around this one" and "go on from here".

use super::query::Query;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Which documents: a query, within a span of `@timestamp`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    pub query: Query,
    /// First millisecond since 1970 that belongs to it; `None`: from the first document on.
    pub from_ms: Option<i64>,
    /// First millisecond that no longer belongs to it; `None`: up to the last document.
    pub to_ms: Option<i64>,
}

/// By `@timestamp`; lines of one millisecond by file and offset, so that the order is total and a file's own order holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// One page of hits.
#[derive(Clone, Debug, PartialEq)]
pub struct PageRequest {
    pub scope: Scope,
    pub order: Order,
    /// At most so many hits, 1 to [`MAX_PAGE`]; fewer, where their bytes fill an answer (`budget`).
    pub size: usize,
    /// Go on behind this hit ([`Page::after`], [`Hit::cursor`]); stable, also while documents are written.
    pub after: Option<String>,
    /// Whether [`Page::total`] is wanted: it costs a count.
    pub count: bool,
}

/// Hits of one page, at most.
pub const MAX_PAGE: usize = 10_000;

/// A document that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// `@timestamp`, milliseconds since 1970.
    pub time_ms: i64,
    /// FILE, 16 hex digits; `None` for a record that another producer wrote to Kafka.
    pub file: Option<String>,
    /// Position of the line's first byte in its file.
    pub offset: Option<u64>,
    /// All fields by their full dotted name (`host.name`), in no particular order.
    pub fields: Map<String, Value>,
    /// For [`PageRequest::after`]: opaque, and good for the order it was made in.
    pub cursor: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    pub hits: Vec<Hit>,
    /// For [`PageRequest::after`], to go on; `None`: that is all. A page that is shorter than was asked for says nothing.
    pub after: Option<String>,
    /// All that match; `None` where it wasn't asked for.
    pub total: Option<u64>,
    /// Some of the data did not answer, and why: what is shown is not all there is.
    pub incomplete: Option<String>,
}

impl Page {
    /// `more`: whether there may be more behind these.
    pub fn new(hits: Vec<Hit>, more: bool, total: Option<u64>) -> Self {
        let after = hits.last().filter(|_| more).map(|hit| hit.cursor.clone());
        Self { hits, after, total, incomplete: None }
    }
}

/// How many match, over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Width of a bar in milliseconds.
    pub interval_ms: i64,
    /// Beginning of each bar (a multiple of the interval since 1970) and its count; bars without documents are left out.
    pub bars: Vec<(i64, u64)>,
    /// All of them together.
    pub total: u64,
}

/// The most frequent values of a field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopValues {
    /// Value as text, and how many documents have it; the most frequent first, equal ones by the value.
    pub values: Vec<(String, u64)>,
    /// Documents that have the field.
    pub with_field: u64,
    /// Documents that match.
    pub total: u64,
}

/// What a field holds; decides which queries it understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Words are found in it (`message`).
    Text,
    /// The whole value is one word.
    Keyword,
    Integer,
    Float,
    Boolean,
    Date,
}

impl FieldKind {
    /// What a field is that holds this and that in different documents.
    pub fn wider(self, other: Self) -> Self {
        let rank = |kind| match kind {
            Self::Text => 5,
            Self::Keyword => 4,
            Self::Date => 3,
            Self::Float => 2,
            Self::Integer => 1,
            Self::Boolean => 0,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub kind: FieldKind,
}

/// A line in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineAt {
    /// FILE, 16 hex digits.
    pub file: String,
    pub offset: u64,
}

/// The lines around one line in its own file, each list in the file's order: the nearest ones,
/// until an answer is full (`budget`), and always the nearest on each side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Around {
    pub before: Vec<Hit>,
    /// The line itself; `None` when it is no longer there.
    pub line: Option<Hit>,
    pub after: Vec<Hit>,
    /// Whether there may be more lines before these.
    pub more_before: bool,
    pub more_after: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SearchError {
    /// The question can't be answered as it is; the text says what to change.
    #[error("{0}")]
    Refused(String),
    /// Nobody answers now; the same question may be answered later.
    #[error("the search does not answer: {0}")]
    Unavailable(String),
    /// The question takes too long or too much memory.
    #[error("the query is too expensive: {0}")]
    TooExpensive(String),
}

type Answer<'a, T> = BoxFuture<'a, Result<T, SearchError>>;

/// Answers questions. Every call has a deadline of its own and may be dropped at any time.
pub trait Backend: Send + Sync {
    fn page(&self, request: PageRequest) -> Answer<'_, Page>;
    /// Bars of `interval_ms`, at most 2000 of them.
    fn histogram(&self, scope: Scope, interval_ms: i64) -> Answer<'_, Histogram>;
    /// The `size` most frequent values of a field that is no text.
    fn top_values(&self, scope: Scope, field: String, size: usize) -> Answer<'_, TopValues>;
    /// Fields that documents of this span have, by name.
    fn fields(&self, from_ms: Option<i64>, to_ms: Option<i64>) -> Answer<'_, Vec<Field>>;
    fn around(&self, line: LineAt, before: usize, after: usize) -> Answer<'_, Around>;
}
