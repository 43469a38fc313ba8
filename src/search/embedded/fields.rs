//! Which fields the documents of a span have. The problem: an index knows the fields of a segment as a whole, and asking
//! each document would take as long as a search. Lines stand in a segment mostly in the order of their time, so those of
//! a span are a few runs of neighbours, and a column tells of a run at once whether it has any value there.

use super::{
    super::model::{Field, FieldKind, SearchError},
    plan,
    scan::{self, Control},
};
use crate::index::{DaySearcher, Fields, IndexSet};
use std::{collections::BTreeMap, ops::Range};
use tantivy::{
    DocId, SegmentReader,
    columnar::{ColumnType, DynamicColumnHandle},
    schema::Type,
};

pub fn fields(
    set: &IndexSet,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
    control: &Control,
) -> Result<Vec<Field>, SearchError> {
    let mut fields: BTreeMap<String, FieldKind> = BTreeMap::new();
    for day in scan::days(set, from_ms, to_ms) {
        control.reading(day.day, || of_day(&day, (from_ms, to_ms), control, &mut fields))?;
    }
    Ok(fields.into_iter().map(|(name, kind)| Field { name, kind }).collect())
}

fn of_day(
    day: &DaySearcher,
    (from_ms, to_ms): (Option<i64>, Option<i64>),
    control: &Control,
    fields: &mut BTreeMap<String, FieldKind>,
) -> Result<(), SearchError> {
    let failed = |error: tantivy::TantivyError| control.failed(&error);
    for segment in day.searcher.segment_readers() {
        let runs = runs(day, segment, from_ms, to_ms).map_err(failed)?;
        if runs.is_empty() {
            continue;
        }
        fields.extend(plan::FIXED.map(|(name, kind)| (name.to_owned(), kind)));
        for field in segment.fields_metadata().map_err(failed)? {
            control.check()?;
            let name = field.field_name.strip_prefix(Fields::DYNAMIC).and_then(|name| name.strip_prefix('.'));
            let (Some(name), Some(kind)) = (name, kind(field.typ)) else { continue };
            if fields.get(name) != Some(&kind) && is_in(segment, &runs, name, kind).map_err(failed)? {
                fields.entry(name.to_owned()).and_modify(|known| *known = known.wider(kind)).or_insert(kind);
            }
        }
    }
    Ok(())
}

/// The documents of a segment that are of the span.
fn runs(
    day: &DaySearcher,
    segment: &SegmentReader,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
) -> tantivy::Result<Vec<Range<DocId>>> {
    let all = 0..segment.max_doc();
    let (from, last) = (from_ms.unwrap_or(i64::MIN), to_ms.map_or(i64::MAX, |to| to.saturating_sub(1)));
    if all.is_empty() || from > last {
        return Ok(Vec::new());
    }
    if from <= day.day.begin_ms() && last >= day.day.end_ms() - 1 {
        return Ok(vec![all]);
    }
    let time = segment.fast_fields().i64("time")?;
    if from <= time.min_value() && last >= time.max_value() {
        return Ok(vec![all]);
    }
    let mut docs = Vec::new();
    time.get_docids_for_value_range(from..=last, all, &mut docs);
    let mut runs: Vec<Range<DocId>> = Vec::new();
    for doc in docs {
        match runs.last_mut() {
            Some(run) if run.end == doc => run.end += 1,
            _ => runs.push(doc..doc + 1),
        }
    }
    Ok(runs)
}

/// Whether any of these documents has this field, as this kind.
fn is_in(segment: &SegmentReader, runs: &[Range<DocId>], name: &str, wanted: FieldKind) -> tantivy::Result<bool> {
    if matches!(runs, [all] if *all == (0..segment.max_doc())) {
        return Ok(true);
    }
    let handles = segment.fast_fields().dynamic_column_handles(&plan::column(name))?;
    let of_kind = |handle: &&DynamicColumnHandle| column_kind(handle.column_type()) == Some(wanted);
    let mut columns: Vec<_> = handles.iter().filter(of_kind).collect();
    if columns.is_empty() {
        // Numbers of both kinds can share a column.
        columns = handles.iter().collect();
    }
    for handle in columns {
        let column = handle.open()?;
        let index = column.column_index();
        if runs.iter().any(|run| !index.docid_range_to_rowids(run.clone()).is_empty()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn kind(value_type: Type) -> Option<FieldKind> {
    match value_type {
        Type::Str => Some(FieldKind::Keyword),
        Type::I64 | Type::U64 => Some(FieldKind::Integer),
        Type::F64 => Some(FieldKind::Float),
        Type::Bool => Some(FieldKind::Boolean),
        Type::Date => Some(FieldKind::Date),
        _ => None,
    }
}

fn column_kind(column: ColumnType) -> Option<FieldKind> {
    match column {
        ColumnType::Str => Some(FieldKind::Keyword),
        ColumnType::I64 | ColumnType::U64 => Some(FieldKind::Integer),
        ColumnType::F64 => Some(FieldKind::Float),
        ColumnType::Bool => Some(FieldKind::Boolean),
        ColumnType::DateTime => Some(FieldKind::Date),
        ColumnType::Bytes | ColumnType::IpAddr => None,
    }
}
