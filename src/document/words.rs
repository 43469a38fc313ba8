//! The words of a text, by which it is found. The problem: Elasticsearch, the embedded index, a live tail and the mark
//! on a found word must all see the same ones, and a line of a log is full of names with dots, colons and underscores
//! whose parts people search for.
//!
//! A word is a run of letters and digits; every other ASCII character ends it, also between letters (`example.com`
//! and `read_timeout` are two words each). Beyond ASCII the word boundaries of Unicode (UAX #29) hold, by which each
//! Chinese character is a word of its own. Letter case doesn't count. The index template gives Elasticsearch the same
//! rules (`elastic::index_template`).

use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A longer word is cut into pieces of so many characters, as Elasticsearch does.
pub const MAX_WORD_CHARS: usize = 255;

/// Characters beyond ASCII that UAX #29 allows within a word and that end one here.
pub const OTHER_SEPARATORS: [char; 12] = [
    '\u{b7}', '\u{387}', '\u{55f}', '\u{5f4}', '\u{2018}', '\u{2019}', '\u{2024}', '\u{2027}', '\u{203f}', '\u{2040}',
    '\u{fe13}', '\u{ff1a}',
];

/// Calls `each` with the place (bytes) of every word of `text`, in order.
pub fn each_word(text: &str, mut each: impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at].is_ascii() && !bytes[at].is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let start = at;
        let mut ascii = true;
        while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || !bytes[at].is_ascii()) {
            ascii &= bytes[at].is_ascii();
            at += 1;
        }
        if ascii {
            pieces(text, start..at, &mut each);
        } else {
            beyond_ascii(text, start..at, &mut each);
        }
    }
}

fn beyond_ascii(text: &str, piece: Range<usize>, each: &mut impl FnMut(Range<usize>)) {
    let mut start = piece.start;
    for part in text[piece].split(OTHER_SEPARATORS) {
        for (at, word) in part.unicode_word_indices() {
            pieces(text, start + at..start + at + word.len(), each);
        }
        start += part.len();
        start += text[start..].chars().next().map_or(0, char::len_utf8);
    }
}

fn pieces(text: &str, word: Range<usize>, each: &mut impl FnMut(Range<usize>)) {
    if word.len() <= MAX_WORD_CHARS {
        return each(word);
    }
    let mut start = word.start;
    let ends = text[word.clone()].char_indices().map(|(at, _)| word.start + at);
    for end in ends.step_by(MAX_WORD_CHARS).skip(1).chain([word.end]) {
        each(start..end);
        start = end;
    }
}

/// The form in which words are compared: each character lower-cased by itself, wherever it stands.
pub fn lower(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    word.chars().map(lower_char).collect()
}

/// One character for one: `İ` is the only one for which Unicode has more.
pub fn lower_char(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// The words of `text` in the form in which they are compared.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    each_word(text, |place| words.push(lower(&text[place])));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_parts() {
        assert_eq!(words("GET /api/v1 10.0.0.1:80"), ["get", "api", "v1", "10", "0", "0", "1", "80"]);
        assert_eq!(words("com.acme.Read_Timeout: can't"), ["com", "acme", "read", "timeout", "can", "t"]);
        assert_eq!(words("--- \t\0 ..."), [""; 0]);
    }

    #[test]
    fn other_scripts_have_their_own_boundaries() {
        assert_eq!(words("连接失败 x失y"), ["连", "接", "失", "败", "x", "失", "y"]);
        assert_eq!(words("Größe l’été Ελλάδα"), ["größe", "l", "été", "ελλάδα"]);
        assert_eq!(words("café\u{301}s"), ["cafe\u{301}\u{301}s".replace("e\u{301}\u{301}", "é\u{301}")]);
    }

    #[test]
    fn a_very_long_word_is_cut_at_characters() {
        let long = "é".repeat(600);
        let lens: Vec<usize> = words(&long).iter().map(|word| word.chars().count()).collect();
        assert_eq!(lens, [255, 255, 90]);
        assert_eq!(words(&"x".repeat(255)).len(), 1);
    }
}
