//! `logweir check CONFIG`: is everything right, and are the servers there? The problem: each part of the chain can be
//! wrong on its own, and most of it only shows when lines stop to arrive. Everything is looked at and nothing is changed,
//! so it runs before an agent, beside it, or instead of it.

mod elastic;
mod entries;
mod etcd;
mod kafka;
mod kind;
mod machine;
mod report;
mod topics;

pub(super) use elastic::of_settings;

use super::{Exit, Failure, Outcome, print, settings};
use crate::{
    collection::Entry,
    document::IndexTemplate,
    elastic::ElasticConfig,
    etcd::Session,
    settings::{AgentSettings, ConsoleSettings, Elasticsearch, Etcd, SettingsError, TransferSettings},
};
use kind::Kind;
use report::{Fault, Report};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use topics::Wanted;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logweir check conf/agent.toml
  logweir check /etc/logweir/transfer.toml --json | jq '.checks[] | select(.level != \"ok\")'

One line a check: ok; warn: it runs, but a limit of \"exactly once\" doesn't hold, or somebody should look; FAIL. After ->
stands what to do. Nothing is changed; an agent may run or not.
Exit codes: 0 all ok or warnings only, 78 settings wrong, 65 entries refused, 69 a server not there or not serving us,
74 journal unreadable or damaged; of several the first in this order.")]
pub struct Args {
    /// Settings file: the agent's, the transfer's or the console's
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// What the file is for, where its content doesn't tell
    #[arg(long = "as", value_name = "KIND")]
    kind: Option<Kind>,
    /// Print JSON: {"exit": .., "checks": [..]}
    #[arg(long)]
    json: bool,
    /// Deadline of each question to a server; etcd's are in the settings
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout_secs: u64,
}

pub fn run(args: &Args) -> Outcome {
    // What goes wrong is in the report; the rooms' own log would say it twice.
    slog_scope::set_global_logger(slog::Logger::root(slog::Discard, slog::o!())).cancel_reset();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Io, error))?;
    let deadline = Duration::from_secs(args.timeout_secs);
    let file = &args.config;
    let report = match kind(args)? {
        Kind::Agent => match loaded("agent", file, AgentSettings::load)? {
            Ok((settings, report)) => runtime.block_on(agent(&settings, deadline, report)),
            Err(report) => report,
        },
        Kind::Transfer => match loaded("transfer", file, TransferSettings::load)? {
            Ok((settings, report)) => runtime.block_on(transfer(&settings, deadline, report)),
            Err(report) => report,
        },
        Kind::Console => match loaded("console", file, ConsoleSettings::load)? {
            Ok((settings, report)) => runtime.block_on(console(&settings, deadline, report)),
            Err(report) => report,
        },
    };
    // A question to a file system or a broker that doesn't answer must not hold up the end.
    runtime.shutdown_background();
    print(&if args.json { report.json().map_err(|error| Failure::new(Exit::Io, error))? } else { report.text() })?;
    Ok(report.exit())
}

fn kind(args: &Args) -> Result<Kind, Failure> {
    if let Some(kind) = args.kind {
        return Ok(kind);
    }
    // A file that can't be read is told when it is loaded.
    let text = std::fs::read(&args.config).unwrap_or_default();
    Kind::of(&args.config, &String::from_utf8_lossy(&text)).or_else(|reason| {
        if args.config.is_file() {
            let shown = args.config.display();
            Err(Failure::new(Exit::Usage, format!("{shown} {reason}: say --as agent, --as transfer or --as console")))
        } else {
            Ok(Kind::Agent)
        }
    })
}

/// The settings and the report's first line, or the report of what is wrong with them.
///
/// # Errors
/// The file can't be read.
fn loaded<T>(
    kind: &str,
    file: &Path,
    load: impl FnOnce(&Path) -> Result<T, SettingsError>,
) -> Result<Result<(T, Report), Report>, Failure> {
    let mut report = Report::default();
    match settings::load(file, load) {
        Ok(settings) => {
            report.ok("settings", format!("{}: settings of the {kind}, secrets readable", file.display()));
            Ok(Ok((settings, report)))
        }
        Err(failure) if failure.exit == Exit::Config => {
            // The first line only says that they are refused.
            for problem in failure.reason.lines().skip(1) {
                report.fail("settings", Fault::Settings, problem, "");
            }
            Ok(Err(report))
        }
        Err(failure) => Err(failure),
    }
}

/// A session, where etcd is configured and answers.
async fn session(settings: &Etcd, report: &mut Report) -> Option<Session> {
    if settings.endpoints.is_empty() {
        return None;
    }
    let (served, lines) = etcd::servers(settings).await;
    report.append(lines);
    served.then(|| Session::new(settings.clone()))
}

async fn agent(settings: &AgentSettings, deadline: Duration, mut report: Report) -> Report {
    let dir = &settings.agent.data_dir;
    report.append(machine::data_dir(dir));
    let (running, lines) = machine::running(dir);
    report.append(lines);
    report.append(machine::journal(dir, running));
    let session = session(&settings.etcd, &mut report).await;
    let (entries, lines) = entries::of_agent(settings, session.as_ref()).await;
    report.append(lines);
    let (on_disk, lines) = entries::on_disk(&entries);
    report.append(lines);
    report.append(machine::limits(on_disk.files, on_disk.folders.len() as u64));
    let mut longest: BTreeMap<&str, u32> = BTreeMap::new();
    for entry in &entries {
        let bytes = longest.entry(&entry.topic).or_default();
        *bytes = (*bytes).max(entry.max_line_bytes);
    }
    let wanted: Vec<Wanted> = longest
        .into_iter()
        .map(|(topic, bytes)| Wanted { name: topic.into(), longest_line: Some(bytes), written: true })
        .collect();
    let kafka = &settings.kafka;
    let (brokers, options) = (kafka.brokers.clone(), kafka.options.0.clone());
    report.append(kafka::Access { brokers, options, group: None, deadline }.check(&wanted).await);
    report
}

async fn transfer(settings: &TransferSettings, deadline: Duration, mut report: Report) -> Report {
    let session = session(&settings.etcd, &mut report).await;
    let kafka = &settings.kafka;
    let (mut entries, mut topics) =
        (Vec::new(), kafka.topics.iter().cloned().collect::<std::collections::BTreeSet<_>>());
    if let Some(session) = session.as_ref().filter(|_| kafka.topics_from_entries) {
        let (found, from_entries, lines) = entries::of_transfer(&settings.etcd, session).await;
        report.append(lines);
        entries = found;
        topics.extend(from_entries);
    }
    let read = |name: &String| Wanted { name: name.clone(), longest_line: None, written: false };
    let letters = Wanted { name: settings.dead_letters.topic.clone(), longest_line: None, written: true };
    let wanted: Vec<Wanted> = topics.iter().map(read).chain([letters]).collect();
    let (brokers, options) = (kafka.brokers.clone(), kafka.options.0.clone());
    let access = kafka::Access { brokers, options, group: Some(kafka.group.clone()), deadline };
    let to_elastic = async {
        let mut report = Report::default();
        if let Some(config) = elastic_config(&settings.elasticsearch, session.as_ref(), &mut report).await {
            let indices = indices(settings, &entries, topics.iter().map(String::as_str), &mut report);
            report.append(elastic::check(&config, settings.elasticsearch.replicas, &indices, deadline).await);
        }
        report
    };
    let (kafka, elastic) = tokio::join!(access.check(&wanted), to_elastic);
    report.append(kafka);
    report.append(elastic);
    report
}

/// The console reads and changes etcd, and searches Elasticsearch.
async fn console(settings: &ConsoleSettings, deadline: Duration, mut report: Report) -> Report {
    let session = session(&settings.etcd, &mut report).await;
    if let Some(session) = &session {
        let (_, _, lines) = entries::of_transfer(&settings.etcd, session).await;
        report.append(lines);
    }
    let elasticsearch = &settings.elasticsearch.as_transfer();
    if let Some(config) = elastic_config(elasticsearch, session.as_ref(), &mut report).await {
        report.append(elastic::check_reading(&config, &settings.elasticsearch.indices, deadline).await);
    }
    report
}

/// Addresses and credentials, from where the process has them.
async fn elastic_config(
    elasticsearch: &Elasticsearch,
    session: Option<&Session>,
    report: &mut Report,
) -> Option<ElasticConfig> {
    let check = "credentials";
    let key = &elasticsearch.config_key;
    if !elasticsearch.urls.is_empty() {
        return match elastic::of_settings(elasticsearch) {
            Ok(config) => Some(config),
            Err(reason) => {
                report.fail(check, Fault::Settings, reason, "correct [elasticsearch]");
                None
            }
        };
    }
    let Some(session) = session else {
        report.warn(check, format!("{key}: not read, because etcd doesn't answer"), "");
        return None;
    };
    match session.get(key).await {
        Ok(Some(kv)) => match ElasticConfig::parse(&String::from_utf8_lossy(&kv.value)) {
            Ok(config) => {
                report.ok(check, format!("{key} (revision {}): URLs: {}", kv.revision, config.urls.len()));
                return Some(config);
            }
            Err(error) => {
                let place = error.line.zip(error.column).map(|(line, column)| format!(" line {line} column {column}"));
                let text = format!("{key} (revision {}){}: {error}", kv.revision, place.unwrap_or_default());
                report.fail(check, Fault::Entries, text, "correct it: until then the value before it stays in use");
            }
        },
        Ok(None) => {
            let advice = "put {\"api_key\":\"...\",\"url_address\":[\"https://...\"]} there; until then records wait";
            report.fail(check, Fault::Entries, format!("{key}: is not in etcd, so there is no Elasticsearch"), advice);
        }
        Err(error) => etcd::failure(&error, false, report),
    }
    None
}

/// Each pattern of index names that the transfer writes to, with one of today's names.
fn indices<'a>(
    settings: &TransferSettings,
    entries: &'a [Entry],
    topics: impl Iterator<Item = &'a str>,
    report: &mut Report,
) -> BTreeMap<String, String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let default = settings.elasticsearch.index.as_str();
    let own = entries.iter().map(|entry| (entry.index.as_deref().unwrap_or(default), entry.topic.as_str()));
    let mut found = BTreeMap::new();
    for (template, topic) in own.chain(topics.map(|topic| (default, topic))) {
        match template.parse::<IndexTemplate>() {
            Ok(parsed) => {
                found.entry(parsed.pattern(topic)).or_insert_with(|| parsed.name(topic, now));
            }
            Err(error) if template == default => {
                report.fail("settings", Fault::Settings, format!("elasticsearch.index: {error}"), "correct it");
                break;
            }
            Err(error) => {
                report.fail("entries", Fault::Entries, format!("index of {topic}: {error}"), "correct the entry");
            }
        }
    }
    found
}
