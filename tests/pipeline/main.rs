//! The proof, with real etcd, Kafka and Elasticsearch and the real program: lines go from files to where they belong
//! exactly once, whatever is killed on the way. And the proof of the proof: known mistakes are switched on, and the
//! oracle has to catch each.
//!
//! `LOGWEIR_TEST_LINES` (200,000) sets the size of the central tests, `LOGWEIR_TEST_SEED` their randomness.

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared with benches/figures.rs, which uses the rest")]
mod support;

mod agent;
mod bad_entries;
mod bad_files;
mod check;
mod clock;
mod crash_points;
mod dead_letters;
mod disk_full;
mod foreign;
mod lifecycle;
mod lost_positions;
mod mutations;
mod oracle_itself;
mod rebalance;
mod records;
mod scene;
mod servers_themselves;
mod standalone;
mod standalone_bad;
mod standalone_mending;
mod tls;
mod transfer;
