//! Whether one document is what a query asks for: the live tail asks it of every line that comes. The problem: it has to
//! say the same as the stores, so it is also the plainest statement of what a query means; the conformance suite
//! holds all three against each other.

use super::{
    glob::{Glob, Words},
    query::{DEFAULT_FIELD, End, Query, TIME_FIELD, Test},
    span,
    value::{Number, bounds, within},
};
use crate::document::words;
use serde_json::{Map, Value};

/// A query, made ready once.
#[derive(Debug)]
pub struct Matcher(Node);

#[derive(Debug)]
enum Node {
    All,
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Exists(String),
    /// Of [`DEFAULT_FIELD`].
    Words(Vec<Words>),
    Value(String, ValueTest),
}

#[derive(Debug)]
enum ValueTest {
    Is(String),
    Like(Glob),
    Range(End, End),
}

impl Matcher {
    pub fn new(query: &Query) -> Self {
        Self(node(query))
    }

    /// `fields` by their full dotted names.
    pub fn matches(&self, fields: &Map<String, Value>) -> bool {
        // A message's words are worked out when they are first asked for.
        self.0.matches(fields, &mut None)
    }
}

fn node(query: &Query) -> Node {
    match query {
        Query::All => Node::All,
        Query::And(parts) => Node::And(parts.iter().map(node).collect()),
        Query::Or(parts) => Node::Or(parts.iter().map(node).collect()),
        Query::Not(part) => Node::Not(Box::new(node(part))),
        Query::Field { name, test } => match (name.as_str(), test) {
            (_, Test::Exists) => Node::Exists(name.clone()),
            (DEFAULT_FIELD, Test::Is(value)) => Node::Words(vec![Words::Phrase(words(value))]),
            (DEFAULT_FIELD, Test::Wildcard(glob)) => Node::Words(glob.words()),
            (_, Test::Is(value)) => Node::Value(name.clone(), ValueTest::Is(value.clone())),
            (_, Test::Wildcard(glob)) => Node::Value(name.clone(), ValueTest::Like(glob.clone())),
            (_, Test::Range { from, to }) => Node::Value(name.clone(), ValueTest::Range(from.clone(), to.clone())),
        },
    }
}

impl Node {
    fn matches(&self, fields: &Map<String, Value>, message: &mut Option<Vec<String>>) -> bool {
        match self {
            Self::All => true,
            Self::And(parts) => parts.iter().all(|part| part.matches(fields, message)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(fields, message)),
            Self::Not(part) => !part.matches(fields, message),
            Self::Exists(name) => exists(fields, name),
            Self::Words(wanted) => {
                let text = || fields.get(DEFAULT_FIELD).and_then(Value::as_str).unwrap_or_default();
                let there = message.get_or_insert_with(|| words(text()));
                // Nothing to look for is found nowhere.
                !wanted.is_empty() && wanted.iter().all(|wanted| wanted.are_in(there))
            }
            Self::Value(name, test) => match fields.get(name) {
                Some(Value::Array(values)) => values.iter().any(|value| test.passes(name, value)),
                Some(value) => test.passes(name, value),
                None => false,
            },
        }
    }
}

fn exists(fields: &Map<String, Value>, name: &str) -> bool {
    let there = |value: &Value| match value {
        Value::Null => false,
        Value::Array(values) => values.iter().any(|value| !value.is_null()),
        _ => true,
    };
    let below = |field: &str| field.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    fields.get(name).is_some_and(there) || fields.iter().any(|(field, value)| below(field) && there(value))
}

impl Words {
    fn are_in(&self, there: &[String]) -> bool {
        match self {
            Self::Phrase(phrase) => !phrase.is_empty() && there.windows(phrase.len()).any(|at| at == phrase),
            Self::Like(glob) => there.iter().any(|word| glob.matches(word)),
        }
    }
}

impl ValueTest {
    fn passes(&self, name: &str, value: &Value) -> bool {
        if name == TIME_FIELD {
            return self.time_passes(value);
        }
        match (self, value) {
            (Self::Is(wanted), Value::String(text)) => wanted == text,
            (Self::Is(wanted), Value::Bool(value)) => wanted == if *value { "true" } else { "false" },
            (Self::Is(wanted), Value::Number(_)) => Number::parse(wanted).is_some_and(|n| Number::of(value) == Some(n)),
            (Self::Like(glob), Value::String(text)) => glob.matches(text),
            (Self::Range(from, to), Value::String(text)) => {
                bounds(from, to, |end| Some(end.to_owned())).is_some_and(|bounds| within::<str, String>(text, &bounds))
            }
            (Self::Range(from, to), Value::Number(_)) => {
                let bounds = bounds(from, to, Number::parse);
                bounds.zip(Number::of(value)).is_some_and(|(bounds, value)| within(&value, &bounds))
            }
            _ => false,
        }
    }

    fn time_passes(&self, value: &Value) -> bool {
        let Some(time) = value.as_str().and_then(|text| span::absolute(text).ok()).or(value.as_i64()) else {
            return false;
        };
        let absolute = |text: &str| span::absolute(text).ok();
        match self {
            Self::Is(wanted) => absolute(wanted) == Some(time),
            Self::Like(_) => false,
            Self::Range(from, to) => bounds(from, to, absolute).is_some_and(|bounds| within(&time, &bounds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{parse::parse, value::flat},
        *,
    };
    use serde_json::json;

    #[test]
    fn a_document_matches_as_the_notation_says() {
        let fields = flat(json!({
            "@timestamp": "2026-11-21T07:28:32.111Z",
            "message": "GET /Read_Timeout: 10.0.0.1 连接失败",
            "host": {"name": "web-01"},
            "log": {"offset": 18},
            "status": 503,
            "took": 0.5,
            "ok": false,
            "codes": [1, 2],
            "nothing": null,
        }));
        for yes in [
            "*",
            "timeout",
            "READ_timeout",
            "10.0.0.1",
            "\"0 0\"",
            "tim*",
            "read_time*",
            "失败",
            "-gone",
            "status:503",
            "status:503.0",
            "status:>=500",
            "status:[503 TO 600}",
            "took:0.5",
            "took:<1",
            "ok:false",
            "codes:2",
            "host.name:web-*",
            "host.name:[web TO wec]",
            "host:*",
            "log.offset:18",
            "@timestamp:2026-11-21T07:28:32.111Z",
            "@timestamp:>=2026-11-21",
            "message:*",
            "NOT nothing:*",
            "gone OR (get timeout)",
        ] {
            assert!(Matcher::new(&parse(yes).unwrap()).matches(&fields), "{yes}");
        }
        for no in [
            "time",
            "\"timeout read\"",
            "10.0.0.2",
            "status:abc",
            "status:50*",
            "status:504",
            "host.name:web",
            "host.name:WEB-01",
            "host:web-01",
            "took:>0.5",
            "ok:0",
            "codes:3",
            "@timestamp:<2026-11-21",
            "nothing:*",
            "get gone",
            "hos:*",
            "status:[a TO z]",
            "ok:[a TO z]",
            "message:(失连)",
        ] {
            assert!(!Matcher::new(&parse(no).unwrap()).matches(&fields), "{no}");
        }
    }
}
