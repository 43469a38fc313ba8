//! What a change changes, in a form that people know.

use similar::{ChangeTag, TextDiff};
use std::time::Duration;

/// Two texts that have nothing in common are not compared for longer.
const DEADLINE: Duration = Duration::from_millis(500);

/// Lines that were added and removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    pub added: usize,
    pub removed: usize,
}

/// A unified difference of two values, of their indented forms where they are JSON; `None`: there is no such value.
pub fn difference(key: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> String {
    let (old_text, new_text) = (old.map(indented).unwrap_or_default(), new.map(indented).unwrap_or_default());
    let name = |value: Option<&[u8]>, side: &str| match value {
        Some(_) => format!("{key} ({side})"),
        None => "nothing".into(),
    };
    let diff = TextDiff::configure().timeout(DEADLINE).diff_lines(&old_text, &new_text);
    let text = diff.unified_diff().header(&name(old, "before"), &name(new, "after")).to_string();
    if text.is_empty() { "only blanks are different\n".into() } else { text }
}

pub fn size(old: Option<&[u8]>, new: Option<&[u8]>) -> Size {
    let (old, new) = (old.map(indented).unwrap_or_default(), new.map(indented).unwrap_or_default());
    let diff = TextDiff::configure().timeout(DEADLINE).diff_lines(&old, &new);
    diff.iter_all_changes().fold(Size::default(), |mut size, change| {
        match change.tag() {
            ChangeTag::Insert => size.added += 1,
            ChangeTag::Delete => size.removed += 1,
            ChangeTag::Equal => {}
        }
        size
    })
}

fn indented(value: &[u8]) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(value).ok();
    let json = json.and_then(|json| serde_json::to_string_pretty(&json).ok()).map(|text| text + "\n");
    json.unwrap_or_else(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_names_the_entry_that_changed_also_when_the_value_is_one_line() {
        let old = br#"[{"path":"/a","topic":"t"},{"path":"/b","topic":"t"}]"#;
        let new = br#"[{"path":"/a","topic":"t"},{"path":"/c","topic":"t"}]"#;
        let text = difference("k", Some(old), Some(new));
        assert!(text.contains("-    \"path\": \"/b\"") && text.contains("+    \"path\": \"/c\""), "{text}");
        assert!(!text.contains("-    \"path\": \"/a\""), "{text}");
        assert!(difference("k", None, Some(new)).contains("--- nothing"));
        assert_eq!(difference("k", Some(b"[]"), Some(b"[ ]")), "only blanks are different\n");
        assert_eq!(size(Some(old), Some(new)), Size { added: 1, removed: 1 });
    }
}
