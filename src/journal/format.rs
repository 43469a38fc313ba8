//! The bytes of a journal segment. The problem: after any crash and any damage, every record that was written whole
//! has to be found, and nothing else may be taken for one.
//!
//! ```text
//! header  magic "logweirJ" | version u32 | 0 u32 | number u64 | crc32c u32      28 bytes, the same for ever
//! record  marker 0xC5 and length, u32 (length in the low 24 bits) | crc32c u32 | payload
//! ```
//! All numbers are little-endian. A record's checksum covers the segment's number, the record's own place in it and
//! its length, so that a copy of it (inside a file name, or a block of a deleted segment) is no record elsewhere.
//! What the payloads say stands in `record`; a new kind of record needs a new version.

use super::record::{Record, encode};

/// The newest version that this program reads, and the one it writes.
pub(super) const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"logweirJ";
/// Bytes of the header.
pub(super) const HEADER: usize = 28;
/// Bytes before a record's payload.
pub(super) const FRAME: usize = 8;
/// First byte of a record on the disk is the low byte of its length; this one stands in the fourth.
const MARKER: u32 = 0xC5;
/// A payload is never longer: two paths and a topic at the most, or an entry's key.
pub(super) const MAX_PAYLOAD: usize = 256 * 1024;

/// The header of segment `number`.
pub(super) fn header(number: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&number.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..24]);
    bytes[24..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The version that a header names; `None` when it is no whole and sound header of segment `number`.
pub(super) fn read_header(bytes: &[u8], number: u64) -> Option<u32> {
    let head = bytes.get(..HEADER)?;
    let crc = u32::from_le_bytes(head[24..].try_into().ok()?);
    let sound = &head[..8] == MAGIC && head[16..24] == number.to_le_bytes() && crc32c::crc32c(&head[..24]) == crc;
    sound.then(|| u32::from_le_bytes([head[8], head[9], head[10], head[11]]))
}

fn checksum(number: u64, offset: u64, payload: &[u8]) -> u32 {
    let mut seed = [0; 20];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed[8..16].copy_from_slice(&offset.to_le_bytes());
    seed[16..].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&seed), payload)
}

/// Appends the record that `payload` makes at `offset` of segment `number`.
pub(super) fn frame(out: &mut Vec<u8>, number: u64, offset: u64, payload: &[u8]) {
    debug_assert!(payload.len() <= MAX_PAYLOAD);
    out.extend_from_slice(&(payload.len() as u32 | MARKER << 24).to_le_bytes());
    out.extend_from_slice(&checksum(number, offset, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// The payload of the record at `offset`; `None` when no sound record stands there.
pub(super) fn record_at(bytes: &[u8], number: u64, offset: usize) -> Option<&[u8]> {
    let head = bytes.get(offset..offset + FRAME)?;
    let word = u32::from_le_bytes(head[..4].try_into().ok()?);
    let len = (word & 0x00FF_FFFF) as usize;
    if word >> 24 != MARKER || len > MAX_PAYLOAD {
        return None;
    }
    let payload = bytes.get(offset + FRAME..offset + FRAME + len)?;
    let crc = u32::from_le_bytes(head[4..].try_into().ok()?);
    (checksum(number, offset as u64, payload) == crc).then_some(payload)
}

/// Where the next sound record stands, at `from` or after it.
pub(super) fn next_record(bytes: &[u8], number: u64, from: usize) -> Option<usize> {
    // The marker is the fourth byte of a record, so it is what is searched for.
    let searched = bytes.get(from + 3..)?;
    memchr::memchr_iter(MARKER as u8, searched).map(|i| from + i).find(|&at| record_at(bytes, number, at).is_some())
}

/// Payloads that are written together, by one call.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// Empties it. What a large batch took is given back.
    pub fn clear(&mut self) {
        if self.bytes.capacity() > 64 * 1024 {
            *self = Self::default();
        }
        self.bytes.clear();
        self.ends.clear();
    }

    /// Bytes of all payloads.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Adds a record; `false` when it is too long to be one, and then it isn't added.
    #[must_use]
    pub fn push(&mut self, record: &Record) -> bool {
        let begin = self.bytes.len();
        encode(&mut self.bytes, record);
        let fits = self.bytes.len() - begin <= MAX_PAYLOAD;
        if fits {
            self.ends.push(self.bytes.len());
        } else {
            self.bytes.truncate(begin);
        }
        fits
    }

    pub fn extend(&mut self, other: &Self) {
        let shift = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| end + shift));
    }

    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, &end)| &self.bytes[begin..end])
    }
}
