//! The embedded index as a [`Backend`]. The problem: ten million lines have to answer while somebody looks, on the same
//! two cores that collect them; so a question reads columns instead of documents, leaves out the days and segments that
//! can't add anything, and gives up when nobody waits any more.

mod around;
mod fields;
mod histogram;
mod not_query;
mod page;
mod plan;
mod scan;
mod values;
mod word_query;

use super::model::{
    Around, Backend, Field, Histogram, LineAt, MAX_PAGE, Page, PageRequest, Scope, SearchError, TopValues,
};
use crate::index::IndexSet;
use futures_util::future::BoxFuture;
use scan::{Control, Scan};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// A question that takes longer is given up.
const DEADLINE: Duration = Duration::from_secs(30);

/// Questions that are worked on at the same time, each on as many threads as there are cores; others wait.
const AT_ONCE: usize = 2;

/// Values and bars of one answer, at most.
const MAX_VALUES: usize = 10_000;

/// Searches the days of an index.
#[derive(Clone)]
pub struct Embedded {
    set: IndexSet,
    turn: Arc<Semaphore>,
}

impl Embedded {
    pub fn new(set: IndexSet) -> Self {
        Self { set, turn: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Works on threads of its own; dropping the future ends the work.
    fn ask<T: Send + 'static>(
        &self,
        work: impl Fn(&IndexSet, &Arc<Control>) -> Result<T, SearchError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, SearchError>> {
        Box::pin(async move {
            let ended = || SearchError::Unavailable("it is being shut down".to_owned());
            let turn = self.turn.clone().acquire_owned();
            let waited = tokio::time::timeout(DEADLINE, turn).await;
            let turn = waited.map_err(|_| SearchError::Unavailable("too many questions at once".to_owned()))?;
            let turn = turn.map_err(|_| ended())?;
            let control = Arc::new(Control::new(DEADLINE));
            let _gone = control.cancel_on_drop();
            let (set, control) = (self.set.clone(), control.clone());
            let work = tokio::task::spawn_blocking(move || {
                let mut answer = work(&set, &control);
                // To see whether a day is damaged all of it is read: others may ask meanwhile.
                drop(turn);
                // A day that is damaged is left out: the others answer.
                while answer.is_err() && any_damaged(&set, &control) {
                    answer = work(&set, &control);
                }
                answer
            });
            work.await.map_err(|error| SearchError::Unavailable(format!("the index failed: {error}")))?
        })
    }
}

/// Whether the search failed for days that are damaged; they aren't asked again.
fn any_damaged(set: &IndexSet, control: &Control) -> bool {
    // All of them, not only the first.
    control.take_suspects().into_iter().filter(|&day| set.suspect(day)).count() > 0
}

/// Which days of the span are damaged and not rebuilt yet.
fn left_out(set: &IndexSet, scope: &Scope) -> Option<String> {
    let days = set.damaged().into_iter().filter(|day| scan::overlaps(*day, scope.from_ms, scope.to_ms));
    let days: Vec<String> = days.map(|day| day.to_string()).collect();
    (!days.is_empty()).then(|| format!("the index of {} is damaged and being rebuilt", days.join(", ")))
}

impl Backend for Embedded {
    fn page(&self, request: PageRequest) -> BoxFuture<'_, Result<Page, SearchError>> {
        self.ask(move |set, control| {
            if !(1..=MAX_PAGE).contains(&request.size) {
                return Err(SearchError::Refused(format!("a page has 1 to {MAX_PAGE} lines")));
            }
            // A day may be mended while the others are searched.
            let before = left_out(set, &request.scope);
            let page = page::page(&Scan::new(set, &request.scope, control)?, &request)?;
            Ok(Page { incomplete: before.or_else(|| left_out(set, &request.scope)), ..page })
        })
    }

    fn histogram(&self, scope: Scope, interval_ms: i64) -> BoxFuture<'_, Result<Histogram, SearchError>> {
        self.ask(move |set, control| histogram::histogram(&Scan::new(set, &scope, control)?, &scope, interval_ms))
    }

    fn top_values(&self, scope: Scope, field: String, size: usize) -> BoxFuture<'_, Result<TopValues, SearchError>> {
        self.ask(move |set, control| {
            values::top_values(&Scan::new(set, &scope, control)?, &field, size.min(MAX_VALUES))
        })
    }

    fn fields(&self, from_ms: Option<i64>, to_ms: Option<i64>) -> BoxFuture<'_, Result<Vec<Field>, SearchError>> {
        self.ask(move |set, control| fields::fields(set, from_ms, to_ms, control))
    }

    fn around(&self, line: LineAt, before: usize, after: usize) -> BoxFuture<'_, Result<Around, SearchError>> {
        self.ask(move |set, control| around::around(set, control, &line, before.min(MAX_PAGE), after.min(MAX_PAGE)))
    }
}
