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
/// the last one settled, so a single one would do. What an earlier process committed is another matter, see [`Naming`].
const NAMED_FOR: Duration = Duration::from_secs(60);

/// Format of the payload.
const VERSION: &str = "1";

/// FILE -> last committed `seq`.
#[derive(Debug, Default)]
pub struct Committed {
    files: HashMap<FileId, (u64, Naming)>,
}

/// Whether payloads name a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// Until its last committed batch has come again: the journal may not know of it, and the file may be out of reach
    /// for as long as it likes, through any number of restarts.
    Owed,
    /// For a while from here on: the journal hears that it is settled.
    Since(Instant),
    /// The journal knows.
    Done,
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
            self.raise(file, seq, Naming::Owed);
        }
        Ok(())
    }

    /// Of what was learned, payloads go on to name only files of which the journal has batches that aren't settled.
    pub fn keep_owed(&mut self, has_unsettled: impl Fn(FileId) -> bool) {
        for (file, (_, naming)) in &mut self.files {
            if *naming == Naming::Owed && !has_unsettled(*file) {
                *naming = Naming::Done;
            }
        }
    }

    fn raise(&mut self, file: FileId, seq: u64, naming: Naming) {
        let known = self.files.entry(file).or_insert((0, naming));
        *known = (known.0.max(seq), naming);
    }

    /// The last batch of a file that is in the index.
    pub fn last(&self, file: FileId) -> Option<u64> {
        self.files.get(&file).map(|(seq, _)| *seq)
    }

    /// Whether this batch, which has come to be written, is in the index.
    pub fn contains(&mut self, file: FileId, seq: u64, now: Instant) -> bool {
        let Some((last, naming)) = self.files.get_mut(&file) else { return false };
        if seq == *last && *naming == Naming::Owed {
            *naming = Naming::Since(now);
        }
        seq <= *last
    }

    /// The payload of a commit that brings these, in addition to what is committed already.
    pub fn payload(&self, added: &HashMap<FileId, u64>, now: Instant) -> String {
        let is_named = |naming: &Naming| match naming {
            Naming::Owed => true,
            Naming::Since(at) => now.duration_since(*at) < NAMED_FOR,
            Naming::Done => false,
        };
        let named = self.files.iter().filter(|(_, (_, naming))| is_named(naming));
        let mut files: HashMap<FileId, u64> = named.map(|(file, (seq, _))| (*file, *seq)).collect();
        files.extend(added);
        let mut text = VERSION.to_owned();
        for (file, seq) in files {
            text.push_str(&format!(" {file}:{seq}"));
        }
        text
    }

    /// The commit is done.
    pub fn add(&mut self, added: &HashMap<FileId, u64>, now: Instant) {
        added.iter().for_each(|(file, seq)| self.raise(*file, *seq, Naming::Since(now)));
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
        let mut read = learned(&payload);
        assert!(
            read.contains(FileId(1), 6, now) && !read.contains(FileId(1), 7, now) && read.contains(FileId(3), 1, now)
        );
        assert!(!read.contains(FileId(2), 9, now), "it was committed too long ago to be named: {payload}");
        assert!(!committed.contains(FileId(3), 1, now), "not committed yet");
        read.learn("1 0000000000000001:4", Path::new("/x")).unwrap();
        assert!(read.contains(FileId(1), 6, now), "an earlier day says less");
    }

    fn learned(payload: &str) -> Committed {
        let mut committed = Committed::default();
        committed.learn(payload, Path::new("/x")).unwrap();
        committed
    }

    #[test]
    fn what_an_earlier_process_committed_is_named_until_it_has_come_again() {
        let (now, later) = (Instant::now(), Instant::now() + NAMED_FOR * 10);
        let mut first = learned("1 0000000000000001:5 0000000000000002:7 0000000000000003:9");
        first.keep_owed(|file| file != FileId(3));
        // Only one of the files comes back in this process, and in the next one none.
        first.add(&[(FileId(2), 8)].into(), now);
        let mut third = learned(&learned(&first.payload(&HashMap::new(), now)).payload(&HashMap::new(), later));
        assert!(third.contains(FileId(1), 4, later) && third.contains(FileId(2), 8, later));
        assert!(!third.contains(FileId(3), 9, later), "the journal knew that it is settled");
        // The last of a file's batches has come: the journal hears of it.
        assert!(!third.payload(&HashMap::new(), later + NAMED_FOR * 2).contains("2:8"));
        assert!(third.contains(FileId(1), 5, later));
        assert_eq!(third.payload(&HashMap::new(), later + NAMED_FOR * 2), VERSION);
    }

    #[test]
    fn another_format_is_refused() {
        for wrong in ["", "2 0000000000000001:4", "1 x:4", "1 0000000000000001:-4"] {
            assert!(Committed::default().learn(wrong, Path::new("/x")).is_err(), "{wrong}");
        }
    }
}
