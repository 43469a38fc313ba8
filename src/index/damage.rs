//! Days that turn out to be damaged while they are in use. The problem: a search, a check or the writer itself finds out,
//! on threads of their own, and none of them can mend a day alone: it must not be written meanwhile, and nobody may mend
//! it twice. So whoever finds it tells it here; the day isn't written until it is mended, and one thread waits here for
//! days to mend.

use super::Day;
use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What is known of days in use. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    days: Mutex<Days>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Days {
    /// Why, and whether it is being mended.
    damaged: BTreeMap<Day, (String, bool)>,
    /// Days that have writers, and how many: one is opened, another may just end.
    written: BTreeMap<Day, usize>,
    /// When a search made somebody read all of a day.
    examined: BTreeMap<Day, Instant>,
}

/// A search that fails on a sound day is the program's mistake; the day isn't read for each of them.
const EXAMINED_AGAIN: Duration = Duration::from_secs(60);

impl Damage {
    fn days(&self) -> MutexGuard<'_, Days> {
        self.0.days.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, days: MutexGuard<'a, Days>) -> MutexGuard<'a, Days> {
        self.0.changed.wait(days).unwrap_or_else(PoisonError::into_inner)
    }

    /// A day is damaged; what was told of it first counts.
    pub fn found(&self, day: Day, reason: String) {
        self.days().damaged.entry(day).or_insert((reason, false));
        self.0.changed.notify_all();
    }

    pub fn is_damaged(&self, day: Day) -> bool {
        self.days().damaged.contains_key(&day)
    }

    /// Whether a day that a search failed in may be read as a whole.
    pub fn may_examine(&self, day: Day) -> bool {
        let (mut days, now) = (self.days(), Instant::now());
        let may = days.examined.get(&day).is_none_or(|at| now.duration_since(*at) >= EXAMINED_AGAIN);
        if may {
            days.examined.insert(day, now);
        }
        may
    }

    /// Days that aren't mended yet.
    pub fn all(&self) -> Vec<Day> {
        self.days().damaged.keys().copied().collect()
    }

    /// Waits for the next day that is to be mended, and until nobody writes it.
    pub fn next(&self) -> (Day, String) {
        let mut days = self.days();
        loop {
            let Days { damaged, written, .. } = &mut *days;
            let free = damaged.iter_mut().find(|(day, (_, mending))| !*mending && !written.contains_key(day));
            if let Some((&day, (reason, mending))) = free {
                *mending = true;
                return (day, reason.clone());
            }
            days = self.wait(days);
        }
    }

    /// It can be written again.
    pub fn mended(&self, day: Day) {
        let mut days = self.days();
        days.damaged.remove(&day);
        days.examined.remove(&day);
        self.0.changed.notify_all();
    }

    /// The day is being written until the answer is dropped; `None`: it is damaged, and only who mends it may do so.
    pub fn begin_writing(&self, day: Day) -> Option<Writing> {
        let mut days = self.days();
        if days.damaged.contains_key(&day) {
            return None;
        }
        Some(self.written(&mut days, day))
    }

    /// The same for who mends it.
    pub fn begin_mending(&self, day: Day) -> Writing {
        self.written(&mut self.days(), day)
    }

    fn written(&self, days: &mut Days, day: Day) -> Writing {
        *days.written.entry(day).or_default() += 1;
        Writing { damage: self.clone(), day }
    }
}

/// A day is being written.
#[derive(Debug)]
pub(super) struct Writing {
    damage: Damage,
    day: Day,
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut days = self.damage.days();
        match days.written.get_mut(&self.day) {
            Some(writers) if *writers > 1 => *writers -= 1,
            _ => _ = days.written.remove(&self.day),
        }
        self.damage.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_day_is_mended_once_and_not_before_its_writer_has_ended() {
        let (damage, told) = (Damage::default(), channel());
        let writing = damage.begin_writing(Day(5)).unwrap();
        damage.found(Day(5), "torn".to_owned());
        damage.found(Day(5), "again".to_owned());
        let other = damage.clone();
        let mending = std::thread::spawn(move || {
            for _ in 0..2 {
                told.0.send(other.next()).unwrap();
            }
        });
        // Another day isn't held up by the one that is written.
        damage.found(Day(4), "gone".to_owned());
        assert_eq!(told.1.recv().unwrap(), (Day(4), "gone".to_owned()));
        assert!(told.1.try_recv().is_err(), "a writer has it");
        assert!(damage.begin_writing(Day(5)).is_none());
        drop(writing);
        assert_eq!(told.1.recv().unwrap(), (Day(5), "torn".to_owned()));
        mending.join().unwrap();
        assert_eq!(damage.all(), [Day(4), Day(5)]);
        drop(damage.begin_mending(Day(5)));
        damage.mended(Day(5));
        assert!(!damage.is_damaged(Day(5)) && damage.begin_writing(Day(5)).is_some());
    }
}
