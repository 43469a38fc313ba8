//! Beginning to read. The problem: between a scan and the first line of a new file stand an `open`, a look at its content
//! and the journal's sync, and meanwhile names move on.

use super::{
    DEFAULT_LINE_BYTES, FAST_SWEEP, Release, TailManager,
    decide::Decision,
    entries::EntryState,
    opening::{Missed, Opening, Wish},
    roster::{Inode, Life},
};
use crate::{
    actors::tail_actor::{TailActor, TailStart},
    collection::EntryKey,
    flow::OriginId,
    journal::{FileRecord, Fingerprint, NewFile},
    messages::{LookUpFile, RegisterFiles, Superseded, UpdateFile, Wake},
    tail::OpenedFile,
};
use actix::prelude::*;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// What is to be opened, before the journal was asked.
pub(super) enum ToOpen {
    New(Box<Wish>),
    Known(OriginId, PathBuf),
}

/// So many files are opened and registered together: what is known of each until its tail runs is several times what its
/// tail needs.
const TOGETHER: usize = 500;

/// A file without text is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What comes after files were opened.
struct Then {
    /// More of them.
    rest: Vec<ToOpen>,
    /// Whose scan is done with that.
    folder: Option<PathBuf>,
}

/// Takes off what is to be opened later. Rotated files stay together, for they are put in order among each other; they
/// come before those that stand at their own name.
fn split(wishes: &mut Vec<ToOpen>) -> Vec<ToOpen> {
    let is_rotated = |wish: &ToOpen| match wish {
        ToOpen::New(wish) => matches!(&**wish, Wish::New { path, home, .. } if path != home),
        ToOpen::Known(..) => false,
    };
    let last = wishes.iter().rposition(is_rotated).map_or(0, |at| at + 1);
    wishes.split_off(TOGETHER.max(last).min(wishes.len()))
}

/// An opened file without an identity.
pub(super) struct NewTail {
    path: PathBuf,
    home: PathBuf,
    key: EntryKey,
    opened: OpenedFile,
    head: Fingerprint,
    start: u64,
    modified: (i64, i64),
}

impl NewTail {
    fn new_file(&self) -> NewFile {
        NewFile {
            path: self.home.clone(),
            topic: self.key.topic.clone(),
            dev: self.opened.dev,
            ino: self.opened.ino,
            head: self.head,
            start: self.start,
        }
    }
}

impl TailManager {
    /// What comes after files were opened.
    fn go_on(&mut self, then: Then, ctx: &mut Context<Self>) {
        if !then.rest.is_empty() {
            return self.open(then.rest, then.folder, ctx);
        }
        if let Some(folder) = then.folder {
            self.scan_done(&folder, ctx);
        }
    }

    pub(super) fn carry_out(&mut self, decisions: Vec<Decision>) -> Vec<ToOpen> {
        let mut wishes = Vec::new();
        for decision in decisions {
            match decision {
                Decision::New { inode, .. } if self.is_known_binary(inode) => {}
                Decision::New { path, home, inode, key, at_end, newer_than } => {
                    let topic: Arc<str> = key.topic.as_str().into();
                    self.roster.start_opening(inode, topic);
                    let text_only = self.settings.text_only;
                    let wish = Wish::New { path, home, inode, key, at_end, newer_than, text_only };
                    wishes.push(ToOpen::New(Box::new(wish)));
                }
                Decision::Resume { id, path } => wishes.push(ToOpen::Known(id, path)),
                Decision::Renamed { id, path } => {
                    let update = UpdateFile { file: id, path: Some(path), head: None };
                    self.shared.journal.update.tell(update);
                    self.tell(id, Wake);
                }
                Decision::Superseded { id, path } => self.tell(id, Superseded { path }),
                Decision::Wake { id } => self.tell(id, Wake),
                Decision::NotAFile { path, kind } => self.warn(&path, format!("it is {kind}, not a regular file")),
                Decision::Twice { path, first, second } => {
                    if self.warned_twice.insert((first.clone(), second.clone())) {
                        slog_scope::warn!("two entries collect a file for one topic; it is collected once";
                            "path" => %path.display(), "topic" => &first.topic, "entry" => &first.path,
                            "other" => &second.path);
                    }
                }
            }
        }
        wishes
    }

    /// Begins again with files that no scan can find, because they have no name any more, and that are still open.
    pub(super) fn open_left(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let mut wishes = Vec::new();
        for id in self.shared.left_open.ids() {
            let Some(known) = self.roster.get_mut(id) else {
                drop(self.shared.left_open.take(id));
                continue;
            };
            let rests = known.retry_at.is_some_and(|at| now < at);
            if known.life == Life::Dormant && !rests && (known.entry.is_some() || known.pending) {
                known.life = Life::Opening;
                wishes.push(ToOpen::Known(id, known.home.to_path_buf()));
            }
        }
        self.open(wishes, None, ctx);
    }

    /// Opens files, some at a time, and begins their tails. `folder`: whose scan is done with that.
    pub(super) fn open(&mut self, mut wishes: Vec<ToOpen>, folder: Option<PathBuf>, ctx: &mut Context<Self>) {
        let then = Then { rest: split(&mut wishes), folder };
        if wishes.is_empty() {
            return self.go_on(then, ctx);
        }
        let look_up = self.shared.journal.look_up.clone();
        let mut returned: HashMap<_, _> = wishes
            .iter()
            .filter_map(|wish| match wish {
                ToOpen::Known(id, _) => {
                    let opened = self.returned.remove(id).or_else(|| self.shared.left_open.take(*id));
                    Some((*id, opened?))
                }
                ToOpen::New(_) => None,
            })
            .collect();
        let future = async move {
            let mut ready = Vec::with_capacity(wishes.len());
            let mut unknown = Vec::new();
            for wish in wishes {
                match wish {
                    ToOpen::New(wish) => ready.push(*wish),
                    ToOpen::Known(id, path) => match look_up.send(LookUpFile(id)).await {
                        Ok(Some(record)) => ready.push(Wish::Known { record, path, opened: returned.remove(&id) }),
                        Ok(None) => unknown.push(Opening::Forgotten(id)),
                        Err(_) => unknown.push(Opening::Moved { wish: Missed::Known(id) }),
                    },
                }
            }
            let job = move || ready.into_iter().map(Wish::grant).collect::<Vec<_>>();
            tokio::task::spawn_blocking(job).await.map(|mut openings| {
                openings.extend(unknown);
                openings
            })
        };
        ctx.spawn(future.into_actor(self).map(|openings, manager, ctx| match openings {
            Ok(openings) => manager.opened(openings, then, ctx),
            Err(error) => {
                slog_scope::error!("opening files failed"; "reason" => %error);
                manager.go_on(then, ctx);
            }
        }));
    }

    fn opened(&mut self, openings: Vec<Opening>, then: Then, ctx: &mut Context<Self>) {
        let mut new = Vec::new();
        for opening in openings {
            match opening {
                Opening::New { path, home, key, opened, head, start, modified } => {
                    self.warned.remove(&path);
                    new.push(NewTail { path, home, key, opened, head, start, modified });
                }
                Opening::Known { record, path, opened } => {
                    self.warned.remove(&path);
                    self.begin(record, opened);
                }
                Opening::Replaced { record } => self.replaced_while_closed(record, ctx),
                Opening::Forgotten(id) => {
                    self.ended(id);
                    self.roster.forget(id);
                }
                Opening::Moved { wish } => self.missed(wish),
                Opening::Binary { path, inode, key } => {
                    self.missed(Missed::New { inode, key });
                    self.found_binary(&path, inode);
                }
                Opening::NotYounger { inode, key } => self.missed(Missed::New { inode, key }),
                Opening::Failed { wish, path, error } => {
                    self.warn(&path, error.to_string());
                    self.missed(wish);
                }
            }
        }
        // Rotated ones first, the oldest first: in the order in which they are registered they are read.
        new.sort_by_key(|tail| (tail.path == tail.home, tail.modified));
        self.register(new, then, ctx);
    }

    /// Its content was looked at a moment ago. Not for ever: an inode is used again by other files.
    fn is_known_binary(&self, inode: Inode) -> bool {
        self.binary.get(&inode).is_some_and(|at| at.elapsed() < LOOK_AGAIN)
    }

    fn found_binary(&mut self, path: &Path, inode: Inode) {
        self.binary.retain(|_, at| at.elapsed() < LOOK_AGAIN * 4);
        if self.binary.insert(inode, Instant::now()).is_none() {
            slog_scope::info!("not collected: it holds no text"; "path" => %path.display());
        }
    }

    pub(super) fn missed(&mut self, wish: Missed) {
        match wish {
            Missed::New { inode, key } => self.roster.end_opening(inode, &key.topic.as_str().into()),
            Missed::Known(id) => self.ended(id),
        }
    }

    /// The tail has ended, or never began: who waited for it goes on.
    pub(super) fn ended(&mut self, id: OriginId) {
        for successor in self.roster.end(id) {
            self.tell(successor, Release);
        }
    }

    fn register(&mut self, new: Vec<NewTail>, mut then: Then, ctx: &mut Context<Self>) {
        if self.is_stopping() {
            then.rest.clear();
        }
        if new.is_empty() || self.is_stopping() {
            return self.go_on(then, ctx);
        }
        let files = new.iter().map(NewTail::new_file).collect();
        let register = self.shared.journal.register.clone();
        let future = async move { register.send(RegisterFiles(files)).await };
        ctx.spawn(future.into_actor(self).map(|answer, manager, ctx| {
            match answer {
                Ok(Ok(records)) => manager.registered(new, records),
                Ok(Err(error)) => manager.not_registered(&new, &error.to_string(), then.folder.as_deref(), ctx),
                Err(error) => manager.not_registered(&new, &error.to_string(), then.folder.as_deref(), ctx),
            }
            manager.go_on(then, ctx);
        }));
    }

    pub(super) fn registered(&mut self, new: Vec<NewTail>, records: Vec<FileRecord>) {
        for (tail, record) in new.into_iter().zip(records) {
            let topic: Arc<str> =
                self.entries.get(&tail.key).map_or_else(|| record.topic.as_str().into(), |s| s.topic.clone());
            self.roster.end_opening((record.dev, record.ino), &topic);
            self.roster.learn(&record, topic);
            if tail.path != tail.home {
                self.roster.place(record.id, Some(tail.path.as_path().into()));
                let update = UpdateFile { file: record.id, path: Some(tail.path), head: None };
                self.shared.journal.update.tell(update);
            }
            if let Some(known) = self.roster.get_mut(record.id) {
                known.entry = Some(tail.key.clone()).filter(|key| self.entries.get(key).is_some());
                known.superseded = known.path.as_deref() != Some(&*known.home);
                known.size = tail.opened.size;
            }
            slog_scope::info!("a file is collected";
                "path" => %record.path.display(), "topic" => &record.topic, "file" => %record.file,
                "start" => record.position);
            self.begin(record, tail.opened);
        }
    }

    pub(super) fn not_registered(
        &mut self,
        new: &[NewTail],
        reason: &str,
        folder: Option<&Path>,
        ctx: &mut Context<Self>,
    ) {
        slog_scope::error!("new files can't be journalled, so they are not read"; "files" => new.len(), "reason" => reason);
        for tail in new {
            self.missed(Missed::New { inode: (tail.opened.dev, tail.opened.ino), key: tail.key.clone() });
        }
        if let Some(folder) = folder {
            self.scan_later(folder, FAST_SWEEP, ctx);
        }
    }

    pub(super) fn begin(&mut self, record: FileRecord, opened: OpenedFile) {
        let id = record.id;
        if self.is_stopping() || self.tails.contains_key(&id) {
            return self.ended(id);
        }
        let held = self.roster.begin(id).is_some();
        let Some(known) = self.roster.get_mut(id) else { return };
        let state = known.entry.as_ref().and_then(|key| self.entries.get(key));
        known.draining = state.is_none();
        let start = TailStart {
            rules: state.filter(|s| s.published).map(EntryState::rules),
            max_line_bytes: state.map_or(DEFAULT_LINE_BYTES, |s| s.entry.max_line_bytes),
            topic: known.topic.clone(),
            sink: self.sink.clone(),
            held,
            superseded: known.superseded,
            draining: known.draining,
            record,
            opened,
        };
        self.tails.insert(id, TailActor::start(self.shared.clone(), start));
    }
}
