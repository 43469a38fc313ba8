//! `logweir console -c FILE`: the page over etcd and Elasticsearch.

use super::{Exit, Failure, Outcome, check, console_user, process, settings};
use crate::{
    actors::console_supervisor::{ConsoleParts, ConsolePartsError, ConsoleSupervisor},
    console::{
        Console, ConsoleError, Ends, Entrance, FilesByEtcd, Fleet, LiveElastic, Parts, TlsFiles,
        entries::{Book, Source},
    },
    etcd::KeyRange,
    settings::{ConsoleSection, ConsoleSettings},
    store::{EtcdStore, Store},
    telemetry::{Health, LogGuard, Registry, SEEN_PREFIX, STATUS_PREFIX},
};
use std::{path::PathBuf, sync::Arc};

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  logweir console -c conf/console.toml
  logweir console user add anna --role admin -c conf/console.toml
  LOGWEIR__CONSOLE__LISTEN=127.0.0.1:9000 logweir console -c /etc/logweir/console.toml

It shows what is collected, who does it and how far they are, and searches Elasticsearch. While etcd or Elasticsearch is
away it says so and shows what it knows. It stops in order on SIGTERM and SIGINT."
)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Settings file
    #[arg(short, long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Add, change and show the people who may log in
    User(console_user::Args),
}

pub fn run(args: &Args) -> Outcome {
    if let Some(What::User(args)) = &args.what {
        return console_user::run(args);
    }
    let config = args.config.as_ref().ok_or_else(|| Failure::new(Exit::Usage, "-c FILE is needed"))?;
    let settings = settings::load(config, ConsoleSettings::load)?;
    let mut log = crate::telemetry::init(&settings.log);
    slog_scope::info!("logweir console"; "version" => super::VERSION, "config" => %config.display(),
        "host" => &settings.console.host);
    let outcome = actix::System::new().block_on(serve(settings, &mut log));
    if let Err(failure) = &outcome {
        slog_scope::error!("the console ends"; "reason" => &failure.reason);
    }
    outcome
}

async fn serve(settings: ConsoleSettings, log: &mut LogGuard) -> Outcome {
    let (registry, health) = (Registry::default(), Health::default());
    let elasticsearch = settings.elasticsearch.as_transfer();
    let standing = (!elasticsearch.urls.is_empty()).then(|| check::of_settings(&elasticsearch)).transpose();
    let standing = standing.map_err(|reason| Failure::new(Exit::Config, reason))?;
    let own_urls = !settings.elasticsearch.urls.is_empty();
    let connection = (!own_urls).then(|| settings.elasticsearch.config_key.clone());
    let (listen, entrance) = (settings.console.listen.clone(), entrance(&settings.console));
    let parts = ConsoleParts::new(settings, standing.as_ref(), registry.clone(), health.clone());
    let mut parts = parts.map_err(|error: ConsolePartsError| Failure::new(Exit::Config, error))?;
    parts.board.show_errors(log.errors());
    let store: Arc<dyn Store> = Arc::new(EtcdStore::new(parts.session.clone()));
    let fleet = Arc::new(Fleet::new(health.clone()).remembered_by(store.clone()));
    parts.mirror([STATUS_PREFIX, SEEN_PREFIX].map(KeyRange::prefix), fleet.clone());
    let entries = Arc::new(Book::new(store.clone(), Source::Watched(parts.templates.clone()), None));
    parts.mirror([], entries.clone());
    let page = Parts {
        backend: parts.elastic.clone(),
        live: Arc::new(LiveElastic::new(parts.elastic.clone())),
        entries,
        store,
        entrance,
        connection,
        fleet,
        agent_files: Arc::new(FilesByEtcd::new(parts.session.clone())),
        paths: None,
        registry,
        health,
        pages: Vec::new(),
    };
    let server = Console::start(&listen, page).await.map_err(|error| match error {
        ConsoleError::Listen { .. } | ConsoleError::NotNow { .. } => Failure::new(Exit::Unavailable, error),
        ConsoleError::NotLoopback { .. } | ConsoleError::Tls(_) => Failure::new(Exit::Config, error),
        ConsoleError::Assets(_) => Failure::new(Exit::Software, error),
    })?;
    super::print(&format!("logweir's console is at {}\n", server.url("/")))?;
    let (supervisor, gone) = ConsoleSupervisor::start(Arc::new(parts));
    let outcome = process::until_stopped(supervisor.recipient(), gone, log).await;
    server.stop().await;
    outcome
}

/// How people come in, as the settings say.
fn entrance(console: &ConsoleSection) -> Entrance {
    let files = (console.tls_cert_file.clone(), console.tls_key_file.clone());
    let ms = |secs: u64| i64::try_from(secs).unwrap_or(i64::MAX / 1000).saturating_mul(1000);
    Entrance {
        names: console.names.clone(),
        behind_proxy: console.behind_proxy,
        tls: if let (Some(certificate), Some(key)) = files { Some(TlsFiles { certificate, key }) } else { None },
        ends: Ends { idle_ms: ms(console.session_idle_secs), absolute_ms: ms(console.session_secs) },
        audit_days: console.audit_days,
        ..Entrance::login()
    }
}
