//! The embedded index of `logweir standalone`. The problem: a person's own logs have to be found within milliseconds
//! without a server, and after a SIGKILL at any moment each line has to be there exactly once.
//!
//! One index a day (UTC, by READ_MS) in a folder of its own, `<data_dir>/index/2026-11-21/`: retention is the removal of
//! a folder, and damage stays within its day. All days have the same [`schema`](Fields). Documents are added in batches
//! and become visible and durable by a commit, which names in its payload how far it came in each file ([`Committed`]):
//! what the journal sends again after a crash and is there already is recognised by that, without looking up lines.

mod checksum;
mod committed;
mod counters;
mod damage;
mod day;
mod engine;
mod error;
mod feed;
mod folder;
mod line;
mod retention;
mod salvage;
mod schema;
mod set;
#[cfg(test)]
mod tests;
mod words;
mod writer;

pub use committed::Committed;
pub use counters::IndexCounters;
pub use day::Day;
pub use engine::{Engine, EngineNeighbours, EngineSettings, Work};
pub use error::IndexError;
pub use feed::{Live, LiveDocuments, LiveFeed, LiveReader};
pub use folder::IndexFolder;
pub use line::{FieldLimit, LineDocument, Lines};
pub use retention::Retention;
pub use salvage::Salvage;
pub use schema::Fields;
pub use set::{DaySearcher, IndexSet};
pub use writer::{DayWriter, WriterMemory};
