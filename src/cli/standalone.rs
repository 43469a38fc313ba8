//! `logweir standalone [PATHS...]`: agent, embedded index and search in one process, no server needed.

mod mending;

use super::{Exit, Failure, Outcome, agent, page, process};
use crate::{
    actors::{
        agent_supervisor::{AgentParts, AgentSupervisor, SinkParts},
        index_writer::IndexWriterParts,
        supervision::Latest,
    },
    collection::{EntryTexts, LocalError, Meaning, PathKind, add_entries},
    console::{Entrance, TlsFiles},
    index::{EngineSettings, IndexCounters, IndexError, IndexFolder, IndexSet, LiveFeed, Retention, WriterMemory},
    journal::Journal,
    messages::JournalMemory,
    settings::StandaloneSettings,
    telemetry::{Health, LogGuard, Registry},
};
use mending::Mending;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logweir standalone /var/log
  logweir standalone --retention-days 30 ~/project/logs /var/log/nginx/access.log

What is collected stands in DIR/collect.json, which may be edited while it runs; PATHS are added to it. A folder means \
everything below it but compressed and binary files. Settings of the log and of memory come from the environment, for \
example LOGWEIR__LOG__LEVEL=debug. It stops in order on SIGTERM and SIGINT; nothing is lost or doubled by SIGKILL, either.")]
pub struct Args {
    /// Files and folders to collect
    #[arg(value_name = "PATHS")]
    paths: Vec<PathBuf>,
    /// Where index, positions and entries are kept [default: $XDG_DATA_HOME/logweir or ~/.local/share/logweir]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address of the page; others than this machine's own need users, and --tls-cert or --behind-proxy
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8686", value_parser = listen)]
    listen: SocketAddr,
    /// PEM file of the page's certificate; taken over anew when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A proxy in front of the page does TLS and says who asks, in X-Forwarded-For and X-Forwarded-Proto
    #[arg(long)]
    behind_proxy: bool,
    /// Name by which browsers reach the page, besides localhost and its address; may be given several times
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Keep so many days, today included [default: all]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    retention_days: Option<u64>,
    /// Remove the oldest days when the index is larger than this; K, M, G and T may follow [default: any size]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    retention_bytes: Option<u64>,
}

impl Args {
    /// How people come in: everybody on this machine, until there are users.
    fn entrance(&self) -> Entrance {
        let files = (self.tls_cert.clone(), self.tls_key.clone());
        Entrance {
            names: self.names.clone(),
            behind_proxy: self.behind_proxy,
            tls: if let (Some(certificate), Some(key)) = files { Some(TlsFiles { certificate, key }) } else { None },
            ..Entrance::open()
        }
    }
}

/// An address with its port; `localhost` is 127.0.0.1.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let address = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    address
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| "expected ADDRESS:PORT, for example 127.0.0.1:8686".to_owned())
}

/// A number of bytes: `500M`, `20G`.
fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit.trim_end_matches(['b', 'B', 'i']).to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(format!("{unit:?} is no unit; K, M, G and T are")),
    };
    let number: u64 = number.parse().map_err(|_| "a number of bytes is expected, for example 20G".to_owned())?;
    number.checked_mul(1 << shift).filter(|&bytes| bytes > 0).ok_or_else(|| "is 0 or too large".to_owned())
}

pub fn run(args: &Args) -> Outcome {
    let mut settings = StandaloneSettings::load().map_err(|error| Failure::new(Exit::Config, error))?;
    settings.metrics.listen = args.listen.to_string();
    settings.agent.data_dir = data_dir(args, &settings)?;
    settings.index.retention_days = args.retention_days.unwrap_or(settings.index.retention_days);
    settings.index.retention_bytes = args.retention_bytes.unwrap_or(settings.index.retention_bytes);
    // Before there are threads.
    crate::allocator::share_arenas();
    let mut log = crate::telemetry::init(&settings.log);
    slog_scope::info!("logweir standalone"; "version" => super::VERSION,
        "data_dir" => %settings.agent.data_dir.display(), "host" => &settings.agent.host);
    let outcome = actix::System::new().block_on(serve(settings, args, &mut log));
    if let Err(failure) = &outcome {
        slog_scope::error!("standalone ends"; "reason" => &failure.reason);
    }
    outcome
}

/// The data folder: as the command line, the settings or the user's home say.
fn data_dir(args: &Args, settings: &StandaloneSettings) -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_settings = Some(settings.agent.data_dir.clone()).filter(|dir| !dir.as_os_str().is_empty());
    let home =
        || set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share"))).map(|dir| dir.join("logweir"));
    let dir = args.data_dir.clone().or(of_settings).or_else(home);
    let dir =
        dir.ok_or_else(|| Failure::new(Exit::Usage, "neither --data-dir nor $HOME says where the data is to be"))?;
    std::path::absolute(&dir).map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", dir.display())))
}

async fn serve(settings: StandaloneSettings, args: &Args, log: &mut LogGuard) -> Outcome {
    let (registry, health) = (Registry::default(), Health::default());
    let data_dir = &settings.agent.data_dir;
    std::fs::create_dir_all(data_dir).map_err(|error| {
        let reason = if data_dir.is_file() { "is a file; a folder is needed".to_owned() } else { error.to_string() };
        Failure::new(Exit::CantCreate, format!("{}: {reason}", data_dir.display()))
    })?;
    let index = open_index(&settings)?;
    let agent = settings.as_agent();
    let parts = AgentParts::with_sink(agent, SinkParts::Index(Box::new(index)), registry.clone(), health.clone());
    let mut parts = parts.map_err(agent::failure)?;
    parts.tail.text_only = true;
    parts.board.show_errors(log.errors());
    let parts = Arc::new(parts);
    let opening = parts.clone();
    let journal = tokio::task::spawn_blocking(move || opening.open_journal()).await;
    let journal =
        journal.map_err(|error| Failure::new(Exit::Software, error))?.map_err(|e| agent::failure(e.into()))?;
    agent::allow_open_files(journal.0.files());
    let of_index = settings.clone();
    let (parts, journal) = tokio::task::spawn_blocking(move || {
        prepare_index(&parts, &journal.0, &of_index);
        (parts, journal)
    })
    .await
    .map_err(|error| Failure::new(Exit::Software, error))?;
    add_paths(&settings, &args.paths)?;
    let server = page::start(&settings, args.entrance(), &parts, &registry, &health).await?;
    super::print(&format!("logweir shows your logs at {}\n", server.url("")))?;
    let (supervisor, gone) = AgentSupervisor::start(parts, journal);
    let outcome = process::until_stopped(supervisor.recipient(), gone, log).await;
    server.stop().await;
    outcome
}

/// Opens all days; a damaged one is put aside.
fn open_index(settings: &StandaloneSettings) -> Result<IndexWriterParts, Failure> {
    let failure = |error: IndexError| {
        let of_version = matches!(error, IndexError::NewerVersion { .. } | IndexError::OtherVersion { .. });
        Failure::new(if of_version { Exit::Data } else { Exit::Io }, error)
    };
    let folder = IndexFolder::open(&settings.agent.data_dir).map_err(failure)?;
    let (set, damaged) = IndexSet::open(&folder).map_err(failure)?;
    for error in damaged {
        if let IndexError::Damaged { day, .. } = &error {
            set.set_aside(*day, &error.to_string()).map_err(failure)?;
        }
    }
    let index = &settings.index;
    let limit = |number: u64| Some(number).filter(|&number| number > 0);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let (longest, usual) = (Duration::from_millis(index.commit_interval_ms), EngineSettings::default());
    Ok(IndexWriterParts {
        set,
        settings: EngineSettings {
            memory: WriterMemory { threads: size(index.threads), bytes: size(index.memory_bytes) },
            interval: longest.min(*usual.interval.start())..=longest,
            retention: Retention {
                days: limit(index.retention_days).map(|days| u32::try_from(days).unwrap_or(u32::MAX)),
                bytes: limit(index.retention_bytes),
            },
            reserve_bytes: index.reserve_bytes,
            ..usual
        },
        texts: EntryTexts::new(settings.agent.data_dir.join("entries")),
        feed: LiveFeed::default(),
        counters: Arc::<IndexCounters>::default(),
        journal: Latest::none(),
        recall: Latest::none(),
        unsettled: Arc::default(),
    })
}

/// Tells the index what the journal still owes, fills the places of damaged days before anything is written, and begins to
/// look after those that turn out to be damaged later.
fn prepare_index(parts: &Arc<AgentParts>, journal: &Journal, settings: &StandaloneSettings) {
    let SinkParts::Index(index) = &parts.sink else { return };
    let files = journal.list();
    let unsettled = files.iter().filter(|file| !file.pending.is_empty()).map(|file| file.file).collect();
    *index.unsettled.lock().unwrap_or_else(PoisonError::into_inner) = Some(unsettled);
    let mending = Mending::new(index, settings);
    let left = mending.at_start(|| JournalMemory {
        ranges: journal.history().unwrap_or_else(|error| {
            slog_scope::warn!("the journal doesn't tell when lines were read"; "reason" => %error);
            Vec::new()
        }),
        files,
    });
    mending.begin(left);
}

/// Puts the paths of the command line among what is collected.
fn add_paths(settings: &StandaloneSettings, paths: &[PathBuf]) -> Result<(), Failure> {
    let (file, meant) = (settings.entries_file(), settings.paths());
    let mut wanted = Vec::new();
    for path in paths {
        let meaning = meant.meaning(path).map_err(|e| Failure::new(Exit::Usage, e))?;
        warn_of(&meaning);
        wanted.extend(meaning.entries);
    }
    match add_entries(&file, &meant.base_dir, wanted) {
        Ok(_) => Ok(()),
        // What is there stays; the watcher says what is wrong with it, and the page lets it be changed.
        Err(error @ LocalError::Wrong { .. }) => {
            slog_scope::error!("the paths can't be added to what is collected"; "reason" => %error);
            Ok(())
        }
        Err(error) => Err(Failure::new(Exit::Io, error)),
    }
}

/// Says what can't be read at the moment; it is collected as soon as it can.
fn warn_of(Meaning { path, kind, problem, .. }: &Meaning) {
    let path = path.display();
    match (problem, kind) {
        (Some(reason), _) => slog_scope::warn!("this path can't be read"; "path" => %path, "reason" => reason),
        (None, PathKind::Missing | PathKind::Pattern) => {
            slog_scope::warn!("this path isn't there yet; it is collected when it comes"; "path" => %path);
        }
        (None, PathKind::Folder | PathKind::File) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_and_may_be_localhost() {
        let told = |text| listen(text).map(|address| address.to_string());
        assert_eq!(told("localhost:1"), Ok("127.0.0.1:1".to_owned()));
        assert_eq!(told("[::1]:8686"), Ok("[::1]:8686".to_owned()));
        for wrong in ["localhost", "8686", "127.0.0.1:99999", "example.org:80", "localhost:x"] {
            assert!(listen(wrong).unwrap_err().contains("for example"), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!((bytes("500"), bytes("2k"), bytes("20GiB")), (Ok(500), Ok(2048), Ok(20 << 30)));
        for wrong in ["", "G", "2X", "-1", "0", "99999999999T"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
