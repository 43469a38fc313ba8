//! Opening files. The problem: an entry's pattern may name anything, and opening a FIFO or a device can block or do harm;
//! and a name may change hands between a look and an open.

use super::FileKind;
use rustix::fs::{Mode, OFlags};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// A regular file, open for reading.
#[derive(Debug)]
pub struct OpenedFile {
    pub file: File,
    pub dev: u64,
    pub ino: u64,
    /// Bytes, at the time of opening.
    pub size: u64,
}

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: there is no such file", .0.display())]
    NotFound(PathBuf),
    /// A FIFO, device, socket or folder: never opened, for opening one can block or do harm.
    #[error("{} is {kind}, not a regular file", path.display())]
    Kind { path: PathBuf, kind: FileKind },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Opens a regular file; symbolic links are followed. Never blocks on a FIFO or a device, and never opens one knowingly:
/// that alone can wake a writer or rewind a tape.
pub fn open(path: &Path) -> Result<OpenedFile, OpenError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OpenError::NotFound(path.to_path_buf()),
        _ => OpenError::Io { path: path.to_path_buf(), source },
    };
    let regular = |kind: FileKind| match kind {
        FileKind::Regular => Ok(()),
        kind => Err(OpenError::Kind { path: path.to_path_buf(), kind }),
    };
    let found = super::look_at(path).map_err(failed)?.ok_or_else(|| OpenError::NotFound(path.to_path_buf()))?;
    regular(found.kind)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?);
    // The name may have changed hands since; what counts is what is open.
    let stat = rustix::fs::fstat(&file).map_err(|e| failed(e.into()))?;
    regular(FileKind::of(&stat))?;
    Ok(OpenedFile { file, dev: stat.st_dev, ino: stat.st_ino, size: bytes(stat.st_size) })
}

/// A size as the kernel gives it.
pub(super) fn bytes(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_regular_files_are_opened_and_nothing_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        let cases = [
            (fifo.as_path(), "a FIFO"),
            (&socket, "a socket"),
            (&link, "a FIFO"),
            (dir.path(), "a folder"),
            (Path::new("/dev/zero"), "a character device"),
        ];
        for (path, kind) in cases {
            let text = open(path).unwrap_err().to_string();
            assert_eq!(text, format!("{} is {kind}, not a regular file", path.display()));
        }
        assert!(matches!(open(&dir.path().join("none")), Err(OpenError::NotFound(_))));
        assert!(matches!(open(&dir.path().join("socket/none")), Err(OpenError::NotFound(_))));
        // Tests run as root, whom no permission stops: another error takes the same way.
        let long = dir.path().join("x".repeat(300));
        assert!(matches!(open(&long), Err(OpenError::Io { .. })));
        fs::write(dir.path().join("f"), "abc").unwrap();
        std::os::unix::fs::symlink("f", dir.path().join("good")).unwrap();
        assert_eq!(open(&dir.path().join("good")).unwrap().size, 3);
    }
}
