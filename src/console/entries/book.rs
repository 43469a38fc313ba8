//! All keys of entries in memory. They come from a watch on etcd, or, where the one key is a file, are looked at before
//! each answer. Whatever is wrong with a value, it is kept: people have to see it to repair it.

use super::outside::{Noticed, Outside};
use crate::{
    collection::{
        Entry, KeyTemplate, MAX_VALUE_BYTES, Mistake, Placed, Placeholder, Scope, is_entry_key, parse_entries,
    },
    etcd::{Event, Kv},
    store::{Item, Store, StoreError},
    telemetry::now_ms,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

/// Stands for the agents' base folders, which nobody knows away from them.
pub const UNKNOWN_BASE_DIR: &str = "/<base_dir>";

/// Which keys hold entries, and how their changes are heard of.
#[derive(Clone, Debug)]
pub enum Source {
    /// Keys of these templates; somebody watches them and calls [`Book::apply`].
    Watched(Vec<KeyTemplate>),
    /// One key, looked at before each answer; the file that it is mounted on, for people and as agents name it.
    Asked { key: String, file: PathBuf },
}

/// One key as it is known.
#[derive(Clone, Debug)]
pub struct Key {
    pub item: Item,
    /// Its entries as they stand there, each with the words it is found by; none where the value is no array.
    pub rows: Vec<Row>,
    /// What the agents make of it.
    pub read: Result<Vec<Entry>, Placed>,
    /// When this revision was first seen here.
    pub seen_ms: i64,
}

/// One entry as somebody wrote it.
#[derive(Clone, Debug)]
pub struct Row {
    pub json: Value,
    pub words: String,
}

/// Whether what is known is what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    /// Nothing was heard yet.
    pub listed: bool,
    /// Why nothing can be heard at the moment, and since when.
    pub away: Option<String>,
    pub since_ms: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pub keys: BTreeMap<String, Key>,
    pub standing: Standing,
}

/// See the module.
pub struct Book {
    pub(super) store: Arc<dyn Store>,
    source: Source,
    base_dir: PathBuf,
    known: RwLock<Known>,
    pub(super) outside: Outside,
}

impl Book {
    /// `base_dir`: what relative paths are relative to, where that is known.
    pub fn new(store: Arc<dyn Store>, source: Source, base_dir: Option<PathBuf>) -> Self {
        let base_dir = base_dir.unwrap_or_else(|| UNKNOWN_BASE_DIR.into());
        Self { store, source, base_dir, known: RwLock::default(), outside: Outside::default() }
    }

    pub(super) fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The templates as they are written; one key that is a file is its own.
    pub fn templates(&self) -> Vec<String> {
        match &self.source {
            Source::Watched(templates) => templates.iter().map(ToString::to_string).collect(),
            Source::Asked { key, .. } => vec![key.clone()],
        }
    }

    /// Where the entries live, for people, if that is one place.
    pub fn place(&self) -> Option<String> {
        match &self.source {
            Source::Watched(_) => None,
            Source::Asked { file, .. } => Some(file.display().to_string()),
        }
    }

    /// Whether entries may be written to this key.
    pub fn is_key(&self, key: &str) -> bool {
        match &self.source {
            Source::Watched(templates) => is_entry_key(key, templates),
            Source::Asked { key: own, .. } => key == own,
        }
    }

    /// Whether a key of the store is one of entries, however it came there.
    fn holds(&self, key: &str) -> bool {
        match &self.source {
            Source::Watched(templates) => {
                templates.iter().any(|t| if t.is_fixed() { t.prefix() == key } else { t.fits(key) })
            }
            Source::Asked { key: own, .. } => key == own,
        }
    }

    pub fn scope(&self, key: &str) -> Option<Scope> {
        match &self.source {
            Source::Watched(templates) => Scope::of(key, templates),
            Source::Asked { .. } => Some(Scope::All),
        }
    }

    /// The keys that a host without groups goes by, as far as its name says it.
    pub fn keys_of_host(&self, host: &str) -> Vec<String> {
        match &self.source {
            Source::Watched(templates) => {
                let key = |t: &KeyTemplate| match t.is_fixed() {
                    true => Some(t.prefix().to_owned()),
                    false => t.key_of(Placeholder::Host, host),
                };
                templates.iter().filter_map(key).collect()
            }
            Source::Asked { key, .. } => vec![key.clone()],
        }
    }

    /// The entries of a text, as agents would take it.
    ///
    /// # Errors
    /// The first mistake, with the entry and the field.
    pub fn read(&self, text: &[u8]) -> Result<Vec<Entry>, Placed> {
        parse_entries(text, &self.base_dir).map_err(|mistake: Mistake| Placed::new(text, mistake))
    }

    /// Looks at what isn't watched. To be called before anything is answered.
    ///
    /// # Errors
    /// The store doesn't answer; what is known stays.
    pub async fn look(&self) -> Result<(), StoreError> {
        let Source::Asked { key, .. } = &self.source else { return Ok(()) };
        let event = match self.store.get(key).await {
            Ok(Some(item)) => Event::Snapshot { revision: item.revision, kvs: vec![item.into()] },
            Ok(None) => Event::Snapshot { revision: i64::MAX, kvs: Vec::new() },
            Err(error) => {
                self.lost(error.to_string());
                return Err(error);
            }
        };
        self.apply(&event);
        Ok(())
    }

    /// The store has changed, or can't be watched.
    pub fn apply(&self, event: &Event) {
        match event {
            Event::Snapshot { kvs, revision } => self.listed(kvs, *revision),
            Event::Put(kv) => self.put(kv, true),
            Event::Delete { key, revision } => self.deleted(key, *revision, true),
            Event::Lost(error) => self.lost(error.to_string()),
        }
    }

    /// This process has written it: there is no need to wait for the news of it.
    pub(super) fn written(&self, key: &str, value: Option<&[u8]>, revision: i64) {
        match value {
            Some(value) => {
                self.put(&Kv { key: key.to_owned(), value: value.to_vec(), revision }, false);
            }
            None => self.deleted(key, revision, false),
        }
    }

    fn lost(&self, reason: String) {
        let standing = &mut self.known.write().unwrap_or_else(PoisonError::into_inner).standing;
        standing.away = Some(reason);
        standing.since_ms.get_or_insert(now_ms() as i64);
    }

    fn listed(&self, kvs: &[Kv], revision: i64) {
        // What came before this console did is nobody's news.
        let news = self.known().standing.listed;
        let mut gone: Vec<(String, i64)> = {
            let known = self.known();
            known.keys.values().map(|key| (key.item.key.clone(), key.item.revision)).collect()
        };
        for kv in kvs.iter().filter(|kv| self.holds(&kv.key)) {
            self.put(kv, news);
        }
        gone.retain(|(key, known)| *known <= revision && !kvs.iter().any(|kv| kv.key == *key));
        for (key, _) in gone {
            self.deleted(&key, revision, news);
        }
        let standing = &mut self.known.write().unwrap_or_else(PoisonError::into_inner).standing;
        *standing = Standing { listed: true, away: None, since_ms: None };
    }

    fn put(&self, kv: &Kv, news: bool) {
        if !self.holds(&kv.key) {
            return;
        }
        if self.known().keys.get(&kv.key).is_some_and(|key| key.item.revision >= kv.revision) {
            return;
        }
        let new = Key {
            rows: rows(&kv.value),
            read: self.read(&kv.value),
            item: Item { key: kv.key.clone(), value: kv.value.clone(), revision: kv.revision },
            seen_ms: now_ms() as i64,
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.keys.insert(kv.key.clone(), new).map(|key| key.item);
        drop(known);
        // Configuration management puts the same again and again: that changes nothing.
        let same = before.as_ref().is_some_and(|before| before.value == kv.value);
        if news && !same {
            self.outside.notice(Noticed { before, key: kv.key.clone(), now: Some((kv.value.clone(), kv.revision)) });
        }
    }

    fn deleted(&self, key: &str, revision: i64, news: bool) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.keys.get(key).is_none_or(|key| key.item.revision > revision) {
            return;
        }
        let before = known.keys.remove(key).map(|key| key.item);
        drop(known);
        if news {
            self.outside.notice(Noticed { before, key: key.to_owned(), now: None });
        }
    }

    pub fn standing(&self) -> Standing {
        self.known().standing.clone()
    }

    /// The key as it is known.
    pub fn key(&self, key: &str) -> Option<Key> {
        self.known().keys.get(key).cloned()
    }
}

impl crate::etcd::Mirror for Book {
    fn apply(&self, event: &Event) {
        Self::apply(self, event);
    }
}

fn rows(value: &[u8]) -> Vec<Row> {
    if value.len() > MAX_VALUE_BYTES {
        return Vec::new();
    }
    let all: Vec<Value> = serde_json::from_slice(value).unwrap_or_default();
    let row = |json: Value| {
        let mut words = String::new();
        find_words(&json, false, &mut words);
        Row { words, json }
    };
    all.into_iter().map(row).collect()
}

/// All texts in an entry, and the names of labels.
fn find_words(json: &Value, names: bool, into: &mut String) {
    match json {
        Value::String(text) => {
            into.push_str(&text.to_lowercase());
            into.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| find_words(item, false, into)),
        Value::Object(members) => {
            for (name, member) in members {
                if names {
                    find_words(&Value::from(name.as_str()), false, into);
                }
                find_words(member, name == "labels", into);
            }
        }
        _ => {}
    }
}

impl From<Item> for Kv {
    fn from(Item { key, value, revision }: Item) -> Self {
        Self { key, value, revision }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{etcd::EtcdError, store::FileStore};

    /// A book of keys below `/l/` over an empty store.
    pub fn book() -> (tempfile::TempDir, Book) {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(FileStore::new(dir.path().join("console.json")));
        let templates = ["/l/all", "/l/group/{group}", "/l/host/{host}"].map(|t| KeyTemplate::parse(t).unwrap());
        (dir, Book::new(store, Source::Watched(templates.into()), None))
    }

    pub fn kv(key: &str, revision: i64, value: &str) -> Kv {
        Kv { key: key.into(), value: value.into(), revision }
    }

    pub fn put(book: &Book, key: &str, revision: i64, value: &str) {
        book.apply(&Event::Put(kv(key, revision, value)));
    }

    fn revisions(book: &Book) -> Vec<(String, i64)> {
        book.known().keys.values().map(|key| (key.item.key.clone(), key.item.revision)).collect()
    }

    #[test]
    fn what_is_known_follows_the_watch_and_never_goes_back() {
        let (_dir, book) = book();
        assert!(!book.standing().listed);
        let kvs = vec![kv("/l/all", 3, "[]"), kv("/l/host/a", 4, "[]"), kv("/logweir/status/x", 5, "{}")];
        book.apply(&Event::Snapshot { kvs, revision: 5 });
        assert!(book.standing().listed);
        assert_eq!(revisions(&book), [("/l/all".into(), 3), ("/l/host/a".into(), 4)]);
        book.written("/l/all", Some(b"[ ]"), 9);
        put(&book, "/l/all", 8, "older news");
        book.apply(&Event::Delete { key: "/l/all".into(), revision: 7 });
        assert_eq!(book.key("/l/all").unwrap().item.value, b"[ ]");
        // A list from before the write, in which the key isn't there yet.
        book.apply(&Event::Snapshot { kvs: vec![], revision: 8 });
        assert_eq!(revisions(&book), [("/l/all".into(), 9)]);
        book.apply(&Event::Delete { key: "/l/all".into(), revision: 10 });
        assert!(revisions(&book).is_empty());
    }

    #[test]
    fn what_is_known_stays_while_etcd_is_away_and_the_page_is_told() {
        let (_dir, book) = book();
        book.apply(&Event::Snapshot { kvs: vec![kv("/l/all", 3, "[]")], revision: 3 });
        book.apply(&Event::Lost(EtcdError::Settings("no such file".into())));
        let standing = book.standing();
        assert!(standing.away.as_deref() == Some("no such file") && standing.since_ms.is_some(), "{standing:?}");
        assert_eq!(revisions(&book).len(), 1);
        book.apply(&Event::Snapshot { kvs: vec![kv("/l/all", 3, "[]")], revision: 3 });
        assert_eq!(book.standing().away, None);
    }

    #[test]
    fn a_wrong_value_is_kept_with_its_mistake() {
        let (_dir, book) = book();
        put(&book, "/l/all", 1, "[{\"path\":\"/a\",\n\"topic\":\"a b\"}]");
        let key = book.key("/l/all").unwrap();
        let mistake = key.read.unwrap_err();
        assert_eq!((mistake.line, mistake.entry, mistake.field.as_deref()), (Some(2), Some(0), Some("topic")));
        assert_eq!(key.rows.len(), 1, "what is readable is shown");
        put(&book, "/l/all", 2, &"x".repeat(2 << 20));
        assert!(book.key("/l/all").unwrap().read.unwrap_err().reason.contains("bytes"));
    }

    #[actix_rt::test]
    async fn a_file_that_somebody_edits_is_known_at_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("collect.json");
        let store = FileStore::new(dir.path().join("console.json")).mount("collect.json", &file);
        let source = Source::Asked { key: "collect.json".into(), file: file.clone() };
        let book = Book::new(Arc::new(store), source, Some("/base".into()));
        book.look().await.unwrap();
        assert!(book.standing().listed && book.key("collect.json").is_none());
        std::fs::write(&file, r#"[{"path":"a","topic":"t"}]"#).unwrap();
        book.look().await.unwrap();
        assert_eq!(book.key("collect.json").unwrap().read.unwrap()[0].path, "/base/a");
        std::fs::remove_file(&file).unwrap();
        book.look().await.unwrap();
        assert!(book.key("collect.json").is_none());
    }
}
