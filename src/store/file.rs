//! The store of `logweir standalone`: one file in the data folder. The problem: besides the running process `logweir
//! console user` may write it, and what is collected stands in a file of its own that people edit with whatever they
//! like. So every call looks whether the file is still the one that was read, a commit holds a lock beside it, and a key
//! may be mounted on a file: its value is that file's content, and its revision grows when somebody has changed it.
//!
//! A commit first writes the mounted files, then its own: after a crash between the two, what was saved holds, and counts
//! as changed from outside.

use super::{
    Check, Committed, Item, Store, StoreError, Write, allowed,
    place::{Access, replace_file},
};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    ops::Bound,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Of the file's format.
const VERSION: u32 = 1;

/// Keys in a file that is replaced as a whole. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct FileStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    /// Keys whose values are files.
    mounts: BTreeMap<String, PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What was read. While it's open nobody else gets its number.
    read_from: Option<File>,
    content: Content,
}

/// The whole store.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Content {
    version: u32,
    /// Of the last commit.
    revision: i64,
    items: BTreeMap<String, Record>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    revision: i64,
    #[serde(flatten)]
    value: Value,
}

/// A value as it stands in the file, where people can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Value {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|e| Self::Bytes(e.into_bytes()), Self::Text)
    }
}

impl Value {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl FileStore {
    /// Reads nothing yet. A file that isn't there yet holds no keys.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { inner: Arc::new(Inner { file: file.into(), mounts: BTreeMap::new(), state: Mutex::default() }) }
    }

    /// The value of `key` is the content of this file; without the file the key isn't there.
    #[must_use]
    pub fn mount(self, key: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        let mut mounts = self.inner.mounts.clone();
        mounts.insert(key.into(), path.into());
        Self { inner: Arc::new(Inner { file: self.inner.file.clone(), mounts, state: Mutex::default() }) }
    }

    /// Files are read and synced where nobody waits for anything else.
    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || call(&inner)).await;
        done.unwrap_or_else(|e| Err(StoreError::Unavailable(format!("the store's file: {e}"))))
    }
}

fn failed(path: &Path, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("{}: {reason}", path.display()))
}

/// `None`: there is no such file.
fn content_of(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(path, e)),
    }
}

impl Inner {
    /// What the store holds now.
    fn look<T>(&self, look: impl FnOnce(&Content) -> T) -> Result<T, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state)?;
        Ok(look(&state.content))
    }

    /// Takes over what others have written.
    fn refresh(&self, state: &mut State) -> Result<(), StoreError> {
        let before = state.content.revision;
        self.load(state)?;
        if !self.take_mounted(&mut state.content)? {
            return Ok(());
        }
        // Others have to see the same revisions, so they are written at once; by one, if several see it.
        let _one = self.lock()?;
        self.load(state)?;
        if self.take_mounted(&mut state.content)? {
            let content = state.content.clone();
            self.save(state, content)?;
        }
        debug_assert!(state.content.revision >= before, "revisions only grow");
        Ok(())
    }

    /// Reads the store's own file, unless it is the one that was read last.
    fn load(&self, state: &mut State) -> Result<(), StoreError> {
        let failed = |reason: &dyn std::fmt::Display| failed(&self.file, reason);
        let mut file = match File::open(&self.file) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // With its revision, so that none comes twice.
                state.read_from = None;
                state.content.items.clear();
                return Ok(());
            }
            Err(e) => return Err(failed(&e)),
        };
        let number = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino()));
        if let Some(known) = &state.read_from
            && number(known).map_err(|e| failed(&e))? == number(&file).map_err(|e| failed(&e))?
        {
            return Ok(());
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(|e| failed(&e))?;
        let mut content: Content = serde_json::from_slice(&text)
            .map_err(|e| failed(&format_args!("is damaged, and is left as it is: {e}")))?;
        if content.version > VERSION {
            return Err(failed(&"was written by a newer version of logweir"));
        }
        content.revision = content.revision.max(state.content.revision);
        *state = State { read_from: Some(file), content };
        Ok(())
    }

    /// Takes over what people have written into mounted files. Answers whether something is new.
    fn take_mounted(&self, content: &mut Content) -> Result<bool, StoreError> {
        let mut new = Vec::new();
        for (key, path) in &self.mounts {
            let now = content_of(path)?;
            if now.as_deref() != content.items.get(key).map(|record| record.value.bytes()) {
                new.push((key.clone(), now));
            }
        }
        let changed = !new.is_empty();
        for (key, value) in new {
            content.revision += 1;
            content.put(key, value);
        }
        Ok(changed)
    }

    fn commit(&self, checks: &[Check], writes: Vec<Write>) -> Result<Committed, StoreError> {
        allowed(checks, &writes)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state)?;
        let _one = self.lock()?;
        self.load(&mut state)?;
        let mut content = state.content.clone();
        self.take_mounted(&mut content)?;
        let holds = |Check::Revision { key, revision }: &Check| content.revision_of(key) == *revision;
        if !checks.iter().all(holds) {
            return Ok(Committed::Conflict(checks.iter().filter_map(|check| content.item(check.key())).collect()));
        }
        content.revision += 1;
        for write in writes {
            let (key, value) = match write {
                Write::Put { key, value } => (key, Some(value)),
                Write::Delete { key } => (key, None),
            };
            if let Some(path) = self.mounts.get(&key) {
                write_mounted(path, value.as_deref())?;
            }
            content.put(key, value);
        }
        let revision = content.revision;
        self.save(&mut state, content)?;
        Ok(Committed::Done(revision))
    }

    /// Other processes wait until it is dropped.
    fn lock(&self) -> Result<File, StoreError> {
        let mut name = self.file.clone().into_os_string();
        name.push(".lock");
        let path = PathBuf::from(name);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let locked = file.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|e| failed(&path, e))
    }

    fn save(&self, state: &mut State, mut content: Content) -> Result<(), StoreError> {
        content.version = VERSION;
        let mut text = serde_json::to_vec_pretty(&content).map_err(|e| failed(&self.file, e))?;
        text.push(b'\n');
        replace_file(&self.file, &text, Access::Owner).map_err(|e| failed(&self.file, e))?;
        let file = File::open(&self.file).map_err(|e| failed(&self.file, e))?;
        *state = State { read_from: Some(file), content };
        Ok(())
    }
}

fn write_mounted(path: &Path, value: Option<&[u8]>) -> Result<(), StoreError> {
    let written = match value {
        Some(value) => replace_file(path, value, Access::AsBefore),
        None => fs::remove_file(path).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }),
    };
    written.map_err(|e| failed(path, e))
}

impl Content {
    fn put(&mut self, key: String, value: Option<Vec<u8>>) {
        match value {
            Some(value) => _ = self.items.insert(key, Record { revision: self.revision, value: value.into() }),
            None => _ = self.items.remove(&key),
        }
    }

    fn revision_of(&self, key: &str) -> i64 {
        self.items.get(key).map_or(0, |record| record.revision)
    }

    fn item(&self, key: &str) -> Option<Item> {
        self.items.get_key_value(key).map(item)
    }

    fn range(&self, prefix: &str, after: Option<&str>) -> impl DoubleEndedIterator<Item = (&String, &Record)> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        // The last bound of a prefix is no text, so it is found by looking.
        let end = self.items.range::<str, _>((from, Bound::Unbounded)).find(|(key, _)| !key.starts_with(prefix));
        let to = end.map_or(Bound::Unbounded, |(key, _)| Bound::Excluded(key.as_str()));
        self.items.range::<str, _>((from, to))
    }
}

fn item((key, record): (&String, &Record)) -> Item {
    Item { key: key.clone(), value: record.value.bytes().to_vec(), revision: record.revision }
}

impl Store for FileStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Item>, StoreError>> {
        let key = key.to_owned();
        Box::pin(self.run(move |inner| inner.look(|content| content.item(&key))))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Item>, StoreError>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(self.run(move |inner| {
            inner.look(|content| content.range(&prefix, after.as_deref()).take(limit).map(item).collect())
        }))
    }

    fn list_last<'a>(
        &'a self,
        prefix: &'a str,
        before: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Item>, StoreError>> {
        let (prefix, before) = (prefix.to_owned(), before.map(str::to_owned));
        Box::pin(self.run(move |inner| {
            let wanted = |key: &str| before.as_deref().is_none_or(|before| key < before);
            inner.look(|content| {
                content.range(&prefix, None).rev().filter(|(key, _)| wanted(key)).take(limit).map(item).collect()
            })
        }))
    }

    fn keys<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, i64)>, StoreError>> {
        let prefix = prefix.to_owned();
        Box::pin(self.run(move |inner| {
            let named = |(key, record): (&String, &Record)| (key.clone(), record.revision);
            inner.look(|content| content.range(&prefix, None).map(named).collect())
        }))
    }

    fn commit(&self, checks: Vec<Check>, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(self.run(move |inner| inner.commit(&checks, writes)))
    }
}

#[cfg(test)]
mod tests;
