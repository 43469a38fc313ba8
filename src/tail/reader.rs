//! Reading one file as it grows. The problem: what stood before the position must still be the same bytes, or the file
//! has been replaced; a line that is being written must wait without being read again and again; and ten thousand
//! quiet files must cost next to nothing.

use super::{
    OpenedFile, Rest, cut,
    fingerprint::{Back, FINGERPRINT_BYTES, fingerprint, read_up_to},
    open::bytes,
};
use crate::{
    flow::ChunkPool,
    journal::{Fingerprint, RangeEnd},
    messages::Line,
};
use rustix::fs::Stat;
use std::{fs::File, io};

/// What `fstat` says against what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// No new bytes (an unfinished line that was seen before may be waiting, see [`TailReader::unfinished_bytes`]).
    Nothing,
    /// So many bytes after the position, of which some are new.
    Unread(u64),
    /// The bytes before the position aren't those that were read: truncated, or written anew. `lost_bytes`: what had
    /// been seen after the position and was gone before it was read. The content from 0 on is another file's.
    Replaced { lost_bytes: u64 },
}

/// Bytes of a file with their lines; what one batch carries.
#[derive(Debug)]
pub struct Piece {
    /// From `begin` to `end` exactly, so a line's `start` counts from `begin`. To be sealed by the pool it came from.
    pub data: Vec<u8>,
    /// May be empty (only empty lines): then the position moves and there is nothing to send.
    pub lines: Vec<Line>,
    pub begin: u64,
    pub end: u64,
    pub parts_before: u32,
    pub ends_with: RangeEnd,
    /// Of the 64 bytes before `end`.
    pub back: Fingerprint,
    /// As far as it is known, more can be read at once.
    pub more: bool,
}

#[derive(Debug)]
pub enum ReadOutcome {
    /// The position has moved to the end of this.
    Piece(Piece),
    /// No whole line yet; the position stays.
    Nothing,
    /// As [`Look::Replaced`]; the position stays.
    Replaced { lost_bytes: u64 },
}

/// At most so many lines in a piece: a chunk of one-byte lines must not become a hundred thousand records at once.
pub const MOST_LINES: usize = 16_384;

/// A read may take this much more than was asked for, where the buffer has room.
const SURPLUS_BYTES: usize = 4096;

/// One open file and how far it is read. Holds no buffer between calls.
#[derive(Debug)]
pub struct TailReader {
    opened: OpenedFile,
    position: u64,
    parts_before: u32,
    /// Of what stands before `position`.
    back: Fingerprint,
    max_line_bytes: u32,
    /// There is no line end from `position` to here: what is unfinished isn't read again before it has doubled or
    /// there is a line end behind it.
    scanned: u64,
    /// Of what stands before `scanned`.
    scanned_back: Fingerprint,
    /// Size when the bytes before the position were last found to be the same.
    seen: u64,
    /// Modification time at that moment.
    modified: Option<(i64, i64)>,
    lost: u64,
    unlinked: bool,
    /// Bytes that were read from the file in all.
    bytes_read: u64,
    /// What a piece may be read of at most, where short lines filled the last one; 0: a chunk.
    short_lines_bytes: u32,
}

impl TailReader {
    /// Goes on at `position`, with what the journal knows of it. A `back` of length 0 is "not known": what stands there
    /// at the first look is taken for right.
    pub fn new(opened: OpenedFile, position: u64, parts_before: u32, back: Fingerprint, max_line_bytes: u32) -> Self {
        Self {
            opened,
            position,
            parts_before,
            back,
            max_line_bytes,
            scanned: position,
            scanned_back: back,
            seen: position,
            modified: None,
            lost: 0,
            unlinked: false,
            bytes_read: 0,
            short_lines_bytes: 0,
        }
    }

    /// Compares the file with what was read of it: one `fstat`, and one read of 64 bytes if anything has changed.
    pub fn look(&mut self) -> io::Result<Look> {
        let stat = rustix::fs::fstat(&self.opened.file)?;
        self.unlinked = stat.st_nlink == 0;
        self.opened.size = bytes(stat.st_size);
        self.compare(&stat)
    }

    fn compare(&mut self, stat: &Stat) -> io::Result<Look> {
        let size = bytes(stat.st_size);
        let modified = Some((stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)));
        if size < self.position {
            return Ok(self.replaced());
        }
        if size != self.seen || modified != self.modified {
            if self.check_back()?.is_none() {
                return Ok(self.replaced());
            }
            self.lost += self.seen.saturating_sub(size);
            if size <= self.scanned {
                // Not grown, but written to: what was scanned may be something else now.
                self.forget_scanned();
            }
            (self.seen, self.modified) = (size, modified);
        }
        Ok(if size > self.scanned { Look::Unread(size - self.position) } else { Look::Nothing })
    }

    fn replaced(&self) -> Look {
        Look::Replaced { lost_bytes: self.seen.saturating_sub(self.position) }
    }

    fn forget_scanned(&mut self) {
        (self.scanned, self.scanned_back) = (self.position, self.back);
    }

    /// Reads the bytes before the position and compares. `None`: they are others, or the file is shorter now.
    fn check_back(&mut self) -> io::Result<Option<Back>> {
        let len = self.position.min(FINGERPRINT_BYTES as u64) as usize;
        let mut back = Back { bytes: [0; FINGERPRINT_BYTES], len };
        let got = read_up_to(&self.opened.file, &mut back.bytes[..len], self.position - len as u64)?;
        self.bytes_read += got as u64;
        if got < len {
            return Ok(None);
        }
        if self.back.len == 0 {
            self.back = fingerprint(back.bytes());
        }
        let known = usize::from(self.back.len).min(len);
        Ok((fingerprint(&back.bytes()[len - known..]) == self.back).then_some(back))
    }

    /// The next bytes up to a line end (or a cut within a long line), at most about a chunk of the pool; more only for
    /// a line that is longer than a chunk. `finish`: nothing will ever be appended, so an unfinished last line is a
    /// line.
    ///
    /// The bytes before the position are compared *after* the read, so a file that is truncated and regrows at any
    /// moment is noticed before what was read of it goes anywhere.
    pub fn read(&mut self, pool: &ChunkPool, finish: bool) -> io::Result<ReadOutcome> {
        self.read_within(usize::MAX, MOST_LINES, pool, finish)
    }

    /// The same for a caller that has taken credit for `most` bytes and `most_lines` lines: the file may have grown
    /// since. Only a line that is longer exceeds it.
    pub fn read_within(
        &mut self,
        most: usize,
        most_lines: usize,
        pool: &ChunkPool,
        finish: bool,
    ) -> io::Result<ReadOutcome> {
        let most_lines = most_lines.clamp(1, MOST_LINES);
        match self.look()? {
            Look::Replaced { lost_bytes } => return Ok(ReadOutcome::Replaced { lost_bytes }),
            Look::Nothing if !finish => return Ok(ReadOutcome::Nothing),
            Look::Nothing | Look::Unread(_) => {}
        }
        if self.seen == self.position || (!finish && !self.is_worth_reading()?) {
            return Ok(ReadOutcome::Nothing);
        }
        let mut want = self.next_read_bytes(pool).min(most.max(1));
        let mut data = pool.take(want);
        loop {
            self.fill(&mut data, want)?;
            let at_end = self.position + data.len() as u64 >= self.seen;
            let rest = if finish && at_end { Rest::File } else { Rest::Wait };
            let cut = cut(&data, self.parts_before, self.max_line_bytes, rest, most_lines);
            let wider = want.saturating_mul(2).min(self.longest_read());
            if cut.consumed > 0 || at_end || data.len() < want || wider <= want {
                return self.take_over(data, cut, pool);
            }
            // A line longer than what is read at once. It ends, or is cut, within the limit.
            want = wider;
        }
    }

    /// Moves the position behind what was cut, if the bytes before it are still the same.
    fn take_over(&mut self, mut data: Vec<u8>, cut: super::Cut, pool: &ChunkPool) -> io::Result<ReadOutcome> {
        let Some(back) = self.check_back()? else {
            let lost_bytes = self.seen.saturating_sub(self.position);
            drop(pool.seal(data));
            return Ok(ReadOutcome::Replaced { lost_bytes });
        };
        let begin = self.position;
        let read_to = begin + data.len() as u64;
        self.seen = self.seen.max(read_to);
        let scanned_back = back.followed_by(&data);
        let Some(ends_with) = cut.ends_with else {
            (self.scanned, self.scanned_back) = (read_to, scanned_back);
            drop(pool.seal(data));
            return Ok(ReadOutcome::Nothing);
        };
        let piece_back = back.followed_by(&data[..cut.consumed]);
        data.truncate(cut.consumed);
        let parts_before = std::mem::replace(&mut self.parts_before, cut.parts_after);
        self.position = begin + cut.consumed as u64;
        self.back = piece_back;
        (self.scanned, self.scanned_back) =
            if cut.full { (self.position, piece_back) } else { (read_to, scanned_back) };
        self.short_lines_bytes = if cut.full { cut.consumed.saturating_mul(2).min(1 << 30) as u32 } else { 0 };
        Ok(ReadOutcome::Piece(Piece {
            data,
            lines: cut.lines,
            begin,
            end: self.position,
            parts_before,
            ends_with,
            back: piece_back,
            more: cut.full || read_to < self.seen,
        }))
    }

    /// Reads from the position on until the buffer holds `want` bytes or the file ends.
    fn fill(&mut self, data: &mut Vec<u8>, want: usize) -> io::Result<()> {
        if data.capacity() < want {
            data.reserve_exact(want - data.len());
        }
        if data.capacity() - want > SURPLUS_BYTES {
            // A pooled buffer is larger than what may be read now; the kernel fills all that is offered.
            let had = data.len();
            data.resize(want, 0);
            let got = read_up_to(&self.opened.file, &mut data[had..], self.position + had as u64)?;
            data.truncate(had + got);
            self.bytes_read += got as u64;
        }
        while data.len() < want {
            let offset = self.position + data.len() as u64;
            match rustix::io::pread(&self.opened.file, rustix::buffer::spare_capacity(data), offset) {
                Ok(0) => break,
                Ok(got) => self.bytes_read += got as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Whether the unfinished line has been finished. Reading it again from its beginning is worth it where most of
    /// what is read is new; else only the new bytes are searched for a line end, so that a line which is written byte by
    /// byte costs about four times its length and not its square.
    fn is_worth_reading(&mut self) -> io::Result<bool> {
        let (known, new) = (self.scanned - self.position, self.seen - self.scanned);
        if known <= new || known + new >= self.longest_line() {
            return Ok(true);
        }
        let early = self.scanned.min(FINGERPRINT_BYTES as u64);
        let len = (early + new) as usize;
        let mut probe = vec![0; len];
        let got = read_up_to(&self.opened.file, &mut probe, self.scanned - early)?;
        self.bytes_read += got as u64;
        let (before, found) = probe[..got].split_at(got.min(early as usize));
        let known = usize::from(self.scanned_back.len).min(before.len());
        if fingerprint(&before[before.len() - known..]) != self.scanned_back {
            self.forget_scanned();
            return Ok(true);
        }
        if memchr::memchr(b'\n', found).is_some() {
            return Ok(true);
        }
        self.scanned += found.len() as u64;
        self.scanned_back = fingerprint(&probe[got.saturating_sub(FINGERPRINT_BYTES)..got]);
        Ok(false)
    }

    /// With so many bytes a line ends or is cut.
    fn longest_line(&self) -> u64 {
        u64::from(self.max_line_bytes) + 2
    }

    /// What the next [`Self::read`] takes from the pool, in bytes: the credit to take before. (Where a line turns out to
    /// be longer than a chunk it takes up to `max_line_bytes` + 2 that once; from then on this says so.)
    pub fn next_read_bytes(&self, pool: &ChunkPool) -> usize {
        let chunk = match self.short_lines_bytes as usize {
            0 => pool.chunk_bytes(),
            short => short.min(pool.chunk_bytes()),
        };
        let known = (self.scanned - self.position) as usize;
        let most = if known >= chunk { self.longest_read() } else { chunk };
        usize::try_from(self.seen - self.position).unwrap_or(usize::MAX).min(most)
    }

    fn longest_read(&self) -> usize {
        self.longest_line() as usize
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// Parts of the line at the position that are cut off already.
    pub fn parts_before(&self) -> u32 {
        self.parts_before
    }

    /// Of the 64 bytes before the position.
    pub fn back(&self) -> Fingerprint {
        self.back
    }

    /// Bytes of a line that has begun after the position and isn't finished, as last read.
    pub fn unfinished_bytes(&self) -> u64 {
        self.scanned - self.position
    }

    /// Size in bytes when last looked at.
    pub fn size(&self) -> u64 {
        self.opened.size
    }

    /// The file has no name any more: it can't grow but through those who hold it open. As last looked at.
    pub fn is_unlinked(&self) -> bool {
        self.unlinked
    }

    /// Bytes that were seen after the position and were cut off the file's end before they were read, while the bytes
    /// before the position stayed. Counted since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Takes over another limit for what follows (a changed entry).
    pub fn set_max_line_bytes(&mut self, max_line_bytes: u32) {
        self.max_line_bytes = max_line_bytes;
    }

    pub fn file(&self) -> &File {
        &self.opened.file
    }

    pub fn dev_ino(&self) -> (u64, u64) {
        (self.opened.dev, self.opened.ino)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow::PartitionRule,
        journal::Range,
        messages::Part,
        tail::{Recut, back_of_file, model, open},
    };
    use proptest::prelude::*;
    use std::{fs, io::Write, os::unix::fs::FileExt};

    /// A file, its reader and what came out of it.
    struct Tail {
        dir: tempfile::TempDir,
        file: File,
        reader: TailReader,
        pool: ChunkPool,
        max: u32,
        lines: Vec<model::ModelLine>,
        ranges: Vec<Range>,
    }

    impl Tail {
        fn new(chunk: usize, max: u32) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.log");
            let file = File::options().append(true).create(true).read(true).open(&path).unwrap();
            let reader = TailReader::new(open(&path).unwrap(), 0, 0, Fingerprint::default(), max);
            let pool = ChunkPool::new(chunk, 2);
            Self { dir, file, reader, pool, max, lines: Vec::new(), ranges: Vec::new() }
        }

        fn append(&mut self, bytes: impl AsRef<[u8]>) {
            self.file.write_all(bytes.as_ref()).unwrap();
        }

        /// Writes the file anew from its beginning, in place.
        fn rewrite(&mut self, bytes: impl AsRef<[u8]>) {
            self.file.set_len(0).unwrap();
            self.append(bytes);
            // Two writes within one tick of the file system's clock are told apart by their time here.
            self.file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }

        /// Reads as long as there is something; answers the lost bytes if the file was replaced.
        fn read(&mut self, finish: bool) -> Option<u64> {
            loop {
                match self.reader.read(&self.pool, finish).unwrap() {
                    ReadOutcome::Piece(piece) => self.keep(piece),
                    ReadOutcome::Nothing => return None,
                    ReadOutcome::Replaced { lost_bytes } => return Some(lost_bytes),
                }
            }
        }

        fn keep(&mut self, piece: Piece) {
            assert_eq!(piece.data.len() as u64, piece.end - piece.begin);
            assert_eq!(piece.end, self.reader.position());
            self.lines.extend(model_lines(&piece));
            self.ranges.push(Range {
                begin: piece.begin,
                end: piece.end,
                read_ms: 0,
                parts_before: piece.parts_before,
                parts_after: self.reader.parts_before(),
                ends_with: piece.ends_with,
                max_line_bytes: self.max,
                entry: None,
                partition: PartitionRule::File,
                back: piece.back,
            });
            drop(self.pool.seal(piece.data));
        }

        /// Another reader, as after a restart.
        fn reopen(&mut self) {
            let (position, parts, back) = (self.reader.position(), self.reader.parts_before(), self.reader.back());
            let opened = open(&self.dir.path().join("a.log")).unwrap();
            self.reader = TailReader::new(opened, position, parts, back, self.max);
        }

        fn recut(&self, range: &Range) -> Option<Vec<model::ModelLine>> {
            match self.reader.recut(range, &self.pool).unwrap() {
                Recut::Piece(piece) => Some(model_lines(&piece)),
                Recut::Lost { bytes } => {
                    assert_eq!(bytes, range.end - range.begin);
                    None
                }
            }
        }
    }

    fn model_lines(piece: &Piece) -> Vec<model::ModelLine> {
        let bytes = |l: &Line| piece.data[l.start as usize..][..l.len as usize].to_vec();
        piece.lines.iter().map(|l| (piece.begin + u64::from(l.start), bytes(l), l.part)).collect()
    }

    #[test]
    fn an_idle_reader_is_small() {
        assert!(size_of::<TailReader>() <= 256, "{}", size_of::<TailReader>());
    }

    #[test]
    fn what_is_appended_comes_out_once_and_an_unfinished_line_waits_for_its_end() {
        let mut tail = Tail::new(4096, 100);
        assert_eq!(tail.reader.look().unwrap(), Look::Nothing);
        tail.append("one\ntw");
        assert_eq!(tail.reader.look().unwrap(), Look::Unread(6));
        assert_eq!(tail.read(false), None);
        assert_eq!((tail.reader.position(), tail.reader.unfinished_bytes()), (4, 2));
        assert_eq!(tail.reader.look().unwrap(), Look::Nothing);
        tail.append("o\n\n");
        tail.append("\r\nlast");
        assert_eq!(tail.read(false), None);
        assert_eq!((tail.reader.position(), tail.reader.unfinished_bytes()), (11, 4));
        assert_eq!(tail.read(true), None);
        assert_eq!(tail.ranges.last().unwrap().ends_with, RangeEnd::File);
        let line = |at, text: &str| (at, text.as_bytes().to_vec(), Part::Whole);
        assert_eq!(tail.lines, [line(0, "one"), line(4, "two"), line(11, "last")]);
        assert_eq!(tail.read(true), None);
        assert_eq!(tail.lines.len(), 3);
    }

    #[test]
    fn a_piece_of_empty_lines_only_moves_the_position() {
        let mut tail = Tail::new(4096, 100);
        tail.append("\n\n\r\n");
        tail.read(false);
        assert!(tail.lines.is_empty() && tail.ranges.len() == 1 && tail.reader.position() == 4);
    }

    #[test]
    fn truncation_is_replacement_and_counts_what_was_seen_and_not_read() {
        let mut tail = Tail::new(4096, 100);
        tail.append("one\ntwo\n");
        tail.read(false);
        tail.append("three\nfo");
        assert_eq!(tail.reader.look().unwrap(), Look::Unread(8));
        tail.file.set_len(0).unwrap();
        assert_eq!(tail.reader.look().unwrap(), Look::Replaced { lost_bytes: 8 });
        assert_eq!(tail.read(false), Some(8));
        assert_eq!(tail.reader.position(), 8, "the position stays");
    }

    #[test]
    fn truncated_and_regrown_content_is_seen_at_every_size() {
        for new in ["ONE\n", "one\nTWO\n", "one\nTWO\nthree\nfour\n"] {
            let mut tail = Tail::new(4096, 100);
            tail.append("one\ntwo\n");
            tail.read(false);
            tail.rewrite(new);
            assert_eq!(tail.reader.look().unwrap(), Look::Replaced { lost_bytes: 0 }, "{new:?}");
            assert_eq!(tail.read(false), Some(0), "{new:?}");
            tail.reopen();
            assert_eq!(tail.read(false), Some(0), "{new:?} after a restart");
            assert_eq!(tail.lines.len(), 2);
        }
    }

    #[test]
    fn content_that_changes_between_look_and_read_is_not_taken() {
        let mut tail = Tail::new(4096, 100);
        tail.append("one\ntwo\n");
        tail.read(false);
        tail.append("three\n");
        assert_eq!(tail.reader.look().unwrap(), Look::Unread(6));
        // As if the clock of the file system had not moved on.
        let before = tail.file.metadata().unwrap().modified().unwrap();
        tail.file.set_len(0).unwrap();
        tail.append("XXX\nXXX\nXXXXX\n");
        tail.file.set_modified(before).unwrap();
        assert_eq!(tail.read(false), Some(6));
    }

    #[test]
    fn an_end_that_is_cut_off_behind_the_position_is_lost_but_no_replacement() {
        let mut tail = Tail::new(4096, 100);
        tail.append("one\nunfinished");
        tail.read(false);
        tail.file.set_len(4).unwrap();
        assert_eq!(tail.reader.look().unwrap(), Look::Nothing);
        assert_eq!((tail.reader.take_lost(), tail.reader.take_lost()), (10, 0));
        assert_eq!(tail.reader.unfinished_bytes(), 0);
        tail.append("two\n");
        assert_eq!(tail.read(false), None);
        assert_eq!(tail.lines[1], (4, b"two".to_vec(), Part::Whole));
    }

    #[test]
    fn an_unfinished_first_line_that_is_written_anew_is_read_anew() {
        // The same size, longer by little, longer by much: no line end may be overlooked in what was scanned.
        for new in ["a\nbcdefgh", "a\nbcdefghi", "a\nbcdefghijklmnopqrstuvwxyz"] {
            let mut tail = Tail::new(4096, 100);
            tail.append("unfinishd");
            tail.read(false);
            tail.rewrite(new);
            assert_eq!(tail.read(false), None);
            assert_eq!(tail.lines, [(0, b"a".to_vec(), Part::Whole)], "{new:?}");
        }
    }

    #[test]
    fn a_reader_that_starts_within_a_file_takes_what_stands_there_for_right() {
        let mut tail = Tail::new(4096, 100);
        tail.append("old\nnew\n");
        let opened = open(&tail.dir.path().join("a.log")).unwrap();
        tail.reader = TailReader::new(opened, 4, 0, Fingerprint::default(), 100);
        assert_eq!(tail.read(false), None);
        assert_eq!(tail.lines, [(4, b"new".to_vec(), Part::Whole)]);
        assert_eq!(Some(tail.reader.back()), back_of_file(tail.reader.file(), 8).unwrap());
        tail.rewrite("OLD\nNEW\nmore\n");
        assert_eq!(tail.read(false), Some(0));
    }

    #[test]
    fn a_deleted_file_is_read_to_its_end() {
        let mut tail = Tail::new(4096, 100);
        tail.append("one\n");
        assert!(!tail.reader.is_unlinked());
        fs::remove_file(tail.dir.path().join("a.log")).unwrap();
        tail.append("two");
        tail.read(true);
        assert!(tail.reader.is_unlinked());
        assert_eq!(tail.lines.len(), 2);
    }

    #[test]
    fn a_line_written_byte_by_byte_costs_reads_in_proportion_to_its_length() {
        let read_of = |length: usize| {
            let mut tail = Tail::new(4096, 900_000);
            for _ in 0..length {
                tail.append("x");
                assert_eq!(tail.read(false), None);
            }
            tail.append("\n");
            tail.read(false);
            assert_eq!(tail.lines, [(0, vec![b'x'; length], Part::Whole)]);
            // The fingerprints' 64 bytes are read at each look.
            tail.reader.bytes_read
        };
        let (short, long) = (read_of(500), read_of(5000));
        assert!(long < 12 * short, "{short} bytes for 500, {long} for 5000");
    }

    #[test]
    fn a_line_of_50_mb_and_a_file_without_a_line_end_come_in_parts() {
        let mut tail = Tail::new(256 << 10, 512 << 10);
        let block: Vec<u8> = (0..1 << 20).map(|i: u32| b'a' + (i % 23) as u8).collect();
        for _ in 0..50 {
            tail.append(&block);
        }
        let whole = 50_u64 << 20;
        assert_eq!(tail.read(false), None);
        assert_eq!((tail.lines.len(), tail.reader.position()), (99, whole - (512 << 10)));
        tail.read(true);
        assert_eq!(tail.lines.iter().map(|line| line.1.len() as u64).sum::<u64>(), whole);
        assert_eq!((tail.lines[0].2, tail.lines[99].2), (Part::Nth(1), Part::Last));
        assert!(tail.reader.bytes_read < whole * 3, "{} bytes read", tail.reader.bytes_read);
        assert_eq!(tail.recut(&tail.ranges[50]).unwrap(), tail.lines[50..51]);
    }

    #[test]
    fn many_short_lines_come_in_bounded_pieces_without_reading_all_again_for_each() {
        let mut tail = Tail::new(256 << 10, 100);
        tail.append("x\n".repeat(200_000));
        tail.read(false);
        assert_eq!((tail.lines.len(), tail.ranges.len()), (200_000, 200_000_usize.div_ceil(MOST_LINES)));
        assert!(tail.reader.bytes_read < 1_200_000, "{} bytes read of 400,000", tail.reader.bytes_read);
    }

    #[test]
    fn a_read_keeps_to_the_credit_and_only_a_long_line_exceeds_it() {
        let mut tail = Tail::new(64 << 10, 100_000);
        tail.append("line of twenty bytes\n".repeat(1000));
        let ReadOutcome::Piece(piece) = tail.reader.read_within(500, MOST_LINES, &tail.pool, false).unwrap() else {
            panic!()
        };
        assert!(piece.more && piece.data.len() == 483 && piece.data.capacity() <= 500);
        tail.read(false);
        tail.append("y".repeat(80_000));
        tail.read(false);
        assert_eq!(tail.reader.unfinished_bytes(), 80_000);
        tail.append("\n");
        tail.reader.look().unwrap();
        assert_eq!(tail.reader.next_read_bytes(&tail.pool), 80_001);
    }

    #[test]
    fn a_range_whose_bytes_are_gone_or_others_is_lost_and_a_damaged_one_is_refused() {
        let mut tail = Tail::new(4096, 100);
        tail.append("one\ntwo\n");
        tail.read(false);
        let range = tail.ranges[0];
        assert_eq!(tail.recut(&range).unwrap(), tail.lines);
        for damaged in [Range { end: 0, begin: 1, ..range }, Range { end: u64::MAX, ..range }] {
            let error = tail.reader.recut(&damaged, &tail.pool).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        for wrong in [
            Range { ends_with: RangeEnd::Part, ..range },
            Range { end: 7, ..range },
            Range { back: fingerprint(b"one\ntwa\n"), ..range },
        ] {
            assert_eq!(tail.recut(&wrong), None);
        }
        tail.file.set_len(6).unwrap();
        assert_eq!(tail.recut(&range), None);
        tail.rewrite("one\ntwx\n");
        assert_eq!(tail.recut(&range), None);
    }

    /// What happens to a file under its reader.
    #[derive(Clone, Debug)]
    enum Step {
        Append(Vec<u8>),
        /// Reads once with so much credit.
        Read(usize),
        Reopen,
        Truncate,
        /// Truncated and written again, longer than before.
        Regrow(Vec<u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => model::content().prop_map(Step::Append),
            8 => (1_usize..400).prop_map(Step::Read),
            1 => Just(Step::Reopen),
            1 => Just(Step::Truncate),
            1 => model::content().prop_map(Step::Regrow),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Random appends, reads, restarts, truncations: what comes out of each content is a prefix of the lines of its
        /// whole, all of them where it was read to the end, and every range gives its lines again.
        #[test]
        fn a_reader_gives_the_lines_of_the_model_whatever_happens_to_the_file(
            steps in proptest::collection::vec(step(), 1..40),
            max in 16_u32..40,
            chunk in 64_usize..512,
        ) {
            let mut tail = Tail::new(chunk, max);
            let mut content: Vec<u8> = Vec::new();
            // Every content differs from its predecessor from the first byte on.
            let mut life = 0_u8;
            for step in steps {
                match step {
                    Step::Append(bytes) => {
                        tail.append(&bytes);
                        content.extend(&bytes);
                    }
                    Step::Read(most) => match tail.reader.read_within(most, MOST_LINES, &tail.pool, false).unwrap() {
                        ReadOutcome::Piece(piece) => tail.keep(piece),
                        ReadOutcome::Nothing => {}
                        ReadOutcome::Replaced { .. } => prop_assert!(false, "nothing was replaced"),
                    },
                    Step::Reopen => tail.reopen(),
                    Step::Truncate | Step::Regrow(_) => {
                        let had = tail.reader.position() > 0;
                        let all = model::lines(&content, max, true);
                        prop_assert!(all.starts_with(&tail.lines));
                        life = life.wrapping_add(1);
                        let mut new = Vec::new();
                        if let Step::Regrow(more) = step {
                            new = vec![b'0' + life % 64; content.len() + 1];
                            new.extend(more);
                        }
                        tail.rewrite(&new);
                        let replaced = matches!(tail.reader.look().unwrap(), Look::Replaced { .. });
                        prop_assert_eq!(replaced, had, "position {}", tail.reader.position());
                        if had {
                            let opened = open(&tail.dir.path().join("a.log")).unwrap();
                            tail.reader = TailReader::new(opened, 0, 0, Fingerprint::default(), max);
                        }
                        (tail.lines, tail.ranges) = (Vec::new(), Vec::new());
                        content = new;
                    }
                }
            }
            prop_assert_eq!(tail.read(true), None);
            prop_assert_eq!(&tail.lines, &model::lines(&content, max, true));
            let mut lines = tail.lines.iter();
            for range in &tail.ranges {
                let own: Vec<_> = tail.recut(range).expect("still there");
                prop_assert!(own.iter().eq(lines.by_ref().take(own.len())));
            }
            prop_assert!(lines.next().is_none());
            let mut at = 0;
            for range in &tail.ranges {
                prop_assert_eq!(range.begin, at);
                at = range.end;
            }
            prop_assert_eq!(at, content.len() as u64);
            // A byte before the position is another now: no more reading, no more re-sending of that range.
            if at > 0 {
                let last = content[content.len() - 1];
                // Not through the appending descriptor: that one ignores the offset.
                let writer = File::options().write(true).open(tail.dir.path().join("a.log")).unwrap();
                writer.write_all_at(&[last ^ 1], at - 1).unwrap();
                prop_assert_eq!(tail.recut(tail.ranges.last().unwrap()), None);
            }
        }
    }
}
