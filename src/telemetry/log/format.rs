//! How a record looks: a compact line for people, or a JSON object for machines.

use super::filter::module_of;
use crate::settings::LogFormat;
use crate::telemetry::time::{now_ms, rfc3339_ms};
use slog::{Drain, FnValue, Never, PushFnValue, Record, o};
use std::{io, sync::Mutex};

/// A drain to stderr. What can't be written (a closed pipe) is dropped: there is no better place to say so.
pub(super) fn to_stderr(format: LogFormat) -> Box<dyn SendDrain> {
    match format {
        LogFormat::Terminal => Box::new(terminal(slog_term::TermDecorator::new().stderr().build()).ignore_res()),
        LogFormat::Json => Box::new(Mutex::new(json(io::BufWriter::new(io::stderr()))).ignore_res()),
    }
}

/// What the writing thread takes over.
pub(super) trait SendDrain: Drain<Ok = (), Err = Never> + Send {}
impl<D: Drain<Ok = (), Err = Never> + Send> SendDrain for D {}

fn terminal<D: slog_term::Decorator>(decorator: D) -> slog_term::CompactFormat<D> {
    slog_term::CompactFormat::new(decorator).use_custom_timestamp(|io| write!(io, "{}", rfc3339_ms(now_ms()))).build()
}

pub(super) fn json<W: io::Write>(writer: W) -> slog_json::Json<W> {
    slog_json::Json::new(writer)
        .set_flush(true)
        .add_key_value(o!(
            "module" => FnValue(|record: &Record<'_>| module_of(record).to_owned()),
            "msg" => PushFnValue(|record: &Record<'_>, to| to.emit(record.msg())),
            "level" => FnValue(|record: &Record<'_>| record.level().as_short_str()),
            "ts" => PushFnValue(|_: &Record<'_>, to| to.emit(rfc3339_ms(now_ms()))),
        ))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use slog::Logger;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_record_is_one_object_on_one_line_with_its_keys() {
        let out = Shared::default();
        let log = Logger::root(Mutex::new(json(out.clone())).ignore_res(), o!());
        slog::warn!(log, "a \"quoted\"\nmessage"; "topic" => "nginx", "count" => 3);
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["msg"], "a \"quoted\"\nmessage");
        assert_eq!(value["level"], "WARN");
        assert_eq!(value["module"], "logweir::telemetry::log::format::tests");
        assert_eq!((&value["topic"], &value["count"]), (&"nginx".into(), &3.into()));
        assert!(value["ts"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_terminal_record_is_one_line_with_its_keys() {
        let out = Shared::default();
        let drain = terminal(slog_term::PlainSyncDecorator::new(out.clone()));
        let log = Logger::root(Mutex::new(drain).ignore_res(), o!());
        slog::info!(log, "topic is writable again"; "topic" => "nginx");
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with(" INFO topic is writable again, topic: nginx\n"), "{text}");
    }
}
