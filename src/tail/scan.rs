//! What is in a folder. The problem: the listing is the truth that inotify's events only hint at, so it is made often
//! and must be cheap with ten thousand files.

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// What a name stands for (after following symbolic links).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    Regular,
    Folder,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
    /// A symbolic link to nothing.
    Dangling,
    Unknown,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The folder's path joined with the name.
    pub path: PathBuf,
    pub dev: u64,
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    pub kind: FileKind,
    /// The name is a symbolic link; the rest describes what it leads to.
    pub link: bool,
}

impl std::fmt::Display for FileKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Regular => "a regular file",
            Self::Folder => "a folder",
            Self::Fifo => "a FIFO",
            Self::Socket => "a socket",
            Self::CharDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Dangling => "a symbolic link to nothing",
            Self::Unknown => "of an unknown kind",
        })
    }
}

impl FileKind {
    pub(super) fn of(stat: &Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Self::Regular,
            FileType::Directory => Self::Folder,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Symlink => Self::Dangling,
            FileType::Unknown => Self::Unknown,
        }
    }
}

/// Everything directly in `folder`, in no order. Names that vanish meanwhile are left out.
pub fn scan(folder: &Path) -> io::Result<Vec<Found>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::open(folder, flags, Mode::empty())?;
    let mut found = Vec::new();
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let path = || folder.join(OsStr::from_bytes(name.to_bytes()));
        if let Some(one) = stat_at(fd.as_fd(), name, entry.file_type(), path)? {
            found.push(one);
        }
    }
    Ok(found)
}

/// The same for one path; `None` where there is nothing.
pub fn look_at(path: &Path) -> io::Result<Option<Found>> {
    stat_at(rustix::fs::CWD, path, FileType::Unknown, || path.to_path_buf())
}

/// One name: what it leads to, or the link itself where it leads nowhere. `listed` spares a call where the listing
/// already says whether it is a link.
fn stat_at<P: rustix::path::Arg + Copy>(
    folder: BorrowedFd<'_>,
    name: P,
    listed: FileType,
    path: impl Fn() -> PathBuf,
) -> io::Result<Option<Found>> {
    let itself = || rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    let found = |stat: &Stat, kind, link| Found {
        path: path(),
        dev: stat.st_dev,
        ino: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        kind,
        link,
    };
    let answer = (|| {
        let link = match listed {
            FileType::Symlink => true,
            FileType::Unknown => FileType::from_raw_mode(itself()?.st_mode) == FileType::Symlink,
            _ => false,
        };
        match rustix::fs::statat(folder, name, AtFlags::empty()) {
            Ok(stat) => Ok(found(&stat, FileKind::of(&stat), link)),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) if link => Ok(found(&itself()?, FileKind::Dangling, true)),
            // For instance a link into a folder that we may not enter: the others in this folder are still good.
            Err(Errno::ACCESS) if link => Ok(found(&itself()?, FileKind::Unknown, true)),
            Err(e) => Err(e),
        }
    })();
    match answer {
        Ok(one) => Ok(Some(one)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt, os::unix::net::UnixListener};

    fn kinds(folder: &Path) -> Vec<(OsString, FileKind, bool)> {
        let mut all: Vec<_> = scan(folder)
            .unwrap()
            .into_iter()
            .map(|f| (f.path.file_name().unwrap().to_owned(), f.kind, f.link))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn every_kind_of_name_is_told_apart_and_none_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a.log"), "12345").unwrap();
        fs::create_dir(at("b")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("c"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = UnixListener::bind(at("d")).unwrap();
        std::os::unix::fs::symlink("a.log", at("e")).unwrap();
        std::os::unix::fs::symlink("nothing", at("f")).unwrap();
        std::os::unix::fs::symlink("g", at("g")).unwrap();
        std::os::unix::fs::symlink("/dev/null", at("h")).unwrap();
        let name = |n: &str| OsString::from(n);
        assert_eq!(
            kinds(dir.path()),
            [
                (name("a.log"), FileKind::Regular, false),
                (name("b"), FileKind::Folder, false),
                (name("c"), FileKind::Fifo, false),
                (name("d"), FileKind::Socket, false),
                (name("e"), FileKind::Regular, true),
                (name("f"), FileKind::Dangling, true),
                (name("g"), FileKind::Dangling, true),
                (name("h"), FileKind::CharDevice, true),
            ]
        );
        let [file, link] = ["a.log", "e"].map(|n| look_at(&at(n)).unwrap().unwrap());
        assert_eq!((file.size, file.dev, file.ino), (5, link.dev, link.ino));
        assert!(look_at(&at("none")).unwrap().is_none());
        assert!(look_at(&at("a.log/none")).unwrap().is_none());
        assert_eq!(look_at(&at("f")).unwrap().unwrap().kind, FileKind::Dangling);
    }

    #[test]
    fn names_are_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let name = OsString::from_vec(b"a\xff\n.log".to_vec());
        fs::write(dir.path().join(&name), "").unwrap();
        assert_eq!(kinds(dir.path()), [(name, FileKind::Regular, false)]);
    }

    #[test]
    fn a_folder_that_is_none_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "").unwrap();
        assert_eq!(scan(&dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(scan(&dir.path().join("f")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
