//! Saved searches: a name and the page's address for it, a key of the store each. Everybody sees the same ones, but those who
//! may not see all topics only what was written by somebody who saw no others: a search may name what it looks for. The problem:
//! two people save under one name at once, and viewers may save, too. So each keeps who made it, only they or an editor
//! replace or remove it, and whoever names the revision that they saw (`If-Match`) hears of a change since. What is done is
//! in the audit, in the same commit.

use super::{
    Parts, ask,
    error::ApiError,
    gate::{Author, Person, Role, Topics},
};
use crate::store::{Access, Check, Committed, Item, Store, StoreError, Write, replace_file};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
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
/// Members that are the console's own, whatever a body says: who made it, and in answers its revision.
const MADE_BY: &str = "made_by";
const REVISION: &str = "revision";
/// Those of who wrote it last; no answer has them.
const TOPICS: &str = "topics";

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

async fn all(store: &dyn Store) -> Result<Vec<Item>, ApiError> {
    // One more than there may be: somebody may have put some past the console.
    Ok(store.list(PREFIX, None, MAX_SEARCHES + 1).await?)
}

/// Those that can be read; another one hides none of them.
async fn read(store: &dyn Store, topics: &Topics) -> Result<Map<String, Value>, ApiError> {
    let pairs = all(store).await?.into_iter().filter_map(|item| {
        let name = item.key.strip_prefix(PREFIX)?.to_owned();
        let mut search = parsed(&item)?;
        let of: Option<Topics> = search.remove(TOPICS).and_then(|topics| serde_json::from_value(topics).ok());
        if !topics.all() && of.is_none_or(|of| of.within(topics).is_err()) {
            return None;
        }
        search.insert(REVISION.into(), item.revision.into());
        Some((name, search.into()))
    });
    Ok(pairs.collect())
}

fn parsed(item: &Item) -> Option<Map<String, Value>> {
    serde_json::from_slice(&item.value).ok()
}

/// Who made it; of one that was saved by an earlier version nobody knows.
fn maker(item: &Item) -> Option<String> {
    parsed(item)?.get(MADE_BY)?.as_str().map(str::to_owned)
}

/// `item` is what the key is now; `seen` the revision that this person saw, if they tell (0: not there).
fn must_be_allowed(person: &Person, item: Option<&Item>, seen: Option<i64>) -> Result<(), ApiError> {
    if seen.is_some_and(|seen| item.map_or(0, |item| item.revision) != seen) {
        return Err(changed_meanwhile());
    }
    let made_by = item.map(maker);
    if made_by.is_none_or(|made_by| person.may(Role::Editor) || made_by.as_deref() == Some(person.name.as_str())) {
        return Ok(());
    }
    Err(ApiError::forbidden("somebody else has saved this search; only they or an editor may change it"))
}

fn changed_meanwhile() -> ApiError {
    ApiError::conflict("somebody else has changed this search meanwhile; nothing was written")
}

/// One change and its record in the audit, if the search is still as it was read.
async fn commit(
    store: &dyn Store,
    person: &Person,
    (name, item): (&str, Option<&Item>),
    new: Option<Map<String, Value>>,
) -> Result<(), ApiError> {
    let key = key(name);
    let check = Check::revision(&key, item.map_or(0, |item| item.revision));
    let (action, write) = match new {
        Some(search) => ("search.put", Write::put(key, Value::from(search).to_string())),
        None => ("search.delete", Write::delete(key)),
    };
    let audit = Author::from(person).did(action, name, "").map_err(|e| ApiError::unavailable(e.to_string()))?;
    match store.commit(vec![check], vec![write, audit]).await? {
        Committed::Done(_) => Ok(()),
        Committed::Conflict(_) => Err(changed_meanwhile()),
    }
}

async fn save(store: &dyn Store, person: &Person, name: &str, seen: Option<i64>, body: &[u8]) -> Result<(), ApiError> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.contains(char::is_control) {
        return Err(ApiError::bad(format!("a name has 1 to {MAX_NAME} characters")));
    }
    let search: Value = serde_json::from_slice(body).map_err(|e| ApiError::bad(format!("the body: {e}")))?;
    let Value::Object(mut search) = search else { return Err(ApiError::bad("the body is a JSON object")) };
    let key = key(name);
    let there = all(store).await?;
    // One by one: of more than are listed it may be there, too.
    let item = store.get(&key).await?;
    must_be_allowed(person, item.as_ref(), seen)?;
    if there.len() >= MAX_SEARCHES && item.is_none() {
        return Err(ApiError::conflict(format!("{MAX_SEARCHES} searches are saved already")));
    }
    search.remove(REVISION);
    let made_by = item.as_ref().and_then(maker).unwrap_or_else(|| person.name.clone());
    search.insert(MADE_BY.into(), made_by.into());
    search.insert(TOPICS.into(), Vec::from(person.topics.clone()).into());
    commit(store, person, (name, item.as_ref()), Some(search)).await
}

async fn forget(store: &dyn Store, person: &Person, name: &str, seen: Option<i64>) -> Result<(), ApiError> {
    let gone = || ApiError::not_found(format!("no search is saved as {name:?}"));
    let item = store.get(&key(name)).await?.ok_or_else(gone)?;
    must_be_allowed(person, Some(&item), seen)?;
    commit(store, person, (name, Some(&item)), None).await
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
pub async fn list(person: Person, parts: web::Data<Parts>) -> Result<HttpResponse, ApiError> {
    Ok(ask::json(&Value::Object(read(&*parts.store, &person.topics).await?)))
}

/// `If-Match`, where somebody says what they saw.
fn seen(request: &HttpRequest) -> Result<Option<i64>, ApiError> {
    let Some(value) = request.headers().get(header::IF_MATCH) else { return Ok(None) };
    let revision = value.to_str().ok().and_then(|value| value.trim().trim_matches('"').parse().ok());
    let revision = revision.filter(|revision| *revision >= 0);
    revision.map(Some).ok_or_else(|| ApiError::bad("If-Match: a revision is expected; 0 for a new name"))
}

/// `PUT /api/v1/searches/NAME`
pub async fn put(
    request: HttpRequest,
    name: web::Path<String>,
    body: Bytes,
    person: Person,
    parts: web::Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    save(&*parts.store, &person, &name, seen(&request)?, &body).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/v1/searches/NAME`
pub async fn remove(
    request: HttpRequest,
    name: web::Path<String>,
    person: Person,
    parts: web::Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    forget(&*parts.store, &person, &name, seen(&request)?).await?;
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

    fn person(name: &str, role: Role) -> Person {
        Person { name: name.into(), role, ..Person::local("10.0.0.1".into()) }
    }

    fn anna() -> Person {
        person("anna", Role::Viewer)
    }

    async fn audited(store: &FileStore) -> Vec<String> {
        let records = store.list("/logweir/audit/", None, 99).await.unwrap();
        let read = |item: &Item| serde_json::from_slice::<Value>(&item.value).unwrap();
        let texts =
            |record: Value| ["author", "action", "subject"].map(|m| record[m].as_str().unwrap().to_owned()).join(" ");
        let mut told: Vec<_> = records.iter().map(read).map(texts).collect();
        told.sort();
        told
    }

    #[actix_rt::test]
    async fn only_who_made_it_or_an_editor_changes_it_and_the_audit_tells() {
        let (_dir, store) = store();
        let (other, editor) = (person("otto", Role::Viewer), person("edda", Role::Editor));
        save(&store, &anna(), "a", None, br#"{"q":"a","made_by":"otto","revision":7}"#).await.unwrap();
        let refused = ApiError::forbidden("somebody else has saved this search; only they or an editor may change it");
        assert_eq!(save(&store, &other, "a", None, b"{}").await, Err(refused.clone()));
        assert_eq!(forget(&store, &other, "a", None).await, Err(refused.clone()));
        save(&store, &editor, "a", None, br#"{"q":"b"}"#).await.unwrap();
        let search = &read(&store, &Topics::default()).await.unwrap()["a"];
        assert_eq!((&search["q"], &search["made_by"]), (&"b".into(), &"anna".into()), "it stays hers");
        forget(&store, &anna(), "a", None).await.unwrap();
        // Of one that an earlier version saved nobody knows whose it is.
        store.commit(vec![], vec![Write::put(key("old"), "{}")]).await.unwrap();
        assert_eq!(forget(&store, &anna(), "old", None).await, Err(refused));
        forget(&store, &editor, "old", None).await.unwrap();
        let told = ["anna search.delete a", "anna search.put a", "edda search.delete old", "edda search.put a"];
        assert_eq!(audited(&store).await, told);
    }

    #[actix_rt::test]
    async fn who_sees_some_topics_sees_searches_of_those_who_see_no_others() {
        let (_dir, store) = store();
        let topics = |text: &str| Topics::try_from(vec![text.to_owned()]).unwrap();
        let of = |name: &str, text: &str| Person { topics: topics(text), ..person(name, Role::Viewer) };
        save(&store, &anna(), "all", None, br#"{"q":"bank","topics":["shop-1"]}"#).await.unwrap();
        save(&store, &of("one", "shop-1"), "one", None, b"{}").await.unwrap();
        save(&store, &of("many", "shop-*"), "many", None, b"{}").await.unwrap();
        store.commit(vec![], vec![Write::put(key("of an earlier version"), "{}")]).await.unwrap();
        let seen = async |text: &str| read(&store, &topics(text)).await.unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(seen("shop-1").await, ["one"]);
        assert_eq!(seen("shop-*").await, ["many", "one"]);
        assert_eq!(seen("*").await.len(), 4);
        assert!(!read(&store, &Topics::default()).await.unwrap()["all"].to_string().contains("topics"));
        // Another has written into it.
        save(&store, &person("edda", Role::Editor), "one", None, br#"{"q":"bank"}"#).await.unwrap();
        assert!(seen("shop-1").await.is_empty());
    }

    #[actix_rt::test]
    async fn of_two_who_save_one_name_the_second_hears_of_the_first() {
        let (_dir, store) = store();
        save(&store, &anna(), "a", Some(0), br#"{"q":"1"}"#).await.unwrap();
        let seen = read(&store, &Topics::default()).await.unwrap()["a"]["revision"].as_i64();
        assert_eq!(save(&store, &anna(), "a", Some(0), br#"{"q":"2"}"#).await, Err(changed_meanwhile()));
        save(&store, &anna(), "a", seen, br#"{"q":"3"}"#).await.unwrap();
        assert_eq!(save(&store, &anna(), "a", seen, br#"{"q":"4"}"#).await, Err(changed_meanwhile()));
        assert_eq!(forget(&store, &anna(), "a", seen).await, Err(changed_meanwhile()));
        assert_eq!(read(&store, &Topics::default()).await.unwrap()["a"]["q"], "3");
        // Between the look and the write, too.
        let item = store.get(&key("a")).await.unwrap().unwrap();
        save(&store, &anna(), "a", None, br#"{"q":"5"}"#).await.unwrap();
        let late = commit(&store, &anna(), ("a", Some(&item)), Some(Map::new())).await;
        assert_eq!(late, Err(changed_meanwhile()));
        assert_eq!(audited(&store).await.len(), 3, "what was refused is not told as done");
    }

    #[actix_rt::test]
    async fn searches_are_kept_replaced_and_removed() {
        let (_dir, store) = store();
        assert!(read(&store, &Topics::default()).await.unwrap().is_empty());
        save(&store, &anna(), "errors/今天", None, br#"{"q":"a"}"#).await.unwrap();
        save(&store, &anna(), "errors/今天", None, br#"{"q":"b"}"#).await.unwrap();
        assert_eq!(read(&store, &Topics::default()).await.unwrap()["errors/今天"]["q"], "b");
        forget(&store, &anna(), "errors/今天", None).await.unwrap();
        let gone = forget(&store, &anna(), "errors/今天", None).await;
        assert_eq!(gone, Err(ApiError::not_found("no search is saved as \"errors/今天\"")));
        assert!(read(&store, &Topics::default()).await.unwrap().is_empty());
    }

    #[actix_rt::test]
    async fn what_is_no_search_is_refused_and_one_that_is_damaged_hides_no_other() {
        let (_dir, store) = store();
        for (name, body) in [(" ", "{}"), ("a", "[]"), ("a", "{"), (&"x".repeat(101), "{}"), ("a\nb", "{}")] {
            assert!(save(&store, &anna(), name, None, body.as_bytes()).await.is_err(), "{name} {body}");
        }
        store.commit(Vec::new(), vec![Write::put(key("damaged"), "{")]).await.unwrap();
        save(&store, &anna(), "good", None, b"{}").await.unwrap();
        assert_eq!(read(&store, &Topics::default()).await.unwrap().keys().collect::<Vec<_>>(), ["good"]);
    }

    #[actix_rt::test]
    async fn the_file_of_an_earlier_version_is_taken_over_once() {
        let (dir, store) = store();
        let file = dir.path().join("searches.json");
        fs::write(&file, "{ damaged").unwrap();
        assert!(import(&store, &file).await.is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "{ damaged", "nothing is lost");
        fs::write(&file, r#"{"a":{"q":"old"},"b":{"q":"x"}}"#).unwrap();
        save(&store, &anna(), "a", None, br#"{"q":"new"}"#).await.unwrap();
        assert_eq!(import(&store, &file).await, Ok(2));
        let searches = read(&store, &Topics::default()).await.unwrap();
        assert_eq!((&searches["a"]["q"], &searches["b"]["q"]), (&"new".into(), &"x".into()));
        assert_eq!(import(&store, &file).await, Ok(0));
    }
}
