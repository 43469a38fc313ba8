//! Writes documents. The problem: a document repeats what all lines of its file share (host, path, labels, index), and
//! working that out for every line would cost more than the line itself. So a *shape* is kept for every (topic, host,
//! file, entry, path): its JSON up to the offset, its tail up to the message, and the index of the current hour.

use super::{
    body::{Body, Position, label_text},
    id,
    index::{IndexTemplate, IndexTemplateError},
    json,
    key::{self, Key},
    time::{HOUR_MS, LAST_MS, TimeText},
};
use crate::{
    collection::Delivery,
    flow::{EntryId, PartitionOrigin},
    messages::{Part, Record},
};
use std::{collections::HashMap, sync::Arc};

/// Shapes and places are forgotten, all at once, past this number.
const KEPT: usize = 4096;

/// An index that documents go to.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// The concrete name.
    pub index: Box<str>,
    /// The wildcard of the index template that has to be there before the first write.
    pub pattern: Box<str>,
}

/// Where a record goes and what it is, ready to be written.
#[derive(Clone, Debug)]
pub struct Located {
    pub place: Arc<Place>,
    shape: usize,
    time_ms: u64,
    /// Our OFFSET; `None` for a foreign record.
    offset: Option<u64>,
}

#[derive(Debug)]
struct Shape {
    topic: Arc<str>,
    /// `HOST FILE ` and ` ENTRY PATH` of the key; both empty for foreign records.
    key_head: Box<[u8]>,
    key_tail: Box<[u8]>,
    file: u64,
    entry: Option<EntryId>,
    body: Body,
    place: Option<(u64, Arc<Place>)>,
}

/// An entry's delivery fields, ready for use.
#[derive(Debug)]
struct Known {
    index: Option<IndexTemplate>,
    /// `"labels":{..},` or empty.
    labels: Vec<u8>,
}

/// All that is remembered between documents.
#[derive(Debug)]
pub struct Documents {
    default_index: IndexTemplate,
    entries: HashMap<EntryId, Known>,
    shapes: Vec<Shape>,
    by_key: HashMap<Vec<u8>, usize>,
    last: usize,
    places: HashMap<String, Arc<Place>>,
    time: TimeText,
}

impl Documents {
    pub fn new(default_index: IndexTemplate) -> Self {
        Self {
            default_index,
            entries: HashMap::new(),
            shapes: Vec::new(),
            by_key: HashMap::new(),
            last: 0,
            places: HashMap::new(),
            time: TimeText::default(),
        }
    }

    /// Remembers an entry's delivery fields.
    ///
    /// # Errors
    /// Its index template can't be used.
    pub fn learn(&mut self, entry: EntryId, delivery: &Delivery) -> Result<(), IndexTemplateError> {
        let index = delivery.index.as_deref().map(str::parse).transpose()?;
        let labels = label_text(&delivery.labels);
        self.entries.insert(entry, Known { index, labels });
        Ok(())
    }

    /// Finds out where a record goes. What it answers is good for the next [`write`](Self::write) only.
    ///
    /// # Errors
    /// The record names this entry, which has to be [learnt](Self::learn) first.
    pub fn locate(&mut self, topic: &Arc<str>, key: Option<&[u8]>, record: &Record) -> Result<Located, EntryId> {
        let (shape, time_ms, offset) = match self.ours(topic, key.unwrap_or_default())? {
            Some((shape, key)) => (shape, key.1, Some(key.0)),
            None => (self.foreign(topic), (record.timestamp_ms.max(0) as u64).min(LAST_MS), None),
        };
        self.last = shape;
        Ok(Located { place: self.place(shape, time_ms), shape, time_ms, offset })
    }

    /// Shape, OFFSET and READ_MS of a record of ours.
    #[expect(clippy::type_complexity, reason = "two numbers beside the shape, used in one place")]
    fn ours(&mut self, topic: &Arc<str>, key: &[u8]) -> Result<Option<(usize, (u64, u64))>, EntryId> {
        if let Some(numbers) = self.shapes.get(self.last).and_then(|shape| shape.numbers(topic, key)) {
            return Ok(Some((self.last, numbers)));
        }
        let Some(parsed) = Key::parse(key) else { return Ok(None) };
        let numbers = (parsed.offset, parsed.read_ms);
        let mut name = topic.as_bytes().to_vec();
        let (head, tail) = key_ends(key, &parsed);
        for part in [b" ", head, tail] {
            name.extend_from_slice(part);
        }
        if let Some(&shape) = self.by_key.get(&name) {
            return Ok(Some((shape, numbers)));
        }
        let labels = match parsed.entry {
            Some(entry) => &self.entries.get(&entry).ok_or(entry)?.labels[..],
            None => &[],
        };
        let shape = Shape::ours(topic, &parsed, head, tail, labels);
        Ok(Some((self.keep(name, shape), numbers)))
    }

    fn foreign(&mut self, topic: &Arc<str>) -> usize {
        if let Some(&shape) = self.by_key.get(topic.as_bytes()) {
            return shape;
        }
        self.keep(topic.as_bytes().to_vec(), Shape::foreign(topic))
    }

    fn keep(&mut self, name: Vec<u8>, shape: Shape) -> usize {
        if self.shapes.len() >= KEPT {
            self.shapes.clear();
            self.by_key.clear();
        }
        self.shapes.push(shape);
        self.by_key.insert(name, self.shapes.len() - 1);
        self.shapes.len() - 1
    }

    fn place(&mut self, shape: usize, time_ms: u64) -> Arc<Place> {
        let hour = time_ms / HOUR_MS;
        let shape = &mut self.shapes[shape];
        if let Some((of_hour, place)) = &shape.place
            && *of_hour == hour
        {
            return place.clone();
        }
        let own = shape.entry.and_then(|entry| self.entries.get(&entry)?.index.as_ref());
        let template = own.unwrap_or(&self.default_index);
        let (name, pattern) = (template.name(&shape.topic, time_ms), template.pattern(&shape.topic));
        if self.places.len() >= KEPT {
            self.places.clear();
        }
        let new = || Arc::new(Place { index: name.as_str().into(), pattern: pattern.into() });
        let place = self.places.entry(name.clone()).or_insert_with(new).clone();
        shape.place = Some((hour, place.clone()));
        place
    }

    /// Appends the record's two lines of a bulk body: `create` with index and `_id`, and the document.
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        located: &Located,
        origin: &PartitionOrigin,
        record: &Record,
        part: Part,
        value: &[u8],
    ) {
        let shape = &self.shapes[located.shape];
        out.extend_from_slice(b"{\"create\":{\"_index\":\"");
        json::write_escaped(out, located.place.index.as_bytes());
        out.extend_from_slice(b"\",\"_id\":\"");
        match located.offset {
            Some(offset) => id::write_ours(out, shape.file, offset, value),
            None => id::write_foreign(out, &origin.topic, origin.partition, record.offset, record.timestamp_ms),
        }
        out.extend_from_slice(b"\"}}\n");
        let position = match located.offset {
            Some(offset) => Position::File { offset },
            None => Position::Partition { partition: origin.partition, offset: record.offset },
        };
        shape.body.write(out, (&mut self.time, located.time_ms), position, part, value);
        out.push(b'\n');
    }
}

/// Everything of a key before OFFSET and after READ_MS, spaces included.
fn key_ends<'a>(key: &'a [u8], parsed: &Key<'a>) -> (&'a [u8], &'a [u8]) {
    let tail = 1 + if parsed.entry.is_some() { 8 } else { 1 } + 1 + parsed.path.len();
    (&key[..parsed.host.len() + 18], &key[key.len() - tail..])
}

impl Shape {
    /// OFFSET and READ_MS of a key that has this shape.
    fn numbers(&self, topic: &Arc<str>, key: &[u8]) -> Option<(u64, u64)> {
        if self.key_head.is_empty() || !(Arc::ptr_eq(&self.topic, topic) || self.topic == *topic) {
            return None;
        }
        let middle = key.strip_prefix(&*self.key_head)?.strip_suffix(&*self.key_tail)?;
        let (offset, read_ms) = key::word(middle)?;
        Some((key::valid_offset(offset)?, key::valid_ms(read_ms)?))
    }

    fn ours(topic: &Arc<str>, key: &Key<'_>, head: &[u8], tail: &[u8], labels: &[u8]) -> Self {
        Self {
            topic: topic.clone(),
            key_head: head.into(),
            key_tail: tail.into(),
            file: key.file.0,
            entry: key.entry,
            body: Body::ours(key.host, key.path, key.file, topic, labels),
            place: None,
        }
    }

    fn foreign(topic: &Arc<str>) -> Self {
        Self {
            topic: topic.clone(),
            key_head: Box::default(),
            key_tail: Box::default(),
            file: 0,
            entry: None,
            body: Body::foreign(topic),
            place: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const KEY: &str = "web-01 a41f9c0e77d2b3c8 18273645 1795246112111 - /var/log/nginx/access.log";

    fn write(
        documents: &mut Documents,
        key: Option<&str>,
        part: Part,
        value: &[u8],
    ) -> Result<(Value, Value), EntryId> {
        let origin = PartitionOrigin { id: 1, topic: "nginx_log".into(), partition: 3 };
        let record = Record { offset: 42, timestamp_ms: 1_795_246_200_000, key: None };
        let located = documents.locate(&origin.topic, key.map(str::as_bytes), &record)?;
        let mut out = Vec::new();
        documents.write(&mut out, &located, &origin, &record, part, value);
        let text = String::from_utf8(out).unwrap();
        let (action, document) = text.split_once('\n').unwrap();
        assert!(document.ends_with('\n') && !document.trim_end().contains('\n'));
        Ok((serde_json::from_str(action).unwrap(), serde_json::from_str(document).unwrap()))
    }

    fn documents() -> Documents {
        Documents::new(super::super::DEFAULT_INDEX.parse().unwrap())
    }

    #[test]
    fn a_line_of_ours_has_the_fields_of_the_contract() {
        let (action, document) = write(&mut documents(), Some(KEY), Part::Whole, b"GET \"/\"").unwrap();
        let id = action["create"]["_id"].as_str().unwrap();
        assert_eq!((id.len(), &id[..11]), (27, "pB-cDnfSs8g"));
        assert_eq!(action["create"]["_index"], "logweir-nginx_log-2026.11.21");
        let expected = json!({
            "@timestamp": "2026-11-21T07:28:32.111Z",
            "message": "GET \"/\"",
            "host": {"name": "web-01"},
            "log": {"file": {"path": "/var/log/nginx/access.log"}, "offset": 18_273_645},
            "logweir": {"file": "a41f9c0e77d2b3c8", "topic": "nginx_log"},
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn the_kept_shape_gives_the_same_as_a_new_one() {
        let mut kept = documents();
        let keys = [
            KEY.to_owned(),
            KEY.replace("18273645", "18273700"),
            KEY.replace("1795246112111", "1795332512111"),
            KEY.replace("web-01", "web-02"),
            KEY.replace("access.log", "access.log.1"),
            KEY.replace(" - ", " 0000beef "),
            KEY.to_owned(),
        ];
        let delivery = Delivery { labels: [("env".into(), "a\"b".into())].into(), index: Some("x-{topic}".into()) };
        kept.learn(EntryId(0xbeef), &delivery).unwrap();
        for key in keys {
            let mut new = documents();
            new.learn(EntryId(0xbeef), &delivery).unwrap();
            assert_eq!(write(&mut kept, Some(&key), Part::Whole, b"x"), write(&mut new, Some(&key), Part::Whole, b"x"));
        }
    }

    #[test]
    fn an_entry_gives_labels_and_index_once_it_is_known() {
        let key = KEY.replace(" - ", " 0000beef ");
        let mut documents = documents();
        assert_eq!(write(&mut documents, Some(&key), Part::Whole, b"x"), Err(EntryId(0xbeef)));
        let mut delivery = Delivery { labels: [("env".into(), "prod".into())].into(), index: Some("a-{host}".into()) };
        assert!(documents.learn(EntryId(0xbeef), &delivery).is_err());
        delivery.index = Some("App-%Y".into());
        documents.learn(EntryId(0xbeef), &delivery).unwrap();
        let (action, document) = write(&mut documents, Some(&key), Part::Whole, b"x").unwrap();
        assert_eq!((&action["create"]["_index"], &document["labels"]), (&json!("app-2026"), &json!({"env": "prod"})));
    }

    #[test]
    fn a_foreign_record_is_known_by_its_place_in_kafka() {
        for key in [None, Some("user-42"), Some("web-01 a41f9c0e77d2b3c8 1 253402300800000 - /p")] {
            let (action, document) = write(&mut documents(), key, Part::Whole, b"x").unwrap();
            assert!(action["create"]["_id"].as_str().unwrap().len() > 27);
            assert_eq!(action["create"]["_index"], "logweir-nginx_log-2026.11.21");
            let expected = json!({
                "@timestamp": "2026-11-21T07:30:00.000Z",
                "message": "x",
                "logweir": {"topic": "nginx_log", "partition": 3, "offset": 42},
            });
            assert_eq!(document, expected);
        }
    }

    #[test]
    fn invalid_utf8_and_parts_are_marked() {
        let (_, document) = write(&mut documents(), Some(KEY), Part::Nth(2), b"a\xffb").unwrap();
        assert_eq!(document["message"], "a\u{fffd}b");
        assert_eq!((&document["logweir"]["invalid_utf8"], &document["logweir"]["part"]), (&json!(true), &json!("2")));
        let (_, document) = write(&mut documents(), Some(KEY), Part::Last, b"a").unwrap();
        assert_eq!(
            (&document["logweir"]["invalid_utf8"], &document["logweir"]["part"]),
            (&json!(null), &json!("last"))
        );
    }

    #[test]
    fn the_index_follows_the_read_time_when_a_clock_jumps_a_day_and_back() {
        let mut documents = documents();
        let mut index = |ms: u64| {
            let key = KEY.replace("1795246112111", &ms.to_string());
            write(&mut documents, Some(&key), Part::Whole, b"x").unwrap().0["create"]["_index"].clone()
        };
        let now = 1_795_246_112_111;
        assert_eq!(index(now), "logweir-nginx_log-2026.11.21");
        assert_eq!(index(now + 86_400_000), "logweir-nginx_log-2026.11.22");
        assert_eq!(index(now - 86_400_000), "logweir-nginx_log-2026.11.20");
        assert_eq!(index(now), "logweir-nginx_log-2026.11.21");
        assert_eq!(index(0), "logweir-nginx_log-1970.01.01");
    }
}
