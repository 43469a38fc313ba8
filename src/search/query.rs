//! A query as it was meant. The problem: what a person types has one meaning, and every store has to find the same
//! documents by it.
//!
//! ```text
//! timeout                 the word in the default field, `message`; letter case doesn't matter
//! "read timed out"        the words in this order, next to each other
//! 10.0.0.1  read_timeout  the same: what is made of several words means these words next to each other
//! conn*  c?nn  *fail*     prefix and wildcards over single words (or over the whole value of a keyword field)
//! status:503  host.name:web-*  labels.team:"web front"      a field
//! status:(500 OR 503)     several tests of one field
//! status:>=500  log.offset:[10 TO 20]  status:{400 TO *}    ranges; [ ] with, { } without the end
//! field:*                 the field is there
//! a b   a AND b   a OR b   NOT a   -a   (a OR b) c          AND is meant where nothing stands; it binds closer than OR
//! \                       makes the next character an ordinary one
//! ```
//! A value that can't be one of the field's (`abc` in a field of numbers) is in no document, and neither is a field
//! that doesn't exist; both are no mistake, because tomorrow's documents may have them.

use super::glob::Glob;
use std::fmt::{self, Display, Formatter, Write};

/// What a document has to be like.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// Every document.
    All,
    /// All of these; never empty.
    And(Vec<Query>),
    /// Any of these; never empty.
    Or(Vec<Query>),
    Not(Box<Query>),
    /// The field has a value that passes the test.
    Field {
        name: String,
        test: Test,
    },
}

/// A test of one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// There is a value.
    Exists,
    /// Text: its words in this order, next to each other. Anything else: equal, as the value's own type.
    Is(String),
    /// Over one word of a text, or over the whole value of a keyword. Of a pattern that is made of several words
    /// (`read_time*`) each is looked for by itself.
    Wildcard(Glob),
    /// Numbers and dates by size, keywords by their bytes. Never open at both ends.
    Range { from: End, to: End },
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    Open,
    Including(String),
    Excluding(String),
}

/// The field that a word without a field is searched in.
pub const DEFAULT_FIELD: &str = "message";

/// The field that a document's time stands in.
pub const TIME_FIELD: &str = "@timestamp";

impl End {
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Open => None,
            Self::Including(value) | Self::Excluding(value) => Some(value),
        }
    }
}

impl Query {
    /// Calls `each` with every test that a found document can have passed: not with those that are negated.
    pub fn each_wanted<'a>(&'a self, each: &mut impl FnMut(&'a str, &'a Test)) {
        match self {
            Self::All | Self::Not(_) => {}
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.each_wanted(each)),
            Self::Field { name, test } => each(name, test),
        }
    }

    /// Calls `each` with the field of every test.
    pub fn each_field<'a>(&'a self, each: &mut impl FnMut(&'a str)) {
        match self {
            Self::All => {}
            Self::Not(part) => part.each_field(each),
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.each_field(each)),
            Self::Field { name, .. } => each(name),
        }
    }
}

/// Text that [`super::parse::parse`] reads as this query again.
impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_char('*'),
            Self::And(parts) => joined(f, parts, " ", |part| matches!(part, Self::And(_) | Self::Or(_))),
            Self::Or(parts) => joined(f, parts, " OR ", |part| matches!(part, Self::Or(_))),
            Self::Not(part) => {
                f.write_str("NOT ")?;
                in_parentheses(f, part, matches!(**part, Self::And(_) | Self::Or(_)))
            }
            Self::Field { name, test } => {
                let alone = name == DEFAULT_FIELD && matches!(test, Test::Is(_) | Test::Wildcard(_));
                if !alone {
                    // Where `write_escaped` wouldn't, so that it is taken for a name.
                    if name.starts_with(|c: char| c == '.' || c.is_numeric()) {
                        f.write_char('\\')?;
                    }
                    write_escaped(f, name)?;
                    f.write_char(':')?;
                }
                test.fmt(f)
            }
        }
    }
}

fn joined(f: &mut Formatter<'_>, parts: &[Query], between: &str, inner: fn(&Query) -> bool) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        in_parentheses(f, part, inner(part))?;
    }
    Ok(())
}

fn in_parentheses(f: &mut Formatter<'_>, part: &Query, needed: bool) -> fmt::Result {
    if needed { write!(f, "({part})") } else { part.fmt(f) }
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_char('*'),
            Self::Is(value) => write_value(f, value),
            Self::Wildcard(glob) => glob.each_piece(|piece| match piece {
                Err(wildcard) => f.write_char(wildcard.as_char()),
                Ok(literal) => write_escaped(f, literal),
            }),
            Self::Range { from, to } => {
                f.write_char(if matches!(from, End::Excluding(_)) { '{' } else { '[' })?;
                write_end(f, from)?;
                f.write_str(" TO ")?;
                write_end(f, to)?;
                f.write_char(if matches!(to, End::Excluding(_)) { '}' } else { ']' })
            }
        }
    }
}

fn write_end(f: &mut Formatter<'_>, end: &End) -> fmt::Result {
    match end.value() {
        None => f.write_char('*'),
        Some(value) => write_value(f, value),
    }
}

/// A value without quotes where that is safe.
fn write_value(f: &mut Formatter<'_>, value: &str) -> fmt::Result {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    let safe = value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value.chars().all(plain)
        && !["AND", "OR", "NOT", "TO"].contains(&value);
    if safe {
        return f.write_str(value);
    }
    f.write_char('"')?;
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}

/// Text in which no character has a meaning of its own.
fn write_escaped(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if !(c.is_alphanumeric() || matches!(c, '_' | '.' | '@')) {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    Ok(())
}
