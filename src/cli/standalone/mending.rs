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
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const WAITS: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// A day that can't be mended, or is damaged again and again, isn't worked on without a pause.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// Without damage for so long, pauses begin anew.
const CALM: Duration = Duration::from_secs(3600);

/// Damaged days whose files were put out of the way, but which are not rebuilt yet.
pub type Aside = HashSet<Day>;

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

    /// Rebuilds the days that were set aside and not rebuilt since. Nothing else runs yet. Answers those that can't be
    /// rebuilt now, perhaps for the sake of another one: they are tried again later.
    pub fn at_start(&self, journal: impl FnOnce() -> JournalMemory) -> Aside {
        let (days, mut left) = (self.to_rebuild(), Aside::new());
        if days.is_empty() {
            return left;
        }
        let journal = journal();
        for (day, aside) in days {
            slog_scope::info!("a damaged day is being rebuilt; the page comes afterwards"; "day" => %day);
            if let Err(reason) = survive(|| self.rebuild(day, &aside, &journal)) {
                slog_scope::error!("a damaged day is not rebuilt"; "day" => %day, "reason" => %reason);
                self.set.note(&IndexError::Damaged { day, reason });
                left.insert(day);
            }
        }
        left
    }

    /// From now on, checks the days once and mends those that anybody finds to be damaged, on threads of its own. `left`:
    /// what a start has left.
    pub fn begin(self, left: Aside) {
        let set = self.set.clone();
        let verify = move || {
            set.verify();
        };
        // They end with the process; nobody joins them.
        for spawned in [
            std::thread::Builder::new().name("verify".into()).spawn(verify),
            std::thread::Builder::new().name("mend".into()).spawn(move || self.mend_for_ever(left)),
        ] {
            if let Err(error) = spawned {
                slog_scope::error!("the index is not looked after"; "reason" => %error);
            }
        }
    }

    fn mend_for_ever(&self, mut aside: Aside) {
        let mut pauses = Retries::new(PAUSES);
        let mut mended: HashMap<Day, Instant> = HashMap::new();
        loop {
            let (day, reason) = self.set.next_damaged();
            mended.retain(|_, at| at.elapsed() < CALM);
            if mended.is_empty() && aside.is_empty() {
                pauses = Retries::new(PAUSES);
            }
            match survive(|| self.mend(day, &reason, &mut aside)) {
                Ok(()) => {
                    aside.remove(&day);
                    self.set.mended(day);
                    if mended.insert(day, Instant::now()).is_none() {
                        continue;
                    }
                }
                Err(reason) => {
                    slog_scope::error!("a damaged day is not rebuilt, it is tried again"; "day" => %day, "reason" => reason);
                    self.set.not_mended(day);
                }
            }
            std::thread::park_timeout(pauses.failed());
        }
    }

    /// What a start does, for one day, while the others are in use.
    fn mend(&self, day: Day, reason: &str, aside: &mut Aside) -> Result<(), String> {
        if !aside.contains(&day) {
            self.set.set_aside(day, reason).map_err(|error| error.to_string())?;
            aside.insert(day);
        }
        crash::point("index_set_aside");
        let asides: Vec<_> = self.to_rebuild().into_iter().filter(|(of, _)| *of == day).collect();
        // After whoever wrote the index has ended: the journal has heard of all that was settled.
        let journal = self.recall()?;
        for (day, aside) in asides {
            slog_scope::info!("a damaged day is being rebuilt; the others are written and searched"; "day" => %day);
            self.rebuild(day, &aside, &journal)?;
        }
        Ok(())
    }

    fn recall(&self) -> Result<JournalMemory, String> {
        let mut retries = Retries::new(WAITS);
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
        loop {
            let reason = match self.journal.get().map(|journal| runtime.block_on(journal.send(RecallJournal))) {
                Some(Ok(Ok(memory))) => return Ok(memory),
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

    fn rebuild(&self, day: Day, aside: &Path, journal: &JournalMemory) -> Result<(), String> {
        let (texts, limits) = (self.texts.clone(), self.limits());
        let limit = move |file: &FileRecord| {
            let of_file =
                |(entry, pattern): &&(Entry, Pattern)| entry.topic == file.topic && pattern.matches(&file.path);
            limits.iter().find(of_file).map(|(entry, _)| entry.max_line_bytes)
        };
        let memory = Memory::new(day, Salvage::read(aside), &journal.ranges, move |entry| texts.get(entry));
        let memory = memory.with_limits(limit);
        // Another day may be damaged, too, and show it only now.
        let failed = |error: IndexError| {
            self.set.note(&error);
            error.to_string()
        };
        let committed = self.set.committed().map_err(failed)?;
        let files: Vec<_> = journal.files.iter().map(|file| settled_by(file, committed.last(file.file))).collect();
        let rebuilt = rebuild(&self.set, &memory, &files, &self.host, self.writer).map_err(failed)?;
        crash::point("index_rebuilt");
        if rebuilt.unreadable.is_empty() {
            self.set.folder().rebuilt(aside).map_err(failed)?;
        }
        tell(day, &rebuilt);
        Ok(())
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

/// Damage makes tantivy panic here and there: that is a failure, too.
fn survive(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err("it made the program panic".to_owned()))
}

/// A file's record, as it will be when all has come again that a day calls committed, perhaps of another one: whoever
/// writes the index settles that without a look at the day it belongs to.
fn settled_by(file: &FileRecord, committed: Option<u64>) -> FileRecord {
    let mut file = file.clone();
    while let Some((seq, range)) = file.pending.first()
        && committed.is_some_and(|last| *seq <= last)
    {
        file.settled = range.end;
        file.pending.remove(0);
    }
    file
}

fn tell(day: Day, rebuilt: &Rebuilt) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow::PartitionRule,
        journal::{Fingerprint, Journal, JournalOptions, NewFile, Range, RangeEnd},
    };

    #[test]
    fn what_another_day_calls_committed_counts_as_settled() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), JournalOptions::default()).unwrap();
        let none = Fingerprint::default();
        let file = NewFile { path: "/a.log".into(), topic: "t".into(), dev: 1, ino: 2, head: none, start: 0 };
        let id = journal.register(vec![file], 1).unwrap()[0].id;
        for begin in [0, 10, 20] {
            let range = Range {
                begin,
                end: begin + 10,
                read_ms: 1,
                parts_before: 0,
                ends_with: RangeEnd::Line,
                parts_after: 0,
                max_line_bytes: 100,
                entry: None,
                partition: PartitionRule::File,
                back: none,
            };
            journal.append(id, range).unwrap();
        }
        let file = &journal.list()[0];
        let settled = |last| {
            let file = settled_by(file, last);
            (file.settled, file.pending.len())
        };
        assert_eq!([None, Some(2), Some(9)].map(settled), [(0, 3), (20, 1), (30, 0)]);
    }

    #[test]
    fn a_panic_is_a_failure() {
        assert_eq!(survive(|| Ok(())), Ok(()));
        assert!(survive(|| panic!("damage")).is_err());
    }
}
