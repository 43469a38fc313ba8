//! The lines around one line in its own file, by file and offset: right also when a thousand lines share one time, and
//! across midnight.

use super::{
    super::{
        budget::centred,
        model::{Around, Hit, LineAt, SearchError},
    },
    page, plan,
    scan::{Control, Scan, days},
};
use crate::index::IndexSet;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tantivy::{query::TermQuery, schema::IndexRecordOption};

/// Offset, day, segment, document.
type At = (u64, u32, u32, u32);

/// The nearest lines on both sides of an offset, and the line there.
#[derive(Default)]
struct Near {
    before: BTreeSet<At>,
    line: Option<At>,
    after: BTreeSet<At>,
}

impl Near {
    fn add(&mut self, at: At, offset: u64, before: usize, after: usize) {
        if at.0 == offset {
            self.line = Some(at);
        } else if at.0 < offset {
            self.before.insert(at);
            if self.before.len() > before {
                self.before.pop_first();
            }
        } else {
            self.after.insert(at);
            if self.after.len() > after {
                self.after.pop_last();
            }
        }
    }
}

pub fn around(
    set: &IndexSet,
    control: &Arc<Control>,
    line: &LineAt,
    before: usize,
    after: usize,
) -> Result<Around, SearchError> {
    let Some(file) = plan::file_number(&line.file) else {
        return Err(SearchError::Refused("a file is named by 16 hex digits, as in logweir.file".to_owned()));
    };
    let days = days(set, None, None);
    let by_day: BTreeMap<u32, _> = days.iter().map(|day| (day.day.0, day.clone())).collect();
    let scan =
        Scan::of(days, control, |_| Ok(Box::new(TermQuery::new(plan::file_term(file), IndexRecordOption::Basic))))?;
    let found = scan.each(&scan.segments(), |segment| {
        let columns = segment.reader.fast_fields();
        let offsets = columns.u64("offset").map_err(|error| segment.failed(&error))?.first_or_default_col(0);
        let mut near = Near::default();
        segment.each_block(|docs| {
            for &doc in docs {
                let at = (offsets.get_val(doc), segment.day.day.0, segment.ord, doc);
                near.add(at, line.offset, before, after);
            }
        })?;
        Ok(near)
    })?;
    let mut near = Near::default();
    for of_segment in found {
        for at in of_segment.before.into_iter().chain(of_segment.line).chain(of_segment.after) {
            near.add(at, line.offset, before, after);
        }
    }
    let hit = |(offset, day, segment, doc): At| -> Result<Hit, SearchError> {
        let day = by_day.get(&day).ok_or_else(|| control.failed(&"a day is gone"))?;
        let columns = day.searcher.segment_reader(segment).fast_fields();
        let time = columns.i64("time").map_err(|error| control.failed(&error))?.first(doc).unwrap_or_default();
        page::hit(day, segment, doc, time, page::newest_first(time, file, offset)).map_err(|e| control.failed(&e))
    };
    let line = near.line.map(hit).transpose()?;
    centred(line, (before, near.before.into_iter().rev().map(hit)), (after, near.after.into_iter().map(hit)))
}
