//! What was sent and what was settled, on disk: after a crash the same ranges of the same files are sent again under
//! the same identities.
//!
//! One folder, used by one process (`lock`), holds one live segment file (`format`, `record`): a snapshot of everything
//! that is known (`state`, `file`), then records of what happened since (`segment`). When that grows, the next segment
//! takes its place (`snapshot`). Whatever a crash or a bad disk leaves is chosen from (`open`) and read around
//! (`recovery`). [`Journal`] (`store`) puts them together.

mod away;
mod file;
mod format;
mod lock;
mod open;
mod record;
mod recovery;
mod segment;
mod snapshot;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use away::is_away;
pub use open::{Condition, Inspection, Opened};
pub use recovery::{Damage, SalvageReport};
pub use segment::{SyncHandle, Synced};
pub use snapshot::{SnapshotJob, WrittenSnapshot};
pub use state::Settlement;
pub use store::{Journal, JournalOptions};

use crate::flow::{EntryId, FileId, OriginId, PartitionRule};
use std::path::PathBuf;

/// Hash of up to 64 bytes of a file: of its head, or of what stands before a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many bytes are hashed, 0 to 64.
    pub len: u8,
    /// CRC-32C of them, widened by a second pass so that chance collisions don't matter (64 bits).
    pub hash: u64,
}

/// A file to be registered: the journal draws its [`FileId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    pub path: PathBuf,
    pub topic: String,
    pub dev: u64,
    pub ino: u64,
    pub head: Fingerprint,
    /// Where reading starts: 0, or the size for `start = "end"`.
    pub start: u64,
}

/// One journalled range of a file: what one batch carries, and the rules by which it was cut into lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub begin: u64,
    pub end: u64,
    pub read_ms: u64,
    /// Parts of the line at `begin` that were sent before this range (0: `begin` is a line's first byte).
    pub parts_before: u32,
    /// What stands at `end`.
    pub ends_with: RangeEnd,
    /// Parts of the line at `end` that are sent when this range is (0 unless it ends with [`RangeEnd::Part`]). Only the
    /// cutter can tell: lines may stand before the long one.
    pub parts_after: u32,
    pub max_line_bytes: u32,
    pub entry: Option<EntryId>,
    pub partition: PartitionRule,
    /// Of the 64 bytes before `end`.
    pub back: Fingerprint,
}

/// What stands at the end of a range, so that cutting it again gives the same lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeEnd {
    /// A line end.
    Line,
    /// The middle of a line that is longer than `max_line_bytes`: its next part follows.
    Part,
    /// The end of a finished file whose last line has no line end.
    File,
}

/// What the journal knows of one file (for one topic).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    pub id: OriginId,
    pub file: FileId,
    /// The name it was first collected under.
    pub path: PathBuf,
    /// The name it was last seen under.
    pub current_path: PathBuf,
    pub topic: String,
    pub dev: u64,
    pub ino: u64,
    pub head: Fingerprint,
    /// Where reading began; 0 where nobody knows: bytes before it were never collected.
    pub start: u64,
    /// Position up to which everything is settled.
    pub settled: u64,
    /// Position after the last journalled range: reading goes on here.
    pub position: u64,
    /// Parts of the line at `position` that were sent already.
    pub parts_before: u32,
    /// Of the 64 bytes before `position`.
    pub back: Fingerprint,
    /// Journalled and not settled, in order, each with its `seq`.
    pub pending: Vec<(u64, Range)>,
}

/// Why the journal could not write or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk is full: reading stops until there is room.
    #[error("no room for the journal in {}: {source}", path.display())]
    Full { path: PathBuf, source: std::io::Error },
    #[error("journal {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("journal {} has format version {found}, this program knows up to {known}", path.display())]
    Version { path: PathBuf, found: u32, known: u32 },
    #[error("another agent uses the data folder {}", .0.display())]
    Locked(PathBuf),
    #[error("the journal knows no file {0}")]
    UnknownFile(OriginId),
    /// A mistake of the program: it would leave a gap or journal bytes twice.
    #[error("range {begin}..{end} of file {file} does not go on from position {position}")]
    OutOfOrder { file: OriginId, position: u64, begin: u64, end: u64 },
    /// A path, topic or key that no record can hold.
    #[error("{0} is too long for the journal")]
    TooLong(&'static str),
    /// The system gives no random numbers, so no identity can be drawn.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}
