//! Opening files and telling by their content whether they are who their inode says. Runs on a blocking thread: a
//! network file system may take its time.

use super::roster::Inode;
use crate::{
    collection::EntryKey,
    flow::OriginId,
    journal::{FileRecord, Fingerprint},
    tail::{self, OpenError, OpenedFile},
};
use std::{
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

/// What is to be opened.
#[derive(Debug)]
pub enum Wish {
    /// See [`Decision::New`](super::roster::Decision::New).
    New {
        path: PathBuf,
        home: PathBuf,
        inode: Inode,
        key: EntryKey,
        at_end: bool,
        newer_than: Option<PathBuf>,
        text_only: bool,
    },
    /// `opened`: still open from before, so only to be recognised.
    Known { record: FileRecord, path: PathBuf, opened: Option<OpenedFile> },
}

/// What came of it.
#[derive(Debug)]
pub enum Opening {
    New {
        path: PathBuf,
        home: PathBuf,
        key: EntryKey,
        opened: OpenedFile,
        head: Fingerprint,
        start: u64,
        /// When it was last written to: seconds and nanoseconds since 1970.
        modified: (i64, i64),
    },
    Known {
        record: FileRecord,
        path: PathBuf,
        opened: OpenedFile,
    },
    /// Its inode holds another content now.
    Replaced {
        record: FileRecord,
    },
    /// The journal has forgotten it.
    Forgotten(OriginId),
    /// The name holds another file by now, or none: the next scan says more.
    Moved {
        wish: Missed,
    },
    /// Not collected: older than the file whose successor it would have been.
    NotYounger {
        inode: Inode,
        key: EntryKey,
    },
    /// Not collected: it holds no text, and only text is wanted.
    Binary {
        path: PathBuf,
        inode: Inode,
        key: EntryKey,
    },
    Failed {
        wish: Missed,
        path: PathBuf,
        error: OpenError,
    },
}

/// Which wish was not granted.
#[derive(Debug)]
pub enum Missed {
    New { inode: Inode, key: EntryKey },
    Known(OriginId),
}

impl Wish {
    fn missed(&self) -> Missed {
        match self {
            Self::New { inode, key, .. } => Missed::New { inode: *inode, key: key.clone() },
            Self::Known { record, .. } => Missed::Known(record.id),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::New { path, .. } | Self::Known { path, .. } => path,
        }
    }

    fn inode(&self) -> Inode {
        match self {
            Self::New { inode, .. } => *inode,
            Self::Known { record, .. } => (record.dev, record.ino),
        }
    }

    /// Opens and recognises the file.
    pub fn grant(mut self) -> Opening {
        let given = match &mut self {
            Self::Known { opened, .. } => opened.take(),
            Self::New { .. } => None,
        };
        let opened = match given.map_or_else(|| tail::open(self.path()), Ok) {
            Ok(opened) if (opened.dev, opened.ino) == self.inode() => opened,
            Ok(_) | Err(OpenError::NotFound(_)) => return Opening::Moved { wish: self.missed() },
            Err(error) => return Opening::Failed { wish: self.missed(), path: self.path().to_owned(), error },
        };
        let (wish, name) = (self.missed(), self.path().to_owned());
        self.recognise(opened).unwrap_or_else(|source| Opening::Failed {
            wish,
            path: name.clone(),
            error: OpenError::Io { path: name, source },
        })
    }

    fn recognise(self, opened: OpenedFile) -> io::Result<Opening> {
        match self {
            Self::New { path, home, inode, key, at_end, newer_than, text_only } => {
                if text_only && tail::is_binary(&opened.file)? {
                    return Ok(Opening::Binary { path, inode, key });
                }
                if let Some(older) = newer_than
                    && !is_younger(&opened, &older)
                {
                    return Ok(Opening::NotYounger { inode, key });
                }
                let head = tail::head_of_file(&opened.file)?;
                let start = if at_end { last_line_start(&opened)? } else { 0 };
                let modified = modified(&opened.file.metadata()?);
                Ok(Opening::New { path, home, key, opened, head, start, modified })
            }
            Self::Known { record, path, .. } => {
                let same = opened.size >= record.position && tail::starts_like(&opened.file, &record.head)?;
                Ok(if same { Opening::Known { record, path, opened } } else { Opening::Replaced { record } })
            }
        }
    }
}

fn modified(meta: &std::fs::Metadata) -> (i64, i64) {
    (meta.mtime(), meta.mtime_nsec())
}

/// Whether the file was last written to after the other one (or with it, as coarse as file times are); so is the
/// younger of two rotated files.
fn is_younger(opened: &OpenedFile, other: &Path) -> bool {
    match (opened.file.metadata(), std::fs::metadata(other)) {
        (Ok(this), Ok(other)) => modified(&this) >= modified(&other),
        _ => false,
    }
}

/// Where the last line begins that isn't finished: its bytes belong to a line that will be finished after the entry
/// was applied, so it is collected whole.
fn last_line_start(opened: &OpenedFile) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut buffer = vec![0; STEP as usize];
    let mut end = opened.size;
    // A line longer than this is cut by any setting: begin within it.
    let floor = opened.size.saturating_sub(16 * STEP);
    while end > floor {
        let begin = end.saturating_sub(STEP).max(floor);
        let piece = &mut buffer[..(end - begin) as usize];
        opened.file.read_exact_at(piece, begin)?;
        if let Some(at) = memchr::memrchr(b'\n', piece) {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(if floor == 0 { 0 } else { opened.size })
}
