//! Files of a few kilobytes that are replaced as a whole: whoever reads one, and whoever comes back after a crash, finds
//! the old text or the new one, never half of either.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// Writes beside the file, to the disk, and takes its place. Calls for one file must not overlap.
pub fn replace_file(file: &Path, text: &[u8]) -> io::Result<()> {
    // A link stays one: what it points to is replaced.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = folder.join(name);
    let written = write(&new, text).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        // Best effort: the reason that is told is the first one.
        let _ = fs::remove_file(&new);
        return written;
    }
    File::open(folder)?.sync_all()
}

fn write(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut new = File::create(file)?;
    new.write_all(text)?;
    new.sync_all()
}
