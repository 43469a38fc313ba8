//! What outlives a restart of any actor of the transfer: settings, memory, counters, what etcd said. Everything that can
//! be wrong with it is found here, before anything runs.

use super::super::{
    collection_watcher::{CollectionWatcher, SharedIntake, Source},
    credentials_watcher::{CredentialsSource, CredentialsWatcher},
    dead_letters::{DeadLetterCounters, DeadLettersSettings},
    es_batcher::EsBatcherSettings,
};
use crate::{
    collection::{Intake, KeyTemplate, TemplateError},
    elastic::{ElasticConfig, ElasticCounters, PauseRule, QueueSettings, TemplateSettings},
    etcd::Session,
    flow::{ChunkPool, Credits},
    kafka::{
        ConsumeSettings, ConsumerCounters,
        config::{OptionRefused, ProducerOptions},
        native::{Client, ClientError},
    },
    settings::{Elasticsearch, TransferSettings},
    telemetry::{Health, Registry, StatusBoard},
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Bytes gathered to a batch.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks kept for re-use.
const CHUNKS_KEPT: usize = 16;
/// How long one dead letter may take.
const LETTER_DEADLINE: Duration = Duration::from_secs(30);

/// Why a transfer can't start.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Option(#[from] OptionRefused),
    #[error("the Kafka options are wrong: {0}")]
    Client(#[from] ClientError),
    #[error("etcd.keys: {0}")]
    Template(#[from] TemplateError),
    #[error("elasticsearch.index: {0}")]
    Index(String),
    #[error("elasticsearch.ca_file: {} can't be read: {source}", path.display())]
    CaFile { path: PathBuf, source: io::Error },
}

/// See the module.
pub struct TransferParts {
    pub settings: TransferSettings,
    pub consume: ConsumeSettings,
    pub batcher: EsBatcherSettings,
    pub letters: DeadLettersSettings,
    pub templates: Vec<KeyTemplate>,
    /// From the settings; `None`: the key in etcd says how to reach Elasticsearch.
    pub elastic: Option<ElasticConfig>,
    /// `None`: no etcd is configured.
    pub session: Option<Session>,
    pub intake: SharedIntake,
    pub board: Arc<StatusBoard>,
    pub pool: ChunkPool,
    pub credits: Credits,
    pub consumer_counters: Arc<ConsumerCounters>,
    pub elastic_counters: Arc<ElasticCounters>,
    pub letter_counters: Arc<DeadLetterCounters>,
    pub registry: Registry,
    pub health: Health,
}

impl TransferParts {
    /// # Errors
    /// Kafka options, key templates, an index template or a CA file that can't be used.
    pub fn new(settings: TransferSettings, registry: Registry, health: Health) -> Result<Self, TransferError> {
        let templates = settings.etcd.keys.iter().map(|key| KeyTemplate::parse(key)).collect::<Result<_, _>>()?;
        let session = (!settings.etcd.endpoints.is_empty()).then(|| Session::new(settings.etcd.clone()));
        let transfer = &settings.transfer;
        let parts = Self {
            consume: consume_settings(&settings)?,
            batcher: batcher_settings(&settings)?,
            letters: letter_settings(&settings)?,
            templates,
            elastic: elastic_config(&settings.elasticsearch)?,
            session,
            // Paths are the agents' business: no folder is looked at here.
            intake: Arc::new(Mutex::new(Intake::new(Path::new("/").to_owned(), Vec::new(), true))),
            board: Arc::new(StatusBoard::new("transfer", &transfer.host, &transfer.instance)),
            pool: ChunkPool::new(CHUNK_BYTES, CHUNKS_KEPT),
            credits: Credits::new(usize::try_from(transfer.memory_bytes).unwrap_or(usize::MAX)),
            consumer_counters: Arc::default(),
            elastic_counters: Arc::default(),
            letter_counters: Arc::default(),
            registry,
            health,
            settings,
        };
        parts.board.awaits(CollectionWatcher::FIRST_LIST);
        if parts.credentials().is_some() {
            parts.board.awaits(CredentialsWatcher::FIRST);
        }
        super::metrics::register(&parts);
        Ok(parts)
    }

    /// Where the topics and the entries' texts are.
    pub fn source(&self) -> Source {
        let relist = Duration::from_secs(self.settings.etcd.relist_interval_secs);
        match &self.session {
            Some(session) if self.settings.kafka.topics_from_entries => {
                Source::AllKeys { session: session.clone(), templates: self.templates.clone(), relist }
            }
            session => Source::Nothing { session: session.clone() },
        }
    }

    /// Topics that are consumed whatever the entries say.
    pub fn topics(&self) -> BTreeSet<String> {
        let kafka = &self.settings.kafka;
        let pattern = Some(&kafka.topic_pattern).filter(|pattern| !pattern.is_empty());
        kafka.topics.iter().chain(pattern).cloned().collect()
    }

    /// Where the credentials are, unless they stand in the settings.
    pub fn credentials(&self) -> Option<CredentialsSource> {
        let session = self.session.clone().filter(|_| self.elastic.is_none())?;
        let relist = Duration::from_secs(self.settings.etcd.relist_interval_secs);
        Some(CredentialsSource { session, key: self.settings.elasticsearch.config_key.clone(), relist })
    }
}

fn consume_settings(settings: &TransferSettings) -> Result<ConsumeSettings, TransferError> {
    let (kafka, transfer) = (&settings.kafka, &settings.transfer);
    crate::kafka::config::check(&kafka.options)?;
    Ok(ConsumeSettings {
        brokers: kafka.brokers.join(","),
        group: kafka.group.clone(),
        instance: Some(format!("{}-{}", transfer.host, transfer.instance)),
        options: kafka.options.0.clone(),
    })
}

fn batcher_settings(settings: &TransferSettings) -> Result<EsBatcherSettings, TransferError> {
    let elastic = &settings.elasticsearch;
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let count = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Ok(EsBatcherSettings {
        queue: QueueSettings {
            bulk_bytes: size(elastic.bulk_bytes),
            bulk_documents: size(elastic.bulk_count),
            linger: Duration::from_millis(elastic.bulk_linger_ms),
            in_flight: size(elastic.requests_in_flight),
            pause: PauseRule {
                over_percent: count(elastic.pause_over_percent),
                at_least: count(elastic.pause_at_least),
            },
            ..QueueSettings::default()
        },
        template: TemplateSettings {
            install: elastic.install_template,
            shards: count(elastic.shards),
            replicas: count(elastic.replicas),
        },
        index: elastic.index.parse().map_err(|error| TransferError::Index(format!("{error}")))?,
        deadline: Duration::from_millis(elastic.request_timeout_ms),
        stop_deadline: Duration::from_secs(settings.transfer.shutdown_timeout_secs) / 5,
    })
}

fn letter_settings(settings: &TransferSettings) -> Result<DeadLettersSettings, TransferError> {
    let mut options = settings.kafka.options.0.clone();
    options.insert("bootstrap.servers".into(), settings.kafka.brokers.join(","));
    let options = ProducerOptions::new(&options)?;
    Client::check(&options)?;
    Ok(DeadLettersSettings { topic: settings.dead_letters.topic.clone(), options, deadline: LETTER_DEADLINE })
}

fn elastic_config(settings: &Elasticsearch) -> Result<Option<ElasticConfig>, TransferError> {
    if settings.urls.is_empty() {
        return Ok(None);
    }
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|source| TransferError::CaFile { path: path.clone(), source })
    };
    Ok(Some(ElasticConfig {
        urls: settings.urls.clone(),
        api_key: settings.api_key.as_ref().map(|key| key.reveal().to_owned()),
        username: (!settings.username.is_empty()).then(|| settings.username.clone()),
        password: settings.password.as_ref().map(|password| password.reveal().to_owned()),
        ca_cert: settings.ca_file.as_ref().map(read).transpose()?,
    }))
}
