//! What the agent needs of its machine: a data folder with room, a journal that can be read, open files and watches
//! enough. Nothing is made or locked here: an agent that runs, or starts just now, must not notice.

use super::report::{Fault, Report};
use crate::journal::{Inspection, Journal, JournalError};
use rustix::{
    fs::{Access, AtFlags, CWD, accessat, statvfs},
    process::{Resource, getrlimit},
};
use std::{io, os::unix::fs::MetadataExt, path::Path};

/// Less room than this is told.
const LOW_SPACE: u64 = 256 << 20;
/// Open files that the agent needs beside those that it collects.
const OWN_FILES: u64 = 128;

/// The data folder: whether it can be used, who uses it, and what room there is.
pub fn data_dir(dir: &Path) -> Report {
    let mut report = Report::default();
    let shown = dir.display();
    let Some(there) = dir.ancestors().find(|path| path.exists()) else {
        report.fail(
            "data_dir",
            Fault::Settings,
            format!("{shown}: no part of the path exists"),
            "use an absolute path",
        );
        return report;
    };
    // What this process may do, not what the mode bits say: read-only file systems and ACLs count.
    let usable = accessat(CWD, there, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
    match usable {
        _ if !there.is_dir() => {
            let text = format!("{} is no folder", there.display());
            report.fail("data_dir", Fault::Settings, text, "set agent.data_dir to a folder");
        }
        Err(errno) => {
            let text = format!("{} can't be written by this user: {}", there.display(), io::Error::from(errno));
            report.fail("data_dir", Fault::Settings, text, "give it to the agent's user, or run check as that user");
        }
        Ok(()) if there == dir => report.ok("data_dir", format!("{shown} can be written")),
        Ok(()) => report.ok("data_dir", format!("{shown} doesn't exist yet; the agent makes it")),
    }
    space(there, &mut report);
    report
}

fn space(dir: &Path, report: &mut Report) {
    let advice = "make room: without it reading stops until there is some";
    match statvfs(dir) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let text = format!("{} MiB free for {}", free >> 20, dir.display());
            if free < LOW_SPACE {
                report.warn("space", text, advice)
            } else {
                report.ok("space", text)
            }
            // Some file systems count no inodes: 0 of 0.
            if stat.f_files > 0 && stat.f_favail < 16 {
                report.warn("space", format!("{} inodes free for {}", stat.f_favail, dir.display()), advice);
            }
        }
        Err(errno) => {
            report.warn("space", format!("{}: {}", dir.display(), io::Error::from(errno)), "look at the file system");
        }
    }
}

/// Tells whether an agent runs on this folder.
pub fn running(dir: &Path) -> (bool, Report) {
    let mut report = Report::default();
    let Ok(lock) = std::fs::metadata(dir.join("journal.lock")) else {
        report.ok("lock", "no agent has used this data folder yet");
        return (false, report);
    };
    // Trying the lock would take it for a moment, and an agent that starts just then would give up. The kernel's list
    // only shows processes of this PID namespace.
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let holder = holder(&locks, lock.ino());
    match &holder {
        Some(pid) => report.ok("lock", format!("an agent runs on this data folder (process {pid})")),
        None => report.ok("lock", "no agent runs on this data folder"),
    }
    (holder.is_some(), report)
}

/// The process that holds an `flock` on the inode, from the text of `/proc/locks`:
/// `1: FLOCK  ADVISORY  WRITE 30364 fe:00:6201429 0 EOF`. The device isn't compared: btrfs and overlayfs have two.
fn holder(locks: &str, inode: u64) -> Option<String> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, place, ..] = words[..] else { return None };
        (place.rsplit(':').next()? == inode.to_string()).then(|| pid.to_owned())
    })
}

/// What the journal says.
pub fn journal(dir: &Path, running: bool) -> Report {
    journal_lines(Journal::inspect(dir), running)
}

fn journal_lines(read: Result<Inspection, JournalError>, running: bool) -> Report {
    let mut report = Report::default();
    let seen = match read {
        Ok(seen) => seen,
        Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            report.ok("journal", "there is none yet");
            return report;
        }
        Err(error) => {
            let advice = match error {
                JournalError::Version { .. } => "use the newer version of logweir that wrote it",
                _ => "run check as the agent's user; if that doesn't help, look at the disk",
            };
            report.fail("journal", Fault::Journal, error.to_string(), advice);
            return report;
        }
    };
    match &seen.path {
        None => report.ok("journal", "there is none yet"),
        Some(path) => {
            let pending: usize = seen.files.iter().map(|file| file.pending.len()).sum();
            let bytes: u64 = seen.files.iter().map(|file| file.position.saturating_sub(file.settled)).sum();
            let files = seen.files.len();
            let text = format!("{}: {files} files, {pending} ranges ({bytes} bytes) on their way", path.display());
            report.ok("journal", text);
        }
    }
    for damage in &seen.reports {
        if damage.damage.is_loss() {
            let advice = "the agent reads around it at its next start: lines may come twice in Kafka; look at the disk";
            report.fail("journal", Fault::Journal, damage.to_string(), advice);
        } else if !running {
            // A running agent may be writing that record just now.
            report.warn("journal", damage.to_string(), "usual after a power failure; the agent cuts it off");
        }
    }
    report
}

/// The kernel's limits, against what the entries need now.
pub fn limits(files: u64, folders: u64) -> Report {
    let max_watches = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
    // The agent raises its soft limit to the hard one.
    limit_lines(
        files,
        getrlimit(Resource::Nofile).maximum,
        folders,
        max_watches.ok().and_then(|text| text.trim().parse().ok()),
    )
}

fn limit_lines(files: u64, max_files: Option<u64>, folders: u64, max_watches: Option<u64>) -> Report {
    let mut report = Report::default();
    match max_files {
        Some(max) if files.saturating_add(OWN_FILES) > max => report.warn(
            "limits",
            format!("{files} files are to be collected, but a process may hold {max} open (RLIMIT_NOFILE)"),
            "raise LimitNOFILE in the agent's unit, or ulimit -Hn",
        ),
        Some(max) => report.ok("limits", format!("{files} files to collect, {max} may be open (RLIMIT_NOFILE)")),
        None => report.ok("limits", format!("{files} files to collect, any number may be open")),
    }
    match max_watches {
        Some(max) if folders > max => report.warn(
            "limits",
            format!("{folders} folders are to be watched, but a user may watch {max} (fs.inotify.max_user_watches)"),
            "raise it by sysctl; until then changes are only found by the sweep",
        ),
        Some(max) => report.ok("limits", format!("{folders} folders to watch, {max} allowed (inotify)")),
        None => report.warn("limits", "fs.inotify.max_user_watches can't be read", "is /proc mounted?"),
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{Exit, check::report::Level},
        journal::{Damage, JournalOptions, SalvageReport},
    };

    fn levels(report: &Report) -> Vec<Level> {
        report.lines.iter().map(|line| line.level).collect()
    }

    #[test]
    fn a_data_folder_may_be_there_or_not_yet_but_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(data_dir(dir.path()).text().contains("can be written"));
        let later = data_dir(&dir.path().join("a/b"));
        assert!(later.text().contains("the agent makes it"), "{}", later.text());
        assert!(!dir.path().join("a").exists(), "a check makes nothing");
        std::fs::write(dir.path().join("file"), "").unwrap();
        for path in ["file", "file/below"] {
            assert_eq!(data_dir(&dir.path().join(path)).exit(), Exit::Config, "{path}");
        }
    }

    #[test]
    fn a_running_agent_is_seen_and_not_disturbed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!running(dir.path()).0);
        let journal = Journal::open(dir.path(), JournalOptions::default()).unwrap();
        let (seen, report) = running(dir.path());
        assert!(seen && report.text().contains(&format!("process {}", std::process::id())), "{}", report.text());
        drop(journal);
        assert!(!running(dir.path()).0);
        Journal::open(dir.path(), JournalOptions::default()).unwrap();
    }

    #[test]
    fn the_kernels_list_of_locks_is_read() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 fe:00:42 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 fe:00:42 0 EOF\n";
        assert_eq!(holder(locks, 42).as_deref(), Some("8"));
        assert_eq!(holder(locks, 2), None);
        assert_eq!(holder("nonsense\n\n", 42), None);
    }

    #[test]
    fn a_damaged_journal_fails_and_a_torn_tail_is_only_told_when_nobody_writes() {
        let report = |damage| SalvageReport { path: "/j".into(), offset: 1, len: 2, damage };
        let seen = |reports| Inspection { path: Some("/j".into()), files: vec![], entries: vec![], reports };
        let torn = || Ok(seen(vec![report(Damage::TornTail)]));
        assert_eq!(levels(&journal_lines(torn(), true)), [Level::Ok]);
        assert_eq!(levels(&journal_lines(torn(), false)), [Level::Ok, Level::Warn]);
        assert_eq!(journal_lines(Ok(seen(vec![report(Damage::Records)])), true).exit(), Exit::Io);
        let newer = JournalError::Version { path: "/j".into(), found: 9, known: 1 };
        assert_eq!(journal_lines(Err(newer), false).exit(), Exit::Io);
        assert_eq!(levels(&journal(Path::new("/nowhere"), false)), [Level::Ok]);
    }

    #[test]
    fn limits_are_told_when_they_are_too_low() {
        assert_eq!(levels(&limit_lines(100, Some(1024), 5, Some(8192))), [Level::Ok, Level::Ok]);
        assert_eq!(levels(&limit_lines(1000, Some(1024), 9000, Some(8192))), [Level::Warn, Level::Warn]);
        assert_eq!(levels(&limit_lines(1000, None, 5, None)), [Level::Ok, Level::Warn]);
    }
}
