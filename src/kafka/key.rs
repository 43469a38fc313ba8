//! The key of our Kafka records: `HOST FILE OFFSET READ_MS ENTRY PATH`, one space between, PATH last. The problem: it
//! is written once per line, so only OFFSET may cost anything; and reading it must tell our keys from anybody
//! else's, because a record with a foreign key gets another identity.

use crate::flow::{EntryId, FileId, FileOrigin};

/// A key, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    pub host: &'a str,
    pub file: FileId,
    /// Position of the line's first byte in the file.
    pub offset: u64,
    /// When it was first read, milliseconds since 1970.
    pub read_ms: u64,
    pub entry: Option<EntryId>,
    /// As the file system has it: any bytes but NUL, not necessarily UTF-8.
    pub path: &'a [u8],
}

/// The key is not one of ours; the field says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of ours: {0}")]
pub struct ForeignKey(pub &'static str);

impl<'a> Key<'a> {
    /// Reads a key. Only the exact form that [`KeyTemplate`] writes is taken (one space, lower-case hex of full
    /// length, numbers without leading zeros), so that two different keys are never the same record.
    ///
    /// # Errors
    /// The field that is not of our form.
    pub fn parse(key: &'a [u8]) -> Result<Self, ForeignKey> {
        let mut fields = key.splitn(6, |&byte| byte == b' ');
        let mut text = |name: &'static str| {
            fields.next().and_then(|field| std::str::from_utf8(field).ok()).ok_or(ForeignKey(name))
        };
        let host = text("HOST").and_then(|host| is_host(host).then_some(host).ok_or(ForeignKey("HOST")))?;
        let file = text("FILE")?.parse().map_err(|_| ForeignKey("FILE"))?;
        let offset = number(text("OFFSET")?).ok_or(ForeignKey("OFFSET"))?;
        let read_ms = number(text("READ_MS")?).ok_or(ForeignKey("READ_MS"))?;
        let entry = match text("ENTRY")? {
            "-" => None,
            hex => Some(hex.parse().map_err(|_| ForeignKey("ENTRY"))?),
        };
        let path = fields.next().filter(|path| !path.is_empty() && !path.contains(&0)).ok_or(ForeignKey("PATH"))?;
        Ok(Self { host, file, offset, read_ms, entry, path })
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && !host.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// A decimal number in its one form: no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| canonical)
}

/// The parts of a batch's keys that are the same for all its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    /// `HOST FILE ` and ` READ_MS ENTRY PATH`.
    text: Vec<u8>,
    prefix: usize,
}

/// Decimal digits of the largest u64.
const MAX_DIGITS: usize = 20;

impl KeyTemplate {
    /// White space and control characters in the host name are written as `_`, an empty host name as `-`.
    pub fn new(origin: &FileOrigin, read_ms: u64) -> Self {
        use std::io::Write;
        let mut text = Vec::with_capacity(origin.host.len() + origin.path.len() + 64);
        match &*origin.host {
            "" => text.push(b'-'),
            host if is_host(host) => text.extend_from_slice(host.as_bytes()),
            host => {
                let host: String =
                    host.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect();
                text.extend_from_slice(host.as_bytes());
            }
        }
        // Writing into a Vec doesn't fail.
        let _ = write!(text, " {} ", origin.file);
        let prefix = text.len();
        let _ = write!(text, " {read_ms} ");
        let _ = match origin.entry {
            Some(entry) => write!(text, "{entry} "),
            None => write!(text, "- "),
        };
        text.extend_from_slice(&origin.path);
        Self { text, prefix }
    }

    /// Length that no key of this batch exceeds.
    pub fn max_len(&self) -> usize {
        self.text.len() + MAX_DIGITS
    }

    /// Appends the key of the line at `offset`; its length.
    pub fn append(&self, offset: u64, keys: &mut Vec<u8>) -> usize {
        let before = keys.len();
        let (prefix, suffix) = self.text.split_at(self.prefix);
        keys.extend_from_slice(prefix);
        append_number(offset, keys);
        keys.extend_from_slice(suffix);
        keys.len() - before
    }
}

/// Decimal digits, without the machinery of `fmt`: this runs once per line.
fn append_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; MAX_DIGITS];
    let mut at = MAX_DIGITS;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::PartitionRule;
    use proptest::prelude::*;

    fn origin(host: &str, file: u64, entry: Option<u32>, path: &[u8]) -> FileOrigin {
        FileOrigin {
            id: 1,
            topic: "t".into(),
            partition: PartitionRule::File,
            host: host.into(),
            file: FileId(file),
            entry: entry.map(EntryId),
            path: path.into(),
        }
    }

    const EXAMPLE: &[u8] = b"web-01 a41f9c0e77d2b3c8 18273645 1795246112111 - /var/log/nginx/access.log";

    #[test]
    fn the_documented_example_is_written_and_read() {
        let origin = origin("web-01", 0xa41f_9c0e_77d2_b3c8, None, b"/var/log/nginx/access.log");
        let mut keys = b"before".to_vec();
        let template = KeyTemplate::new(&origin, 1_795_246_112_111);
        let len = template.append(18_273_645, &mut keys);
        assert_eq!(&keys[6..], EXAMPLE);
        assert!(len == EXAMPLE.len() && len <= template.max_len());
        let key = Key::parse(EXAMPLE).unwrap();
        assert_eq!((key.host, key.offset, key.entry), ("web-01", 18_273_645, None));
    }

    #[test]
    fn foreign_keys_are_refused_by_field() {
        for (key, field) in [
            (&b""[..], "HOST"),
            (b"user-17", "FILE"),
            (b"web-01  a41f9c0e77d2b3c8 1 2 - /x", "FILE"),
            (b"web-01 A41F9C0E77D2B3C8 1 2 - /x", "FILE"),
            (b"web-01 a41f9c0e77d2b3c8 01 2 - /x", "OFFSET"),
            (b"web-01 a41f9c0e77d2b3c8 +1 2 - /x", "OFFSET"),
            (b"web-01 a41f9c0e77d2b3c8 18446744073709551616 2 - /x", "OFFSET"),
            (b"web-01 a41f9c0e77d2b3c8 1  - /x", "READ_MS"),
            (b"web-01 a41f9c0e77d2b3c8 1 2 -- /x", "ENTRY"),
            (b"web-01 a41f9c0e77d2b3c8 1 2 123 /x", "ENTRY"),
            (b"web-01 a41f9c0e77d2b3c8 1 2 -", "PATH"),
            (b"web-01 a41f9c0e77d2b3c8 1 2 - ", "PATH"),
            (b"\xff a41f9c0e77d2b3c8 1 2 - /x", "HOST"),
        ] {
            assert_eq!(Key::parse(key), Err(ForeignKey(field)), "{}", key.escape_ascii());
        }
    }

    #[test]
    fn a_host_name_never_breaks_the_fields() {
        for (host, written) in [("", "-"), ("my host\n", "my_host_"), ("caf\u{e9}", "caf\u{e9}")] {
            let mut key = Vec::new();
            KeyTemplate::new(&origin(host, 1, Some(2), b"/a b"), 3).append(0, &mut key);
            assert_eq!(Key::parse(&key).unwrap().host, written);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            host in "[a-zA-Z0-9._-]{1,20}", file: u64, offset: u64, read_ms: u64, entry: Option<u32>,
            path in proptest::collection::vec(1..=255_u8, 1..60),
        ) {
            let mut key = Vec::new();
            KeyTemplate::new(&origin(&host, file, entry, &path), read_ms).append(offset, &mut key);
            let expected = Key {
                host: &host, file: FileId(file), offset, read_ms, entry: entry.map(EntryId), path: &path,
            };
            prop_assert_eq!(Key::parse(&key), Ok(expected));
        }

        #[test]
        fn any_bytes_are_refused_or_have_one_form(key in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(k) = Key::parse(&key) {
                let mut again = Vec::new();
                let origin = origin(k.host, k.file.0, k.entry.map(|e| e.0), k.path);
                KeyTemplate::new(&origin, k.read_ms).append(k.offset, &mut again);
                prop_assert_eq!(again, key);
            }
        }
    }
}
