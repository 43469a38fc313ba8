//! What the answer to a bulk request says. The problem: it is read for every document, so the common item
//! (`{"create":{"status":201}}`) is compared as a whole; and whatever isn't exactly one verdict for each document
//! is garbage, after which everything is sent again (a repeat answers 409).

use super::verdict::{Reason, Verdict};
use serde::Deserialize;

/// The query that reduces answers to what is read here.
pub(super) const FILTER: &str = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason";

const CREATED: &[u8] = br#"{"create":{"status":201}}"#;

/// The answer to one bulk request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One verdict for each document that is named here by its number; all others are created.
    Items(Vec<(u32, Verdict)>),
    /// The request is too large for the server or something before it.
    TooLarge,
    /// Refused as a whole, or the answer is no bulk answer.
    Refused(Reason),
    /// No answer. `timed_out`: the deadline passed while the server kept silent, which one hanging index can cause.
    Silent { timed_out: bool, reason: Reason },
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    items: Vec<ItemBody<'a>>,
}

#[derive(Deserialize)]
struct ItemBody<'a> {
    #[serde(borrow)]
    create: Created<'a>,
}

#[derive(Deserialize)]
struct Created<'a> {
    status: u16,
    #[serde(borrow, default)]
    error: Option<ErrorBody<'a>>,
}

#[derive(Deserialize, Default)]
struct ErrorBody<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    reason: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow, default)]
    error: Option<WholeError<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WholeError<'a> {
    #[serde(borrow)]
    Object(ErrorBody<'a>),
    Text(String),
}

impl Answer {
    /// Reads an answer to a request with `count` documents.
    pub(super) fn read(status: u16, body: &[u8], count: usize) -> Self {
        match status {
            200 => match usual(body, count).or_else(|| items(body, count)) {
                Some(verdicts) => Self::Items(verdicts),
                None => Self::Refused(Reason::new(status, "garbage", "the answer is not that of a bulk request")),
            },
            413 => Self::TooLarge,
            _ => Self::Refused(whole(status, body)),
        }
    }
}

/// The answer in its usual form, where only the items that are not just "created" need a parser.
fn usual(body: &[u8], count: usize) -> Option<Vec<(u32, Verdict)>> {
    let errors = |flag: &[u8]| body.strip_prefix(br#"{"errors":"#)?.strip_prefix(flag)?.strip_prefix(br#","items":["#);
    let mut rest = errors(b"false").or_else(|| errors(b"true"))?.strip_suffix(b"]}")?;
    let mut verdicts = Vec::new();
    for number in 0..count {
        if number > 0 {
            rest = rest.strip_prefix(b",")?;
        }
        if let Some(after) = rest.strip_prefix(CREATED) {
            rest = after;
            continue;
        }
        let mut items = serde_json::Deserializer::from_slice(rest).into_iter::<ItemBody>();
        let item = items.next()?.ok()?;
        rest = &rest[items.byte_offset()..];
        verdicts.extend(item.verdict(number));
    }
    rest.is_empty().then_some(verdicts)
}

impl ItemBody<'_> {
    /// `None`: created.
    fn verdict(self, number: usize) -> Option<(u32, Verdict)> {
        let Created { status, error } = self.create;
        let error = error.unwrap_or_default();
        (!matches!(status, 200..=299)).then(|| (number as u32, Verdict::of(status, &error.kind, &error.reason)))
    }
}

fn items(body: &[u8], count: usize) -> Option<Vec<(u32, Verdict)>> {
    let body: Body = serde_json::from_slice(body).ok()?;
    if body.items.len() != count {
        return None;
    }
    Some(body.items.into_iter().enumerate().filter_map(|(number, item)| item.verdict(number)).collect())
}

/// The reason of an answer that refuses the request as a whole.
pub(super) fn whole(status: u16, body: &[u8]) -> Reason {
    match serde_json::from_slice::<Whole>(body).ok().and_then(|whole| whole.error) {
        Some(WholeError::Object(error)) => Reason::new(status, &error.kind, &error.reason),
        Some(WholeError::Text(text)) => Reason::new(status, "error", &text),
        None => Reason::new(status, "no_elasticsearch_answer", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = r#"{"create":{"status":201}}"#;

    #[test]
    fn created_documents_need_no_verdict() {
        for count in 1..5 {
            let body = format!(r#"{{"errors":false,"items":[{}]}}"#, [OK].repeat(count).join(","));
            assert_eq!(usual(body.as_bytes(), count), Some(vec![]));
            assert_eq!(usual(body.as_bytes(), count + 1), None);
            assert_eq!(usual(body.as_bytes(), count - 1), None);
            assert_eq!(Answer::read(200, body.as_bytes(), count), Answer::Items(vec![]));
        }
        let other_order = br#"{"items":[{"create":{"_id":"x","status":201}}],"errors":false,"took":3}"#;
        assert_eq!(Answer::read(200, other_order, 1), Answer::Items(vec![]));
    }

    #[test]
    fn verdicts_name_their_documents() {
        let conflict = r#"{"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"r"}}}"#;
        let full = r#"{"create":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"\"r\""}}}"#;
        let body = format!(r#"{{"errors":true,"items":[{}]}}"#, [OK, conflict, OK, full].join(","));
        let verdicts = items(body.as_bytes(), 4).unwrap();
        assert_eq!(usual(body.as_bytes(), 4).as_ref(), Some(&verdicts), "both ways read the same");
        assert_eq!(Answer::read(200, body.as_bytes(), 4), Answer::Items(verdicts.clone()));
        assert_eq!(verdicts[0], (1, Verdict::Conflict));
        assert_eq!(verdicts[1], (3, Verdict::Retry(Reason::new(429, "es_rejected_execution_exception", "\"r\""))));
        assert_eq!(verdicts.len(), 2);
    }

    #[test]
    fn whatever_is_not_one_verdict_a_document_is_garbage() {
        let two = format!(r#"{{"errors":false,"items":[{OK},{OK}]}}"#);
        let mut bad =
            vec!["".to_owned(), "<html>".into(), "{}".into(), "null".into(), two.clone(), two.replace("201", "\"x\"")];
        bad.extend((0..two.len()).map(|end| two[..end].to_owned()));
        for body in bad {
            let count = if body == two { 3 } else { 2 };
            let read = Answer::read(200, body.as_bytes(), count);
            assert!(matches!(&read, Answer::Refused(reason) if &*reason.kind == "garbage"), "{body}: {read:?}");
        }
    }

    #[test]
    fn a_refusal_of_the_whole_keeps_its_reason() {
        let body = br#"{"error":{"root_cause":[],"type":"security_exception","reason":"no"},"status":401}"#;
        assert_eq!(Answer::read(401, body, 1), Answer::Refused(Reason::new(401, "security_exception", "no")));
        assert_eq!(Answer::read(413, b"<html>", 1), Answer::TooLarge);
        assert!(matches!(Answer::read(500, b"oops", 1), Answer::Refused(reason) if reason.status == 500));
        assert!(matches!(Answer::read(400, br#"{"error":"text"}"#, 1), Answer::Refused(r) if &*r.text == "text"));
    }
}
