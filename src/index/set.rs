//! All days, for searching. The problem: a search takes as long as it takes, and meanwhile commits, new days and
//! retention go on; so it works on a snapshot, which costs a few pointers.

use super::{Day, IndexError, IndexFolder, schema};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};
use tantivy::{Index, IndexReader, ReloadPolicy, Searcher, directory::MmapDirectory};

/// Decompressed blocks of documents that are kept for each segment of a day.
const CACHED_BLOCKS: usize = 4;

/// One day as it was when the snapshot was taken.
#[derive(Clone)]
pub struct DaySearcher {
    pub day: Day,
    pub searcher: Searcher,
}

#[derive(Clone)]
struct OpenDay {
    index: Index,
    reader: IndexReader,
}

/// The days that can be searched. Cloning gives another handle of the same set.
#[derive(Clone)]
pub struct IndexSet {
    folder: IndexFolder,
    days: Arc<RwLock<BTreeMap<Day, OpenDay>>>,
}

impl IndexSet {
    /// Opens all days. The second part: days that are damaged, each with the reason; they are not in the set.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn open(folder: &IndexFolder) -> Result<(Self, Vec<IndexError>), IndexError> {
        let set = Self { folder: folder.clone(), days: Arc::default() };
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
        let path = self.folder.of(day);
        std::fs::create_dir_all(&path).map_err(|e| IndexError::io(&path, e))?;
        // tantivy checks less than it relies on: damage can be a panic, too.
        let open = std::panic::catch_unwind(|| open(&path))
            .map_err(|_| IndexError::Damaged { day, reason: "its files make no sense".into() })?
            .map_err(|error| IndexError::opening(day, &error))?;
        let index = open.index.clone();
        self.days.write().unwrap_or_else(PoisonError::into_inner).insert(day, open);
        Ok(index)
    }

    /// What was last committed in this day can be found from now on.
    pub(super) fn reload(&self, day: Day) -> Result<(), IndexError> {
        let days = self.days.read().unwrap_or_else(PoisonError::into_inner);
        days.get(&day).map_or(Ok(()), |open| open.reader.reload()).map_err(|error| IndexError::opening(day, &error))
    }

    /// Leaves a day out of later snapshots.
    pub fn close_day(&self, day: Day) {
        self.days.write().unwrap_or_else(PoisonError::into_inner).remove(&day);
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

fn open(path: &std::path::Path) -> tantivy::Result<OpenDay> {
    let directory = MmapDirectory::open(path)?;
    let builder = Index::builder().schema(super::Fields::schema().0).settings(schema::settings());
    let mut index = builder.open_or_create(directory)?;
    index.set_tokenizers(schema::tokenizers());
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual);
    let reader = reader.doc_store_cache_num_blocks(CACHED_BLOCKS).try_into()?;
    Ok(OpenDay { index, reader })
}
