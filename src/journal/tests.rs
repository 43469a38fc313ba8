//! The journal against a model, and against every cut and every flipped bit.

use super::{
    recovery::replay,
    segment::{file_name, parse_name},
    *,
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

const NOW: u64 = 1_795_246_112_111;

fn new_file(n: u64) -> NewFile {
    NewFile {
        path: format!("/var/log/app {n}.log").into(),
        topic: format!("topic_{}", n % 2),
        dev: 66_306,
        ino: 1000 + n,
        head: Fingerprint { len: 64, hash: n.wrapping_mul(0x9E37_79B9_7F4A_7C15) },
        start: 0,
    }
}

/// A range with something in every field.
fn range(begin: u64, len: u64) -> Range {
    let end = begin + len;
    let ends_with = [RangeEnd::Line, RangeEnd::Part, RangeEnd::File][(end % 3) as usize];
    let rules = [PartitionRule::File, PartitionRule::Random, PartitionRule::RoundRobin, PartitionRule::Number(-7)];
    Range {
        begin,
        end,
        read_ms: NOW + begin,
        parts_before: (begin % 5) as u32,
        ends_with,
        parts_after: if ends_with == RangeEnd::Part { end as u32 | 1 } else { 0 },
        max_line_bytes: 524_288,
        entry: end.is_multiple_of(2).then_some(EntryId(end as u32)),
        partition: rules[(end % 4) as usize],
        back: Fingerprint { len: end.min(64) as u8, hash: !end },
    }
}

fn open(dir: &Path) -> (Journal, Opened) {
    Journal::open(dir, JournalOptions::default()).unwrap()
}

fn reopen(journal: Journal, dir: &Path) -> Journal {
    drop(journal);
    let (journal, opened) = open(dir);
    assert_eq!((opened.condition, opened.reports), (Condition::Clean, vec![]));
    journal
}

/// The segments in a folder, by number.
fn segments(dir: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let numbered = |path: PathBuf| match parse_name(path.file_name()?.to_str()?)? {
        (number, "log") => Some((number, path)),
        _ => None,
    };
    let mut found: Vec<_> = entries.filter_map(numbered).collect();
    found.sort();
    found
}

fn newest(dir: &Path) -> (u64, PathBuf) {
    segments(dir).pop().unwrap()
}

fn by_file(files: Vec<FileRecord>) -> BTreeMap<FileId, FileRecord> {
    files.into_iter().map(|one| (one.file, one)).collect()
}

/// What salvage may and may not do: `after` is what is known, `truth` what was really so.
fn assert_no_loss(after: &[FileRecord], truth: &BTreeMap<FileId, FileRecord>, context: &str) {
    for file in after {
        let Some(truly) = truth.get(&file.file) else { panic!("{context}: {file:?} never was") };
        assert_eq!((&file.path, &file.topic, file.ino), (&truly.path, &truly.topic, truly.ino), "{context}");
        assert!(file.settled <= truly.settled, "{context}: settled {} of {}", file.settled, truly.settled);
        assert!(file.position <= truly.position, "{context}: at {} of {}", file.position, truly.position);
        let mut at = file.settled;
        for (_, range) in &file.pending {
            assert_eq!(range.begin, at, "{context}: a gap before {range:?}");
            at = range.end;
        }
        assert_eq!(at, file.position, "{context}");
    }
}

/// After each step: length of the segment, and what was known.
type Steps = Vec<(u64, Vec<FileRecord>)>;

/// A journal with all kinds of records, in the snapshot and after it. Answers its bytes, their number, and for each
/// step how long the segment was after it and what was known.
fn full_journal(dir: &Path) -> (Vec<u8>, u64, Steps) {
    let (mut journal, _) = open(dir);
    let old = journal.register(vec![new_file(1), new_file(2)], NOW).unwrap();
    journal.remember_entry("/var/log/*.log topic_1".into()).unwrap();
    for (id, begin) in [(old[0].id, 0), (old[0].id, 100), (old[1].id, 0), (old[0].id, 200)] {
        journal.append(id, range(begin, 100)).unwrap();
    }
    journal.settle(old[0].id, 1);
    journal.flush().unwrap();
    journal.update(old[1].id, Some("/var/log/app 2.log.1".into()), None).unwrap();
    journal.snapshot().unwrap();

    let mut steps = vec![(journal.bytes(), journal.list())];
    let mut id = 0;
    for step in 0..14 {
        match step {
            0 => id = journal.register(vec![new_file(3)], NOW).unwrap()[0].id,
            1..=5 => _ = journal.append(id, range((step - 1) * 50, 50)).unwrap(),
            6 | 9 | 12 => {
                for seq in [step / 3 * 2 - 2, step / 3 * 2 - 3] {
                    journal.settle(id, seq);
                }
                journal.flush().unwrap();
            }
            7 => journal.update(id, Some("/var/log/moved".into()), Some(Fingerprint { len: 3, hash: 3 })).unwrap(),
            8 => _ = journal.remember_entry("another".into()).unwrap(),
            10 => journal.forget(old[1].id).unwrap(),
            11 => _ = journal.append(old[0].id, range(300, 1 << 33)).unwrap(),
            _ => _ = journal.append(id, range(250, 20)).unwrap(),
        }
        steps.push((journal.bytes(), journal.list()));
    }
    let (number, path) = newest(dir);
    (fs::read(path).unwrap(), number, steps)
}

#[test]
fn what_is_written_down_is_there_after_a_crash() {
    let dir = TempDir::new().unwrap();
    let (mut journal, opened) = open(dir.path());
    assert_eq!(opened.condition, Condition::Fresh);
    let files = journal.register(vec![new_file(1), new_file(2)], NOW).unwrap();
    assert_ne!(files[0].file, files[1].file);
    let id = files[0].id;
    let seqs: Vec<_> = (0..3).map(|i| journal.append(id, range(i * 10, 10)).unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3]);

    assert_eq!(journal.settle(id, 2), Settlement::Waiting);
    assert_eq!(journal.look_up(id).unwrap().settled, 0, "the position doesn't pass a range that isn't settled");
    assert_eq!(journal.settle(id, 1), Settlement::Moved);
    assert_eq!(journal.settle(id, 1), Settlement::Unknown);
    assert_eq!(journal.settle(id, 9), Settlement::Unknown);
    assert_eq!(journal.settle(99, 1), Settlement::Unknown);
    assert_eq!(journal.pending(), 1);
    journal.flush().unwrap();
    let known = journal.list();
    assert_eq!((known[0].settled, known[0].position, known[0].pending.len()), (20, 30, 1));
    assert_eq!(known[0].pending[0], (3, range(20, 10)));

    let mut journal = reopen(journal, dir.path());
    assert_eq!(journal.list(), known);
    assert_eq!(journal.append(id, range(30, 10)).unwrap(), 4, "numbers go on");
    let later = journal.register(vec![new_file(3)], NOW).unwrap();
    assert!(later[0].id > files[1].id);
}

#[test]
fn a_range_that_does_not_go_on_from_the_position_is_refused() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    let id = journal.register(vec![new_file(1)], NOW).unwrap()[0].id;
    journal.append(id, range(0, 10)).unwrap();
    for wrong in [range(0, 10), range(11, 5), range(10, 0)] {
        assert!(matches!(journal.append(id, wrong), Err(JournalError::OutOfOrder { position: 10, .. })), "{wrong:?}");
    }
    assert!(matches!(journal.append(id + 1, range(0, 1)), Err(JournalError::UnknownFile(_))));
}

#[test]
fn every_length_is_once_the_torn_tail() {
    let dir = TempDir::new().unwrap();
    let (bytes, number, steps) = full_journal(dir.path());
    let base = steps[0].0;
    assert_eq!(steps.last().unwrap().0, bytes.len() as u64);
    let truth: BTreeMap<_, _> = steps.iter().flat_map(|(_, files)| files.clone()).map(|f| (f.file, f)).collect();

    for len in 0..=bytes.len() {
        let context = format!("cut to {len} of {}", bytes.len());
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(file_name(number, "log")), &bytes[..len]).unwrap();
        let (mut journal, opened) = open(dir.path());
        let known = journal.list();
        if len as u64 >= base {
            let (end, expected) = steps.iter().rev().find(|(end, _)| *end <= len as u64).unwrap();
            assert_eq!(&known, expected, "{context}");
            assert_eq!(opened.condition, Condition::Clean, "{context}");
            assert_eq!(opened.reports.len(), usize::from(*end < len as u64), "{context}");
        } else {
            assert_eq!(opened.condition, Condition::Salvaged, "{context}");
            assert_no_loss(&known, &truth, &context);
        }
        // It can be gone on with, and nothing of what was cut off comes back.
        let fresh = journal.register(vec![new_file(9)], NOW).unwrap();
        journal.append(fresh[0].id, range(0, 7)).unwrap();
        let expected = journal.list();
        assert_eq!(reopen(journal, dir.path()).list(), expected, "{context}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_named_and_costs_a_repeat_at_most() {
    let dir = TempDir::new().unwrap();
    let (bytes, number, steps) = full_journal(dir.path());
    let mut truth: BTreeMap<_, _> = steps.iter().flat_map(|(_, files)| files.clone()).map(|f| (f.file, f)).collect();
    // What was promised last counts; a lost "forget" brings a file back.
    truth.extend(by_file(steps.last().unwrap().1.clone()));
    let path = dir.path().join("segment");
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let context = format!("bit {bit} of byte {at}");
            let read = replay(&damaged, &path, number).unwrap();
            assert!(!read.reports.is_empty(), "{context}");
            let near = read.reports.iter().any(|one| (one.offset..one.offset + one.len).contains(&(at as u64)));
            assert!(near, "{context}: {:?}", read.reports);
            assert_no_loss(&read.state.records().collect::<Vec<_>>(), &truth, &context);
        }
    }
}

#[test]
fn a_damaged_journal_is_renewed_and_put_aside() {
    let dir = TempDir::new().unwrap();
    let (bytes, number, steps) = full_journal(dir.path());
    let truth: BTreeMap<_, _> = steps.iter().flat_map(|(_, files)| files.clone()).map(|f| (f.file, f)).collect();
    for at in (0..bytes.len()).step_by(29) {
        let dir = TempDir::new().unwrap();
        let name = file_name(number, "log");
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(dir.path().join(&name), &damaged).unwrap();
        let (journal, opened) = open(dir.path());
        let known = journal.list();
        assert_no_loss(&known, &truth, &format!("byte {at}"));
        if opened.condition == Condition::Salvaged {
            assert_eq!(fs::read(dir.path().join(file_name(number, "damaged"))).unwrap(), damaged);
            assert_eq!(segments(dir.path()).len(), 1);
        } else {
            assert_eq!(opened.reports[0].damage, Damage::TornTail, "byte {at}");
        }
        assert_eq!(reopen(journal, dir.path()).list(), known);
    }
}

/// Offset of the record that contains `needle`, and of the next.
fn find_record(bytes: &[u8], number: u64, wanted: impl Fn(&record::Record) -> bool) -> (usize, usize) {
    let mut at = format::HEADER;
    while let Some(payload) = format::record_at(bytes, number, at) {
        let end = at + format::FRAME + payload.len();
        if wanted(&record::decode(payload).unwrap()) {
            return (at, end);
        }
        at = end;
    }
    panic!("no such record");
}

#[test]
fn a_lost_range_makes_a_hole_that_is_read_again() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    let before = journal.register(vec![new_file(1)], NOW).unwrap().remove(0);
    for i in 0..4 {
        journal.append(before.id, range(i * 100, 100)).unwrap();
    }
    journal.settle(before.id, 1);
    journal.flush().unwrap();
    drop(journal);
    let (number, path) = newest(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let (at, end) = find_record(&bytes, number, |one| matches!(one, record::Record::Range { seq: 3, .. }));
    bytes[at + 12] ^= 1;
    fs::write(&path, &bytes).unwrap();

    let (mut journal, opened) = open(dir.path());
    assert_eq!(opened.condition, Condition::Salvaged);
    assert_eq!(opened.reports[0].damage, Damage::Records);
    assert_eq!((opened.reports[0].offset, opened.reports[0].len), (at as u64, (end - at) as u64));
    assert_eq!(opened.reports[1].damage, Damage::Hole { file: before.file, begin: 200, end: 300 });
    let known = journal.look_up(before.id).unwrap();
    assert_eq!(known.file, before.file, "the identity stays, so lines that are sent again fall on themselves");
    assert_eq!((known.settled, known.position), (100, 200));
    assert_eq!(known.pending, [(2, range(100, 100))]);
    assert_eq!((known.parts_before, known.back), (range(100, 100).parts_after, range(100, 100).back));

    assert_eq!(journal.append(before.id, range(200, 50)).unwrap(), 5, "a late answer for 3 or 4 must not settle it");
    let known = journal.list();
    assert_eq!(reopen(journal, dir.path()).list(), known);
}

#[test]
fn a_file_whose_record_is_lost_is_unknown_and_its_number_is_not_given_again() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    let files = journal.register(vec![new_file(1), new_file(2)], NOW).unwrap();
    journal.append(files[1].id, range(0, 10)).unwrap();
    drop(journal);
    let (number, path) = newest(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let lost = |one: &record::Record| matches!(one, record::Record::File(file) if file.ino == 1002);
    let (at, _) = find_record(&bytes, number, lost);
    bytes[at] = 0;
    fs::write(&path, &bytes).unwrap();

    let (mut journal, opened) = open(dir.path());
    assert!(opened.reports.iter().any(|one| one.damage == Damage::LostFiles { records: 1 }), "{opened:?}");
    assert_eq!(journal.list(), [files[0].clone()]);
    let again = journal.register(vec![new_file(2)], NOW).unwrap();
    assert!(again[0].id > files[1].id);
    assert_ne!(again[0].file, files[1].file);
}

#[test]
fn a_record_inside_a_file_name_is_not_taken_for_one() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    let id = journal.register(vec![new_file(1)], NOW).unwrap()[0].id;
    journal.append(id, range(0, 10)).unwrap();
    let (number, path) = newest(dir.path());
    let bytes = fs::read(&path).unwrap();
    let (at, end) = find_record(&bytes, number, |one| matches!(one, record::Record::Range { .. }));
    let name = std::os::unix::ffi::OsStringExt::from_vec(bytes[at..end].to_vec());
    let bad = NewFile { path: std::ffi::OsString::into(name), ..new_file(2) };
    journal.register(vec![bad], NOW).unwrap();
    drop(journal);
    // Its own frame is destroyed, so that the search goes through the name.
    let mut bytes = fs::read(&path).unwrap();
    bytes[end] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (journal, opened) = open(dir.path());
    assert_eq!(opened.reports.len(), 1, "{opened:?}");
    assert_eq!(journal.pending(), 1);
}

#[test]
fn a_newer_version_is_refused_and_nothing_is_touched() {
    let dir = TempDir::new().unwrap();
    drop(full_journal(dir.path()));
    let (number, path) = newest(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let tmp = dir.path().join(file_name(number + 1, "00000000.tmp"));
    fs::write(&tmp, "unfinished").unwrap();

    let refused = Journal::open(dir.path(), JournalOptions::default());
    assert!(matches!(refused, Err(JournalError::Version { found: 2, known: 1, .. })), "{refused:?}");
    assert!(matches!(Journal::inspect(dir.path()), Err(JournalError::Version { .. })));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(tmp.exists());
}

#[test]
fn a_second_journal_on_a_folder_is_refused_until_the_first_is_gone() {
    let dir = TempDir::new().unwrap();
    let (mut first, _) = open(dir.path());
    let refused = Journal::open(dir.path(), JournalOptions::default());
    assert!(matches!(&refused, Err(JournalError::Locked(path)) if path == dir.path()), "{refused:?}");
    first.release();
    open(dir.path());
}

#[test]
fn a_journal_that_was_deleted_is_reported_as_lost() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    journal.register(vec![new_file(1)], NOW).unwrap();
    drop(journal);
    fs::remove_file(newest(dir.path()).1).unwrap();
    let (journal, opened) = open(dir.path());
    assert_eq!((opened.condition, journal.files()), (Condition::Lost, 0));
}

#[test]
fn a_full_disk_leaves_a_valid_journal_and_the_same_append_succeeds_later() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    let id = journal.register(vec![new_file(1)], NOW).unwrap()[0].id;
    let (mut position, mut failures) = (0, 0);
    for room in 0..160 {
        journal.set_room(Some(journal.bytes() + room % 60));
        let before = journal.list();
        match journal.append(id, range(position, 10)) {
            Ok(_) => position += 10,
            Err(JournalError::Full { .. }) => {
                failures += 1;
                assert_eq!(journal.list(), before);
                let (number, path) = newest(dir.path());
                let bytes = fs::read(&path).unwrap();
                assert!(replay(&bytes, &path, number).unwrap().reports.is_empty());
            }
            other => panic!("{other:?}"),
        }
        // Settled marks wait for room, too.
        journal.settle(id, position / 20);
        if journal.flush().is_err() {
            assert!(journal.is_dirty());
        }
    }
    assert!(failures > 20 && position > 200, "{failures} {position}");
    assert!(matches!(journal.register(vec![new_file(2)], NOW), Err(JournalError::Full { .. })));
    assert!(matches!(journal.remember_entry("x".repeat(99)), Err(JournalError::Full { .. })));
    journal.set_room(None);
    journal.append(id, range(position, 10)).unwrap();
    journal.flush().unwrap();
    let known = journal.list();
    assert_eq!(known.len(), 1);
    assert_eq!(reopen(journal, dir.path()).list(), known);
}

#[test]
fn records_that_come_while_a_snapshot_is_made_are_in_the_new_segment() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), JournalOptions { snapshot_bytes: 100 }).unwrap();
    let id = journal.register(vec![new_file(1)], NOW).unwrap()[0].id;
    journal.append(id, range(0, 10)).unwrap();
    journal.append(id, range(10, 10)).unwrap();
    assert!(journal.is_snapshot_due());
    let old_sync = journal.sync_handle();
    let job = journal.begin_snapshot().unwrap();
    assert!(!journal.is_snapshot_due(), "one at a time");
    journal.append(id, range(20, 10)).unwrap();
    journal.settle(id, 1);
    journal.flush().unwrap();
    let late = journal.register(vec![new_file(2)], NOW).unwrap();
    journal.finish_snapshot(job.write().unwrap()).unwrap();
    assert!(!journal.synced(old_sync.sync().unwrap()), "a sync of the old segment promises nothing any more");
    assert_eq!(segments(dir.path()).len(), 2, "the old one stays until the new one is synced");
    journal.sync().unwrap();
    assert_eq!(segments(dir.path()).len(), 1);
    assert!(!journal.is_dirty());
    let known = journal.list();
    assert_eq!(known[1], late[0]);
    assert_eq!(reopen(journal, dir.path()).list(), known);
}

#[test]
fn a_new_segment_that_a_power_failure_tore_is_not_used() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    let id = journal.register(vec![new_file(1)], NOW).unwrap()[0].id;
    journal.append(id, range(0, 10)).unwrap();
    let job = journal.begin_snapshot().unwrap();
    let promised = journal.register(vec![new_file(2)], NOW).unwrap();
    let (old_number, old_path) = newest(dir.path());
    let old = fs::read(&old_path).unwrap();
    journal.finish_snapshot(job.write().unwrap()).unwrap();
    let complete = journal.bytes() as usize;
    let known = journal.list();
    journal.append(id, range(10, 10)).unwrap();
    let (number, path) = newest(dir.path());
    let new = fs::read(path).unwrap();
    for len in 0..=new.len() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(file_name(old_number, "log")), &old).unwrap();
        fs::write(dir.path().join(file_name(number, "log")), &new[..len]).unwrap();
        let (journal, opened) = open(dir.path());
        assert_eq!(opened.condition, Condition::Clean, "{len}");
        if len < new.len() {
            assert_eq!(journal.list(), known, "{len}");
            assert_eq!(journal.list()[1], promised[0]);
        } else {
            assert_eq!(journal.list()[0].position, 20);
        }
        let used_old = opened.reports.iter().any(|one| one.damage == Damage::Unfinished);
        assert_eq!(used_old, len < complete, "{len}");
        assert_eq!(segments(dir.path()).len(), 1, "{len}");
    }
}

#[test]
fn a_snapshot_that_fails_leaves_the_old_segment_in_use() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    let id = journal.register(vec![new_file(1)], NOW).unwrap()[0].id;
    let job = journal.begin_snapshot().unwrap();
    drop(job);
    journal.give_up_snapshot();
    journal.append(id, range(0, 10)).unwrap();
    let job = journal.begin_snapshot().unwrap();
    journal.give_up_snapshot();
    journal.finish_snapshot(job.write().unwrap()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "lock and segment");
    let known = journal.list();
    assert_eq!(reopen(journal, dir.path()).list(), known);
}

#[test]
fn after_a_failed_sync_a_new_segment_is_made() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    assert!(!journal.is_snapshot_due());
    journal.sync_failed();
    assert!(journal.is_snapshot_due());
    journal.snapshot().unwrap();
    assert!(!journal.is_snapshot_due());
}

#[test]
fn the_journal_does_not_grow_with_what_is_settled() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), JournalOptions { snapshot_bytes: 4096 }).unwrap();
    let id = journal.register(vec![new_file(1)], NOW).unwrap()[0].id;
    for i in 0..5000 {
        let seq = journal.append(id, range(i * 10, 10)).unwrap();
        journal.settle(id, seq);
        journal.flush().unwrap();
        if journal.is_snapshot_due() {
            journal.snapshot().unwrap();
        }
    }
    assert!(journal.bytes() < 5000, "{}", journal.bytes());
    assert_eq!(journal.look_up(id).unwrap().settled, 50_000);
}

#[test]
fn a_journal_in_use_can_be_inspected() {
    let dir = TempDir::new().unwrap();
    assert!(Journal::inspect(dir.path()).unwrap().path.is_none());
    let (mut journal, _) = open(dir.path());
    let id = journal.register(vec![new_file(1)], NOW).unwrap()[0].id;
    journal.append(id, range(0, 10)).unwrap();
    journal.remember_entry("entry".into()).unwrap();
    let seen = Journal::inspect(dir.path()).unwrap();
    assert_eq!((seen.files, seen.entries, seen.reports), (journal.list(), vec!["entry".to_owned()], vec![]));
    let mut file = fs::File::options().append(true).open(newest(dir.path()).1).unwrap();
    std::io::Write::write_all(&mut file, &[9; 30]).unwrap();
    let seen = Journal::inspect(dir.path()).unwrap();
    assert_eq!(seen.files, journal.list());
    assert_eq!(seen.reports[0].damage, Damage::TornTail);
}

#[test]
fn the_history_keeps_settled_ranges_until_the_next_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let file = journal.register(vec![new_file(1)], 1).unwrap().remove(0);
    let seqs = [range(0, 10), range(10, 5), range(15, 5)].map(|range| journal.append(file.id, range).unwrap());
    journal.settle(file.id, seqs[0]);
    journal.settle(file.id, seqs[1]);
    journal.flush().unwrap();
    let told = |journal: &Journal| -> Vec<(FileId, u64)> {
        journal.history().unwrap().into_iter().map(|(file, range)| (file, range.begin)).collect()
    };
    assert_eq!(told(&journal), [(file.file, 0), (file.file, 10), (file.file, 15)]);
    let mut journal = reopen(journal, dir.path());
    assert_eq!(told(&journal).len(), 3);
    journal.snapshot().unwrap();
    assert_eq!(told(&journal), [(file.file, 15)], "what is settled is left out of a snapshot");
}

#[test]
fn an_entry_is_new_once() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    assert!(journal.remember_entry("a".into()).unwrap());
    assert!(!journal.remember_entry("a".into()).unwrap());
    let mut journal = reopen(journal, dir.path());
    assert!(!journal.remember_entry("a".into()).unwrap());
    journal.snapshot().unwrap();
    let mut journal = reopen(journal, dir.path());
    assert!(!journal.remember_entry("a".into()).unwrap());
    assert!(matches!(journal.remember_entry("x".repeat(300_000)), Err(JournalError::TooLong(_))));
}

#[test]
fn only_files_that_are_gone_and_settled_for_long_are_forgotten() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    let there = dir.path().join("there");
    fs::write(&there, "x").unwrap();
    let found = fs::metadata(&there).unwrap();
    use std::os::unix::fs::MetadataExt;
    let there = NewFile { path: there, dev: found.dev(), ino: found.ino(), ..new_file(1) };
    let other_inode = NewFile { ino: found.ino() + 1, ..there.clone() };
    let gone = |n| NewFile { path: dir.path().join(format!("gone{n}")), dev: found.dev(), ..new_file(n) };
    let unmounted = NewFile { dev: found.dev() + 1, ..gone(5) };
    let files = journal.register(vec![there, other_inode, gone(3), gone(4), unmounted], NOW).unwrap();
    journal.append(files[3].id, Range { read_ms: NOW, ..range(0, 10) }).unwrap();
    assert!(journal.forget_gone(NOW + 999, 1000).unwrap().is_empty());
    assert!(journal.forget_gone(0, 1000).unwrap().is_empty(), "a clock that jumps back forgets nothing");
    assert_eq!(journal.forget_gone(NOW + 1001, 1000).unwrap().len(), 2);
    let left: Vec<_> = journal.list().iter().map(|one| one.id).collect();
    assert_eq!(left, [files[0].id, files[3].id, files[4].id]);
    assert_eq!(reopen(journal, dir.path()).list().len(), 3);
}

#[test]
fn the_mistakes_for_the_oracle_are_mistakes() {
    let mut state = state::State::default();
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    let file = journal.register(vec![new_file(1)], NOW).unwrap().remove(0);
    journal.append(file.id, range(0, 10)).unwrap();
    for payload in journal_records(dir.path()) {
        state.apply(payload);
    }
    state.mutate(true, true, || FileId(7));
    let known = state.look_up(file.id).unwrap();
    assert_eq!((known.file, known.settled, known.pending.len()), (FileId(7), 10, 0));
}

fn journal_records(dir: &Path) -> Vec<record::Record> {
    let (number, path) = newest(dir);
    let bytes = fs::read(path).unwrap();
    let (mut at, mut records) = (format::HEADER, Vec::new());
    while let Some(payload) = format::record_at(&bytes, number, at) {
        records.push(record::decode(payload).unwrap());
        at += format::FRAME + payload.len();
    }
    records
}

#[test]
fn a_range_takes_about_fifty_bytes() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path());
    let id = journal.register(vec![new_file(1)], NOW).unwrap()[0].id;
    journal.append(id, range(0, 1 << 34)).unwrap();
    let before = journal.bytes();
    journal.append(id, Range { max_line_bytes: 524_288, ..range(1 << 34, 262_144) }).unwrap();
    assert!(journal.bytes() - before <= 60, "{}", journal.bytes() - before);
}

// ---- crashes, in a process of their own -------------------------------------------------------------------------------

const CHILD_DIR: &str = "LOGWEIR_JOURNAL_TEST_DIR";

/// Works on the journal and says what it was promised, until a crash point kills it.
#[test]
fn in_a_child_process() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let (mut journal, _) = open(Path::new(&dir));
    let id = journal.register(vec![new_file(1)], NOW).unwrap()[0].id;
    println!("registered");
    for i in 0..40 {
        let seq = journal.append(id, range(i * 10, 10)).unwrap();
        println!("appended {}", (i + 1) * 10);
        if i % 3 == 0 {
            journal.settle(id, seq - u64::from(seq > 1));
            journal.settle(id, seq.saturating_sub(2));
            journal.flush().unwrap();
            println!("settled {}", journal.look_up(id).unwrap().settled);
        }
        if i % 10 == 9 {
            journal.snapshot().unwrap();
        }
    }
}

fn crash_at(point: &str, dir: &Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::tests::in_a_child_process", "--nocapture"])
        .env("LOGWEIR_CRASH_AT", point)
        .env(CHILD_DIR, dir)
        .output()
        .unwrap()
}

#[test]
fn a_kill_at_every_step_keeps_what_was_promised() {
    let points = ["journal_registered", "journal_appended:7", "journal_appended:31", "journal_settled:2"];
    let steps = ["snapshot_begun", "snapshot_tmp", "snapshot_renamed"];
    // The first pass of a snapshot's step makes the first segment.
    let passes = steps.iter().flat_map(|step| [format!("{step}:1"), format!("{step}:2"), format!("{step}:4")]);
    let cleaned = ["snapshot_cleaned:1", "snapshot_cleaned:3"].map(String::from);
    for point in points.map(String::from).into_iter().chain(passes).chain(cleaned) {
        let dir = TempDir::new().unwrap();
        let output = crash_at(&point, dir.path());
        assert_eq!(output.status.signal(), Some(9), "{point}: {output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = |what: &str| -> Option<u64> {
            text.lines().filter_map(|line| line.split_once(what)?.1.trim().parse().ok()).next_back()
        };
        let (journal, opened) = open(dir.path());
        let expected =
            if point.ends_with("_begun:1") || point.ends_with("_tmp:1") { Condition::Fresh } else { Condition::Clean };
        assert_eq!((opened.condition, opened.reports), (expected, vec![]), "{point}");
        if text.contains("registered") {
            let file = &journal.list()[0];
            assert!(file.position >= last("appended ").unwrap_or(0), "{point}: {text}");
            assert!(file.settled >= last("settled ").unwrap_or(0), "{point}: {text}");
            assert!(file.position <= last("appended ").unwrap_or(0) + 10, "{point}: {text}");
        }
        let known = journal.list();
        assert_eq!(reopen(journal, dir.path()).list(), known, "{point}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "{point}: lock and one segment");
    }
}

// ---- the model --------------------------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Step {
    Register(u8),
    Append(usize, u64),
    Settle(usize, usize),
    Flush,
    Update(usize),
    Forget(usize),
    Snapshot,
    /// Killed and started again.
    Crash,
    /// The same, and the last bytes never reached the disk.
    PowerFailure(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..4_u8).prop_map(Step::Register),
        12 => (any::<usize>(), 1..1000_u64).prop_map(|(file, len)| Step::Append(file, len)),
        10 => (any::<usize>(), any::<usize>()).prop_map(|(file, at)| Step::Settle(file, at)),
        4 => Just(Step::Flush),
        1 => any::<usize>().prop_map(Step::Update),
        1 => any::<usize>().prop_map(Step::Forget),
        2 => Just(Step::Snapshot),
        2 => Just(Step::Crash),
        1 => any::<u16>().prop_map(Step::PowerFailure),
    ]
}

/// What should be known: in memory, and on the disk.
#[derive(Default)]
struct Model {
    files: BTreeMap<OriginId, ModelFile>,
    registered: u64,
}

struct ModelFile {
    record: FileRecord,
    /// All ranges, with whether they are settled.
    ranges: Vec<(u64, Range, bool)>,
    /// Ranges of the settled prefix, as written down.
    written: usize,
}

impl ModelFile {
    fn prefix(&self) -> usize {
        self.ranges.iter().take_while(|(.., settled)| *settled).count()
    }

    fn expected(&self, prefix: usize) -> FileRecord {
        let mut record = self.record.clone();
        if let Some((_, last, _)) = prefix.checked_sub(1).map(|last| &self.ranges[last]) {
            record.settled = last.end;
        }
        if let Some((_, last, _)) = self.ranges.last() {
            (record.position, record.parts_before, record.back) = (last.end, last.parts_after, last.back);
        }
        record.pending = self.ranges[prefix..].iter().map(|(seq, range, _)| (*seq, *range)).collect();
        record
    }
}

impl Model {
    fn pick(&mut self, at: usize) -> Option<(OriginId, &mut ModelFile)> {
        let at = at % self.files.len().max(1);
        self.files.iter_mut().nth(at).map(|(id, file)| (*id, file))
    }

    fn expected(&self) -> Vec<FileRecord> {
        self.files.values().map(|file| file.expected(file.prefix())).collect()
    }

    fn written_down(&mut self) {
        self.files.values_mut().for_each(|file| file.written = file.prefix());
    }

    /// Settled marks that weren't written down are forgotten.
    fn crash(&mut self) {
        for file in self.files.values_mut() {
            for (at, (.., settled)) in file.ranges.iter_mut().enumerate() {
                *settled = at < file.written;
            }
        }
    }

    fn adopt(&mut self, known: Vec<FileRecord>) {
        self.files.clear();
        for record in known {
            let ranges = record.pending.iter().map(|(seq, range)| (*seq, *range, false)).collect();
            let id = record.id;
            let mut record = FileRecord { pending: Vec::new(), ..record };
            if record.pending.is_empty() {
                record.position = record.position.max(record.settled);
            }
            self.files.insert(id, ModelFile { record, ranges, written: 0 });
        }
    }
}

fn power_failure(journal: Journal, dir: &Path, lost: u16, model: &mut Model) -> Journal {
    drop(journal);
    let (number, path) = newest(dir);
    let bytes = fs::read(&path).unwrap();
    let base = replay(&bytes, &path, number).unwrap().base_len;
    let len = bytes.len() as u64 - u64::from(lost) % (bytes.len() as u64 - base + 1);
    fs::write(&path, &bytes[..len as usize]).unwrap();
    let (journal, opened) = open(dir);
    assert_eq!(opened.condition, Condition::Clean);
    // A "forget" may be lost; then the file is as it was before, which the model has forgotten.
    let truth = by_file(model.expected());
    let known: Vec<_> = journal.list().into_iter().filter(|one| truth.contains_key(&one.file)).collect();
    assert_no_loss(&known, &truth, "after a power failure");
    model.adopt(journal.list());
    journal
}

fn run(steps: Vec<Step>) {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let (mut journal, _) = open(dir);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Register(count) => {
                let new: Vec<_> = (0..u64::from(count)).map(|i| new_file(model.registered + i)).collect();
                model.registered += u64::from(count);
                for record in journal.register(new, NOW).unwrap() {
                    model.files.insert(record.id, ModelFile { record, ranges: Vec::new(), written: 0 });
                }
            }
            Step::Append(at, len) => {
                let Some((id, file)) = model.pick(at) else { continue };
                let begin = file.expected(0).position;
                let seq = journal.append(id, range(begin, len)).unwrap();
                assert!(file.ranges.last().is_none_or(|(last, ..)| *last < seq));
                file.ranges.push((seq, range(begin, len), false));
            }
            Step::Settle(at, which) => {
                let Some((id, file)) = model.pick(at) else { continue };
                let pending = file.ranges.len() - file.prefix();
                let Some(which) = which.checked_rem(pending) else { continue };
                let before = file.prefix();
                let (seq, _, settled) = &mut file.ranges[before + which];
                let expected = match (std::mem::replace(settled, true), which) {
                    (true, _) => Settlement::Unknown,
                    (false, 0) => Settlement::Moved,
                    (false, _) => Settlement::Waiting,
                };
                assert_eq!(journal.settle(id, *seq), expected);
            }
            Step::Flush => {
                journal.flush().unwrap();
                model.written_down();
            }
            Step::Update(at) => {
                let Some((id, file)) = model.pick(at) else { continue };
                file.record.current_path = format!("/moved/{at}").into();
                journal.update(id, Some(file.record.current_path.clone()), None).unwrap();
            }
            Step::Forget(at) => {
                let Some((id, _)) = model.pick(at) else { continue };
                model.files.remove(&id);
                journal.forget(id).unwrap();
            }
            Step::Snapshot => {
                journal.snapshot().unwrap();
                model.written_down();
            }
            Step::Crash => {
                journal = reopen(journal, dir);
                model.crash();
            }
            Step::PowerFailure(lost) => journal = power_failure(journal, dir, lost, &mut model),
        }
        assert_eq!(journal.list(), model.expected());
        let pending: usize = model.files.values().map(|file| file.ranges.len() - file.prefix()).sum();
        assert_eq!(journal.pending(), pending);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_does_what_the_model_does(steps in prop::collection::vec(step(), 1..80)) {
        run(steps);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let read = replay(&bytes, Path::new("segment"), 1).unwrap();
        prop_assert!(read.reports.iter().any(|one| one.damage == Damage::Unreadable));
    }

    #[test]
    fn any_payload_decodes_to_a_record_that_encodes_to_the_same(bytes in prop::collection::vec(0..9_u8, 0..60)) {
        if let Some(record) = record::decode(&bytes) {
            let mut batch = format::Batch::default();
            prop_assert!(batch.push(&record));
            let again = batch.payloads().next().unwrap();
            prop_assert_eq!(record::decode(again), Some(record));
        }
    }
}

#[test]
fn where_reading_of_a_file_began_outlives_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let files = [(1, 100), (2, 50), (3, 0)].map(|(n, start)| NewFile { start, ..new_file(n) });
    let ids: Vec<OriginId> = journal.register(files.into(), 1).unwrap().iter().map(|record| record.id).collect();
    for (id, begin) in [(ids[0], 100), (ids[2], 0)] {
        let seq = journal.append(id, range(begin, 10)).unwrap();
        journal.settle(id, seq);
    }
    let starts = |journal: &Journal| journal.list().iter().map(|file| (file.start, file.settled)).collect::<Vec<_>>();
    let expected = [(100, 110), (50, 50), (0, 10)];
    for _ in 0..3 {
        assert_eq!(starts(&journal), expected);
        journal.flush().unwrap();
        journal.snapshot().unwrap();
        journal.close().unwrap();
        journal = reopen(journal, dir.path());
    }
    assert_eq!(starts(&journal), expected);
}
