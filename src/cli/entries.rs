//! `logweir entries list|put|delete|edit`: the collection entries in etcd, by hand. The problem: a value written with a
//! plain etcd client is checked by nobody, and overwrites what somebody else has just written. Here a value is checked
//! before it is written, the difference is shown, and it is written only if the key is still as it was read, together with
//! its history, by the same code as the console's page.

use super::{Exit, Failure, Outcome, print, settings};
use crate::{
    collection::{Entry, KeyTemplate, Scope, parse_entries},
    console::{
        Author,
        entries::{
            UNKNOWN_BASE_DIR as BASE_DIR,
            change::{Change, Changed, change},
            difference,
            history::From,
        },
    },
    etcd::{EtcdError, Kv, Session},
    settings::{AgentSettings, ConsoleSettings, Etcd, Secret, TransferSettings},
    store::{EtcdStore, StoreError},
};
use std::{
    fmt::Write as _,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::Command,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logweir entries list -c conf/agent.toml
  logweir entries put conf/collect.json --scope all -c conf/agent.toml
  logweir entries edit --scope host/web-01 --etcd http://127.0.0.1:2379
  logweir entries delete --key /logagent/10.0.0.7/log_config --etcd http://127.0.0.1:2379

Exit codes: 65 the entries are wrong (nothing is written), 69 etcd doesn't answer, 75 somebody else has changed the key
meanwhile (nothing is written; look at the difference and try again).")]
pub struct EntriesArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the keys and their entries, or one key's value as it is
    List(ListArgs),
    /// Write a key's entries from a file
    Put(PutArgs),
    /// Delete a key and so all its entries
    Delete(DeleteArgs),
    /// Change a key's entries in $VISUAL or $EDITOR
    Edit(EditArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct PutArgs {
    /// JSON array of entries; `-` reads standard input
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Check and show the difference, but write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct DeleteArgs {
    #[command(flatten)]
    place: Place,
    /// Show what would go, but delete nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct EditArgs {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Server {
    /// Settings file of an agent, a transfer or a console, for its [etcd] section
    #[arg(short, long, value_name = "FILE", global = true, conflicts_with = "etcd")]
    config: Option<PathBuf>,
    /// Address of etcd instead; several are separated by commas
    #[arg(long, value_name = "URL", value_delimiter = ',', global = true)]
    etcd: Vec<String>,
    /// User for --etcd; its password is taken from LOGWEIR__ETCD__PASSWORD
    #[arg(long, value_name = "NAME", global = true, requires = "etcd")]
    user: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Place {
    /// Whose entries: all, group/NAME, host/NAME or ip/ADDRESS
    #[arg(long)]
    scope: Option<String>,
    /// The key itself
    #[arg(long)]
    key: Option<String>,
}

/// Runs one `entries` command.
pub fn run(args: &EntriesArgs) -> Outcome {
    let etcd = args.server.settings()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(Exit::Io, e))?;
    let session = Session::new(etcd.clone());
    runtime.block_on(async {
        match &args.action {
            Action::List(list) => match list.place.key(&etcd)? {
                Some(key) => show(&session, &key).await,
                None => list_all(&session, &etcd).await,
            },
            Action::Put(put) => {
                let key = put.place.required(&etcd)?;
                let (text, name) = (read(&put.file)?, put.file.display().to_string());
                check(&text, &name)?;
                let before = session.get(&key).await.map_err(failure)?;
                write(&session, &key, before, Some(&text), put.dry_run).await
            }
            Action::Delete(delete) => {
                let key = delete.place.required(&etcd)?;
                let Some(before) = session.get(&key).await.map_err(failure)? else {
                    return Err(Failure::new(Exit::Data, format!("there is no key {key}")));
                };
                write(&session, &key, Some(before), None, delete.dry_run).await
            }
            Action::Edit(edit) => edit_key(&session, &edit.place.required(&etcd)?).await,
        }
    })
}

impl Server {
    fn settings(&self) -> Result<Etcd, Failure> {
        if let Some(file) = &self.config {
            // All kinds have the section; which kind it is, only its other sections tell.
            let text = fs::read_to_string(file).unwrap_or_default();
            let has = |sections: &[&str]| text.lines().any(|line| sections.contains(&line.trim()));
            let etcd = match () {
                () if has(&["[console]"]) => settings::load(file, ConsoleSettings::load)?.etcd,
                () if has(&["[transfer]", "[elasticsearch]"]) => settings::load(file, TransferSettings::load)?.etcd,
                () => settings::load(file, AgentSettings::load)?.etcd,
            };
            let none = || Failure::new(Exit::Config, format!("{}: [etcd] endpoints is empty", file.display()));
            return if etcd.endpoints.is_empty() { Err(none()) } else { Ok(etcd) };
        }
        if self.etcd.is_empty() {
            return Err(Failure::new(Exit::Usage, "which etcd? Give -c FILE or --etcd URL"));
        }
        for url in &self.etcd {
            if !url::Url::parse(url).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host()) {
                return Err(Failure::new(Exit::Usage, format!("--etcd {url}: http://HOST:PORT is expected")));
            }
        }
        let password = std::env::var("LOGWEIR__ETCD__PASSWORD").ok().map(Secret::new);
        let username = self.user.clone().unwrap_or_default();
        Ok(Etcd { endpoints: self.etcd.clone(), username, password, ..Etcd::default() })
    }
}

impl Place {
    fn required(&self, etcd: &Etcd) -> Result<String, Failure> {
        let key = self.key(etcd)?;
        key.ok_or_else(|| {
            Failure::new(Exit::Usage, "which key? Give --scope all, group/NAME, host/NAME or ip/ADDRESS, or --key KEY")
        })
    }

    /// The key that is meant, if one is given.
    fn key(&self, etcd: &Etcd) -> Result<Option<String>, Failure> {
        let usage = |reason: String| Failure::new(Exit::Usage, reason);
        let Some(scope) = &self.scope else {
            let empty = self.key.as_ref().is_some_and(String::is_empty);
            return if empty { Err(usage("--key is empty".into())) } else { Ok(self.key.clone()) };
        };
        let parsed = Scope::parse(scope).map_err(|reason| usage(format!("--scope {scope}: {reason}")))?;
        let template =
            |text: &String| KeyTemplate::parse(text).map_err(|e| Failure::new(Exit::Config, format!("{text}: {e}")));
        let templates = etcd.keys.iter().map(template).collect::<Result<Vec<_>, _>>()?;
        let none = || usage(format!("--scope {scope}: no key in [etcd] keys is for that"));
        parsed.key(&templates).map(Some).ok_or_else(none)
    }
}

fn failure(error: EtcdError) -> Failure {
    let exit = if matches!(error, EtcdError::Settings(_)) { Exit::Config } else { Exit::Unavailable };
    Failure::new(exit, error)
}

fn store_failure(error: StoreError) -> Failure {
    let exit = if matches!(error, StoreError::Unavailable(_)) { Exit::Unavailable } else { Exit::Data };
    Failure::new(exit, error)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let result = if file == Path::new("-") {
        io::stdin().read_to_end(&mut text).map(drop)
    } else {
        fs::read(file).map(|bytes| text = bytes)
    };
    result.map_err(|e| Failure::new(Exit::NoInput, format!("{}: {e}", file.display())))?;
    Ok(text)
}

/// The entries of a value, checked.
fn check(text: &[u8], name: &str) -> Result<Vec<Entry>, Failure> {
    parse_entries(text, Path::new(BASE_DIR)).map_err(|mistake| Failure::new(Exit::Data, format!("{name}: {mistake}")))
}

async fn show(session: &Session, key: &str) -> Outcome {
    let kv = session.get(key).await.map_err(failure)?;
    let kv = kv.ok_or_else(|| Failure::new(Exit::Data, format!("there is no key {key}")))?;
    let mut text = String::from_utf8_lossy(&kv.value).into_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    print(&text)?;
    check(&kv.value, key)?;
    Ok(Exit::Ok)
}

/// Every key that fits a template, with its entries; wrong ones with what is wrong.
async fn list_all(session: &Session, etcd: &Etcd) -> Outcome {
    let mut text = String::new();
    let mut seen = Vec::new();
    let mut wrong = 0;
    for template in &etcd.keys {
        let template =
            KeyTemplate::parse(template).map_err(|e| Failure::new(Exit::Config, format!("{template}: {e}")))?;
        let kvs = if template.is_fixed() {
            session.get(template.prefix()).await.map_err(failure)?.into_iter().collect()
        } else {
            session.list(template.prefix()).await.map_err(failure)?.0
        };
        for kv in kvs.into_iter().filter(|kv| template.fits(&kv.key)) {
            if !seen.contains(&kv.key) {
                wrong += usize::from(!describe(&kv, &mut text));
                seen.push(kv.key);
            }
        }
    }
    if seen.is_empty() {
        text.push_str("there are no entries\n");
    }
    print(&text)?;
    Ok(if wrong > 0 { Exit::Data } else { Exit::Ok })
}

/// Whether the value is right.
fn describe(kv: &Kv, text: &mut String) -> bool {
    // Writing to a string can't fail.
    let _ = writeln!(text, "{} (revision {})", kv.key, kv.revision);
    match parse_entries(&kv.value, Path::new(BASE_DIR)) {
        Ok(entries) => {
            for entry in &entries {
                let path = if entry.path.starts_with(BASE_DIR) { &entry.path[1..] } else { &entry.path };
                let _ = writeln!(text, "  {path} -> {}", entry.topic);
            }
            true
        }
        Err(mistake) => {
            let _ = writeln!(text, "  WRONG, the agents keep what they had: {mistake}");
            false
        }
    }
}

/// Shows the difference and writes (or deletes, for `None`), if the key is still as it was read.
async fn write(session: &Session, key: &str, before: Option<Kv>, after: Option<&[u8]>, dry_run: bool) -> Outcome {
    let old = before.as_ref().map(|kv| kv.value.as_slice());
    if old == after {
        print(&format!("{key} is like that already\n"))?;
        return Ok(Exit::Ok);
    }
    print(&difference(key, old, after))?;
    if dry_run {
        return Ok(Exit::Ok);
    }
    let seen = before.as_ref().map_or(0, |kv| kv.revision);
    let store = EtcdStore::new(session.clone());
    match change(&store, &by_hand(key, seen, after)?).await.map_err(store_failure)? {
        Changed::Done(revision) => {
            print(&format!("{key} {} at revision {revision}\n", if after.is_some() { "written" } else { "deleted" }))?;
            Ok(Exit::Ok)
        }
        Changed::Conflict(now) => {
            let theirs = difference(key, old, now.as_ref().map(|item| item.value.as_slice()));
            let reason =
                format!("somebody else has changed {key} meanwhile, nothing was written; their change:\n{theirs}");
            Err(Failure::new(Exit::Temporary, reason.trim_end()))
        }
    }
}

fn by_hand(key: &str, seen: i64, text: Option<&[u8]>) -> Result<Change, Failure> {
    let author = Author::of_command_line();
    let action = if text.is_some() { "entries.put" } else { "entries.delete" };
    let audit = author.did(action, key, "").map_err(|e| Failure::new(Exit::Software, e))?;
    Ok(Change {
        key: key.into(),
        seen,
        text: text.map(<[u8]>::to_vec),
        author: author.name,
        from: From::CommandLine,
        time_ms: crate::telemetry::now_ms() as i64,
        audit: vec![audit],
    })
}

async fn edit_key(session: &Session, key: &str) -> Outcome {
    let before = session.get(key).await.map_err(failure)?;
    let text = before.as_ref().map_or(b"[\n]\n".as_slice(), |kv| &kv.value);
    let file = Draft::new(text)?;
    file.open()?;
    let after = read(&file.path)?;
    let kept = |failure: Failure| {
        let reason = format!("{}\nyour text is kept in {}", failure.reason, file.path.display());
        Failure::new(failure.exit, reason)
    };
    check(&after, key).map_err(kept)?;
    let outcome = write(session, key, before, Some(&after), false).await.map_err(kept)?;
    file.remove();
    Ok(outcome)
}

/// The text while it is edited: in a file that only its owner can read, kept where the change fails.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn new(text: &[u8]) -> Result<Self, Failure> {
        use std::os::unix::fs::OpenOptionsExt;
        let random = getrandom::u64().map_err(|e| Failure::new(Exit::CantCreate, e))?;
        let path = std::env::temp_dir().join(format!("logweir-entries-{random:016x}.json"));
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written = made.and_then(|mut file| io::Write::write_all(&mut file, text));
        written.map_err(|e| Failure::new(Exit::CantCreate, format!("{}: {e}", path.display())))?;
        Ok(Self { path })
    }

    fn open(&self) -> Result<(), Failure> {
        let editor = ["VISUAL", "EDITOR"].into_iter().find_map(|v| std::env::var(v).ok().filter(|e| !e.is_empty()));
        let editor = editor.unwrap_or_else(|| "vi".into());
        // As git does it: the variable may hold options.
        let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&self.path).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                self.remove();
                Err(Failure::new(Exit::Temporary, format!("{editor} ended with {status}, nothing was written")))
            }
            Err(e) => {
                self.remove();
                Err(Failure::new(Exit::Unavailable, format!("{editor} can't be started: {e}")))
            }
        }
    }

    fn remove(&self) {
        if let Err(e) = fs::remove_file(&self.path) {
            eprintln!("logweir: {} can't be removed: {e}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scope: &str) -> Result<Option<String>, String> {
        let place = Place { scope: Some(scope.into()), key: None };
        place.key(&Etcd::default()).map_err(|f| f.reason)
    }

    #[test]
    fn a_scope_names_the_key_that_the_templates_make_of_it() {
        assert_eq!(key("all").unwrap().as_deref(), Some("/logweir/collect/all"));
        assert_eq!(key("group/web").unwrap().as_deref(), Some("/logweir/collect/group/web"));
        assert_eq!(key("host/web-01").unwrap().as_deref(), Some("/logweir/collect/host/web-01"));
        for wrong in ["", "any", "host", "host/", "host/a/b", "host/a b"] {
            assert!(key(wrong).unwrap_err().contains("is expected"), "{wrong}");
        }
        let place = Place { scope: Some("group/web".into()), key: None };
        let etcd = Etcd { keys: vec!["collect_log_conf".into()], ..Etcd::default() };
        assert!(place.key(&etcd).unwrap_err().reason.contains("no key in [etcd] keys"));
    }
}
