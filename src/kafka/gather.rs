//! From fetched records to line batches. The problem: one fetch mixes records of many partitions; a batch has one
//! origin. Records are put in runs of one partition and each run is copied into a chunk of just its size.

use super::native::Message;
use crate::{
    flow::{Chunk, ChunkPool},
    messages::{Line, Part, Record},
};

/// Bytes that a line costs beside its text: spans, and its place in the bulk request.
const LINE_OVERHEAD: usize = 64;

/// Records of one partition, ready to become a [`LineBatch`](crate::messages::LineBatch).
#[derive(Debug)]
pub struct Gathered {
    pub first_offset: i64,
    /// Offset after the last record, those without a value included.
    pub end_offset: i64,
    pub data: Chunk,
    pub lines: Vec<Line>,
    pub records: Vec<Record>,
    /// Records with a null value: nothing to deliver, counted.
    pub nulls: u32,
}

impl Gathered {
    /// What it costs in memory, and in credit.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.lines.len() * LINE_OVERHEAD
    }
}

/// One record's parts, wherever they come from.
pub struct Fetched<'m> {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<&'m [u8]>,
    pub value: Option<&'m [u8]>,
    pub part: Part,
}

impl<'m> From<Message<'m>> for Fetched<'m> {
    fn from(m: Message<'m>) -> Self {
        Self { offset: m.offset(), timestamp_ms: m.timestamp_ms(), key: m.key(), value: m.value(), part: m.part() }
    }
}

/// Cuts a run of records of one partition into pieces of at most `pool.chunk_bytes()` (one record at the least).
pub fn gather<'m>(run: &[Fetched<'m>], pool: &ChunkPool) -> Vec<Gathered> {
    let mut pieces = Vec::new();
    let mut rest = run;
    while !rest.is_empty() {
        let mut size = 0;
        let fits = rest
            .iter()
            .take_while(|r| {
                size += bytes_of(r);
                size <= pool.chunk_bytes()
            })
            .count()
            .max(1);
        let (now, later) = rest.split_at(fits);
        pieces.push(copy(now, pool));
        rest = later;
    }
    pieces
}

fn bytes_of(record: &Fetched<'_>) -> usize {
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)
}

fn copy(run: &[Fetched<'_>], pool: &ChunkPool) -> Gathered {
    let mut data = pool.take(run.iter().map(bytes_of).sum());
    let (mut lines, mut records) = (Vec::with_capacity(run.len()), Vec::with_capacity(run.len()));
    let mut nulls = 0;
    for record in run {
        let Some(value) = record.value else {
            nulls += 1;
            continue;
        };
        let key = record.key.map(|key| {
            let start = data.len() as u32;
            data.extend_from_slice(key);
            (start, key.len() as u32)
        });
        lines.push(Line { start: data.len() as u32, len: value.len() as u32, part: record.part });
        data.extend_from_slice(value);
        records.push(Record { offset: record.offset, timestamp_ms: record.timestamp_ms, key });
    }
    let first_offset = run.first().map_or(0, |r| r.offset);
    let end_offset = run.last().map_or(0, |r| r.offset + 1);
    Gathered { first_offset, end_offset, data: pool.seal(data), lines, records, nulls }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'m>(offset: i64, key: Option<&'m [u8]>, value: Option<&'m [u8]>) -> Fetched<'m> {
        Fetched { offset, timestamp_ms: 7, key, value, part: Part::Whole }
    }

    #[test]
    fn keys_and_values_are_found_again_and_null_values_are_counted() {
        let run = [record(5, Some(b"k"), Some(b"one")), record(6, None, Some(b"")), record(9, Some(b"x"), None)];
        let pieces = gather(&run, &ChunkPool::new(4096, 1));
        let [piece] = &pieces[..] else { panic!("one piece, not {}", pieces.len()) };
        let texts: Vec<_> = piece.lines.iter().map(|l| &piece.data[l.start as usize..][..l.len as usize]).collect();
        assert_eq!(texts, [b"one".as_slice(), b""]);
        let (start, len) = piece.records[0].key.expect("a key");
        assert_eq!(&piece.data[start as usize..][..len as usize], b"k");
        assert_eq!((piece.records[1].key, piece.nulls), (None, 1));
        assert_eq!((piece.first_offset, piece.end_offset), (5, 10), "the null record is passed, too");
    }

    #[test]
    fn a_piece_is_not_larger_than_a_chunk_unless_one_record_is() {
        let (large, small) = ([0u8; 900], [0u8; 300]);
        let run: Vec<_> = [&large[..], &small, &small, &small, &small]
            .iter()
            .zip(0..)
            .map(|(v, n)| record(n, None, Some(v)))
            .collect();
        let sizes: Vec<_> = gather(&run, &ChunkPool::new(600, 1)).iter().map(|p| p.lines.len()).collect();
        assert_eq!(sizes, [1, 2, 2]);
    }
}
