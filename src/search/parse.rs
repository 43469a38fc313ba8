//! From text to a [`Query`]. The problem: people paste lines of logs into a search, so what can be understood is, and
//! what can't is refused with the character and what was expected there. What the notation means stands with [`Query`].
//!
//! A colon makes a field's name of what stands before it, but not in `http://..`, `a::b` and `12:30`: a name begins
//! with a letter, `_` or `@`.

mod reading;

use super::{
    glob::MAX_WILDCARDS,
    query::{DEFAULT_FIELD, End, Query, TIME_FIELD, Test},
    span,
};
use crate::document::words;
use reading::{ends_word, word_test};

/// A longer query is refused.
pub const MAX_BYTES: usize = 32 << 10;

/// More parentheses and NOT within each other are refused.
pub const MAX_DEPTH: usize = 100;

/// More tests in one query are refused, as the stores would.
pub const MAX_TESTS: usize = 500;

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("character {}: expected {expected}, found {found}", position + 1)]
pub struct QueryError {
    /// Where, in characters from the beginning.
    pub position: usize,
    /// What would have been right there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

const TERM: &str = "a word, a \"phrase\", field:value or (";
const NO_WORD: &str = "letters or digits, which is what words of a text are made of";

/// Reads a query; an empty text asks for every document.
///
/// # Errors
/// The first mistake.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    let mut parser = Parser { text, at: 0, depth: 0, tests: 0, field: None };
    if text.len() > MAX_BYTES {
        return Err(QueryError {
            position: text[..text.floor_char_boundary(MAX_BYTES)].chars().count(),
            expected: format!("a query of at most {MAX_BYTES} bytes"),
            found: format!("{} bytes", text.len()),
        });
    }
    parser.skip_space();
    if parser.peek().is_none() {
        return Ok(Query::All);
    }
    let query = parser.or()?;
    match parser.peek() {
        None => Ok(query),
        Some(_) => Err(parser.expected(parser.at, "the end, or ( further ahead")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Bytes that are read.
    at: usize,
    depth: usize,
    tests: usize,
    /// The field of the group that is being read: `status:( .. )`.
    field: Option<String>,
}

impl Parser<'_> {
    /// One level further down; what is read there begins at `at`.
    fn deeper(
        &mut self,
        at: usize,
        read: impl FnOnce(&mut Self) -> Result<Query, QueryError>,
    ) -> Result<Query, QueryError> {
        if self.depth == MAX_DEPTH {
            return Err(self.expected(at, format!("at most {MAX_DEPTH} levels of parentheses and NOT")));
        }
        self.depth += 1;
        let query = read(self);
        self.depth -= 1;
        query
    }

    fn or(&mut self) -> Result<Query, QueryError> {
        let mut parts = vec![self.and()?];
        while self.keyword("OR") {
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Query::Or))
    }

    fn and(&mut self) -> Result<Query, QueryError> {
        let mut parts = vec![self.unary()?];
        while self.keyword("AND") || !(self.peek().is_none_or(|c| c == ')') || self.sees_keyword("OR")) {
            parts.push(self.unary()?);
        }
        Ok(one_or(parts, Query::And))
    }

    fn unary(&mut self) -> Result<Query, QueryError> {
        let start = self.at;
        let dash = self.rest().starts_with('-') && !self.rest().starts_with("--");
        if dash {
            self.at += 1;
            if self.peek().is_none_or(char::is_whitespace) {
                return Err(self.expected(self.at, "what is to be left out, directly behind the -"));
            }
        }
        if dash || self.keyword("NOT") {
            return Ok(Query::Not(Box::new(self.deeper(start, Self::unary)?)));
        }
        let query = self.primary()?;
        self.skip_space();
        Ok(query)
    }

    fn primary(&mut self) -> Result<Query, QueryError> {
        let start = self.at;
        match self.peek() {
            None | Some(')') => return Err(self.expected(start, TERM)),
            Some('(') => return self.group(),
            Some('"') => {
                let value = self.quoted()?;
                return self.field_test(start, Test::Is(value));
            }
            Some(_) if ["AND", "OR"].iter().any(|word| self.sees_keyword(word)) => {
                return Err(self.expected(start, TERM));
            }
            Some(_) => {}
        }
        if let Some(name) = self.field_name()? {
            let outer = self.field.replace(name);
            let query = self.value();
            self.field = outer;
            return query;
        }
        let word = self.written(ends_word)?;
        if word.glob.is_any() && self.field.is_none() {
            return Ok(Query::All);
        }
        self.field_test(start, word_test(word))
    }

    fn group(&mut self) -> Result<Query, QueryError> {
        let start = self.at;
        self.deeper(start, |parser| {
            parser.at += 1;
            parser.skip_space();
            let query = parser.or()?;
            if !parser.eat(')') {
                let open = parser.text[..start].chars().count() + 1;
                return Err(parser.expected(parser.at, format!(") for the ( at character {open}")));
            }
            Ok(query)
        })
    }

    /// `name:`, if that is what comes.
    fn field_name(&mut self) -> Result<Option<String>, QueryError> {
        let start = self.at;
        let name = self.written(|c| ends_word(c) || c == ':')?;
        let colon = self.rest().starts_with(':') && !["::", "://"].iter().any(|no| self.rest().starts_with(no));
        if colon && name.has_wildcards() {
            return Err(self.expected(start, "the name of a field, without wildcards"));
        }
        if colon && name.is_name() {
            self.at += 1;
            return Ok(Some(name.glob.prefix()));
        }
        self.at = start;
        Ok(None)
    }

    /// What stands behind `name:`.
    fn value(&mut self) -> Result<Query, QueryError> {
        let start = self.at;
        let test = match self.peek() {
            Some('(') => return self.group(),
            Some('"') => Test::Is(self.quoted()?),
            Some('[' | '{') => self.range()?,
            Some('<' | '>') => self.comparison()?,
            None | Some(')') => return Err(self.expected(start, "a value")),
            Some(c) if c.is_whitespace() => return Err(self.expected(start, "a value, directly behind the colon")),
            Some(_) => word_test(self.written(ends_word)?),
        };
        self.field_test(start, test)
    }

    fn comparison(&mut self) -> Result<Test, QueryError> {
        let greater = self.eat('>');
        if !greater {
            self.at += 1;
        }
        let including = self.eat('=');
        let value = self.end_value(ends_word)?.ok_or_else(|| self.expected(self.at, "a value, not *"))?;
        let end = if including { End::Including(value) } else { End::Excluding(value) };
        let (from, to) = if greater { (end, End::Open) } else { (End::Open, end) };
        Ok(Test::Range { from, to })
    }

    fn range(&mut self) -> Result<Test, QueryError> {
        let ends_value = |c: char| ends_word(c) || c == ']' || c == '}';
        let from_including = self.eat('[');
        if !from_including {
            self.at += 1;
        }
        self.skip_space();
        let from = self.end_value(ends_value)?;
        self.skip_space();
        if !self.keyword("TO") {
            return Err(self.expected(self.at, "TO and the end of the range"));
        }
        let to = self.end_value(ends_value)?;
        self.skip_space();
        let to_including = self.eat(']');
        if !to_including && !self.eat('}') {
            return Err(self.expected(self.at, "] or } at the end of the range"));
        }
        let end = |value: Option<String>, including| match value {
            None => End::Open,
            Some(value) if including => End::Including(value),
            Some(value) => End::Excluding(value),
        };
        match (end(from, from_including), end(to, to_including)) {
            (End::Open, End::Open) => Ok(Test::Exists),
            (from, to) => Ok(Test::Range { from, to }),
        }
    }

    /// One end of a range; `None` for `*`.
    fn end_value(&mut self, ends: impl Fn(char) -> bool) -> Result<Option<String>, QueryError> {
        if self.peek() == Some('"') {
            return self.quoted().map(Some);
        }
        let start = self.at;
        let word = self.written(ends)?;
        if word.glob.is_any() {
            return Ok(None);
        }
        if word.glob.tokens().is_empty() {
            return Err(self.expected(start, "a value, or * for no limit"));
        }
        if word.has_wildcards() {
            return Err(self.expected(start, "a value without wildcards"));
        }
        Ok(Some(word.glob.prefix()))
    }

    /// The test, of the field that is being read, checked as far as it can be without documents.
    fn field_test(&mut self, start: usize, test: Test) -> Result<Query, QueryError> {
        self.tests += 1;
        if self.tests > MAX_TESTS {
            return Err(self.expected(start, format!("at most {MAX_TESTS} words and values")));
        }
        let name = self.field.clone().unwrap_or_else(|| DEFAULT_FIELD.to_owned());
        match mistake(&name, &test) {
            Some(expected) => Err(self.expected(start, expected)),
            None => Ok(Query::Field { name, test }),
        }
    }
}

/// What should have been asked instead of this test.
fn mistake(name: &str, test: &Test) -> Option<String> {
    let no_time = |value: &str| span::absolute(value).is_err();
    let wrong = match (name, test) {
        (_, Test::Wildcard(glob)) if glob.wildcards() > MAX_WILDCARDS => {
            return Some(format!("at most {MAX_WILDCARDS} wildcards in one word"));
        }
        (DEFAULT_FIELD, Test::Is(value)) => words(value).is_empty().then_some(NO_WORD),
        (DEFAULT_FIELD, Test::Wildcard(glob)) => glob.words().is_empty().then_some(NO_WORD),
        (DEFAULT_FIELD, Test::Range { .. }) => Some("a word: a text has no ranges"),
        (TIME_FIELD, Test::Is(value)) => no_time(value).then_some(span::FORM),
        (TIME_FIELD, Test::Wildcard(_)) => Some(span::FORM),
        (TIME_FIELD, Test::Range { from, to }) => {
            [from, to].into_iter().filter_map(End::value).any(no_time).then_some(span::FORM)
        }
        _ => None,
    };
    wrong.map(str::to_owned)
}

fn one_or(mut parts: Vec<Query>, all: fn(Vec<Query>) -> Query) -> Query {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => all(parts),
    }
}

#[cfg(test)]
mod tests;
