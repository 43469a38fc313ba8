//! Reading a journalled range again. The problem: after a crash the same bytes must leave as the same lines, and if they
//! are others by now, none of them.

use super::{
    Piece, Rest, TailReader, cut,
    fingerprint::{Back, FINGERPRINT_BYTES, read_up_to},
};
use crate::{
    flow::ChunkPool,
    journal::{Range, RangeEnd},
};
use std::io;

/// A journalled range, read again.
#[derive(Debug)]
pub enum Recut {
    Piece(Piece),
    /// The bytes are gone or are others now. `bytes`: how many.
    Lost {
        bytes: u64,
    },
}

/// No range is larger; one that claims to be is damaged.
const LARGEST_RANGE_BYTES: u64 = 64 << 20;

impl TailReader {
    /// Reads a journalled range again and cuts it by its own rules. Doesn't move the position.
    ///
    /// # Errors
    /// What reading answers, and `InvalidInput` for a range that can't be one.
    pub fn recut(&self, range: &Range, pool: &ChunkPool) -> io::Result<Recut> {
        let len = range.end.checked_sub(range.begin).filter(|len| *len <= LARGEST_RANGE_BYTES);
        let Some(len) = len else { return Err(io::ErrorKind::InvalidInput.into()) };
        let early = range.begin.min(FINGERPRINT_BYTES as u64);
        let mut back = Back { bytes: [0; FINGERPRINT_BYTES], len: early as usize };
        let mut data = pool.take(len as usize);
        data.resize(len as usize, 0);
        let got = read_up_to(self.file(), &mut data, range.begin)?
            + read_up_to(self.file(), &mut back.bytes[..early as usize], range.begin - early)?;
        let rest = match range.ends_with {
            RangeEnd::Line => Rest::Wait,
            RangeEnd::Part => Rest::Part,
            RangeEnd::File => Rest::File,
        };
        let cut = cut(&data, range.parts_before, range.max_line_bytes, rest, usize::MAX);
        let same = got as u64 == len + early
            && back.followed_by(&data) == range.back
            && cut.consumed as u64 == len
            && cut.ends_with.is_none_or(|end| end == range.ends_with);
        if !same {
            drop(pool.seal(data));
            return Ok(Recut::Lost { bytes: len });
        }
        Ok(Recut::Piece(Piece {
            data,
            lines: cut.lines,
            begin: range.begin,
            end: range.end,
            parts_before: range.parts_before,
            ends_with: range.ends_with,
            back: range.back,
            more: false,
        }))
    }
}
