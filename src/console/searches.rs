//! Saved searches: a name and the page's address for it, in one small file. The problem: two tabs save at once, and a
//! crash while saving must not cost what was saved before.

use super::{ask, error::ApiError};
use crate::store::{Access, replace_file};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::{io, path::PathBuf, sync::Mutex};

/// Characters of a name.
const MAX_NAME: usize = 100;
/// Bytes of what is saved under one name.
pub const MAX_BODY: usize = 64 << 10;
const MAX_SEARCHES: usize = 500;

/// The file of saved searches: a JSON object, a member a search.
#[derive(Debug)]
pub struct Searches {
    file: PathBuf,
    changing: Mutex<()>,
}

impl Searches {
    pub fn new(file: PathBuf) -> Self {
        Self { file, changing: Mutex::new(()) }
    }

    fn read(&self) -> Result<Map<String, Value>, ApiError> {
        let text = match std::fs::read(&self.file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(e) => return Err(self.failed(e)),
        };
        serde_json::from_slice(&text).map_err(|e| self.failed(e))
    }

    fn failed(&self, reason: impl std::fmt::Display) -> ApiError {
        ApiError::unavailable(format!("the saved searches in {}: {reason}", self.file.display()))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Map<String, Value>) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let _one = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut all = self.read()?;
        let changed = change(&mut all)?;
        let mut text = serde_json::to_vec_pretty(&all).map_err(|e| self.failed(e))?;
        text.push(b'\n');
        replace_file(&self.file, &text, Access::AsBefore).map_err(|e| self.failed(e))?;
        Ok(changed)
    }

    fn put(&self, name: &str, body: &[u8]) -> Result<(), ApiError> {
        if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.contains(char::is_control) {
            return Err(ApiError::bad(format!("a name has 1 to {MAX_NAME} characters")));
        }
        let search: Value = serde_json::from_slice(body).map_err(|e| ApiError::bad(format!("the body: {e}")))?;
        if !search.is_object() {
            return Err(ApiError::bad("the body is a JSON object"));
        }
        self.change(|all| {
            if all.len() >= MAX_SEARCHES && !all.contains_key(name) {
                return Err(ApiError::conflict(format!("{MAX_SEARCHES} searches are saved already")));
            }
            all.insert(name.to_owned(), search);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> Result<(), ApiError> {
        let gone = || ApiError::not_found(format!("no search is saved as {name:?}"));
        self.change(|all| all.remove(name).map(drop).ok_or_else(gone))
    }
}

/// `GET /api/v1/searches`: `{name: search}`.
pub async fn list(searches: web::Data<Searches>) -> Result<HttpResponse, ApiError> {
    Ok(ask::json(&Value::Object(searches.read()?)))
}

pub async fn put(
    name: web::Path<String>,
    body: Bytes,
    searches: web::Data<Searches>,
) -> Result<HttpResponse, ApiError> {
    searches.put(&name, &body)?;
    Ok(HttpResponse::NoContent().finish())
}

pub async fn remove(name: web::Path<String>, searches: web::Data<Searches>) -> Result<HttpResponse, ApiError> {
    searches.remove(&name)?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_are_kept_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let searches = Searches::new(dir.path().join("searches.json"));
        assert!(searches.read().unwrap().is_empty());
        searches.put("errors/今天", br#"{"q":"a"}"#).unwrap();
        searches.put("errors/今天", br#"{"q":"b"}"#).unwrap();
        let again = Searches::new(dir.path().join("searches.json"));
        assert_eq!(again.read().unwrap()["errors/今天"]["q"], "b");
        again.remove("errors/今天").unwrap();
        assert_eq!(again.remove("errors/今天"), Err(ApiError::not_found("no search is saved as \"errors/今天\"")));
        assert!(again.read().unwrap().is_empty());
    }

    #[test]
    fn what_is_no_search_is_refused_and_a_damaged_file_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("searches.json");
        let searches = Searches::new(file.clone());
        for (name, body) in [(" ", "{}"), ("a", "[]"), ("a", "{"), (&"x".repeat(101), "{}"), ("a\nb", "{}")] {
            assert!(searches.put(name, body.as_bytes()).is_err(), "{name} {body}");
        }
        std::fs::write(&file, "{ damaged").unwrap();
        assert!(searches.put("a", b"{}").is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{ damaged");
    }
}
