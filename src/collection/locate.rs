//! Where in a value a mistake is, in terms of people: which entry, which field of it. The problem: a page with a form for
//! each entry can't show "line 12 column 7".

use super::{
    parse::Mistake,
    raw::{Fields, line_column, name_offset, offset},
};
use serde::Serialize;
use serde_json::value::RawValue;

/// A mistake with everything that is known of its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placed {
    pub reason: String,
    /// From 1.
    pub line: Option<usize>,
    pub column: Option<usize>,
    /// Which entry, from 0.
    pub entry: Option<usize>,
    pub field: Option<String>,
}

impl Placed {
    /// `text`: the value that the mistake is in.
    pub fn new(text: &[u8], mistake: Mistake) -> Self {
        let (line, column) = mistake.place.unzip();
        let found = std::str::from_utf8(text).ok().and_then(|text| locate(text, mistake.place?));
        let (entry, field) = found.map_or((None, None), |(entry, field)| (Some(entry), field));
        Self { reason: mistake.reason, line, column, entry, field }
    }
}

/// The entry and the field that stand at a line and column.
fn locate(text: &str, place: (usize, usize)) -> Option<(usize, Option<String>)> {
    let pieces: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let end = |piece: &RawValue| line_column(text, offset(text, piece.get()) + piece.get().len());
    let entry = pieces.iter().position(|piece| place < end(piece))?;
    let piece = pieces.get(entry)?;
    if place <= line_column(text, offset(text, piece.get())) {
        return Some((entry, None));
    }
    let Fields(fields) = serde_json::from_str::<Fields<'_>>(piece.get()).ok()?;
    let at = |(_, value): &(String, &RawValue)| {
        let start = name_offset(text, offset(text, value.get()));
        line_column(text, start) <= place && place < end(value)
    };
    Some((entry, fields.into_iter().find(at).map(|(name, _)| name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::parse_entries;
    use std::path::Path;

    fn placed(text: &str) -> (Option<usize>, Option<String>) {
        let mistake = parse_entries(text.as_bytes(), Path::new("/")).unwrap_err();
        let placed = Placed::new(text.as_bytes(), mistake);
        (placed.entry, placed.field)
    }

    #[test]
    fn a_mistake_is_in_an_entry_and_a_field() {
        let good = r#"{"path":"/ä","topic":"t"}"#;
        for (wrong, field) in [
            (r#"{"path":"","topic":"t"}"#, Some("path")),
            (r#"{"path":"/b","topic":"a b"}"#, Some("topic")),
            ("{\"path\":\"/b\",\n\"topik\":\n\"t\"}", Some("topik")),
            (r#"{"path":"/b","topic":"t","labels":{"a":1}}"#, Some("labels")),
            (r#"{"path":"/b","topic":"t","exclude":["[", "x"]}"#, Some("exclude")),
            (r#"{"path":"/[","topic":"t"}"#, Some("path")),
            (r#"{"topic":"t"}"#, None),
            ("1", None),
        ] {
            for text in [format!("[{good},{wrong}]"), format!("[\n  {good},\n  {wrong}\n]")] {
                assert_eq!(placed(&text), (Some(1), field.map(str::to_owned)), "{text}");
            }
        }
        assert_eq!(placed("[{]"), (None, None));
        assert_eq!(placed("{}"), (None, None));
    }
}
