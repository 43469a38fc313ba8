//! One agent for one data folder. The problem: two that append to one journal destroy it. An `flock` ends with the
//! process however that ends, so a stale lock file never stops a start. Within a process it ends when it is given up,
//! not when the descriptor is closed: a child that is being started holds a copy of every descriptor until its `exec`.

use super::{JournalError, segment::error};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const NAME: &str = "journal.lock";

/// Held while the journal is open.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    /// The folder has held a journal before.
    pub used_before: bool,
}

impl Lock {
    /// # Errors
    /// Another journal, of this process or another, holds the folder; or the lock file can't be made.
    pub fn take(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(NAME);
        let io = |source| JournalError::Io { path: path.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let used_before = file.metadata().map_err(io)?.len() > 0;
                Ok(Self { file, path, used_before })
            }
            Err(Errno::WOULDBLOCK) => Err(JournalError::Locked(dir.to_owned())),
            Err(errno) => Err(io(errno.into())),
        }
    }

    /// The folder holds a journal now: when it doesn't any more, it was lost.
    ///
    /// # Errors
    /// No room or no access.
    pub fn used(&mut self) -> Result<(), JournalError> {
        if !self.used_before {
            let written = self.file.write_all_at(b"used\n", 0);
            written.map_err(|source| error(&self.path, source))?;
            self.used_before = true;
        }
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If that fails the descriptor's end does it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_descriptor_does_not_hold_it() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        let copy_of_a_child = lock.file.try_clone().unwrap();
        assert!(matches!(Lock::take(dir.path()), Err(JournalError::Locked(_))));
        drop(lock);
        assert!(Lock::take(dir.path()).is_ok(), "held by {copy_of_a_child:?}");
    }
}
