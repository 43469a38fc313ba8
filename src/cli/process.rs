//! What `agent` and `transfer` have in common as processes: the web server, the signals, the end.

use super::{Exit, Failure, Outcome};
use crate::{
    messages::Shutdown,
    telemetry::{Health, HttpServer, JsonPage, LogGuard, Registry},
};
use actix::Recipient;
use std::time::Duration;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// How long a process that is ended at once may take for its last log records.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Starts the web server for `/metrics` and `/health`; `None` where the settings don't want one.
///
/// # Errors
/// [`Exit::Unavailable`]: the address is taken.
pub fn serve(
    listen: &str,
    registry: &Registry,
    health: &Health,
    pages: Vec<(&'static str, JsonPage)>,
) -> Result<Option<HttpServer>, Failure> {
    if listen.is_empty() {
        return Ok(None);
    }
    let server = HttpServer::start(listen, registry.clone(), health.clone(), pages)
        .map_err(|error| Failure::new(Exit::Unavailable, error))?;
    slog_scope::info!("/metrics and /health are served"; "address" => %server.address());
    Ok(Some(server))
}

/// The signals that end a process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one; its name, and the exit code of who is ended by it.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", 143),
            _ = self.interrupt.recv() => ("SIGINT", 130),
        }
    }
}

/// Waits for a signal, then stops the supervisor in order; a second signal ends the process at once. `gone` fails when
/// the supervisor itself has failed.
///
/// # Errors
/// [`Exit::Software`]: it has; [`Exit::Io`]: no signals on this system.
pub async fn until_stopped(
    supervisor: Recipient<Shutdown>,
    gone: oneshot::Receiver<()>,
    log: &mut LogGuard,
) -> Outcome {
    let mut signals = Signals::new().map_err(|error| Failure::new(Exit::Io, format!("signals: {error}")))?;
    let failed = || Failure::new(Exit::Software, "the supervisor has failed, see the log; starting again is safe");
    let (name, _) = tokio::select! {
        signal = signals.next() => signal,
        _ = gone => return Err(failed()),
    };
    slog_scope::info!("stopping in order; a second signal ends it at once"; "signal" => name);
    tokio::select! {
        stopped = supervisor.send(Shutdown) => stopped.map_err(|_| failed())?,
        (name, code) = signals.next() => {
            slog_scope::warn!("ended at once; what is under way is sent again after the next start"; "signal" => name);
            log.finish(LAST_WORDS);
            std::process::exit(code);
        }
    }
    slog_scope::info!("stopped");
    Ok(Exit::Ok)
}
