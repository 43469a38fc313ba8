//! Which files an entry's path means. The problem: a path is a file, a folder or a glob, what it names may not exist
//! yet, and looking for it must not run through a whole disk or round in circles.

use super::{FileKind, Found, braces, look_at, scan};
use crate::collection::Entry;
use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    path::{Component, Path, PathBuf},
};

/// `**` goes no deeper below its folder.
const DEEPEST: usize = 32;
/// One pattern lists no more folders than this.
const MOST_FOLDERS: usize = 20_000;

/// The files of one entry.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// The path, without `//` and `/./`.
    path: PathBuf,
    /// `None`: no wildcards.
    glob: Option<GlobMatcher>,
    exclude: Option<GlobSet>,
    /// The glob's alternatives, folder by folder.
    routes: Vec<Vec<Step>>,
    /// The path ended in `/`: it means a folder.
    folder_only: bool,
}

/// A piece of a path.
#[derive(Clone, Debug)]
enum Step {
    /// One or more names without wildcards.
    Names(PathBuf),
    Glob(GlobMatcher),
    /// `**`
    Deep,
}

/// Why a path or an exclude isn't usable.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    #[error("{0}: the path is not absolute")]
    Relative(String),
    #[error("{glob}: {reason}")]
    Glob { glob: String, reason: String },
    #[error("{0}: too many alternatives in braces")]
    TooMany(String),
}

/// What a pattern means on the disk right now.
#[derive(Debug, Default)]
pub struct Expansion {
    /// Regular files that belong to the pattern, excludes taken off, sorted by path.
    pub files: Vec<Found>,
    /// Folders to be watched, sorted: a change in one of them can change this expansion. All existed just now. For a
    /// path that doesn't exist yet it is the nearest folder above it that does.
    pub watch: Vec<PathBuf>,
    /// Of those files that are symbolic links: where the bytes really are, and the link's path. The real files' folders
    /// are in `watch`, too, because a folder tells nothing of changes behind its links.
    pub links: Vec<(PathBuf, PathBuf)>,
    pub problems: Vec<Problem>,
}

/// What stands in the way; the rest of the pattern is collected.
#[derive(Debug)]
pub enum Problem {
    /// The entry names this path itself, and it is a FIFO, a device, a socket, a dangling link.
    Kind { path: PathBuf, kind: FileKind },
    /// A folder could not be listed, or a file not looked at.
    Io { path: PathBuf, source: io::Error },
    /// More or deeper folders than the limit: what is below this one is not collected.
    TooDeep { path: PathBuf },
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kind { path, kind } => write!(f, "{} is {kind}, not a regular file", path.display()),
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::TooDeep { path } => write!(f, "{}: too many folders or too deep", path.display()),
        }
    }
}

fn glob(text: &str) -> Result<Glob, PatternError> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .build()
        .map_err(|e| PatternError::Glob { glob: text.to_owned(), reason: e.kind().to_string() })
}

fn has_wildcards(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

impl Pattern {
    /// A path (absolute; a file, a folder or a glob) and globs of what is to be left out. An exclude without `/` is
    /// about the file's name, another that isn't absolute about the end of its path.
    pub fn new(path: &str, exclude: &[String]) -> Result<Self, PatternError> {
        if !path.starts_with('/') {
            return Err(PatternError::Relative(path.to_owned()));
        }
        let clean: PathBuf = Path::new(path).components().filter(|c| *c != Component::CurDir).collect();
        // Still UTF-8: it is made of pieces of `path`.
        let text = clean.to_string_lossy().into_owned();
        let whole = has_wildcards(&text).then(|| glob(&text)).transpose()?;
        let routes = match whole {
            None => vec![steps(&text)?],
            Some(_) => braces::expand(&text)
                .ok_or_else(|| PatternError::TooMany(path.to_owned()))?
                .iter()
                .map(|alternative| steps(alternative))
                .collect::<Result<_, _>>()?,
        };
        Ok(Self {
            path: clean,
            glob: whole.map(|g| g.compile_matcher()),
            exclude: exclude_set(exclude)?,
            routes,
            folder_only: path.ends_with('/'),
        })
    }

    /// The pattern of an entry.
    pub fn of(entry: &Entry) -> Result<Self, PatternError> {
        Self::new(&entry.path, &entry.exclude)
    }

    /// Whether a regular file of this name belongs to the entry. (A path without wildcards means the file itself, or
    /// if it is a folder what is directly in it.)
    pub fn matches(&self, path: &Path) -> bool {
        let meant = match &self.glob {
            Some(glob) => glob.is_match(path),
            None => path == self.path || path.parent() == Some(&self.path),
        };
        meant && !self.is_excluded(path)
    }

    /// The path itself where it has no wildcards.
    pub fn plain(&self) -> Option<&Path> {
        self.glob.is_none().then_some(&self.path)
    }

    /// The folder in which all its files are directly, where there is only one: a glob with wildcards in the last name.
    pub fn only_folder(&self) -> Option<&Path> {
        let one =
            matches!(self.routes.as_slice(), [route] if matches!(route.as_slice(), [Step::Names(_), Step::Glob(_)]));
        self.path.parent().filter(|_| one)
    }

    fn is_excluded(&self, path: &Path) -> bool {
        self.exclude.as_ref().is_some_and(|set| set.is_match(path))
    }

    /// Looks for the files. Lists every folder concerned once. Links to folders are followed where a name or a single
    /// wildcard stands for them, not by `**`.
    pub fn expand(&self) -> Expansion {
        let mut walk = Walk::new(self);
        for route in &self.routes {
            walk.route(route);
        }
        walk.finish()
    }
}

/// The names of one alternative.
fn steps(text: &str) -> Result<Vec<Step>, PatternError> {
    let mut steps: Vec<Step> = Vec::new();
    for name in text.split('/').filter(|name| !name.is_empty()) {
        match (name, steps.last_mut()) {
            ("**", Some(Step::Deep)) => {}
            ("**", _) => steps.push(Step::Deep),
            _ if has_wildcards(name) => steps.push(Step::Glob(glob(name)?.compile_matcher())),
            (name, Some(Step::Names(names))) => names.push(name),
            (name, _) => steps.push(Step::Names(name.into())),
        }
    }
    Ok(steps)
}

fn exclude_set(exclude: &[String]) -> Result<Option<GlobSet>, PatternError> {
    if exclude.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for text in exclude {
        set.add(glob(&if text.starts_with('/') { text.clone() } else { format!("**/{text}") })?);
    }
    let failed = |e: globset::Error| PatternError::Glob { glob: exclude.join(" "), reason: e.to_string() };
    set.build().map(Some).map_err(failed)
}

/// One look at the disk.
struct Walk<'a> {
    pattern: &'a Pattern,
    files: BTreeMap<PathBuf, Found>,
    watch: BTreeSet<PathBuf>,
    problems: Vec<Problem>,
    listed: HashMap<PathBuf, Vec<Found>>,
}

impl<'a> Walk<'a> {
    fn new(pattern: &'a Pattern) -> Self {
        Self { pattern, files: BTreeMap::new(), watch: BTreeSet::new(), problems: Vec::new(), listed: HashMap::new() }
    }

    fn finish(mut self) -> Expansion {
        let mut links = Vec::new();
        for link in self.files.values().filter(|file| file.link) {
            // One that vanishes right now is found gone at the next look.
            let Ok(real) = std::fs::canonicalize(&link.path) else { continue };
            self.watch.extend(real.parent().map(Path::to_path_buf));
            links.push((real, link.path.clone()));
        }
        Expansion {
            links,
            files: self.files.into_values().collect(),
            watch: self.watch.into_iter().collect(),
            problems: self.problems,
        }
    }

    fn route(&mut self, steps: &[Step]) {
        // Folder, how many steps lead to it, how deep below the `**` it is.
        let mut open = vec![(PathBuf::from("/"), 0, 0)];
        let mut done = HashSet::new();
        while let Some((folder, step, depth)) = open.pop() {
            if depth > DEEPEST || done.len() >= MOST_FOLDERS {
                self.problems.push(Problem::TooDeep { path: folder });
                continue;
            }
            if !done.insert((folder.clone(), step)) {
                continue;
            }
            let last = step + 1 == steps.len();
            match steps.get(step) {
                None => {}
                Some(Step::Names(names)) => {
                    open.extend(self.names(&folder, names, last).map(|path| (path, step + 1, 0)))
                }
                Some(Step::Glob(glob)) => {
                    for found in self.list(&folder) {
                        let meant = found.path.file_name().is_some_and(|name| glob.is_match(name));
                        match found.kind {
                            FileKind::Regular if last && meant => self.add(found),
                            FileKind::Folder if !last && meant => open.push((found.path, step + 1, 0)),
                            _ => {}
                        }
                    }
                }
                Some(Step::Deep) => {
                    if !last {
                        open.push((folder.clone(), step + 1, 0));
                    }
                    for found in self.list(&folder) {
                        match found.kind {
                            FileKind::Regular if last => self.add(found),
                            FileKind::Folder if !found.link => open.push((found.path, step, depth + 1)),
                            _ => {}
                        }
                    }
                }
            }
        }
    }

    /// Names without wildcards, all at once; answers the folder that they lead to if it is to be entered.
    fn names(&mut self, folder: &Path, names: &Path, last: bool) -> Option<PathBuf> {
        let path = folder.join(names);
        let plain = self.pattern.plain().is_some();
        match look_at(&path) {
            Ok(Some(found)) if found.kind == FileKind::Folder => {
                if last && plain {
                    for found in self.list(&path) {
                        if found.kind == FileKind::Regular {
                            self.add(found);
                        }
                    }
                }
                return (!last).then_some(path);
            }
            Ok(Some(found)) if last && found.kind == FileKind::Regular && !self.pattern.folder_only => self.add(found),
            Ok(Some(found)) if last && plain => {
                self.problems.push(Problem::Kind { path: path.clone(), kind: found.kind });
            }
            Ok(_) => {}
            Err(source) => self.problems.push(Problem::Io { path: path.clone(), source }),
        }
        let is_folder = |path: &&Path| matches!(look_at(path), Ok(Some(found)) if found.kind == FileKind::Folder);
        self.watch.extend(path.ancestors().skip(1).find(is_folder).map(Path::to_path_buf));
        None
    }

    fn add(&mut self, found: Found) {
        if !self.pattern.is_excluded(&found.path) {
            self.files.insert(found.path.clone(), found);
        }
    }

    fn list(&mut self, folder: &Path) -> Vec<Found> {
        if let Some(found) = self.listed.get(folder) {
            return found.clone();
        }
        let found = match scan(folder) {
            Ok(found) => {
                self.watch.insert(folder.to_path_buf());
                found
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Vec::new(),
            Err(source) => {
                self.watch.insert(folder.to_path_buf());
                self.problems.push(Problem::Io { path: folder.to_path_buf(), source });
                Vec::new()
            }
        };
        // Only the alternatives of one pattern ask twice.
        if self.pattern.routes.len() > 1 {
            self.listed.insert(folder.to_path_buf(), found.clone());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        ffi::OsStr,
        fs,
        os::unix::{ffi::OsStrExt, fs::symlink},
    };

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(files: &[&str]) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            files.iter().for_each(|file| tree.file(file));
            tree
        }

        fn at(&self, path: &str) -> PathBuf {
            if path.is_empty() { self.0.path().into() } else { self.0.path().join(path) }
        }

        fn file(&self, path: &str) {
            let path = self.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }

        fn pattern(&self, path: &str, exclude: &[&str]) -> Pattern {
            let exclude: Vec<String> = exclude.iter().map(|e| (*e).to_owned()).collect();
            Pattern::new(&format!("{}/{path}", self.0.path().display()), &exclude).unwrap()
        }

        /// Files and watched folders of a pattern, relative to the tree.
        fn expand(&self, path: &str, exclude: &[&str]) -> (Vec<String>, Vec<String>) {
            let pattern = self.pattern(path, exclude);
            let expansion = pattern.expand();
            assert!(expansion.problems.is_empty(), "{:?}", expansion.problems);
            assert!(expansion.files.iter().all(|file| pattern.matches(&file.path)));
            let short =
                |path: &Path| path.strip_prefix(self.0.path()).map_or("above", |p| p.to_str().unwrap()).to_owned();
            (
                expansion.files.iter().map(|file| short(&file.path)).collect(),
                expansion.watch.iter().map(|path| short(path)).collect(),
            )
        }
    }

    fn strings(of: &[&str]) -> Vec<String> {
        of.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn a_path_is_a_file_or_what_is_directly_in_a_folder() {
        let tree = Tree::new(&["log/a.log", "log/b.log", "log/sub/c.log"]);
        assert_eq!(tree.expand("log/a.log", &[]), (strings(&["log/a.log"]), strings(&["log"])));
        for folder in ["log", "log/", ".//log/."] {
            assert_eq!(tree.expand(folder, &[]), (strings(&["log/a.log", "log/b.log"]), strings(&["log"])), "{folder}");
        }
        assert!(!tree.pattern("log", &[]).matches(&tree.at("log/sub/c.log")));
    }

    #[test]
    fn what_does_not_exist_yet_is_awaited_in_the_nearest_folder_that_does() {
        let tree = Tree::new(&["log/a.log"]);
        assert_eq!(tree.expand("log/x/y/z.log", &[]), (vec![], strings(&["log"])));
        assert_eq!(tree.expand("log/x/*.log", &[]), (vec![], strings(&["log"])));
        assert_eq!(tree.expand("log/a.log/z.log", &[]), (vec![], strings(&["log"])));
        assert_eq!(tree.expand("log/*/z.log", &[]), (vec![], strings(&["log"])));
        tree.file("log/x/y/z.log");
        assert_eq!(tree.expand("log/x/y/z.log", &[]), (strings(&["log/x/y/z.log"]), strings(&["log/x/y"])));
    }

    #[test]
    fn wildcards_stay_within_a_name_and_two_stars_do_not() {
        let tree = Tree::new(&["log/a.log", "log/b.txt", "log/s/a.log", "log/s/t/ab.log", "logs/a.log"]);
        assert_eq!(tree.expand("log/*.log", &[]).0, ["log/a.log"]);
        assert_eq!(tree.expand("log/?.[lt]*", &[]).0, ["log/a.log", "log/b.txt"]);
        assert_eq!(tree.expand("*/a.log", &[]), (strings(&["log/a.log", "logs/a.log"]), strings(&["", "log", "logs"])));
        assert_eq!(
            tree.expand("log/**/*.log", &[]),
            (strings(&["log/a.log", "log/s/a.log", "log/s/t/ab.log"]), strings(&["log", "log/s", "log/s/t"]))
        );
        assert_eq!(tree.expand("log/**", &[]).0, ["log/a.log", "log/b.txt", "log/s/a.log", "log/s/t/ab.log"]);
        assert_eq!(tree.expand("{log/{s,none},logs}/a.log", &[]).0, ["log/s/a.log", "logs/a.log"]);
        assert_eq!(tree.expand("log/**/a.log", &[]).0, ["log/a.log", "log/s/a.log"]);
    }

    #[test]
    fn excludes_are_about_names_or_whole_paths() {
        let tree = Tree::new(&["log/a.log", "log/a.log.gz", "log/s/a.log", "log/s/b.log"]);
        assert_eq!(tree.expand("log/**", &["*.gz"]).0, ["log/a.log", "log/s/a.log", "log/s/b.log"]);
        assert_eq!(tree.expand("log/**", &["s/*", "*.gz"]).0, ["log/a.log"]);
        let whole = tree.at("log/s/a.log");
        assert_eq!(tree.expand("log/s/*", &[whole.to_str().unwrap()]).0, ["log/s/b.log"]);
        assert!(!tree.pattern("log/a.log", &["a.*"]).matches(&tree.at("log/a.log")));
    }

    #[test]
    fn two_stars_do_not_run_in_circles_through_links() {
        let tree = Tree::new(&["log/s/a.log", "other/b.log"]);
        symlink(tree.at("log"), tree.at("log/s/loop")).unwrap();
        symlink(tree.at("other"), tree.at("log/away")).unwrap();
        symlink(tree.at("log/s/a.log"), tree.at("log/link.log")).unwrap();
        assert_eq!(tree.expand("log/**/*.log", &[]).0, ["log/link.log", "log/s/a.log"]);
        // Named, a link to a folder is followed.
        assert_eq!(tree.expand("log/away/*.log", &[]).0, ["log/away/b.log"]);
        assert_eq!(tree.expand("log/*/b.log", &[]).0, ["log/away/b.log"]);
    }

    #[test]
    fn a_link_is_watched_where_its_bytes_are() {
        let tree = Tree::new(&["real/a.log"]);
        fs::create_dir(tree.at("log")).unwrap();
        symlink(tree.at("real/a.log"), tree.at("log/link.log")).unwrap();
        let expansion = tree.pattern("log/*", &[]).expand();
        let real = fs::canonicalize(tree.at("real/a.log")).unwrap();
        assert!(expansion.watch.iter().any(|folder| Some(&**folder) == real.parent()));
        assert_eq!(expansion.links, [(real, tree.at("log/link.log"))]);
    }

    #[test]
    fn a_named_fifo_device_or_dangling_link_is_a_problem_and_a_matched_one_is_not() {
        let tree = Tree::new(&["log/a.log"]);
        let fifo = tree.at("log/fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        symlink("/dev/null", tree.at("log/null")).unwrap();
        symlink("none", tree.at("log/none")).unwrap();
        for (name, kind) in [("fifo", FileKind::Fifo), ("null", FileKind::CharDevice), ("none", FileKind::Dangling)] {
            let expansion = tree.pattern(&format!("log/{name}"), &[]).expand();
            assert!(expansion.files.is_empty() && expansion.watch == [tree.at("log")]);
            assert!(matches!(&expansion.problems[..], [Problem::Kind { kind: k, .. }] if *k == kind), "{name}");
        }
        let text = tree.pattern("log/fifo", &[]).expand().problems[0].to_string();
        assert!(text.ends_with("log/fifo is a FIFO, not a regular file"), "{text}");
        assert_eq!(tree.expand("log/*", &[]).0, ["log/a.log"]);
        assert_eq!(tree.expand("log", &[]).0, ["log/a.log"]);
    }

    #[test]
    fn names_that_are_not_utf_8_match() {
        let tree = Tree::new(&["log/a.log"]);
        let odd = tree.at("log").join(OsStr::from_bytes(b"\xff\xfe.log"));
        fs::write(&odd, "").unwrap();
        let expansion = tree.pattern("log/*.log", &[]).expand();
        assert_eq!(expansion.files.iter().map(|f| &f.path).collect::<Vec<_>>(), [&tree.at("log/a.log"), &odd]);
    }

    #[test]
    fn a_bad_pattern_is_refused_with_its_reason() {
        let refusal = |path: &str, exclude: &[&str]| {
            let exclude: Vec<String> = exclude.iter().map(|e| (*e).to_owned()).collect();
            Pattern::new(path, &exclude).unwrap_err().to_string()
        };
        assert_eq!(refusal("log/a", &[]), "log/a: the path is not absolute");
        assert_eq!(refusal("/log/[a", &[]), "/log/[a: unclosed character class; missing ']'");
        assert!(refusal("/log/{a", &[]).starts_with("/log/{a: "));
        assert!(refusal("/log/a", &["[z"]).starts_with("**/[z: "));
        assert!(refusal(&format!("/{}", "{a,b}".repeat(9)), &[]).ends_with("too many alternatives in braces"));
    }
}
