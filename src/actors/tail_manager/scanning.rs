//! Looking for files. The problem: events are hints and may be missing, scans may block, and yet a new file has to be
//! found within a second, and 10,000 quiet ones must cost nothing.

use super::{FAST_SWEEP, TailManager, entries::EntryState, folders::Ask};
use crate::{
    collection::EntryKey,
    crash,
    journal::FileRecord,
    messages::{FoldersChanged, Wake},
    tail::{self, Expansion, FolderWatch, Found, Pattern, Problem},
    telemetry::Mailbox,
};
use actix::prelude::*;
use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

impl TailManager {
    /// Finds the folders of these entries anew, then scans them.
    pub(super) fn expand(&mut self, keys: HashSet<EntryKey>, ctx: &mut Context<Self>) {
        let patterns: Vec<(EntryKey, Arc<Pattern>)> =
            keys.iter().filter_map(|key| Some((key.clone(), self.entries.get(key)?.pattern.clone()))).collect();
        let job = move || patterns.into_iter().map(|(key, pattern)| (key, pattern.expand())).collect::<Vec<_>>();
        let future = tokio::task::spawn_blocking(job);
        ctx.spawn(future.into_actor(self).map(|expansions, manager, ctx| match expansions {
            Ok(expansions) => manager.expanded(expansions, ctx),
            Err(error) => slog_scope::error!("looking for files failed"; "reason" => %error),
        }));
    }

    pub(super) fn expanded(&mut self, expansions: Vec<(EntryKey, Expansion)>, ctx: &mut Context<Self>) {
        let mut scan = HashSet::new();
        for (key, expansion) in expansions {
            for problem in &expansion.problems {
                if let Problem::TooDeep { path } = problem {
                    self.warn(path, "deeper than files are looked for".to_owned());
                }
            }
            if let Some(state) = self.entries.get_mut(&key) {
                if std::mem::take(&mut state.first) {
                    state.fresh = expansion.watch.iter().cloned().collect();
                }
                scan.extend(expansion.watch.iter().cloned());
                state.folders = expansion.watch;
                state.links = expansion.links;
            }
        }
        scan.extend(self.watch_folders());
        for folder in scan {
            self.scan(&folder, ctx);
        }
    }

    /// Watches what has to be watched now; answers the folders that are new.
    pub(super) fn watch_folders(&mut self) -> Vec<PathBuf> {
        let of_entries = self.entries.iter().flat_map(|state| &state.folders);
        let wanted: HashSet<PathBuf> = of_entries.chain(self.roster.folders()).cloned().collect();
        let new = self.folders.set(&wanted);
        let links: Vec<_> = self.entries.iter().flat_map(|state| state.links.iter().cloned()).collect();
        let errors = self.watch.as_mut().map_or_else(Vec::new, |watch| {
            watch.set_links(links.iter().cloned());
            watch.set(&wanted)
        });
        for error in errors.iter().filter(|error| !matches!(error, tail::WatchError::NotFound(_))) {
            let reason = error.to_string();
            self.warn(Path::new(&reason), format!("{reason}; scanned every second instead"));
        }
        self.folders.unwatched = match &self.watch {
            Some(watch) => wanted.into_iter().filter(|folder| !watch.is_watched(folder)).collect(),
            None => wanted,
        };
        let unwatched = |real: &Path| real.parent().is_none_or(|folder| self.folders.unwatched.contains(folder));
        self.folders.unwatched_links =
            links.into_iter().filter(|(real, _)| unwatched(real)).map(|(_, link)| link).collect();
        new
    }

    /// Looks at files that an event has named and nobody knows, without listing their folder, which may rest or hold ten
    /// thousand others. The folder's scan comes all the same: only a whole listing tells of rotations and of what is gone.
    pub(super) fn look_at(&mut self, paths: Vec<PathBuf>, ctx: &mut Context<Self>) {
        if paths.is_empty() || self.is_stopping() {
            return;
        }
        // What can't be looked at is told of by the scan.
        let job = move || paths.iter().filter_map(|path| tail::look_at(path).ok().flatten()).collect::<Vec<_>>();
        let future = tokio::task::spawn_blocking(job);
        ctx.spawn(future.into_actor(self).map(|found, manager, ctx| {
            let decisions = manager.roster.decide_new(&found.unwrap_or_default(), &manager.entries);
            let wishes = manager.carry_out(decisions);
            manager.open(wishes, None, ctx);
        }));
    }

    pub(super) fn scan(&mut self, folder: &Path, ctx: &mut Context<Self>) {
        if self.is_stopping() {
            return;
        }
        match self.folders.ask(folder, Instant::now()) {
            Ask::Now => {}
            Ask::In(rest) => return self.scan_later(folder, rest, ctx),
            Ask::Covered => return,
        }
        let (scans, folder) = (self.scans.clone(), folder.to_owned());
        let path = folder.clone();
        let future = async move {
            // The semaphore is never closed; without a permit the scan is only less orderly.
            let _permit = scans.acquire_owned().await;
            tokio::task::spawn_blocking(move || tail::scan(&path)).await
        };
        ctx.spawn(future.into_actor(self).map(move |listing, manager, ctx| {
            let listing = listing.unwrap_or_else(|error| Err(io::Error::other(error)));
            manager.scanned(folder, listing, ctx);
        }));
    }

    pub(super) fn scan_later(&mut self, folder: &Path, rest: Duration, ctx: &mut Context<Self>) {
        let folder = folder.to_owned();
        ctx.run_later(rest, move |manager, ctx| {
            manager.folders.rested(&folder);
            manager.scan(&folder, ctx);
        });
    }

    pub(super) fn scan_done(&mut self, folder: &Path, ctx: &mut Context<Self>) {
        for state in self.entries.iter_mut() {
            state.fresh.remove(folder);
        }
        if let Some(rest) = self.folders.done(folder, Instant::now()) {
            self.scan_later(folder, rest, ctx);
        }
    }

    pub(super) fn scanned(&mut self, folder: PathBuf, listing: io::Result<Vec<Found>>, ctx: &mut Context<Self>) {
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.folders.gone(&folder);
                self.expand_folders_of_globs(ctx);
                Vec::new()
            }
            Err(error) => {
                self.warn(&folder, error.to_string());
                return self.scan_done(&folder, ctx);
            }
        };
        self.warned.remove(&folder);
        let subfolders = listing.iter().filter(|f| f.kind == tail::FileKind::Folder).map(|f| f.path.as_path());
        if self.folders.new_subfolders(subfolders) {
            self.expand_folders_of_globs(ctx);
        }
        self.watch_new_links(&folder, &listing, ctx);
        let decisions = self.roster.decide(&folder, &listing, &self.entries, Instant::now());
        let wishes = self.carry_out(decisions);
        self.open(wishes, Some(folder), ctx);
    }

    /// What happens to a file behind a link is told of in the folder where it really is.
    fn watch_new_links(&mut self, folder: &Path, listing: &[Found], ctx: &mut Context<Self>) {
        let is_link = |found: &&Found| found.link && found.kind == tail::FileKind::Regular;
        let collected = |found: &&Found| self.entries.wanting(&found.path).next().is_some();
        let links = listing.iter().filter(is_link).filter(collected);
        let links = links.map(|found| (found.path.clone(), (found.dev, found.ino))).collect();
        let mut keys = HashSet::new();
        for link in self.folders.new_links(folder, links) {
            keys.extend(self.entries.wanting(&link).map(|state| state.key.clone()));
        }
        if !keys.is_empty() {
            self.expand(keys, ctx);
        }
    }

    /// A folder came or went: entries with wildcards may mean other folders now, and plain ones may be folders.
    pub(super) fn expand_folders_of_globs(&mut self, ctx: &mut Context<Self>) {
        let folders = &self.folders;
        let concerned = |state: &&EntryState| match (state.pattern.plain(), state.pattern.only_folder()) {
            (Some(path), _) => folders.concerns(path),
            // Its scan finds the files, and a folder that isn't there is looked for every second.
            (None, Some(folder)) => !folders.contains(folder),
            (None, None) => true,
        };
        let keys: HashSet<_> = self.entries.iter().filter(concerned).map(|state| state.key.clone()).collect();
        if !keys.is_empty() {
            self.expand(keys, ctx);
        }
    }

    /// Every second: what no event tells of.
    pub(super) fn fast_sweep(&mut self, ctx: &mut Context<Self>) {
        if !self.shared.journal.is_connected() {
            slog_scope::error!("the journal has stopped: the tails stop, too, and begin again from it");
            return ctx.stop();
        }
        for link in &self.folders.unwatched_links {
            for id in self.roster.at(link) {
                self.tell(*id, Wake);
            }
        }
        for folder in self.folders.unwatched.clone() {
            self.scan(&folder, ctx);
        }
    }

    pub(super) fn sweep(&mut self, ctx: &mut Context<Self>) {
        self.expand_folders_of_globs(ctx);
        self.watch_folders();
        for folder in self.folders.all() {
            self.scan(&folder, ctx);
        }
        self.forget_long_gone(ctx);
    }

    pub(super) fn started_with(&mut self, records: Vec<FileRecord>, ctx: &mut Context<Self>) {
        let mut topics: HashMap<String, Arc<str>> = HashMap::new();
        let fresh_ids = crash::mutation("fresh_id_at_restart");
        for record in records.iter().filter(|_| !fresh_ids) {
            let topic = topics.entry(record.topic.clone()).or_insert_with(|| record.topic.as_str().into()).clone();
            self.roster.learn(record, topic);
        }
        let changed: Mailbox<FoldersChanged> = Mailbox::new(ctx.address().recipient(), self.stats.clone());
        match FolderWatch::new(self.settings.watch, move || changed.tell(FoldersChanged)) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => {
                slog_scope::warn!("folders can't be watched and are scanned every second"; "reason" => %error);
            }
        }
        for folder in self.watch_folders() {
            self.scan(&folder, ctx);
        }
        ctx.run_interval(FAST_SWEEP, Self::fast_sweep);
        ctx.run_interval(self.settings.sweep_interval, Self::sweep);
    }
}
