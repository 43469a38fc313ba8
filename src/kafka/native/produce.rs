//! Producing whole batches. The problem: the `rdkafka` crate copies every payload, looks the
//! topic up by name for every record and calls back once per record; librdkafka can do all of that per batch. So its
//! own calls are used here, through that crate's bindings, behind a safe interface.
//!
//! What keeps it sound:
//! - A batch's memory is lent to librdkafka without a copy. It belongs to a `Cargo`, which lives until each of its
//!   records is reported (or librdkafka is gone): `Cargo::outstanding` counts them. Every pointer to a `Cargo` that
//!   librdkafka holds (a record's `_private`) is one of that count.
//! - Error codes are read as numbers: a broker may send one that the binding's enum has no variant for.

use super::{
    client::{Client, RawEvent},
    topic::Topic,
};
use crate::{
    flow::Origin,
    kafka::{ErrorCode, Failed, Flight, Landed, key::KeyTemplate},
    messages::{Line, Part},
};
use rdkafka::bindings as rd;
use std::{
    ffi::{c_int, c_void},
    ptr::{self, NonNull},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::AcqRel},
    },
};

/// A batch that librdkafka has records of.
pub(super) struct Cargo {
    flight: Flight,
    /// Records not yet reported, and one for `produce` itself while it runs.
    outstanding: AtomicU32,
    failed: Mutex<Vec<Failed>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CargoPtr(pub(super) *mut Cargo);

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
    pub(super) fn deliveries(&self, event: RawEvent) -> Vec<Landed> {
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
