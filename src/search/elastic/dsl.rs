//! From a query to Elasticsearch's. The problem: it refuses a whole query for one value that can't be of a field's type,
//! where here such a value is in no document; so the kinds of the fields are asked for first.

use super::super::{
    glob::{Glob, Token, Wildcard, Words},
    model::FieldKind,
    query::{DEFAULT_FIELD, End, Query, TIME_FIELD, Test},
    span,
    value::{Number, bounds},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

/// Fields of every document of ours; their kinds aren't asked for.
const FIXED: [(&str, FieldKind); 10] = [
    (TIME_FIELD, FieldKind::Date),
    (DEFAULT_FIELD, FieldKind::Text),
    ("host.name", FieldKind::Keyword),
    ("log.file.path", FieldKind::Keyword),
    ("log.offset", FieldKind::Integer),
    ("logweir.file", FieldKind::Keyword),
    ("logweir.topic", FieldKind::Keyword),
    ("logweir.part", FieldKind::Keyword),
    ("logweir.partition", FieldKind::Integer),
    ("logweir.offset", FieldKind::Integer),
];

/// What kinds of values fields have; more than one where indices differ.
#[derive(Debug, Default)]
pub struct Kinds(BTreeMap<String, BTreeSet<FieldKind>>);

impl Kinds {
    pub fn want(&mut self, name: &str) {
        let fixed = FIXED.iter().find(|(fixed, _)| *fixed == name).map(|(_, kind)| *kind);
        self.0.entry(name.to_owned()).or_default().extend(fixed);
    }

    /// Fields that have to be asked for.
    pub fn unknown(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, kinds)| kinds.is_empty()).map(|(name, _)| name.as_str()).collect()
    }

    /// From `_field_caps`.
    pub fn learn(&mut self, answered: &Value) {
        for (name, kinds) in self.0.iter_mut().filter(|(_, kinds)| kinds.is_empty()) {
            let types = answered[name].as_object().into_iter().flatten();
            kinds.extend(types.filter_map(|(name, _)| kind(name)));
        }
    }
}

fn kind(name: &str) -> Option<FieldKind> {
    Some(match name {
        "text" | "match_only_text" => FieldKind::Text,
        "keyword" | "constant_keyword" | "wildcard" | "ip" | "version" => FieldKind::Keyword,
        "long" | "integer" | "short" | "byte" | "unsigned_long" => FieldKind::Integer,
        "double" | "float" | "half_float" | "scaled_float" => FieldKind::Float,
        "boolean" => FieldKind::Boolean,
        "date" | "date_nanos" => FieldKind::Date,
        _ => return None,
    })
}

/// All fields with values of `_field_caps`.
pub fn fields(answered: &Value) -> BTreeMap<String, FieldKind> {
    let widest = |types: &Value| {
        let own = |(name, of): (&String, &Value)| kind(name).filter(|_| of["metadata_field"] != Value::Bool(true));
        types.as_object()?.iter().filter_map(own).reduce(FieldKind::wider)
    };
    let fields = answered.as_object().into_iter().flatten();
    fields.filter_map(|(name, types)| Some((name.clone(), widest(types)?))).collect()
}

/// A filter for the time.
pub fn span(from_ms: Option<i64>, to_ms: Option<i64>) -> impl Iterator<Item = Value> {
    let mut range = json!({"format": "epoch_millis"});
    if let Some(from) = from_ms {
        range["gte"] = from.into();
    }
    if let Some(to) = to_ms {
        range["lt"] = to.into();
    }
    (from_ms.is_some() || to_ms.is_some()).then(|| json!({"range": {TIME_FIELD: range}})).into_iter()
}

fn none() -> Value {
    json!({"match_none": {}})
}

fn any_of(mut parts: Vec<Value>) -> Value {
    match parts.len() {
        0 => none(),
        1 => parts.swap_remove(0),
        _ => json!({"bool": {"should": parts, "minimum_should_match": 1}}),
    }
}

/// The query; nothing is scored.
pub fn query(asked: &Query, kinds: &Kinds) -> Value {
    match asked {
        Query::All => json!({"match_all": {}}),
        Query::And(parts) => {
            json!({"bool": {"filter": parts.iter().map(|part| query(part, kinds)).collect::<Vec<_>>()}})
        }
        Query::Or(parts) => any_of(parts.iter().map(|part| query(part, kinds)).collect()),
        Query::Not(part) => json!({"bool": {"must_not": [query(part, kinds)]}}),
        Query::Field { name, test: Test::Exists } => json!({"exists": {"field": name}}),
        Query::Field { name, test: asked } => {
            let kinds = kinds.0.get(name).into_iter().flatten();
            any_of(kinds.filter_map(|kind| test(name, *kind, asked)).collect())
        }
    }
}

/// `None` where no value of this kind passes.
fn test(name: &str, kind: FieldKind, test: &Test) -> Option<Value> {
    match test {
        Test::Exists => Some(json!({"exists": {"field": name}})),
        Test::Is(value) => match kind {
            FieldKind::Text => Some(json!({"match_phrase": {name: value}})),
            FieldKind::Keyword => Some(json!({"term": {name: {"value": value}}})),
            FieldKind::Integer => match Number::parse(value)? {
                Number::Int(int) => Some(json!({"term": {name: {"value": int}}})),
                Number::Float(_) => None,
            },
            FieldKind::Float => Some(json!({"term": {name: {"value": Number::parse(value)?.to_json()}}})),
            FieldKind::Boolean => Some(json!({"term": {name: {"value": value.parse::<bool>().ok()?}}})),
            FieldKind::Date => {
                let ms = span::absolute(value).ok()?;
                Some(json!({"range": {name: {"gte": ms, "lte": ms, "format": "epoch_millis"}}}))
            }
        },
        Test::Wildcard(glob) => match kind {
            FieldKind::Text => words(name, glob),
            FieldKind::Keyword => Some(like(name, glob)),
            _ => None,
        },
        Test::Range { from, to } => range(name, kind, from, to),
    }
}

fn range(name: &str, kind: FieldKind, from: &End, to: &End) -> Option<Value> {
    let mut range = match kind {
        FieldKind::Text | FieldKind::Boolean => return None,
        FieldKind::Keyword => ends(bounds(from, to, |end| Some(Value::from(end)))?),
        FieldKind::Float => ends(bounds(from, to, |end| Number::parse(end).map(Number::to_json))?),
        // Beyond what a `long` holds Elasticsearch refuses the query.
        FieldKind::Integer => ends(bounds(from, to, |end| {
            let number = Number::parse(end)?;
            Some(match number {
                Number::Float(float) if float.abs() >= 9.2e18 => (float as i64).into(),
                number => number.to_json(),
            })
        })?),
        FieldKind::Date => ends(bounds(from, to, |end| span::absolute(end).ok().map(Value::from))?),
    };
    if kind == FieldKind::Date {
        range["format"] = "epoch_millis".into();
    }
    Some(json!({"range": {name: range}}))
}

fn ends((from, to): (Bound<Value>, Bound<Value>)) -> Value {
    let mut range = json!({});
    match from {
        Bound::Unbounded => {}
        Bound::Included(value) => range["gte"] = value,
        Bound::Excluded(value) => range["gt"] = value,
    }
    match to {
        Bound::Unbounded => {}
        Bound::Included(value) => range["lte"] = value,
        Bound::Excluded(value) => range["lt"] = value,
    }
    range
}

/// A pattern over a text.
fn words(name: &str, glob: &Glob) -> Option<Value> {
    let one = |wanted| match wanted {
        Words::Phrase(words) => json!({"match_phrase": {name: words.join(" ")}}),
        Words::Like(glob) => like(name, &glob),
    };
    let parts: Vec<_> = glob.words().into_iter().map(one).collect();
    (!parts.is_empty()).then(|| json!({"bool": {"filter": parts}}))
}

fn like(name: &str, glob: &Glob) -> Value {
    if glob.is_prefix() {
        return json!({"prefix": {name: {"value": glob.prefix()}}});
    }
    let mut pattern = String::new();
    for token in glob.tokens() {
        match token {
            Token::Wildcard(Wildcard::Any) => pattern.push('*'),
            Token::Wildcard(Wildcard::One) => pattern.push('?'),
            Token::Char(c) => {
                if matches!(c, '*' | '?' | '\\') {
                    pattern.push('\\');
                }
                pattern.push(*c);
            }
        }
    }
    json!({"wildcard": {name: {"value": pattern}}})
}

#[cfg(test)]
mod tests {
    use super::{super::super::parse::parse, *};

    fn dsl(text: &str) -> Value {
        let asked = parse(text).unwrap();
        let mut kinds = Kinds::default();
        asked.each_field(&mut |name| kinds.want(name));
        kinds.learn(&json!({"status": {"long": {}}, "both": {"long": {}, "keyword": {}}, "ok": {"boolean": {}}}));
        query(&asked, &kinds)
    }

    #[test]
    fn what_cannot_be_is_asked_of_nobody() {
        assert_eq!(
            dsl("status:abc OR status:50*"),
            json!({"bool": {"should": [none(), none()], "minimum_should_match": 1}})
        );
        assert_eq!(dsl("unknown:5"), none());
        assert_eq!(dsl("ok:[a TO b]"), none());
        assert_eq!(dsl("status:503.0"), json!({"term": {"status": {"value": 503}}}));
        assert_eq!(dsl("both:x"), json!({"term": {"both": {"value": "x"}}}));
    }

    #[test]
    fn patterns_are_escaped_and_split_into_words() {
        assert_eq!(dsl("host.name:a\\*b?"), json!({"wildcard": {"host.name": {"value": "a\\*b?"}}}));
        assert_eq!(
            dsl("read_time*"),
            json!({"bool": {"filter": [{"match_phrase": {"message": "read"}}, {"prefix": {"message": {"value": "time"}}}]}})
        );
    }
}
