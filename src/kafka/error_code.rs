//! Kafka's error codes and what they ask of us. The problem: "the broker said no" means five different things, and
//! taking one for another loses a line or stops a topic for nothing.

use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use std::fmt;

/// An error code of the Kafka protocol (positive) or of librdkafka (negative); never 0. Kept as a number, because a
/// newer broker may send codes that the library has no name for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i32);

/// What to do about an error of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// This record (or one that stood in the same record batch) will never be taken: try it alone, then the dead
    /// letters.
    Refused,
    /// Nothing that anyone must do something about: send again.
    Again,
    /// The topic can't be written to until an operator acts; other topics are not concerned.
    Topic,
    /// The client itself is at its end: a new one sends everything again.
    Client,
}

impl ErrorCode {
    pub const MSG_SIZE_TOO_LARGE: Self = Self(10);
    pub const UNKNOWN_TOPIC_OR_PART: Self = Self(3);
    pub const LEADER_NOT_AVAILABLE: Self = Self(5);
    /// librdkafka: this partition doesn't exist.
    pub const UNKNOWN_PARTITION: Self = Self(-190);
    /// librdkafka: no connection to a broker.
    pub const TRANSPORT: Self = Self(-195);
    pub const TIMED_OUT: Self = Self(-185);
    pub const ALL_BROKERS_DOWN: Self = Self(-187);
    pub const RESOLVE: Self = Self(-193);
    pub const FAIL: Self = Self(-196);
    pub const FATAL: Self = Self(-150);

    /// librdkafka's name for it.
    fn known(self) -> Option<RDKafkaErrorCode> {
        RDKafkaRespErr::try_from(self.0).ok().map(RDKafkaErrorCode::from)
    }

    /// What to do about a record that failed with this.
    pub fn verdict(self) -> Verdict {
        match self.0 {
            // CORRUPT_MESSAGE, MSG_SIZE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_RECORD, and librdkafka's
            // "another record of the same record batch was invalid"
            2 | 10 | 18 | 87 | -138 => Verdict::Refused,
            // PURGE_QUEUE, PURGE_INFLIGHT, FATAL, FENCED, DESTROY, and the fatal ones of the idempotent producer:
            // DUPLICATE_SEQUENCE, OUT_OF_ORDER, INVALID_PRODUCER_EPOCH, PRODUCER_FENCED
            -152 | -151 | -150 | -144 | -197 | 45 | 46 | 47 | 90 => Verdict::Client,
            // UNKNOWN_TOPIC_OR_PART, TOPIC_EXCEPTION, TOPIC_AUTHORIZATION_FAILED, INVALID_TIMESTAMP (a clock is
            // wrong), INVALID_REQUIRED_ACKS, CLUSTER_AUTHORIZATION_FAILED, UNSUPPORTED_FOR_MESSAGE_FORMAT,
            // POLICY_VIOLATION, UNSUPPORTED_COMPRESSION_TYPE, and the local UNKNOWN_TOPIC, UNKNOWN_PARTITION, NOENT
            3 | 17 | 29 | 31 | 32 | 21 | 43 | 44 | 76 | -188 | -190 | -156 => Verdict::Topic,
            _ => Verdict::Again,
        }
    }

    /// Too much at once: less may be taken.
    pub fn is_size(self) -> bool {
        matches!(self.0, 10 | 18)
    }

    /// Only the connection is missing: not worth an ERROR, it heals by itself.
    pub fn is_connection(self) -> bool {
        matches!(self, Self::TRANSPORT | Self::TIMED_OUT | Self::ALL_BROKERS_DOWN | Self::RESOLVE | Self::FAIL)
            || self == Self::LEADER_NOT_AVAILABLE
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(code) => write!(f, "{code}"),
            None => write!(f, "unknown Kafka error {}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorCode({}: {self})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_names_and_unknown_ones_are_no_danger() {
        assert!(ErrorCode::MSG_SIZE_TOO_LARGE.to_string().contains("size too large"), "{}", ErrorCode(10));
        assert_eq!(ErrorCode(9999).to_string(), "unknown Kafka error 9999");
        assert_eq!(ErrorCode(9999).verdict(), Verdict::Again);
    }

    #[test]
    fn only_what_a_record_itself_is_to_blame_for_may_become_a_dead_letter() {
        let refused: Vec<i32> = (-200..130).filter(|&c| ErrorCode(c).verdict() == Verdict::Refused).collect();
        assert_eq!(refused, [-138, 2, 10, 18, 87]);
    }
}
