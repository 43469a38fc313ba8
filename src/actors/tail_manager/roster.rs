//! Which files are known: by identity, by inode, by name, and in which order those of one name are read. Plain
//! bookkeeping; what a scan means for it is decided in [`super::decide`].

use super::entries::Entries;
use crate::{collection::EntryKey, flow::OriginId, journal::FileRecord};
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Device and inode.
pub type Inode = (u64, u64);

/// Whether a known file has a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// No tail. Resumed when there is something to read.
    Dormant,
    /// Being opened.
    Opening,
    Live,
}

/// A file (for one topic) that has an identity.
#[derive(Clone, Debug)]
pub struct Known {
    /// The name it was first collected under.
    pub home: Arc<Path>,
    /// Where it is now; `None` where no scan has found it.
    pub path: Option<Arc<Path>>,
    pub topic: Arc<str>,
    pub inode: Inode,
    /// The entry it is collected by now.
    pub entry: Option<EntryKey>,
    pub life: Life,
    /// For a dormant file: where reading goes on.
    pub position: u64,
    /// For a dormant file: ranges are to be sent again.
    pub pending: bool,
    pub superseded: bool,
    /// Read to its end since it was superseded.
    pub caught_up: bool,
    pub draining: bool,
    /// Its home's former file, to be read to its end first.
    pub waits_for: Option<OriginId>,
    /// As last scanned.
    pub size: u64,
    /// Not found by scans since then.
    pub missing_since: Option<Instant>,
    /// It could not be read: not tried again before that.
    pub retry_at: Option<Instant>,
}

/// A file that no scan finds any more.
#[derive(Clone, Debug)]
pub struct MissingFile {
    pub id: OriginId,
    /// Where it was.
    pub path: Arc<Path>,
    pub device: u64,
    pub since: Instant,
}

/// All files that have an identity.
#[derive(Debug, Default)]
pub struct Roster {
    pub(super) files: HashMap<OriginId, Known>,
    pub(super) by_inode: HashMap<Inode, Vec<OriginId>>,
    pub(super) by_path: HashMap<Arc<Path>, Vec<OriginId>>,
    pub(super) by_folder: HashMap<PathBuf, HashSet<OriginId>>,
    /// Files without a tail that nobody has an identity for yet, being opened now.
    pub(super) opening: HashSet<(Inode, Arc<str>)>,
    /// For a home and topic, its files with a tail, oldest first.
    pub(super) chains: HashMap<(Arc<Path>, Arc<str>), Vec<OriginId>>,
}

impl Roster {
    /// Takes in what the journal knows. `topic`: shared text of the record's topic.
    pub fn learn(&mut self, record: &FileRecord, topic: Arc<str>) {
        let home: Arc<Path> = record.path.as_path().into();
        let path: Arc<Path> =
            if record.current_path == record.path { home.clone() } else { record.current_path.as_path().into() };
        let known = Known {
            home,
            path: None,
            topic,
            inode: (record.dev, record.ino),
            entry: None,
            life: Life::Dormant,
            position: record.position,
            pending: !record.pending.is_empty(),
            superseded: false,
            caught_up: false,
            draining: false,
            waits_for: None,
            size: record.position,
            missing_since: None,
            retry_at: None,
        };
        self.by_inode.entry(known.inode).or_default().push(record.id);
        self.files.insert(record.id, known);
        self.place(record.id, Some(path));
    }

    pub fn get(&self, id: OriginId) -> Option<&Known> {
        self.files.get(&id)
    }

    pub fn get_mut(&mut self, id: OriginId) -> Option<&mut Known> {
        self.files.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (OriginId, &Known)> {
        self.files.iter().map(|(id, known)| (*id, known))
    }

    /// Files last seen under this name.
    pub fn at(&self, path: &Path) -> &[OriginId] {
        self.by_path.get(path).map_or(&[], Vec::as_slice)
    }

    /// Folders in which known files are, as last seen.
    pub fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.by_folder.keys()
    }

    /// Moves a file to another name, or to none.
    pub fn place(&mut self, id: OriginId, path: Option<Arc<Path>>) {
        let Some(known) = self.files.get_mut(&id) else { return };
        let old = std::mem::replace(&mut known.path, path.clone());
        if let Some(old) = old {
            remove_from(&mut self.by_path, &old, id);
            if let Some(folder) = old.parent()
                && let Some(ids) = self.by_folder.get_mut(folder)
            {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_folder.remove(folder);
                }
            }
        }
        if let Some(path) = path {
            if let Some(folder) = path.parent() {
                match self.by_folder.get_mut(folder) {
                    Some(ids) => _ = ids.insert(id),
                    None => _ = self.by_folder.insert(folder.to_owned(), HashSet::from([id])),
                }
            }
            self.by_path.entry(path).or_default().push(id);
        }
    }

    /// The file will never be read again.
    pub fn forget(&mut self, id: OriginId) -> Option<Known> {
        self.place(id, None);
        let known = self.files.remove(&id)?;
        remove_from(&mut self.by_inode, &known.inode, id);
        Some(known)
    }

    /// An identity's inode holds another content now: the identity keeps its record but is no longer found by inode.
    pub fn detach(&mut self, id: OriginId) {
        if let Some(known) = self.files.get(&id) {
            let inode = known.inode;
            remove_from(&mut self.by_inode, &inode, id);
        }
        self.place(id, None);
    }

    pub fn start_opening(&mut self, inode: Inode, topic: Arc<str>) {
        self.opening.insert((inode, topic));
    }

    pub fn end_opening(&mut self, inode: Inode, topic: &Arc<str>) {
        self.opening.remove(&(inode, topic.clone()));
    }

    /// A tail begins: it takes its place in its home's chain. Answers whom it has to wait for.
    pub fn begin(&mut self, id: OriginId) -> Option<OriginId> {
        let known = self.files.get(&id)?;
        let chain = self.chains.entry((known.home.clone(), known.topic.clone())).or_default();
        // In the order in which they were registered: a former file that is resumed doesn't wait for the present one.
        let at = chain.binary_search(&id).unwrap_or_else(|at| {
            chain.insert(at, id);
            at
        });
        let last = at.checked_sub(1).and_then(|before| chain.get(before)).copied();
        let waits_for = last.filter(|last| self.files.get(last).is_some_and(|k| !k.caught_up || k.waits_for.is_some()));
        let known = self.files.get_mut(&id)?;
        known.life = Life::Live;
        known.caught_up = false;
        known.waits_for = waits_for;
        waits_for
    }

    /// The tail has read to the end: answers who waited for that.
    pub fn caught_up(&mut self, id: OriginId) -> Vec<OriginId> {
        let Some(known) = self.files.get_mut(&id) else { return Vec::new() };
        known.caught_up = true;
        let chain = (known.home.clone(), known.topic.clone());
        let mut released = Vec::new();
        for other in self.chains.get(&chain).into_iter().flatten() {
            if let Some(known) = self.files.get_mut(other)
                && known.waits_for == Some(id)
            {
                known.waits_for = None;
                released.push(*other);
            }
        }
        released
    }

    /// The tail has ended: answers who waited for it.
    pub fn end(&mut self, id: OriginId) -> Vec<OriginId> {
        let released = self.caught_up(id);
        if let Some(known) = self.files.get_mut(&id) {
            known.life = Life::Dormant;
            known.draining = false;
            known.waits_for = None;
            let chain = (known.home.clone(), known.topic.clone());
            remove_from(&mut self.chains, &chain, id);
        }
        released
    }

    /// Finds the entry of every file anew (the entries have changed). Answers the live files whose entry is another
    /// one now, or the same in another state (`touched`).
    pub fn assign(&mut self, entries: &Entries, touched: &HashSet<EntryKey>) -> Vec<OriginId> {
        let mut changed = Vec::new();
        for (id, known) in &mut self.files {
            let now = belongs_to(known, entries);
            if now != known.entry || now.as_ref().is_some_and(|key| touched.contains(key)) {
                known.entry = now;
                if known.life == Life::Live {
                    changed.push(*id);
                }
            }
        }
        changed.sort_unstable();
        changed
    }

    pub(super) fn is_known(&self, inode: Inode, topic: &Arc<str>) -> bool {
        self.opening.contains(&(inode, topic.clone()))
            || self
                .by_inode
                .get(&inode)
                .into_iter()
                .flatten()
                .any(|id| self.files.get(id).is_some_and(|known| known.topic == *topic))
    }

    /// Files without a tail that no scan has found for `after`.
    pub fn long_gone(&self, now: Instant, after: Duration) -> impl Iterator<Item = MissingFile> {
        self.iter().filter(|(_, known)| known.life == Life::Dormant).filter_map(move |(id, known)| {
            let since = known.missing_since.filter(|since| now.saturating_duration_since(*since) >= after)?;
            let path = known.path.clone().unwrap_or_else(|| known.home.clone());
            Some(MissingFile { id, path, device: known.inode.0, since })
        })
    }
}

/// The entry by which this file is collected: by the name it was first collected under, or by its present one.
pub(super) fn belongs_to(known: &Known, entries: &Entries) -> Option<EntryKey> {
    let by = |path: &Path| entries.wanting_for(path, &known.topic).map(|state| state.key.clone());
    by(&known.home).or_else(|| known.path.as_deref().and_then(by))
}

fn remove_from<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Vec<OriginId>>, key: &K, id: OriginId) {
    if let Some(ids) = map.get_mut(key) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
