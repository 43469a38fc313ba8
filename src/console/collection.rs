//! What is being collected, shown and changed from the page. The problem: the page edits the very file that a running
//! agent watches, and so may an editor or a second tab. So a new text is checked as the agent will check it, replaces
//! the old one in one step, and only if that is still the one that its author saw.

use super::{Parts, ask, error::ApiError, gate::Person};
use crate::{
    collection::{LocalError, MAX_VALUE_BYTES, Mistake, write_entries},
    search::{
        model::{Order, PageRequest, Scope, SearchError},
        query::Query,
    },
    telemetry::JsonPage,
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use std::{io, path::PathBuf, sync::Mutex};

/// The entries as they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    /// A JSON array.
    pub text: String,
    /// Another text has another version.
    pub version: String,
    /// Where they live, for people.
    pub place: String,
}

/// Why the entries were not replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReplaced {
    /// They are wrong; what ran keeps running.
    Refused(Mistake),
    /// Somebody else was faster.
    Changed,
    /// They can't be read or written now.
    Failed(String),
}

/// The collection entries of this process, and how far their files are.
pub trait Collection: Send + Sync {
    fn entries(&self) -> LocalBoxFuture<'_, Result<Entries, String>>;
    /// `seen`: the version that the author of `text` had before eyes; `None` replaces any.
    fn replace(&self, text: Vec<u8>, seen: Option<String>) -> LocalBoxFuture<'_, Result<(), NotReplaced>>;
    /// An array of objects with `path`, `topic`, `read`, `settled` and `size`.
    fn files(&self) -> LocalBoxFuture<'_, Result<Value, String>>;
}

/// Entries in a file that `collection::FileWatch` watches, as `logweir standalone` has them.
pub struct EntriesFile {
    file: PathBuf,
    base_dir: PathBuf,
    /// How far files are: the page of the tail manager.
    files: JsonPage,
    /// One change at a time.
    changing: Mutex<()>,
}

impl EntriesFile {
    /// `base_dir`: what relative paths are relative to, absolute.
    pub fn new(file: PathBuf, base_dir: PathBuf, files: JsonPage) -> Self {
        Self { file, base_dir, files, changing: Mutex::new(()) }
    }

    /// A file that isn't there yet holds no entries.
    fn read(&self) -> io::Result<Entries> {
        let text = match std::fs::read(&self.file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => "[]".to_owned(),
            Err(e) => return Err(e),
        };
        let version = format!("{:08x}{:x}", crc32c::crc32c(text.as_bytes()), text.len());
        Ok(Entries { version, text, place: self.file.display().to_string() })
    }

    fn write(&self, text: &[u8], seen: Option<&str>) -> Result<(), NotReplaced> {
        let failed = |e: io::Error| NotReplaced::Failed(format!("{}: {e}", self.file.display()));
        let _one = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(seen) = seen
            && self.read().map_err(failed)?.version != seen
        {
            return Err(NotReplaced::Changed);
        }
        write_entries(&self.file, &self.base_dir, text).map_err(|error| match error {
            LocalError::Wrong { mistake, .. } => NotReplaced::Refused(mistake),
            other => NotReplaced::Failed(other.to_string()),
        })
    }
}

impl Collection for EntriesFile {
    fn entries(&self) -> LocalBoxFuture<'_, Result<Entries, String>> {
        Box::pin(async { self.read().map_err(|e| format!("{}: {e}", self.file.display())) })
    }

    fn replace(&self, text: Vec<u8>, seen: Option<String>) -> LocalBoxFuture<'_, Result<(), NotReplaced>> {
        Box::pin(async move { self.write(&text, seen.as_deref()) })
    }

    fn files(&self) -> LocalBoxFuture<'_, Result<Value, String>> {
        (self.files)()
    }
}

/// `GET /api/v1/collection`. What can't be told is `null` and has its reason in `problems`: one part that fails hides no
/// other.
pub async fn show(person: Person, parts: web::Data<Parts>) -> Result<HttpResponse, ApiError> {
    let entries = parts.collection.entries().await.map_err(ApiError::unavailable)?;
    let mut problems = Vec::new();
    let files = parts.collection.files().await.map_err(|e| problems.push(e)).unwrap_or(Value::Null);
    let (mut first_ms, mut last_ms) = (None, None);
    for (time, order) in [(&mut first_ms, Order::OldestFirst), (&mut last_ms, Order::NewestFirst)] {
        match end(&parts, &person, order).await {
            Ok(found) => *time = found,
            Err(e) => problems.push(e.to_string()),
        }
    }
    problems.dedup();
    let parsed = serde_json::from_str::<Value>(&entries.text);
    Ok(ask::json(&json!({
        "entries": parsed.unwrap_or(Value::Null), "text": entries.text, "version": entries.version,
        "place": entries.place, "files": files, "first_ms": first_ms, "last_ms": last_ms, "problems": problems,
    })))
}

/// Time of the first or last document of all that `person` may see.
pub async fn end(parts: &Parts, person: &Person, order: Order) -> Result<Option<i64>, SearchError> {
    let scope = Scope { query: person.topics.restrict(Query::All), from_ms: None, to_ms: None };
    let page = parts.backend.page(PageRequest { scope, order, size: 1, after: None, count: false }).await?;
    Ok(page.hits.first().map(|hit| hit.time_ms))
}

/// `PUT /api/v1/collection`: the body is the whole array; `If-Match` may name the version that it is a change of.
pub async fn replace(request: HttpRequest, body: Bytes, parts: web::Data<Parts>) -> Result<HttpResponse, ApiError> {
    let seen = request.headers().get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    let seen = seen.map(|value| value.trim_matches('"').to_owned());
    match parts.collection.replace(body.to_vec(), seen).await {
        Ok(()) => Ok(HttpResponse::NoContent().finish()),
        Err(NotReplaced::Refused(mistake)) => {
            let (line, column) = mistake.place.unzip();
            let answer = json!({ "error": mistake.reason, "line": line, "column": column });
            Ok(HttpResponse::BadRequest().json(answer))
        }
        Err(NotReplaced::Changed) => Err(ApiError::conflict("the entries were changed meanwhile; nothing was written")),
        Err(NotReplaced::Failed(reason)) => Err(ApiError::unavailable(reason)),
    }
}

/// Largest body of a change.
pub const MAX_BODY: usize = MAX_VALUE_BYTES;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn file(dir: &tempfile::TempDir) -> EntriesFile {
        let files: JsonPage = Arc::new(|| Box::pin(async { Ok(json!([])) }));
        EntriesFile::new(dir.path().join("collect.json"), "/".into(), files)
    }

    #[actix_rt::test]
    async fn a_good_text_replaces_the_one_that_was_seen_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir);
        let none = file.entries().await.unwrap();
        assert_eq!(none.text, "[]");
        let first = br#"[{"path":"/a","topic":"t"}]"#.to_vec();
        file.replace(first, Some(none.version.clone())).await.unwrap();
        let second = br#"[{"path":"/b","topic":"t"}]"#.to_vec();
        assert_eq!(file.replace(second.clone(), Some(none.version)).await, Err(NotReplaced::Changed));
        assert!(file.entries().await.unwrap().text.contains("/a"));
        let seen = file.entries().await.unwrap().version;
        file.replace(second, Some(seen)).await.unwrap();
        assert!(file.entries().await.unwrap().text.contains("/b"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[actix_rt::test]
    async fn a_wrong_text_is_refused_with_its_place_and_the_old_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir);
        file.replace(b"[]".to_vec(), None).await.unwrap();
        let Err(NotReplaced::Refused(mistake)) = file.replace(b"[\n{\"paht\":\"/a\"}]".to_vec(), None).await else {
            panic!("must be refused")
        };
        assert_eq!(mistake.place, Some((2, 2)));
        assert!(mistake.reason.contains("path"), "{mistake}");
        assert_eq!(file.entries().await.unwrap().text, "[]");
    }
}
