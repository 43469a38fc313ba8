//! What the engine waits for, and what it does now and then: the journal, room on the disk, days that are over.

use super::{Engine, RETENTION_INTERVAL};
use crate::{
    flow::{Backoff, Retries},
    index::{Day, DayWriter, IndexError},
};
use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

const WAITS: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
/// While waiting, it is looked this often whether that is still wanted.
const LOOK: Duration = Duration::from_millis(50);

impl Engine {
    /// Waits until the journal is on the disk.
    pub(super) fn await_journal(&self) -> Result<(), IndexError> {
        let mut retries = Retries::new(WAITS);
        while let Err(reason) = (self.neighbours.flush_journal)() {
            self.counters.add(|c| &c.failures, 1);
            slog_scope::error!("the journal is not on the disk, so nothing is committed"; "reason" => reason);
            self.rest(retries.failed())?;
        }
        Ok(())
    }

    /// Waits until there is room on the disk.
    pub(super) fn await_room(&self) -> Result<(), IndexError> {
        let (path, reserve) = (self.set.folder().path(), self.settings.reserve_bytes);
        let mut retries = Retries::new(WAITS);
        loop {
            let stat = rustix::fs::statvfs(path).map_err(|e| IndexError::io(path, e.into()))?;
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            if free >= reserve {
                if retries.failures() > 0 {
                    slog_scope::info!("there is room for the index again"; "free_bytes" => free);
                }
                return Ok(());
            }
            self.counters.add(|c| &c.failures, 1);
            slog_scope::error!("the disk is full: the index waits, nothing is lost"; "path" => %path.display(),
                "free_bytes" => free, "needed_bytes" => reserve);
            self.rest(retries.failed())?;
        }
    }

    /// Waits until the day can be written, where it was found to be damaged.
    pub(super) fn await_mended(&self, day: Day) -> Result<(), IndexError> {
        if self.set.is_damaged(day) {
            slog_scope::info!("the index waits until a damaged day is rebuilt; nothing is lost"; "day" => %day);
        }
        while self.set.is_damaged(day) {
            if self.neighbours.finishing.load(Relaxed) {
                return Err(IndexError::GivenUp);
            }
            self.rest(LOOK)?;
        }
        Ok(())
    }

    fn rest(&self, time: Duration) -> Result<(), IndexError> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.go_on()?;
            std::thread::park_timeout(LOOK);
        }
        self.go_on()
    }

    /// Now and then: removes the days that are over.
    pub(super) fn clean(&mut self) {
        if self.cleaned.is_some_and(|at| at.elapsed() < RETENTION_INTERVAL) {
            return;
        }
        self.cleaned = Some(Instant::now());
        self.set.look();
        let today = Day::today();
        if let Err(error) = self.clean_aside(today) {
            slog_scope::error!("damaged days that are over can't be removed"; "reason" => %error);
        }
        let open = self.writer.as_ref().map(DayWriter::day);
        let days: Vec<_> = self.set.days().into_iter().map(|day| (day, self.set.folder().bytes(day))).collect();
        self.counters.set(|c| &c.index_bytes, days.iter().map(|(_, bytes)| bytes).sum());
        for day in self.settings.retention.doomed(&days, today) {
            if Some(day) == open || self.set.is_damaged(day) {
                continue;
            }
            match self.set.remove(day) {
                Ok(()) => slog_scope::info!("a day is removed from the index"; "day" => %day),
                Err(error) => slog_scope::error!("a day can't be removed from the index"; "reason" => %error),
            }
        }
    }

    /// Days that were set aside go when their time is over, like the others.
    fn clean_aside(&self, today: Day) -> Result<(), IndexError> {
        let (retention, folder) = (self.settings.retention, self.set.folder());
        let oldest = self.set.days().first().copied();
        for (day, path) in folder.aside()? {
            // By bytes, days go from the oldest on; one that is older than all that are kept has gone, too.
            let too_much =
                retention.bytes.is_some() && folder.is_rebuilt(&path) && oldest.is_some_and(|kept| day < kept);
            if !self.set.is_damaged(day) && (too_much || retention.is_over(day, today)) {
                folder.remove_aside(&path)?;
                slog_scope::info!("a damaged day that was set aside is removed"; "day" => %day, "path" => %path.display());
            }
        }
        Ok(())
    }
}
