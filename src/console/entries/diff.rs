//! What a change changes, in a form that people know.

use crate::console::error::ApiError;
use actix_web::web;
use similar::{ChangeTag, TextDiff};
use std::time::{Duration, Instant};

/// All differences of one answer together are not looked for longer; what is left then is told as removed and added.
const DEADLINE: Duration = Duration::from_millis(500);

/// Until when an answer may look for differences.
pub fn deadline() -> Instant {
    Instant::now() + DEADLINE
}

/// Does what takes a processor's time where no other call waits for it.
///
/// # Errors
/// The process ends.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    web::block(work).await.map_err(|e| ApiError::unavailable(e.to_string()))
}

/// Lines that were added and removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    pub added: usize,
    pub removed: usize,
}

/// A unified difference of two values, of their indented forms where they are JSON; `None`: there is no such value.
pub fn difference(key: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> String {
    difference_until(deadline(), key, old, new)
}

/// The same, where several share the time.
pub fn difference_until(deadline: Instant, key: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> String {
    let (old_text, new_text) = (old.map(indented).unwrap_or_default(), new.map(indented).unwrap_or_default());
    let name = |value: Option<&[u8]>, side: &str| match value {
        Some(_) => format!("{key} ({side})"),
        None => "nothing".into(),
    };
    let diff = TextDiff::configure().deadline(deadline).diff_lines(&old_text, &new_text);
    let text = diff.unified_diff().header(&name(old, "before"), &name(new, "after")).to_string();
    if text.is_empty() { "only blanks are different\n".into() } else { text }
}

pub fn size(deadline: Instant, old: Option<&[u8]>, new: Option<&[u8]>) -> Size {
    let (old, new) = (old.map(indented).unwrap_or_default(), new.map(indented).unwrap_or_default());
    let diff = TextDiff::configure().deadline(deadline).diff_lines(&old, &new);
    diff.iter_all_changes().fold(Size::default(), |mut size, change| {
        match change.tag() {
            ChangeTag::Insert => size.added += 1,
            ChangeTag::Delete => size.removed += 1,
            ChangeTag::Equal => {}
        }
        size
    })
}

/// Whether two values differ by no more than blanks.
pub fn is_same(old: &[u8], new: &[u8]) -> bool {
    old == new || indented(old) == indented(new)
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
        assert_eq!(size(deadline(), Some(old), Some(new)), Size { added: 1, removed: 1 });
        assert!(is_same(b"[]", b"[ ]") && !is_same(old, new));
    }

    #[test]
    fn all_differences_of_an_answer_share_its_time() {
        let text = |from: usize| (from..from + 3_000).map(|n| format!("{}\n", n * 7 % 3_001)).collect::<String>();
        let (old, new) = (text(0), text(1));
        let is_over = Instant::now();
        // Nothing is looked for any more: all is told as another.
        let all = size(is_over, Some(old.as_bytes()), Some(new.as_bytes()));
        assert!(all.added > 1 && all.added == all.removed, "{all:?}");
        let looked_for = size(is_over + DEADLINE, Some(old.as_bytes()), Some(new.as_bytes()));
        assert_eq!(looked_for, Size { added: 1, removed: 1 });
    }

    #[actix_rt::test]
    async fn what_takes_time_is_done_by_no_thread_that_answers() {
        let here = std::thread::current().id();
        assert_ne!(aside(|| std::thread::current().id()).await.unwrap(), here);
    }
}
