//! The folder of the index: which days are there, of which version, and how a day goes.

use super::{Day, IndexError};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Version of what is in the folder.
const VERSION: u32 = 1;
/// Its file, with the version as text.
const VERSION_FILE: &str = "version";
/// A day that is being removed; what is left of it goes at the next start.
const REMOVED: &str = ".removed";
/// A day that could not be read and was set aside.
const DAMAGED: &str = ".damaged";

/// A file in there: as much of the day as could be had again is in its place.
const REBUILT: &str = "rebuilt";

/// tantivy's file that says what belongs to a day.
pub(super) const META: &str = "meta.json";

/// `<data_dir>/index`.
#[derive(Clone, Debug)]
pub struct IndexFolder {
    path: PathBuf,
}

impl IndexFolder {
    /// Creates it where it isn't there, and finishes removals that were cut short.
    ///
    /// # Errors
    /// It is of a newer version, or can't be read or written.
    pub fn open(data_dir: &Path) -> Result<Self, IndexError> {
        let path = data_dir.join("index");
        fs::create_dir_all(&path).map_err(|e| IndexError::io(&path, e))?;
        let file = path.join(VERSION_FILE);
        match fs::read_to_string(&file) {
            Ok(text) if text.trim() == VERSION.to_string() => {}
            Ok(text) => {
                return Err(IndexError::NewerVersion { path, found: text.trim().into(), known: VERSION });
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => write_whole(&file, &format!("{VERSION}\n"))?,
            Err(e) => return Err(IndexError::io(file, e)),
        }
        let folder = Self { path };
        for entry in folder.names()?.iter().filter(|name| name.ends_with(REMOVED)) {
            folder.delete(&folder.path.join(entry))?;
        }
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of a day.
    pub fn of(&self, day: Day) -> PathBuf {
        self.path.join(day.to_string())
    }

    /// Whether a day that was there still is.
    pub(super) fn has(&self, day: Day) -> bool {
        // What can't be looked at may be there.
        !matches!(self.of(day).join(META).try_exists(), Ok(false))
    }

    /// Whether there are lines in a day's folder, and nothing says which: never so by itself.
    pub(super) fn has_lost_its_meta(day: &Path) -> bool {
        let lines = |file: fs::DirEntry| Path::new(&file.file_name()).extension().is_some_and(|end| end == "store");
        matches!(day.join(META).try_exists(), Ok(false))
            && fs::read_dir(day).is_ok_and(|files| files.flatten().any(lines))
    }

    fn names(&self) -> Result<Vec<String>, IndexError> {
        let failed = |e| IndexError::io(&self.path, e);
        let entries = fs::read_dir(&self.path).map_err(failed)?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<_, _>>().map_err(failed)
    }

    /// The days that are there, oldest first.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn days(&self) -> Result<Vec<Day>, IndexError> {
        let mut days: Vec<Day> = self.names()?.iter().filter_map(|name| name.parse().ok()).collect();
        days.sort_unstable();
        Ok(days)
    }

    /// Bytes of a day's files.
    pub fn bytes(&self, day: Day) -> u64 {
        let Ok(entries) = fs::read_dir(self.of(day)) else { return 0 };
        // A file that a merge has just removed counts nothing.
        entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
    }

    /// Removes a day. Who reads it at the moment reads on.
    ///
    /// # Errors
    /// Its files can't be removed; what is left goes at the next start.
    pub fn remove(&self, day: Day) -> Result<(), IndexError> {
        let doomed = self.path.join(format!("{day}{REMOVED}"));
        fs::rename(self.of(day), &doomed).map_err(|e| IndexError::io(&doomed, e))?;
        crate::crash::point("index_retention");
        self.delete(&doomed)
    }

    fn delete(&self, path: &Path) -> Result<(), IndexError> {
        fs::remove_dir_all(path).map_err(|e| IndexError::io(path, e))
    }

    /// Days that were set aside and not rebuilt since, each with where it is now.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn to_rebuild(&self) -> Result<Vec<(Day, PathBuf)>, IndexError> {
        let mut days = self.aside()?;
        days.retain(|(_, path)| !self.is_rebuilt(path));
        Ok(days)
    }

    /// Whether there is a day again in the place of what was set aside there.
    pub fn is_rebuilt(&self, aside: &Path) -> bool {
        aside.join(REBUILT).exists()
    }

    /// Days that were set aside, each with where it is now; oldest first.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn aside(&self) -> Result<Vec<(Day, PathBuf)>, IndexError> {
        let aside = |name: &String| Some((name.split_once(DAMAGED)?.0.parse().ok()?, self.path.join(name)));
        let mut days: Vec<(Day, PathBuf)> = self.names()?.iter().filter_map(aside).collect();
        days.sort_unstable();
        Ok(days)
    }

    /// Removes what was set aside there.
    ///
    /// # Errors
    /// Its files can't be removed.
    pub fn remove_aside(&self, aside: &Path) -> Result<(), IndexError> {
        self.delete(aside)
    }

    /// What was set aside there is rebuilt.
    ///
    /// # Errors
    /// The mark can't be written.
    pub fn rebuilt(&self, aside: &Path) -> Result<(), IndexError> {
        write_whole(&aside.join(REBUILT), "")
    }

    /// Puts a day that can't be read out of the way, and tells where it is now. Of a day whose folder is gone, there is an
    /// empty one: it is to be rebuilt, too.
    ///
    /// # Errors
    /// Its folder can't be renamed.
    pub fn set_aside(&self, day: Day) -> Result<PathBuf, IndexError> {
        let names = (1..).map(|n| self.path.join(format!("{day}{DAMAGED}-{n}")));
        let Some(aside) = names.into_iter().find(|path| !path.exists()) else { return Ok(self.of(day)) };
        let done = match fs::rename(self.of(day), &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&aside),
            done => done,
        };
        done.map_err(|e| IndexError::io(&aside, e))?;
        Ok(aside)
    }
}

/// Writes a small file so that it is there as a whole or not at all.
fn write_whole(path: &Path, text: &str) -> Result<(), IndexError> {
    let draft = path.with_extension("new");
    let write = || -> io::Result<()> {
        fs::write(&draft, text)?;
        fs::File::open(&draft)?.sync_all()?;
        fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    };
    write().map_err(|e| IndexError::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_is_refused_and_an_older_stays() {
        let dir = tempfile::tempdir().unwrap();
        IndexFolder::open(dir.path()).unwrap();
        IndexFolder::open(dir.path()).unwrap();
        fs::write(dir.path().join("index/version"), "2\n").unwrap();
        let refused = IndexFolder::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("newer version (format 2, this program knows up to 1)"), "{refused}");
    }

    #[test]
    fn days_are_listed_removed_and_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let folder = IndexFolder::open(dir.path()).unwrap();
        for name in ["2026-11-21", "2026-11-20", "2026-11-19.removed", "other"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let days: Vec<Day> = ["2026-11-20", "2026-11-21"].map(|day| day.parse().unwrap()).into();
        assert_eq!(folder.days().unwrap(), days);
        folder.remove(days[0]).unwrap();
        let aside = folder.set_aside(days[1]).unwrap();
        assert!(aside.ends_with("2026-11-21.damaged-1") && folder.days().unwrap().is_empty());
        assert_eq!(folder.to_rebuild().unwrap(), [(days[1], aside.clone())]);
        folder.rebuilt(&aside).unwrap();
        assert_eq!(folder.aside().unwrap(), [(days[1], aside.clone())], "it stays until its day is over");
        assert!(folder.to_rebuild().unwrap().is_empty());
        IndexFolder::open(dir.path()).unwrap();
        assert!(!folder.path().join("2026-11-19.removed").exists() && aside.exists());
    }
}
