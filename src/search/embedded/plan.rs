//! From a query to tantivy's, for one day. The problem: what a test means depends on what the field is, and a dynamic
//! field can hold values of several types; a test finds those that it could mean and no others.

use super::{
    super::{
        glob::{Glob, Words},
        model::{FieldKind, Scope, SearchError},
        query::{DEFAULT_FIELD, End, Query, TIME_FIELD, Test},
        span,
        value::{Number, bounds, within},
    },
    not_query::NotQuery,
    scan::Control,
    word_query::{WordQuery, WordTest},
};
use crate::{
    document::words,
    index::{DaySearcher, Fields},
};
use std::{ops::Bound, sync::Arc};
use tantivy::{
    Term,
    query::{AllQuery, BooleanQuery, EmptyQuery, ExistsQuery, PhraseQuery, Query as Tantivy, RangeQuery, TermQuery},
    schema::{Field, IndexRecordOption},
};

/// Fields that every document of the index has, each in a column of its own.
pub const FIXED: [(&str, FieldKind); 4] = [
    (TIME_FIELD, FieldKind::Date),
    (DEFAULT_FIELD, FieldKind::Text),
    (OFFSET, FieldKind::Integer),
    (FILE, FieldKind::Keyword),
];
pub const OFFSET: &str = "log.offset";
pub const FILE: &str = "logweir.file";

pub struct Plan<'a> {
    pub day: &'a DaySearcher,
    pub control: &'a Arc<Control>,
}

type Built = Box<dyn Tantivy>;

fn none() -> Built {
    Box::new(EmptyQuery)
}

fn term(term: Term) -> Built {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn all_of(mut parts: Vec<Built>) -> Built {
    if parts.len() == 1 { parts.swap_remove(0) } else { Box::new(BooleanQuery::intersection(parts)) }
}

fn any_of(mut parts: Vec<Built>) -> Built {
    if parts.len() == 1 { parts.swap_remove(0) } else { Box::new(BooleanQuery::union(parts)) }
}

fn range(bounds: (Bound<Term>, Bound<Term>)) -> Built {
    match bounds {
        (Bound::Unbounded, Bound::Unbounded) => Box::new(AllQuery),
        (from, to) => Box::new(RangeQuery::new(from, to)),
    }
}

fn map<T, U>(bounds: (Bound<T>, Bound<T>), to: impl Fn(T) -> U) -> (Bound<U>, Bound<U>) {
    (bounds.0.map(&to), bounds.1.map(&to))
}

impl Plan<'_> {
    /// What is asked of this day, its time included.
    pub fn scope(&self, scope: &Scope) -> Result<Built, SearchError> {
        let query = self.query(&scope.query);
        let from = scope.from_ms.filter(|from| *from > self.day.day.begin_ms());
        let to = scope.to_ms.filter(|to| *to < self.day.day.end_ms());
        if from.is_none() && to.is_none() {
            return Ok(query);
        }
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        let time = range(map((from, to.map_or(Bound::Unbounded, Bound::Excluded)), time_term));
        Ok(if matches!(scope.query, Query::All) { time } else { all_of(vec![query, time]) })
    }

    fn query(&self, query: &Query) -> Built {
        match query {
            Query::All => Box::new(AllQuery),
            Query::And(parts) => all_of(parts.iter().map(|part| self.query(part)).collect()),
            Query::Or(parts) => any_of(parts.iter().map(|part| self.query(part)).collect()),
            Query::Not(part) => {
                Box::new(NotQuery { excluded: Arc::from(self.query(part)), control: self.control.clone() })
            }
            Query::Field { name, test } => self.test(name, test),
        }
    }

    fn test(&self, name: &str, test: &Test) -> Built {
        match (name, test) {
            (_, Test::Exists) => exists(name),
            (DEFAULT_FIELD, Test::Is(value)) => phrase(words(value)),
            (DEFAULT_FIELD, Test::Wildcard(glob)) => self.words(glob.words()),
            (DEFAULT_FIELD, Test::Range { .. }) | (TIME_FIELD | OFFSET, Test::Wildcard(_)) => none(),
            (TIME_FIELD, Test::Is(value)) => span::absolute(value).map_or_else(|_| none(), |ms| term(time_term(ms))),
            (TIME_FIELD, Test::Range { from, to }) => {
                let bounds = bounds(from, to, |text| span::absolute(text).ok());
                bounds.map_or_else(none, |bounds| range(map(bounds, time_term)))
            }
            (OFFSET, Test::Is(value)) => {
                let end = End::Including(value.clone());
                offset_range(&end, &end)
            }
            (OFFSET, Test::Range { from, to }) => offset_range(from, to),
            (FILE, Test::Is(value)) => file_number(value).map_or_else(none, |file| term(file_term(file))),
            (FILE, Test::Wildcard(glob)) => {
                let glob = glob.clone();
                self.files(move |file| glob.matches(file))
            }
            (FILE, Test::Range { from, to }) => match bounds(from, to, |end| Some(end.to_owned())) {
                Some(bounds) => self.files(move |file| within::<str, String>(file, &bounds)),
                None => none(),
            },
            (_, Test::Is(value)) => any_of(equal(name, value)),
            (_, Test::Wildcard(glob)) => {
                let mut key = dynamic(name);
                key.append_type_and_str("");
                self.like(Fields::get().fields, key.serialized_value_bytes(), glob.clone())
            }
            (_, Test::Range { from, to }) => any_of(ranges(name, from, to)),
        }
    }

    /// A pattern over a text.
    fn words(&self, wanted: Vec<Words>) -> Built {
        let one = |wanted| match wanted {
            Words::Phrase(words) => phrase(words),
            Words::Like(glob) => self.like(Fields::get().message, &[], glob),
        };
        let parts: Vec<_> = wanted.into_iter().map(one).collect();
        if parts.is_empty() { none() } else { all_of(parts) }
    }

    fn like(&self, field: Field, key: &[u8], glob: Glob) -> Built {
        let mut prefix = key.to_vec();
        prefix.extend_from_slice(glob.prefix().as_bytes());
        let test: WordTest = if glob.is_prefix() {
            Arc::new(|_: &[u8]| true)
        } else {
            Arc::new(move |word: &[u8]| std::str::from_utf8(word).is_ok_and(|word| glob.matches(word)))
        };
        Box::new(WordQuery { field, prefix, skip: key.len(), test, control: self.control.clone() })
    }

    /// Files whose name passes.
    fn files(&self, passes: impl Fn(&str) -> bool + Send + Sync + 'static) -> Built {
        let test = move |key: &[u8]| {
            <[u8; 8]>::try_from(key).is_ok_and(|key| passes(&format!("{:016x}", u64::from_be_bytes(key))))
        };
        let (field, control) = (Fields::get().file, self.control.clone());
        Box::new(WordQuery { field, prefix: Vec::new(), skip: 0, test: Arc::new(test), control })
    }
}

fn time_term(ms: i64) -> Term {
    Term::from_field_i64(Fields::get().time, ms)
}

pub fn file_term(file: u64) -> Term {
    Term::from_field_u64(Fields::get().file, file)
}

/// FILE as it is written: 16 lower-case hex digits.
pub fn file_number(text: &str) -> Option<u64> {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == 16 && text.bytes().all(hex)).then(|| u64::from_str_radix(text, 16).ok())?
}

fn exists(name: &str) -> Built {
    let below = |field: &str| field.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if FIXED.iter().any(|(field, _)| below(field)) {
        return Box::new(AllQuery);
    }
    Box::new(ExistsQuery::new(column(name), true))
}

fn phrase(words: Vec<String>) -> Built {
    let mut terms: Vec<_> = words.iter().map(|word| Term::from_field_text(Fields::get().message, word)).collect();
    match terms.len() {
        0 => none(),
        1 => term(terms.swap_remove(0)),
        _ => Box::new(PhraseQuery::new(terms)),
    }
}

/// Offsets are whole and not negative.
fn offset_range(from: &End, to: &End) -> Built {
    let Some(bounds) = bounds(from, to, Number::parse) else { return none() };
    let Some((from, to)) = whole(&bounds) else { return none() };
    let offset = |n: u64| Term::from_field_u64(Fields::get().offset, n);
    range((Bound::Included(offset(from)), Bound::Included(offset(to))))
}

/// The first and the last whole number, from 0 on, between two bounds.
fn whole(bounds: &(Bound<Number>, Bound<Number>)) -> Option<(u64, u64)> {
    let first = match bounds.0 {
        Bound::Unbounded => 0,
        Bound::Included(Number::Int(n)) => n.max(0),
        Bound::Excluded(Number::Int(n)) => n.checked_add(1)?.max(0),
        // Not whole, or beyond what any position can be.
        Bound::Included(Number::Float(n)) | Bound::Excluded(Number::Float(n)) => n.ceil().max(0.0) as i64,
    };
    let last = match bounds.1 {
        Bound::Unbounded => i64::MAX,
        Bound::Included(Number::Int(n)) => n,
        Bound::Excluded(Number::Int(n)) => n.checked_sub(1)?,
        Bound::Included(Number::Float(n)) | Bound::Excluded(Number::Float(n)) => n.floor() as i64,
    };
    (last >= first).then_some((first as u64, last as u64))
}

/// The column of a dynamic field.
pub fn column(name: &str) -> String {
    format!("{}.{name}", Fields::DYNAMIC)
}

fn dynamic(name: &str) -> Term {
    Term::from_field_json_path(Fields::get().fields, name, true)
}

fn number_term(name: &str, number: Number, float: bool) -> Term {
    let mut term = dynamic(name);
    match number {
        Number::Int(int) if !float => term.append_type_and_fast_value(int),
        number => term.append_type_and_fast_value(number.as_f64()),
    }
    term
}

/// Every value that this text can mean.
fn equal(name: &str, value: &str) -> Vec<Built> {
    let mut text = dynamic(name);
    text.append_type_and_str(value);
    let mut found = vec![term(text)];
    if let Some(number) = Number::parse(value) {
        found.push(term(number_term(name, number, false)));
        if matches!(number, Number::Int(_)) {
            found.push(term(number_term(name, number, true)));
        }
    }
    if let Ok(flag) = value.parse::<bool>() {
        let mut boolean = dynamic(name);
        boolean.append_type_and_fast_value(flag);
        found.push(term(boolean));
    }
    found
}

/// Texts between two texts, and numbers between two numbers.
fn ranges(name: &str, from: &End, to: &End) -> Vec<Built> {
    let text = |value: String| {
        let mut term = dynamic(name);
        term.append_type_and_str(&value);
        term
    };
    let mut found = Vec::new();
    if let Some(bounds) = bounds(from, to, |end| Some(end.to_owned())) {
        found.push(range(map(bounds, text)));
    }
    if let Some(bounds) = bounds(from, to, Number::parse) {
        let is_float = |bound: &Bound<Number>| {
            matches!(bound, Bound::Included(Number::Float(_)) | Bound::Excluded(Number::Float(_)))
        };
        // tantivy wants both ends to be of one type.
        let float = is_float(&bounds.0) || is_float(&bounds.1);
        found.push(range(map(bounds, |number| number_term(name, number, float))));
    }
    found
}
