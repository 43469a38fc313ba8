//! Passwords, by argon2id. The problem: to try one is meant to take time and 19 MiB, so a flood of tries must take
//! neither all threads nor all memory, and must not keep those out whose browser is known. And an unknown name must take
//! as long as a wrong password, or names could be found out.

use super::super::error::ApiError;
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tokio::sync::Semaphore;

/// What OWASP advises: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Characters of a password.
const SHORTEST: usize = 12;
/// Bytes of one.
pub const LONGEST: usize = 1_000;
/// Tries that wait for their turn.
const WAITING: usize = 32;
/// Of a password that nobody has, for names that nobody has.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bG9nd2Vpci1ub2JvZHktMQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// # Errors
/// What is wrong with it, for people.
pub fn check(name: &str, password: &str) -> Result<(), String> {
    if password.chars().count() < SHORTEST {
        return Err(format!("a password has at least {SHORTEST} characters"));
    }
    if password.len() > LONGEST {
        return Err(format!("a password has at most {LONGEST} bytes"));
    }
    if password.to_lowercase().contains(&name.to_lowercase()) && password.len() < name.len() + 8 {
        return Err("the password is little more than the name".into());
    }
    let first = password.chars().next();
    if password.chars().all(|c| Some(c) == first) {
        return Err("the password is one character again and again".into());
    }
    Ok(())
}

fn argon2() -> Result<Argon2<'static>, String> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| e.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// A hash of a password, for the store. Takes time: not for a thread that others wait for.
///
/// # Errors
/// There are no random numbers.
pub fn hash(password: &str) -> Result<String, String> {
    argon2()?.hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|e| e.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    argon2().is_ok_and(|argon2| argon2.verify_password(password.as_bytes(), &parsed).is_ok())
}

/// One lane: tries one after the other, and few that wait.
#[derive(Debug)]
struct Lane {
    turn: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Default for Lane {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), waiting: Arc::default() }
    }
}

impl Lane {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let busy = || ApiError::too_often("too many people are logging in; try again in some seconds", 5);
        let entered = self.waiting.fetch_update(Relaxed, Relaxed, |n| (n < WAITING).then_some(n + 1));
        entered.map_err(|_| busy())?;
        let leaves = Leaves(self.waiting.clone());
        let turn = self.turn.clone().acquire_owned().await.map_err(|_| busy())?;
        // The work goes on when who asked hangs up, and holds its turn as long.
        let work = move || {
            let _held = (leaves, turn);
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|e| ApiError::unavailable(e.to_string()))
    }
}

/// Who waits no longer, whether they got their turn or hung up.
struct Leaves(Arc<AtomicUsize>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Tries and makes passwords, few at the same time.
#[derive(Clone, Debug, Default)]
pub struct Passwords {
    /// Strangers, and those whose browser has logged in before: a flood of the first doesn't keep the second out.
    lanes: Arc<[Lane; 2]>,
}

impl Passwords {
    /// `hash`: `None` where there is no such user, which takes as long.
    ///
    /// # Errors
    /// Too many try.
    pub async fn verify(&self, password: String, hash: Option<String>, known: bool) -> Result<bool, ApiError> {
        let tried = move || {
            let fits = verify(&password, hash.as_deref().unwrap_or(NOBODY));
            fits && hash.is_some()
        };
        self.lanes[usize::from(known)].run(tried).await
    }

    /// # Errors
    /// Too many try, or there are no random numbers.
    pub async fn hash(&self, password: String) -> Result<String, ApiError> {
        self.lanes[1].run(move || hash(&password)).await?.map_err(ApiError::unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_password_is_known_by_its_hash_and_nobody_has_one() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse battery".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse battery".into()).await.unwrap(), "salted");
        for (password, of, fits) in [
            ("correct horse battery", Some(hash.clone()), true),
            ("correct horse batterz", Some(hash.clone()), false),
            ("correct horse battery", Some("no hash".to_owned()), false),
            ("correct horse battery", None, false),
        ] {
            assert_eq!(passwords.verify(password.into(), of.clone(), false).await, Ok(fits), "{password} {of:?}");
        }
        let nobody = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(nobody.params.to_string(), PasswordHash::new(&hash).unwrap().params.to_string(), "the same work");
    }

    #[test]
    fn weak_passwords_are_refused() {
        for (name, password, good) in [
            ("anna", "correct horse battery", true),
            ("anna", "elevenchars", false),
            ("anna-long-name", "Anna-long-name1", false),
            ("anna", "aaaaaaaaaaaaaaaa", false),
            ("anna", "十二个字的密码是这样写的吗", true),
            ("anna", &"ab".repeat(501), false),
        ] {
            assert_eq!(check(name, password).is_ok(), good, "{password}");
        }
    }

    #[actix_rt::test]
    async fn who_hangs_up_gives_the_turn_free_only_when_the_work_is_done() {
        let (lane, (go, wait)) = (Lane::default(), std::sync::mpsc::channel::<()>());
        let mut first = Box::pin(lane.run(move || wait.recv()));
        assert!(futures_util::poll!(&mut first).is_pending());
        drop(first);
        assert_eq!((lane.turn.available_permits(), lane.waiting.load(Relaxed)), (0, 1), "it still works");
        let second = lane.run(|| 2);
        go.send(()).unwrap();
        assert_eq!(second.await, Ok(2));
    }

    #[actix_rt::test]
    async fn a_flood_of_strangers_is_turned_away_and_who_is_known_comes_in() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse battery".into()).await.unwrap();
        let flood = (0..1_000).map(|_| passwords.verify("wrong".into(), None, false));
        let flood = futures_util::future::join_all(flood);
        let known = passwords.verify("correct horse battery".into(), Some(hash), true);
        let (flood, known) = tokio::join!(flood, known);
        assert_eq!(known, Ok(true));
        assert_eq!(flood.iter().filter(|answer| answer.is_ok()).count(), WAITING);
    }
}
