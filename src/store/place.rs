//! Files of a few kilobytes that are replaced as a whole: whoever reads one, and whoever comes back after a crash, finds
//! the old text or the new one, never half of either.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Who may read a file that is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whom the file was open to before; a new one to whom the process' umask says.
    AsBefore,
    /// Its owner only: there are secrets in it.
    Owner,
}

/// Writes beside the file, to the disk, and takes its place. Calls for one file must not overlap.
///
/// # Errors
/// It can't be written; then it is as it was.
pub fn replace_file(file: &Path, text: &[u8], access: Access) -> io::Result<()> {
    // A link stays one: what it points to is replaced.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = folder.join(name);
    let mode = match access {
        Access::Owner => Some(0o600),
        Access::AsBefore => fs::metadata(file).ok().map(|meta| meta.permissions().mode() & 0o777),
    };
    let written = write(&new, text, mode).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        // Best effort: the reason that is told is the first one.
        let _ = fs::remove_file(&new);
        return written;
    }
    File::open(folder)?.sync_all()
}

fn write(file: &Path, text: &[u8], mode: Option<u32>) -> io::Result<()> {
    let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(mode.unwrap_or(0o666)).open(file)?;
    if let Some(mode) = mode {
        // Also of one that a crash has left behind.
        new.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    new.write_all(text)?;
    new.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(file: &Path) -> u32 {
        fs::metadata(file).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_keeps_whom_it_is_open_to_and_secrets_are_their_owners() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, secret) = (dir.path().join("plain"), dir.path().join("secret"));
        fs::write(&plain, "1").unwrap();
        fs::set_permissions(&plain, fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(dir.path().join("secret.new"), "left by a crash").unwrap();
        replace_file(&plain, b"2", Access::AsBefore).unwrap();
        replace_file(&secret, b"3", Access::Owner).unwrap();
        assert_eq!((mode(&plain), mode(&secret)), (0o640, 0o600));
        assert_eq!((fs::read(&plain).unwrap(), fs::read(&secret).unwrap()), (b"2".to_vec(), b"3".to_vec()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside them");
    }
}
