//! Cuts a file into the lines that were collected of it. The problem: a line's position is its identity, and where a long
//! line was cut depends on a limit that may be another one by now, or that nobody wrote down. Three know something: the
//! journal's ranges, which carry the rules they were cut by; the places where known lines begin; and the limit as it is
//! now, of the entry that the file belongs to.

use crate::{
    journal::{FileRecord, Range, RangeEnd},
    messages::{Line, Part},
    tail::{self, Cut, LONGEST_LINE_BYTES, Rest},
};

/// Read at a time; more than the longest line. A range may be as long.
const PIECE_BYTES: u64 = 4 << 20;

/// What is known of how one file was cut.
pub(super) struct Cuts {
    /// In order, none over another.
    pub ranges: Vec<Range>,
    /// Where lines and parts begin that some day has or had, sorted.
    pub starts: Vec<u64>,
    /// All lines are among those, or in no day.
    pub all_known: bool,
    /// Where nobody knows more.
    pub max_line_bytes: u32,
    /// Everything is settled up to here, with so many parts of the line that goes on there.
    settled: (u64, u32),
}

/// The next bytes to be cut, and how.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub begin: u64,
    pub end: u64,
    by: By<'a>,
}

#[derive(Clone, Copy)]
enum By<'a> {
    Range(&'a Range),
    Starts(Then),
}

/// What follows a piece of which no range tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// More of the same.
    More,
    /// Something that begins with a line: this is a line's end, or the file's.
    Line,
    /// The next part of the line.
    Part,
}

impl Cuts {
    pub fn new(
        record: &FileRecord,
        ranges: &[Range],
        starts: Vec<u64>,
        all_known: bool,
        max_line_bytes: Option<u32>,
    ) -> Self {
        // A longer one is damaged, see `tail::recut`.
        let sound = |range: &&Range| {
            range.begin >= record.start
                && range.end <= record.settled
                && range.begin < range.end
                && range.end - range.begin <= PIECE_BYTES
        };
        let ranges: Vec<Range> = ranges.iter().filter(sound).copied().collect();
        let lately = ranges.first().map(|range| range.max_line_bytes);
        let max_line_bytes = lately.or(max_line_bytes).unwrap_or(crate::collection::Entry::DEFAULT_MAX_LINE_BYTES);
        let parts = record.pending.first().map_or(record.parts_before, |(_, range)| range.parts_before);
        Self {
            ranges,
            starts,
            all_known,
            max_line_bytes: max_line_bytes.clamp(1, LONGEST_LINE_BYTES),
            settled: (record.settled, parts),
        }
    }

    /// The next piece of the file from here on; `None` at the end.
    pub fn piece(&self, begin: u64) -> Option<Piece<'_>> {
        if begin >= self.settled.0 {
            return None;
        }
        let next = self.ranges.get(self.ranges.partition_point(|range| range.begin < begin));
        if let Some(range) = next.filter(|range| range.begin == begin) {
            return Some(Piece { begin, end: range.end, by: By::Range(range) });
        }
        let (end, parts) = next.map_or(self.settled, |range| (range.begin, range.parts_before));
        let then = match (end - begin > PIECE_BYTES, parts) {
            (true, _) => Then::More,
            (false, 0) => Then::Line,
            (false, _) => Then::Part,
        };
        Some(Piece { begin, end: end.min(begin + PIECE_BYTES), by: By::Starts(then) })
    }

    /// The lines of a piece, of whose first line so many parts came before it.
    pub fn cut(&self, piece: Piece<'_>, data: &[u8], parts: u32) -> Cut {
        let then = match piece.by {
            By::Starts(then) => then,
            By::Range(range) => {
                let rest = match range.ends_with {
                    RangeEnd::Line => Rest::Wait,
                    RangeEnd::Part => Rest::Part,
                    RangeEnd::File => Rest::File,
                };
                let cut = tail::cut(data, range.parts_before, range.max_line_bytes, rest, usize::MAX);
                if cut.consumed == data.len() {
                    return cut;
                }
                // Other bytes than those that were journalled.
                Then::Line
            }
        };
        self.by_starts(piece.begin, data, parts, then)
    }

    fn by_starts(&self, begin: u64, data: &[u8], parts: u32, then: Then) -> Cut {
        let mut cut = Cut { parts_after: parts, ..Cut::default() };
        while cut.consumed < data.len() && cut.lines.len() < tail::MOST_LINES {
            let start = cut.consumed;
            let end = memchr::memchr(b'\n', &data[start..]).map(|at| start + at);
            let content = match end {
                Some(end) if end > start && data[end - 1] == b'\r' => end - 1,
                Some(end) => end,
                None => data.len(),
            };
            let is_whole = end.is_some() || then != Then::More;
            if !is_whole && content - start <= LONGEST_LINE_BYTES as usize + 2 {
                // How long the line is shows with the next bytes.
                break;
            }
            if let Some(len) = self.part(begin + start as u64, content - start) {
                cut.parts_after += 1;
                cut.lines.push(Line { start: start as u32, len: len as u32, part: Part::Nth(cut.parts_after) });
                cut.consumed += len;
                continue;
            }
            let part = match (cut.parts_after, end) {
                (before, None) if then == Then::Part => {
                    cut.parts_after += 1;
                    Part::Nth(before + 1)
                }
                (0, _) => Part::Whole,
                _ => Part::Last,
            };
            if !matches!(part, Part::Nth(_)) {
                cut.parts_after = 0;
            }
            if content > start {
                cut.lines.push(Line { start: start as u32, len: (content - start) as u32, part });
            }
            cut.consumed = end.map_or(data.len(), |end| end + 1);
        }
        cut
    }

    /// How long the part is that begins here, of a line that goes on for `rest` bytes; `None`: that is its last one.
    fn part(&self, at: u64, rest: usize) -> Option<usize> {
        let (max, longest) = (self.max_line_bytes as usize, LONGEST_LINE_BYTES as usize);
        let from = self.starts.partition_point(|&start| start < at);
        let is_known = self.starts.get(from) == Some(&at);
        let next = self.starts.get(from + usize::from(is_known)).map(|next| (next - at) as usize);
        match next.filter(|&len| len < rest) {
            // Between the two, there is none; or those between them aren't known.
            Some(len) if len <= longest && (self.all_known && is_known || !len.is_multiple_of(max)) => Some(len),
            Some(_) => Some(max),
            None if self.all_known && is_known && rest <= longest => None,
            None => (rest > max).then_some(max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow::{FileId, PartitionRule},
        journal::Fingerprint,
        tail::model,
    };
    use proptest::prelude::*;

    type Seen = (u64, u32, Part);

    /// What a tail journals and sends of a file that grows in these steps: its ranges, its lines, and where it is.
    fn collected(content: &[u8], max: u32, steps: &[usize]) -> (Vec<Range>, Vec<Seen>, FileRecord) {
        let (mut at, mut parts, mut shown, mut ranges, mut lines) = (0, 0, 0, Vec::new(), Vec::new());
        for step in steps {
            shown = content.len().min(shown + step);
            let cut = tail::cut(&content[at..shown], parts, max, Rest::Wait, 3);
            lines.extend(seen(at as u64, &cut));
            let Some(ends_with) = cut.ends_with else { continue };
            let (begin, end) = (at as u64, (at + cut.consumed) as u64);
            ranges.push(Range {
                begin,
                end,
                read_ms: 1,
                parts_before: parts,
                ends_with,
                parts_after: cut.parts_after,
                max_line_bytes: max,
                entry: None,
                partition: PartitionRule::File,
                back: Fingerprint::default(),
            });
            (at, parts) = (at + cut.consumed, cut.parts_after);
        }
        (ranges, lines, record(0, at as u64, parts))
    }

    fn record(start: u64, settled: u64, parts_before: u32) -> FileRecord {
        FileRecord {
            id: 1,
            file: FileId(1),
            path: "/a".into(),
            current_path: "/a".into(),
            topic: "t".into(),
            dev: 1,
            ino: 1,
            head: Fingerprint::default(),
            start,
            settled,
            position: settled,
            parts_before,
            back: Fingerprint::default(),
            pending: Vec::new(),
        }
    }

    fn seen(begin: u64, cut: &Cut) -> impl Iterator<Item = Seen> {
        cut.lines.iter().map(move |line| (begin + u64::from(line.start), line.len, line.part))
    }

    fn cut_again(cuts: &Cuts, content: &[u8], start: u64) -> Vec<Seen> {
        let (mut begin, mut parts, mut lines) = (start, 0, Vec::new());
        while let Some(piece) = cuts.piece(begin) {
            let cut = cuts.cut(piece, &content[begin as usize..piece.end as usize], parts);
            assert!(cut.consumed > 0, "no step forward at {begin}");
            lines.extend(seen(begin, &cut));
            (begin, parts) = (begin + cut.consumed as u64, cut.parts_after);
        }
        lines
    }

    proptest! {
        /// Whatever is known, the lines are those that were collected: with all their places, by whatever limit it is now;
        /// with some of them, or with some ranges, by the limit as it was.
        #[test]
        fn lines_are_cut_again_where_they_were(
            content in model::content(),
            max in 16_u32..40,
            other in 1_u32..80,
            steps in proptest::collection::vec(1_usize..50, 1..100),
            keep in proptest::collection::vec(any::<(bool, bool)>(), 400),
        ) {
            let (ranges, lines, record) = collected(&content, max, &steps);
            let starts: Vec<u64> = lines.iter().map(|line| line.0).collect();
            let some_ranges: Vec<Range> = ranges.iter().zip(&keep).filter(|(_, keep)| keep.0).map(|(r, _)| *r).collect();
            let some: Vec<u64> = starts.iter().zip(&keep).filter(|(_, keep)| keep.1).map(|(s, _)| *s).collect();
            let by_starts = Cuts::new(&record, &[], starts.clone(), true, Some(other));
            prop_assert_eq!(&cut_again(&by_starts, &content, 0), &lines);
            let by_both = Cuts::new(&record, &some_ranges, starts, true, Some(other));
            prop_assert_eq!(&cut_again(&by_both, &content, 0), &lines);
            let by_limit = Cuts::new(&record, &some_ranges, some, false, Some(max));
            prop_assert_eq!(&cut_again(&by_limit, &content, 0), &lines);
            let by_ranges = Cuts::new(&record, &ranges, Vec::new(), false, Some(other));
            prop_assert_eq!(&cut_again(&by_ranges, &content, 0), &lines);
        }
    }

    #[test]
    fn a_line_that_is_longer_than_what_is_read_at_a_time_is_cut_the_same() {
        let content = [vec![b'x'; 9_000_000], b"\nshort\n".to_vec()].concat();
        let truth: Vec<Seen> = seen(0, &tail::cut(&content, 0, 700_000, Rest::Wait, 99)).collect();
        let starts: Vec<u64> = truth.iter().map(|line| line.0).collect();
        let record = record(0, content.len() as u64, 0);
        for cuts in [
            Cuts::new(&record, &[], Vec::new(), false, Some(700_000)),
            Cuts::new(&record, &[], starts.clone(), true, Some(16)),
            Cuts::new(&record, &[], starts[..5].to_vec(), false, Some(700_000)),
        ] {
            assert_eq!(cut_again(&cuts, &content, 0), truth);
        }
    }
}
