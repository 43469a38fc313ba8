//! A query as it was meant. The problem: what a person types has one meaning, and every store has to find the same
//! documents by it.
//!
//! ```text
//! timeout                 the word in the default field, `message`; letter case doesn't matter
//! "read timed out"        the words in this order, next to each other
//! conn*  c?nn  *fail*     prefix and wildcards over single words (or over the whole value of a keyword field)
//! status:503  host.name:web-*  labels.team:"web front"      a field
//! status:>=500  log.offset:[10 TO 20]  status:{400 TO *}    ranges; [ ] with, { } without the end
//! field:*                 the field is there
//! a b   a AND b   a OR b   NOT a   -a   (a OR b) c          AND is meant where nothing stands; it binds closer than OR
//! ```

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
    /// Text: all its words, in any order. Anything else: equal, as the field's own type.
    Is(String),
    /// Text: these words in this order, next to each other. Anything else: equal.
    Phrase(String),
    /// `*` any characters, `?` one; over one word of a text (lower-cased), or over the whole value of a keyword. A lone
    /// trailing `*` is a prefix. `\` makes the next character an ordinary one.
    Wildcard(String),
    /// Numbers and dates by size, keywords by their bytes.
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
