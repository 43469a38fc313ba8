//! Recognising a file by its content. The problem: an inode number is re-used and a name is given to another file, but
//! 64 bytes of content are hardly ever the same by chance.

use crate::journal::Fingerprint;
use std::{fs::File, io, os::unix::fs::FileExt};

/// So many bytes are hashed.
pub(super) const FINGERPRINT_BYTES: usize = 64;

/// Fingerprint of these bytes, at most 64 of them. It is on disk: it never changes.
///
/// FNV-1a in 64 bits, then a final mix so that every bit depends on all bytes. Two CRCs of the same bytes would not do
/// for 64 bits: a CRC with another start value is the first one plus a constant.
pub fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let bytes = &bytes[..bytes.len().min(FINGERPRINT_BYTES)];
    if bytes.is_empty() {
        return Fingerprint::default();
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    Fingerprint { len: bytes.len() as u8, hash: hash ^ (hash >> 33) }
}

/// Fingerprint of the first 64 bytes of a file, or of as many as there are.
pub fn head_of_file(file: &File) -> io::Result<Fingerprint> {
    let mut bytes = [0; FINGERPRINT_BYTES];
    let got = read_up_to(file, &mut bytes, 0)?;
    Ok(fingerprint(&bytes[..got]))
}

/// Fingerprint of the 64 bytes before `position` (all of them where there are fewer). `None`: the file is shorter.
pub fn back_of_file(file: &File, position: u64) -> io::Result<Option<Fingerprint>> {
    let mut bytes = [0; FINGERPRINT_BYTES];
    let len = position.min(FINGERPRINT_BYTES as u64) as usize;
    let got = read_up_to(file, &mut bytes[..len], position - len as u64)?;
    Ok((got == len).then(|| fingerprint(&bytes[..len])))
}

/// Whether a head covers the full 64 bytes and so need not be updated as the file grows.
pub fn is_complete(head: &Fingerprint) -> bool {
    usize::from(head.len) == FINGERPRINT_BYTES
}

/// Whether the file begins with the bytes that `known` is the fingerprint of, however much it has grown since. Any file
/// begins with the nothing that an empty file's head is.
pub fn starts_like(file: &File, known: &Fingerprint) -> io::Result<bool> {
    let mut bytes = [0; FINGERPRINT_BYTES];
    let len = usize::from(known.len).min(FINGERPRINT_BYTES);
    let got = read_up_to(file, &mut bytes[..len], 0)?;
    Ok(got == len && fingerprint(&bytes[..len]) == *known)
}

/// Fills the buffer from `offset` on, as far as the file goes; answers how far.
pub(super) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

/// Up to 64 bytes before a place in a file.
pub(super) struct Back {
    pub bytes: [u8; FINGERPRINT_BYTES],
    pub len: usize,
}

impl Back {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Fingerprint of the 64 bytes before the end of `data`, which stands right behind these bytes.
    pub fn followed_by(&self, data: &[u8]) -> Fingerprint {
        if data.len() >= FINGERPRINT_BYTES {
            return fingerprint(&data[data.len() - FINGERPRINT_BYTES..]);
        }
        let mut joined = [0; 2 * FINGERPRINT_BYTES];
        let len = self.len + data.len();
        joined[..self.len].copy_from_slice(self.bytes());
        joined[self.len..len].copy_from_slice(data);
        fingerprint(&joined[len.saturating_sub(FINGERPRINT_BYTES)..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_hash_never_changes_because_it_is_on_disk() {
        assert_eq!(fingerprint(b""), Fingerprint { len: 0, hash: 0 });
        assert_eq!(fingerprint(b"a"), Fingerprint { len: 1, hash: 0x82a2_a958_a9be_ce5b });
        let long: Vec<u8> = (0..100).collect();
        assert_eq!(fingerprint(&long), fingerprint(&long[..64]));
        assert_eq!(fingerprint(&long), Fingerprint { len: 64, hash: 0x99bd_9b89_78c6_1461 });
    }

    #[test]
    fn every_byte_counts_and_zeros_are_bytes() {
        let zeros = [0_u8; 64];
        for i in 0..64 {
            let mut other = zeros;
            other[i] = 1;
            assert_ne!(fingerprint(&other), fingerprint(&zeros), "byte {i}");
            assert_ne!(fingerprint(&zeros[..i]).hash, fingerprint(&zeros).hash, "length {i}");
        }
    }

    #[test]
    fn a_shorter_known_head_is_found_in_a_file_that_has_grown() -> io::Result<()> {
        let mut file = tempfile::tempfile()?;
        let empty = head_of_file(&file)?;
        file.write_all(b"first line\n")?;
        let short = head_of_file(&file)?;
        assert_eq!((short.len, is_complete(&short)), (11, false));
        file.write_all(&[b'x'; 100])?;
        let full = head_of_file(&file)?;
        assert!(is_complete(&full) && starts_like(&file, &short)? && starts_like(&file, &full)?);
        assert!(starts_like(&file, &empty)?);
        assert!(!starts_like(&file, &fingerprint(b"first lime\n"))?);
        assert!(!starts_like(&file, &fingerprint(&[0; 64]))?);
        Ok(())
    }

    #[test]
    fn the_back_of_a_position_needs_a_file_that_long() -> io::Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&[7; 100])?;
        assert_eq!(back_of_file(&file, 0)?, Some(Fingerprint::default()));
        assert_eq!(back_of_file(&file, 10)?, Some(fingerprint(&[7; 10])));
        assert_eq!(back_of_file(&file, 100)?, Some(fingerprint(&[7; 64])));
        assert_eq!(back_of_file(&file, 101)?, None);
        Ok(())
    }
}
