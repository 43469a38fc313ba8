//! A page of hits. The problem: "the newest fifty" of ten million must not look at ten million; a day, a segment and a
//! line whose time can't be among them any more is left out, whatever thread has found that out.

use super::{
    super::{
        budget::Room,
        cursor,
        model::{Hit, Order, Page, PageRequest, SearchError},
        value::flat,
    },
    plan,
    scan::{Scan, Segment},
};
use crate::index::{DaySearcher, Fields};
use serde_json::Value;
use std::{
    collections::BinaryHeap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tantivy::{DocAddress, TantivyDocument, columnar::ColumnValues, schema::Value as _};

const SIGN: u64 = 1 << 63;

/// A document's place in an order: the smallest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    time: u64,
    file: u64,
    offset: u64,
}

impl Key {
    fn time(order: Order, ms: i64) -> u64 {
        turned(order, ms as u64 ^ SIGN)
    }

    fn new(order: Order, ms: i64, file: u64, offset: u64) -> Self {
        Self { time: Self::time(order, ms), file: turned(order, file), offset: turned(order, offset) }
    }

    fn ms(self, order: Order) -> i64 {
        (turned(order, self.time) ^ SIGN) as i64
    }

    fn cursor(self, order: Order) -> String {
        let file = format!("{:016x}", turned(order, self.file));
        cursor::write(order, &[self.ms(order).into(), file.into(), turned(order, self.offset).into()])
    }

    fn of_cursor(order: Order, text: &str) -> Result<Self, SearchError> {
        let values = cursor::read(order, text)?;
        let key = match &values[..] {
            [ms, Value::String(file), offset] => ms.as_i64().zip(plan::file_number(file)).zip(offset.as_u64()),
            _ => None,
        };
        let ((ms, file), offset) =
            key.ok_or_else(|| SearchError::Refused("`after` is a cursor of another index".to_owned()))?;
        Ok(Self::new(order, ms, file, offset))
    }
}

/// The newest has to be the smallest.
fn turned(order: Order, value: u64) -> u64 {
    match order {
        Order::NewestFirst => !value,
        Order::OldestFirst => value,
    }
}

/// Where a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    day: u32,
    segment: u32,
    doc: u32,
}

struct Columns {
    time: Arc<dyn ColumnValues<i64>>,
    file: Arc<dyn ColumnValues<u64>>,
    offset: Arc<dyn ColumnValues<u64>>,
}

impl Columns {
    fn of(segment: &Segment<'_>) -> Result<Self, SearchError> {
        let columns = segment.reader.fast_fields();
        let failed = |error: tantivy::TantivyError| segment.failed(&error);
        Ok(Self {
            time: columns.i64("time").map_err(failed)?.first_or_default_col(0),
            file: columns.u64("file").map_err(failed)?.first_or_default_col(0),
            offset: columns.u64("offset").map_err(failed)?.first_or_default_col(0),
        })
    }

    /// The best time of an order that any document has.
    fn best(&self, order: Order) -> u64 {
        Key::time(order, self.time.min_value()).min(Key::time(order, self.time.max_value()))
    }
}

struct Asked<'a> {
    request: &'a PageRequest,
    after: Option<Key>,
    /// Later times than this aren't on the page.
    last: AtomicU64,
}

pub fn page(scan: &Scan<'_>, request: &PageRequest) -> Result<Page, SearchError> {
    let after = request.after.as_deref().map(|after| Key::of_cursor(request.order, after)).transpose()?;
    let asked = Asked { request, after, last: AtomicU64::new(u64::MAX) };
    let mut segments = Vec::new();
    for segment in scan.segments() {
        let columns = Columns::of(&segment)?;
        segments.push((columns.best(request.order), segment));
    }
    segments.sort_by_key(|(best, _)| *best);
    let segments: Vec<_> = segments.into_iter().map(|(_, segment)| segment).collect();
    let found = scan.each(&segments, |segment| asked.best_of(segment))?;
    let total = request.count.then(|| found.iter().map(|(count, _)| count).sum());
    let mut best: Vec<_> = found.into_iter().flat_map(|(_, best)| best).collect();
    best.sort_unstable();
    best.truncate(request.size);
    let read = |(key, at): (Key, At)| {
        let segment = segments.iter().find(|segment| segment.day.day.0 == at.day);
        let day = segment.map(|segment| segment.day).ok_or_else(|| scan.control.failed(&"a day is gone"))?;
        hit(day, at.segment, at.doc, key.ms(request.order), key.cursor(request.order))
            .map_err(|error| scan.control.failed(&error))
    };
    let (mut hits, mut room, mut more) = (Vec::new(), Room::default(), best.len() == request.size);
    for found in best {
        scan.control.check()?;
        let hit = read(found)?;
        if !room.take(&hit) {
            more = true;
            break;
        }
        hits.push(hit);
    }
    Ok(Page::new(hits, more, total))
}

impl Asked<'_> {
    /// How many of a segment match, where that is wanted, and the best of them.
    fn best_of(&self, segment: &Segment<'_>) -> Result<(u64, Vec<(Key, At)>), SearchError> {
        let (order, size) = (self.request.order, self.request.size);
        let columns = Columns::of(segment)?;
        if columns.best(order) > self.last.load(Relaxed) {
            return Ok((if self.request.count { segment.count()? } else { 0 }, Vec::new()));
        }
        let (mut best, mut count) = (BinaryHeap::new(), 0);
        let mut times = [0; tantivy::COLLECT_BLOCK_BUFFER_LEN];
        segment.each_block(|docs| {
            count += docs.len() as u64;
            let times = &mut times[..docs.len()];
            columns.time.get_vals(docs, times);
            let last = self.last.load(Relaxed);
            for (&doc, &ms) in docs.iter().zip(&*times) {
                let time = Key::time(order, ms);
                if time > last || self.after.is_some_and(|after| time < after.time) {
                    continue;
                }
                let key = Key::new(order, ms, columns.file.get_val(doc), columns.offset.get_val(doc));
                if self.after.is_some_and(|after| key <= after) {
                    continue;
                }
                let at = At { day: segment.day.day.0, segment: segment.ord, doc };
                if best.len() < size {
                    best.push((key, at));
                } else if let Some(mut worst) = best.peek_mut()
                    && (key, at) < *worst
                {
                    *worst = (key, at);
                }
            }
            if best.len() == size
                && let Some((worst, _)) = best.peek()
            {
                self.last.fetch_min(worst.time, Relaxed);
            }
        })?;
        Ok((count, best.into_vec()))
    }
}

/// The stored document of a hit.
pub fn hit(day: &DaySearcher, segment: u32, doc: u32, time_ms: i64, cursor: String) -> Result<Hit, String> {
    let document: TantivyDocument =
        day.searcher.doc(DocAddress::new(segment, doc)).map_err(|error| error.to_string())?;
    let source = document.get_first(Fields::get().source);
    let source = source.as_ref().and_then(|value| value.as_bytes()).ok_or("a document without its source")?;
    let fields = flat(serde_json::from_slice(source).map_err(|error| error.to_string())?);
    Ok(Hit {
        time_ms,
        file: fields.get(plan::FILE).and_then(Value::as_str).map(str::to_owned),
        offset: fields.get(plan::OFFSET).and_then(Value::as_u64),
        fields,
        cursor,
    })
}

/// A cursor of a line that wasn't asked for in an order.
pub fn newest_first(ms: i64, file: u64, offset: u64) -> String {
    Key::new(Order::NewestFirst, ms, file, offset).cursor(Order::NewestFirst)
}
