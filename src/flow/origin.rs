//! Where a batch comes from. The problem: a line needs one identity for life, cheap to carry with a chunk of a
//! thousand lines. The facts that all lines of a chunk share live here, once per origin, behind an `Arc`.

use std::{fmt, str::FromStr, sync::Arc};

/// Number of an origin within this process: the journal's handle of a file, or the consumer's number of an assigned
/// partition. Never re-used while the process lives.
pub type OriginId = u64;

/// Identity of a file's content for one topic: 64 random bits, drawn once and journalled before the first line is
/// sent. Written as 16 lower-case hex digits (FILE in the Kafka key).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FileId(pub u64);

/// First 8 hex digits of the hash of an entry's delivery fields (ENTRY in the Kafka key).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EntryId(pub u32);

/// The text is not the hex form of an identity.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected {digits} lower-case hex digits")]
pub struct ParseIdError {
    digits: usize,
}

fn hex(text: &str, digits: usize) -> Result<u64, ParseIdError> {
    let plain = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(text, 16).ok().filter(|_| plain).ok_or(ParseIdError { digits })
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for FileId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        hex(text, 16).map(Self)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for EntryId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        hex(text, 8).map(|n| Self(n as u32))
    }
}

/// How the lines of a file are spread over the partitions of its topic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PartitionRule {
    /// All lines of a file in one partition, chosen by its [`FileId`]: file order is kept.
    #[default]
    File,
    /// A random partition for each chunk.
    Random,
    /// The next partition for each chunk.
    RoundRobin,
    /// This partition.
    Number(i32),
}

/// What all lines of one file on their way to one topic share.
#[derive(Debug, PartialEq, Eq)]
pub struct FileOrigin {
    /// The journal's handle of this file and topic.
    pub id: OriginId,
    /// Kafka topic.
    pub topic: Arc<str>,
    pub partition: PartitionRule,
    /// HOST in the Kafka key.
    pub host: Arc<str>,
    pub file: FileId,
    /// `None` for an entry without delivery fields (`-` in the key).
    pub entry: Option<EntryId>,
    /// The path under which the file was first collected, as bytes: it stays when the file is renamed by a rotation,
    /// because that is the name its lines were written to.
    pub path: Box<[u8]>,
}

/// One assigned partition of a Kafka topic.
#[derive(Debug, PartialEq, Eq)]
pub struct PartitionOrigin {
    /// A new number at each assignment, so that a late [`Settled`](crate::messages::Settled) of an earlier one is
    /// recognised as stale.
    pub id: OriginId,
    pub topic: Arc<str>,
    pub partition: i32,
}

/// A file, or a Kafka partition.
#[derive(Clone, Debug)]
pub enum Origin {
    File(Arc<FileOrigin>),
    Partition(Arc<PartitionOrigin>),
}

impl Origin {
    pub fn id(&self) -> OriginId {
        match self {
            Self::File(f) => f.id,
            Self::Partition(p) => p.id,
        }
    }

    pub fn topic(&self) -> &Arc<str> {
        match self {
            Self::File(f) => &f.topic,
            Self::Partition(p) => &p.topic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_have_one_text_form() {
        assert_eq!(FileId(0xa41f_9c0e_77d2_b3c8).to_string(), "a41f9c0e77d2b3c8");
        assert_eq!("000000000000000f".parse(), Ok(FileId(15)));
        assert_eq!("0000000f".parse(), Ok(EntryId(15)));
        for wrong in ["", "f", "A41F9C0E77D2B3C8", "+41f9c0e77d2b3c8", "a41f9c0e77d2b3c8 "] {
            assert!(wrong.parse::<FileId>().is_err(), "{wrong:?}");
        }
    }
}
