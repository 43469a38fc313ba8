//! Being told of changes. The problem: ten thousand files can't be asked one by one all the time, and a flood of events
//! mustn't become a flood of messages. Events are hints: they are collected in a set, and one word is said when it
//! becomes non-empty.

use notify::{
    ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{CreateKind, ModifyKind, RenameMode},
};
use std::{
    collections::{HashMap, HashSet},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

/// How changes are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// By the kernel (inotify).
    Events,
    /// By asking at this interval, for network file systems, which tell nothing of other machines' changes.
    Poll(Duration),
}

/// What was touched since it was last asked.
#[derive(Debug, Default)]
pub struct Touched {
    /// Paths (the watched folder's path and the name) whose content changed, or that came.
    pub files: HashSet<PathBuf>,
    /// Folders in which names came, went or changed, or which went themselves: to be scanned.
    pub folders: HashSet<PathBuf>,
    /// Events were lost: scan everything.
    pub all: bool,
}

/// More touched files than this are "everything".
const MOST_FILES: usize = 65_536;

/// The hints collected so far; cloning gives another handle.
#[derive(Clone, Default)]
pub struct Hints {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    notify: Option<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct State {
    touched: Touched,
    /// Watched folders by their real path, each with the names it is known under.
    folders: HashMap<PathBuf, Vec<PathBuf>>,
    /// Real files, each with the links that lead to it.
    links: HashMap<PathBuf, Vec<PathBuf>>,
    /// Watched folders (real paths) that were removed or renamed: their watch is void.
    gone: HashSet<PathBuf>,
}

impl Hints {
    /// Takes what has been collected; the next hint notifies again.
    pub fn take(&self) -> Touched {
        std::mem::take(&mut self.shared.lock().touched)
    }
}

impl Touched {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folders.is_empty() && !self.all
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds hints, and says so if there were none.
    fn add(&self, add: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        let was_empty = state.touched.is_empty();
        add(&mut state);
        let first = was_empty && !state.touched.is_empty();
        drop(state);
        if let (true, Some(notify)) = (first, &self.notify) {
            notify();
        }
    }

    /// From the watcher's thread.
    fn event(&self, event: notify::Result<Event>) {
        match event {
            // The mask can't be set in notify 8: our own opens come back as this, and are dropped first thing.
            Ok(event) if event.kind.is_access() && !event.need_rescan() => {}
            Ok(event) => self.add(|state| state.event(&event)),
            Err(_) => self.add(|state| state.touched.all = true),
        }
    }
}

impl State {
    fn event(&mut self, event: &Event) {
        if event.need_rescan() {
            self.touched.all = true;
        }
        for path in &event.paths {
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => self.file(path),
                EventKind::Modify(ModifyKind::Metadata(_)) => {
                    self.file(path);
                    self.names(path, false);
                }
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => self.names(path, true),
                EventKind::Create(CreateKind::File) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                    self.file(path);
                    self.names(path, false);
                }
                _ => self.names(path, false),
            }
        }
    }

    /// A file's content changed, or it came.
    fn file(&mut self, path: &Path) {
        if self.touched.files.contains(path) {
            return;
        }
        if self.touched.files.len() >= MOST_FILES {
            self.touched.files.clear();
            self.touched.all = true;
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
        for alias in self.folders.get(folder).into_iter().flatten() {
            self.touched.files.insert(alias.join(name));
        }
        self.touched.files.extend(self.links.get(path).into_iter().flatten().cloned());
        self.touched.files.insert(path.to_path_buf());
    }

    /// Names in a folder changed, or a watched folder itself.
    fn names(&mut self, path: &Path, gone: bool) {
        if gone && self.folders.contains_key(path) {
            self.gone.insert(path.to_path_buf());
        }
        for folder in [Some(path), path.parent()].into_iter().flatten() {
            let Some(aliases) = self.folders.get(folder) else { continue };
            self.touched.folders.extend(aliases.iter().cloned());
        }
        for link in self.links.get(path).into_iter().flatten() {
            self.touched.folders.extend(link.parent().map(Path::to_path_buf));
        }
    }
}

/// Why a folder can't be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The kernel's limit; an operator must raise it. Until then only the sweep sees changes there.
    #[error("{}: no more folders can be watched: raise fs.inotify.max_user_watches (sysctl)", .0.display())]
    Limit(PathBuf),
    /// The kernel's limit of inotify instances of this user.
    #[error("no inotify instance: raise fs.inotify.max_user_instances (sysctl)")]
    Instances,
    #[error("{}: the folder is gone", .0.display())]
    NotFound(PathBuf),
    #[error("{}: {reason}", path.display())]
    Other { path: PathBuf, reason: String },
}

impl WatchError {
    fn of(folder: &Path, error: notify::Error) -> Self {
        match error.kind {
            ErrorKind::MaxFilesWatch => Self::Limit(folder.to_path_buf()),
            ErrorKind::PathNotFound => Self::NotFound(folder.to_path_buf()),
            ErrorKind::Io(e) => Self::of_io(folder, &e),
            _ => Self::Other { path: folder.to_path_buf(), reason: error.to_string() },
        }
    }

    fn of_io(folder: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound(folder.to_path_buf()),
            io::ErrorKind::StorageFull => Self::Limit(folder.to_path_buf()),
            _ => Self::Other { path: folder.to_path_buf(), reason: error.to_string() },
        }
    }
}

enum Backend {
    Events(RecommendedWatcher),
    /// Dropping it ends the thread that asks.
    Poll {
        _stop: Sender<()>,
    },
}

impl Backend {
    fn watch(&mut self, folder: &Path) -> notify::Result<()> {
        match self {
            Self::Events(watcher) => watcher.watch(folder, RecursiveMode::NonRecursive),
            Self::Poll { .. } => Ok(()),
        }
    }

    fn unwatch(&mut self, folder: &Path) {
        if let Self::Events(watcher) = self {
            // Fails where the kernel has dropped the watch together with the folder.
            let _ = watcher.unwatch(folder);
        }
    }
}

/// Asks for a scan of every folder at each interval. (Not `notify::PollWatcher`: it compares modification times in whole
/// seconds, so it misses what is written in the second of its last look.)
fn poll(shared: Arc<Shared>, interval: Duration) -> io::Result<Backend> {
    let (stop, stopped) = channel();
    std::thread::Builder::new().name("folder poll".into()).spawn(move || {
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            shared.add(|state| state.touched.folders.extend(state.folders.values().flatten().cloned()));
        }
    })?;
    Ok(Backend::Poll { _stop: stop })
}

/// Watches folders, each for itself (not what is below).
pub struct FolderWatch {
    hints: Hints,
    backend: Backend,
    /// Watched folders by their real path, with the device and inode they had.
    watched: HashMap<PathBuf, (u64, u64)>,
    /// Real path of every folder that is wanted and exists.
    real: HashMap<PathBuf, PathBuf>,
}

impl FolderWatch {
    /// `notify` is called, from a thread of the watcher, when the first hint after a [`Hints::take`] comes in; it must
    /// not block.
    pub fn new(mode: WatchMode, notify: impl Fn() + Send + Sync + 'static) -> Result<Self, WatchError> {
        let hints = Hints { shared: Arc::new(Shared { state: Mutex::default(), notify: Some(Box::new(notify)) }) };
        let shared = hints.shared.clone();
        let backend = match mode {
            WatchMode::Events => notify::recommended_watcher(move |event| shared.event(event)).map(Backend::Events),
            WatchMode::Poll(interval) => poll(shared, interval).map_err(notify::Error::io),
        };
        let backend = backend.map_err(|e| match e.kind {
            ErrorKind::Io(ref io) if io.raw_os_error() == Some(libc::EMFILE) => WatchError::Instances,
            _ => WatchError::Other { path: PathBuf::new(), reason: e.to_string() },
        })?;
        Ok(Self { hints, backend, watched: HashMap::new(), real: HashMap::new() })
    }

    pub fn hints(&self) -> Hints {
        self.hints.clone()
    }

    /// Watches these folders and no others: what is new is added, what is no longer named is let go, what has been
    /// removed and created again is watched anew. A folder whose watch is new is among the hints at once, because it may
    /// have changed before it was watched. Returns what could not be watched; it is tried again at the next call.
    pub fn set(&mut self, folders: &HashSet<PathBuf>) -> Vec<WatchError> {
        let mut errors = Vec::new();
        let mut wanted: HashMap<PathBuf, (Vec<PathBuf>, (u64, u64))> = HashMap::new();
        self.real.clear();
        for folder in folders {
            match real_folder(folder) {
                Ok((real, id)) => {
                    wanted.entry(real.clone()).or_insert_with(|| (Vec::new(), id)).0.push(folder.clone());
                    self.real.insert(folder.clone(), real);
                }
                Err(e) => errors.push(WatchError::of_io(folder, &e)),
            }
        }
        let gone = {
            let mut state = self.hints.shared.lock();
            state.folders = wanted.iter().map(|(real, (aliases, _))| (real.clone(), aliases.clone())).collect();
            std::mem::take(&mut state.gone)
        };
        let backend = &mut self.backend;
        self.watched.retain(|real, id| {
            let keep = !gone.contains(real) && wanted.get(real).is_some_and(|(_, wanted)| wanted == id);
            if !keep {
                backend.unwatch(real);
            }
            keep
        });
        for (real, (aliases, id)) in wanted {
            if self.watched.contains_key(&real) {
                continue;
            }
            match self.backend.watch(&real) {
                Ok(()) => {
                    self.watched.insert(real, id);
                    self.hints.shared.add(|state| state.touched.folders.extend(aliases));
                }
                Err(e) => errors.push(WatchError::of(&aliases[0], e)),
            }
        }
        errors
    }

    /// Files that are collected through symbolic links: (where the bytes are, the link's path). What happens to the real
    /// file is then reported for the link, too. The real file's folder must be among those watched.
    pub fn set_links(&mut self, links: impl IntoIterator<Item = (PathBuf, PathBuf)>) {
        let mut map: HashMap<PathBuf, Vec<PathBuf>> = HashMap::new();
        for (real, link) in links {
            map.entry(real).or_default().push(link);
        }
        self.hints.shared.lock().links = map;
    }

    /// Whether this folder is watched now.
    pub fn is_watched(&self, folder: &Path) -> bool {
        self.real.get(folder).is_some_and(|real| self.watched.contains_key(real))
    }
}

/// Two names of one folder share one watch in the kernel, so folders are watched by their real path.
fn real_folder(folder: &Path) -> io::Result<(PathBuf, (u64, u64))> {
    let real = std::fs::canonicalize(folder)?;
    let meta = std::fs::metadata(&real)?;
    if !meta.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok((real, (meta.dev(), meta.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write, sync::mpsc::Receiver};

    /// A watch whose notifier fills a channel. Waiting on it has no time limit of the test's own.
    fn watch(mode: WatchMode) -> (FolderWatch, Receiver<()>) {
        let (tell, told) = channel();
        (FolderWatch::new(mode, move || tell.send(()).unwrap_or(())).unwrap(), told)
    }

    /// Collects hints until they satisfy the condition.
    fn until(hints: &Hints, told: &Receiver<()>, met: impl Fn(&Touched) -> bool) -> Touched {
        let mut all = Touched::default();
        loop {
            let more = hints.take();
            all.files.extend(more.files);
            all.folders.extend(more.folders);
            all.all |= more.all;
            if met(&all) {
                return all;
            }
            told.recv().unwrap();
        }
    }

    fn set(of: &[&Path]) -> HashSet<PathBuf> {
        of.iter().map(|p| p.to_path_buf()).collect()
    }

    #[test]
    fn a_new_watch_asks_for_a_scan_and_then_appends_and_new_files_are_hinted() {
        let dir = tempfile::tempdir().unwrap();
        let (mut watch, told) = watch(WatchMode::Events);
        assert!(watch.set(&set(&[dir.path()])).is_empty() && watch.is_watched(dir.path()));
        let hints = watch.hints();
        told.recv().unwrap();
        assert_eq!(hints.take().folders, set(&[dir.path()]));

        let path = dir.path().join("a.log");
        let mut file = fs::File::create(&path).unwrap();
        until(&hints, &told, |t| t.folders.contains(dir.path()) && t.files.contains(&path));
        file.write_all(b"x").unwrap();
        let touched = until(&hints, &told, |t| t.files.contains(&path));
        assert!(touched.folders.is_empty(), "an append asks for no scan");
        let renamed = dir.path().join("a.log.1");
        fs::rename(&path, &renamed).unwrap();
        until(&hints, &told, |t| t.folders.contains(dir.path()) && t.files.contains(&renamed));
    }

    #[test]
    fn own_opens_reads_and_scans_are_not_hints() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        fs::write(&path, "x").unwrap();
        let (mut watch, told) = watch(WatchMode::Events);
        assert!(watch.set(&set(&[dir.path()])).is_empty());
        let hints = watch.hints();
        told.recv().unwrap();
        hints.take();
        for _ in 0..10 {
            fs::read(&path).unwrap();
            crate::tail::scan(dir.path()).unwrap();
        }
        // Events come in order: when this one is here, the others have been seen.
        let last = dir.path().join("last");
        fs::write(&last, "").unwrap();
        told.recv().unwrap();
        let touched = hints.take();
        assert!(touched.files == set(&[&last]) && touched.folders == set(&[dir.path()]) && !touched.all, "{touched:?}");
    }

    #[test]
    fn a_flood_notifies_once_until_it_is_taken() {
        let (tell, told) = channel();
        let hints = Hints {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                notify: Some(Box::new(move || tell.send(()).unwrap_or(()))),
            }),
        };
        let write = |name: String| {
            let kind = EventKind::Modify(ModifyKind::Data(notify::event::DataChange::Any));
            hints.shared.event(Ok(Event::new(kind).add_path(Path::new("/f").join(name))));
        };
        (0..1000).for_each(|n| write(format!("{}", n % 10)));
        assert_eq!((told.try_iter().count(), hints.take().files.len()), (1, 10));
        write("x".into());
        assert_eq!(told.try_iter().count(), 1);
        (0..=MOST_FILES).for_each(|n| write(format!("{n}")));
        let touched = hints.take();
        assert!(touched.all && touched.files.len() < MOST_FILES);
        let lost = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        hints.shared.event(Ok(lost));
        assert!(hints.take().all);
        hints.shared.event(Err(notify::Error::generic("x")));
        assert!(hints.take().all);
    }

    #[test]
    fn a_folder_removed_while_watched_is_hinted_and_watched_again_when_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("log"), dir.path().join("log/a.log"));
        fs::create_dir(&folder).unwrap();
        let (mut watch, told) = watch(WatchMode::Events);
        let hints = watch.hints();
        let wanted = set(&[&folder]);
        for how in ["remove", "rename"] {
            assert!(watch.set(&wanted).is_empty());
            hints.take();
            match how {
                "remove" => fs::remove_dir(&folder).unwrap(),
                _ => fs::rename(&folder, dir.path().join("other")).unwrap(),
            }
            until(&hints, &told, |t| t.folders.contains(&folder));
            assert!(matches!(&watch.set(&wanted)[..], [WatchError::NotFound(path)] if *path == folder));
            assert!(!watch.is_watched(&folder));
            fs::create_dir(&folder).unwrap();
            assert!(watch.set(&wanted).is_empty() && watch.is_watched(&folder));
            hints.take();
            fs::write(&file, how).unwrap();
            until(&hints, &told, |t| t.files.contains(&file));
            fs::remove_file(&file).unwrap();
            until(&hints, &told, |t| t.folders.contains(&folder));
        }
    }

    #[test]
    fn a_folder_replaced_between_two_calls_is_watched_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("log"), dir.path().join("log/a.log"));
        fs::create_dir(&folder).unwrap();
        let (mut watch, told) = watch(WatchMode::Events);
        let hints = watch.hints();
        watch.set(&set(&[&folder]));
        hints.take();
        fs::remove_dir(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        until(&hints, &told, |t| t.folders.contains(&folder));
        assert!(watch.set(&set(&[&folder])).is_empty());
        fs::write(&file, "x").unwrap();
        until(&hints, &told, |t| t.files.contains(&file));
    }

    #[test]
    fn a_folder_with_two_names_and_a_linked_file_are_hinted_under_every_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink("real", at("alias")).unwrap();
        let (mut watch, told) = watch(WatchMode::Events);
        let hints = watch.hints();
        assert!(watch.set(&set(&[&at("real"), &at("alias")])).is_empty());
        let real = fs::canonicalize(at("real")).unwrap().join("a.log");
        watch.set_links([(real, at("links/l.log"))]);
        hints.take();
        fs::write(at("real/a.log"), "x").unwrap();
        let names = [at("real/a.log"), at("alias/a.log"), at("links/l.log")];
        let touched = until(&hints, &told, |t| names.iter().all(|name| t.files.contains(name)));
        assert!([at("real"), at("alias"), at("links")].iter().all(|f| touched.folders.contains(f)), "{touched:?}");
        // One name goes, the other stays watched.
        assert!(watch.set(&set(&[&at("alias")])).is_empty() && !watch.is_watched(&at("real")));
        fs::write(at("real/a.log"), "y").unwrap();
        until(&hints, &told, |t| t.files.contains(&at("alias/a.log")));
    }

    #[test]
    fn polling_asks_for_a_scan_of_what_is_wanted_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (mut watch, told) = watch(WatchMode::Poll(Duration::from_millis(5)));
        let hints = watch.hints();
        assert!(watch.set(&set(&[dir.path()])).is_empty() && watch.is_watched(dir.path()));
        for _ in 0..3 {
            assert_eq!(until(&hints, &told, |t| !t.folders.is_empty()).folders, set(&[dir.path()]));
        }
        let shared = Arc::downgrade(&hints.shared);
        drop((watch, hints));
        while told.recv().is_ok() {}
        assert!(shared.upgrade().is_none(), "the thread has ended");
    }

    #[test]
    fn the_kernels_limit_is_named() {
        let error = WatchError::of(Path::new("/log"), notify::Error::new(ErrorKind::MaxFilesWatch));
        assert_eq!(
            error.to_string(),
            "/log: no more folders can be watched: raise fs.inotify.max_user_watches (sysctl)"
        );
        let full = WatchError::of(Path::new("/log"), notify::Error::io(io::Error::from_raw_os_error(libc::ENOSPC)));
        assert!(matches!(full, WatchError::Limit(_)));
        let missing = Path::new("/none/at/all");
        assert!(matches!(WatchError::of(missing, notify::Error::path_not_found()), WatchError::NotFound(_)));
    }
}
