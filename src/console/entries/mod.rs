//! What is collected, by whom and where, as a person changes it. The problem: the keys of entries are changed by several
//! people on several consoles, by the command line, and by whatever else writes to etcd or edits a file; pages over
//! thousands of entries must answer at once, and no change may get lost or go unrecorded.
//!
//! ```text
//! book     all keys in memory, as the store has them ([`Book`])     list       what of it is shown
//! change   one change: checked, recorded, written at once           history    who changed what, and texts to go back to
//! outside  changes that went past all this                          diff       what a change changes
//! effective   what one host goes by, and where it comes from        import     many keys in one JSON file
//! ```

pub(super) mod api;
pub(super) mod api_changes;
mod book;
pub mod change;
mod diff;
mod effective;
pub mod history;
mod import;
mod list;
mod outside;

pub use book::{Book, Key, Source, UNKNOWN_BASE_DIR};
pub use diff::difference;
