//! What is to be collected: the entries, their JSON, their keys, how two sets differ, and where they live.

mod entry;
mod file;
mod intake;
mod local;
mod locate;
mod meaning;
mod merge;
mod parse;
mod raw;
mod scope;
mod template;
mod texts;
mod topics;

pub use entry::{Delivery, Entry, EntryKey, Start};
pub use file::{FileContent, FileWatch};
pub use intake::{Intake, Judgement, Value};
pub use local::{LocalError, add_entries, write_entries};
pub use locate::Placed;
pub use meaning::{LocalPaths, Meaning, NotUtf8, PathKind};
pub use merge::{CollectionDiff, Collections};
pub use parse::{MAX_VALUE_BYTES, Mistake, parse_entries};
pub use scope::{Scope, is_entry_key};
pub use template::{KeyTemplate, LocalNames, Placeholder, TemplateError};
pub use texts::EntryTexts;
pub use topics::{TOPIC_PREFIX, TopicMemory};

pub(crate) use parse::{is_topic_name, nearest};

/// Prefix of the keys under which the delivery fields of entries are kept; ENTRY follows.
pub const ENTRY_PREFIX: &str = "/logweir/entry/";

/// Why a value was not taken over.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Refusal {
    /// etcd key or file name.
    pub source: String,
    /// etcd's mod revision; `None` for a file.
    pub revision: Option<i64>,
    /// From 1; `None` where the reason has no place in the text.
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub reason: String,
}

impl Refusal {
    pub fn new(source: &str, revision: Option<i64>, mistake: Mistake) -> Self {
        let (line, column) = mistake.place.unzip();
        Self { source: source.into(), revision, line, column, reason: mistake.reason }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source)?;
        if let Some(revision) = self.revision {
            write!(f, " (revision {revision})")?;
        }
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, " line {line} column {column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}
