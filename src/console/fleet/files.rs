//! The files of one agent, asked for while somebody looks. The problem: the agent may be of a version that doesn't answer,
//! be busy, or be gone; and ten people who look at the same agent must not make it list its files ten times.

use crate::{
    etcd::{Event, KeyRange, KeyWatch, LeasedKey, Session},
    messages::{FileStatus, FilesAnswer, FilesQuestion},
    telemetry::{JsonPage, files_keys, now_ms},
};
use futures_util::future::LocalBoxFuture;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Mutex as Waiting,
    time::{Instant, timeout},
};

/// Life of a question; seconds.
const LEASE_SECS: u32 = 15;
/// An agent that doesn't answer within this time is not waited for.
const DEADLINE: Duration = Duration::from_secs(8);
/// An answer is good for so long.
const GOOD: Duration = Duration::from_secs(2);
/// An event that got lost would be waited for in vain anyway.
const RELIST: Duration = Duration::from_secs(3600);

/// Who knows the files of an agent.
pub trait AgentFiles: Send + Sync {
    /// # Errors
    /// Why there is no answer.
    fn files<'a>(&'a self, host: &'a str, instance: &'a str) -> LocalBoxFuture<'a, Result<Arc<FilesAnswer>, String>>;
}

/// The only agent there is, in this process.
pub struct OwnFiles(pub JsonPage);

impl AgentFiles for OwnFiles {
    fn files<'a>(&'a self, _: &'a str, _: &'a str) -> LocalBoxFuture<'a, Result<Arc<FilesAnswer>, String>> {
        Box::pin(async {
            let files: Vec<FileStatus> = serde_json::from_value((self.0)().await?).map_err(|e| e.to_string())?;
            Ok(Arc::new(FilesAnswer::of(String::new(), now_ms(), files)))
        })
    }
}

type Answered = Result<Arc<FilesAnswer>, String>;

/// What came of asking last, and when; whoever asks next waits for who asks now.
type Slot = Arc<Waiting<Option<(Instant, Answered)>>>;

/// By host and instance.
#[derive(Default)]
struct Slots(Mutex<HashMap<(String, String), Slot>>);

impl Slots {
    fn of(&self, host: &str, instance: &str) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Only those that somebody waits for, or has just asked, are of use.
        slots.retain(|_, slot| {
            let known = slot.try_lock().map(|known| known.as_ref().is_some_and(|(at, _)| at.elapsed() < GOOD));
            Arc::strong_count(slot) > 1 || known.unwrap_or(true)
        });
        slots.entry((host.to_owned(), instance.to_owned())).or_default().clone()
    }

    /// What `ask` answers, or has just answered somebody else; a failure is shared as well, or everybody who waits for an
    /// agent that hangs would wait for it one after the other.
    async fn share(
        &self,
        host: &str,
        instance: &str,
        ask: impl Future<Output = Result<FilesAnswer, String>>,
    ) -> Answered {
        let slot = self.of(host, instance);
        let mut known = slot.lock().await;
        if let Some((_, answered)) = known.as_ref().filter(|(at, _)| at.elapsed() < GOOD) {
            return answered.clone();
        }
        let answered = ask.await.map(Arc::new);
        *known = Some((Instant::now(), answered.clone()));
        answered
    }
}

/// Agents that are asked through etcd.
pub struct FilesByEtcd {
    session: Session,
    slots: Slots,
}

impl FilesByEtcd {
    pub fn new(session: Session) -> Self {
        Self { session, slots: Slots::default() }
    }

    async fn ask(&self, host: &str, instance: &str) -> Result<FilesAnswer, String> {
        let (ask, answer) = files_keys(host, instance);
        let id = format!("{:016x}", getrandom::u64().map_err(|error| error.to_string())?);
        // Watched before it is asked, so that no answer is missed.
        let mut watch = KeyWatch::new(self.session.clone(), vec![KeyRange::key(answer)], RELIST);
        let mut question = LeasedKey::new(self.session.clone(), ask, LEASE_SECS);
        let answered = async {
            let mut asked = false;
            loop {
                let kv = match watch.next().await {
                    Event::Snapshot { kvs, .. } => kvs.into_iter().next(),
                    Event::Put(kv) => Some(kv),
                    Event::Delete { .. } => None,
                    Event::Lost(error) => return Err(error.to_string()),
                };
                if !std::mem::replace(&mut asked, true) {
                    let text = serde_json::to_vec(&FilesQuestion { id: id.clone() }).unwrap_or_default();
                    question.put(&text).await.map_err(|error| error.to_string())?;
                    continue;
                }
                let answer = kv.and_then(|kv| serde_json::from_slice::<FilesAnswer>(&kv.value).ok());
                // Another console's answer is as good, but may be older than the question.
                if let Some(answer) = answer.filter(|answer| answer.id == id) {
                    return Ok(answer);
                }
            }
        };
        let late = || format!("{host} has not answered within {} s; is it busy or just gone?", DEADLINE.as_secs());
        let answered = timeout(DEADLINE, answered).await.unwrap_or_else(|_| Err(late()));
        if let Err(error) = question.revoke().await {
            slog_scope::debug!("a question about files stays until its lease ends"; "reason" => %error);
        }
        answered
    }
}

impl AgentFiles for FilesByEtcd {
    fn files<'a>(&'a self, host: &'a str, instance: &'a str) -> LocalBoxFuture<'a, Result<Arc<FilesAnswer>, String>> {
        Box::pin(self.slots.share(host, instance, self.ask(host, instance)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::cell::Cell;

    #[actix_rt::test]
    async fn all_who_wait_share_one_answer_or_one_failure_for_a_while() {
        tokio::time::pause();
        for answer in [Err("hangs".to_owned()), Ok(FilesAnswer::of(String::new(), 7, Vec::new()))] {
            let (slots, asked) = (Slots::default(), Cell::new(0));
            let ask = || async {
                asked.set(asked.get() + 1);
                tokio::time::sleep(DEADLINE).await;
                answer.clone()
            };
            let all = join_all((0..10).map(|_| slots.share("a", "1", ask()))).await;
            assert!(all.iter().all(|one| *one == answer.clone().map(Arc::new)), "{all:?}");
            assert_eq!(asked.get(), 1);
            slots.share("b", "1", ask()).await.ok();
            assert_eq!(asked.get(), 2, "another agent is asked for itself");
            tokio::time::advance(GOOD).await;
            slots.share("a", "1", ask()).await.ok();
            assert_eq!(asked.get(), 3, "it may be well again");
        }
    }
}
