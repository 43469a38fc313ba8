//! Lines on their way into the index. The problem: hundreds of thousands a second, so a line must not be copied field by
//! field: a document is a number within its batch, and what the index asks for is read from there. The batch, and with
//! it the credit that bounds memory, goes when its last document is indexed.

use super::{Day, Fields};
use crate::{
    document::FileDocuments,
    flow::{Chunk, Credit, FileId},
    messages::{Line, LineBatch, Part},
};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};
use tantivy::schema::{
    Field,
    document::{Document, ReferenceValue, ReferenceValueLeaf, Value},
};

/// Distinct dynamic fields that are indexed of one day. A document's other fields are in its source only.
const MAX_FIELDS: usize = 1000;

/// Which dynamic fields of a day are indexed.
#[derive(Debug, Default)]
pub struct FieldLimit {
    known: HashSet<Box<str>>,
    left_out: HashSet<Box<str>>,
}

/// Fields that the index itself gives some documents; their places are never taken by others.
const OWN: [&str; 2] = ["logweir.part", "logweir.invalid_utf8"];

impl FieldLimit {
    /// With the fields that the day has already.
    pub fn new(known: impl IntoIterator<Item = String>) -> Self {
        let known = known.into_iter().map(Into::into).chain(OWN.map(Into::into));
        Self { known: known.collect(), left_out: HashSet::new() }
    }

    /// Whether the field is indexed. Its first use takes a place.
    pub fn admits(&mut self, name: &str) -> bool {
        if self.known.contains(name) {
            return true;
        }
        if self.known.len() < MAX_FIELDS {
            return self.known.insert(name.into());
        }
        // Counted, but not without end.
        if self.left_out.len() < MAX_FIELDS * 100 {
            self.left_out.insert(name.into());
        }
        false
    }

    /// Different fields that were left out.
    pub fn left_out(&self) -> u64 {
        self.left_out.len() as u64
    }
}

/// The lines of one batch, ready to be indexed.
#[derive(Debug)]
pub struct Lines {
    data: Chunk,
    lines: Vec<Line>,
    begin: u64,
    read_ms: u64,
    /// Given back when the last of these documents is indexed.
    _credit: Credit,
    file: FileId,
    /// The documents' JSON, one behind the other, and where each ends.
    json: Vec<u8>,
    ends: Vec<usize>,
    shared: Arc<[(Box<str>, Box<str>)]>,
    /// Values of lines that aren't UTF-8, by the line's number.
    repaired: HashMap<u32, Box<str>>,
    parts: HashMap<u32, Box<str>>,
}

impl Lines {
    /// Of a batch of a file's. `shared`: the fields that all its lines have and that are to be indexed.
    pub fn new(
        batch: LineBatch,
        file: FileId,
        documents: &mut FileDocuments,
        shared: Arc<[(Box<str>, Box<str>)]>,
    ) -> Self {
        Self::of((batch.data, batch.lines, batch.begin, batch.read_ms), batch.credit, file, documents, shared)
    }

    /// Of bytes, the lines in them, the position of the first byte in its file, and READ_MS.
    pub fn of(
        (data, lines, begin, read_ms): (Chunk, Vec<Line>, u64, u64),
        credit: Credit,
        file: FileId,
        documents: &mut FileDocuments,
        shared: Arc<[(Box<str>, Box<str>)]>,
    ) -> Self {
        let mut json = Vec::with_capacity(data.len() + lines.len() * 256);
        let (mut ends, mut repaired, mut parts) = (Vec::with_capacity(lines.len()), HashMap::new(), HashMap::new());
        for (number, line) in (0u32..).zip(&lines) {
            let value = &data[line.start as usize..][..line.len as usize];
            documents.write(&mut json, read_ms, begin + u64::from(line.start), line.part, value);
            ends.push(json.len());
            if let Cow::Owned(text) = String::from_utf8_lossy(value) {
                repaired.insert(number, text.into());
            }
            match line.part {
                Part::Whole => {}
                Part::Nth(n) => _ = parts.insert(number, n.to_string().into()),
                Part::Last => _ = parts.insert(number, "last".into()),
            }
        }
        Self { data, lines, begin, read_ms, _credit: credit, file, json, ends, shared, repaired, parts }
    }

    pub fn day(&self) -> Day {
        Day::of_ms(self.read_ms)
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The JSON of all documents, one behind the other.
    pub(super) fn json(&self) -> &[u8] {
        &self.json
    }

    /// Where each document ends there.
    pub(super) fn ends(&self) -> &[usize] {
        &self.ends
    }

    fn source(&self, number: usize) -> &[u8] {
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.json[begin..self.ends[number]]
    }

    fn message(&self, number: u32) -> &str {
        match self.repaired.get(&number) {
            Some(text) => text,
            None => {
                let line = &self.lines[number as usize];
                std::str::from_utf8(&self.data[line.start as usize..][..line.len as usize]).unwrap_or_default()
            }
        }
    }
}

/// One line of a batch, as tantivy takes documents.
#[derive(Clone, Debug)]
pub struct LineDocument {
    lines: Arc<Lines>,
    number: u32,
}

impl LineDocument {
    /// The documents of these lines, in their order.
    pub fn all(lines: &Arc<Lines>) -> impl ExactSizeIterator<Item = Self> {
        let lines = lines.clone();
        (0..lines.len() as u32).map(move |number| Self { lines: lines.clone(), number })
    }
}

/// A field's value.
#[derive(Clone, Debug)]
pub enum LineValue<'a> {
    Leaf(ReferenceValueLeaf<'a>),
    /// All dynamic fields of the document.
    Dynamic(&'a LineDocument),
}

impl Document for LineDocument {
    type Value<'a> = LineValue<'a>;
    type FieldsValuesIter<'a> = std::array::IntoIter<(Field, LineValue<'a>), 6>;

    fn iter_fields_and_values(&self) -> Self::FieldsValuesIter<'_> {
        static FIELDS: OnceLock<Fields> = OnceLock::new();
        let fields = FIELDS.get_or_init(Fields::get);
        let (lines, number) = (&*self.lines, self.number as usize);
        let offset = lines.begin + u64::from(lines.lines[number].start);
        let leaf = LineValue::Leaf;
        [
            (fields.message, leaf(ReferenceValueLeaf::Str(lines.message(self.number)))),
            (fields.time, leaf(ReferenceValueLeaf::I64(lines.read_ms as i64))),
            (fields.offset, leaf(ReferenceValueLeaf::U64(offset))),
            (fields.file, leaf(ReferenceValueLeaf::U64(lines.file.0))),
            (fields.fields, LineValue::Dynamic(self)),
            (fields.source, leaf(ReferenceValueLeaf::Bytes(lines.source(number)))),
        ]
        .into_iter()
    }
}

/// The dynamic fields of a document, one after the other.
pub struct DynamicFields<'a> {
    shared: std::slice::Iter<'a, (Box<str>, Box<str>)>,
    own: std::array::IntoIter<Option<(&'a str, LineValue<'a>)>, 2>,
}

impl<'a> Iterator for DynamicFields<'a> {
    type Item = (&'a str, LineValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self.shared.next() {
            Some((name, value)) => Some((name, LineValue::Leaf(ReferenceValueLeaf::Str(value)))),
            None => self.own.by_ref().flatten().next(),
        }
    }
}

impl<'a> Value<'a> for LineValue<'a> {
    type ArrayIter = std::iter::Empty<Self>;
    type ObjectIter = DynamicFields<'a>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        match self {
            Self::Leaf(leaf) => ReferenceValue::Leaf(leaf.clone()),
            Self::Dynamic(LineDocument { lines, number }) => {
                let part = lines.parts.get(number).map(|part| ReferenceValueLeaf::Str(part));
                let invalid = lines.repaired.contains_key(number).then_some(ReferenceValueLeaf::Bool(true));
                let own = [("logweir.part", part), ("logweir.invalid_utf8", invalid)];
                let own = own.map(|(name, value)| Some((name, LineValue::Leaf(value?))));
                ReferenceValue::Object(DynamicFields { shared: lines.shared.iter(), own: own.into_iter() })
            }
        }
    }
}
