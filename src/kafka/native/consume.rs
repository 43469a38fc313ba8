//! Fetching many records with one call. The problem: polling costs an event object a record; taking a whole array
//! from a queue costs a third of that. Every assigned partition is forwarded to one queue of ours, so that one
//! blocking call waits for all of them, while group events stay on the consumer's own queue.

use crate::{kafka::ErrorCode, messages::Part};
use rdkafka::{
    bindings as sys,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
};
use std::{
    ffi::{CStr, CString, c_char},
    marker::PhantomData,
    ptr::{self, NonNull},
    slice,
    sync::Arc,
    time::Duration,
};

/// A queue of librdkafka's; shared by the thread that takes records and the one that handles rebalances.
pub struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}
// SAFETY: as above: every call takes the queue's own lock.
unsafe impl Sync for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: created by rd_kafka_queue_new and destroyed once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

impl Queue {
    /// A new queue of this consumer; all handles must be dropped before the consumer.
    pub fn new<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<Arc<Self>> {
        // SAFETY: the client pointer is valid while `consumer` lives.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        NonNull::new(queue).map(|queue| Arc::new(Self(queue)))
    }

    /// Sends what is fetched from a partition to this queue from now on. To be called before the partition is
    /// assigned: librdkafka keeps a forwarding that the application has set.
    pub fn attach<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, topic: &str, partition: i32) -> bool {
        let Ok(topic) = CString::new(topic) else { return false };
        // SAFETY: client, topic and destination are valid for the calls; the reference that get_partition returns is
        // given back at once, the forwarding stays.
        unsafe {
            let source = sys::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition);
            if source.is_null() {
                return false;
            }
            sys::rd_kafka_queue_forward(source, self.0.as_ptr());
            sys::rd_kafka_queue_destroy(source);
        }
        true
    }
}

/// End of a partition as the last fetch told it, without asking the broker.
pub fn cached_end<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: valid client and topic; both results are plain numbers.
    let code = unsafe {
        let client = consumer.client().native_ptr();
        sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
    };
    (code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// Takes records from a [`Queue`], an array at a time.
pub struct Taker {
    queue: Arc<Queue>,
    /// Room for one array of records, kept between calls.
    room: Vec<*mut sys::rd_kafka_message_t>,
}

impl Taker {
    /// Takes `max_records` by one call at the most.
    pub fn new(queue: Arc<Queue>, max_records: usize) -> Self {
        Self { queue, room: vec![ptr::null_mut(); max_records.max(1)] }
    }

    /// Waits at most `timeout` for a first record and takes what else is there already.
    pub fn take(&mut self, timeout: Duration) -> Messages<'_> {
        let wait = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // One record with the time-out, the rest without: a larger array would wait until it is full.
        let mut count = self.consume(0, 1, wait);
        if count == 1 && self.room.len() > 1 {
            count += self.consume(1, self.room.len() - 1, 0);
        }
        Messages { messages: &mut self.room[..count] }
    }

    fn consume(&mut self, from: usize, most: usize, wait_ms: i32) -> usize {
        let room = &mut self.room[from..from + most];
        // SAFETY: `room` has space for `room.len()` pointers; the queue is valid.
        let count =
            unsafe { sys::rd_kafka_consume_batch_queue(self.queue.0.as_ptr(), wait_ms, room.as_mut_ptr(), room.len()) };
        usize::try_from(count).unwrap_or(0)
    }
}

/// An array of fetched records, given back to librdkafka when dropped.
pub struct Messages<'q> {
    messages: &'q mut [*mut sys::rd_kafka_message_t],
}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        for message in self.messages.iter_mut() {
            // SAFETY: each pointer came from rd_kafka_consume_batch_queue and is destroyed once.
            unsafe { sys::rd_kafka_message_destroy(*message) }
            *message = ptr::null_mut();
        }
    }
}

impl Messages<'_> {
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        self.messages.iter().map(|&raw| Message { raw, life: PhantomData })
    }
}

/// One fetched record, or an error of its partition.
#[derive(Clone, Copy)]
pub struct Message<'m> {
    raw: *mut sys::rd_kafka_message_t,
    life: PhantomData<&'m ()>,
}

impl<'m> Message<'m> {
    /// `Some` when this isn't a record but an error.
    pub fn error(&self) -> Option<ErrorCode> {
        // SAFETY: the array holds valid messages as long as `'m`. The code is a broker's number and may be one that the
        // generated enum doesn't know, so it is read as what it is in C.
        let code = unsafe { ptr::addr_of!((*self.raw).err).cast::<i32>().read() };
        (code != 0).then_some(ErrorCode(code))
    }

    /// Names the topic without reading its text: equal for all records of one topic as long as it is assigned.
    pub fn topic_handle(&self) -> usize {
        // SAFETY: valid message.
        unsafe { (*self.raw).rkt as usize }
    }

    pub fn topic(&self) -> &'m str {
        // SAFETY: a record's topic handle is valid as long as the record.
        let name: *const c_char = unsafe { sys::rd_kafka_topic_name((*self.raw).rkt) };
        if name.is_null() {
            return "";
        }
        // SAFETY: a C string owned by the topic handle. Kafka's topic names are ASCII.
        unsafe { CStr::from_ptr(name) }.to_str().unwrap_or("")
    }

    pub fn partition(&self) -> i32 {
        // SAFETY: valid message.
        unsafe { (*self.raw).partition }
    }

    pub fn offset(&self) -> i64 {
        // SAFETY: valid message.
        unsafe { (*self.raw).offset }
    }

    /// `None` for a null value.
    pub fn value(&self) -> Option<&'m [u8]> {
        // SAFETY: valid message.
        let (start, len) = unsafe { ((*self.raw).payload, (*self.raw).len) };
        bytes(start.cast(), len)
    }

    pub fn key(&self) -> Option<&'m [u8]> {
        // SAFETY: valid message.
        let (start, len) = unsafe { ((*self.raw).key, (*self.raw).key_len) };
        bytes(start.cast(), len)
    }

    /// Milliseconds since 1970; 0 where the record has none.
    pub fn timestamp_ms(&self) -> i64 {
        // SAFETY: valid message; the type isn't asked for.
        unsafe { sys::rd_kafka_message_timestamp(self.raw, ptr::null_mut()) }.max(0)
    }

    /// The header `part`.
    pub fn part(&self) -> Part {
        let mut headers = ptr::null_mut();
        // SAFETY: valid message; the headers belong to it and live as long.
        let found = unsafe { sys::rd_kafka_message_headers(self.raw, &mut headers) };
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Part::Whole;
        }
        let (mut value, mut size) = (ptr::null(), 0usize);
        // SAFETY: valid headers and a C string; the value belongs to the headers.
        let found = unsafe { sys::rd_kafka_header_get_last(headers, c"part".as_ptr(), &mut value, &mut size) };
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Part::Whole;
        }
        match bytes(value.cast(), size) {
            Some(b"last") => Part::Last,
            Some(number) => {
                std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()).map_or(Part::Whole, Part::Nth)
            }
            None => Part::Whole,
        }
    }
}

fn bytes<'m>(start: *const u8, len: usize) -> Option<&'m [u8]> {
    // SAFETY: librdkafka gives start and length of memory that lives as long as its message; null is checked.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, len) })
}
