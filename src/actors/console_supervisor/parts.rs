//! What outlives a restart of any actor of the console: settings, what is known of etcd, the way to Elasticsearch.

use super::super::{
    credentials_watcher::{CredentialsSource, CredentialsWatcher},
    key_mirror::MirrorSource,
};
use crate::{
    collection::{KeyTemplate, TemplateError},
    elastic::{ClusterError, ElasticConfig},
    etcd::{KeyRange, Mirror, Session},
    search::HotElastic,
    settings::ConsoleSettings,
    telemetry::{Health, Registry, StatusBoard},
};
use std::{sync::Arc, time::Duration};

/// Why a console can't start.
#[derive(Debug, thiserror::Error)]
pub enum ConsolePartsError {
    #[error("etcd.keys: {0}")]
    Template(#[from] TemplateError),
    #[error("elasticsearch: {0}")]
    Elastic(#[from] ClusterError),
}

/// See the module.
pub struct ConsoleParts {
    pub settings: ConsoleSettings,
    pub session: Session,
    pub templates: Vec<KeyTemplate>,
    pub elastic: Arc<HotElastic>,
    /// Addresses and credentials stand in the settings, so no key is watched for them.
    standing: bool,
    /// Prefixes and keys that are kept in memory, and who knows what they mean.
    pub ranges: Vec<KeyRange>,
    pub mirrors: Vec<Arc<dyn Mirror>>,
    pub board: Arc<StatusBoard>,
    pub registry: Registry,
    pub health: Health,
}

impl ConsoleParts {
    /// `standing`: how to reach Elasticsearch, where the settings say it.
    ///
    /// # Errors
    /// Key templates, or a CA, that can't be used.
    pub fn new(
        settings: ConsoleSettings,
        standing: Option<&ElasticConfig>,
        registry: Registry,
        health: Health,
    ) -> Result<Self, ConsolePartsError> {
        let templates = settings.etcd.keys.iter().map(|key| KeyTemplate::parse(key)).collect::<Result<Vec<_>, _>>()?;
        let deadline = Duration::from_millis(settings.elasticsearch.request_timeout_ms);
        let elastic = HotElastic::new(settings.elasticsearch.indices.clone(), deadline);
        if let Some(config) = standing {
            elastic.use_config(config)?;
        }
        let board = StatusBoard::new("console", &settings.console.host, &settings.console.instance);
        if standing.is_none() {
            board.awaits(CredentialsWatcher::FIRST);
        }
        let one = |t: &KeyTemplate| KeyRange { key: t.prefix().into(), prefix: !t.is_fixed() };
        Ok(Self {
            session: Session::new(settings.etcd.clone()),
            ranges: templates.iter().map(one).collect(),
            mirrors: Vec::new(),
            templates,
            elastic: Arc::new(elastic),
            standing: standing.is_some(),
            board: Arc::new(board),
            registry,
            health,
            settings,
        })
    }

    /// Keeps these keys in memory, too. To be called before the start.
    pub fn mirror(&mut self, ranges: impl IntoIterator<Item = KeyRange>, mirror: Arc<dyn Mirror>) {
        self.ranges.extend(ranges);
        self.mirrors.push(mirror);
    }

    fn relist(&self) -> Duration {
        Duration::from_secs(self.settings.etcd.relist_interval_secs)
    }

    pub(super) fn mirror_source(&self) -> MirrorSource {
        MirrorSource {
            session: self.session.clone(),
            ranges: self.ranges.clone(),
            relist: self.relist(),
            mirrors: self.mirrors.clone(),
            health: self.health.clone(),
        }
    }

    /// Where the credentials are, unless they stand in the settings.
    pub(super) fn credentials(&self) -> Option<CredentialsSource> {
        let key = self.settings.elasticsearch.config_key.clone();
        (!self.standing).then(|| CredentialsSource { session: self.session.clone(), key, relist: self.relist() })
    }
}
