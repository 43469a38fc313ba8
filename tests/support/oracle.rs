//! Knows what was written and judges what arrived: every line once, undamaged, under one identity, at its own position
//! and in order. It names what is wrong; it never repairs or excuses.

use super::writer::{Written, WrittenLine};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
};

/// What a line looks like where it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Byte for byte.
    Raw,
    /// Invalid UTF-8 replaced by U+FFFD.
    Text,
}

pub struct Oracle<'a> {
    written: &'a Written,
    form: Form,
    /// How often each line arrived.
    seen: Vec<Vec<u32>>,
    /// By FILE.
    identities: HashMap<String, Identity>,
    violations: Violations,
}

struct Identity {
    /// File and generation.
    of: (usize, u32),
    offset: u64,
}

/// How many of each kind, and the first few.
#[derive(Default)]
struct Violations(BTreeMap<&'static str, (u64, Vec<String>)>);

impl Violations {
    fn add(&mut self, kind: &'static str, what: impl Display) {
        let (count, examples) = self.0.entry(kind).or_default();
        *count += 1;
        if examples.len() < 5 {
            examples.push(what.to_string());
        }
    }
}

impl<'a> Oracle<'a> {
    pub fn new(written: &'a Written, form: Form) -> Self {
        let seen = written.files.iter().map(|lines| vec![0; lines.len()]).collect();
        Self { written, form, seen, identities: HashMap::new(), violations: Violations::default() }
    }

    /// A line that arrived under this identity (FILE) and position, in the order in which it counts.
    pub fn see(&mut self, line: &[u8], identity: &str, offset: u64) {
        let Some((file, number)) = parse(line) else {
            return self.violations.add("not one of our lines", format!("{identity} {offset}: {}", excerpt(line)));
        };
        let Some(&expected) = self.written.files.get(file).and_then(|lines| lines.get(number)) else {
            return self.violations.add("never written", excerpt(line));
        };
        let name = format!("file {file} line {number}");
        self.seen[file][number] += 1;
        let checksum = if self.form == Form::Raw { expected.raw } else { expected.text };
        if crc32c::crc32c(line) != checksum {
            self.violations.add("damaged", format!("{name}: {}", excerpt(line)));
        }
        if offset != expected.offset {
            self.violations.add("wrong position", format!("{name}: {offset} instead of {}", expected.offset));
        }
        self.see_identity(identity, (file, expected.generation), offset, &name);
    }

    fn see_identity(&mut self, identity: &str, of: (usize, u32), offset: u64, name: &str) {
        let Some(known) = self.identities.get_mut(identity) else {
            self.identities.insert(identity.to_owned(), Identity { of, offset });
            return;
        };
        if known.of != of {
            let (was, is) = (known.of, of);
            self.violations.add("one identity for two files", format!("{identity}: {was:?} and {is:?} at {name}"));
        } else if offset <= known.offset {
            let last = known.offset;
            self.violations.add("out of order", format!("{name}: position {offset} after {last} of {identity}"));
        }
        known.of = of;
        known.offset = offset;
    }

    /// Lines that have arrived at least once.
    pub fn arrived(&self) -> usize {
        self.seen.iter().flatten().filter(|&&times| times > 0).count()
    }

    /// Everything that is wrong, as sentences; empty when everything arrived exactly once.
    pub fn verdict(mut self) -> Vec<String> {
        for (file, lines) in self.seen.iter().enumerate() {
            for (number, &times) in lines.iter().enumerate() {
                let WrittenLine { generation, offset, .. } = self.written.files[file][number];
                let name = || format!("file {file} line {number} (generation {generation}, position {offset})");
                match times {
                    0 => self.violations.add("missing", name()),
                    1 => {}
                    _ => self.violations.add("arrived more than once", format!("{} {times} times", name())),
                }
            }
        }
        let mut owners: HashMap<(usize, u32), &str> = HashMap::new();
        for (identity, known) in &self.identities {
            if let Some(other) = owners.insert(known.of, identity) {
                let (file, generation) = known.of;
                let what = format!("file {file} generation {generation}: {other} and {identity}");
                self.violations.add("two identities for one file", what);
            }
        }
        let sentence = |(kind, (count, examples)): (&str, (u64, Vec<String>))| {
            format!("{kind}: {count}, for example {}", examples.join("; "))
        };
        self.violations.0.into_iter().map(sentence).collect()
    }
}

/// The records of a topic, folded: a record with the same FILE and OFFSET as an earlier one is a repeat, which Kafka may
/// hold but which has to be the same.
pub struct Fold<'a> {
    pub oracle: Oracle<'a>,
    first: HashMap<(String, u64), u32>,
    pub repeats: u64,
}

impl<'a> Fold<'a> {
    pub fn new(written: &'a Written) -> Self {
        Self { oracle: Oracle::new(written, Form::Raw), first: HashMap::new(), repeats: 0 }
    }

    pub fn see(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let (Some((file, offset)), Some(value)) = (key.and_then(parse_key), value) else {
            let key = key.map_or("none".to_owned(), excerpt);
            return self.oracle.violations.add("record without our key", format!("key {key}"));
        };
        let checksum = crc32c::crc32c(value);
        match self.first.insert((file.to_owned(), offset), checksum) {
            None => self.oracle.see(value, file, offset),
            Some(earlier) => {
                self.repeats += 1;
                if earlier != checksum {
                    self.oracle.violations.add("a repeat that differs", format!("{file} {offset}: {}", excerpt(value)));
                }
            }
        }
    }
}

/// FILE and OFFSET of a record's key: `HOST FILE OFFSET READ_MS ENTRY PATH`.
fn parse_key(key: &[u8]) -> Option<(&str, u64)> {
    let parts: Vec<&str> = std::str::from_utf8(key).ok()?.splitn(6, ' ').collect();
    let [_host, file, offset, read_ms, _entry, _path] = parts[..] else { return None };
    read_ms.parse::<u64>().ok()?;
    (file.len() == 16).then_some((file, offset.parse().ok()?))
}

/// File and line number.
fn parse(line: &[u8]) -> Option<(usize, usize)> {
    let end = line.iter().position(|&byte| byte == b' ')?;
    let file = std::str::from_utf8(line[..end].strip_prefix(b"file=")?).ok()?.parse().ok()?;
    let rest = line[end + 1..].strip_prefix(b"line=")?;
    let end = rest.iter().position(|&byte| byte == b' ')?;
    let number = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    rest[end + 1..].starts_with(b"crc=").then_some((file, number))
}

fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
    format!("{text:?} ({} bytes)", bytes.len())
}
