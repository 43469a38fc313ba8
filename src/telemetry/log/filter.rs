//! Which records are written: one level for all, others for single modules.

use crate::settings::Level;
use slog::{Drain, OwnedKVList, Record};
use std::collections::BTreeMap;

pub(super) fn to_slog(level: Level) -> slog::Level {
    match level {
        Level::Error => slog::Level::Error,
        Level::Warn => slog::Level::Warning,
        Level::Info => slog::Level::Info,
        Level::Debug => slog::Level::Debug,
        Level::Trace => slog::Level::Trace,
    }
}

pub(super) fn to_log(level: Level) -> log::Level {
    match level {
        Level::Error => log::Level::Error,
        Level::Warn => log::Level::Warn,
        Level::Info => log::Level::Info,
        Level::Debug => log::Level::Debug,
        Level::Trace => log::Level::Trace,
    }
}

/// From the quietest to the loudest.
fn rank(level: Level) -> u8 {
    level as u8
}

/// Libraries that say at INFO what only their authors want to know.
const CHATTY: [(&str, Level); 4] =
    [("actix_server", Level::Warn), ("actix_http", Level::Warn), ("h2", Level::Warn), ("hyper", Level::Warn)];

/// The level of each module.
#[derive(Clone, Debug)]
pub struct Levels {
    all: Level,
    /// Beginnings of module paths, the longest first.
    modules: Vec<(String, Level)>,
}

impl Levels {
    /// `modules`: by module path or the beginning of one, up to a `::`.
    pub fn new(all: Level, modules: &BTreeMap<String, Level>) -> Self {
        let quiet =
            CHATTY.into_iter().map(|(name, level)| (name.to_owned(), std::cmp::min_by_key(level, all, |l| rank(*l))));
        let mut by_name: BTreeMap<String, Level> = quiet.collect();
        by_name.extend(modules.clone());
        let mut modules: Vec<_> = by_name.into_iter().collect();
        modules.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Self { all, modules }
    }

    pub(super) fn most_verbose(&self) -> Level {
        self.modules.iter().map(|(_, level)| *level).fold(self.all, |a, b| std::cmp::max_by_key(a, b, |l| rank(*l)))
    }

    /// The level of the records of `module`.
    pub fn of(&self, module: &str) -> Level {
        let fits = |name: &str| module.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        self.modules.iter().find(|(name, _)| fits(name)).map_or(self.all, |(_, level)| *level)
    }

    /// A drain that lets pass what these levels allow.
    pub(super) fn filter<D: Drain>(self, drain: D) -> Filter<D> {
        Filter { levels: self, drain }
    }
}

/// Who wrote a record: its module, or the target of a library's record that came through `log`.
pub(super) fn module_of<'a>(record: &'a Record<'_>) -> &'a str {
    if record.tag().is_empty() { record.module() } else { record.tag() }
}

#[derive(Debug)]
pub(super) struct Filter<D> {
    levels: Levels,
    drain: D,
}

impl<D: Drain> Drain for Filter<D> {
    type Ok = Option<D::Ok>;
    type Err = D::Err;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<Self::Ok, D::Err> {
        if !record.level().is_at_least(to_slog(self.levels.of(module_of(record)))) {
            return Ok(None);
        }
        self.drain.log(record, values).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_of_a_module_path_decides() {
        let modules = [("logweir".into(), Level::Warn), ("logweir::kafka".into(), Level::Trace)].into();
        let levels = Levels::new(Level::Info, &modules);
        assert_eq!(levels.of("logweir::kafka::producing"), Level::Trace);
        assert_eq!(levels.of("logweir::kafkaesque"), Level::Warn);
        assert_eq!(levels.of("rdkafka::client"), Level::Info);
        assert_eq!(levels.of("h2::proto"), Level::Warn);
        assert_eq!(levels.most_verbose(), Level::Trace);
    }

    #[test]
    fn a_chatty_library_is_heard_when_asked_for_and_never_louder_than_all() {
        let asked = Levels::new(Level::Info, &[("h2".into(), Level::Debug)].into());
        assert_eq!(asked.of("h2"), Level::Debug);
        assert_eq!(Levels::new(Level::Error, &BTreeMap::new()).of("h2"), Level::Error);
    }
}
