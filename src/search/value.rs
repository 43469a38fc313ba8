//! Values as a query writes them and as documents hold them. The problem: `503`, `503.0` and `5.03e2` are one number
//! everywhere, and a text that is none is in no field of numbers, whoever is asked.

use super::query::End;
use serde_json::{Map, Value};
use std::{cmp::Ordering, ops::Bound};

/// A number, exact where it is whole.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    /// Of a query's text.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(int) = text.parse::<i64>() {
            return Some(Self::Int(int));
        }
        let numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
        // Not `inf` and `nan`, which are numbers to Rust only.
        let float = text.bytes().all(numeric).then(|| text.parse::<f64>().ok())??;
        float.is_finite().then(|| Self::of_f64(float))
    }

    pub fn of_f64(float: f64) -> Self {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if float.fract() == 0.0 && float.abs() < EXACT { Self::Int(float as i64) } else { Self::Float(float) }
    }

    /// Of a document's value.
    pub fn of(value: &Value) -> Option<Self> {
        let Value::Number(number) = value else { return None };
        number.as_i64().map(Self::Int).or_else(|| number.as_f64().map(Self::of_f64))
    }

    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    pub fn to_text(self) -> String {
        match self {
            Self::Int(int) => int.to_string(),
            Self::Float(float) => float.to_string(),
        }
    }

    pub fn to_json(self) -> Value {
        match self {
            Self::Int(int) => int.into(),
            Self::Float(float) => float.into(),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (a, b) => a.as_f64().partial_cmp(&b.as_f64()),
        }
    }
}

/// Both ends of a range as values of one type; `None` when one of them is none.
pub fn bounds<T>(from: &End, to: &End, read: impl Fn(&str) -> Option<T>) -> Option<(Bound<T>, Bound<T>)> {
    let bound = |end: &End| match end {
        End::Open => Some(Bound::Unbounded),
        End::Including(value) => read(value).map(Bound::Included),
        End::Excluding(value) => read(value).map(Bound::Excluded),
    };
    Some((bound(from)?, bound(to)?))
}

/// Whether a value lies between two bounds.
pub fn within<T: PartialOrd + ?Sized, B: std::borrow::Borrow<T>>(value: &T, bounds: &(Bound<B>, Bound<B>)) -> bool {
    let above = match &bounds.0 {
        Bound::Unbounded => true,
        Bound::Included(from) => value >= from.borrow(),
        Bound::Excluded(from) => value > from.borrow(),
    };
    above
        && match &bounds.1 {
            Bound::Unbounded => true,
            Bound::Included(to) => value <= to.borrow(),
            Bound::Excluded(to) => value < to.borrow(),
        }
}

/// A document's fields by their full dotted names.
pub fn flat(document: Value) -> Map<String, Value> {
    fn add(fields: &mut Map<String, Value>, name: &str, value: Value) {
        match value {
            Value::Object(inner) => {
                for (key, value) in inner {
                    let name = if name.is_empty() { key } else { format!("{name}.{key}") };
                    add(fields, &name, value);
                }
            }
            value => _ = fields.insert(name.to_owned(), value),
        }
    }
    let mut fields = Map::new();
    add(&mut fields, "", document);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_is_one_however_it_is_written() {
        for text in ["503", "503.0", "5.03e2", "+503"] {
            assert_eq!(Number::parse(text), Some(Number::Int(503)), "{text}");
        }
        assert_eq!(Number::of(&json!(503.0)), Number::parse("503"));
        assert_eq!(Number::parse("9223372036854775807").map(Number::to_text), Some("9223372036854775807".into()));
        assert!(Number::parse("1.5") > Number::parse("1") && Number::parse("1.5") < Number::parse("2"));
        for text in ["", "abc", "inf", "NaN", "1d", "0x10", " 1", "1e999", "-", "e"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn documents_are_flattened() {
        let document = json!({"a": {"b": 1, "c.d": [1, {"x": 2}]}, "e": {}});
        assert_eq!(Value::Object(flat(document)), json!({"a.b": 1, "a.c.d": [1, {"x": 2}]}));
    }
}
