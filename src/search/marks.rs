//! Where in a found document the query was found. The problem: the page and the command line mark it, and a mark must
//! sit exactly on what the stores have found: the same words, and a phrase only where its words follow each other.

use super::{
    glob::{Glob, Words},
    query::{DEFAULT_FIELD, Query, Test},
};
use crate::document::{each_word, lower, words};
use std::ops::Range;

/// More marks in one text than this help nobody.
const MAX_MARKS: usize = 1000;

/// Finds what a query asks for. Made once a query.
#[derive(Debug, Default)]
pub struct Marker {
    /// Of [`DEFAULT_FIELD`].
    words: Vec<Words>,
    /// Of other fields: the name, and what the whole value has to be.
    values: Vec<(String, Value)>,
}

#[derive(Debug)]
enum Value {
    Is(String),
    Like(Glob),
}

impl Marker {
    pub fn new(query: &Query) -> Self {
        let mut marker = Self::default();
        query.each_wanted(&mut |name, test| match test {
            Test::Is(value) if name == DEFAULT_FIELD => marker.words.push(Words::Phrase(words(value))),
            Test::Wildcard(glob) if name == DEFAULT_FIELD => marker.words.extend(glob.words()),
            Test::Is(value) => marker.values.push((name.to_owned(), Value::Is(value.clone()))),
            Test::Wildcard(glob) => marker.values.push((name.to_owned(), Value::Like(glob.clone()))),
            Test::Exists | Test::Range { .. } => {}
        });
        marker
    }

    /// Places (bytes) in a field's text, in order, none within another.
    pub fn marks(&self, field: &str, text: &str) -> Vec<Range<usize>> {
        if field == DEFAULT_FIELD {
            return if self.words.is_empty() { Vec::new() } else { merged(self.in_words(text)) };
        }
        let found = self.values.iter().any(|(name, value)| {
            name == field
                && match value {
                    Value::Is(value) => value == text,
                    Value::Like(glob) => glob.matches(text),
                }
        });
        if found && !text.is_empty() { vec![Range { start: 0, end: text.len() }] } else { Vec::new() }
    }

    fn in_words(&self, text: &str) -> Vec<Range<usize>> {
        let mut there: Vec<(Range<usize>, String)> = Vec::new();
        each_word(text, |place| there.push((place.clone(), lower(&text[place]))));
        let mut found = Vec::new();
        for wanted in &self.words {
            match wanted {
                Words::Like(glob) => {
                    found.extend(there.iter().filter(|(_, word)| glob.matches(word)).map(|(place, _)| place.clone()));
                }
                Words::Phrase(phrase) if !phrase.is_empty() => {
                    let here = |at: &&[(Range<usize>, String)]| at.iter().map(|(_, word)| word).eq(phrase);
                    let places = there.windows(phrase.len()).filter(here);
                    found.extend(places.map(|at| at[0].0.start..at[at.len() - 1].0.end));
                }
                Words::Phrase(_) => {}
            }
        }
        found
    }
}

fn merged(mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    found.sort_unstable_by_key(|place| (place.start, place.end));
    let mut marks: Vec<Range<usize>> = Vec::new();
    for place in found {
        match marks.last_mut() {
            Some(last) if place.start < last.end => last.end = last.end.max(place.end),
            _ => marks.push(place),
        }
    }
    marks.truncate(MAX_MARKS);
    marks
}

/// The same places in UTF-16 code units, as a browser counts.
pub fn in_utf16(text: &str, marks: &[Range<usize>]) -> Vec<[usize; 2]> {
    let (mut at, mut units) = (0, 0);
    let mut to = |byte: usize| {
        units += text[at..byte].encode_utf16().count();
        at = byte;
        units
    };
    marks.iter().map(|mark| [to(mark.start), to(mark.end)]).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::parse::parse, *};

    fn marked(query: &str, field: &str, text: &str) -> String {
        let marks = Marker::new(&parse(query).unwrap()).marks(field, text);
        let mut out = String::new();
        let mut at = 0;
        for mark in marks {
            out.push_str(&format!("{}<{}>", &text[at..mark.start], &text[mark.clone()]));
            at = mark.end;
        }
        out + &text[at..]
    }

    #[test]
    fn words_phrases_and_patterns_are_marked_where_they_are() {
        for (query, expected) in [
            ("timed", "Read <timed> out: read_<timed>_OUT 10.0.0.1 timeout"),
            ("\"timed out\"", "Read <timed out>: read_<timed_OUT> 10.0.0.1 timeout"),
            ("10.0.0.1", "Read timed out: read_timed_OUT <10.0.0.1> timeout"),
            ("10.0.0.2", "Read timed out: read_timed_OUT 10.0.0.1 timeout"),
            ("time* OR OUT", "Read <timed> <out>: read_<timed>_<OUT> 10.0.0.1 <timeout>"),
            ("\"read timed\" \"timed out\"", "<Read timed out>: <read_timed_OUT> 10.0.0.1 timeout"),
            ("read NOT timed -out", "<Read> timed out: <read>_timed_OUT 10.0.0.1 timeout"),
            ("host.name:timed", "Read timed out: read_timed_OUT 10.0.0.1 timeout"),
            ("*", "Read timed out: read_timed_OUT 10.0.0.1 timeout"),
        ] {
            let text = "Read timed out: read_timed_OUT 10.0.0.1 timeout";
            assert_eq!(marked(query, "message", text), expected, "{query}");
        }
    }

    #[test]
    fn other_fields_are_marked_as_a_whole() {
        assert_eq!(marked("host.name:web-*", "host.name", "web-01"), "<web-01>");
        assert_eq!(marked("host.name:web", "host.name", "web-01"), "web-01");
        assert_eq!(marked("status:503", "status", "503"), "<503>");
    }

    #[test]
    fn places_can_be_counted_as_browsers_do() {
        let text = "😀é失败 x";
        let marks = Marker::new(&parse("失败 OR x").unwrap()).marks("message", text);
        assert_eq!(in_utf16(text, &marks), [[3, 5], [6, 7]]);
    }
}
