//! What a scan means. The problem: names move between files and files between names, yet each file's bytes must be read
//! once, in order, by one tail, under the identity they got first. No actor and no disk here: listings in, decisions out.

use super::{
    entries::Entries,
    roster::{Inode, Known, Life, Roster, belongs_to},
};
use crate::{
    collection::EntryKey,
    flow::OriginId,
    tail::{FileKind, Found},
};
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::time::Instant;

/// What to do about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Unknown so far: open it, register it, read it. `home`: the name it belongs under; another than `path` where it
    /// was rotated away before anybody saw it there.
    New { path: PathBuf, home: PathBuf, inode: Inode, key: EntryKey, at_end: bool, newer_than: Option<PathBuf> },
    /// Known, not open, with something to read or to send again.
    Resume { id: OriginId, path: PathBuf },
    /// The file has another name.
    Renamed { id: OriginId, path: PathBuf },
    /// The name it was collected under is another file's now, or it has no name any more.
    Superseded { id: OriginId, path: Option<PathBuf> },
    /// Its size has changed.
    Wake { id: OriginId },
    /// An entry names it, but there is nothing to be read.
    NotAFile { path: PathBuf, kind: FileKind },
    /// Two entries collect it for one topic; the first counts.
    Twice { path: PathBuf, first: EntryKey, second: EntryKey },
}

impl Roster {
    /// What a complete listing of `folder` means. Decisions come in the order in which they are to be carried out.
    pub fn decide(&mut self, folder: &Path, listing: &[Found], entries: &Entries, now: Instant) -> Vec<Decision> {
        let mut by_inode: HashMap<Inode, Vec<&Found>> = HashMap::with_capacity(listing.len());
        for found in listing.iter().filter(|f| f.kind == FileKind::Regular) {
            by_inode.entry((found.dev, found.ino)).or_default().push(found);
        }
        let names: HashMap<&Path, Inode> = listing.iter().map(|f| (f.path.as_path(), (f.dev, f.ino))).collect();
        let mut decisions = self.find_known(folder, &by_inode, &names, entries, now);
        let renamed: Vec<(PathBuf, PathBuf)> = decisions
            .iter()
            .filter_map(|d| match d {
                Decision::Renamed { id, path } => Some((self.files.get(id)?.home.to_path_buf(), path.clone())),
                _ => None,
            })
            .collect();
        self.supersede(folder, &names, &mut decisions);
        self.resume(folder, entries, now, &mut decisions);
        self.find_rotated(listing, &renamed, entries, &mut decisions);
        self.find_new(listing, entries, &mut decisions);
        decisions
    }

    /// What is new of some files that were looked at without the rest of their folders. A name that a known file has, or had
    /// when it was last seen, is left to the whole listing, and so is a link.
    pub fn decide_new(&self, found: &[Found], entries: &Entries) -> Vec<Decision> {
        let alone = |found: &&Found| found.kind == FileKind::Regular && !found.link && self.at(&found.path).is_empty();
        let found: Vec<_> = found.iter().filter(alone).cloned().collect();
        let mut decisions = Vec::new();
        self.find_new(&found, entries, &mut decisions);
        decisions
    }

    /// Where the known files of this folder are now.
    fn find_known(
        &mut self,
        folder: &Path,
        by_inode: &HashMap<Inode, Vec<&Found>>,
        listed: &HashMap<&Path, Inode>,
        entries: &Entries,
        now: Instant,
    ) -> Vec<Decision> {
        let mut decisions = Vec::new();
        let mut ids: Vec<_> = self.by_folder.get(folder).into_iter().flatten().copied().collect();
        // Files that have lost their name, or have come from another folder.
        for (inode, names) in by_inode {
            for id in self.by_inode.get(inode).into_iter().flatten() {
                // The file behind a link is found in its own folder, too: it stays under the name that is collected.
                let stays = |known: &Known, path: &Path| {
                    let wanted = |path: &Path| entries.wanting_for(path, &known.topic).is_some();
                    known.missing_since.is_none() && wanted(path) && !names.iter().any(|found| wanted(&found.path))
                };
                let elsewhere = |known: &Known| match &known.path {
                    None => true,
                    Some(path) => known.life == Life::Dormant && path.parent() != Some(folder) && !stays(known, path),
                };
                if self.files.get(id).is_some_and(elsewhere) {
                    ids.push(*id);
                }
            }
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let Some(known) = self.files.get_mut(&id) else { continue };
            let Some(names) = by_inode.get(&known.inode) else {
                known.missing_since.get_or_insert(now);
                if known.life == Life::Live {
                    known.superseded = true;
                    self.place(id, None);
                    decisions.push(Decision::Superseded { id, path: None });
                }
                continue;
            };
            known.missing_since = None;
            if names.iter().any(|found| found.path == *known.home) && !has_successor(&known.home, listed) {
                known.superseded = false;
            }
            let same = names.iter().find(|f| Some(f.path.as_path()) == known.path.as_deref());
            let found = same.or(names.first());
            let Some(found) = found else { continue };
            let grown = known.size != found.size;
            known.size = found.size;
            if same.is_none() {
                let path: Arc<Path> = found.path.as_path().into();
                self.place(id, Some(path));
                decisions.push(Decision::Renamed { id, path: found.path.clone() });
            } else if grown && known.life == Life::Live {
                decisions.push(Decision::Wake { id });
            }
            if let Some(known) = self.files.get_mut(&id)
                && known.entry.is_none()
            {
                known.entry = belongs_to(known, entries);
            }
        }
        decisions
    }

    /// Whose home is another file's now, or was a rotated name from the first.
    fn supersede(&mut self, folder: &Path, names: &HashMap<&Path, Inode>, decisions: &mut Vec<Decision>) {
        let mut ids: Vec<_> = self.by_folder.get(folder).into_iter().flatten().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(known) = self.files.get_mut(&id) else { continue };
            let taken = names.get(&*known.home).is_some_and(|inode| *inode != known.inode);
            if !known.superseded && (taken || has_successor(&known.home, names)) {
                known.superseded = true;
                if known.life != Life::Dormant {
                    decisions.push(Decision::Superseded { id, path: known.path.as_deref().map(Path::to_owned) });
                }
            }
        }
    }

    /// Which files without a tail have something to read, oldest first.
    fn resume(&mut self, folder: &Path, entries: &Entries, now: Instant, decisions: &mut Vec<Decision>) {
        let mut ids: Vec<_> = self.by_folder.get(folder).into_iter().flatten().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(known) = self.files.get_mut(&id) else { continue };
            let Some(path) = known.path.as_deref().filter(|_| known.life == Life::Dormant) else { continue };
            if known.missing_since.is_some() || known.retry_at.is_some_and(|at| now < at) {
                continue;
            }
            // A file that stands at its own name is kept open, like any other that may grow.
            let current = !known.superseded && entries.wanting_for(path, &known.topic).is_some();
            let wanted = known.entry.is_some() && (current || known.size != known.position);
            if wanted || known.pending {
                let path = path.to_owned();
                known.life = Life::Opening;
                decisions.push(Decision::Resume { id, path });
            }
        }
    }

    /// Files that were rotated away before anybody saw them under their own name: when a known file has moved from
    /// `home` to a rotated name, its younger siblings of the same form are the same log.
    fn find_rotated(
        &self,
        listing: &[Found],
        renamed: &[(PathBuf, PathBuf)],
        entries: &Entries,
        decisions: &mut Vec<Decision>,
    ) {
        for (home, moved_to) in renamed {
            if !is_rotation_of(home, moved_to) {
                continue;
            }
            for found in listing.iter().filter(|f| f.kind == FileKind::Regular && is_rotation_of(home, &f.path)) {
                let inode = (found.dev, found.ino);
                for state in entries.wanting(home) {
                    if self.is_known(inode, &state.topic) || entries.wanting_for(&found.path, &state.topic).is_some() {
                        continue;
                    }
                    decisions.push(Decision::New {
                        path: found.path.clone(),
                        home: home.clone(),
                        inode,
                        key: state.key.clone(),
                        at_end: false,
                        newer_than: Some(moved_to.clone()),
                    });
                }
            }
        }
    }

    /// What entries want and nobody knows.
    fn find_new(&self, listing: &[Found], entries: &Entries, decisions: &mut Vec<Decision>) {
        let mut decided: HashSet<(Inode, Arc<str>)> = HashSet::new();
        for found in listing {
            if found.kind != FileKind::Regular {
                if found.kind != FileKind::Folder && entries.names(&found.path) {
                    decisions.push(Decision::NotAFile { path: found.path.clone(), kind: found.kind });
                }
                continue;
            }
            let inode = (found.dev, found.ino);
            let mut topics: Vec<(&Arc<str>, &EntryKey)> = Vec::new();
            for state in entries.wanting(&found.path) {
                if let Some((_, first)) = topics.iter().find(|(topic, _)| **topic == state.topic) {
                    decisions.push(Decision::Twice {
                        path: found.path.clone(),
                        first: (*first).clone(),
                        second: state.key.clone(),
                    });
                    continue;
                }
                topics.push((&state.topic, &state.key));
                if self.is_known(inode, &state.topic) || !decided.insert((inode, state.topic.clone())) {
                    continue;
                }
                decisions.push(Decision::New {
                    path: found.path.clone(),
                    home: found.path.clone(),
                    inode,
                    key: state.key.clone(),
                    at_end: found.path.parent().is_some_and(|folder| state.starts_at_end(folder)),
                    newer_than: None,
                });
            }
        }
    }
}

/// Whether `home` is a rotated name (`a.log.1`, `a.log-20261121`) and the file that it was rotated from (`a.log`) is
/// there: a file that nobody saw before its rotation would else wait for the end of its last line for ever. Only names
/// with something appended count, because `worker-1.log` beside `worker.log` may well be a log of its own.
fn has_successor(home: &Path, names: &HashMap<&Path, Inode>) -> bool {
    let Some(name) = home.file_name().and_then(|name| name.to_str()) else { return false };
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | 'T' | ':'));
    let rotated = base.len() < name.len() && !base.is_empty() && name.ends_with(|c: char| c.is_ascii_digit());
    rotated && names.contains_key(home.with_file_name(base).as_path())
}

/// Whether `path` is a name that a rotation gives to `home`: `a.log.1`, `a.log-20261121`, `a-20261121.log`; not a
/// compressed one.
fn is_rotation_of(home: &Path, path: &Path) -> bool {
    let (Some(home_name), Some(name)) = (home.file_name(), path.file_name()) else { return false };
    if home.parent() != path.parent() || home_name == name {
        return false;
    }
    let (home_name, name) = (home_name.to_string_lossy(), name.to_string_lossy());
    let is_number = |text: &str| {
        text.bytes().any(|b| b.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_' | b'T' | b':'))
    };
    if name.strip_prefix(&*home_name).is_some_and(is_number) {
        return true;
    }
    home_name
        .rsplit_once('.')
        .and_then(|(stem, end)| name.strip_prefix(stem)?.strip_suffix(end)?.strip_suffix('.'))
        .is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actors::tail_manager::entries::EntryState,
        collection::Entry,
        flow::FileId,
        journal::{FileRecord, Fingerprint},
    };
    use proptest::prelude::*;

    const DEV: u64 = 1;

    fn entries(patterns: &[(&str, &str)]) -> Entries {
        let mut entries = Entries::default();
        for (path, topic) in patterns {
            entries.put(EntryState::new(Entry::plain(*path, *topic)).unwrap());
        }
        entries
    }

    fn record(id: OriginId, path: &str, ino: u64, position: u64) -> FileRecord {
        FileRecord {
            id,
            file: FileId(id),
            path: path.into(),
            current_path: path.into(),
            topic: "t".to_owned(),
            dev: DEV,
            ino,
            head: Fingerprint::default(),
            start: 0,
            settled: position,
            position,
            parts_before: 0,
            back: Fingerprint::default(),
            pending: Vec::new(),
        }
    }

    fn found(path: &str, ino: u64, size: u64) -> Found {
        Found { path: path.into(), dev: DEV, ino, size, kind: FileKind::Regular, link: false }
    }

    fn roster(records: &[FileRecord]) -> Roster {
        let mut roster = Roster::default();
        for record in records {
            roster.learn(record, "t".into());
        }
        roster
    }

    fn decide(roster: &mut Roster, listing: &[Found], entries: &Entries) -> Vec<Decision> {
        roster.decide(Path::new("/logs"), listing, entries, Instant::now())
    }

    fn resume(id: OriginId, path: &str) -> Decision {
        Decision::Resume { id, path: path.into() }
    }

    fn is_new(decision: &Decision, name: &str) -> bool {
        matches!(decision, Decision::New { path, .. } if path == Path::new(name))
    }

    #[test]
    fn a_known_file_is_resumed_and_an_unknown_one_is_new() {
        let entries = entries(&[("/logs/*.log", "t")]);
        let mut roster = roster(&[record(1, "/logs/a.log", 10, 5)]);
        let listing = [found("/logs/a.log", 10, 5), found("/logs/b.log", 11, 0), found("/logs/c.txt", 12, 0)];
        let decisions = decide(&mut roster, &listing, &entries);
        assert_eq!(decisions.len(), 2);
        assert_eq!(decisions[0], resume(1, "/logs/a.log"));
        assert!(is_new(&decisions[1], "/logs/b.log"));
    }

    #[test]
    fn a_file_that_was_looked_at_alone_is_new_unless_its_name_or_its_content_is_known() {
        let entries = entries(&[("/logs/*.log", "t")]);
        let roster = roster(&[record(1, "/logs/a.log", 10, 5)]);
        let renamed = found("/logs/renamed.log", 10, 5);
        let rotated = found("/logs/a.log", 11, 0);
        let link = Found { link: true, ..found("/logs/link.log", 12, 0) };
        let two_names = [found("/logs/b.log", 13, 0), found("/logs/hard-link.log", 13, 0)];
        let unwanted = found("/logs/c.txt", 14, 0);
        let all = [&[renamed, rotated, link, unwanted][..], &two_names].concat();
        let decisions = roster.decide_new(&all, &entries);
        assert!(matches!(&decisions[..], [one] if is_new(one, "/logs/b.log")), "{decisions:?}");
    }

    #[test]
    fn a_file_that_was_rotated_out_of_the_glob_is_resumed_before_its_successor_and_only_if_it_has_more() {
        let entries = entries(&[("/logs/a.log", "t")]);
        let listing = [found("/logs/a.log", 20, 3), found("/logs/a.log.1", 10, 9)];
        let mut lagging = roster(&[record(1, "/logs/a.log", 10, 5)]);
        let decisions = decide(&mut lagging, &listing, &entries);
        assert_eq!(decisions[0], Decision::Renamed { id: 1, path: "/logs/a.log.1".into() });
        assert_eq!(decisions[1], resume(1, "/logs/a.log.1"));
        assert!(is_new(&decisions[2], "/logs/a.log"));
        let mut finished = roster(&[record(1, "/logs/a.log", 10, 9)]);
        let decisions = decide(&mut finished, &listing, &entries);
        assert!(!decisions.contains(&resume(1, "/logs/a.log.1")), "{decisions:?}");
    }

    #[test]
    fn a_live_tail_is_superseded_once_its_name_is_anothers_and_woken_when_it_grows() {
        let entries = entries(&[("/logs/a.log", "t")]);
        let mut roster = roster(&[record(1, "/logs/a.log", 10, 5)]);
        decide(&mut roster, &[found("/logs/a.log", 10, 5)], &entries);
        assert_eq!(roster.begin(1), None);
        assert_eq!(decide(&mut roster, &[found("/logs/a.log", 10, 7)], &entries), [Decision::Wake { id: 1 }]);
        let moved = [found("/logs/a.log.1", 10, 7)];
        assert_eq!(
            decide(&mut roster, &moved, &entries),
            [Decision::Renamed { id: 1, path: "/logs/a.log.1".into() }],
            "as long as nobody has its name, it is only renamed"
        );
        let both = [found("/logs/a.log.1", 10, 7), found("/logs/a.log", 11, 0)];
        let decisions = decide(&mut roster, &both, &entries);
        assert_eq!(decisions[0], Decision::Superseded { id: 1, path: Some("/logs/a.log.1".into()) });
        assert!(is_new(&decisions[1], "/logs/a.log"));
        assert_eq!(
            decide(&mut roster, &[found("/logs/a.log", 11, 0)], &entries)[0],
            Decision::Superseded { id: 1, path: None }
        );
    }

    #[test]
    fn a_file_first_seen_under_its_rotated_name_is_superseded_while_the_name_before_is_there() {
        let entries = entries(&[("/logs/*", "t")]);
        let mut roster = roster(&[record(1, "/logs/a.log.1", 10, 5), record(2, "/logs/a-1.log", 11, 5)]);
        let listing = [found("/logs/a.log.1", 10, 7), found("/logs/a-1.log", 11, 5), found("/logs/a.log", 12, 0)];
        assert!(decide(&mut roster, &listing[..2], &entries).contains(&resume(1, "/logs/a.log.1")));
        roster.begin(1);
        let superseded = Decision::Superseded { id: 1, path: Some("/logs/a.log.1".into()) };
        let decisions = decide(&mut roster, &listing, &entries);
        assert_eq!(
            decisions.iter().filter(|d| matches!(d, Decision::Superseded { .. })).collect::<Vec<_>>(),
            [&superseded]
        );
        assert!(!decide(&mut roster, &listing, &entries).contains(&superseded), "it is said once");
    }

    #[test]
    fn a_pending_range_is_sent_again_also_for_an_entry_that_is_gone() {
        let mut pending = record(1, "/logs/a.log", 10, 5);
        let range = crate::journal::Range {
            begin: 0,
            end: 5,
            read_ms: 0,
            parts_before: 0,
            ends_with: crate::journal::RangeEnd::Line,
            parts_after: 0,
            max_line_bytes: 100,
            entry: None,
            partition: Default::default(),
            back: Fingerprint::default(),
        };
        pending.pending.push((1, range));
        let mut roster = roster(&[pending, record(2, "/logs/b.log", 11, 5)]);
        let listing = [found("/logs/a.log", 10, 5), found("/logs/b.log", 11, 50)];
        assert_eq!(decide(&mut roster, &listing, &entries(&[])), [resume(1, "/logs/a.log")]);
    }

    #[test]
    fn one_inode_has_one_identity_for_a_topic_whatever_its_names() {
        let entries = entries(&[("/logs/a.log", "t"), ("/logs/*.log", "t"), ("/logs/*.log", "u")]);
        let listing = [found("/logs/a.log", 10, 5), found("/logs/hard-link.log", 10, 5)];
        let decisions = decide(&mut Roster::default(), &listing, &entries);
        let topics: Vec<_> = decisions
            .iter()
            .filter_map(|d| match d {
                Decision::New { key, .. } => Some(key.topic.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(topics, ["t", "u"]);
        assert!(decisions.iter().any(|d| matches!(d, Decision::Twice { first, .. } if first.path == "/logs/a.log")));
    }

    #[test]
    fn rotated_files_that_nobody_saw_under_their_own_name_are_found_by_their_form() {
        let entries = entries(&[("/logs/a.log", "t")]);
        let mut roster = roster(&[record(1, "/logs/a.log", 10, 5)]);
        let listing = [
            found("/logs/a.log", 13, 1),
            found("/logs/a.log.1", 12, 1),
            found("/logs/a.log.2", 11, 1),
            found("/logs/a.log.3", 10, 5),
            found("/logs/a.log.4.gz", 14, 1),
            found("/logs/a.log.err", 15, 1),
            found("/logs/b.log.1", 16, 1),
        ];
        let mut new: Vec<_> = decide(&mut roster, &listing, &entries)
            .into_iter()
            .filter_map(|d| match d {
                Decision::New { path, home, newer_than, .. } => Some((path, home, newer_than.is_some())),
                _ => None,
            })
            .collect();
        new.sort();
        let home = PathBuf::from("/logs/a.log");
        assert_eq!(
            new,
            [
                (home.clone(), home.clone(), false),
                ("/logs/a.log.1".into(), home.clone(), true),
                ("/logs/a.log.2".into(), home, true),
            ]
        );
    }

    #[test]
    fn rotations_are_told_by_their_names() {
        let home = Path::new("/logs/a.log");
        for name in ["a.log.1", "a.log-20261121", "a.log.2026-11-21T10:00", "a-20261121.log", "a.1.log"] {
            assert!(is_rotation_of(home, &Path::new("/logs").join(name)), "{name}");
        }
        for name in ["a.log", "a.log.gz", "a.log.1.gz", "a.logs", "ab.log", "a.log.", "b.log.1", "a-x.log"] {
            assert!(!is_rotation_of(home, &Path::new("/logs").join(name)), "{name}");
        }
        assert!(!is_rotation_of(home, Path::new("/other/a.log.1")));
    }

    #[test]
    fn a_chain_waits_for_the_one_before_and_a_former_file_never_for_the_present_one() {
        let mut roster = roster(&[1, 2, 3].map(|id| record(id, "/logs/a.log", 10 + id, 0)));
        assert_eq!((roster.begin(1), roster.begin(2), roster.begin(3)), (None, Some(1), Some(2)));
        assert_eq!(roster.caught_up(1), [2]);
        assert_eq!(roster.caught_up(2), [3], "what waits is released, in order");
        assert!(roster.end(1).is_empty());
        assert_eq!(roster.begin(1), None, "resumed");
    }

    proptest! {
        /// Whatever moves, comes and goes: every wanted file gets one identity, and no identity has two tails.
        #[test]
        fn no_file_is_begun_twice(steps in prop::collection::vec((0u64..6, 0usize..5, 0u64..4), 1..40)) {
            let names = ["/logs/a.log", "/logs/a.log.1", "/logs/a.log.2", "/logs/b.log", "/logs/other"];
            let entries = entries(&[("/logs/a.log", "t"), ("/logs/b*", "t")]);
            let mut roster = Roster::default();
            let mut disk: HashMap<&str, (u64, u64)> = HashMap::new();
            let mut live: HashSet<OriginId> = HashSet::new();
            let mut next = 1;
            for (ino, name, grow) in steps {
                // A file comes under a name, or moves there, or grows; what had the name is gone.
                let name = names[name];
                let size = disk.iter().find(|(_, (i, _))| *i == ino).map_or(0, |(_, (_, size))| *size);
                disk.retain(|_, (i, _)| *i != ino);
                disk.insert(name, (ino, size + grow));
                let listing: Vec<_> = disk.iter().map(|(name, (ino, size))| found(name, *ino, *size)).collect();
                for decision in decide(&mut roster, &listing, &entries) {
                    match decision {
                        Decision::New { path, home, inode, .. } => {
                            prop_assert!(!roster.is_known(inode, &"t".into()), "{path:?} has an identity already");
                            let mut record = record(next, home.to_str().unwrap(), inode.1, 0);
                            record.current_path = path;
                            roster.learn(&record, "t".into());
                            roster.begin(next);
                            prop_assert!(live.insert(next));
                            next += 1;
                        }
                        Decision::Resume { id, .. } => {
                            roster.begin(id);
                            prop_assert!(live.insert(id), "{id} has a tail already");
                        }
                        Decision::Superseded { id, .. } => {
                            prop_assert!(live.remove(&id), "{id} has no tail");
                            if let Some(known) = roster.get_mut(id) {
                                known.position = known.size;
                            }
                            roster.end(id);
                        }
                        Decision::Wake { id } => prop_assert!(live.contains(&id)),
                        Decision::Renamed { .. } | Decision::NotAFile { .. } | Decision::Twice { .. } => {}
                    }
                }
                for (name, (ino, _)) in &disk {
                    if entries.wanting(Path::new(name)).next().is_some() {
                        prop_assert!(roster.is_known((DEV, *ino), &"t".into()), "{name} is collected");
                    }
                }
            }
        }
    }
}
