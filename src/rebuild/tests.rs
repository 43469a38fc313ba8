use super::*;
use crate::{
    flow::{EntryId, FileId},
    index::{Day, Fields, IndexFolder, Salvage},
    journal::{Fingerprint, Range, RangeEnd},
    messages::Part,
    tail,
};
use serde_json::{Value, json};
use std::path::Path;
use tantivy::{
    collector::DocSetCollector,
    query::AllQuery,
    schema::{TantivyDocument, Value as _},
};

const FILE: FileId = FileId(0xabc);
const NOW: u64 = 1_795_246_112_111;
const DAY_MS: u64 = 86_400_000;
const TEXT: &[u8] = b"one\n\ntwo\nthree\nfour\nfive\n";

/// A day's line: its place, when it was read, its labels.
type Wrote = (u64, &'static str, u64, Option<&'static str>);

const ONE: Wrote = (0, "one", NOW, Some("shop"));
const TWO: Wrote = (5, "two", NOW + 1, None);
const FOUR: Wrote = (15, "four", NOW + 2, Some("pay"));

struct House {
    dir: tempfile::TempDir,
    record: FileRecord,
}

impl House {
    /// A file of five lines, all settled. The third one is of the next day; the fifth of a day that was removed.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        std::fs::write(&path, TEXT).unwrap();
        let opened = tail::open(&path).unwrap();
        let record = FileRecord {
            id: 7,
            file: FILE,
            path: path.clone(),
            current_path: path,
            topic: "t".into(),
            dev: opened.dev,
            ino: opened.ino,
            head: Fingerprint::default(),
            start: 0,
            settled: TEXT.len() as u64,
            position: TEXT.len() as u64,
            parts_before: 0,
            back: Fingerprint::default(),
            pending: Vec::new(),
        };
        let house = Self { dir, record };
        house.write(&house.open(), Day::of_ms(NOW), &[ONE, TWO, FOUR]);
        house.write(&house.open(), Day::of_ms(NOW + DAY_MS), &[(9, "three", NOW + DAY_MS, None)]);
        house
    }

    fn open(&self) -> IndexSet {
        IndexSet::open(&IndexFolder::open(self.dir.path()).unwrap()).unwrap().0
    }

    fn write(&self, set: &IndexSet, day: Day, lines: &[Wrote]) {
        let mut writer = DayWriter::open(set, day, WriterMemory::default()).unwrap();
        for &(begin, text, read_ms, team) in lines {
            let labels = team.map(|team| ("team".to_owned(), team.to_owned())).into_iter().collect();
            let mut documents = FileDocuments::new(&origin(&self.record, "h"), Some(&Delivery { labels, index: None }));
            let shared = documents.fields().into();
            let line = Line { start: 0, len: text.len() as u32, part: Part::Whole };
            let bytes = (text.as_bytes().to_vec().into(), vec![line], begin, read_ms);
            writer.add(Lines::of(bytes, Credit::none(), FILE, &mut documents, shared)).unwrap();
        }
        writer.commit("1").unwrap();
        writer.finish().join().unwrap();
    }

    /// Another text in its file, collected on the first day with this limit, and its documents as they are then.
    fn of_long_lines(text: &[u8], start: usize, max_line_bytes: u32) -> (Self, Vec<Value>) {
        let mut house = Self::new();
        let (set, day) = (house.open(), Day::of_ms(NOW));
        set.days().into_iter().for_each(|day| set.remove(day).unwrap());
        std::fs::write(&house.record.path, text).unwrap();
        house.record.start = start as u64;
        (house.record.settled, house.record.position) = (text.len() as u64, text.len() as u64);
        let mut writer = DayWriter::open(&set, day, WriterMemory::default()).unwrap();
        let cut = tail::cut(&text[start..], 0, max_line_bytes, tail::Rest::File, 99);
        let mut documents = FileDocuments::new(&origin(&house.record, "h"), None);
        let shared = documents.fields().into();
        let bytes = (text[start..].to_vec().into(), cut.lines, start as u64, NOW);
        writer.add(Lines::of(bytes, Credit::none(), FILE, &mut documents, shared)).unwrap();
        writer.commit("1").unwrap();
        writer.finish().join().unwrap();
        let before = documents_of(&set, day);
        (house, before)
    }

    /// Spoils files of the first day, sets it aside, and rebuilds it with what its folder and these ranges tell.
    fn rebuild(&self, spoilt: &[&str], ranges: &[(FileId, Range)]) -> (Rebuilt, IndexSet) {
        self.rebuild_with(spoilt, ranges, None)
    }

    /// The same where the files' entry has this limit now.
    fn rebuild_with(
        &self,
        spoilt: &[&str],
        ranges: &[(FileId, Range)],
        max_line_bytes: Option<u32>,
    ) -> (Rebuilt, IndexSet) {
        let (day, set) = (Day::of_ms(NOW), self.open());
        let aside = set.folder().set_aside(day).unwrap();
        for path in std::fs::read_dir(&aside).unwrap().flatten().map(|file| file.path()) {
            if path.extension().is_some_and(|end| spoilt.iter().any(|spoilt| end == *spoilt)) {
                let mut bytes = std::fs::read(&path).unwrap();
                bytes[0] ^= 1;
                std::fs::write(path, bytes).unwrap();
            }
        }
        let texts = |EntryId(id)| {
            (id == 5)
                .then(|| Arc::new(Delivery { labels: [("team".to_owned(), "shop".to_owned())].into(), index: None }))
        };
        let memory = Memory::new(day, Salvage::read(&aside), ranges, texts).with_limits(move |_| max_line_bytes);
        let set = self.open();
        let records = [self.record.clone(), gone(&self.record)];
        let rebuilt = rebuild(&set, &memory, &records, "h", WriterMemory::default()).unwrap();
        (rebuilt, set)
    }
}

fn gone(record: &FileRecord) -> FileRecord {
    FileRecord { file: FileId(1), current_path: "/no/such.log".into(), ..record.clone() }
}

fn documents_of(set: &IndexSet, day: Day) -> Vec<Value> {
    let mut all = Vec::new();
    for one in set.snapshot().iter().filter(|one| one.day == day) {
        for address in one.searcher.search(&AllQuery, &DocSetCollector).unwrap() {
            let document: TantivyDocument = one.searcher.doc(address).unwrap();
            let source = document.get_first(Fields::get().source).and_then(|value| value.as_bytes()).unwrap();
            all.push(serde_json::from_slice::<Value>(source).unwrap());
        }
    }
    all.sort_by_key(|document| document["log"]["offset"].as_u64());
    all
}

fn range(begin: u64, end: u64, read_ms: u64, entry: Option<u32>) -> (FileId, Range) {
    let range = Range {
        begin,
        end,
        read_ms,
        parts_before: 0,
        ends_with: RangeEnd::Line,
        parts_after: 0,
        max_line_bytes: 1000,
        entry: entry.map(EntryId),
        partition: PartitionRule::File,
        back: Fingerprint::default(),
    };
    (FILE, range)
}

fn told<'a>(documents: &'a [Value]) -> Vec<(&'a str, &'a str, &'a Value)> {
    let of = |document: &'a Value| {
        let text = |name: &str| Value::as_str(&document[name]).unwrap();
        (text("message"), text("@timestamp"), &document["labels"])
    };
    documents.iter().map(of).collect()
}

#[actix_rt::test]
async fn a_day_whose_columns_are_sound_comes_back_as_it_was_without_lines_of_other_days() {
    let (house, day) = (House::new(), Day::of_ms(NOW));
    let before = documents_of(&house.open(), day);
    assert_eq!(before.len(), 3);
    let (rebuilt, set) = house.rebuild(&["store", "idx", "pos", "term"], &[]);
    let gone = vec![PathBuf::from("/no/such.log")];
    assert_eq!(rebuilt, Rebuilt { lines: 3, without_time: 0, gone, unreadable: Vec::new() });
    assert_eq!(documents_of(&set, day), before);
    assert_eq!(documents_of(&set, Day::of_ms(NOW + DAY_MS)).len(), 1, "the other day is as it was");
    // Done again, as after one that was cut short: only what isn't there is added.
    let memory = Memory::new(day, Salvage::default(), &[range(20, 25, NOW + 7, None)], |_| None);
    let again = rebuild(&set, &memory, std::slice::from_ref(&house.record), "h", WriterMemory::default()).unwrap();
    let after = documents_of(&set, day);
    assert_eq!((again.lines, &after[..3], told(&after)[3].0), (1, &before[..], "five"));
}

#[actix_rt::test]
async fn a_file_that_was_rotated_is_found_and_one_that_cannot_be_read_is_not_gone() {
    let (house, day) = (House::new(), Day::of_ms(NOW));
    let before = documents_of(&house.open(), day);
    let moved = house.dir.path().join("app.log.1");
    std::fs::rename(&house.record.path, &moved).unwrap();
    std::fs::write(&house.record.path, "a new file of the old name\n").unwrap();
    // Whether a file of such a name is there can't be asked.
    let unasked = house.dir.path().join("x".repeat(300));
    let unreadable = FileRecord { file: FileId(2), current_path: unasked.clone(), ..house.record.clone() };
    let (day_set, set) = (house.open().folder().set_aside(day).unwrap(), house.open());
    let memory = Memory::new(day, Salvage::read(&day_set), &[], |_| None);
    let records = [unreadable, house.record.clone()];
    let rebuilt = rebuild(&set, &memory, &records, "h", WriterMemory::default()).unwrap();
    assert_eq!((rebuilt.lines, rebuilt.gone, rebuilt.unreadable), (3, Vec::new(), vec![unasked]));
    assert_eq!(told(&documents_of(&set, day)).len(), before.len());
}

#[actix_rt::test]
async fn without_columns_the_journal_tells_and_what_nobody_knows_stands_at_the_days_beginning() {
    let house = House::new();
    // Of "two", nobody knows; "five" was read on another day.
    let ranges =
        [range(0, 5, NOW + 9, None), range(0, 5, NOW, Some(5)), range(15, 20, NOW, Some(6)), range(20, 25, 5, None)];
    let (rebuilt, set) = house.rebuild(&["fast"], &ranges);
    assert_eq!((rebuilt.lines, rebuilt.without_time), (3, 1));
    let team = json!({ "team": "shop" });
    let expected = vec![
        ("one", "2026-11-21T07:28:32.111Z", &team),
        ("two", "2026-11-21T00:00:00.000Z", &Value::Null),
        // Its entry's text is gone.
        ("four", "2026-11-21T07:28:32.111Z", &Value::Null),
    ];
    assert_eq!(told(&documents_of(&set, Day::of_ms(NOW))), expected);
}

#[actix_rt::test]
async fn a_folder_without_anything_to_read_leaves_the_files() {
    let house = House::new();
    let (rebuilt, set) = house.rebuild(&["json", "fast", "store", "idx"], &[]);
    // The fifth, too: nobody knows that its day was removed.
    assert_eq!((rebuilt.lines, rebuilt.without_time, documents_of(&set, Day::of_ms(NOW)).len()), (4, 4, 4));
    assert!(Salvage::read(Path::new("/no/such")).is_empty());
}

#[actix_rt::test]
async fn long_lines_come_back_in_the_parts_that_they_had() {
    let text = format!("short\n{}\r\n{}\n", "0123456789".repeat(5), "x".repeat(40));
    let (house, before) = House::of_long_lines(text.as_bytes(), 0, 20);
    let parts: Vec<_> = before.iter().map(|document| &document["logweir"]["part"]).collect();
    assert_eq!(parts, [&Value::Null, &json!("1"), &json!("2"), &json!("last"), &json!("1"), &json!("last")]);
    // The day's own columns tell where they were cut, whatever the limit is now.
    let (_, set) = house.rebuild_with(&["store"], &[], Some(1000));
    assert_eq!(documents_of(&set, Day::of_ms(NOW)), before);
    drop(set);
    // Without them the journal, here of the second line, from its second part on; or the entry.
    let range = |begin, end, parts_before, ends_with, parts_after| {
        let (file, range) = range(begin, end, NOW, None);
        (file, Range { parts_before, ends_with, parts_after, max_line_bytes: 20, ..range })
    };
    let ranges =
        [range(0, 26, 0, RangeEnd::Part, 1), range(26, 58, 1, RangeEnd::Line, 0), range(58, 99, 0, RangeEnd::Line, 0)];
    let (rebuilt, set) = house.rebuild_with(&["fast"], &ranges, Some(1000));
    assert_eq!((documents_of(&set, Day::of_ms(NOW)), rebuilt.without_time), (before.clone(), 0));
    drop(set);
    let (rebuilt, set) = house.rebuild_with(&["fast"], &[], Some(20));
    let messages = |of: &[Value]| -> Vec<_> {
        of.iter().map(|of| (of["log"].clone(), of["message"].clone(), of["logweir"].clone())).collect()
    };
    assert_eq!(messages(&documents_of(&set, Day::of_ms(NOW))), messages(&before));
    assert_eq!(rebuilt.without_time, 6);
}

#[actix_rt::test]
async fn what_stands_before_the_place_where_reading_began_does_not_come_along() {
    let (house, before) = House::of_long_lines(b"never\nasked for\nwanted\nthis\n", 16, 1000);
    assert_eq!(before.len(), 2);
    let (rebuilt, set) = house.rebuild(&["fast"], &[]);
    assert_eq!((rebuilt.lines, rebuilt.without_time), (2, 2));
    let places = |of: &[Value]| -> Vec<Value> { of.iter().map(|of| of["log"].clone()).collect() };
    assert_eq!(places(&documents_of(&set, Day::of_ms(NOW))), places(&before));
}
