//! One query means the same to everybody: the embedded index, a real Elasticsearch and the live tail's matcher find the
//! same documents in the same order, and Elasticsearch sees the same words in a line as logweir does.
//!
//! `LOGWEIR_TEST_DOCUMENTS` (100,000) sets the size, `LOGWEIR_TEST_QUERIES` (250) how many queries are made up beside
//! the fixed ones, `LOGWEIR_TEST_SEED` which.

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the pipeline, which use the rest")]
mod support;

mod command;
mod compare;
mod conformance;
mod corpus;
mod follow;
mod large;
mod limits;
mod model;
mod questions;
mod stores;
mod words;
