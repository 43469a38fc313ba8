//! The most frequent values of a field, counted in its column by number; only what is found becomes text.

use super::{
    super::{
        model::{SearchError, TopValues},
        query::{DEFAULT_FIELD, TIME_FIELD},
        value::Number,
    },
    plan,
    scan::{Scan, Segment},
};
use std::{cmp::Ordering, collections::HashMap};
use tantivy::{
    DocId,
    columnar::{Column, DynamicColumn, StrColumn},
};

/// More different values are not counted.
const MAX_DIFFERENT: usize = 1_000_000;

/// A value by which is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Counted {
    Bool(bool),
    Int(i64),
    /// Bits of a number that isn't whole.
    Float(u64),
    Text(String),
}

impl Counted {
    fn number(number: Number) -> Self {
        match number {
            Number::Int(int) => Self::Int(int),
            Number::Float(float) => Self::Float(float.to_bits()),
        }
    }

    fn as_number(&self) -> Option<Number> {
        match self {
            Self::Int(int) => Some(Number::Int(*int)),
            Self::Float(bits) => Some(Number::Float(f64::from_bits(*bits))),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::Bool(flag) => flag.to_string(),
            Self::Text(text) => text,
            number => number.as_number().map(Number::to_text).unwrap_or_default(),
        }
    }

    /// Numbers by size, texts by their bytes.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Text(_), _) => Ordering::Greater,
            (_, Self::Text(_)) => Ordering::Less,
            (a, b) => a.as_number().partial_cmp(&b.as_number()).unwrap_or(Ordering::Equal),
        }
    }
}

#[derive(Default)]
struct Counts {
    values: HashMap<Counted, u64>,
    with_field: u64,
    total: u64,
}

pub fn top_values(scan: &Scan<'_>, field: &str, size: usize) -> Result<TopValues, SearchError> {
    if field == DEFAULT_FIELD {
        return Err(SearchError::Refused(format!("{DEFAULT_FIELD} is a text: it has words, not values to be counted")));
    }
    let mut all = Counts::default();
    for counts in scan.each(&scan.segments(), |segment| count(segment, field))? {
        all.with_field += counts.with_field;
        all.total += counts.total;
        for (value, count) in counts.values {
            *all.values.entry(value).or_default() += count;
        }
        too_many(all.values.len())?;
    }
    let mut values: Vec<_> = all.values.into_iter().collect();
    values.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.order(b)));
    values.truncate(size);
    let values = values.into_iter().map(|(value, count)| (value.into_text(), count)).collect();
    Ok(TopValues { values, with_field: all.with_field, total: all.total })
}

fn too_many(different: usize) -> Result<(), SearchError> {
    if different <= MAX_DIFFERENT {
        return Ok(());
    }
    let text = format!("the field has more than {MAX_DIFFERENT} different values; ask for a shorter time");
    Err(SearchError::TooExpensive(text))
}

/// The columns of a field in one segment.
fn columns(segment: &Segment<'_>, field: &str) -> tantivy::Result<Vec<DynamicColumn>> {
    let columns = segment.reader.fast_fields();
    let name = match field {
        TIME_FIELD => "time".to_owned(),
        plan::OFFSET => "offset".to_owned(),
        plan::FILE => "file".to_owned(),
        field => plan::column(field),
    };
    let handles = columns.dynamic_column_handles(&name)?;
    Ok(handles.into_iter().map(|handle| handle.open()).collect::<Result<_, _>>()?)
}

fn count(segment: &Segment<'_>, field: &str) -> Result<Counts, SearchError> {
    let columns = columns(segment, field).map_err(|error| segment.failed(&error))?;
    let mut counters = columns.into_iter().map(|column| Counter::new(column, field)).collect::<Result<Vec<_>, _>>()?;
    let mut counts = Counts::default();
    segment.each_block(|docs| {
        counts.total += docs.len() as u64;
        for &doc in docs {
            let mut there = false;
            for counter in &mut counters {
                there |= counter.add(doc);
            }
            counts.with_field += u64::from(there);
        }
    })?;
    for counter in counters {
        counter.tell(&mut counts.values).map_err(|error| segment.failed(&error))?;
        too_many(counts.values.len())?;
    }
    Ok(counts)
}

/// Appends a document's values, as bits.
type Values = Box<dyn Fn(DocId, &mut Vec<u64>)>;

/// What bits stand for.
type Meaning = Box<dyn Fn(u64) -> Counted>;

enum Counter {
    /// By number in the dictionary.
    Text {
        column: StrColumn,
        counts: Vec<u64>,
        seen: Vec<u64>,
    },
    Other {
        values: Values,
        meaning: Meaning,
        counts: HashMap<u64, u64>,
        seen: Vec<u64>,
    },
}

fn other<T: Copy + PartialOrd + std::fmt::Debug + Send + Sync + 'static>(
    column: Column<T>,
    bits: impl Fn(T) -> u64 + 'static,
    meaning: Meaning,
) -> Counter {
    let values = move |doc, seen: &mut Vec<u64>| seen.extend(column.values_for_doc(doc).map(&bits));
    Counter::Other { values: Box::new(values), meaning, counts: HashMap::new(), seen: Vec::new() }
}

impl Counter {
    fn new(column: DynamicColumn, field: &str) -> Result<Self, SearchError> {
        Ok(match column {
            DynamicColumn::Str(column) => {
                too_many(column.num_terms())?;
                let counts = vec![0; column.num_terms()];
                Self::Text { column, counts, seen: Vec::new() }
            }
            DynamicColumn::Bool(column) => other(column, u64::from, Box::new(|bits| Counted::Bool(bits != 0))),
            DynamicColumn::I64(column) => other(column, |n| n as u64, Box::new(|bits| Counted::Int(bits as i64))),
            DynamicColumn::F64(column) => {
                other(column, f64::to_bits, Box::new(|bits| Counted::number(Number::of_f64(f64::from_bits(bits)))))
            }
            DynamicColumn::U64(column) if field == plan::FILE => {
                other(column, |n| n, Box::new(|file| Counted::Text(format!("{file:016x}"))))
            }
            DynamicColumn::U64(column) => other(
                column,
                |n| n,
                Box::new(|n| i64::try_from(n).map_or_else(|_| Counted::number(Number::Float(n as f64)), Counted::Int)),
            ),
            // Nothing of ours is of another type.
            _ => return Err(SearchError::Refused(format!("values of {field} can't be counted"))),
        })
    }

    /// Counts a document once for each different value; whether it has any.
    fn add(&mut self, doc: DocId) -> bool {
        let seen = match self {
            Self::Text { column, seen, .. } => {
                seen.clear();
                seen.extend(column.term_ords(doc));
                seen
            }
            Self::Other { values, seen, .. } => {
                seen.clear();
                values(doc, seen);
                seen
            }
        };
        if seen.len() > 1 {
            seen.sort_unstable();
            seen.dedup();
        }
        match self {
            Self::Text { counts, seen, .. } => seen.iter().for_each(|&ord| counts[ord as usize] += 1),
            Self::Other { counts, seen, .. } => seen.iter().for_each(|&bits| *counts.entry(bits).or_default() += 1),
        }
        match self {
            Self::Text { seen, .. } | Self::Other { seen, .. } => !seen.is_empty(),
        }
    }

    fn tell(self, all: &mut HashMap<Counted, u64>) -> std::io::Result<()> {
        match self {
            Self::Text { column, counts, .. } => {
                for (ord, count) in (0..).zip(counts).filter(|(_, count)| *count > 0) {
                    let mut text = String::new();
                    column.ord_to_str(ord, &mut text)?;
                    *all.entry(Counted::Text(text)).or_default() += count;
                }
            }
            Self::Other { counts, meaning, .. } => {
                for (bits, count) in counts {
                    *all.entry(meaning(bits)).or_default() += count;
                }
            }
        }
        Ok(())
    }
}
