//! JSON with places. The problem: "entry 4711 has no topic" helps nobody in a value of a megabyte, and serde forgets
//! where a value stood. So objects and arrays are taken apart into pieces that borrow from the text; a piece's address
//! within the text is its place.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// A field's name and its value as it stands in the text.
pub type Field<'a> = (String, &'a RawValue);

/// The fields of an object, in their order, repeated ones too.
#[derive(Debug)]
pub struct Fields<'a>(pub Vec<Field<'a>>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    fields.push((name, map.next_value::<&RawValue>().map_err(A::Error::custom)?));
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Collect)
    }
}

/// What a piece is, in words.
pub fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Byte offset of a piece within the text it was taken from.
pub fn offset(text: &str, piece: &str) -> usize {
    (piece.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())
}

/// Offset of the name of the field whose value begins at `value`.
pub fn name_offset(text: &str, value: usize) -> usize {
    let before = text.get(..value).unwrap_or_default().trim_end().trim_end_matches(':').trim_end();
    let inside = before.strip_suffix('"').unwrap_or(before);
    inside.rfind('"').unwrap_or(value)
}

/// Line and column (in characters), both from 1, of a byte offset.
pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |i| i + 1);
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    (line, String::from_utf8_lossy(before.get(line_start..).unwrap_or_default()).chars().count() + 1)
}

/// Byte offset of serde_json's line and column (in bytes, of the last byte it took).
pub fn syntax_offset(text: &str, error: &serde_json::Error) -> usize {
    let mut line_start = 0;
    for _ in 1..error.line() {
        line_start += text.get(line_start..).and_then(|rest| rest.find('\n')).map_or(0, |i| i + 1);
    }
    line_start + error.column().saturating_sub(1)
}
