//! A topic's handle. A [`Topic`] holds its client, so no handle outlives it.

use super::client::Client;
use crate::kafka::ErrorCode;
use rdkafka::bindings as rd;
use std::{
    ffi::{CString, c_int},
    fmt,
    ptr::{self, NonNull},
    sync::Arc,
    time::Duration,
};

/// A topic's handle: spares the look-up by name for each record.
pub struct Topic {
    pub(super) rkt: NonNull<rd::rd_kafka_topic_t>,
    pub(super) client: Arc<Client>,
}

// SAFETY: topic handles may be used from any thread, several at once.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

impl Topic {
    /// # Errors
    /// The name is none (empty, too long, a NUL in it).
    pub fn new(client: &Arc<Client>, name: &str) -> Result<Self, ErrorCode> {
        const INVALID_ARG: ErrorCode = ErrorCode(-186);
        let name = CString::new(name).map_err(|_| INVALID_ARG)?;
        // SAFETY: a live client, a string that ends with NUL, and no configuration of its own (the client's is used).
        let rkt = unsafe { rd::rd_kafka_topic_new(client.rk.as_ptr(), name.as_ptr(), ptr::null_mut()) };
        Ok(Self { rkt: NonNull::new(rkt).ok_or(INVALID_ARG)?, client: client.clone() })
    }

    /// Asks the brokers how many partitions the topic has. Blocks up to `deadline`.
    ///
    /// # Errors
    /// The topic's error (unknown, not allowed, without a leader), or none of the brokers answered.
    pub fn partitions(&self, deadline: Duration) -> Result<i32, ErrorCode> {
        let ms = c_int::try_from(deadline.as_millis()).unwrap_or(c_int::MAX);
        let mut metadata: *const rd::rd_kafka_metadata = ptr::null();
        // SAFETY: live handles; `metadata` is set where the call succeeds, and is then ours until destroyed.
        let code =
            unsafe { rd::rd_kafka_metadata(self.client.rk.as_ptr(), 0, self.rkt.as_ptr(), &mut metadata, ms) } as i32;
        if code != 0 || metadata.is_null() {
            return Err(ErrorCode(if code == 0 { ErrorCode::FAIL.0 } else { code }));
        }
        // SAFETY: the answer of a successful call: `topics` points to `topic_cnt` of them, here one. The code is read
        // as a number, since it comes from the broker.
        let (code, partitions) = unsafe {
            let answer = match (*metadata).topic_cnt {
                0 => (ErrorCode::UNKNOWN_TOPIC_OR_PART.0, 0),
                _ => {
                    let topic = (*metadata).topics;
                    (ptr::addr_of!((*topic).err).cast::<i32>().read(), (*topic).partition_cnt)
                }
            };
            rd::rd_kafka_metadata_destroy(metadata);
            answer
        };
        match (code, partitions) {
            (0, 1..) => Ok(partitions),
            (0, _) => Err(ErrorCode::LEADER_NOT_AVAILABLE),
            (code, _) => Err(ErrorCode(code)),
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: ours, given back once, before its client.
        unsafe { rd::rd_kafka_topic_destroy(self.rkt.as_ptr()) }
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Topic")
    }
}
