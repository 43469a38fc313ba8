//! Asks Elasticsearch with what the transfer's settings say.

use super::{Asked, New, Told, failure, lines};
use crate::{
    cli::{Exit, Failure, check, settings},
    document::IndexTemplate,
    elastic::{Cluster, ElasticConfig},
    etcd::Session,
    flow::Backoff,
    search::{
        Elastic, Follow,
        model::{Backend, Hit, Order, PageRequest, Scope},
    },
    settings::TransferSettings,
};
use std::{path::Path, sync::Arc, time::Duration};

/// How often new lines are asked for; a line can be found within a second of its writing, unless set otherwise.
const EVERY: Duration = Duration::from_secs(1);

pub struct Source {
    elastic: Elastic,
    /// From the moment on at which it begins.
    follow: Option<Follow>,
    turn: tokio::time::Interval,
}

impl Source {
    /// `indices`: instead of those of the settings.
    pub async fn new(file: &Path, indices: &[String]) -> Result<Self, Failure> {
        let settings = settings::load(file, TransferSettings::load)?;
        let config = config(&settings).await?;
        let deadline = Duration::from_millis(settings.elasticsearch.request_timeout_ms);
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let cluster = Cluster::new(&config, deadline, backoff).map_err(|error| Failure::new(Exit::Config, error))?;
        let patterns = if indices.is_empty() { patterns(&settings)? } else { indices.to_vec() };
        let turn = tokio::time::interval(EVERY);
        Ok(Self { elastic: Elastic::new(Arc::new(cluster), &patterns), follow: None, turn })
    }
}

impl Source {
    async fn lines(&self, asked: &Asked) -> Result<Vec<Hit>, Failure> {
        let scope = Scope { query: asked.query.clone(), from_ms: asked.from_ms, to_ms: asked.to_ms };
        lines(asked.lines, |size, after| {
            let request = PageRequest { scope: scope.clone(), order: Order::NewestFirst, size, after, count: false };
            async move { self.elastic.page(request).await.map_err(|error| failure(&error)) }
        })
        .await
    }
}

/// Addresses and credentials: of the settings, or of the key in etcd that they name.
async fn config(settings: &TransferSettings) -> Result<ElasticConfig, Failure> {
    if !settings.elasticsearch.urls.is_empty() {
        return check::of_settings(&settings.elasticsearch).map_err(|reason| Failure::new(Exit::Config, reason));
    }
    let key = &settings.elasticsearch.config_key;
    let found = Session::new(settings.etcd.clone()).get(key).await;
    let found = found.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let found = found.ok_or_else(|| Failure::new(Exit::Unavailable, format!("{key} is not in etcd")))?;
    ElasticConfig::parse(&String::from_utf8_lossy(&found.value))
        .map_err(|error| Failure::new(Exit::Data, format!("{key} in etcd: {error}")))
}

/// The indices of the settings. Entries may name others; `--index` is for these.
fn patterns(settings: &TransferSettings) -> Result<Vec<String>, Failure> {
    let template: IndexTemplate =
        settings.elasticsearch.index.parse().map_err(|error| Failure::new(Exit::Config, error))?;
    Ok(vec![template.pattern_of_all()])
}

impl super::Source for Source {
    fn newest<'a>(&'a self, asked: &'a Asked) -> Told<'a, Vec<Hit>> {
        Box::pin(self.lines(asked))
    }

    fn begin<'a>(&'a mut self, asked: &'a Asked) -> Told<'a, Vec<Hit>> {
        Box::pin(async {
            let follow = Follow::begin(&self.elastic, asked.query.clone()).await;
            self.follow = Some(follow.map_err(|error| failure(&error))?);
            Ok(Vec::new())
        })
    }

    /// What has arrived since, however old the lines are.
    fn more<'a>(&'a mut self, asked: &'a Asked) -> Told<'a, New> {
        Box::pin(async {
            let Some(follow) = &mut self.follow else { return Ok(New::default()) };
            self.turn.tick().await;
            let news = follow.look(&self.elastic).await.map_err(|error| failure(&error))?;
            let wanted = |hit: &Hit| asked.from_ms.is_none_or(|from| hit.time_ms >= from);
            Ok(New { hits: news.hits.into_iter().filter(wanted).collect(), skipped: news.skipped })
        })
    }
}
