//! One question, two places to ask it: Elasticsearch, and the embedded index of `logweir standalone`.

pub mod budget;
mod cursor;
mod elastic;
mod embedded;
pub mod glob;
mod histogram;
pub mod marks;
pub mod matcher;
pub mod model;
pub mod parse;
pub mod query;
pub mod span;
pub mod value;

pub use elastic::{Elastic, Follow, HotElastic, News};
pub use embedded::Embedded;
