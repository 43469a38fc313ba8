//! The log. The problem: actors, plain rooms and libraries (`log`, `tracing`) must end up in one stream, in a form for
//! people or for machines, without a slow terminal stopping the flow for long, without a burst of one warning hiding
//! the others, and without a record after the end of `main` ending in a panic.
//!
//! A record passes: level per module -> repeats folded -> errors remembered -> channel (4096 records, a full one blocks)
//! -> one thread that writes to stderr.

mod filter;
mod format;
mod last_error;
mod repeats;

pub use filter::Levels;
pub use last_error::LastError;

use crate::settings::{Level, Log};
use last_error::NoteErrors;
use repeats::FoldRepeats;
use slog::{Drain, Logger, o};
use std::{
    collections::BTreeMap,
    sync::{Arc, Once},
    time::Duration,
};

/// Records that may wait for the writing thread; then whoever logs waits, too. (slog-async's default of 128 drops.)
const CHANNEL_RECORDS: usize = 4096;
/// A warning or error that is like one of the last so long is counted instead of written.
const REPEATS: Duration = Duration::from_secs(60);

/// Keeps the log running. Drop it last in `main`: that writes everything that waits. Records after that are dropped in
/// silence, not answered with a panic.
#[must_use = "the log ends when its guard is dropped"]
pub struct LogGuard {
    repeats: Arc<FoldRepeats<NoteErrors<slog_async::Async>>>,
    errors: LastError,
    /// Dropping it writes what waits, so it goes after `repeats` has told its counts.
    writer: Option<slog_async::AsyncGuard>,
}

impl LogGuard {
    /// Writes everything that waits, for a process that ends without unwinding. A reader of stderr that has stopped
    /// reading holds it up for `deadline` at most.
    pub fn finish(&mut self, deadline: Duration) {
        let Some(writer) = self.writer.take() else { return };
        let repeats = self.repeats.clone();
        let (done, wait) = std::sync::mpsc::channel();
        let finish = move || {
            repeats.tell_all();
            drop(writer);
            // Nobody waits any more where the deadline has passed.
            let _late = done.send(());
        };
        // Without a thread or in time, the last records are lost: there is nowhere left to say so.
        if std::thread::Builder::new().name("log end".into()).spawn(finish).is_ok() {
            let _late = wait.recv_timeout(deadline);
        }
    }

    /// Where the last error is remembered.
    pub fn errors(&self) -> LastError {
        self.errors.clone()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Back to stderr, where a panic after the end of the log can still be seen.
            drop(std::panic::take_hook());
        }
        if self.writer.is_some() {
            self.repeats.tell_all();
        }
    }
}

/// Starts the log on stderr, for this process and the libraries in it.
pub fn init(settings: &Log) -> LogGuard {
    let (writer, guard) = slog_async::Async::new(format::to_stderr(settings.format))
        .chan_size(CHANNEL_RECORDS)
        .overflow_strategy(slog_async::OverflowStrategy::Block)
        .thread_name("log".into())
        .build_with_guard();
    let errors = LastError::default();
    let repeats = Arc::new(FoldRepeats::new(errors.note(writer), REPEATS));
    let levels = Levels::new(settings.level, &settings.levels);
    let most = levels.most_verbose();
    install(Logger::root(levels.filter(repeats.clone()).ignore_res(), o!()));
    bridge(most);
    std::panic::set_hook(Box::new(log_panic));
    LogGuard { repeats, errors, writer: Some(guard) }
}

/// A panic is a record like any other, from whichever thread; the supervisors tell the rest.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("(no text)");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    slog_scope::error!("panic: {}", message; "location" => location, "thread" => thread.name().unwrap_or("(unnamed)"));
}

/// Sets the logger of the process for good: resetting it would make every later record a panic.
fn install(logger: Logger) {
    slog_scope::set_global_logger(logger).cancel_reset();
}

/// Sends what libraries log by `log` (and by `tracing`, which falls back to `log`) to the same stream.
fn bridge(level: Level) {
    // An error only says that a bridge is in place already (a second `init`, in tests): then its level is what matters.
    drop(slog_stdlog::init_with_level(filter::to_log(level)));
    log::set_max_level(filter::to_log(level).to_level_filter());
}

/// A log for tests: nothing is written, unless `LOGWEIR_TEST_LOG` names a level; then it is captured with the output
/// of the test. May be called any number of times, from any thread.
pub fn init_for_tests() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let level = std::env::var("LOGWEIR_TEST_LOG").ok();
        let level = level.and_then(|text| serde_json::from_value::<Level>(text.into()).ok());
        let Some(level) = level else { return install(Logger::root(slog::Discard, o!())) };
        let decorator = slog_term::PlainSyncDecorator::new(slog_term::TestStdoutWriter);
        let drain = slog_term::FullFormat::new(decorator).build().ignore_res();
        install(Logger::root(Levels::new(level, &BTreeMap::new()).filter(drain).ignore_res(), o!()));
        bridge(level);
    });
}
