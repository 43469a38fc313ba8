//! Repeats folded into a count. The problem: a broker that is down makes the same warning a thousand times a minute,
//! and the one line that matters drowns in them. The first of its kind is written; those like it within the window are
//! counted, and the count is told when the window ends.
//!
//! "Like it": same level, module, message, and same values of the keys that say what it is about ([`DISTINGUISHING`]).

use super::filter::module_of;
use slog::{BorrowedKV, Drain, KV, Key, Level, OwnedKVList, Record, RecordLocation, RecordStatic, Serializer};
use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Keys whose values make two records different; all others (counts, positions, waiting times) don't.
const DISTINGUISHING: [&str; 13] = [
    "topic",
    "partition",
    "path",
    "index",
    "key",
    "revision",
    "reason",
    "error",
    "actor",
    "kind",
    "entry",
    "url",
    "file",
];

/// Kinds of records remembered at a time. Past that, new kinds share one count: the log stays bounded whatever happens.
const KINDS: usize = 1024;
/// The kind of all those.
const CROWD: u64 = 0;

/// A drain that folds repeated warnings and errors. Records below WARN pass.
#[derive(Debug)]
pub(super) struct FoldRepeats<D> {
    drain: D,
    window: Duration,
    start: Instant,
    kinds: Mutex<HashMap<u64, Kind>>,
    /// When the next window ends, milliseconds since `start`: a cheap look for every record.
    next_end_ms: AtomicU64,
}

/// Records that are like each other.
#[derive(Debug)]
struct Kind {
    end: Instant,
    more: u64,
    level: Level,
    location: Location,
    tag: String,
    message: String,
    about: About,
}

#[derive(Clone, Copy)]
struct Location(RecordLocation);
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file, self.0.line)
    }
}

/// The distinguishing keys of a record, with their values as text.
#[derive(Clone, Debug, Default)]
struct About(Vec<(Key, String)>);

impl Serializer for About {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        if DISTINGUISHING.contains(&key) {
            self.0.push((key, value.to_string()));
        }
        Ok(())
    }
}

impl KV for About {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        self.0.iter().try_for_each(|(key, value)| serializer.emit_str(key, value))
    }
}

/// Hashes text as it is formatted, without a buffer.
struct HashText<'a>(&'a mut DefaultHasher);
impl fmt::Write for HashText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

fn like(record: &Record<'_>, about: &About) -> u64 {
    let mut hasher = DefaultHasher::new();
    (record.level().as_usize(), module_of(record)).hash(&mut hasher);
    // A message that fails to format is hashed as far as it goes.
    _ = fmt::write(&mut HashText(&mut hasher), *record.msg());
    about.0.hash(&mut hasher);
    hasher.finish()
}

impl<D: Drain> FoldRepeats<D> {
    /// A window of zero folds nothing.
    pub(super) fn new(drain: D, window: Duration) -> Self {
        let next_end_ms = AtomicU64::new(u64::MAX);
        Self { drain, window, start: Instant::now(), kinds: Mutex::default(), next_end_ms }
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<u64, Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all counts now.
    pub(super) fn tell_all(&self) {
        let kinds = std::mem::take(&mut *self.kinds());
        kinds.into_values().for_each(|kind| self.tell(&kind));
    }

    /// Tells the counts of the windows that have ended by `now`.
    fn end_windows(&self, now: Instant) {
        if (now.duration_since(self.start).as_millis() as u64) < self.next_end_ms.load(Relaxed) {
            return;
        }
        let mut ended = Vec::new();
        {
            let mut kinds = self.kinds();
            ended.extend(kinds.extract_if(|_, kind| kind.end <= now).map(|(_, kind)| kind));
            self.look_again_at(kinds.values().map(|kind| kind.end).min());
        }
        ended.iter().for_each(|kind| self.tell(kind));
    }

    fn look_again_at(&self, end: Option<Instant>) {
        // Rounded up, so that the window has ended by then.
        let ms = end.map_or(u64::MAX, |end| end.duration_since(self.start).as_millis() as u64 + 1);
        self.next_end_ms.store(ms, Relaxed);
    }

    /// Whether the record is the first of its kind; counts it if it isn't.
    fn is_first(&self, record: &Record<'_>, values: &OwnedKVList, now: Instant) -> bool {
        let mut about = About::default();
        // Collecting into memory doesn't fail; a value that can't be formatted just doesn't distinguish.
        drop(values.serialize(record, &mut about).and_then(|()| record.kv().serialize(record, &mut about)));
        let mut kinds = self.kinds();
        let mut like = like(record, &about);
        let crowded = kinds.len() >= KINDS && !kinds.contains_key(&like);
        if crowded {
            (like, about) = (CROWD, About::default());
        }
        match kinds.entry(like) {
            Entry::Occupied(mut known) => {
                known.get_mut().more += 1;
                false
            }
            Entry::Vacant(new) => {
                let end = now + self.window;
                let (level, tag) = (record.level(), record.tag().to_owned());
                let message = if crowded { "too many kinds of warnings".to_owned() } else { record.msg().to_string() };
                let location = Location(*record.location());
                new.insert(Kind { end, more: 0, level, location, tag, message, about });
                let ms = end.duration_since(self.start).as_millis() as u64 + 1;
                self.next_end_ms.fetch_min(ms, Relaxed);
                true
            }
        }
    }

    fn tell(&self, kind: &Kind) {
        if kind.more == 0 {
            return;
        }
        let what = RecordStatic { location: &kind.location.0, tag: &kind.tag, level: kind.level };
        let (more, secs) = (kind.more, self.window.as_secs());
        let text = format_args!("{} (… {more} more like this in the last {secs} s)", kind.message);
        // As for the record itself: what can't be written is dropped.
        drop(self.drain.log(&Record::new(&what, &text, BorrowedKV(&kind.about)), &slog::o!().into()));
    }

    fn log_at(&self, record: &Record<'_>, values: &OwnedKVList, now: Instant) -> Result<Option<D::Ok>, D::Err> {
        self.end_windows(now);
        let folds = record.level().is_at_least(Level::Warning) && !self.window.is_zero();
        if folds && !self.is_first(record, values, now) {
            return Ok(None);
        }
        self.drain.log(record, values).map(Some)
    }
}

impl<D: Drain> Drain for FoldRepeats<D> {
    type Ok = Option<D::Ok>;
    type Err = D::Err;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<Self::Ok, D::Err> {
        self.log_at(record, values, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slog::{Logger, Never, o};
    use std::sync::Arc;

    #[derive(Clone, Debug, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);
    impl Drain for Written {
        type Ok = ();
        type Err = Never;
        fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
            let mut about = About::default();
            record.kv().serialize(record, &mut about).unwrap();
            let keys: String = about.0.iter().map(|(key, value)| format!(" {key}={value}")).collect();
            self.0.lock().unwrap().push(format!("{}{keys}", record.msg()));
            Ok(())
        }
    }

    /// Passes records to the folding drain at a time of the test's own.
    #[derive(Clone)]
    struct Setup {
        fold: Arc<FoldRepeats<Written>>,
        now: Arc<Mutex<Instant>>,
        written: Written,
    }
    impl Drain for Setup {
        type Ok = Option<()>;
        type Err = Never;
        fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<Option<()>, Never> {
            let now = *self.now.lock().unwrap();
            self.fold.log_at(record, values, now)
        }
    }
    impl Setup {
        fn new() -> (Self, Logger) {
            let written = Written::default();
            let fold = Arc::new(FoldRepeats::new(written.clone(), Duration::from_secs(60)));
            let setup = Self { now: Arc::new(Mutex::new(fold.start)), fold, written };
            (setup.clone(), Logger::root(setup.ignore_res(), o!()))
        }
        fn pass_secs(&self, secs: u64) {
            *self.now.lock().unwrap() += Duration::from_secs(secs);
        }
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut *self.written.0.lock().unwrap())
        }
    }

    #[test]
    fn repeats_are_counted_and_told_when_the_window_ends() {
        let (setup, log) = Setup::new();
        for waited in 0..38 {
            slog::warn!(log, "broker is down"; "topic" => "a", "waited_ms" => waited);
            setup.pass_secs(1);
        }
        assert_eq!(setup.take(), ["broker is down topic=a"]);
        setup.pass_secs(21);
        slog::info!(log, "still there");
        assert_eq!(setup.take(), ["still there"], "59 seconds");
        setup.pass_secs(2);
        slog::info!(log, "any record ends windows");
        let told = "broker is down (… 37 more like this in the last 60 s) topic=a";
        assert_eq!(setup.take(), [told, "any record ends windows"]);
        slog::warn!(log, "broker is down"; "topic" => "a");
        assert_eq!(setup.take(), ["broker is down topic=a"], "a new window begins with a whole record");
    }

    #[test]
    fn what_a_record_is_about_keeps_it_apart() {
        let (setup, log) = Setup::new();
        for topic in ["a", "b", "a"] {
            slog::error!(log, "not writable"; "topic" => topic);
        }
        slog::warn!(log, "not writable"; "topic" => "a");
        let text = "not writable topic=";
        assert_eq!(setup.take(), [format!("{text}a"), format!("{text}b"), format!("{text}a")], "ERROR and WARN differ");
    }

    #[test]
    fn info_is_never_folded() {
        let (setup, log) = Setup::new();
        (0..3).for_each(|_| slog::info!(log, "started"));
        assert_eq!(setup.take().len(), 3);
    }

    #[test]
    fn counts_are_told_at_the_end_and_single_records_have_none() {
        let (setup, log) = Setup::new();
        (0..3).for_each(|_| slog::warn!(log, "thrice"));
        slog::warn!(log, "once");
        setup.take();
        setup.fold.tell_all();
        assert_eq!(setup.take(), ["thrice (… 2 more like this in the last 60 s)"]);
    }

    #[test]
    fn ten_thousand_kinds_of_warnings_stay_bounded() {
        let (setup, log) = Setup::new();
        for n in 0..10_000 {
            slog::warn!(log, "refused"; "path" => n);
        }
        assert_eq!(setup.take().len(), KINDS + 1);
        slog::warn!(log, "refused"; "path" => 3);
        assert_eq!(setup.take().len(), 0, "a known kind is still known");
        setup.fold.tell_all();
        let mut told = setup.take();
        told.sort();
        assert_eq!(
            told,
            [
                "refused (… 1 more like this in the last 60 s) path=3",
                "too many kinds of warnings (… 8975 more like this in the last 60 s)",
            ]
        );
    }
}
