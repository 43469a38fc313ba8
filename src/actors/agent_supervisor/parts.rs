//! What outlives a restart of any actor of the agent: settings, memory, counters, what etcd said. Everything that can be
//! wrong with it is found here, before anything runs.

use super::super::{
    collection_watcher::{SharedIntake, Source},
    journal::JournalCounters,
    kafka_producer::ProducerSettings,
    supervision::Latest,
    tail_manager::{LeftOpen, TailCounters, TailSettings},
};
use super::SinkParts;
use crate::{
    collection::{Intake, KeyTemplate, TemplateError},
    etcd::Session,
    flow::{ChunkPool, Credits},
    journal::{Condition, Journal, JournalError, JournalOptions, Opened},
    kafka::{
        DeadLetterFile,
        config::{OptionRefused, ProducerOptions},
        native::{Client, ClientError},
    },
    messages::ListTails,
    settings::{AgentSettings, CollectionSource, OnLostPositions, WatchMode},
    tail,
    telemetry::{Health, Registry, StatusBoard},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks kept for re-use: what a busy topic has on its way.
const CHUNKS_KEPT: usize = 16;
/// Size of the dead-letter file at which it takes no more; lines then wait.
const DEAD_LETTER_BYTES: u64 = 1 << 30;
/// How often a folder is looked at that tells nothing (`watch = "poll"`).
const POLL: Duration = Duration::from_secs(1);

/// Why an agent can't start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Option(#[from] OptionRefused),
    #[error("the Kafka options are wrong: {0}")]
    Client(#[from] ClientError),
    #[error("etcd.keys: {0}")]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// See the module.
pub struct AgentParts {
    pub settings: AgentSettings,
    pub sink: SinkParts,
    pub tail: TailSettings,
    pub templates: Vec<KeyTemplate>,
    /// `None`: no etcd is configured.
    pub session: Option<Session>,
    pub intake: SharedIntake,
    pub board: Arc<StatusBoard>,
    pub pool: ChunkPool,
    pub credits: Credits,
    pub left_open: LeftOpen,
    pub tail_counters: Arc<TailCounters>,
    pub journal_counters: Arc<JournalCounters>,
    /// Who knows what is read how far.
    pub list_tails: Latest<ListTails>,
    pub registry: Registry,
    pub health: Health,
}

impl AgentParts {
    /// Parts of an agent, which sends to Kafka.
    ///
    /// # Errors
    /// Kafka options or key templates that can't be used.
    pub fn new(settings: AgentSettings, registry: Registry, health: Health) -> Result<Self, AgentError> {
        let mut options = settings.kafka.options.0.clone();
        options.insert("bootstrap.servers".into(), settings.kafka.brokers.join(","));
        let options = ProducerOptions::new(&options)?;
        Client::check(&options)?;
        let file = settings.dead_letters.file.clone();
        let file = file.unwrap_or_else(|| settings.agent.data_dir.join("dead-letters.ndjson"));
        let mut producer = ProducerSettings::new(options, DeadLetterFile::new(file, DEAD_LETTER_BYTES));
        producer.stop_deadline = Duration::from_secs(settings.agent.shutdown_timeout_secs) / 5;
        let sink = SinkParts::Kafka { settings: Box::new(producer), counters: Arc::default() };
        Self::with_sink(settings, sink, registry, health)
    }

    /// Parts of a process that reads files and sends to this sink.
    ///
    /// # Errors
    /// Key templates that can't be used.
    pub fn with_sink(
        settings: AgentSettings,
        sink: SinkParts,
        registry: Registry,
        health: Health,
    ) -> Result<Self, AgentError> {
        let templates = settings.etcd.keys.iter().map(|key| KeyTemplate::parse(key)).collect::<Result<_, _>>()?;
        let session = (!settings.etcd.endpoints.is_empty()).then(|| Session::new(settings.etcd.clone()));
        // Their texts are kept where the sink finds them.
        let delivery_fields = session.is_some() || matches!(sink, SinkParts::Index(_));
        let intake = Intake::new(settings.agent.base_dir.clone(), Vec::new(), delivery_fields);
        let parts = Self {
            sink,
            tail: tail_settings(&settings),
            templates,
            session,
            intake: Arc::new(Mutex::new(intake)),
            board: Arc::new(StatusBoard::new("agent", &settings.agent.host, "1")),
            pool: ChunkPool::new(CHUNK_BYTES, CHUNKS_KEPT),
            credits: Credits::new(usize::try_from(settings.agent.memory_bytes).unwrap_or(usize::MAX)),
            left_open: LeftOpen::default(),
            tail_counters: Arc::default(),
            journal_counters: Arc::default(),
            list_tails: Latest::none(),
            registry,
            health,
            settings,
        };
        super::metrics::register(&parts);
        Ok(parts)
    }

    /// Opens the journal, for the first time or again. Blocks.
    ///
    /// # Errors
    /// See [`Journal::open`].
    pub fn open_journal(&self) -> Result<(Journal, Opened), JournalError> {
        let (journal, opened) = Journal::open(&self.settings.agent.data_dir, JournalOptions::default())?;
        super::super::journal::log_opened(&opened);
        Ok((journal, opened))
    }

    /// Whether positions were lost and files are to be read from their end, as the settings ask for.
    pub fn starts_at_end(&self, opened: &Opened) -> bool {
        opened.condition == Condition::Lost && self.settings.agent.on_lost_positions == OnLostPositions::End
    }

    /// Where the entries are.
    pub fn source(&self) -> Source {
        let relist = Duration::from_secs(self.settings.etcd.relist_interval_secs);
        match (self.settings.collection.source, &self.settings.collection.file, &self.session) {
            (CollectionSource::File, Some(file), session) => {
                Source::File { file: file.clone(), session: session.clone(), relist }
            }
            (CollectionSource::Etcd, _, Some(session)) => Source::Keys {
                session: session.clone(),
                templates: self.templates.clone(),
                host: self.settings.agent.host.clone(),
                groups: self.settings.agent.groups.clone(),
                relist,
            },
            // Refused by the settings' own check.
            _ => Source::Nothing,
        }
    }
}

fn tail_settings(settings: &AgentSettings) -> TailSettings {
    let mut tail = TailSettings::new(&settings.agent.host);
    tail.sweep_interval = Duration::from_secs(settings.agent.sweep_interval_secs);
    tail.watch = match settings.agent.watch {
        WatchMode::Inotify => tail::WatchMode::Events,
        WatchMode::Poll => tail::WatchMode::Poll(POLL),
    };
    tail
}
