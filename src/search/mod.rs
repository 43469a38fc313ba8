//! One question, two places to ask it: Elasticsearch, and the embedded index of `logweir standalone`.

pub mod model;
pub mod query;
