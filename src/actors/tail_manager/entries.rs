//! The entries in force, found by path. The problem: a scan of a folder serves all entries, and 10,000 entries that
//! each name one file mustn't cost 10,000 comparisons for each of 10,000 names.

use super::Rules;
use crate::{
    collection::{Delivery, Entry, EntryKey, Start},
    flow::EntryId,
    tail::{Pattern, PatternError},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// One entry in force.
#[derive(Debug)]
pub struct EntryState {
    pub entry: Entry,
    pub key: EntryKey,
    pub topic: Arc<str>,
    pub pattern: Arc<Pattern>,
    /// ENTRY and its text, for an entry with delivery fields.
    pub delivery: Option<(EntryId, Delivery)>,
    /// The text is where the transfers look it up; always true without delivery fields.
    pub published: bool,
    /// Applied for the first time ever, and its folders aren't known yet.
    pub first: bool,
    /// Folders in which its files may be, as last looked for.
    pub folders: Vec<PathBuf>,
    /// Of its files that are symbolic links: where the bytes are, and the link.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Folders not yet scanned since the entry was applied for the first time ever: what is found there is "there
    /// already" for `start = "end"`.
    pub fresh: HashSet<PathBuf>,
}

impl EntryState {
    /// # Errors
    /// The path or an exclude is no usable pattern.
    pub fn new(entry: Entry) -> Result<Self, PatternError> {
        let delivery = entry.id().map(|id| (id, entry.delivery()));
        Ok(Self {
            key: entry.key(),
            topic: entry.topic.as_str().into(),
            pattern: Arc::new(Pattern::of(&entry)?),
            published: delivery.is_none(),
            delivery,
            first: false,
            folders: Vec::new(),
            links: Vec::new(),
            fresh: HashSet::new(),
            entry,
        })
    }

    pub fn rules(&self) -> Rules {
        Rules {
            max_line_bytes: self.entry.max_line_bytes,
            partition: self.entry.partition,
            entry: self.delivery.as_ref().map(|(id, _)| *id),
        }
    }

    pub fn starts_at_end(&self, folder: &Path) -> bool {
        self.entry.start == Start::End && self.fresh.contains(folder)
    }
}

/// All entries in force.
#[derive(Debug, Default)]
pub struct Entries {
    all: BTreeMap<EntryKey, EntryState>,
    /// Entries without wildcards, by their path.
    plain: HashMap<PathBuf, Vec<EntryKey>>,
    globs: Vec<EntryKey>,
}

impl Entries {
    /// Puts an entry in force, in place of one with the same key.
    pub fn put(&mut self, state: EntryState) {
        self.remove(&state.key);
        match state.pattern.plain() {
            Some(path) => self.plain.entry(path.to_owned()).or_default().push(state.key.clone()),
            None => self.globs.push(state.key.clone()),
        }
        self.all.insert(state.key.clone(), state);
    }

    pub fn remove(&mut self, key: &EntryKey) -> Option<EntryState> {
        let state = self.all.remove(key)?;
        match state.pattern.plain() {
            Some(path) => {
                if let Some(keys) = self.plain.get_mut(path) {
                    keys.retain(|k| k != key);
                    if keys.is_empty() {
                        self.plain.remove(path);
                    }
                }
            }
            None => self.globs.retain(|k| k != key),
        }
        Some(state)
    }

    pub fn get(&self, key: &EntryKey) -> Option<&EntryState> {
        self.all.get(key)
    }

    pub fn get_mut(&mut self, key: &EntryKey) -> Option<&mut EntryState> {
        self.all.get_mut(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = &EntryState> {
        self.all.values()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut EntryState> {
        self.all.values_mut()
    }

    /// Entries to which a regular file of this name belongs: those that name it, those that name its folder, then the
    /// globs, each in the order of their keys.
    pub fn wanting<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a EntryState> {
        let named = self.plain.get(path).into_iter().flatten();
        let folder = path.parent().and_then(|folder| self.plain.get(folder)).into_iter().flatten();
        named
            .chain(folder)
            .chain(&self.globs)
            .filter_map(|key| self.all.get(key))
            .filter(move |state| state.pattern.matches(path))
    }

    /// The entry by which this file is collected for this topic.
    pub fn wanting_for<'a>(&'a self, path: &'a Path, topic: &'a str) -> Option<&'a EntryState> {
        self.wanting(path).find(|state| &*state.topic == topic)
    }

    /// Whether an entry names exactly this path.
    pub fn names(&self, path: &Path) -> bool {
        self.plain.contains_key(path)
    }
}
