//! The words of a text, by which it is found. The problem: Elasticsearch, the embedded index, a live tail and the mark
//! on a found word must all see the same ones, and a line of a log is full of names with dots, colons and underscores
//! whose parts people search for.
//!
//! Letters, digits and the marks on them are in words; every other character ends one, also between letters
//! (`example.com` and `read_timeout` are two words each). Beyond ASCII the word boundaries of Unicode (UAX #29) hold
//! besides, by which each Chinese character is a word of its own. Letter case doesn't count. The index template gives
//! Elasticsearch the same rules (`elastic::index_template`).

use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// What ends a word, as a regular expression of Java.
pub const SEPARATORS: &str = r"[^\p{IsAlphabetic}\p{N}\p{M}]+";

/// A longer word is cut into pieces of so many UTF-16 code units, as Elasticsearch does.
pub const MAX_WORD_UNITS: usize = 255;

/// Scripts without spaces between words, of which Elasticsearch takes a whole run for one word: Thai, Lao, Myanmar,
/// Khmer, Tai and Ahom.
const RUNS: [(char, char); 8] = [
    ('\u{e00}', '\u{eff}'),
    ('\u{1000}', '\u{109f}'),
    ('\u{1780}', '\u{17ff}'),
    ('\u{1950}', '\u{19ff}'),
    ('\u{1a20}', '\u{1aaf}'),
    ('\u{a9e0}', '\u{a9ff}'),
    ('\u{aa60}', '\u{aadf}'),
    ('\u{11700}', '\u{1174f}'),
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

/// Whether it stands on the character before it, as an accent does.
fn is_mark(c: char) -> bool {
    // A mark makes one visible character with an `a`; joiners, skin tones and tags do so, too.
    let other = matches!(c, '\u{200c}' | '\u{200d}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}');
    !c.is_ascii() && !other && {
        let mut both = [b'a'; 5];
        let len = 1 + c.encode_utf8(&mut both[1..]).len();
        std::str::from_utf8(&both[..len]).is_ok_and(|both| both.graphemes(true).count() == 1)
    }
}

/// Whether a word can be made of it alone: not of `½` or `①`, which are numeric, but join nothing.
fn makes_word(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || c.is_alphabetic() && !is_mark(c)
        || c.is_numeric() && format!("1{c}1").unicode_words().count() == 1
}

fn in_run(c: char) -> bool {
    !c.is_numeric() && RUNS.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

fn beyond_ascii(text: &str, piece: Range<usize>, each: &mut impl FnMut(Range<usize>)) {
    let separates = |c: char| !c.is_alphanumeric() && !is_mark(c);
    let mut start = piece.start;
    for part in text[piece].split(separates) {
        let mut run: Option<Range<usize>> = None;
        for (at, segment) in part.split_word_bound_indices() {
            let place = start + at..start + at + segment.len();
            let in_run = segment.chars().all(in_run);
            if let Some(run) = run.as_mut().filter(|_| in_run) {
                run.end = place.end;
                continue;
            }
            if let Some(run) = run.take() {
                pieces(text, run, each);
            }
            if in_run || segment.starts_with(makes_word) {
                if in_run {
                    run = Some(place);
                } else {
                    pieces(text, place, each);
                }
            }
        }
        if let Some(run) = run {
            pieces(text, run, each);
        }
        start += part.len();
        start += text[start..].chars().next().map_or(0, char::len_utf8);
    }
}

fn pieces(text: &str, word: Range<usize>, each: &mut impl FnMut(Range<usize>)) {
    // A character has never more units than bytes.
    if word.len() <= MAX_WORD_UNITS {
        return each(word);
    }
    let (mut start, mut units) = (word.start, 0);
    for (at, c) in text[word.clone()].char_indices() {
        if units + c.len_utf16() > MAX_WORD_UNITS {
            each(start..word.start + at);
            (start, units) = (word.start + at, 0);
        }
        units += c.len_utf16();
    }
    each(start..word.end);
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
    fn signs_end_words_and_marks_do_not() {
        assert_eq!(words("done✅in 5½s a\u{200d}b 👍\u{1f3fb}x"), ["done", "in", "5", "s", "a", "b", "x"]);
        assert_eq!(words("ภาษาไทย 12"), ["ภาษาไทย", "12"]);
        assert_eq!(words("ΟΔΟΣ İ"), ["οδοσ", "i"]);
    }

    #[test]
    fn a_very_long_word_is_cut_at_characters() {
        let long = "é".repeat(600);
        let lens: Vec<usize> = words(&long).iter().map(|word| word.chars().count()).collect();
        assert_eq!(lens, [255, 255, 90]);
        assert_eq!(words(&"x".repeat(255)).len(), 1);
    }
}
