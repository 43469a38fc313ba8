//! All days, for searching. The problem: a search takes as long as it takes, and meanwhile commits, new days and
//! retention go on; so it works on a snapshot, which costs a few pointers.

mod damaged;

use super::{
    Committed, Day, DayWriter, Fields, IndexError, IndexFolder,
    damage::{Damage, EngineAtWork, Writing},
    folder::META,
    schema,
};
use crate::flow::FileId;
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    thread::JoinHandle,
};
use tantivy::{
    DocSet, Index, IndexReader, ReloadPolicy, Searcher, TERMINATED, Term,
    directory::{MmapDirectory, error::OpenReadError},
    schema::IndexRecordOption,
};

/// Decompressed blocks of documents that are kept for each segment of a day.
const CACHED_BLOCKS: usize = 4;

/// One day as it was when the snapshot was taken.
#[derive(Clone)]
pub struct DaySearcher {
    pub day: Day,
    pub searcher: Searcher,
}

impl DaySearcher {
    fn offsets(&self, file: FileId, offsets: &mut Vec<u64>) -> tantivy::Result<()> {
        let fields = Fields::get();
        let term = Term::from_field_u64(fields.file, file.0);
        for segment in self.searcher.segment_readers() {
            let column = segment.fast_fields().u64("offset")?;
            let postings = segment.inverted_index(fields.file)?.read_postings(&term, IndexRecordOption::Basic)?;
            let Some(mut postings) = postings else { continue };
            let mut doc = postings.doc();
            while doc != TERMINATED {
                offsets.extend(column.first(doc));
                doc = postings.advance();
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct OpenDay {
    index: Index,
    reader: IndexReader,
    /// Still has the files that are mapped when they are gone from the disk.
    directory: MmapDirectory,
}

/// The days that can be searched. Cloning gives another handle of the same set.
#[derive(Clone)]
pub struct IndexSet {
    folder: IndexFolder,
    days: Arc<RwLock<BTreeMap<Day, OpenDay>>>,
    /// Days that are no longer written, while their merges go on.
    finishing: Arc<Mutex<HashMap<Day, JoinHandle<()>>>>,
    writing: Arc<Mutex<()>>,
    damage: Damage,
    /// Of damaged days, until they are set aside.
    closed: Arc<Mutex<HashMap<Day, OpenDay>>>,
}

impl IndexSet {
    /// Opens all days. The second part: days that are damaged, each with the reason; they are not in the set.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn open(folder: &IndexFolder) -> Result<(Self, Vec<IndexError>), IndexError> {
        let set = Self {
            folder: folder.clone(),
            days: Arc::default(),
            finishing: Arc::default(),
            writing: Arc::default(),
            damage: Damage::default(),
            closed: Arc::default(),
        };
        let mut damaged = Vec::new();
        for day in folder.days()? {
            match set.open_day(day) {
                Ok(_) => {}
                Err(error @ IndexError::Damaged { .. }) => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok((set, damaged))
    }

    /// What is committed now, oldest day first.
    pub fn snapshot(&self) -> Vec<DaySearcher> {
        let days = self.days.read().unwrap_or_else(PoisonError::into_inner);
        days.iter().map(|(&day, open)| DaySearcher { day, searcher: open.reader.searcher() }).collect()
    }

    pub fn folder(&self) -> &IndexFolder {
        &self.folder
    }

    /// The days, oldest first.
    pub fn days(&self) -> Vec<Day> {
        self.days.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// The index of a day, made where it isn't there.
    pub(super) fn open_day(&self, day: Day) -> Result<Index, IndexError> {
        if let Some(open) = self.days.read().unwrap_or_else(PoisonError::into_inner).get(&day) {
            return Ok(open.index.clone());
        }
        std::fs::create_dir_all(self.folder.of(day)).map_err(|e| IndexError::io(self.folder.of(day), e))?;
        let open = self.opened(day)?;
        let index = open.index.clone();
        self.days.write().unwrap_or_else(PoisonError::into_inner).insert(day, open);
        Ok(index)
    }

    fn opened(&self, day: Day) -> Result<OpenDay, IndexError> {
        let path = self.folder.of(day);
        // tantivy checks less than it relies on: damage can be a panic, too.
        std::panic::catch_unwind(|| open(&path))
            .map_err(|_| IndexError::Damaged { day, reason: "its files make no sense".into() })?
            .map_err(|error| IndexError::opening(day, &error))
    }

    /// Searches of this day go on with its files mapped anew: what writing and merging have touched of them no longer
    /// counts as this process' memory.
    pub(super) fn reopen(&self, day: Day) -> Result<(), IndexError> {
        if !self.is_open(day) {
            // Retention has removed it, or it is being mended.
            return Ok(());
        }
        if !self.folder.has(day) {
            return Err(IndexError::gone(day));
        }
        let fresh = self.opened(day)?;
        let mut days = self.days.write().unwrap_or_else(PoisonError::into_inner);
        // A day that was removed meanwhile stays removed.
        if let Some(open) = days.get_mut(&day) {
            *open = fresh;
        }
        Ok(())
    }

    /// What was last committed in this day can be found from now on.
    pub(super) fn reload(&self, day: Day) -> Result<(), IndexError> {
        let open = self.days.read().unwrap_or_else(PoisonError::into_inner).get(&day).cloned();
        // Also where somebody has just found it to be damaged: it is rebuilt by what it knows.
        let open = open.or_else(|| self.closed.lock().unwrap_or_else(PoisonError::into_inner).get(&day).cloned());
        open.map_or(Ok(()), |open| open.reader.reload()).map_err(|error| IndexError::opening(day, &error))
    }

    fn close_day(&self, day: Day) -> Option<OpenDay> {
        self.days.write().unwrap_or_else(PoisonError::into_inner).remove(&day)
    }

    /// Removes a day; a search that has it in its snapshot goes on.
    ///
    /// # Errors
    /// Its files can't be removed. It is left out of later snapshots all the same.
    pub fn remove(&self, day: Day) -> Result<(), IndexError> {
        let _open = self.close_day(day);
        self.folder.remove(day)
    }

    /// Waits until the merges of the day's last writer are done. `mending`: it is damaged, and this fills its place.
    pub(super) fn begin_writing(&self, day: Day, mending: bool) -> Result<Writing, IndexError> {
        self.await_finished(day);
        let writing = if mending { Some(self.damage.begin_mending(day)) } else { self.damage.begin_writing(day) };
        writing.ok_or(IndexError::Mending(day))
    }

    /// To be kept for as long as what is [committed](Self::committed) is made use of, from before it is asked for.
    pub(super) fn begin_engine(&self) -> EngineAtWork {
        self.damage.begin_engine()
    }

    /// Held by whoever writes: there is one at a time. Waits for the one before.
    pub fn lock_writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's merges go on in the background.
    pub(crate) fn finish(&self, writer: DayWriter) {
        let day = writer.day();
        let merges = writer.finish();
        let mut finishing = self.finishing.lock().unwrap_or_else(PoisonError::into_inner);
        finishing.retain(|_, merges| !merges.is_finished());
        finishing.insert(day, merges);
    }

    /// Waits until nobody writes this day any more.
    fn await_finished(&self, day: Day) {
        let merges = self.finishing.lock().unwrap_or_else(PoisonError::into_inner).remove(&day);
        if merges.is_some_and(|merges| merges.join().is_err()) {
            slog_scope::warn!("the merges of a day have failed, its segments stay as they are"; "day" => %day);
        }
    }

    /// How far the days that are there say that each file is committed.
    ///
    /// # Errors
    /// As of [`payloads`](Self::payloads), or a payload is of a newer version.
    pub(crate) fn committed(&self) -> Result<Committed, IndexError> {
        let mut committed = Committed::default();
        for payload in self.payloads()? {
            committed.learn(&payload, self.folder.path())?;
        }
        Ok(committed)
    }

    /// The payload of the last commit of a day that is there.
    pub(crate) fn payload(&self, day: Day) -> Result<Option<String>, IndexError> {
        let days = self.days.read().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = days.get(&day) else { return Ok(None) };
        open.index.load_metas().map(|meta| meta.payload).map_err(|error| IndexError::opening(day, &error))
    }

    /// Where the lines of this file begin that any day has, sorted.
    pub(crate) fn offsets(&self, file: FileId) -> Result<Vec<u64>, IndexError> {
        let mut offsets = Vec::new();
        for day in self.snapshot() {
            day.offsets(file, &mut offsets).map_err(|error| IndexError::opening(day.day, &error))?;
        }
        offsets.sort_unstable();
        Ok(offsets)
    }

    /// The payloads of the last commit of every day.
    ///
    /// # Errors
    /// A day's `meta.json` can't be read.
    pub fn payloads(&self) -> Result<Vec<String>, IndexError> {
        let days = self.days.read().unwrap_or_else(PoisonError::into_inner);
        let payload = |(&day, open): (&Day, &OpenDay)| {
            open.index.load_metas().map(|meta| meta.payload).map_err(|error| IndexError::opening(day, &error))
        };
        days.iter().map(payload).filter_map(Result::transpose).collect()
    }
}

fn open(path: &Path) -> tantivy::Result<OpenDay> {
    // tantivy would make an empty index of what is left, and clear that away.
    if IndexFolder::has_lost_its_meta(path) {
        return Err(OpenReadError::FileDoesNotExist(path.join(META)).into());
    }
    let directory = MmapDirectory::open(path)?;
    let builder = Index::builder().schema(Fields::schema().0).settings(schema::settings());
    let mut index = builder.open_or_create(directory.clone())?;
    index.set_tokenizers(schema::tokenizers());
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual);
    let reader = reader.doc_store_cache_num_blocks(CACHED_BLOCKS).try_into()?;
    Ok(OpenDay { index, reader, directory })
}
