//! Saved searches: a name and the page's address for it, a key of the store each. Everybody sees and changes the same ones.

use super::{Parts, ask, error::ApiError};
use crate::store::{Access, Check, Committed, Item, Store, StoreError, Write, replace_file};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::{fs, io, path::Path};

/// Prefix of their keys.
const PREFIX: &str = "/logweir/searches/";
/// Characters of a name.
const MAX_NAME: usize = 100;
/// Bytes of what is saved under one name.
pub const MAX_BODY: usize = 64 << 10;
const MAX_SEARCHES: usize = 500;

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

async fn all(store: &dyn Store) -> Result<Vec<Item>, ApiError> {
    // One more than there may be: somebody may have put some past the console.
    Ok(store.list(PREFIX, None, MAX_SEARCHES + 1).await?)
}

/// Those that can be read; another one hides none of them.
async fn read(store: &dyn Store) -> Result<Map<String, Value>, ApiError> {
    let pairs = all(store).await?.into_iter().filter_map(|item| {
        let name = item.key.strip_prefix(PREFIX)?.to_owned();
        let search = serde_json::from_slice(&item.value).ok().filter(Value::is_object)?;
        Some((name, search))
    });
    Ok(pairs.collect())
}

async fn save(store: &dyn Store, name: &str, body: &[u8]) -> Result<(), ApiError> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.contains(char::is_control) {
        return Err(ApiError::bad(format!("a name has 1 to {MAX_NAME} characters")));
    }
    let search: Value = serde_json::from_slice(body).map_err(|e| ApiError::bad(format!("the body: {e}")))?;
    if !search.is_object() {
        return Err(ApiError::bad("the body is a JSON object"));
    }
    let key = key(name);
    let there = all(store).await?;
    if there.len() >= MAX_SEARCHES && !there.iter().any(|item| item.key == key) {
        return Err(ApiError::conflict(format!("{MAX_SEARCHES} searches are saved already")));
    }
    store.commit(Vec::new(), vec![Write::put(key, search.to_string())]).await?;
    Ok(())
}

async fn forget(store: &dyn Store, name: &str) -> Result<(), ApiError> {
    let gone = || ApiError::not_found(format!("no search is saved as {name:?}"));
    let item = store.get(&key(name)).await?.ok_or_else(gone)?;
    match store.commit(vec![Check::unchanged(&item)], vec![Write::delete(&item.key)]).await? {
        Committed::Done(_) => Ok(()),
        Committed::Conflict(_) => Err(ApiError::conflict("it was changed meanwhile; nothing was removed")),
    }
}

/// Takes over the file in which earlier versions kept them; it is renamed when that is done. Names that are there already
/// stay as they are.
///
/// # Errors
/// The file can't be read, or the store can't be written; it is tried again at the next start.
pub async fn import(store: &dyn Store, file: &Path) -> Result<usize, StoreError> {
    let failed = |e: &dyn std::fmt::Display| StoreError::Unavailable(format!("{}: {e}", file.display()));
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(failed(&e)),
    };
    let searches: Map<String, Value> = serde_json::from_slice(&text).map_err(|e| failed(&e))?;
    for (name, search) in &searches {
        let key = key(name);
        // One that is there, from an import that was interrupted or newer than the file, stays.
        store.commit(vec![Check::absent(&key)], vec![Write::put(key, search.to_string())]).await?;
    }
    let kept = file.with_extension("json.imported");
    replace_file(&kept, &text, Access::AsBefore).and_then(|()| fs::remove_file(file)).map_err(|e| failed(&e))?;
    Ok(searches.len())
}

/// `GET /api/v1/searches`: `{name: search}`.
pub async fn list(parts: web::Data<Parts>) -> Result<HttpResponse, ApiError> {
    Ok(ask::json(&Value::Object(read(&*parts.store).await?)))
}

pub async fn put(name: web::Path<String>, body: Bytes, parts: web::Data<Parts>) -> Result<HttpResponse, ApiError> {
    save(&*parts.store, &name, &body).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub async fn remove(name: web::Path<String>, parts: web::Data<Parts>) -> Result<HttpResponse, ApiError> {
    forget(&*parts.store, &name).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FileStore;

    fn store() -> (tempfile::TempDir, FileStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::new(dir.path().join("console.json"));
        (dir, store)
    }

    #[actix_rt::test]
    async fn searches_are_kept_replaced_and_removed() {
        let (_dir, store) = store();
        assert!(read(&store).await.unwrap().is_empty());
        save(&store, "errors/今天", br#"{"q":"a"}"#).await.unwrap();
        save(&store, "errors/今天", br#"{"q":"b"}"#).await.unwrap();
        assert_eq!(read(&store).await.unwrap()["errors/今天"]["q"], "b");
        forget(&store, "errors/今天").await.unwrap();
        let gone = forget(&store, "errors/今天").await;
        assert_eq!(gone, Err(ApiError::not_found("no search is saved as \"errors/今天\"")));
        assert!(read(&store).await.unwrap().is_empty());
    }

    #[actix_rt::test]
    async fn what_is_no_search_is_refused_and_one_that_is_damaged_hides_no_other() {
        let (_dir, store) = store();
        for (name, body) in [(" ", "{}"), ("a", "[]"), ("a", "{"), (&"x".repeat(101), "{}"), ("a\nb", "{}")] {
            assert!(save(&store, name, body.as_bytes()).await.is_err(), "{name} {body}");
        }
        store.commit(Vec::new(), vec![Write::put(key("damaged"), "{")]).await.unwrap();
        save(&store, "good", b"{}").await.unwrap();
        assert_eq!(read(&store).await.unwrap().keys().collect::<Vec<_>>(), ["good"]);
    }

    #[actix_rt::test]
    async fn the_file_of_an_earlier_version_is_taken_over_once() {
        let (dir, store) = store();
        let file = dir.path().join("searches.json");
        fs::write(&file, "{ damaged").unwrap();
        assert!(import(&store, &file).await.is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "{ damaged", "nothing is lost");
        fs::write(&file, r#"{"a":{"q":"old"},"b":{"q":"x"}}"#).unwrap();
        save(&store, "a", br#"{"q":"new"}"#).await.unwrap();
        assert_eq!(import(&store, &file).await, Ok(2));
        let searches = read(&store).await.unwrap();
        assert_eq!((&searches["a"]["q"], &searches["b"]["q"]), (&"new".into(), &"x".into()));
        assert_eq!(import(&store, &file).await, Ok(0));
    }
}
