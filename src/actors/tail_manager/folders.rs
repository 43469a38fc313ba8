//! Which folders are looked at, and when. The problem: events come in floods and scans may block, so a folder is
//! scanned at once at the first hint, never twice at the same time, and not again within a few milliseconds.

use super::roster::Inode;
use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;

#[derive(Debug, Default)]
struct Folder {
    scanning: bool,
    /// Asked for while it was being scanned, or while it rests (then a timer runs).
    again: bool,
    started: Option<Instant>,
    ended: Option<Instant>,
}

impl Folder {
    /// Ten times as long as the scan took, within the bounds.
    fn rest(&self, bounds: &RangeInclusive<Duration>) -> Duration {
        let took = self.started.zip(self.ended).map(|(started, ended)| ended.saturating_duration_since(started));
        (took.unwrap_or_default() * 10).min(*bounds.end()).max(*bounds.start())
    }
}

/// What came of asking for a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// It has started.
    Now,
    /// It may start then: call [`Folders::rested`] and ask again.
    In(Duration),
    /// One is to come anyway, or the folder is none of ours.
    Covered,
}

/// The folders that are watched or scanned.
#[derive(Debug)]
pub struct Folders {
    rest: RangeInclusive<Duration>,
    folders: HashMap<PathBuf, Folder>,
    /// Sub-folders seen by scans: a new one may belong to a glob.
    subfolders: HashSet<PathBuf>,
    /// Files behind links, by folder: a new one is to be watched where it really is.
    links: HashMap<PathBuf, HashMap<PathBuf, Inode>>,
    /// Without events: scanned every second.
    pub unwatched: HashSet<PathBuf>,
    /// Links to files in such folders: looked at every second.
    pub unwatched_links: Vec<PathBuf>,
}

impl Folders {
    /// `rest`: between two scans of a folder, at least and at most.
    pub fn new(rest: RangeInclusive<Duration>) -> Self {
        Self {
            rest,
            folders: HashMap::new(),
            subfolders: HashSet::new(),
            links: HashMap::new(),
            unwatched: HashSet::new(),
            unwatched_links: Vec::new(),
        }
    }

    /// Looks at these folders from now on; answers which are new.
    pub fn set(&mut self, wanted: &HashSet<PathBuf>) -> Vec<PathBuf> {
        self.folders.retain(|folder, state| state.scanning || wanted.contains(folder));
        self.links.retain(|folder, _| wanted.contains(folder));
        let new: Vec<_> = wanted.iter().filter(|folder| !self.folders.contains_key(*folder)).cloned().collect();
        for folder in &new {
            self.folders.insert(folder.clone(), Folder::default());
        }
        new
    }

    pub fn contains(&self, folder: &Path) -> bool {
        self.folders.contains_key(folder)
    }

    pub fn all(&self) -> Vec<PathBuf> {
        self.folders.keys().cloned().collect()
    }

    /// Asks for a scan.
    pub fn ask(&mut self, folder: &Path, now: Instant) -> Ask {
        let Some(state) = self.folders.get_mut(folder) else { return Ask::Covered };
        if std::mem::replace(&mut state.again, true) || state.scanning {
            return Ask::Covered;
        }
        let rest = state.rest(&self.rest);
        let rested = state.ended.map_or(rest, |ended| now.saturating_duration_since(ended));
        if rested < rest {
            return Ask::In(rest - rested);
        }
        state.scanning = true;
        state.started = Some(now);
        state.again = false;
        Ask::Now
    }

    /// The time that [`Ask::In`] or [`Self::done`] named has passed: ask again.
    pub fn rested(&mut self, folder: &Path) {
        if let Some(state) = self.folders.get_mut(folder) {
            state.again = false;
        }
    }

    /// A scan has ended: answers when the next one is due, if one was asked for meanwhile.
    pub fn done(&mut self, folder: &Path, now: Instant) -> Option<Duration> {
        let state = self.folders.get_mut(folder)?;
        state.scanning = false;
        state.ended = Some(now);
        state.again.then(|| state.rest(&self.rest))
    }

    /// Takes note of a scan's sub-folders; answers whether one is new.
    pub fn new_subfolders<'a>(&mut self, found: impl Iterator<Item = &'a Path>) -> bool {
        let mut new = false;
        for folder in found {
            if !self.subfolders.contains(folder) {
                new = true;
                self.subfolders.insert(folder.to_owned());
            }
        }
        new
    }

    /// Takes note of all the collected links in a folder; answers those that are new or lead elsewhere now.
    pub fn new_links(&mut self, folder: &Path, found: HashMap<PathBuf, Inode>) -> Vec<PathBuf> {
        let before = self.links.get(folder);
        let known = |link: &PathBuf, inode: &Inode| before.and_then(|links| links.get(link)) == Some(inode);
        let new = found.iter().filter(|(link, inode)| !known(link, inode)).map(|(link, _)| link.clone()).collect();
        if found.is_empty() {
            self.links.remove(folder);
        } else {
            self.links.insert(folder.to_owned(), found);
        }
        new
    }

    /// Whether a path may be, or may lie in, a folder that came or went.
    pub fn concerns(&self, path: &Path) -> bool {
        self.subfolders.contains(path) || path.parent().is_none_or(|parent| !self.contains(parent))
    }

    /// The folder has gone; should it come again, it is new.
    pub fn gone(&mut self, folder: &Path) {
        self.subfolders.retain(|sub| !sub.starts_with(folder));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::REST as BOUNDS, *};

    const REST: Duration = *BOUNDS.start();

    #[test]
    fn a_flood_of_hints_becomes_one_scan_at_once_and_one_after_a_rest() {
        let (folder, now) = (PathBuf::from("/logs"), Instant::now());
        let mut folders = Folders::new(BOUNDS);
        assert_eq!(folders.set(&HashSet::from([folder.clone()])).len(), 1);
        assert_eq!(folders.ask(&folder, now), Ask::Now, "the first hint scans at once");
        assert_eq!(folders.ask(&folder, now), Ask::Covered, "never twice at the same time");
        assert_eq!(folders.done(&folder, now), Some(REST));
        assert_eq!(folders.ask(&folder, now), Ask::Covered, "a timer runs already");
        folders.rested(&folder);
        assert_eq!(folders.ask(&folder, now + REST), Ask::Now);
        assert_eq!(folders.done(&folder, now + REST), None);
        assert_eq!(folders.ask(&folder, now + REST), Ask::In(REST));
        assert_eq!(folders.ask(Path::new("/other"), now), Ask::Covered);
    }

    #[test]
    fn a_slow_scan_rests_longer_but_less_than_a_second() {
        let (folder, now) = (PathBuf::from("/logs"), Instant::now());
        let mut folders = Folders::new(BOUNDS);
        folders.set(&HashSet::from([folder.clone()]));
        for (took, rest) in [(20, 200), (5000, 250)] {
            let now = now + Duration::from_secs(took);
            assert_eq!(folders.ask(&folder, now), Ask::Now);
            let now = now + Duration::from_millis(took);
            assert_eq!(folders.done(&folder, now), None);
            assert_eq!(folders.ask(&folder, now), Ask::In(Duration::from_millis(rest)));
            folders.rested(&folder);
        }
    }

    #[test]
    fn a_link_is_new_once_and_again_when_it_leads_elsewhere() {
        let mut folders = Folders::new(BOUNDS);
        let (folder, link) = (Path::new("/logs"), PathBuf::from("/logs/a.log"));
        let mut see = |inode| folders.new_links(folder, HashMap::from([(link.clone(), (1, inode))]));
        assert_eq!((see(1).len(), see(1).len(), see(2).len(), see(2).len()), (1, 0, 1, 0));
        assert!(folders.new_links(folder, HashMap::new()).is_empty());
        assert_eq!(folders.new_links(folder, HashMap::from([(link.clone(), (1, 2))])), [link]);
    }

    #[test]
    fn a_sub_folder_is_new_once_and_again_when_it_had_gone() {
        let mut folders = Folders::new(BOUNDS);
        let sub = Path::new("/logs/pod");
        assert!(folders.new_subfolders([sub].into_iter()));
        assert!(!folders.new_subfolders([sub].into_iter()));
        folders.gone(Path::new("/logs/pod"));
        assert!(folders.new_subfolders([sub].into_iter()));
    }
}
