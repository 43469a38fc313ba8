//! The key of a record of ours, `HOST FILE OFFSET READ_MS ENTRY PATH`, read without a copy. The problem: every record
//! of every producer passes here, so whatever isn't exactly of this form is foreign, never an error.

use crate::flow::{EntryId, FileId};

/// What the agent says about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    pub host: &'a [u8],
    pub file: FileId,
    /// Position of the line's first byte in its file.
    pub offset: u64,
    /// When it was first read, milliseconds since 1970, up to the end of the year 9999.
    pub read_ms: u64,
    /// `None` for an entry without delivery fields.
    pub entry: Option<EntryId>,
    /// May contain spaces, and bytes that are no UTF-8.
    pub path: &'a [u8],
}

/// A decimal number without sign, at most 19 digits.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
}

/// The bytes before the first space, and those after it.
pub(super) fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', text)?;
    (end > 0).then(|| (&text[..end], &text[end + 1..]))
}

impl<'a> Key<'a> {
    /// `None` for a key of another form.
    pub fn parse(key: &'a [u8]) -> Option<Self> {
        let (host, rest) = word(key)?;
        let (file, rest) = word(rest)?;
        let (offset, rest) = word(rest)?;
        let (read_ms, rest) = word(rest)?;
        let (entry, path) = word(rest)?;
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let key = Self {
            host,
            file: text(file)?.parse().ok()?,
            offset: valid_offset(offset)?,
            read_ms: valid_ms(read_ms)?,
            entry: if entry == b"-" { None } else { Some(text(entry)?.parse().ok()?) },
            path,
        };
        (!path.is_empty()).then_some(key)
    }
}

/// An OFFSET that fits Elasticsearch's `long`.
pub(super) fn valid_offset(text: &[u8]) -> Option<u64> {
    decimal(text).filter(|&n| n <= i64::MAX as u64)
}

/// A READ_MS up to the year 9999.
pub(super) fn valid_ms(text: &[u8]) -> Option<u64> {
    decimal(text).filter(|&ms| ms <= super::time::LAST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "web-01 a41f9c0e77d2b3c8 18273645 1795246112111 - /var/log/nginx/access.log";

    #[test]
    fn the_key_of_the_contract_is_read() {
        let key = Key::parse(EXAMPLE.as_bytes()).unwrap();
        let expected = Key {
            host: b"web-01",
            file: FileId(0xa41f_9c0e_77d2_b3c8),
            offset: 18_273_645,
            read_ms: 1_795_246_112_111,
            entry: None,
            path: b"/var/log/nginx/access.log",
        };
        assert_eq!(key, expected);
    }

    #[test]
    fn a_path_keeps_its_spaces_and_an_entry_is_hex() {
        let key = Key::parse(b"h 000000000000000f 0 0 0000beef /a b/ c\xff").unwrap();
        assert_eq!((key.entry, key.path), (Some(EntryId(0xbeef)), &b"/a b/ c\xff"[..]));
    }

    #[test]
    fn anything_else_is_foreign() {
        let wrong = [
            "",
            "user-42",
            "web-01 a41f9c0e77d2b3c8 18273645 1795246112111 -",
            "web-01 a41f9c0e77d2b3c8 18273645 1795246112111 - ",
            " a41f9c0e77d2b3c8 18273645 1795246112111 - /p",
            "web-01 A41F9C0E77D2B3C8 18273645 1795246112111 - /p",
            "web-01 a41f9c0e77d2b3c8 +8273645 1795246112111 - /p",
            "web-01 a41f9c0e77d2b3c8 9223372036854775808 1795246112111 - /p",
            "web-01 a41f9c0e77d2b3c8 1 99999999999999999999 - /p",
            "web-01 a41f9c0e77d2b3c8 1 253402300800000 - /p",
            "web-01 a41f9c0e77d2b3c8 1 1795246112111 xyz /p",
        ];
        for key in wrong {
            assert_eq!(Key::parse(key.as_bytes()), None, "{key:?}");
        }
    }
}
