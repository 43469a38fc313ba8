//! `logweir transfer -c FILE`.

use super::{Exit, Failure, Outcome, process, settings};
use crate::{
    actors::transfer_supervisor::{TransferError, TransferParts, TransferSupervisor},
    settings::TransferSettings,
    telemetry::{Health, LogGuard, Registry},
};
use std::{path::PathBuf, sync::Arc};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logweir transfer -c conf/transfer.toml
  LOGWEIR__KAFKA__GROUP=logs logweir transfer -c /etc/logweir/transfer.toml

It stops in order on SIGTERM and SIGINT; a second signal ends it at once. Nothing is lost or doubled either way.")]
pub struct Args {
    /// Settings file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

pub fn run(args: &Args) -> Outcome {
    let settings = settings::load(&args.config, TransferSettings::load)?;
    let mut log = crate::telemetry::init(&settings.log);
    slog_scope::info!("logweir transfer"; "version" => super::VERSION, "config" => %args.config.display(),
        "group" => &settings.kafka.group, "host" => &settings.transfer.host);
    let outcome = actix::System::new().block_on(transfer(settings, &mut log));
    if let Err(failure) = &outcome {
        slog_scope::error!("the transfer ends"; "reason" => &failure.reason);
    }
    outcome
}

async fn transfer(settings: TransferSettings, log: &mut LogGuard) -> Outcome {
    let (registry, health) = (Registry::default(), Health::default());
    let listen = settings.metrics.listen.clone();
    let parts = TransferParts::new(settings, registry.clone(), health.clone()).map_err(failure)?;
    parts.board.show_errors(log.errors());
    let server = process::serve(&listen, &registry, &health, Vec::new())?;
    let (supervisor, gone) = TransferSupervisor::start(Arc::new(parts));
    let outcome = process::until_stopped(supervisor.recipient(), gone, log).await;
    if let Some(server) = server {
        server.stop().await;
    }
    outcome
}

fn failure(error: TransferError) -> Failure {
    Failure::new(Exit::Config, error)
}
