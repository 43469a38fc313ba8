//! A call and what its failure means. The problem: "no answer" has many forms, and whoever searches has to know whether
//! to change the question, to wait, or to call an operator.

use super::super::model::SearchError;
use crate::elastic::{Cluster, LONGEST_ANSWER};
use serde_json::Value;

/// Another node may answer what one didn't.
const ATTEMPTS: usize = 2;

/// An answer with a document in it.
#[derive(Debug)]
pub struct Answer {
    pub body: Value,
    /// What did not answer, and why.
    pub incomplete: Option<String>,
}

impl Answer {
    /// # Errors
    /// A part of the data is missing: a count without it would be wrong.
    pub fn complete(&self) -> Result<(), SearchError> {
        self.incomplete.clone().map_or(Ok(()), |reason| Err(SearchError::Unavailable(reason)))
    }
}

/// Asks, and asks once more where nobody answered.
pub async fn ask(cluster: &Cluster, path: &str, body: Option<&Value>) -> Result<Answer, SearchError> {
    ask_up_to(cluster, path, body).await?.ok_or_else(too_large)
}

pub fn too_large() -> SearchError {
    SearchError::TooExpensive(format!("Elasticsearch's answer has more than {} MiB", LONGEST_ANSWER >> 20))
}

/// The same; `None`: the answer is larger than one may be.
pub async fn ask_up_to(cluster: &Cluster, path: &str, body: Option<&Value>) -> Result<Option<Answer>, SearchError> {
    let mut silent = None;
    for _ in 0..ATTEMPTS {
        match cluster.query(path, body).await {
            Ok((200, None)) => return Ok(None),
            Ok((200, Some(bytes))) => {
                let body: Value = serde_json::from_slice(&bytes)
                    .map_err(|_| SearchError::Unavailable("it answers something that is no JSON".to_owned()))?;
                return Ok(Some(Answer { incomplete: incomplete(&body), body }));
            }
            Ok((status, bytes)) => return Err(refusal(status, &bytes.unwrap_or_default())),
            Err(reason) => silent = Some(SearchError::Unavailable(reason.text.into())),
        }
    }
    Err(silent.unwrap_or_else(|| SearchError::Unavailable("no answer".to_owned())))
}

fn incomplete(body: &Value) -> Option<String> {
    if body["timed_out"] == Value::Bool(true) {
        return Some("Elasticsearch's own time limit was reached".to_owned());
    }
    let failed = body["_shards"]["failed"].as_u64().filter(|failed| *failed > 0)?;
    let total = body["_shards"]["total"].as_u64().unwrap_or_default();
    let why = body["_shards"]["failures"][0]["reason"]["reason"].as_str().unwrap_or("no reason is given");
    Some(format!("{failed} of {total} shards did not answer: {why}"))
}

fn refusal(status: u16, body: &[u8]) -> SearchError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let cause = &error["root_cause"][0];
    let kind = cause["type"].as_str().or(error["type"].as_str()).unwrap_or_default();
    let reason = cause["reason"].as_str().or(error["reason"].as_str()).unwrap_or("no reason is given").to_owned();
    match (status, kind) {
        (401, _) => SearchError::Unavailable("Elasticsearch refuses the credentials (401)".to_owned()),
        (403, _) => SearchError::Unavailable("the credentials lack the right to read these indices (403)".to_owned()),
        (_, "too_many_clauses" | "too_many_nested_clauses" | "too_complex_to_determinize_exception") => {
            SearchError::TooExpensive(reason)
        }
        (_, "circuit_breaking_exception" | "too_many_buckets_exception") => SearchError::TooExpensive(reason),
        (400, _) => SearchError::Refused(reason),
        (status, _) => SearchError::Unavailable(format!("Elasticsearch answers {status}: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_do() {
        let refused = |status, kind: &str| {
            refusal(status, format!(r#"{{"error":{{"root_cause":[{{"type":"{kind}","reason":"x"}}]}}}}"#).as_bytes())
        };
        assert_eq!(refused(400, "parse"), SearchError::Refused("x".into()));
        assert_eq!(refused(400, "too_many_clauses"), SearchError::TooExpensive("x".into()));
        assert_eq!(refused(503, "x"), SearchError::Unavailable("Elasticsearch answers 503: x".into()));
        assert!(matches!(refusal(401, b"<html>"), SearchError::Unavailable(_)));
    }

    #[test]
    fn a_missing_shard_is_told() {
        let body =
            serde_json::json!({"_shards": {"total": 3, "failed": 1, "failures": [{"reason": {"reason": "gone"}}]}});
        assert_eq!(incomplete(&body).as_deref(), Some("1 of 3 shards did not answer: gone"));
        assert_eq!(incomplete(&serde_json::json!({"_shards": {"failed": 0}})), None);
    }
}
