//! Delivery fields of entries on this machine's own disk, where there is no etcd. The problem: a journalled range names
//! its entry by a hash, and its lines need the entry's labels also when the entry has changed or gone since.

use super::Delivery;
use crate::flow::EntryId;
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// The texts in one folder, a file each. Cloning gives another handle of the same.
#[derive(Clone, Debug)]
pub struct EntryTexts {
    folder: PathBuf,
    known: Arc<Mutex<HashMap<EntryId, Arc<Delivery>>>>,
}

impl EntryTexts {
    /// The folder is made with the first text.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, known: Arc::default() }
    }

    /// Keeps a text for good.
    ///
    /// # Errors
    /// It can't be written, or there is another one under the same hash.
    pub fn put(&self, entry: EntryId, delivery: &Delivery) -> Result<(), String> {
        if let Some(there) = self.get(entry) {
            let reason = "holds another text with the same hash; change a label of the entry a little";
            return if *there == *delivery { Ok(()) } else { Err(format!("{} {reason}", self.file(entry).display())) };
        }
        write(&self.folder, &self.file(entry), &delivery.canonical())
            .map_err(|e| format!("{}: {e}", self.file(entry).display()))?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(entry, Arc::new(delivery.clone()));
        Ok(())
    }

    /// The text, where it is there and readable.
    pub fn get(&self, entry: EntryId) -> Option<Arc<Delivery>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(delivery) = known.get(&entry) {
            return Some(delivery.clone());
        }
        let text = fs::read(self.file(entry)).ok()?;
        let delivery: Delivery = serde_json::from_slice(&text).ok().filter(|d: &Delivery| d.id() == Some(entry))?;
        Some(known.entry(entry).or_insert(Arc::new(delivery)).clone())
    }

    fn file(&self, entry: EntryId) -> PathBuf {
        self.folder.join(format!("{entry}.json"))
    }
}

fn write(folder: &Path, file: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let draft = file.with_extension("new");
    fs::write(&draft, text)?;
    fs::File::open(&draft)?.sync_all()?;
    fs::rename(&draft, file)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_for_the_next_process_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let delivery = Delivery { labels: [("team".into(), "shop".into())].into(), index: None };
        let id = delivery.id().unwrap();
        let texts = EntryTexts::new(dir.path().join("entries"));
        assert_eq!(texts.get(id), None);
        texts.put(id, &delivery).unwrap();
        let texts = EntryTexts::new(dir.path().join("entries"));
        assert_eq!(texts.get(id).as_deref(), Some(&delivery));
        texts.put(id, &delivery).unwrap();
        assert!(texts.put(id, &Delivery { index: Some("x".into()), ..delivery }).unwrap_err().contains("same hash"));
        fs::write(dir.path().join(format!("entries/{id}.json")), "{}").unwrap();
        assert_eq!(EntryTexts::new(dir.path().join("entries")).get(id), None, "not the text of this hash");
    }
}
