//! Kafka: producing and consuming in batches without copying a line, what its errors mean, the record's key, and what
//! librdkafka may be told by a person. The only `unsafe` of the project stands in [`native`].

mod assignment;
pub mod config;
mod consume;
mod counters;
mod dead_letter_file;
mod delivery;
mod error_code;
mod flight;
mod gather;
pub mod key;
mod letters;
pub mod native;
mod outbox;
mod parking;
mod partition;
mod prefix;

pub use consume::{ConsumeLoop, ConsumeSettings, ConsumerCounters, ConsumerShared};
pub use counters::{ErrorKind, ProducerCounters, Unsettled};
pub use dead_letter_file::{DeadLetter, DeadLetterFile, DeadLetterFileError, read_dead_letters};
pub use delivery::{Link, Notice};
pub use error_code::{ErrorCode, Verdict};
pub use flight::{Failed, Flight, Landed, TopicFlow};
pub use letters::{LetterError, LetterProducer};
pub use outbox::{Next, Outbox, Outcome};
pub use partition::{Chooser, partition_of_file};
