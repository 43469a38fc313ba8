//! Who is logged in. The problem: a browser proves itself by a random word in a cookie, and that must end by itself when
//! nobody uses it, end for good when its user is disabled, and be worth nothing to whoever reads the store. So the store
//! has only the word's hash, and a session holds the user's stamp, which another password changes.

use super::{
    audit::Author,
    secret::{self, NoRandom, random},
    users::Named,
};
use crate::store::{Check, Item, Store, StoreError, Write};
use serde::{Deserialize, Serialize};

pub const PREFIX: &str = "/logweir/sessions/";
/// Of one user at the same time; two logins at one moment may make it one more until the next.
const OF_ONE: usize = 50;
/// So many end with one login at most.
const ENDED_AT_ONCE: usize = 100;
/// Its use is written down this often, or more often where it would end before.
const TOUCH_MS: i64 = 60_000;

/// How long sessions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Without use.
    pub idle_ms: i64,
    /// In any case.
    pub absolute_ms: i64,
}

impl Default for Ends {
    fn default() -> Self {
        Self { idle_ms: 1_800_000, absolute_ms: 43_200_000 }
    }
}

/// One of them, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub user: String,
    /// The user's, at the login.
    pub stamp: String,
    /// What a change has to bring along.
    pub csrf: String,
    pub created_ms: i64,
    pub seen_ms: i64,
    pub address: String,
}

impl Session {
    pub fn is_over(&self, ends: Ends, now_ms: i64) -> bool {
        now_ms >= self.seen_ms + ends.idle_ms || now_ms >= self.created_ms + ends.absolute_ms
    }
}

/// What a session's word may be; anything else isn't looked for.
pub fn key_of(word: &str) -> Option<String> {
    let good = word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    good.then(|| format!("{PREFIX}{}", secret::hash(word)))
}

/// A new session: its word, its key, and itself.
///
/// # Errors
/// There are no random numbers.
pub fn begin(user: &Named, address: &str) -> Result<(String, String, Session), NoRandom> {
    let now = crate::telemetry::now_ms() as i64;
    let word = random::<32>()?;
    let key = format!("{PREFIX}{}", secret::hash(&word));
    let session = Session {
        user: user.name.clone(),
        stamp: user.user.stamp.clone(),
        csrf: random::<32>()?,
        created_ms: now,
        seen_ms: now,
        address: address.into(),
    };
    Ok((word, key, session))
}

/// What is written at a login, if the user is still as it was checked. `ended`: sessions that end with it.
///
/// # Errors
/// There are no random numbers.
pub fn login(user: &Named, key: &str, session: &Session, ended: usize) -> Result<(Vec<Check>, Vec<Write>), NoRandom> {
    let author = Author { name: user.name.clone(), address: session.address.clone() };
    let detail = if ended > 0 { format!("more than {OF_ONE} sessions; {ended} ended") } else { String::new() };
    let put = Write::put(key, serde_json::to_vec(session).unwrap_or_default());
    Ok((vec![Check::unchanged(&user.item)], vec![put, author.did("login", &user.name, detail)?]))
}

/// Keys of this user's sessions that leave no room for another one: those that were left alone longest.
///
/// # Errors
/// The store doesn't answer.
pub async fn too_many(store: &dyn Store, user: &str) -> Result<Vec<String>, StoreError> {
    const PIECE: usize = 1_000;
    let (mut own, mut after) = (Vec::new(), None);
    loop {
        let piece = store.list(PREFIX, after.as_deref(), PIECE).await?;
        let Some(last) = piece.last() else { break };
        after = Some(last.key.clone());
        let sessions = piece.iter().filter_map(|item| Some((read(item)?, &item.key)));
        let sessions = sessions.filter(|(session, _)| session.user == user);
        own.extend(sessions.map(|(session, key)| (session.seen_ms, session.created_ms, key.clone())));
    }
    own.sort_unstable();
    let many = (own.len() + 1).saturating_sub(OF_ONE).min(ENDED_AT_ONCE);
    Ok(own.into_iter().take(many).map(|(_, _, key)| key).collect())
}

pub fn read(item: &Item) -> Option<Session> {
    serde_json::from_slice(&item.value).ok()
}

/// The write that tells of its use, if it is time.
pub fn touch(item: &Item, session: &Session, ends: Ends, now_ms: i64) -> Option<(Vec<Check>, Vec<Write>)> {
    (now_ms >= session.seen_ms + TOUCH_MS.min(ends.idle_ms / 10)).then(|| {
        let seen = Session { seen_ms: now_ms, ..session.clone() };
        let put = Write::put(&item.key, serde_json::to_vec(&seen).unwrap_or_default());
        // A session that was ended meanwhile doesn't come back.
        (vec![Check::unchanged(item)], vec![put])
    })
}

/// Removes those that are over.
///
/// # Errors
/// The store doesn't answer.
pub async fn forget(store: &dyn Store, ends: Ends, now_ms: i64) -> Result<usize, StoreError> {
    const PIECE: usize = 100;
    let (mut after, mut gone) = (None, 0);
    loop {
        let piece = store.list(PREFIX, after.as_deref(), PIECE).await?;
        let Some(last) = piece.last() else { return Ok(gone) };
        after = Some(last.key.clone());
        let over = |item: &&Item| read(item).is_none_or(|session| session.is_over(ends, now_ms));
        let (checks, writes): (Vec<_>, Vec<_>) =
            piece.iter().filter(over).map(|item| (Check::unchanged(item), Write::delete(&item.key))).unzip();
        if !writes.is_empty() {
            gone += writes.len();
            // One that is used just now stays, and the others of this piece until next time.
            store.commit(checks, writes).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Committed, FileStore};

    fn session(created_ms: i64, seen_ms: i64) -> Session {
        let [user, stamp, csrf, address] = ["anna", "s", "c", "a"].map(str::to_owned);
        Session { user, stamp, csrf, created_ms, seen_ms, address }
    }

    #[test]
    fn a_session_ends_without_use_and_in_any_case() {
        let ends = Ends { idle_ms: 100, absolute_ms: 1_000 };
        for (created, seen, now, over) in
            [(0, 0, 99, false), (0, 0, 100, true), (0, 950, 999, false), (0, 950, 1_000, true)]
        {
            assert_eq!(session(created, seen).is_over(ends, now), over, "{created} {seen} {now}");
        }
    }

    #[test]
    fn only_a_word_of_the_right_form_is_looked_for() {
        assert!(key_of(&"a".repeat(64)).is_some());
        for word in ["", "a", &"g".repeat(64), &"a".repeat(65), &format!("{}/../x", "a".repeat(59))] {
            assert_eq!(key_of(word), None, "{word}");
        }
    }

    #[actix_rt::test]
    async fn of_a_users_sessions_those_end_that_were_left_alone_longest() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::new(dir.path().join("console.json"));
        let put = |n: i64, user: &str| {
            let session = Session { user: user.into(), ..session(n, 1_000 - n) };
            Write::put(format!("{PREFIX}{user}{n:03}"), serde_json::to_vec(&session).unwrap())
        };
        store.commit(vec![], (0..49).map(|n| put(n, "anna")).collect()).await.unwrap();
        store.commit(vec![], (0..90).map(|n| put(n, "bert")).collect()).await.unwrap();
        assert!(too_many(&store, "anna").await.unwrap().is_empty());
        store.commit(vec![], vec![put(49, "anna"), put(50, "anna")]).await.unwrap();
        let keys = [50, 49].map(|n| format!("{PREFIX}anna{n:03}"));
        assert_eq!(too_many(&store, "anna").await.unwrap(), keys);
        assert_eq!(too_many(&store, "bert").await.unwrap().len(), 41);
        assert!(too_many(&store, "ann").await.unwrap().is_empty());
    }

    #[actix_rt::test]
    async fn those_that_are_over_are_removed_and_a_use_is_written_once_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::new(dir.path().join("console.json"));
        let put = |name: &str, s: &Session| Write::put(format!("{PREFIX}{name}"), serde_json::to_vec(s).unwrap());
        for i in 0..250 {
            let one = put(&format!("{i:03}"), &session(0, if i % 2 == 0 { 10 } else { 90_000 }));
            assert!(matches!(store.commit(vec![], vec![one]).await, Ok(Committed::Done(_))));
        }
        let ends = Ends { idle_ms: 60_000, absolute_ms: 1_000_000 };
        assert_eq!(forget(&store, ends, 100_000).await, Ok(125));
        let left = store.list(PREFIX, None, 1_000).await.unwrap();
        assert_eq!(left.len(), 125);
        let read = read(&left[0]).unwrap();
        assert!(touch(&left[0], &read, ends, 96_000).is_some(), "a short session is kept from ending, too");
        assert!(touch(&left[0], &read, Ends::default(), 149_999).is_none());
        let (checks, writes) = touch(&left[0], &read, Ends::default(), 150_000).unwrap();
        store.commit(vec![], vec![Write::delete(&left[0].key)]).await.unwrap();
        assert!(matches!(store.commit(checks, writes).await, Ok(Committed::Conflict(_))), "an ended one stays so");
    }
}
