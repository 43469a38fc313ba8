//! The characters of a query: words with their wildcards and escapes, quoted texts, keywords. What they mean together is
//! `parse`'s.

use super::{
    super::{
        glob::{Glob, Token, Wildcard},
        query::Test,
    },
    Parser, QueryError,
};

/// A word as it was written.
#[derive(Default)]
pub(super) struct Written {
    pub(super) glob: Glob,
    escaped_first: bool,
}

impl Written {
    pub(super) fn has_wildcards(&self) -> bool {
        self.glob.wildcards() > 0
    }

    pub(super) fn is_name(&self) -> bool {
        let first = self.glob.tokens().first();
        let begins_well = |c: char| self.escaped_first || c.is_alphabetic() || c == '_' || c == '@';
        matches!(first, Some(Token::Char(c)) if begins_well(*c))
    }
}

pub(super) fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"')
}

/// The test that a word stands for.
pub(super) fn word_test(word: Written) -> Test {
    if word.glob.is_any() {
        Test::Exists
    } else if word.has_wildcards() {
        Test::Wildcard(word.glob)
    } else {
        Test::Is(word.glob.prefix())
    }
}

impl Parser<'_> {
    pub(super) fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.at += wanted.len_utf8();
        }
        there
    }

    pub(super) fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    pub(super) fn expected(&self, at: usize, what: impl Into<String>) -> QueryError {
        let found = match self.text[at..].chars().next() {
            Some(c) => format!("{c:?}"),
            None => "the end".to_owned(),
        };
        QueryError { position: self.text[..at].chars().count(), expected: what.into(), found }
    }

    pub(super) fn sees_keyword(&self, word: &str) -> bool {
        self.rest().strip_prefix(word).is_some_and(|rest| rest.chars().next().is_none_or(ends_word))
    }

    pub(super) fn keyword(&mut self, word: &str) -> bool {
        let there = self.sees_keyword(word);
        if there {
            self.at += word.len();
            self.skip_space();
        }
        there
    }

    pub(super) fn quoted(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        let (mut value, mut escaped) = (String::new(), false);
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                _ if escaped => {
                    escaped = false;
                    value.push(c);
                }
                '\\' => escaped = true,
                '"' => {
                    self.at += at + 1;
                    return Ok(value);
                }
                c => value.push(c),
            }
        }
        let open = self.text[..start].chars().count() + 1;
        Err(self.expected(self.text.len(), format!("\" for the \" at character {open}")))
    }

    /// The characters up to one at which `ends` says so.
    pub(super) fn written(&mut self, ends: impl Fn(char) -> bool) -> Result<Written, QueryError> {
        let mut word = Written::default();
        while let Some(c) = self.peek().filter(|c| !ends(*c)) {
            self.at += c.len_utf8();
            word.glob.push(match c {
                '*' => Token::Wildcard(Wildcard::Any),
                '?' => Token::Wildcard(Wildcard::One),
                '\\' => {
                    let Some(c) = self.peek() else { return Err(self.expected(self.at, "a character behind the \\")) };
                    word.escaped_first |= word.glob.tokens().is_empty();
                    self.at += c.len_utf8();
                    Token::Char(c)
                }
                c => Token::Char(c),
            });
        }
        Ok(word)
    }
}
