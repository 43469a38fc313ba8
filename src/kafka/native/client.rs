//! librdkafka's producing client and what it reports.
//!
//! What keeps it sound: a [`Client`] owns its `rd_kafka_t` and queue, both made by librdkafka to be used from any thread;
//! it lists every cargo that librdkafka has records of, so that none is forgotten when it goes.

use super::{
    conf::{ClientError, Conf, ErrorText},
    produce::CargoPtr,
};
use crate::kafka::{ErrorCode, Landed, config::ProducerOptions};
use rdkafka::bindings as rd;
use std::{
    collections::HashSet,
    ffi::{CStr, c_char, c_int},
    fmt,
    ptr::{self, NonNull},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Text of librdkafka; null is empty.
///
/// # Safety
/// `text` is null, or ends with NUL and lives through the call.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, the rest is the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// One librdkafka client with its queue of events.
pub struct Client {
    pub(super) rk: NonNull<rd::rd_kafka_t>,
    queue: NonNull<rd::rd_kafka_queue_t>,
    /// Every batch that librdkafka has records of, so that none is forgotten when the client goes.
    pub(super) cargoes: Mutex<HashSet<CargoPtr>>,
}

// SAFETY: librdkafka's handles may be used and destroyed from any thread, several at once; the cargoes are behind a
// lock, and what they hold is Send.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

/// Something that librdkafka reports.
#[derive(Debug)]
pub enum Event {
    /// Batches whose last record was reported.
    Landed(Vec<Landed>),
    /// A line of the library's log; `level` as in syslog.
    Log {
        level: i32,
        facility: String,
        text: String,
    },
    Error {
        code: ErrorCode,
        text: String,
        fatal: bool,
    },
}

impl Client {
    /// Checks the options without making a client.
    ///
    /// # Errors
    /// An unknown option, or a value that librdkafka doesn't take.
    pub fn check(options: &ProducerOptions) -> Result<(), ClientError> {
        Conf::new(options.iter()).map(drop)
    }

    /// A client that produces. It connects by itself, in the background.
    ///
    /// # Errors
    /// Wrong options (also in combination, or files that they name and that can't be read).
    pub fn producer(options: &ProducerOptions) -> Result<Arc<Self>, ClientError> {
        let conf = Conf::new(options.iter())?;
        let events = rd::RD_KAFKA_EVENT_DR | rd::RD_KAFKA_EVENT_LOG | rd::RD_KAFKA_EVENT_ERROR;
        let mut text = ErrorText::new();
        // SAFETY: a live configuration.
        unsafe { rd::rd_kafka_conf_set_events(conf.as_ptr(), events) };
        // SAFETY: a live configuration, which the client takes over where it is made; `text` has the length passed.
        let rk = unsafe {
            rd::rd_kafka_new(rd::rd_kafka_type_t::RD_KAFKA_PRODUCER, conf.as_ptr(), text.place(), text.len())
        };
        let rk = NonNull::new(rk).ok_or_else(|| ClientError::Create(text.to_text()))?;
        std::mem::forget(conf);
        // SAFETY: a live client; the queue is a reference of its own, given back in `drop`.
        let queue = unsafe { rd::rd_kafka_queue_get_main(rk.as_ptr()) };
        let Some(queue) = NonNull::new(queue) else {
            // SAFETY: made above, nobody else has it.
            unsafe { rd::rd_kafka_destroy(rk.as_ptr()) };
            return Err(ClientError::Create("no event queue".into()));
        };
        let client = Self { rk, queue, cargoes: Mutex::default() };
        // SAFETY: both live; this makes log lines events of that queue.
        unsafe { rd::rd_kafka_set_log_queue(client.rk.as_ptr(), client.queue.as_ptr()) };
        Ok(Arc::new(client))
    }

    /// Waits up to `timeout` for something to report. `None`: nothing, or [`Client::wake`] was called.
    pub fn poll(&self, timeout: Duration) -> Option<Event> {
        let ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: a live queue; the event is ours until destroyed.
        let event = NonNull::new(unsafe { rd::rd_kafka_queue_poll(self.queue.as_ptr(), ms) })?;
        let event = RawEvent(event);
        // SAFETY: a live event.
        match unsafe { rd::rd_kafka_event_type(event.0.as_ptr()) } {
            rd::RD_KAFKA_EVENT_DR => Some(Event::Landed(self.deliveries(event))),
            rd::RD_KAFKA_EVENT_LOG => Some(event.log()),
            rd::RD_KAFKA_EVENT_ERROR => Some(event.error()),
            _ => None,
        }
    }

    /// Makes a waiting [`Client::poll`] return (or the next one, if none waits).
    pub fn wake(&self) {
        // SAFETY: a live queue.
        unsafe { rd::rd_kafka_queue_yield(self.queue.as_ptr()) }
    }

    /// Whether librdkafka has no record left to report.
    pub fn is_idle(&self) -> bool {
        self.cargoes.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Gives up everything that is queued or on its way: it is reported as failed.
    pub fn purge(&self) {
        let flags = rd::RD_KAFKA_PURGE_F_QUEUE | rd::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: a live client. The result only tells a client that isn't a producer.
        unsafe { rd::rd_kafka_purge(self.rk.as_ptr(), flags) };
    }

    /// Makes the client fail for good, as a fatal error of the protocol would.
    #[cfg(test)]
    pub fn fail_for_good(&self) {
        let code = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        // SAFETY: a live client and a string that ends with NUL.
        unsafe { rd::rd_kafka_test_fatal_error(self.rk.as_ptr(), code, c"a test".as_ptr()) };
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: the last user of the client (topics hold an Arc of it) gives the queue back first, then the client,
        // as librdkafka asks. When the second call returns its threads have ended and every record is destroyed.
        unsafe {
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
            rd::rd_kafka_destroy(self.rk.as_ptr());
        }
        for cargo in self.cargoes.get_mut().unwrap_or_else(PoisonError::into_inner).drain() {
            // SAFETY: listed, so not yet freed; librdkafka, which held the other pointers, is gone.
            drop(unsafe { Box::from_raw(cargo.0) });
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// An event, until destroyed.
pub(super) struct RawEvent(pub(super) NonNull<rd::rd_kafka_event_t>);

impl RawEvent {
    fn log(&self) -> Event {
        let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: a live log event; the strings live as long as it does and are copied here.
        unsafe {
            rd::rd_kafka_event_log(self.0.as_ptr(), &mut facility, &mut line, &mut level);
            Event::Log { level, facility: text(facility), text: text(line) }
        }
    }

    fn error(&self) -> Event {
        // SAFETY: a live error event; the string lives as long as it does and is copied here.
        unsafe {
            let code = ErrorCode(rd::rd_kafka_event_error(self.0.as_ptr()) as i32);
            let fatal = rd::rd_kafka_event_error_is_fatal(self.0.as_ptr()) != 0 || code == ErrorCode::FATAL;
            Event::Error { code, text: text(rd::rd_kafka_event_error_string(self.0.as_ptr())), fatal }
        }
    }
}

impl Drop for RawEvent {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}
