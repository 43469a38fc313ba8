//! Files that grow: which ones an entry means, how they are recognised, read and cut into lines. The problem: a log is
//! rotated, truncated, re-created and written half a line at a time while it is read, and yet every byte must come out
//! once. Plain code, no actor, no Kafka.

mod binary;
mod braces;
mod cut;
mod fingerprint;
#[cfg(test)]
pub(crate) mod model;
mod open;
mod pattern;
mod reader;
mod recut;
mod scan;
mod watch;

pub use binary::is_binary;
pub use cut::{Cut, LONGEST_LINE_BYTES, Rest, SHORTEST_LINE_BYTES, cut};
pub use fingerprint::{back_of_file, fingerprint, head_of_file, is_complete, starts_like};
pub use open::{OpenError, OpenedFile, open};
pub use pattern::{Expansion, Pattern, PatternError, Problem};
pub use reader::{Look, MOST_LINES, Piece, ReadOutcome, TailReader};
pub use recut::Recut;
pub use scan::{FileKind, Found, look_at, scan};
pub use watch::{FolderWatch, Hints, Touched, WatchError, WatchMode};
