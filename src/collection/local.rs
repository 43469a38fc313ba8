//! The entries' file of a machine that looks after itself. The problem: the page, an editor and this program write it, and
//! it must never be seen half written or be replaced by a wrong one.

use super::{Mistake, parse_entries};
use serde_json::Value;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The file is not changed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {mistake}", path.display())]
    Wrong { path: PathBuf, mistake: Mistake },
}

/// Adds the entries whose path is not in the file yet, and makes the file where there is none. Answers how many were
/// added.
///
/// # Errors
/// The file can't be read or written, or what it holds (or would hold) is wrong; then it stays as it is.
pub fn add_entries(file: &Path, base_dir: &Path, wanted: Vec<Value>) -> Result<usize, LocalError> {
    let failed = |source| LocalError::Io { path: file.into(), source };
    let text = match fs::read(file) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(failed(e)),
    };
    let wrong = |mistake| LocalError::Wrong { path: file.into(), mistake };
    let there = text.as_deref().unwrap_or(b"[]");
    parse_entries(there, base_dir).map_err(wrong)?;
    let mut entries: Vec<Value> = serde_json::from_slice(there).map_err(|e| failed(e.into()))?;
    let before = entries.len();
    for entry in wanted {
        if !entries.iter().any(|known| known["path"] == entry["path"]) {
            entries.push(entry);
        }
    }
    let added = entries.len() - before;
    if added > 0 || text.is_none() {
        let text = serde_json::to_string_pretty(&entries).map_err(|e| failed(e.into()))? + "\n";
        write_entries(file, base_dir, text.as_bytes())?;
    }
    Ok(added)
}

/// Puts these entries in the place of those in the file, where they are right.
///
/// # Errors
/// They are wrong, or the file can't be written; then it stays as it is.
pub fn write_entries(file: &Path, base_dir: &Path, text: &[u8]) -> Result<(), LocalError> {
    parse_entries(text, base_dir).map_err(|mistake| LocalError::Wrong { path: file.into(), mistake })?;
    let draft = file.with_extension("new");
    let write = || -> io::Result<()> {
        fs::write(&draft, text)?;
        fs::File::open(&draft)?.sync_all()?;
        fs::rename(&draft, file)?;
        file.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    };
    write().map_err(|source| LocalError::Io { path: file.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_are_added_once_and_a_wrong_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (file, base) = (dir.path().join("collect.json"), Path::new("/"));
        assert_eq!(add_entries(&file, base, Vec::new()).unwrap(), 0);
        assert_eq!(fs::read_to_string(&file).unwrap(), "[]\n");
        let entry = json!({ "path": "/a", "topic": "t" });
        assert_eq!(add_entries(&file, base, vec![entry.clone()]).unwrap(), 1);
        assert_eq!(add_entries(&file, base, vec![entry.clone()]).unwrap(), 0);
        fs::write(&file, r#"[{"path": "/a"}]"#).unwrap();
        let refused = add_entries(&file, base, vec![entry]).unwrap_err().to_string();
        assert!(refused.contains("topic") && fs::read_to_string(&file).unwrap() == r#"[{"path": "/a"}]"#, "{refused}");
        assert!(write_entries(&file, base, b"[{}]").is_err());
    }
}
