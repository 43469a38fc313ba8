//! Documents as they come, for a live tail. The problem: whoever watches may be slow or gone, and must neither hold up
//! the index nor keep its memory; so only a bounded number of batches waits for each, and who skips some is told how many
//! lines those were.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

/// Batches that wait for a slow reader.
const WAITING: usize = 32;

/// The documents of one batch.
#[derive(Debug)]
pub struct LiveDocuments {
    /// Number of the first one, counted from the start of the process.
    first: u64,
    json: Vec<u8>,
    ends: Vec<usize>,
}

impl LiveDocuments {
    /// Each document as JSON, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.ends.len()).map(|n| &self.json[n.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[n]])
    }
}

/// Where documents are put for who watches. Cloning gives another handle of the same feed.
#[derive(Clone, Debug)]
pub struct LiveFeed {
    sender: Sender<Arc<LiveDocuments>>,
    next: Arc<AtomicU64>,
}

impl Default for LiveFeed {
    fn default() -> Self {
        Self { sender: channel(WAITING).0, next: Arc::default() }
    }
}

impl LiveFeed {
    /// What comes from now on.
    pub fn subscribe(&self) -> LiveReader {
        LiveReader { receiver: self.sender.subscribe(), next: None }
    }

    /// Gives a batch's documents to those who watch; costs next to nothing while nobody does.
    pub(super) fn publish(&self, json: &[u8], ends: &[usize]) {
        let first = self.next.fetch_add(ends.len() as u64, Relaxed);
        if self.sender.receiver_count() > 0 {
            let documents = LiveDocuments { first, json: json.to_vec(), ends: ends.to_vec() };
            // The last of them may have gone meanwhile.
            let _nobody = self.sender.send(Arc::new(documents));
        }
    }
}

/// What a watcher gets.
#[derive(Debug)]
pub struct Live {
    /// So many lines before these were skipped: it was too slow.
    pub skipped: u64,
    pub documents: Arc<LiveDocuments>,
}

/// One who watches.
#[derive(Debug)]
pub struct LiveReader {
    receiver: Receiver<Arc<LiveDocuments>>,
    next: Option<u64>,
}

impl LiveReader {
    /// Waits for the next documents; `None` when there will be none. Cancel-safe.
    pub async fn next(&mut self) -> Option<Live> {
        loop {
            match self.receiver.recv().await {
                Ok(documents) => {
                    let skipped = documents.first - self.next.unwrap_or(documents.first);
                    self.next = Some(documents.first + documents.ends.len() as u64);
                    return Some(Live { skipped, documents });
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_slow_reader_is_told_how_many_lines_it_missed() {
        let feed = LiveFeed::default();
        feed.publish(b"unseen", &[6]);
        let mut reader = feed.subscribe();
        feed.publish(b"ab", &[1, 2]);
        let live = reader.next().await.unwrap();
        assert_eq!((live.skipped, live.documents.iter().collect::<Vec<_>>()), (0, vec![&b"a"[..], b"b"]));
        (0..WAITING + 3).for_each(|_| feed.publish(b"xyz", &[1, 2, 3]));
        let live = reader.next().await.unwrap();
        assert_eq!((live.skipped, live.documents.iter().len()), (9, 3));
        assert_eq!(reader.next().await.unwrap().skipped, 0);
    }
}
