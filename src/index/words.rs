//! Gives tantivy the words of a text as `document::each_word` sees them, lower-cased.

use crate::document::{each_word, lower};
use std::ops::Range;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// Name of this tokenizer in the schema.
pub(super) const WORDS: &str = "words";

#[derive(Clone, Default)]
pub(super) struct Words {
    places: Vec<Range<usize>>,
    token: Token,
}

pub(super) struct WordStream<'a> {
    text: &'a str,
    places: std::slice::Iter<'a, Range<usize>>,
    token: &'a mut Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.places.clear();
        each_word(text, |place| self.places.push(place));
        self.token.reset();
        WordStream { text, places: self.places.iter(), token: &mut self.token }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(place) = self.places.next() else { return false };
        let token = &mut *self.token;
        (token.offset_from, token.offset_to) = (place.start, place.end);
        token.position = token.position.wrapping_add(1);
        token.text.clear();
        let word = &self.text[place.clone()];
        if word.is_ascii() {
            token.text.push_str(word);
            token.text.make_ascii_lowercase();
        } else {
            token.text.push_str(&lower(word));
        }
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::words;

    #[test]
    fn the_index_sees_the_words_that_everybody_sees() {
        let mut tokenizer = Words::default();
        for text in ["GET /API/v1?x=Ä 10.0.0.1", "连接失败 ΟΔΟΣ", "", "...", &"É".repeat(300)] {
            let mut stream = tokenizer.token_stream(text);
            let mut seen = Vec::new();
            while stream.advance() {
                let token = stream.token();
                assert_eq!(token.position, seen.len());
                assert_eq!(lower(&text[token.offset_from..token.offset_to]), token.text);
                seen.push(token.text.clone());
            }
            assert_eq!(seen, words(text));
        }
    }
}
