//! Producing whole batches. The problem: the `rdkafka` crate copies every payload, looks the
//! topic up by name for every record and calls back once per record; librdkafka can do all of that per batch. So its
//! own calls are used here, through that crate's bindings, behind a safe interface.
//!
//! What keeps it sound, in one place:
//! - A [`Client`] owns its `rd_kafka_t` and queue; both are made by librdkafka to be used from any thread.
//! - A [`Topic`] holds its client, so no topic handle outlives it.
//! - A batch's memory is lent to librdkafka without a copy. It belongs to a `Cargo`, which lives until each of its
//!   records is reported (or librdkafka is gone): `Cargo::outstanding` counts them. Every pointer to a `Cargo` that
//!   librdkafka holds (a record's `_private`) is one of that count.
//! - Error codes are read as numbers: a broker may send one that the binding's enum has no variant for.

use crate::{
    flow::Origin,
    kafka::{ErrorCode, Failed, Flight, Landed, config::ProducerOptions, key::KeyTemplate},
    messages::{Line, Part},
};
use rdkafka::bindings as rd;
use std::{
    collections::HashSet,
    ffi::{CStr, CString, c_char, c_int, c_void},
    fmt,
    ptr::{self, NonNull},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::AcqRel},
    },
    time::Duration,
};

// ---- client ---------------------------------------------------------------------------------------------------------

/// Why a client could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The text is librdkafka's; it never quotes the value.
    #[error("Kafka option {name}: {reason}")]
    Option { name: String, reason: String },
    #[error("Kafka client: {0}")]
    Create(String),
}

/// librdkafka's configuration, until a client takes it over.
struct Conf(NonNull<rd::rd_kafka_conf_t>);

impl Conf {
    fn new<'a>(options: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ClientError> {
        // SAFETY: no arguments; the result is owned by us.
        let conf = unsafe { rd::rd_kafka_conf_new() };
        let conf = Self(NonNull::new(conf).ok_or_else(|| ClientError::Create("out of memory".into()))?);
        options.into_iter().try_for_each(|(name, value)| conf.set(name, value))?;
        Ok(conf)
    }

    fn set(&self, name: &str, value: &str) -> Result<(), ClientError> {
        let refused = |reason: String| ClientError::Option { name: name.to_owned(), reason };
        let (Ok(c_name), Ok(c_value)) = (CString::new(name), CString::new(value)) else {
            return Err(refused("contains a NUL byte".into()));
        };
        let mut text = ErrorText::new();
        // SAFETY: `self.0` is a live configuration, both strings end with NUL and live through the call (librdkafka
        // copies them), `text` has the length that is passed.
        let result = unsafe {
            rd::rd_kafka_conf_set(self.0.as_ptr(), c_name.as_ptr(), c_value.as_ptr(), text.place(), text.len())
        };
        match result {
            rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
            rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_UNKNOWN => Err(refused("there is no such option".into())),
            _ => Err(refused(text.to_text().replace(value, "..."))),
        }
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: still owned by us: whoever hands it to librdkafka forgets this.
        unsafe { rd::rd_kafka_conf_destroy(self.0.as_ptr()) }
    }
}

/// Room for librdkafka's error texts.
struct ErrorText([c_char; 512]);

impl ErrorText {
    fn new() -> Self {
        Self([0; 512])
    }

    fn place(&mut self) -> *mut c_char {
        self.0.as_mut_ptr()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn to_text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

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
    rk: NonNull<rd::rd_kafka_t>,
    queue: NonNull<rd::rd_kafka_queue_t>,
    /// Every batch that librdkafka has records of, so that none is forgotten when the client goes.
    cargoes: Mutex<HashSet<CargoPtr>>,
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
        unsafe { rd::rd_kafka_conf_set_events(conf.0.as_ptr(), events) };
        // SAFETY: a live configuration, which the client takes over where it is made; `text` has the length passed.
        let rk = unsafe {
            rd::rd_kafka_new(rd::rd_kafka_type_t::RD_KAFKA_PRODUCER, conf.0.as_ptr(), text.place(), text.len())
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
struct RawEvent(NonNull<rd::rd_kafka_event_t>);

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

// ---- topics ---------------------------------------------------------------------------------------------------------

/// A topic's handle: spares the look-up by name for each record.
pub struct Topic {
    rkt: NonNull<rd::rd_kafka_topic_t>,
    client: Arc<Client>,
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

// ---- producing ------------------------------------------------------------------------------------------------------

/// A batch that librdkafka has records of.
struct Cargo {
    flight: Flight,
    /// Records not yet reported, and one for `produce` itself while it runs.
    outstanding: AtomicU32,
    failed: Mutex<Vec<Failed>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct CargoPtr(*mut Cargo);

impl Cargo {
    fn note(&self, line: u32, code: ErrorCode, local: bool) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.push(Failed { line, code, local });
    }

    /// The line whose bytes begin at `payload`.
    fn line_at(&self, payload: *const c_void) -> u32 {
        let start = (payload as usize).wrapping_sub(self.flight.batch.data.as_ptr() as usize);
        let index = self.flight.batch.lines.partition_point(|line| (line.start as usize) < start);
        index.min(self.flight.batch.lines.len().saturating_sub(1)) as u32
    }
}

/// Records handed over by one call: their array and keys stay in the nearer caches.
const GROUP: usize = 256;

impl Client {
    /// Hands the flight's lines to librdkafka, in order, for one partition. It comes back as [`Event::Landed`] when
    /// each line is acknowledged or has failed; or right here, if librdkafka took none of them.
    ///
    /// After a line that it doesn't take for another reason than its size no further line is handed over, so that
    /// none overtakes: they fail with the same code.
    pub fn produce(&self, topic: &Topic, partition: i32, flight: Flight) -> Option<Landed> {
        let (lines, count) = (flight.lines.clone(), flight.lines.len() as u32);
        let cargo = Cargo { flight, outstanding: AtomicU32::new(count + 1), failed: Mutex::default() };
        let cargo = Box::into_raw(Box::new(cargo));
        self.cargoes.lock().unwrap_or_else(PoisonError::into_inner).insert(CargoPtr(cargo));
        let not_taken = {
            // SAFETY: made above and not freed before this function gives back its own count, below.
            let shared = unsafe { &*cargo };
            let run = Run { topic, partition, cargo: shared, me: cargo.cast() };
            run.all(lines)
        };
        // SAFETY: our own count and those of the lines that librdkafka doesn't have.
        unsafe { self.release(cargo, not_taken + 1) }
    }

    /// Gives back `count` of a cargo's count; who gives the last back gets it.
    ///
    /// # Safety
    /// `cargo` was made by `produce`, and the caller owns `count` of its count.
    unsafe fn release(&self, cargo: *mut Cargo, count: u32) -> Option<Landed> {
        // SAFETY: alive, since a part of its count is the caller's.
        if unsafe { &*cargo }.outstanding.fetch_sub(count, AcqRel) != count {
            return None;
        }
        self.cargoes.lock().unwrap_or_else(PoisonError::into_inner).remove(&CargoPtr(cargo));
        // SAFETY: the count is 0, so neither librdkafka nor `produce` has a pointer to it any more; it was made by
        // `Box::into_raw`, and this happens once.
        let cargo = unsafe { Box::from_raw(cargo) };
        let mut failed = cargo.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.sort_unstable_by_key(|failed| failed.line);
        Some(Landed { flight: cargo.flight, failed })
    }

    /// The batches that are complete with this event's reports.
    fn deliveries(&self, event: RawEvent) -> Vec<Landed> {
        // Reports of a batch follow each other: count them and give back the count once.
        let mut runs: Vec<(*mut Cargo, u32)> = Vec::new();
        // SAFETY: a live event of delivery reports; a message lives as long as its event.
        while let Some(message) = NonNull::new(unsafe { rd::rd_kafka_event_message_next(event.0.as_ptr()) }.cast_mut())
        {
            // SAFETY: `message` is live, and its fields are read one by one: the code as a number, which may be none
            // of the enum's. `_private` is a cargo, since only `produce` produces with this client.
            let (cargo, code) = unsafe {
                let message = message.as_ptr();
                ((*message)._private.cast::<Cargo>(), ptr::addr_of!((*message).err).cast::<i32>().read())
            };
            if code != 0 {
                // SAFETY: this report's part of the count is not given back yet, so the cargo lives; so does the
                // message, whose payload is only compared as an address.
                unsafe {
                    let line = (*cargo).line_at((*message.as_ptr()).payload);
                    (*cargo).note(line, ErrorCode(code), false);
                }
            }
            match runs.last_mut() {
                Some((last, count)) if *last == cargo => *count += 1,
                _ => runs.push((cargo, 1)),
            }
        }
        // The messages are destroyed before the memory that they point to.
        drop(event);
        // SAFETY: one of the count for each report.
        runs.into_iter().filter_map(|(cargo, count)| unsafe { self.release(cargo, count) }).collect()
    }
}

/// The handing over of one batch.
struct Run<'a> {
    topic: &'a Topic,
    partition: i32,
    cargo: &'a Cargo,
    /// The same cargo, as librdkafka gives it back with each report.
    me: *mut c_void,
}

impl Run<'_> {
    /// Hands over; how many lines librdkafka did not take (each is noted).
    fn all(&self, lines: std::ops::Range<u32>) -> u32 {
        let batch = &self.cargo.flight.batch;
        let template = match &batch.origin {
            Origin::File(origin) => Some(KeyTemplate::new(origin, batch.read_ms)),
            Origin::Partition(_) => None,
        };
        let mut group = Group::with_capacity(template.as_ref());
        let (mut at, mut not_taken) = (lines.start, 0);
        while at < lines.end {
            let rest = &batch.lines[at as usize..lines.end as usize];
            let whole = rest.iter().take(GROUP).take_while(|line| line.part == Part::Whole).count();
            let (handed, outcome) = match whole {
                0 => (1, self.part(at, &rest[0], &mut group)),
                _ => (whole, self.group(at, &rest[..whole], &mut group)),
            };
            at += handed as u32;
            not_taken += outcome.not_taken;
            if let Some(code) = outcome.stop {
                (at..lines.end).for_each(|line| self.cargo.note(line, code, true));
                return not_taken + (lines.end - at);
            }
        }
        not_taken
    }

    fn key(&self, index: u32, line: &Line, template: Option<&KeyTemplate>, keys: &mut Vec<u8>) -> usize {
        let batch = &self.cargo.flight.batch;
        match (template, batch.records.get(index as usize).and_then(|record| record.key)) {
            (Some(template), _) => template.append(batch.begin + u64::from(line.start), keys),
            (None, Some((start, len))) => {
                keys.extend_from_slice(&batch.data[start as usize..][..len as usize]);
                len as usize
            }
            (None, None) => 0,
        }
    }

    /// Whole lines, by one call.
    fn group(&self, first: u32, lines: &[Line], group: &mut Group) -> Handed {
        let batch = &self.cargo.flight.batch;
        group.clear();
        for (index, line) in (first..).zip(lines) {
            let key_len = self.key(index, line, group.template.as_ref(), &mut group.keys);
            let bytes = batch.bytes(line);
            group.messages.push(rd::rd_kafka_message_t {
                err: rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                rkt: ptr::null_mut(),
                partition: self.partition,
                // librdkafka only reads it: without the flags FREE and COPY it keeps the address until the report.
                payload: bytes.as_ptr().cast_mut().cast(),
                len: bytes.len(),
                key: ptr::null_mut(),
                key_len,
                offset: 0,
                _private: self.me,
            });
        }
        // The keys don't move any more.
        let mut place = group.keys.as_ptr();
        for message in &mut group.messages {
            if message.key_len > 0 {
                message.key = place.cast_mut().cast();
                place = place.wrapping_add(message.key_len);
            }
        }
        // SAFETY: a live topic; the array has the length passed; keys are copied by the call; the payloads belong to
        // the cargo, of whose count each record has one, and so live until its report (or its refusal, below).
        let taken = unsafe {
            let messages = group.messages.as_mut_ptr();
            rd::rd_kafka_produce_batch(self.topic.rkt.as_ptr(), self.partition, 0, messages, lines.len() as c_int)
        };
        let mut outcome = Handed::default();
        if taken as usize != lines.len() {
            for (index, message) in (first..).zip(&group.messages) {
                // SAFETY: an initialised field, read as a number.
                let code = unsafe { ptr::addr_of!(message.err).cast::<i32>().read() };
                if code != 0 {
                    outcome.refuse(self.cargo, index, ErrorCode(code));
                }
            }
        }
        outcome
    }

    /// One part of a long line, with the header `part`.
    fn part(&self, index: u32, line: &Line, group: &mut Group) -> Handed {
        use rd::{rd_kafka_vtype_t as vtype, rd_kafka_vu_s__bindgen_ty_1 as value};
        let name = match line.part {
            Part::Nth(n) => n.to_string(),
            Part::Last => "last".to_owned(),
            Part::Whole => String::new(),
        };
        group.clear();
        let key_len = self.key(index, line, group.template.as_ref(), &mut group.keys);
        let key = if key_len == 0 { ptr::null_mut() } else { group.keys.as_mut_ptr().cast() };
        let bytes = self.cargo.flight.batch.bytes(line);
        let mem = |ptr, size| value { mem: rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size } };
        let header = rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_2 {
            name: c"part".as_ptr(),
            val: name.as_ptr().cast(),
            size: name.len() as isize,
        };
        let field = |vtype, u| rd::rd_kafka_vu_t { vtype, u };
        let fields = [
            field(vtype::RD_KAFKA_VTYPE_RKT, value { rkt: self.topic.rkt.as_ptr() }),
            field(vtype::RD_KAFKA_VTYPE_PARTITION, value { i32_: self.partition }),
            field(vtype::RD_KAFKA_VTYPE_MSGFLAGS, value { i: 0 }),
            field(vtype::RD_KAFKA_VTYPE_VALUE, mem(bytes.as_ptr().cast_mut().cast(), bytes.len())),
            field(vtype::RD_KAFKA_VTYPE_KEY, mem(key, key_len)),
            field(vtype::RD_KAFKA_VTYPE_OPAQUE, value { ptr: self.me }),
            field(vtype::RD_KAFKA_VTYPE_HEADER, value { header }),
        ];
        let client = self.topic.client.rk.as_ptr();
        // SAFETY: live handles; each field has the member that its type names; key and header are copied by the call;
        // the payload belongs to the cargo, as in `group`.
        let error = unsafe { rd::rd_kafka_produceva(client, fields.as_ptr(), fields.len()) };
        let mut outcome = Handed::default();
        if !error.is_null() {
            // SAFETY: an error that is ours, read and then destroyed.
            let code = unsafe {
                let code = rd::rd_kafka_error_code(error) as i32;
                rd::rd_kafka_error_destroy(error);
                code
            };
            outcome.refuse(self.cargo, index, ErrorCode(code));
        }
        outcome
    }
}

/// The array and the keys of one call, used again for the next.
struct Group {
    messages: Vec<rd::rd_kafka_message_t>,
    keys: Vec<u8>,
    template: Option<KeyTemplate>,
}

impl Group {
    fn with_capacity(template: Option<&KeyTemplate>) -> Self {
        let key = template.map_or(0, KeyTemplate::max_len);
        Self { messages: Vec::with_capacity(GROUP), keys: Vec::with_capacity(GROUP * key), template: template.cloned() }
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.keys.clear();
    }
}

/// What became of the lines of one call.
#[derive(Default)]
struct Handed {
    not_taken: u32,
    /// Nothing more may be handed over.
    stop: Option<ErrorCode>,
}

impl Handed {
    fn refuse(&mut self, cargo: &Cargo, line: u32, code: ErrorCode) {
        cargo.note(line, code, true);
        self.not_taken += 1;
        if code != ErrorCode::MSG_SIZE_TOO_LARGE {
            self.stop = Some(code);
        }
    }
}
