//! One question, two places to ask it: Elasticsearch, and the embedded index of `logweir standalone`.

pub mod glob;
pub mod marks;
pub mod model;
pub mod parse;
pub mod query;
pub mod span;
