//! What people mean by a path on their own machine. The problem: `/var/log` on the command line and on the page has to
//! become the same entry, one that means what a person meant by it: everything below it that holds text, and not what
//! logweir itself writes there.

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

/// No entry can hold such a path.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}: the path is not UTF-8", .0.display())]
pub struct NotUtf8(PathBuf);

/// What is there at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    Folder,
    File,
    /// Nothing of this name, and it has wildcards.
    Pattern,
    /// Nothing yet: it is collected when it comes.
    Missing,
}

/// See [`LocalPaths::meaning`].
#[derive(Debug, serde::Serialize)]
pub struct Meaning {
    /// Absolute, without `.`, `..` and links where it is there.
    pub path: PathBuf,
    pub kind: PathKind,
    /// Why it can't be read at the moment, where it is there.
    pub problem: Option<String>,
    /// What is to be collected.
    pub entries: Vec<Value>,
}

/// Makes entries of paths.
#[derive(Clone, Debug)]
pub struct LocalPaths {
    /// What relative paths are relative to, absolute.
    pub base_dir: PathBuf,
    /// logweir's own data, which is left out.
    pub own: PathBuf,
}

impl LocalPaths {
    /// The entries that a path means: a folder is everything below it, a file itself. What isn't there yet can become
    /// either, unless its name has an extension. Asks the disk.
    ///
    /// # Errors
    /// The path is not UTF-8.
    pub fn meaning(&self, path: &Path) -> Result<Meaning, NotUtf8> {
        let whole = self.base_dir.join(path);
        // `a/../b` and `./a` name the same as `b` and `a`; what isn't there can't be asked.
        let path = fs::canonicalize(&whole).or_else(|_| std::path::absolute(&whole)).unwrap_or(whole);
        let plain = text(&path)?;
        let (kind, problem) = look(&path);
        let there = matches!(kind, PathKind::Folder | PathKind::File);
        let escaped = if there { globset::escape(&plain) } else { plain };
        let itself = || json!({ "path": escaped, "topic": TOPIC });
        let entries = match kind {
            PathKind::Folder => vec![self.below(&path, &escaped)?],
            PathKind::File | PathKind::Pattern => vec![itself()],
            PathKind::Missing if path.extension().is_some() => vec![itself()],
            PathKind::Missing => vec![itself(), self.below(&path, &escaped)?],
        };
        Ok(Meaning { path, kind, problem: problem.map(|error| error.to_string()), entries })
    }

    fn below(&self, path: &Path, escaped: &str) -> Result<Value, NotUtf8> {
        let mut exclude: Vec<String> = NO_TEXT.map(String::from).into();
        // The path has no links any more, so neither may this.
        let own = fs::canonicalize(&self.own).unwrap_or_else(|_| self.own.clone());
        if own.starts_with(path) {
            exclude.push(format!("{}/**", globset::escape(&text(&own)?)));
        }
        let pattern = format!("{}/**", escaped.trim_end_matches('/'));
        Ok(json!({ "path": pattern, "topic": TOPIC, "exclude": exclude }))
    }
}

fn text(path: &Path) -> Result<String, NotUtf8> {
    path.to_str().map(str::to_owned).ok_or_else(|| NotUtf8(path.into()))
}

/// What is there, and why it can't be read.
fn look(path: &Path) -> (PathKind, Option<io::Error>) {
    let unknown =
        if path.to_string_lossy().contains(['*', '?', '[', '{']) { PathKind::Pattern } else { PathKind::Missing };
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => (PathKind::Folder, fs::read_dir(path).err()),
        Ok(meta) if meta.is_file() => (PathKind::File, fs::File::open(path).err()),
        // A pipe would wait for its writer.
        Ok(_) => (PathKind::File, Some(io::Error::other("it is neither a file nor a folder"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (unknown, None),
        Err(error) => (unknown, Some(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::parse_entries, *};

    fn meaning(path: &Path, own: &Path) -> Meaning {
        LocalPaths { base_dir: "/".into(), own: own.into() }.meaning(path).unwrap()
    }

    fn paths(path: &Path, own: &Path) -> Vec<String> {
        meaning(path, own).entries.iter().map(|e| e["path"].as_str().unwrap().to_owned()).collect()
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
        let whole = &meaning(dir.path(), &own).entries[0];
        assert!(whole["exclude"].to_string().contains(&format!("{base}/own/**")), "{whole}");
        assert!(!meaning(&odd, &own).entries[0]["exclude"].to_string().contains("own"));
        let entries = parse_entries(json!([whole]).to_string().as_bytes(), Path::new("/")).unwrap();
        let pattern = crate::tail::Pattern::of(&entries[0]).unwrap();
        let meant = |name: &str| pattern.matches(&dir.path().join(name));
        assert!(meant("x.log") && meant("a/b/syslog.1") && meant("a/wide.gzip.log"));
        for left in ["x.log.2.gz", "a/b.tar", "wtmp", "btmp-20261101", "journal/m/system.journal", "own/index/version"]
        {
            assert!(!meant(left), "{left}");
        }
    }

    #[test]
    fn a_path_is_named_by_its_base_without_detours_and_told_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let base_dir = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir(base_dir.join("logs")).unwrap();
        fs::write(base_dir.join("x.log"), "").unwrap();
        let paths = LocalPaths { base_dir: base_dir.clone(), own: "/none".into() };
        let told = |path: &str| paths.meaning(Path::new(path)).map(|meant| (meant.path, meant.kind)).unwrap();
        assert_eq!(told("logs/../x.log"), (base_dir.join("x.log"), PathKind::File));
        assert_eq!(told("./logs/"), (base_dir.join("logs"), PathKind::Folder));
        assert_eq!(told("logs/*.log").1, PathKind::Pattern);
        std::os::unix::fs::symlink(&base_dir, base_dir.join("link")).unwrap();
        let linked = LocalPaths { own: base_dir.join("link/logs"), ..paths.clone() };
        let exclude = linked.meaning(&base_dir).unwrap().entries[0]["exclude"].to_string();
        assert!(
            exclude.contains(&format!("{}/logs/**", base_dir.display())),
            "our own data, under another name: {exclude}"
        );
        assert_eq!(told("later"), (base_dir.join("later"), PathKind::Missing));
        // A file where a folder would have to be.
        let meant = paths.meaning(Path::new("x.log/below")).unwrap();
        assert!(meant.kind == PathKind::Missing && meant.problem.is_some(), "{meant:?}");
        use std::os::unix::ffi::OsStrExt as _;
        assert!(paths.meaning(Path::new(std::ffi::OsStr::from_bytes(b"\xff"))).is_err());
    }
}
