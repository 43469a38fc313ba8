//! Strings in JSON, written straight into bytes. The problem: nearly all bytes of a line need no escape, so eight are
//! looked at in one step and copied together.

use std::num::NonZeroU64;

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// The high bit of each byte (little-endian) that needs an escape; false positives only above a true one.
fn needs_escape(word: u64) -> Option<NonZeroU64> {
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    NonZeroU64::new((quote | backslash | control) & HIGHS)
}

/// How many bytes from the start need no escape.
fn plain_bytes(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        if let Some(found) = needs_escape(u64::from_le_bytes(*word)) {
            return i * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let plain = rest.iter().take_while(|&&b| b >= 0x20 && b != b'"' && b != b'\\').count();
    words.len() * 8 + plain
}

/// Appends the inside of a JSON string. `text` is UTF-8 or a piece of it.
fn write_valid(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let plain = plain_bytes(text);
        out.extend_from_slice(&text[..plain]);
        let Some(&byte) = text.get(plain) else { return };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => {
                let digit = |n: u8| b"0123456789abcdef"[usize::from(n & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            }
        }
        text = &text[plain + 1..];
    }
}

/// Appends the inside of a JSON string; each maximal invalid piece of UTF-8 becomes one U+FFFD.
pub fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    if std::str::from_utf8(bytes).is_ok() {
        return write_valid(out, bytes);
    }
    for chunk in bytes.utf8_chunks() {
        write_valid(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Like [`write_escaped`] for bytes that are known to be UTF-8 (`valid`), so that they aren't looked at twice.
pub(super) fn write_checked(out: &mut Vec<u8>, bytes: &[u8], valid: bool) {
    if valid { write_valid(out, bytes) } else { write_escaped(out, bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = b"\"".to_vec();
        write_escaped(&mut out, bytes);
        out.push(b'"');
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_single_byte_in_every_place_of_a_word_is_right() {
        for byte in 0..=127u8 {
            for place in 0..17 {
                let mut text = vec![b'a'; 17];
                text[place] = byte;
                let back: String = serde_json::from_str(&escaped(&text)).unwrap();
                assert_eq!(back.as_bytes(), text, "byte {byte} at {place}");
            }
        }
    }

    #[test]
    fn invalid_utf8_becomes_the_replacement_character() {
        assert_eq!(escaped(b"a\xffb\xc3"), "\"a\u{fffd}b\u{fffd}\"");
        assert_eq!(escaped(&[0, 1, 0x7f]), "\"\\u0000\\u0001\u{7f}\"");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_as_their_lossy_text(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let back: String = serde_json::from_str(&escaped(&bytes)).unwrap();
            prop_assert_eq!(back, String::from_utf8_lossy(&bytes));
        }
    }
}
