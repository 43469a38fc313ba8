//! Cutting bytes into lines. The problem: the same bytes must give the same lines, whatever pieces they are read in and
//! however often, because a line's position is its identity.

use crate::{
    journal::RangeEnd,
    messages::{Line, Part},
};

/// Bounds of `max_line_bytes`.
pub const SHORTEST_LINE_BYTES: u32 = 16;
/// See [`SHORTEST_LINE_BYTES`].
pub const LONGEST_LINE_BYTES: u32 = 900_000;

/// What to do with the bytes after the last line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The file may grow: they wait, but parts of a line that is surely too long are cut off.
    Wait,
    /// They are parts of a long line, each of exactly `max_line_bytes` (cutting a range again).
    Part,
    /// The file ends here for good: they are its last line.
    File,
}

/// Lines cut from a buffer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Lines and parts, in order; empty lines are not among them.
    pub lines: Vec<Line>,
    /// Bytes of the buffer that are done with, line ends and empty lines included.
    pub consumed: usize,
    /// Parts of the line at `consumed` that were cut off before it.
    pub parts_after: u32,
    /// What stands at `consumed`; `None` where nothing was consumed.
    pub ends_with: Option<RangeEnd>,
    /// The limit of lines was reached before the end of the buffer.
    pub full: bool,
}

/// Cuts `data`, of whose first line `parts_before` parts came earlier, into lines of at most `max_line_bytes` bytes.
/// Stops after `max_lines` lines, so that a chunk of very short ones stays bounded in records, too.
///
/// A part is cut off only where two bytes more than a part follow without a line end: then the line is too long even if
/// the next bytes are `\r\n`, so the cuts don't depend on how much of the line has been read.
pub fn cut(data: &[u8], parts_before: u32, max_line_bytes: u32, rest: Rest, max_lines: usize) -> Cut {
    let mut cutter = Cutter {
        // A guess; the usual log has lines of 100 to 300 bytes.
        lines: Vec::with_capacity((data.len() / 128 + 1).min(max_lines)),
        parts: parts_before,
        max: max_line_bytes.max(1) as usize,
        max_lines,
    };
    let mut start = 0;
    let mut ends_with = None;
    for end in memchr::memchr_iter(b'\n', data) {
        let content = if end > start && data[end - 1] == b'\r' { end - 1 } else { end };
        if let Err(cut_at) = cutter.line(start, content) {
            return cutter.full(cut_at, if cut_at > start { Some(RangeEnd::Part) } else { ends_with });
        }
        start = end + 1;
        ends_with = Some(RangeEnd::Line);
    }
    match rest {
        Rest::Wait | Rest::Part => {
            let more = if rest == Rest::Wait { 2 } else { 0 };
            while data.len() - start >= cutter.max + more {
                if cutter.is_full() {
                    return cutter.full(start, ends_with);
                }
                start = cutter.part(start);
                ends_with = Some(RangeEnd::Part);
            }
        }
        Rest::File if start < data.len() => match cutter.line(start, data.len()) {
            Ok(()) => {
                start = data.len();
                ends_with = Some(RangeEnd::File);
            }
            Err(cut_at) => {
                return cutter.full(cut_at, if cut_at > start { Some(RangeEnd::Part) } else { ends_with });
            }
        },
        Rest::File => {}
    }
    Cut { lines: cutter.lines, consumed: start, parts_after: cutter.parts, ends_with, full: false }
}

struct Cutter {
    lines: Vec<Line>,
    /// Parts of the line at hand that were cut off so far.
    parts: u32,
    max: usize,
    max_lines: usize,
}

impl Cutter {
    fn is_full(&self) -> bool {
        self.lines.len() >= self.max_lines
    }

    /// A line's content, complete. `Err`: the limit of lines was reached, and this is how far it went.
    #[inline]
    fn line(&mut self, mut start: usize, end: usize) -> Result<(), usize> {
        if end > start {
            while end - start > self.max {
                if self.is_full() {
                    return Err(start);
                }
                start = self.part(start);
            }
            if self.is_full() {
                return Err(start);
            }
            let part = if self.parts == 0 { Part::Whole } else { Part::Last };
            self.lines.push(Line { start: start as u32, len: (end - start) as u32, part });
        }
        self.parts = 0;
        Ok(())
    }

    /// Cuts one part off a long line; answers where the next begins.
    fn part(&mut self, start: usize) -> usize {
        self.parts += 1;
        self.lines.push(Line { start: start as u32, len: self.max as u32, part: Part::Nth(self.parts) });
        start + self.max
    }

    fn full(self, consumed: usize, ends_with: Option<RangeEnd>) -> Cut {
        Cut { lines: self.lines, consumed, parts_after: self.parts, ends_with, full: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::model;
    use proptest::prelude::*;

    fn texts(data: &[u8], parts_before: u32, max: u32, rest: Rest) -> (Vec<(String, Part)>, usize, Option<RangeEnd>) {
        let cut = cut(data, parts_before, max, rest, usize::MAX);
        let text =
            |line: &Line| String::from_utf8_lossy(&data[line.start as usize..][..line.len as usize]).into_owned();
        (cut.lines.iter().map(|line| (text(line), line.part)).collect(), cut.consumed, cut.ends_with)
    }

    fn whole(of: &[&str]) -> Vec<(String, Part)> {
        of.iter().map(|text| ((*text).to_owned(), Part::Whole)).collect()
    }

    #[test]
    fn both_line_ends_are_taken_off_empty_lines_are_skipped_and_the_rest_waits() {
        let (lines, consumed, end) = texts(b"a\r\n\n\r\nb\rc\n\r\r\nrest\r", 0, 16, Rest::Wait);
        assert_eq!(lines, whole(&["a", "b\rc", "\r"]));
        assert_eq!((consumed, end), (13, Some(RangeEnd::Line)));
        let (lines, consumed, end) = texts(b"\n\nrest\r", 0, 16, Rest::File);
        assert_eq!((lines, consumed, end), (whole(&["rest\r"]), 7, Some(RangeEnd::File)));
        assert_eq!(texts(b"\n\n", 0, 16, Rest::File), (vec![], 2, Some(RangeEnd::Line)));
        assert_eq!(texts(b"", 0, 16, Rest::File), (vec![], 0, None));
    }

    #[test]
    fn a_line_of_just_the_limit_stays_whole_however_it_ends() {
        let line = "x".repeat(16);
        for end in ["\n", "\r\n"] {
            assert_eq!(texts(format!("{line}{end}").as_bytes(), 0, 16, Rest::Wait).0, whole(&[&line]));
        }
        assert_eq!(texts(format!("{line}\r").as_bytes(), 0, 16, Rest::Wait), (vec![], 0, None));
        let (lines, consumed, end) = texts(format!("{line}yz").as_bytes(), 0, 16, Rest::Wait);
        assert_eq!((lines, consumed, end), (vec![(line.clone(), Part::Nth(1))], 16, Some(RangeEnd::Part)));
        let (lines, ..) = texts(b"yz\nnext\n", 1, 16, Rest::Wait);
        assert_eq!(lines, [("yz".to_owned(), Part::Last), ("next".to_owned(), Part::Whole)]);
        let (lines, ..) = texts(format!("{line}{line}{line}\n").as_bytes(), 0, 16, Rest::Wait);
        assert_eq!(lines.iter().map(|(_, part)| *part).collect::<Vec<_>>(), [Part::Nth(1), Part::Nth(2), Part::Last]);
    }

    #[test]
    fn nul_bytes_and_invalid_utf_8_pass_unharmed() {
        let data = b"\0\0a\0\n\xff\xfe\xc3(\n\x1b[0m\n";
        let cut = cut(data, 0, 16, Rest::Wait, usize::MAX);
        let lines: Vec<&[u8]> = cut.lines.iter().map(|l| &data[l.start as usize..][..l.len as usize]).collect();
        assert_eq!(lines, [&b"\0\0a\0"[..], b"\xff\xfe\xc3(", b"\x1b[0m"]);
    }

    #[test]
    fn the_limit_of_lines_stops_at_a_place_where_cutting_goes_on_the_same() {
        let data = format!("a\n\nb\n{}\nc\n", "x".repeat(40));
        for most in 1..8 {
            let (mut at, mut parts, mut all) = (0, 0, Vec::new());
            while at < data.len() {
                let cut = cut(&data.as_bytes()[at..], parts, 16, Rest::Wait, most);
                assert!(cut.lines.len() <= most && cut.consumed > 0);
                all.extend(cut.lines.iter().map(|l| Line { start: l.start + at as u32, ..*l }));
                (at, parts) = (at + cut.consumed, cut.parts_after);
            }
            assert_eq!(all, super::cut(data.as_bytes(), 0, 16, Rest::Wait, usize::MAX).lines);
        }
    }

    proptest! {
        /// Whatever pieces a content comes in and whatever limits the reads have, the lines are those of the whole.
        #[test]
        fn any_chunks_give_the_lines_of_the_whole_and_each_range_gives_its_own_again(
            content in model::content(),
            max in 16_u32..40,
            most in 1_usize..6,
            steps in proptest::collection::vec(1_usize..50, 1..200),
        ) {
            let (mut at, mut parts, mut all) = (0, 0, Vec::new());
            let mut shown = 0;
            let mut steps = steps.into_iter().cycle();
            loop {
                shown = content.len().min(shown + steps.next().unwrap_or(1));
                let rest = if shown == content.len() { Rest::File } else { Rest::Wait };
                let data = &content[at..shown];
                let cut = cut(data, parts, max, rest, most);
                if let Some(ends_with) = cut.ends_with {
                    let own = match ends_with {
                        RangeEnd::Line => Rest::Wait,
                        RangeEnd::Part => Rest::Part,
                        RangeEnd::File => Rest::File,
                    };
                    let again = super::cut(&data[..cut.consumed], parts, max, own, usize::MAX);
                    prop_assert_eq!(&again.lines, &cut.lines);
                    prop_assert_eq!((again.consumed, again.parts_after, again.ends_with),
                        (cut.consumed, cut.parts_after, cut.ends_with));
                }
                for line in &cut.lines {
                    let start = at + line.start as usize;
                    all.push((start as u64, content[start..][..line.len as usize].to_vec(), line.part));
                }
                (at, parts) = (at + cut.consumed, cut.parts_after);
                if at == content.len() {
                    break;
                }
            }
            prop_assert_eq!(all, model::lines(&content, max, true));
        }
    }
}
