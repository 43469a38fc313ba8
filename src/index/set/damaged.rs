//! What becomes of a day that is damaged: who finds out, tells; it is left out from then on; and it is put out of the way,
//! with as much of it as is still known, for it is rebuilt by that.

use super::{IndexSet, OpenDay};
use crate::index::{Day, IndexError, Salvage, checksum};
use std::{path::Path, sync::PoisonError};
use tantivy::{Directory, Index};

impl OpenDay {
    /// Segments and columns, as they were last found, into a folder from which they were taken away.
    fn keep(&self, aside: &Path) -> Result<(), IndexError> {
        let searcher = self.reader.searcher();
        let ids: Vec<String> = searcher.segment_readers().iter().map(|one| one.segment_id().uuid_string()).collect();
        for name in ids.iter().map(|id| format!("{id}.fast")).filter(|name| !aside.join(name).exists()) {
            match self.directory.open_read(Path::new(&name)).map(|file| file.read_bytes()) {
                Ok(Ok(bytes)) => std::fs::write(aside.join(&name), bytes.as_slice())
                    .map_err(|error| IndexError::io(aside.join(name), error))?,
                // Then the day tells less of itself.
                lost => slog_scope::warn!("columns of a damaged day are lost"; "name" => name, "reason" => ?lost.err()),
            }
        }
        Salvage::name_segments(aside, ids)
    }
}

impl IndexSet {
    /// Puts a day out of the way that can't be read.
    ///
    /// # Errors
    /// Its folder can't be renamed.
    pub fn set_aside(&self, day: Day, why: &str) -> Result<(), IndexError> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner).remove(&day);
        let again = self.close_day(day);
        // As it was when it was found: it may have been opened again since, with less in it.
        let open = closed.or(again);
        let aside = self.folder.set_aside(day)?;
        if let Some(Err(error)) = open.map(|open| open.keep(&aside)) {
            slog_scope::warn!("a damaged day tells less of itself"; "day" => %day, "reason" => %error);
        }
        slog_scope::error!("a day of the index is damaged and set aside; it is rebuilt from the files that are \
            still there"; "day" => %day, "reason" => why, "aside" => %aside.display());
        Ok(())
    }

    /// Something went wrong, and a damaged day may be why: then it isn't searched or written until it is mended.
    pub fn note(&self, error: &IndexError) {
        match error {
            IndexError::Damaged { day, reason } => self.found(*day, reason.clone()),
            IndexError::NotWritten { day, .. } => _ = self.examine(*day),
            IndexError::Panicked => self.look(),
            _ => {}
        }
    }

    fn found(&self, day: Day, reason: String) {
        // One at a time: what is closed here must not be what has been rebuilt since.
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_damaged(day) {
            return;
        }
        slog_scope::warn!("a day of the index is found to be damaged"; "day" => %day, "reason" => &reason);
        if let Some(open) = self.close_day(day) {
            closed.insert(day, open);
        }
        self.damage.found(day, reason);
    }

    /// Reads the files of a day that behaves oddly. Answers whether it is damaged.
    pub fn examine(&self, day: Day) -> bool {
        self.is_damaged(day) || self.check(day, checksum::verify)
    }

    fn check(&self, day: Day, look: impl Fn(&Index, &Path, Day) -> Result<(), IndexError>) -> bool {
        let open = self.days.read().unwrap_or_else(PoisonError::into_inner).get(&day).cloned();
        let Some(open) = open else { return false };
        let error = match look(&open.index, &self.folder.of(day), day) {
            Ok(()) => return false,
            Err(_) if !self.folder.has(day) => IndexError::gone(day),
            Err(error) => error,
        };
        if !self.is_open(day) {
            // Retention has removed it meanwhile.
            return false;
        }
        match error {
            IndexError::Damaged { reason, .. } => {
                self.found(day, reason);
                true
            }
            error => {
                slog_scope::warn!("a day of the index is not checked"; "day" => %day, "reason" => %error);
                false
            }
        }
    }

    pub(super) fn is_open(&self, day: Day) -> bool {
        self.days.read().unwrap_or_else(PoisonError::into_inner).contains_key(&day)
    }

    /// A search failed in this day. Answers whether it is because the day is damaged.
    pub fn suspect(&self, day: Day) -> bool {
        self.is_damaged(day) || self.damage.may_examine(day) && self.examine(day)
    }

    /// Finds the days of which something was taken away.
    pub(in crate::index) fn look(&self) {
        for day in self.days() {
            self.check(day, |index, folder, day| checksum::all_there(index, folder, day).map(drop));
        }
    }

    /// Compares the checksums of all files, newest day first; for a thread of its own. Answers how many days are damaged.
    pub fn verify(&self) -> usize {
        self.days().into_iter().rev().filter(|&day| self.examine(day)).count()
    }

    /// Waits for the next damaged day, which nobody writes until it is [mended](Self::mended); and why it is one.
    pub fn next_damaged(&self) -> (Day, String) {
        self.damage.next()
    }

    /// It can be searched and written again.
    pub fn mended(&self, day: Day) {
        self.damage.mended(day);
    }

    /// It can't be mended now, and is to be tried again.
    pub fn not_mended(&self, day: Day) {
        self.damage.not_mended(day);
    }

    pub fn is_damaged(&self, day: Day) -> bool {
        self.damage.is_damaged(day)
    }

    /// Days that are damaged and not mended yet.
    pub fn damaged(&self) -> Vec<Day> {
        self.damage.all()
    }
}
