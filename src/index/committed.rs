//! How far the index has come in each file, as a commit's payload. The problem: after a crash the journal sends again
//! what it doesn't know to be settled, and some of that may be committed. Batches of a file come in order and their
//! `seq` rises for the life of the journal, so one number for each file answers whether a batch is there.

use super::IndexError;
use crate::flow::FileId;
use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

/// Files without a commit for so long are left out of the payload. Before each commit the journal has written down what
/// the last one settled, so a single one would do.
const NAMED_FOR: Duration = Duration::from_secs(60);

/// Format of the payload.
const VERSION: &str = "1";

/// FILE -> last committed `seq`.
#[derive(Debug, Default)]
pub struct Committed {
    files: HashMap<FileId, (u64, Option<Instant>)>,
}

impl Committed {
    /// Adds what a commit's payload says.
    ///
    /// # Errors
    /// It is of a newer version, or of none that is known.
    pub fn learn(&mut self, payload: &str, path: &Path) -> Result<(), IndexError> {
        let refused = |found: &str| IndexError::NewerVersion { path: path.into(), found: found.into(), known: 1 };
        let mut words = payload.split(' ');
        let version = words.next().unwrap_or_default();
        if version != VERSION {
            return Err(refused(version));
        }
        for word in words.filter(|word| !word.is_empty()) {
            let parsed = word.split_once(':').and_then(|(file, seq)| Some((file.parse().ok()?, seq.parse().ok()?)));
            let (file, seq) = parsed.ok_or_else(|| refused("unknown"))?;
            self.raise(file, seq, None);
        }
        Ok(())
    }

    fn raise(&mut self, file: FileId, seq: u64, at: Option<Instant>) {
        let known = self.files.entry(file).or_insert((0, None));
        *known = (known.0.max(seq), at.or(known.1));
    }

    /// Whether this batch is in the index.
    pub fn contains(&self, file: FileId, seq: u64) -> bool {
        self.files.get(&file).is_some_and(|known| seq <= known.0)
    }

    /// The payload of a commit that brings these, in addition to what is committed already.
    pub fn payload(&self, added: &HashMap<FileId, u64>, now: Instant) -> String {
        let recent = |at: &Option<Instant>| at.is_some_and(|at| now.duration_since(at) < NAMED_FOR);
        let mut files: HashMap<FileId, u64> =
            self.files.iter().filter(|(_, (_, at))| recent(at)).map(|(file, (seq, _))| (*file, *seq)).collect();
        files.extend(added);
        let mut text = VERSION.to_owned();
        for (file, seq) in files {
            text.push_str(&format!(" {file}:{seq}"));
        }
        text
    }

    /// The commit is done.
    pub fn add(&mut self, added: &HashMap<FileId, u64>, now: Instant) {
        added.iter().for_each(|(file, seq)| self.raise(*file, *seq, Some(now)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_names_what_was_committed_lately() {
        let (now, mut committed) = (Instant::now(), Committed::default());
        committed.add(&[(FileId(1), 5), (FileId(2), 9)].into(), now);
        committed.add(&[(FileId(1), 6)].into(), now + Duration::from_secs(50));
        let payload = committed.payload(&[(FileId(3), 1)].into(), now + Duration::from_secs(70));
        let mut read = Committed::default();
        read.learn(&payload, Path::new("/x")).unwrap();
        assert!(read.contains(FileId(1), 6) && !read.contains(FileId(1), 7) && read.contains(FileId(3), 1));
        assert!(!read.contains(FileId(2), 9), "it was committed too long ago to be named: {payload}");
        assert!(!committed.contains(FileId(3), 1), "not committed yet");
        read.learn("1 0000000000000001:4", Path::new("/x")).unwrap();
        assert!(read.contains(FileId(1), 6), "an earlier day says less");
    }

    #[test]
    fn another_format_is_refused() {
        for wrong in ["", "2 0000000000000001:4", "1 x:4", "1 0000000000000001:-4"] {
            assert!(Committed::default().learn(wrong, Path::new("/x")).is_err(), "{wrong}");
        }
    }
}
