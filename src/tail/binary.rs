//! Whether a file holds text. The problem: `/var/log` is full of files that are none (login records, journals,
//! compressed logs under any name), and their bytes as lines would bury everything else.

use std::{fs::File, io, os::unix::fs::FileExt};

/// So much of the beginning is looked at.
const HEAD_BYTES: usize = 4096;

/// More than one odd byte in so many is too much for text.
const ODD_IN: usize = 32;

/// What compressed files and journals begin with.
const MAGIC: [&[u8]; 7] =
    [b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"PK\x03\x04", b"LPKSHHRH"];

/// Whether its beginning is that of a known binary format, or is full of bytes that no text has, zero bytes among them.
/// A few of these are a damaged line of a log, which is collected as it is. An empty file is text.
///
/// # Errors
/// It can't be read.
pub fn is_binary(file: &File) -> io::Result<bool> {
    let mut head = [0; HEAD_BYTES];
    let mut len = 0;
    while len < HEAD_BYTES {
        match file.read_at(&mut head[len..], len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let head = &head[..len];
    let odd = head.iter().filter(|&&byte| byte < b'\x07' || (b'\x0e'..b'\x1b').contains(&byte)).count();
    let full = odd * ODD_IN > len && memchr::memchr(0, head).is_some();
    Ok(full || MAGIC.iter().any(|magic| head.starts_with(magic)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_full_of_odd_bytes_is_no_text() {
        let is = |content: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(content).unwrap();
            is_binary(&file).unwrap()
        };
        assert!(!is(b"") && !is(b"a\n") && !is("连接\n".as_bytes()) && !is(b"latin \xe4\n") && !is(b"\x1b[31mred\n"));
        assert!(is(b"\x1f\x8b\x08") && is(b"\x28\xb5\x2f\xfdx") && is(b"LPKSHHRH") && is(b"a\0b") && is(&[0; 384]));
        let line = b"2026-11-21T14:03:39Z a log that has lost \0 its way once, and goes on\n";
        assert!(!is(line), "a zero byte is a damaged line, not another kind of file");
    }
}
