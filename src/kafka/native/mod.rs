//! The calls of librdkafka that move many records at once, which the safe client doesn't offer. With two settings in
//! `allocator` they are the only `unsafe` of the program.

#![allow(unsafe_code, reason = "the place for it")]

mod client;
mod conf;
mod consume;
mod produce;
mod topic;

pub use client::{Client, Event};
pub use conf::ClientError;
pub use consume::{Message, Queue, Taker, cached_end};
pub use topic::Topic;
