//! Finds a file again that the journal knows. The problem: it may have another name since, because logs were rotated while
//! nobody looked; and one that can't be read at the moment is not gone.

use crate::{
    journal::FileRecord,
    tail::{self, OpenError},
};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirEntryExt as _,
    path::Path,
};

/// The file, under the name it was last seen under or another one in the same folder; `None`: it is gone.
///
/// # Errors
/// It can't be read now, or it can't be seen whether it is there.
pub fn find(record: &FileRecord) -> io::Result<Option<File>> {
    if let Some(file) = held(&record.current_path, record)? {
        return Ok(Some(file));
    }
    let Some(folder) = record.current_path.parent() else { return Ok(None) };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.ino() == record.ino
            && let Some(file) = held(&entry.path(), record)?
        {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// What is under this name, if it is the file.
fn held(path: &Path, record: &FileRecord) -> io::Result<Option<File>> {
    let opened = match tail::open(path) {
        Ok(opened) => opened,
        Err(OpenError::Io { source, .. }) => return Err(source),
        Err(_) => return Ok(None),
    };
    let same = (opened.dev, opened.ino) == (record.dev, record.ino) && opened.size >= record.settled;
    Ok((same && tail::starts_like(&opened.file, &record.head)?).then_some(opened.file))
}
