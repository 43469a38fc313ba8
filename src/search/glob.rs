//! Patterns with `*` (any characters) and `?` (one). The problem: they stand in queries over words and over whole
//! values, are handed to two stores in two notations, and mean the same in each; and over a text, a pattern may be
//! made of several words.

use crate::document::{each_word, lower};

/// More wildcards in one pattern are refused: an automaton made of it could be of any size.
pub const MAX_WILDCARDS: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wildcard {
    /// `*`
    Any,
    /// `?`
    One,
}

impl Wildcard {
    pub fn as_char(self) -> char {
        match self {
            Self::Any => '*',
            Self::One => '?',
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Char(char),
    Wildcard(Wildcard),
}

/// A pattern; two `*` never stand side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

/// What a pattern asks of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// These words next to each other.
    Phrase(Vec<String>),
    /// One word that matches; lower-cased.
    Like(Glob),
}

impl Glob {
    pub fn push(&mut self, token: Token) {
        const ANY: Token = Token::Wildcard(Wildcard::Any);
        if token != ANY || self.0.last() != Some(&ANY) {
            self.0.push(token);
        }
    }

    fn push_text(&mut self, text: &str) {
        self.0.extend(text.chars().map(Token::Char));
    }

    pub fn tokens(&self) -> &[Token] {
        &self.0
    }

    /// How many wildcards are in it.
    pub fn wildcards(&self) -> usize {
        self.0.iter().filter(|token| matches!(token, Token::Wildcard(_))).count()
    }

    /// Whether everything matches.
    pub fn is_any(&self) -> bool {
        self.0 == [Token::Wildcard(Wildcard::Any)]
    }

    /// The text that every match begins with.
    pub fn prefix(&self) -> String {
        let chars = self.0.iter().map_while(|token| match token {
            Token::Char(c) => Some(*c),
            Token::Wildcard(_) => None,
        });
        chars.collect()
    }

    /// Whether it is nothing but a prefix: text, and `*` at its end.
    pub fn is_prefix(&self) -> bool {
        self.wildcards() == 1 && self.0.last() == Some(&Token::Wildcard(Wildcard::Any))
    }

    /// Calls `each` with every piece of text and every wildcard, in order.
    pub fn each_piece<E>(&self, mut each: impl FnMut(Result<&str, Wildcard>) -> Result<(), E>) -> Result<(), E> {
        let mut text = String::new();
        for token in &self.0 {
            match token {
                Token::Char(c) => text.push(*c),
                Token::Wildcard(wildcard) => {
                    if !text.is_empty() {
                        each(Ok(&text))?;
                        text.clear();
                    }
                    each(Err(*wildcard))?;
                }
            }
        }
        if text.is_empty() { Ok(()) } else { each(Ok(&text)) }
    }

    /// Whether the whole text matches: a mismatch goes back to the last `*` only, so a long text takes no longer than
    /// its length times the pattern's.
    pub fn matches(&self, text: &str) -> bool {
        let (mut at, mut rest) = (0, text.chars());
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            match (self.0.get(at), rest.clone().next()) {
                (None, None) => return true,
                (Some(Token::Wildcard(Wildcard::Any)), _) => {
                    at += 1;
                    retry = Some((at, rest.clone()));
                    continue;
                }
                (Some(Token::Wildcard(Wildcard::One)), Some(_)) => {}
                (Some(Token::Char(wanted)), Some(there)) if *wanted == there => {}
                _ => {
                    let Some((behind_any, from)) = &mut retry else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    (at, rest) = (*behind_any, from.clone());
                    continue;
                }
            }
            at += 1;
            rest.next();
        }
    }

    /// What it asks of a text. A `*` that stands for words of its own asks for nothing, so this may be empty.
    pub fn words(&self) -> Vec<Words> {
        let mut made = Splitting::default();
        let done: Result<(), std::convert::Infallible> = self.each_piece(|piece| {
            match piece {
                Ok(text) => made.text(text),
                Err(wildcard) => made.open.push(Token::Wildcard(wildcard)),
            }
            Ok(())
        });
        let Ok(()) = done;
        made.close();
        made.words
    }
}

/// A pattern on its way into words.
#[derive(Default)]
struct Splitting {
    words: Vec<Words>,
    /// The word that the next character may still belong to.
    open: Glob,
    /// Whether the last phrase goes on: nothing that may stand for other words has come since.
    adjacent: bool,
}

impl Splitting {
    fn text(&mut self, text: &str) {
        let mut end = 0;
        each_word(text, |place| {
            if place.start > 0 {
                self.close();
            }
            end = place.end;
            self.open.push_text(&lower(&text[place]));
        });
        if end < text.len() {
            self.close();
        }
    }

    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        if open.0.is_empty() {
        } else if open.wildcards() > 0 {
            self.adjacent = false;
            if !open.is_any() {
                self.words.push(Words::Like(open));
            }
        } else {
            match self.words.last_mut() {
                Some(Words::Phrase(phrase)) if self.adjacent => phrase.push(open.prefix()),
                _ => self.words.push(Words::Phrase(vec![open.prefix()])),
            }
            self.adjacent = true;
        }
    }
}

/// In the notation of queries; a lone `\` at the end stands for itself.
impl From<&str> for Glob {
    fn from(text: &str) -> Self {
        let (mut glob, mut chars) = (Self::default(), text.chars());
        while let Some(c) = chars.next() {
            glob.push(match c {
                '*' => Token::Wildcard(Wildcard::Any),
                '?' => Token::Wildcard(Wildcard::One),
                '\\' => Token::Char(chars.next().unwrap_or('\\')),
                c => Token::Char(c),
            });
        }
        glob
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pattern_matches_whole_texts() {
        for (pattern, text) in [
            ("conn*", "conn"),
            ("conn*", "connection"),
            ("c?nn", "cönn"),
            ("*fail*", "xfailfaily"),
            ("*ab*ab", "abxabab"),
            ("a\\*", "a*"),
            ("*", ""),
        ] {
            assert!(Glob::from(pattern).matches(text), "{pattern} {text}");
        }
        for (pattern, text) in [("conn*", "con"), ("c?nn", "cnn"), ("a\\*", "ab"), ("*ab", "aba"), ("?", ""), ("", "a")]
        {
            assert!(!Glob::from(pattern).matches(text), "{pattern} {text}");
        }
        assert_eq!(Glob::from("a***b"), Glob::from("a*b"));
    }

    #[test]
    fn over_a_text_a_pattern_may_be_several_words() {
        let phrase = |words: &[&str]| Words::Phrase(words.iter().map(|word| (*word).to_owned()).collect());
        let like = |pattern: &str| Words::Like(Glob::from(pattern));
        for (pattern, words) in [
            ("Conn*", vec![like("conn*")]),
            ("read_time*", vec![phrase(&["read"]), like("time*")]),
            ("10.0.*", vec![phrase(&["10", "0"])]),
            ("10.*.0.1", vec![phrase(&["10"]), phrase(&["0", "1"])]),
            ("*.Example.c?m", vec![phrase(&["example"]), like("c?m")]),
            ("连接*", vec![phrase(&["连"]), like("接*")]),
            ("*-*", vec![]),
            ("?x:y", vec![like("?x"), phrase(&["y"])]),
        ] {
            assert_eq!(Glob::from(pattern).words(), words, "{pattern}");
        }
    }

    /// The definition, exponential.
    fn defined(pattern: &[Token], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Token::Wildcard(Wildcard::Any), after)), first) => {
                defined(after, text) || first.is_some_and(|(_, rest)| defined(pattern, rest))
            }
            (Some((Token::Wildcard(Wildcard::One), after)), Some((_, rest))) => defined(after, rest),
            (Some((Token::Char(c), after)), Some((first, rest))) => c == first && defined(after, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_as_defined(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            let glob = Glob::from(pattern.as_str());
            let chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(glob.matches(&text), defined(glob.tokens(), &chars));
        }
    }
}
