//! From a Kafka record to an Elasticsearch document: who wrote the line (the record's key), when, under which `_id`,
//! into which index, and its JSON. The problem: five million times a gigabyte, so nothing here allocates per line;
//! what the lines of one file share is worked out once ([`Documents`]).
//!
//! Rules that users rely on:
//! - `_id` of a line of ours: base64url without padding of FILE (8 bytes), OFFSET (8 bytes) and CRC-32C of the value
//!   (4 bytes), big-endian: 27 characters. Of a foreign record: of topic, partition, offset, timestamp.
//! - The index is chosen by READ_MS (foreign: Kafka's timestamp), in UTC, so that a re-sent line goes where it went
//!   before, whatever the clocks do. See [`IndexTemplate`] for the name.
//! - A foreign record is one whose key isn't of our form, or names a time after the year 9999 or an offset that is no
//!   `long`. It has `logweir.partition` and `logweir.offset` instead of host and file.

mod body;
mod documents;
mod file;
mod id;
mod index;
mod json;
mod key;
mod time;
mod words;

pub use documents::{Documents, Located, Place};
pub use file::FileDocuments;
pub use index::{DEFAULT_INDEX, IndexTemplate, IndexTemplateError};
pub use json::write_escaped;
pub use key::Key;
pub use words::{MAX_WORD_UNITS, SEPARATORS, each_word, lower, lower_char, words};
