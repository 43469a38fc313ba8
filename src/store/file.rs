//! The store of `logweir standalone`: one file in the data folder. The problem: besides the running process `logweir
//! console user` may write it, and what is collected stands in a file of its own that people edit with whatever they
//! like. So every call looks whether the file is still the one that was read, a commit holds a lock beside it, and a key
//! may be mounted on a file: its value is that file's content, and its revision grows when somebody has changed it.
//!
//! A commit first writes its records of the audit (`log`), then the mounted files, then its own file. So after a crash no
//! change that was made is without its record, though a record may tell of a change that was not made; and what was saved
//! in a mounted file holds, and counts as changed from outside, too.

mod content;
mod log;

use super::{
    Check, Committed, Item, Store, StoreError, Write, allowed,
    place::{Access, replace_file},
};
use content::{Content, Record, item};
use futures_util::future::BoxFuture;
use log::Log;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
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
    log: Log,
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

impl FileStore {
    /// Reads nothing yet. A file that isn't there yet holds no keys.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        let file = file.into();
        let (log, mounts, state) = (Log::beside(&file), BTreeMap::new(), Mutex::default());
        Self { inner: Arc::new(Inner { file, log, mounts, state }) }
    }

    /// The value of `key` is the content of this file; without the file the key isn't there.
    #[must_use]
    pub fn mount(self, key: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        let mut mounts = self.inner.mounts.clone();
        mounts.insert(key.into(), path.into());
        let (file, log) = (self.inner.file.clone(), self.inner.log.clone());
        Self { inner: Arc::new(Inner { file, log, mounts, state: Mutex::default() }) }
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

/// No other file has it while this one is open.
fn number(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|meta| (meta.dev(), meta.ino()))
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
    fn look<T>(&self, look: impl FnOnce(&Content) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state)?;
        look(&state.content)
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Item>, StoreError> {
        self.look(|content| {
            let mut items = self.log.list(prefix, after, limit)?;
            items.extend(content.range(prefix, after).take(limit).map(item));
            items.sort_by(|a, b| a.key.cmp(&b.key));
            items.dedup_by(|a, b| a.key == b.key);
            items.truncate(limit);
            Ok(items)
        })
    }

    fn list_last(&self, prefix: &str, before: Option<&str>, limit: usize) -> Result<Vec<Item>, StoreError> {
        let wanted = |key: &str| before.is_none_or(|before| key < before);
        self.look(|content| {
            let mut items = self.log.list_last(prefix, before, limit)?;
            items.extend(content.range(prefix, None).rev().filter(|(key, _)| wanted(key)).take(limit).map(item));
            items.sort_by(|a, b| b.key.cmp(&a.key));
            items.dedup_by(|a, b| a.key == b.key);
            items.truncate(limit);
            Ok(items)
        })
    }

    fn keys(&self, prefix: &str) -> Result<Vec<(String, i64)>, StoreError> {
        self.look(|content| {
            let told = self.log.list(prefix, None, usize::MAX)?;
            let mut keys: Vec<_> = told.into_iter().map(|item| (item.key, item.revision)).collect();
            keys.extend(content.range(prefix, None).map(|(key, record)| (key.clone(), record.revision)));
            keys.sort();
            keys.dedup_by(|a, b| a.0 == b.0);
            Ok(keys)
        })
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
        let now = checks.iter().map(|check| self.item(&content, check.key())).collect::<Result<Vec<_>, _>>()?;
        let holds = |(Check::Revision { revision, .. }, item): (&Check, &Option<Item>)| {
            item.as_ref().map_or(0, |item| item.revision) == *revision
        };
        if !checks.iter().zip(&now).all(holds) {
            return Ok(Committed::Conflict(now.into_iter().flatten().collect()));
        }
        content.revision += 1;
        let revision = content.revision;
        // Those that an earlier version kept with all other keys move, too.
        let mut records = content.take_out(log::holds);
        let (told, writes): (Vec<_>, Vec<_>) = writes.into_iter().partition(|write| log::holds(write.key()));
        let mut forgotten = Vec::new();
        for write in told {
            match write {
                Write::Put { key, value } => _ = records.insert(key, Record { revision, value: value.into() }),
                Write::Delete { key } => forgotten.push(key),
            }
        }
        let into_files = writes.iter().any(|write| self.mounts.contains_key(write.key()));
        let added = self.log.add(records)?;
        if let Err(error) = self.write(&mut state, content, writes) {
            if !into_files && self.is_as_read(&state) {
                added.take_back();
            }
            return Err(error);
        }
        if let Err(error) = self.log.remove(&forgotten) {
            // The change is made and told; who forgets old records finds them again.
            slog_scope::error!("records of the audit can't be removed"; "reason" => %error);
        }
        Ok(Committed::Done(revision))
    }

    fn write(&self, state: &mut State, mut content: Content, writes: Vec<Write>) -> Result<(), StoreError> {
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
        self.save(state, content)
    }

    /// Whether the store's own file is still the one that was read.
    fn is_as_read(&self, state: &State) -> bool {
        let read = state.read_from.as_ref().and_then(|file| number(file).ok());
        File::open(&self.file).and_then(|file| number(&file)).ok() == read
    }

    fn item(&self, content: &Content, key: &str) -> Result<Option<Item>, StoreError> {
        Ok(self.log.get(key)?.or_else(|| content.item(key)))
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

impl Store for FileStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Item>, StoreError>> {
        let key = key.to_owned();
        Box::pin(self.run(move |inner| inner.look(|content| inner.item(content, &key))))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Item>, StoreError>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(self.run(move |inner| inner.list(&prefix, after.as_deref(), limit)))
    }

    fn list_last<'a>(
        &'a self,
        prefix: &'a str,
        before: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Item>, StoreError>> {
        let (prefix, before) = (prefix.to_owned(), before.map(str::to_owned));
        Box::pin(self.run(move |inner| inner.list_last(&prefix, before.as_deref(), limit)))
    }

    fn keys<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, i64)>, StoreError>> {
        let prefix = prefix.to_owned();
        Box::pin(self.run(move |inner| inner.keys(&prefix)))
    }

    fn commit(&self, checks: Vec<Check>, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(self.run(move |inner| inner.commit(&checks, writes)))
    }
}

#[cfg(test)]
mod tests;
