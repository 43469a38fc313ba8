//! Entries from a file instead of etcd. The problem: editors save in many ways (write in place, rename over, a swapped
//! symbolic link), so a watch on the file itself goes blind at the first save. The folder is watched, and what counts
//! is whether the content differs from what was told last.

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, Receiver},
    time::{Instant, sleep_until, timeout},
};

/// Saving is several events; the file is read when none came for this long.
const SETTLE: Duration = Duration::from_millis(20);
/// But not later than this after the first one.
const LATEST: Duration = Duration::from_millis(500);

/// What the file holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    Text(Vec<u8>),
    /// It is missing or unreadable. What is known stays valid: an empty array says that nothing is to be collected.
    Unreadable(String),
}

/// Watches one file of entries.
#[derive(Debug)]
pub struct FileWatch {
    file: PathBuf,
    /// The file is looked at this often, whatever the kernel tells.
    interval: Duration,
    look_at: Instant,
    hints: Option<Receiver<()>>,
    /// Lives as long as the hints.
    watcher: Option<RecommendedWatcher>,
    told: Option<FileContent>,
}

impl FileWatch {
    pub fn new(file: PathBuf, interval: Duration) -> Self {
        Self { file, interval, look_at: Instant::now(), hints: None, watcher: None, told: None }
    }

    /// Waits until the content is another than the one told last; the first call answers at once. It can be dropped
    /// and called again.
    pub async fn next(&mut self) -> FileContent {
        loop {
            if self.told.is_some() {
                self.wait().await;
            }
            // First the watch, then the look: a change between them is told by the watch.
            if self.watcher.is_none() {
                self.watch();
            }
            self.look_at = Instant::now() + self.interval;
            let content = read(self.file.clone()).await;
            if self.told.as_ref() != Some(&content) {
                self.told = Some(content.clone());
                return content;
            }
        }
    }

    async fn wait(&mut self) {
        let Some(hints) = &mut self.hints else { return sleep_until(self.look_at).await };
        tokio::select! {
            hint = hints.recv() => if hint.is_none() {
                (self.hints, self.watcher) = (None, None);
                return sleep_until(self.look_at).await;
            },
            () = sleep_until(self.look_at) => return,
        }
        let latest = Instant::now() + LATEST;
        while Instant::now() < latest && matches!(timeout(SETTLE, hints.recv()).await, Ok(Some(()))) {}
    }

    fn watch(&mut self) {
        let (hint, hints) = mpsc::channel(1);
        let folder = match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let tell = move |event: notify::Result<Event>| {
            // Reading the file is an event, too: our own must not wake us.
            let read = EventKind::Access(AccessKind::Open(notify::event::AccessMode::Any));
            if !matches!(&event, Ok(e) if e.kind == read) {
                // Full means that a hint is waiting already.
                let _ = hint.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(tell)
            .and_then(|mut watcher| watcher.watch(folder, RecursiveMode::NonRecursive).map(|()| watcher));
        match watcher {
            Ok(watcher) => (self.watcher, self.hints) = (Some(watcher), Some(hints)),
            Err(e) => {
                slog_scope::warn!("the folder of the entries' file can't be watched, it is looked at now and then";
                    "folder" => %folder.display(), "reason" => %e, "interval_secs" => self.interval.as_secs());
            }
        }
    }
}

/// Reads on a thread of its own: the folder may be on a file system that doesn't answer.
async fn read(file: PathBuf) -> FileContent {
    let read = move || -> io::Result<Vec<u8>> {
        let size = std::fs::metadata(&file)?;
        if !size.is_file() {
            return Err(io::Error::other("is no regular file"));
        }
        if size.len() > super::MAX_VALUE_BYTES as u64 {
            return Err(io::Error::other(format!("has {} bytes, {} are allowed", size.len(), super::MAX_VALUE_BYTES)));
        }
        std::fs::read(&file)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(text)) => FileContent::Text(text),
        Ok(Err(e)) => FileContent::Unreadable(e.to_string()),
        Err(e) => FileContent::Unreadable(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(watch: &mut FileWatch) -> FileContent {
        timeout(Duration::from_secs(60), watch.next()).await.unwrap()
    }

    fn text(text: &str) -> FileContent {
        FileContent::Text(text.into())
    }

    #[actix_rt::test]
    async fn every_way_of_saving_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("collect.json");
        std::fs::write(&file, "1").unwrap();
        let mut watch = FileWatch::new(file.clone(), Duration::from_secs(3_600));
        assert_eq!(next(&mut watch).await, text("1"));
        std::fs::write(&file, "2").unwrap();
        assert_eq!(next(&mut watch).await, text("2"));
        for saved in ["3", "4"] {
            let new = dir.path().join("collect.json.new");
            std::fs::write(&new, saved).unwrap();
            std::fs::rename(&new, &file).unwrap();
            assert_eq!(next(&mut watch).await, text(saved));
        }
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(next(&mut watch).await, FileContent::Unreadable(_)));
        std::fs::write(&file, "5").unwrap();
        assert_eq!(next(&mut watch).await, text("5"));
    }

    #[actix_rt::test]
    async fn a_swapped_symbolic_link_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (file, data) = (dir.path().join("collect.json"), dir.path().join("data"));
        for version in ["v1", "v2"] {
            std::fs::create_dir(dir.path().join(version)).unwrap();
            std::fs::write(dir.path().join(version).join("collect.json"), version).unwrap();
        }
        std::os::unix::fs::symlink("v1", &data).unwrap();
        std::os::unix::fs::symlink("data/collect.json", &file).unwrap();
        let mut watch = FileWatch::new(file, Duration::from_secs(3_600));
        assert_eq!(next(&mut watch).await, text("v1"));
        std::os::unix::fs::symlink("v2", dir.path().join("new")).unwrap();
        std::fs::rename(dir.path().join("new"), &data).unwrap();
        assert_eq!(next(&mut watch).await, text("v2"));
    }

    #[actix_rt::test]
    async fn without_a_folder_to_watch_the_file_is_found_when_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("later/collect.json");
        let mut watch = FileWatch::new(file.clone(), Duration::from_millis(20));
        crate::telemetry::init_for_tests();
        assert!(matches!(next(&mut watch).await, FileContent::Unreadable(_)));
        std::fs::create_dir(dir.path().join("later")).unwrap();
        std::fs::write(&file, "1").unwrap();
        assert_eq!(next(&mut watch).await, text("1"));
    }
}
