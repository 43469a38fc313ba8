//! A day is written and found again, by those who write it and by those who only read.

use super::*;
use crate::{
    collection::Delivery,
    document::FileDocuments,
    flow::{Credit, FileId, FileOrigin, Origin, PartitionRule},
    messages::{Line, LineBatch, Part, Settled},
    telemetry::{ActorStats, Mailbox},
};
use actix::prelude::*;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tantivy::{
    Searcher, Term,
    collector::{Count, DocSetCollector},
    query::{PhraseQuery, Query, TermQuery},
    schema::{IndexRecordOption, TantivyDocument, Value},
};

const DAY_MS: u64 = 86_400_000;
const NOW: u64 = 1_795_246_112_111;

struct Nobody;
impl Actor for Nobody {
    type Context = Context<Self>;
}
impl Handler<Settled> for Nobody {
    type Result = ();
    fn handle(&mut self, _: Settled, _: &mut Self::Context) {}
}

/// A batch of whole lines that begins at `begin`.
fn batch(begin: u64, read_ms: u64, values: &[&[u8]], part: Part) -> LineBatch {
    let (mut data, mut lines) = (Vec::new(), Vec::new());
    for value in values {
        lines.push(Line { start: data.len() as u32, len: value.len() as u32, part });
        data.extend_from_slice(value);
        data.push(b'\n');
    }
    let origin = FileOrigin {
        id: 7,
        topic: "t".into(),
        partition: PartitionRule::File,
        host: "h".into(),
        file: FileId(0xabc),
        entry: None,
        path: (*b"/var/log/a.log").into(),
    };
    LineBatch {
        origin: Origin::File(Arc::new(origin)),
        seq: 1,
        begin,
        end: begin + data.len() as u64,
        read_ms,
        data: data.into(),
        lines,
        records: Vec::new(),
        credit: Credit::none(),
        settle_to: Mailbox::new(Nobody.start().recipient(), ActorStats::new("nobody", 1)),
    }
}

fn lines(batch: LineBatch, labels: &BTreeMap<String, String>, limit: &mut FieldLimit) -> Lines {
    let Origin::File(origin) = batch.origin.clone() else { panic!("no file") };
    let delivery = Delivery { labels: labels.clone(), index: None };
    let mut documents = FileDocuments::new(&origin, Some(&delivery));
    let shared = documents.fields().iter().filter(|(name, _)| limit.admits(name)).cloned().collect();
    Lines::new(batch, origin.file, &mut documents, shared)
}

fn open(dir: &Path) -> IndexSet {
    let (set, damaged) = IndexSet::open(&IndexFolder::open(dir).unwrap()).unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    set
}

fn write(set: &IndexSet, batch: LineBatch, labels: &BTreeMap<String, String>) {
    let mut writer = DayWriter::open(set, Day::of_ms(batch.read_ms), WriterMemory::default()).unwrap();
    let lines = lines(batch, labels, writer.limit());
    writer.add(lines).unwrap();
    writer.commit("1 0000000000000abc:1").unwrap();
    writer.finish().join().unwrap();
}

fn count(set: &IndexSet, query: &dyn Query) -> usize {
    set.snapshot().iter().map(|day| day.searcher.search(query, &Count).unwrap()).sum()
}

fn word(text: &str) -> TermQuery {
    TermQuery::new(Term::from_field_text(Fields::get().message, text), IndexRecordOption::Basic)
}

fn keyword(name: &str, value: &str) -> TermQuery {
    let mut term = Term::from_field_json_path(Fields::get().fields, name, true);
    term.append_type_and_str(value);
    TermQuery::new(term, IndexRecordOption::Basic)
}

fn sources(searcher: &Searcher) -> Vec<serde_json::Value> {
    let found = searcher.search(&tantivy::query::AllQuery, &DocSetCollector).unwrap();
    let source = |address| {
        let document: TantivyDocument = searcher.doc(address).unwrap();
        let bytes = document.get_first(Fields::get().source).and_then(|value| value.as_bytes()).unwrap().to_vec();
        serde_json::from_slice(&bytes).unwrap()
    };
    found.into_iter().map(source).collect()
}

#[actix_rt::test]
async fn lines_are_found_by_words_phrases_and_fields_in_their_day() {
    let dir = tempfile::tempdir().unwrap();
    let set = open(dir.path());
    let labels = [("team".to_owned(), "web front".to_owned())].into();
    write(&set, batch(100, NOW, &[b"GET /Read_Timeout 503", b"x\xffy"], Part::Whole), &labels);
    write(&set, batch(200, NOW + DAY_MS, &[b"read a timeout"], Part::Nth(2)), &labels);
    // A reader of its own, as after a restart, sees the same.
    for set in [set.clone(), open(dir.path())] {
        let days: Vec<String> = set.snapshot().iter().map(|day| day.day.to_string()).collect();
        assert_eq!(days, ["2026-11-21", "2026-11-22"]);
        assert_eq!((count(&set, &word("timeout")), count(&set, &word("read_timeout"))), (2, 0));
        let terms = ["read", "timeout"].map(|text| Term::from_field_text(Fields::get().message, text));
        assert_eq!(count(&set, &PhraseQuery::new(terms.into())), 1);
        assert_eq!(count(&set, &keyword("labels.team", "web front")), 3);
        assert_eq!((count(&set, &keyword("host.name", "h")), count(&set, &keyword("logweir.part", "2"))), (3, 1));
        let file = TermQuery::new(Term::from_field_u64(Fields::get().file, 0xabc), IndexRecordOption::Basic);
        assert_eq!(count(&set, &file), 3);
        assert_eq!(set.payloads().unwrap(), ["1 0000000000000abc:1"; 2]);
    }
    let snapshot = set.snapshot();
    let mut messages: Vec<String> =
        sources(&snapshot[0].searcher).iter().map(|d| format!("{} {}", d["log"]["offset"], d["message"])).collect();
    messages.sort();
    assert_eq!(messages, ["100 \"GET /Read_Timeout 503\"", "122 \"x\u{fffd}y\""]);
    let segment = snapshot[0].searcher.segment_reader(0);
    let column = segment.fast_fields().str("fields.labels.team").unwrap().unwrap();
    assert_eq!(column.num_terms(), 1);
}

#[actix_rt::test]
async fn what_is_not_committed_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let set = open(dir.path());
    let mut writer = DayWriter::open(&set, Day::of_ms(NOW), WriterMemory::default()).unwrap();
    let none = BTreeMap::new();
    let lost = lines(batch(0, NOW, &[b"lost"], Part::Whole), &none, writer.limit());
    writer.add(lost).unwrap();
    drop(writer);
    write(&set, batch(0, NOW, &[b"kept"], Part::Whole), &none);
    assert_eq!((count(&set, &word("lost")), count(&set, &word("kept"))), (0, 1));
}

#[actix_rt::test]
async fn a_lock_that_a_starting_child_still_holds_is_awaited() {
    let dir = tempfile::tempdir().unwrap();
    let set = open(dir.path());
    write(&set, batch(0, NOW, &[b"one"], Part::Whole), &BTreeMap::new());
    let folder = IndexFolder::open(dir.path()).unwrap();
    let lock = std::fs::File::open(folder.of(Day::of_ms(NOW)).join(".tantivy-writer.lock")).unwrap();
    lock.try_lock().unwrap();
    let release = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(30));
        drop(lock);
    });
    assert!(DayWriter::open(&set, Day::of_ms(NOW), WriterMemory::default()).is_ok());
    release.join().unwrap();
}

#[actix_rt::test]
async fn ten_thousand_fields_leave_the_index_small_and_the_documents_whole() {
    let dir = tempfile::tempdir().unwrap();
    let set = open(dir.path());
    let labels: BTreeMap<_, _> = (0..10_000).map(|n| (format!("f{n:05}"), "v".to_owned())).collect();
    write(&set, batch(0, NOW, &[b"many"], Part::Whole), &labels);
    assert_eq!((count(&set, &keyword("labels.f00000", "v")), count(&set, &keyword("labels.f09999", "v"))), (1, 0));
    assert_eq!(sources(&set.snapshot()[0].searcher)[0]["labels"].as_object().unwrap().len(), 10_000);
    // The places stay taken when the day is opened again.
    let mut writer = DayWriter::open(&open(dir.path()), Day::of_ms(NOW), WriterMemory::default()).unwrap();
    assert!(writer.limit().admits("labels.f00000") && !writer.limit().admits("labels.new"));
}

#[actix_rt::test]
async fn a_damaged_day_is_told_and_the_others_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let set = open(dir.path());
    let none = BTreeMap::new();
    write(&set, batch(0, NOW, &[b"one"], Part::Whole), &none);
    write(&set, batch(0, NOW + DAY_MS, &[b"two"], Part::Whole), &none);
    let folder = IndexFolder::open(dir.path()).unwrap();
    let files = std::fs::read_dir(folder.of(Day::of_ms(NOW))).unwrap().flatten();
    let idx = files.map(|file| file.path()).find(|path| path.extension().is_some_and(|e| e == "idx")).unwrap();
    std::fs::write(&idx, b"short").unwrap();
    let (set, damaged) = IndexSet::open(&folder).unwrap();
    assert!(matches!(damaged[..], [IndexError::Damaged { day, .. }] if day == Day::of_ms(NOW)), "{damaged:?}");
    assert_eq!(set.days(), [Day::of_ms(NOW + DAY_MS)]);
}

#[actix_rt::test]
async fn a_day_that_was_taken_away_is_found_and_set_aside_with_what_is_still_known_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let set = open(dir.path());
    let day = Day::of_ms(NOW);
    let labels = [("team".to_owned(), "shop".to_owned())].into();
    write(&set, batch(0, NOW, &[b"one"], Part::Whole), &labels);
    write(&set, batch(0, NOW + DAY_MS, &[b"two"], Part::Whole), &labels);
    assert_eq!(set.verify(), 0);
    std::fs::remove_dir_all(set.folder().of(day)).unwrap();
    set.look();
    assert_eq!((set.damaged(), set.days()), (vec![day], vec![Day::of_ms(NOW + DAY_MS)]));
    let (found, reason) = set.next_damaged();
    assert_eq!((found, &*reason), (day, "its files are gone"));
    // Somebody who hadn't heard of it made the day anew meanwhile.
    set.open_day(day).unwrap();
    set.set_aside(day, &reason).unwrap();
    let aside = set.folder().to_rebuild().unwrap();
    let salvage = Salvage::read(&aside[0].1);
    assert!(salvage.is_whole() && salvage.len() == 1);
    assert_eq!(salvage.line(FileId(0xabc), 0), Some((NOW, &labels)));
    set.mended(day);
    assert!(set.damaged().is_empty());
}

#[actix_rt::test]
async fn of_a_day_that_is_set_aside_with_what_names_its_segments_each_line_is_known_once() {
    let dir = tempfile::tempdir().unwrap();
    let set = open(dir.path());
    write(&set, batch(0, NOW, &[b"one", b"two"], Part::Whole), &BTreeMap::new());
    set.set_aside(Day::of_ms(NOW), "a test").unwrap();
    let aside = set.folder().to_rebuild().unwrap();
    assert_eq!(Salvage::read(&aside[0].1).len(), 2);
}

#[actix_rt::test]
async fn a_missing_file_is_damage_and_a_folder_without_what_names_its_segments_is_no_empty_day() {
    let dir = tempfile::tempdir().unwrap();
    let set = open(dir.path());
    let day = Day::of_ms(NOW);
    write(&set, batch(0, NOW, &[b"one"], Part::Whole), &BTreeMap::new());
    let files = std::fs::read_dir(set.folder().of(day)).unwrap().flatten().map(|file| file.path());
    let column = files.into_iter().find(|path| path.extension().is_some_and(|end| end == "pos")).unwrap();
    std::fs::remove_file(column).unwrap();
    assert_eq!((set.verify(), set.damaged()), (1, vec![day]));
    std::fs::remove_file(set.folder().of(day).join("meta.json")).unwrap();
    let (set, damaged) = IndexSet::open(set.folder()).unwrap();
    assert!(matches!(damaged[..], [IndexError::Damaged { .. }]) && set.days().is_empty(), "{damaged:?}");
}
