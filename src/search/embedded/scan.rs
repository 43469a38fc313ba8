//! Going through the segments of the days that a question is about, on all cores, until it is answered, takes too long,
//! or nobody waits for the answer any more.

use super::{
    super::model::{Scope, SearchError},
    plan::Plan,
};
use crate::index::{Day, DaySearcher, IndexSet};
use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tantivy::{
    COLLECT_BLOCK_BUFFER_LEN, DocId, DocSet, SegmentReader, TantivyError,
    query::{EnableScoring, Query, Weight},
};

/// Blocks of documents between two looks at the clock.
pub const BLOCKS: usize = 1024;

/// When to stop.
#[derive(Debug)]
pub struct Control {
    deadline: Instant,
    time: Duration,
    cancelled: AtomicBool,
    /// Why tantivy was made to fail.
    reason: Mutex<Option<SearchError>>,
    /// Days that couldn't be read.
    suspects: Mutex<BTreeSet<Day>>,
}

/// Cancels when dropped.
pub struct CancelOnDrop(Arc<Control>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Relaxed);
    }
}

impl Control {
    pub fn new(time: Duration) -> Self {
        let deadline = Instant::now() + time;
        Self { deadline, time, cancelled: AtomicBool::new(false), reason: Mutex::default(), suspects: Mutex::default() }
    }

    pub fn cancel_on_drop(self: &Arc<Self>) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    pub fn check(&self) -> Result<(), SearchError> {
        if self.cancelled.load(Relaxed) {
            return Err(SearchError::Unavailable("nobody waits for the answer".to_owned()));
        }
        if Instant::now() >= self.deadline {
            let text = format!("it took longer than {:?}; ask for a shorter time or for rarer words", self.time);
            return Err(SearchError::TooExpensive(text));
        }
        Ok(())
    }

    /// Within a query, where only tantivy's own error can be returned.
    pub fn stop(&self, reason: SearchError) -> TantivyError {
        let error = TantivyError::InternalError(reason.to_string());
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        error
    }

    /// What a failure of tantivy means: our own stop, or something that is broken.
    pub fn failed(&self, error: &impl ToString) -> SearchError {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reason.unwrap_or_else(|| SearchError::Unavailable(format!("the index can't be read: {}", error.to_string())))
    }

    /// Reads something of a day. Where that fails or panics, the day may be damaged.
    pub fn reading<T>(&self, day: Day, read: impl FnOnce() -> Result<T, SearchError>) -> Result<T, SearchError> {
        // What is damaged makes tantivy panic, too. Nothing of what was being made is used any more.
        let panicked = |_| Err(SearchError::Unavailable("the index is damaged: a search panicked".to_owned()));
        let answer = std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(panicked);
        let stopped = || self.reason.lock().unwrap_or_else(PoisonError::into_inner).is_some() || self.check().is_err();
        if matches!(answer, Err(SearchError::Unavailable(_))) && !stopped() {
            self.suspects.lock().unwrap_or_else(PoisonError::into_inner).insert(day);
        }
        answer
    }

    /// Days in which a search failed; each is told once.
    pub fn take_suspects(&self) -> BTreeSet<Day> {
        std::mem::take(&mut self.suspects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The days of a span, oldest first.
pub fn days(set: &IndexSet, from_ms: Option<i64>, to_ms: Option<i64>) -> Vec<DaySearcher> {
    set.snapshot().into_iter().filter(|day| overlaps(day.day, from_ms, to_ms)).collect()
}

/// Whether a day has a part in a span.
pub fn overlaps(day: Day, from_ms: Option<i64>, to_ms: Option<i64>) -> bool {
    from_ms.is_none_or(|from| day.end_ms() > from) && to_ms.is_none_or(|to| day.begin_ms() < to)
}

/// A question's query, made ready for each day that it is about.
pub struct Scan<'a> {
    pub control: &'a Arc<Control>,
    days: Vec<(DaySearcher, Box<dyn Weight>)>,
}

/// One segment of a scan.
pub struct Segment<'a> {
    pub day: &'a DaySearcher,
    pub ord: u32,
    pub reader: &'a SegmentReader,
    weight: &'a dyn Weight,
    control: &'a Control,
}

impl<'a> Scan<'a> {
    pub fn new(set: &IndexSet, scope: &Scope, control: &'a Arc<Control>) -> Result<Self, SearchError> {
        let days = days(set, scope.from_ms, scope.to_ms);
        Self::of(days, control, |day| Plan { day, control }.scope(scope))
    }

    /// A query of its own for each day.
    pub fn of(
        days: Vec<DaySearcher>,
        control: &'a Arc<Control>,
        query: impl Fn(&DaySearcher) -> Result<Box<dyn Query>, SearchError>,
    ) -> Result<Self, SearchError> {
        let weighed = days.into_iter().map(|day| {
            let weight = control.reading(day.day, || {
                let weight = query(&day)?.weight(EnableScoring::disabled_from_searcher(&day.searcher));
                weight.map_err(|error| control.failed(&error))
            });
            Ok((day, weight?))
        });
        Ok(Self { control, days: weighed.collect::<Result<_, _>>()? })
    }

    pub fn segments(&self) -> Vec<Segment<'_>> {
        let mut segments = Vec::new();
        for (day, weight) in &self.days {
            for (ord, reader) in (0..).zip(day.searcher.segment_readers()) {
                segments.push(Segment { day, ord, reader, weight: &**weight, control: self.control });
            }
        }
        segments
    }

    /// Hands every segment to `work`, in this order, on all cores; the results in any order.
    pub fn each<T: Send>(
        &self,
        segments: &[Segment<'_>],
        work: impl Fn(&Segment<'_>) -> Result<T, SearchError> + Sync,
    ) -> Result<Vec<T>, SearchError> {
        let next = AtomicUsize::new(0);
        let run = || {
            let mut results = Vec::new();
            while let Some(segment) = segments.get(next.fetch_add(1, Relaxed)) {
                self.control.check()?;
                results.push(self.control.reading(segment.day.day, || work(segment))?);
            }
            Ok(results)
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let others = cores.min(segments.len()).saturating_sub(1);
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..others).map(|_| scope.spawn(run)).collect();
            let mut results = run()?;
            for other in others {
                let panicked = |_| SearchError::Unavailable("the index is damaged: a search panicked".to_owned());
                results.extend(other.join().map_err(panicked)??);
            }
            Ok(results)
        })
    }
}

impl Segment<'_> {
    /// Hands over all documents that match, in blocks, in their order.
    pub fn each_block(&self, mut each: impl FnMut(&[DocId])) -> Result<(), SearchError> {
        let failed = |error: TantivyError| self.control.failed(&error);
        let mut found = self.weight.scorer(self.reader, 1.0).map_err(failed)?;
        let mut block = [0; COLLECT_BLOCK_BUFFER_LEN];
        for count in 1_usize.. {
            let filled = found.fill_buffer(&mut block);
            each(&block[..filled]);
            if filled < block.len() {
                break;
            }
            if count.is_multiple_of(BLOCKS) {
                self.control.check()?;
            }
        }
        Ok(())
    }

    /// How many match.
    pub fn count(&self) -> Result<u64, SearchError> {
        self.weight.count(self.reader).map(u64::from).map_err(|error| self.control.failed(&error))
    }

    /// What can't be read of this segment.
    pub fn failed(&self, error: &impl ToString) -> SearchError {
        self.control.failed(error)
    }
}
