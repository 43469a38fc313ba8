//! Fills the places of damaged days: of those that a start finds, before anything is written, and of those that turn out
//! to be damaged later, while the other days are written and searched. The problem: nothing may be lost or doubled,
//! whenever the process is killed. So what is rebuilt is what the journal, on the disk, calls settled; everything else is
//! sent again by it; and until a day has been filled, nobody else writes it.

use crate::{
    actors::{index_writer::IndexWriterParts, supervision::Latest},
    collection::{Entry, EntryTexts, parse_entries},
    crash,
    flow::{Backoff, Retries},
    index::{Day, IndexError, IndexSet, Retention, Salvage, WriterMemory},
    journal::FileRecord,
    messages::{JournalMemory, RecallJournal},
    rebuild::{Memory, Rebuilt, rebuild},
    settings::StandaloneSettings,
    tail::Pattern,
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const WAITS: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// A disk that fails again and again isn't worked on without a pause.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(600));
/// Without damage for so long, pauses begin anew.
const CALM: Duration = Duration::from_secs(3600);

/// What is needed to rebuild days, for the life of the process.
pub struct Mending {
    set: IndexSet,
    texts: EntryTexts,
    writer: WriterMemory,
    retention: Retention,
    journal: Latest<RecallJournal>,
    host: String,
    entries_file: PathBuf,
    base_dir: PathBuf,
}

impl Mending {
    pub fn new(index: &IndexWriterParts, settings: &StandaloneSettings) -> Self {
        Self {
            set: index.set.clone(),
            texts: index.texts.clone(),
            writer: index.settings.memory,
            retention: index.settings.retention,
            journal: index.recall.clone(),
            host: settings.agent.host.clone(),
            entries_file: settings.entries_file(),
            base_dir: settings.paths().base_dir,
        }
    }

    /// Rebuilds the days that were set aside and not rebuilt since. Nothing else runs yet.
    pub fn at_start(&self, journal: impl FnOnce() -> JournalMemory) {
        let days = self.to_rebuild();
        if days.is_empty() {
            return;
        }
        let journal = journal();
        for (day, aside) in days {
            slog_scope::info!("a damaged day is being rebuilt; the page comes afterwards"; "day" => %day);
            self.rebuild(day, &aside, &journal);
        }
    }

    /// From now on, checks the days once and mends those that anybody finds to be damaged, on threads of its own.
    pub fn begin(self) {
        let set = self.set.clone();
        let verify = move || {
            set.verify();
        };
        // They end with the process; nobody joins them.
        for spawned in [
            std::thread::Builder::new().name("verify".into()).spawn(verify),
            std::thread::Builder::new().name("mend".into()).spawn(move || self.mend_for_ever()),
        ] {
            if let Err(error) = spawned {
                slog_scope::error!("the index is not looked after"; "reason" => %error);
            }
        }
    }

    fn mend_for_ever(&self) {
        let (mut pauses, mut last) = (Retries::new(PAUSES), Instant::now());
        loop {
            let (day, reason) = self.set.next_damaged();
            if last.elapsed() > CALM {
                pauses = Retries::new(PAUSES);
            }
            // Damage makes tantivy panic here and there; the next day has to be mended all the same.
            let mend = std::panic::AssertUnwindSafe(|| self.mend(day, &reason));
            if std::panic::catch_unwind(mend).is_err() {
                slog_scope::error!("a damaged day is not rebuilt: it made the program panic"; "day" => %day);
            }
            self.set.mended(day);
            last = Instant::now();
            std::thread::park_timeout(pauses.failed());
        }
    }

    /// What a start does, for one day, while the others are in use.
    fn mend(&self, day: Day, reason: &str) {
        if let Err(error) = self.set.set_aside(day, reason) {
            return slog_scope::error!("a damaged day can't be set aside"; "day" => %day, "reason" => %error);
        }
        crash::point("index_set_aside");
        let asides: Vec<_> = self.to_rebuild().into_iter().filter(|(of, _)| *of == day).collect();
        // After the day's writer has ended: the journal has heard of all that it committed.
        let Some(journal) = self.recall() else { return };
        for (day, aside) in asides {
            slog_scope::info!("a damaged day is being rebuilt; the others are written and searched"; "day" => %day);
            self.rebuild(day, &aside, &journal);
        }
    }

    fn recall(&self) -> Option<JournalMemory> {
        let mut retries = Retries::new(WAITS);
        let runtime = match tokio::runtime::Builder::new_current_thread().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                slog_scope::error!("a damaged day is rebuilt by the next start"; "reason" => %error);
                return None;
            }
        };
        loop {
            let reason = match self.journal.get().map(|journal| runtime.block_on(journal.send(RecallJournal))) {
                Some(Ok(Ok(memory))) => return Some(memory),
                Some(Ok(Err(error))) => error.to_string(),
                Some(Err(_)) | None => "it is being restarted".to_owned(),
            };
            slog_scope::warn!("a damaged day waits for the journal"; "reason" => reason);
            std::thread::park_timeout(retries.failed());
        }
    }

    /// Days that were set aside and not rebuilt; not those that retention would remove at once.
    fn to_rebuild(&self) -> Vec<(Day, PathBuf)> {
        let mut days = self.set.folder().to_rebuild().unwrap_or_else(|error| {
            slog_scope::error!("damaged days are not rebuilt"; "reason" => %error);
            Vec::new()
        });
        let today = Day::today();
        days.retain(|(day, _)| !self.retention.is_over(*day, today));
        days
    }

    fn rebuild(&self, day: Day, aside: &Path, journal: &JournalMemory) {
        let (texts, limits) = (self.texts.clone(), self.limits());
        let limit = move |file: &FileRecord| {
            let of_file =
                |(entry, pattern): &&(Entry, Pattern)| entry.topic == file.topic && pattern.matches(&file.path);
            limits.iter().find(of_file).map(|(entry, _)| entry.max_line_bytes)
        };
        let memory = Memory::new(day, Salvage::read(aside), &journal.ranges, move |entry| texts.get(entry));
        let memory = memory.with_limits(limit);
        let rebuilt = rebuild(&self.set, &memory, &journal.files, &self.host, self.writer);
        crash::point("index_rebuilt");
        let done = |rebuilt: Rebuilt| match rebuilt.unreadable.is_empty() {
            true => self.set.folder().rebuilt(aside).map(|()| rebuilt),
            false => Ok(rebuilt),
        };
        // Another day may be damaged, too, and show it only now.
        tell(day, rebuilt.and_then(done).inspect_err(|error| self.set.note(error)));
    }

    /// The entries as they are now, each with what it means. Without them, lines have the usual limit.
    fn limits(&self) -> Vec<(Entry, Pattern)> {
        let text = match std::fs::read(&self.entries_file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                slog_scope::warn!("nobody says how long lines may be"; "reason" => %error);
                return Vec::new();
            }
        };
        let entries = parse_entries(&text, &self.base_dir).unwrap_or_else(|error| {
            slog_scope::warn!("nobody says how long lines may be"; "reason" => %error);
            Vec::new()
        });
        let meant = |entry: Entry| Pattern::of(&entry).ok().map(|pattern| (entry, pattern));
        entries.into_iter().filter_map(meant).collect()
    }
}

fn tell(day: Day, rebuilt: Result<Rebuilt, IndexError>) {
    let rebuilt = match rebuilt {
        Ok(rebuilt) => rebuilt,
        Err(error) => {
            return slog_scope::error!("a damaged day is not rebuilt"; "day" => %day, "reason" => %error);
        }
    };
    slog_scope::warn!("a damaged day is rebuilt from the files; lines of files that are gone are missing, and \
        those of which nobody knows the time any more stand at its beginning, without labels";
        "day" => %day, "lines" => rebuilt.lines, "without_time" => rebuilt.without_time,
        "files_gone" => rebuilt.gone.len());
    for path in &rebuilt.unreadable {
        slog_scope::error!("a file can't be read now, its lines of a damaged day are added after the next start";
            "day" => %day, "path" => %path.display());
    }
    for path in &rebuilt.gone {
        slog_scope::warn!("a file is gone, its lines of a damaged day can't be had again";
            "day" => %day, "path" => %path.display());
    }
}
