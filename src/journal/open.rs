//! What is found in the data folder when the journal is opened or inspected. The problem: a crash leaves unfinished
//! files and two segments, a bad disk leaves a damaged one; one has to be chosen, and nothing may be deleted before
//! what replaces it is safe.

use super::{
    FileRecord, JournalError, SalvageReport,
    format::Batch,
    recovery::{self, Replay},
    segment::{self, Replaced, Segment, error, parse_name},
    snapshot::SnapshotJob,
    state::State,
};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// What was found in the data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The folder was never used.
    Fresh,
    /// The folder was used before, but there is no journal in it: all positions are lost.
    Lost,
    /// Everything is there; at most a torn tail was cut off.
    Clean,
    /// Parts are damaged and were read around.
    Salvaged,
}

/// See [`Journal::open`](super::Journal::open).
#[derive(Clone, Debug)]
pub struct Opened {
    pub condition: Condition,
    /// To be logged: ERROR where [`Damage::is_loss`](super::Damage::is_loss), else WARN.
    pub reports: Vec<SalvageReport>,
}

/// What is written down, read without disturbing the agent.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The segment that was read; `None` when there is no journal.
    pub path: Option<PathBuf>,
    pub files: Vec<FileRecord>,
    /// Keys of the entries that have been applied.
    pub entries: Vec<String>,
    /// A torn tail may be a record that the agent is writing just now.
    pub reports: Vec<SalvageReport>,
}

/// Chooses the segment to go on with, or makes a new one with what could be read. Deletes what isn't needed.
pub(super) fn resume_or_renew(dir: &Path, used_before: bool) -> Result<(State, Segment, Opened), JournalError> {
    let found = Found::list(dir)?;
    let (newest, mut reports) = found.read()?;
    let sound = reports.is_empty();
    if let Some(one) = &newest {
        reports.extend(one.replay.reports.iter().cloned());
    }
    let condition = match &newest {
        _ if reports.iter().any(|report| report.damage.is_loss()) => Condition::Salvaged,
        None if used_before => Condition::Lost,
        None => Condition::Fresh,
        Some(_) => Condition::Clean,
    };
    let (state, segment) = match newest {
        Some(one) if sound && condition == Condition::Clean => one.resume(dir, &found)?,
        other => renew(dir, other.map(|one| one.replay.state).unwrap_or_default(), &found)?,
    };
    delete(&found.tmp)?;
    Ok((state, segment, Opened { condition, reports }))
}

/// See [`Journal::inspect`](super::Journal::inspect).
pub(super) fn inspect(dir: &Path) -> Result<Inspection, JournalError> {
    // A snapshot may replace the segment between listing and reading, hardly twice.
    let mut tries = 0;
    let (newest, mut reports) = loop {
        tries += 1;
        match Found::list(dir).and_then(|found| found.read()) {
            Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && tries < 8 => {}
            read => break read?,
        }
    };
    let Some(one) = newest else {
        return Ok(Inspection { path: None, files: Vec::new(), entries: Vec::new(), reports });
    };
    reports.extend(one.replay.reports);
    let state = one.replay.state;
    let (files, entries) = (state.records().collect(), state.entries().cloned().collect());
    Ok(Inspection { path: Some(one.path), files, entries, reports })
}

/// A new segment with this state, when there is none that can be gone on with.
fn renew(dir: &Path, mut state: State, found: &Found) -> Result<(State, Segment), JournalError> {
    if !found.segments.is_empty() {
        state.skip_ids();
    }
    let number = found.segments.last().map_or(0, |(number, _)| *number) + 1;
    let mut segment = SnapshotJob::new(dir, number, state.snapshot())?.write()?.take_over(Batch::default())?;
    segment.synced(segment.sync_handle(None).sync()?);
    segment::sync_dir(dir)?;
    if !found.segments.is_empty() {
        // The last damage is kept for whoever wants to look at it.
        delete(&found.damaged)?;
    }
    for (_, path) in &found.segments {
        std::fs::rename(path, path.with_extension("damaged")).map_err(|source| error(path, source))?;
    }
    Ok((state, segment))
}

fn delete<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), JournalError> {
    paths.into_iter().try_for_each(|path| std::fs::remove_file(path).map_err(|source| error(path, source)))
}

/// The files of a journal in its folder.
#[derive(Debug, Default)]
struct Found {
    /// By number, rising.
    segments: Vec<(u64, PathBuf)>,
    /// Unfinished snapshots.
    tmp: Vec<PathBuf>,
    /// Segments that were put aside after an earlier damage.
    damaged: Vec<PathBuf>,
}

/// The segment that counts.
#[derive(Debug)]
struct Newest {
    path: PathBuf,
    number: u64,
    len: u64,
    replay: Replay,
}

impl Found {
    fn list(dir: &Path) -> Result<Self, JournalError> {
        let io = |source| error(dir, source);
        let mut found = Self::default();
        for entry in std::fs::read_dir(dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            match name.to_str().and_then(parse_name) {
                Some((number, "log")) => found.segments.push((number, entry.path())),
                Some((_, "damaged")) => found.damaged.push(entry.path()),
                Some((_, ending)) if ending.ends_with("tmp") => found.tmp.push(entry.path()),
                _ => {}
            }
        }
        found.segments.sort();
        Ok(found)
    }

    /// The segment that counts, and what is wrong with newer ones: the newest that is whole, or else the newest in which
    /// there is anything.
    fn read(&self) -> Result<(Option<Newest>, Vec<SalvageReport>), JournalError> {
        let (mut partial, mut unreadable) = (None, Vec::new());
        for (at, (number, path)) in self.segments.iter().enumerate().rev() {
            let bytes = std::fs::read(path).map_err(|source| error(path, source))?;
            let replay = recovery::replay(&bytes, path, *number)?;
            let (whole, readable) = (replay.whole, replay.is_readable());
            let one = Newest { path: path.clone(), number: *number, len: bytes.len() as u64, replay };
            if whole {
                let unfinished = |(_, path): &(u64, PathBuf)| SalvageReport::unfinished(path);
                return Ok((Some(one), self.segments[at + 1..].iter().map(unfinished).collect()));
            } else if readable {
                partial.get_or_insert(one);
            } else {
                unreadable.extend(one.replay.reports);
            }
        }
        Ok((partial, unreadable))
    }
}

impl Newest {
    /// Goes on with this segment, its torn tail cut off.
    fn resume(self, dir: &Path, found: &Found) -> Result<(State, Segment), JournalError> {
        let io = |source| error(&self.path, source);
        let file = File::options().read(true).write(true).open(&self.path).map_err(io)?;
        let Replay { state, good_len, base_len, .. } = self.replay;
        if good_len < self.len {
            file.set_len(good_len).map_err(io)?;
        }
        let mut segment = Segment::new(file, self.path, self.number, good_len, base_len);
        let old: Vec<_> = found.segments.iter().filter(|(n, _)| *n < self.number).map(|(_, p)| p.clone()).collect();
        if !old.is_empty() {
            let replaced = Replaced { dir: dir.to_owned(), old };
            segment.synced(segment.sync_handle(Some(replaced)).sync()?);
        }
        Ok((state, segment))
    }
}
