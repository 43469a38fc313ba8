//! The last error that was logged. The problem: whoever looks after a thousand processes must see what hurts each one
//! without reading its log. An ERROR says that data is at risk or an operator must act, wherever it is logged, so it is
//! remembered here, where all records pass, instead of in each of fifty places. No secret and no line's content is in it,
//! since there is none in the log above DEBUG.

use crate::telemetry::time::now_ms;
use slog::{Drain, KV, Key, Level, OwnedKVList, Record, Serializer};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Notify;

/// Longer texts are cut; bytes.
const TEXT_BYTES: usize = 1000;

/// See the module. Cloning gives another handle of the same place.
#[derive(Clone, Debug, Default)]
pub struct LastError(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    last: Mutex<Option<(String, u64)>>,
    changed: Notify,
}

impl LastError {
    /// Its text, and when it was logged: milliseconds since 1970.
    pub fn get(&self) -> Option<(String, u64)> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until there is another than at the last wait. For one waiter.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// A drain that remembers the errors on their way to `drain`.
    pub(super) fn note<D>(&self, drain: D) -> NoteErrors<D> {
        NoteErrors { errors: self.clone(), drain }
    }

    fn set(&self, text: String) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((text, now_ms()));
        self.0.changed.notify_one();
    }
}

#[derive(Debug)]
pub(super) struct NoteErrors<D> {
    errors: LastError,
    drain: D,
}

/// The keys with their values; slog hands over the last one first.
struct Keys(Vec<String>);

impl Serializer for Keys {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.0.push(format!(", {key}: {value}"));
        Ok(())
    }

    fn emit_none(&mut self, _: Key) -> slog::Result {
        Ok(())
    }
}

fn text(record: &Record<'_>) -> String {
    let mut keys = Keys(Vec::new());
    // Collecting into memory doesn't fail; a value that can't be formatted is left out.
    drop(record.kv().serialize(record, &mut keys));
    let mut text = record.msg().to_string();
    text.extend(keys.0.into_iter().rev());
    text.truncate(text.floor_char_boundary(TEXT_BYTES));
    text
}

impl<D: Drain> Drain for NoteErrors<D> {
    type Ok = D::Ok;
    type Err = D::Err;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<D::Ok, D::Err> {
        // A library calls many things an error, and each has its own record of ours where it matters. Theirs have a tag.
        if record.level().is_at_least(Level::Error) && record.tag().is_empty() {
            self.errors.set(text(record));
        }
        self.drain.log(record, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slog::{Discard, Logger, o};

    #[test]
    fn an_error_of_ours_is_remembered_with_its_time_and_a_warning_or_a_librarys_is_not() {
        let errors = LastError::default();
        let log = Logger::root(errors.note(Discard), o!());
        slog::warn!(log, "degraded, no loss");
        assert_eq!(errors.get(), None);
        let before = now_ms();
        slog::error!(log, "the topic can't be written to, it waits"; "topic" => "nginx", "line" => None::<u32>, "reason" => 29);
        slog::warn!(log, "degraded, no loss");
        slog::error!(log, # "rdkafka::client", "connection refused");
        let (text, at_ms) = errors.get().unwrap();
        assert_eq!(text, "the topic can't be written to, it waits, topic: nginx, reason: 29");
        assert!((before..=now_ms()).contains(&at_ms));
        slog::crit!(log, "{}", "ü".repeat(2000));
        assert_eq!(errors.get().unwrap().0, "ü".repeat(500));
    }
}
