//! Days that turn out to be damaged while they are in use. The problem: a search, a check or the writer itself finds out,
//! on threads of their own, and none of them can mend a day alone: it must not be written meanwhile, and nobody may mend
//! it twice. So whoever finds it tells it here; the day isn't written until it is mended, and one thread waits here for
//! days to mend. It also waits for whoever wrote the index before and knows what the damaged day had committed: that would
//! be called settled when it comes again, and isn't there any more.

use super::Day;
use std::{
    collections::{BTreeMap, btree_map::Entry},
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
    damaged: BTreeMap<Day, Found>,
    /// How often damage was found.
    found: u64,
    /// Engines at work, by how often damage had been found when they began.
    engines: BTreeMap<u64, usize>,
    /// Days that have writers, and how many: one is opened, another may just end.
    written: BTreeMap<Day, usize>,
    /// When a search made somebody read all of a day.
    examined: BTreeMap<Day, Instant>,
}

impl Days {
    /// A day that is to be mended, and that nobody writes or knows any more.
    fn begin_mending(&mut self) -> Option<(Day, String)> {
        let Self { damaged, written, engines, .. } = self;
        let oldest = engines.keys().next().copied().unwrap_or(u64::MAX);
        let free = |(day, of): &(&Day, &mut Found)| !of.mending && of.number <= oldest && !written.contains_key(day);
        // One that can't be mended, perhaps for the sake of another, doesn't keep that waiting.
        let (&day, of) = damaged.iter_mut().filter(free).min_by_key(|(_, of)| of.failures)?;
        of.mending = true;
        Some((day, of.reason.clone()))
    }
}

/// A damaged day.
#[derive(Debug)]
struct Found {
    reason: String,
    mending: bool,
    /// How often mending it has failed.
    failures: u32,
    /// Which find this was.
    number: u64,
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
        let mut days = self.days();
        let number = days.found + 1;
        if let Entry::Vacant(place) = days.damaged.entry(day) {
            place.insert(Found { reason, mending: false, failures: 0, number });
            days.found = number;
        }
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

    /// Waits for the next day that is to be mended, and until nobody writes it or knows what it had.
    pub fn next(&self) -> (Day, String) {
        let mut days = self.days();
        loop {
            match days.begin_mending() {
                Some(next) => return next,
                None => days = self.wait(days),
            }
        }
    }

    /// It can't be mended now, and is to be tried again.
    pub fn not_mended(&self, day: Day) {
        if let Some(of) = self.days().damaged.get_mut(&day) {
            of.mending = false;
            of.failures += 1;
        }
        self.0.changed.notify_all();
    }

    /// Somebody begins to write the index, and learns what is committed in it from now on.
    pub fn begin_engine(&self) -> EngineAtWork {
        let mut days = self.days();
        let found = days.found;
        *days.engines.entry(found).or_default() += 1;
        EngineAtWork { damage: self.clone(), found }
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

/// Takes one away from a count.
fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => _ = counts.remove(key),
    }
}

/// The index is being written, by somebody who knows what was committed.
#[derive(Debug)]
pub(super) struct EngineAtWork {
    damage: Damage,
    found: u64,
}

impl EngineAtWork {
    /// A day that was found to be damaged since: what is known of it isn't so any more.
    pub fn outdated_by(&self) -> Option<Day> {
        let days = self.damage.days();
        days.damaged.iter().find(|(_, of)| of.number > self.found).map(|(day, _)| *day)
    }
}

impl Drop for EngineAtWork {
    fn drop(&mut self) {
        less(&mut self.damage.days().engines, &self.found);
        self.damage.0.changed.notify_all();
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
        less(&mut self.damage.days().written, &self.day);
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

    #[test]
    fn a_day_is_not_mended_before_whoever_knew_what_it_had_has_ended() {
        let damage = Damage::default();
        let next_of = |damage: &Damage| damage.days().begin_mending().map(|(day, _)| day);
        damage.found(Day(4), "before".to_owned());
        let knows_nothing_of_4 = damage.begin_engine();
        assert_eq!(next_of(&damage), Some(Day(4)));
        assert_eq!(knows_nothing_of_4.outdated_by(), None);
        damage.found(Day(5), "torn".to_owned());
        assert_eq!(knows_nothing_of_4.outdated_by(), Some(Day(5)));
        let next = damage.begin_engine();
        assert_eq!((next.outdated_by(), next_of(&damage)), (None, None));
        drop(knows_nothing_of_4);
        assert_eq!(next_of(&damage), Some(Day(5)));
    }

    #[test]
    fn one_that_can_not_be_mended_stays_damaged_and_others_come_first() {
        let damage = Damage::default();
        damage.found(Day(4), "torn".to_owned());
        assert_eq!(damage.next().0, Day(4));
        damage.not_mended(Day(4));
        damage.found(Day(5), "its neighbour".to_owned());
        assert_eq!((damage.next().0, damage.next().0), (Day(5), Day(4)));
        damage.mended(Day(5));
        assert_eq!(damage.all(), [Day(4)]);
    }
}
