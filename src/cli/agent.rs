//! `logweir agent -c FILE`.

use super::{Exit, Failure, Outcome, files, process, settings};
use crate::{
    actors::{
        agent_supervisor::{AgentError, AgentParts, AgentSupervisor},
        tail_manager::raise_open_files,
    },
    journal::JournalError,
    messages::ListTails,
    settings::AgentSettings,
    telemetry::{Health, JsonPage, LogGuard, Registry},
};
use std::{path::PathBuf, sync::Arc};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logweir agent -c conf/agent.toml
  LOGWEIR__LOG__FORMAT=json logweir agent -c /etc/logweir/agent.toml

It stops in order on SIGTERM and SIGINT: what was read is delivered and written down first. A second signal ends it at \
once, which costs repeats in Kafka and no line.")]
pub struct Args {
    /// Settings file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

pub fn run(args: &Args) -> Outcome {
    let settings = settings::load(&args.config, AgentSettings::load)?;
    let mut log = crate::telemetry::init(&settings.log);
    slog_scope::info!("logweir agent"; "version" => super::VERSION, "config" => %args.config.display(),
        "data_dir" => %settings.agent.data_dir.display(), "host" => &settings.agent.host);
    let outcome = actix::System::new().block_on(collect(settings, &mut log));
    if let Err(failure) = &outcome {
        slog_scope::error!("the agent ends"; "reason" => &failure.reason);
    }
    outcome
}

async fn collect(settings: AgentSettings, log: &mut LogGuard) -> Outcome {
    let (registry, health) = (Registry::default(), Health::default());
    let listen = settings.metrics.listen.clone();
    let parts = Arc::new(AgentParts::new(settings, registry.clone(), health.clone()).map_err(failure)?);
    parts.board.show_errors(log.errors());
    let opening = parts.clone();
    let journal = tokio::task::spawn_blocking(move || opening.open_journal()).await;
    let journal = journal.map_err(|error| Failure::new(Exit::Software, error))?.map_err(|e| failure(e.into()))?;
    allow_open_files(journal.0.files());
    let server = process::serve(&listen, &registry, &health, vec![("/files", files_page(&parts))])?;
    let (supervisor, gone) = AgentSupervisor::start(parts, journal);
    let outcome = process::until_stopped(supervisor.recipient(), gone, log).await;
    if let Some(server) = server {
        server.stop().await;
    }
    outcome
}

/// Lets the process hold as many files open as the system allows, and says so where that may be too few. `known`: files
/// that the journal knows.
pub(super) fn allow_open_files(known: usize) {
    // The usual hard limit is far above that; sockets, folders and files to come need some, too.
    const USUAL: u64 = 4096;
    let needed = USUAL.max(known as u64 * 2);
    match raise_open_files() {
        Ok(Some(limit)) if limit < needed => {
            slog_scope::warn!("few files may be open at a time: raise the hard limit (ulimit -Hn, LimitNOFILE=)";
                "limit" => limit, "wanted" => needed, "known_files" => known);
        }
        Ok(_) => {}
        Err(error) => {
            slog_scope::warn!("the limit of open files can't be raised"; "wanted" => needed, "reason" => %error)
        }
    }
}

pub(super) fn failure(error: AgentError) -> Failure {
    let exit = match &error {
        AgentError::Option(_) | AgentError::Client(_) | AgentError::Template(_) => Exit::Config,
        // No data folder can be made here.
        AgentError::Journal(JournalError::Io { .. }) => Exit::CantCreate,
        AgentError::Journal(error) => files::exit_of(error),
    };
    Failure::new(exit, error)
}

/// What is read how far, as the running agent knows it.
pub(super) fn files_page(parts: &AgentParts) -> JsonPage {
    let tails = parts.list_tails.clone();
    Arc::new(move || {
        let tails = tails.get();
        Box::pin(async move {
            let restarting = || "the tail manager is being restarted".to_owned();
            let files = tails.ok_or_else(restarting)?.send(ListTails).await.map_err(|_| restarting())?;
            serde_json::to_value(files).map_err(|error| error.to_string())
        })
    })
}
