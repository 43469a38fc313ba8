//! The entries' file of a machine that looks after itself. The problem: a path on a command line has to become an entry
//! that means what a person meant by it, and a file that the page, an editor and this program write must never be seen
//! half written or be replaced by a wrong one.

use super::{Mistake, parse_entries};
use serde_json::{Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The topic of all paths: a file that two of them mean is collected once.
const TOPIC: &str = "logs";

/// Names of files that hold no text, or the same text once more, compressed.
const NO_TEXT: [&str; 3] = [
    "*.{gz,bz2,xz,zst,lz4,lzma,Z,zip,7z,rar,tar,tgz,tbz2,txz}",
    "*.{journal,journal~}",
    "{wtmp,btmp,utmp,lastlog,faillog,tallylog}*",
];

/// The file is not changed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {mistake}", path.display())]
    Wrong { path: PathBuf, mistake: Mistake },
    #[error("{}: the path is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
}

/// The entries that a path means, where `own` (logweir's data) is left out: a folder is everything below it, a file
/// itself. What isn't there yet can become either, unless its name has an extension.
///
/// # Errors
/// The path is not UTF-8.
pub fn entries_of_path(path: &Path, own: &Path) -> Result<Vec<Value>, LocalError> {
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or_else(|| LocalError::NotUtf8(path.into()));
    let plain = text(path)?;
    let there = fs::metadata(path).ok();
    let escaped = if there.is_some() { globset::escape(&plain) } else { plain.clone() };
    let below = || -> Result<Value, LocalError> {
        let mut exclude: Vec<String> = NO_TEXT.map(String::from).into();
        if own.starts_with(path) {
            exclude.push(format!("{}/**", globset::escape(&text(own)?)));
        }
        let pattern = format!("{}/**", escaped.trim_end_matches('/'));
        Ok(json!({ "path": pattern, "topic": TOPIC, "exclude": exclude }))
    };
    let itself = || json!({ "path": escaped, "topic": TOPIC });
    let has_wildcards = plain.contains(['*', '?', '[', '{']);
    Ok(match there {
        Some(meta) if meta.is_dir() => vec![below()?],
        Some(_) => vec![itself()],
        None if has_wildcards || path.extension().is_some() => vec![itself()],
        None => vec![itself(), below()?],
    })
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

    fn paths(path: &Path, own: &Path) -> Vec<String> {
        entries_of_path(path, own).unwrap().iter().map(|e| e["path"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_folder_is_everything_below_it_and_a_file_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (odd, own) = (dir.path().join("a[1]"), dir.path().join("own"));
        fs::create_dir(&odd).unwrap();
        fs::write(dir.path().join("x.log"), "").unwrap();
        let base = dir.path().display();
        assert_eq!(paths(&odd, &own), [format!("{base}/a[[]1[]]/**")]);
        assert_eq!(paths(&dir.path().join("x.log"), &own), [format!("{base}/x.log")]);
        assert_eq!(paths(Path::new("/no/app.log"), &own), ["/no/app.log"]);
        assert_eq!(paths(Path::new("/no/*/app"), &own), ["/no/*/app"]);
        assert_eq!(paths(Path::new("/no/logs"), &own), ["/no/logs", "/no/logs/**"]);
        let whole = &entries_of_path(dir.path(), &own).unwrap()[0];
        assert!(whole["exclude"].to_string().contains(&format!("{base}/own/**")), "{whole}");
        assert!(!entries_of_path(&odd, &own).unwrap()[0]["exclude"].to_string().contains("own"));
        parse_entries(json!([whole]).to_string().as_bytes(), Path::new("/")).unwrap();
        let pattern =
            crate::tail::Pattern::of(&parse_entries(json!([whole]).to_string().as_bytes(), Path::new("/")).unwrap()[0])
                .unwrap();
        let meant = |name: &str| pattern.matches(&dir.path().join(name));
        assert!(meant("x.log") && meant("a/b/syslog.1") && meant("a/wide.gzip.log"));
        for left in ["x.log.2.gz", "a/b.tar", "wtmp", "btmp-20261101", "journal/m/system.journal", "own/index/version"]
        {
            assert!(!meant(left), "{left}");
        }
    }

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
