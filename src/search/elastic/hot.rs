//! Elasticsearch whose addresses and credentials may change while it is searched, or aren't known yet. The problem: the
//! console is there before anybody has written the credentials, and has to say what is missing; a question that is under
//! way when they change ends with the old ones.

use super::Elastic;
use crate::{
    elastic::{Cluster, ClusterError, ElasticConfig},
    flow::Backoff,
    search::model::{Around, Backend, Field, Histogram, LineAt, Page, PageRequest, Scope, SearchError, TopValues},
};
use futures_util::future::BoxFuture;
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// How long a node that failed is left out.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

/// See the module.
#[derive(Debug)]
pub struct HotElastic {
    patterns: Vec<String>,
    deadline: Duration,
    now: RwLock<Now>,
}

#[derive(Debug)]
struct Now {
    /// Which servers or credentials these are: another number means others.
    generation: u64,
    elastic: Result<Elastic, String>,
}

impl HotElastic {
    /// `patterns`: of the indices that hold lines; `deadline`: of every call. It knows no servers yet.
    pub fn new(patterns: Vec<String>, deadline: Duration) -> Self {
        let elastic = Err("its addresses and credentials are not known yet".to_owned());
        Self { patterns, deadline, now: RwLock::new(Now { generation: 0, elastic }) }
    }

    /// From now on these.
    ///
    /// # Errors
    /// They can't be used; those before stay.
    pub fn use_config(&self, config: &ElasticConfig) -> Result<(), ClusterError> {
        let cluster = Cluster::new(config, self.deadline, BACKOFF)?;
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        now.generation += 1;
        now.elastic = Ok(Elastic::new(Arc::new(cluster), &self.patterns));
        Ok(())
    }

    /// Why there are still none; without a meaning once there are.
    pub fn still_waits(&self, reason: String) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if now.elastic.is_err() {
            now.elastic = Err(reason);
        }
    }

    /// The present servers, and their number.
    ///
    /// # Errors
    /// There are none yet.
    pub fn current(&self) -> Result<(Elastic, u64), SearchError> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        let elastic = now.elastic.clone().map_err(SearchError::Unavailable)?;
        Ok((elastic, now.generation))
    }
}

/// Asks the present servers, or says why there are none.
macro_rules! pass_on {
    ($self:ident, $call:ident $(, $argument:ident)*) => {
        Box::pin(async move {
            let (elastic, _) = $self.current()?;
            elastic.$call($($argument),*).await
        })
    };
}

impl Backend for HotElastic {
    fn page(&self, request: PageRequest) -> BoxFuture<'_, Result<Page, SearchError>> {
        pass_on!(self, page, request)
    }

    fn histogram(&self, scope: Scope, interval_ms: i64) -> BoxFuture<'_, Result<Histogram, SearchError>> {
        pass_on!(self, histogram, scope, interval_ms)
    }

    fn top_values(&self, scope: Scope, field: String, size: usize) -> BoxFuture<'_, Result<TopValues, SearchError>> {
        pass_on!(self, top_values, scope, field, size)
    }

    fn fields(&self, from_ms: Option<i64>, to_ms: Option<i64>) -> BoxFuture<'_, Result<Vec<Field>, SearchError>> {
        pass_on!(self, fields, from_ms, to_ms)
    }

    fn around(&self, line: LineAt, before: usize, after: usize) -> BoxFuture<'_, Result<Around, SearchError>> {
        pass_on!(self, around, line, before, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_configuration_changes_nothing_and_a_reason_is_told_until_there_is_one() {
        let hot = HotElastic::new(vec!["logweir-*".into()], Duration::from_secs(1));
        hot.still_waits("there is no key".into());
        assert_eq!(hot.current().unwrap_err(), SearchError::Unavailable("there is no key".into()));
        let config = |url: &str| ElasticConfig { urls: vec![url.into()], ..ElasticConfig::default() };
        hot.use_config(&config("http://127.0.0.1:1")).unwrap();
        assert_eq!(hot.current().unwrap().1, 1);
        assert!(hot.use_config(&config("nonsense")).is_err());
        hot.still_waits("late".into());
        assert_eq!(hot.current().unwrap().1, 1);
    }
}
