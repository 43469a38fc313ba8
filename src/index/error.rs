//! Why the index can't be read or written.

use super::Day;
use std::{io, path::PathBuf};
use tantivy::{TantivyError, directory::error::OpenReadError};

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("{} was written by a newer version (format {found}, this program knows up to {known})", path.display())]
    NewerVersion { path: PathBuf, found: String, known: u32 },
    #[error("the index of {day} was written by another version: {reason}")]
    OtherVersion { day: Day, reason: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The day can't be read as it is.
    #[error("the index of {day} is damaged: {reason}")]
    Damaged { day: Day, reason: String },
    /// A write failed; what was added since the last commit is not there.
    #[error("the index of {day} can't be written: {reason}")]
    NotWritten { day: Day, reason: String },
    /// A read failed that has nothing to do with what is stored (memory, open files).
    #[error("the index of {day} can't be read: {reason}")]
    NotRead { day: Day, reason: String },
    /// Somebody else has found the day to be damaged, and it is mended now.
    #[error("the index of {0} is damaged; it is written again when it is rebuilt")]
    Mending(Day),
    /// Whoever asked doesn't want it any more.
    #[error("ended before everything was committed")]
    GivenUp,
    #[error("the index panicked")]
    Panicked,
    #[error("no thread for the index: {0}")]
    Thread(String),
}

impl IndexError {
    pub(crate) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    pub(crate) fn thread(error: &io::Error) -> Self {
        Self::Thread(error.to_string())
    }

    /// Somebody took the day's folder away, or what is most needed of it.
    pub(super) fn gone(day: Day) -> Self {
        Self::Damaged { day, reason: "its files are gone".into() }
    }

    /// While writing.
    pub(super) fn writing(day: Day, error: &TantivyError) -> Self {
        Self::NotWritten { day, reason: error.to_string() }
    }

    /// While opening: is it the data, or the machine?
    pub(super) fn opening(day: Day, error: &TantivyError) -> Self {
        let reason = error.to_string();
        let of_machine = |e: &io::Error| e.raw_os_error().is_some() && e.kind() != io::ErrorKind::NotFound;
        match error {
            TantivyError::IoError(e) if of_machine(e) => Self::NotRead { day, reason },
            TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. }) if of_machine(io_error) => {
                Self::NotRead { day, reason }
            }
            // Not damaged: made by another version, which can still read it.
            TantivyError::IncompatibleIndex(_)
            | TantivyError::SchemaError(_)
            | TantivyError::OpenReadError(OpenReadError::IncompatibleIndex(_)) => Self::OtherVersion { day, reason },
            TantivyError::LockFailure(..) | TantivyError::SystemError(_) => Self::NotRead { day, reason },
            _ => Self::Damaged { day, reason },
        }
    }
}
