//! Tokens for programs that use the API. The problem: a program has no browser and no password, and what it is given
//! must do no more than it needs: at most what its owner may do, for a limited time, and no longer than the owner is
//! there. The text is `lw_<id>_<secret>`, shown once; only the secret's hash is kept.

use super::{
    audit::Author,
    person::{Role, Topics},
    secret::{self, NoRandom, random},
    users::Named,
};
use crate::store::{Check, Item, Write};
use serde::{Deserialize, Serialize};

pub const PREFIX: &str = "/logweir/tokens/";
/// Days that one may last.
pub const LONGEST_DAYS: i64 = 366;
/// Tokens there may be.
pub const MOST: usize = 10_000;
/// Tokens of one user; whoever needs more ends some first.
pub const OF_ONE: usize = 100;
const DAY_MS: i64 = 86_400_000;
/// Its use is written down this often.
const TOUCH_MS: i64 = 60_000;

/// One of them, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub user: String,
    /// The user's, when it was made.
    pub stamp: String,
    /// What it is for.
    pub name: String,
    pub role: Role,
    #[serde(default)]
    pub topics: Topics,
    pub hash: String,
    pub created_ms: i64,
    pub expires_ms: i64,
    pub last_used_ms: Option<i64>,
}

impl Token {
    /// What it may do at this moment, with the owner as it is now; `None`: nothing any more.
    pub fn allows(&self, owner: &Named, now_ms: i64) -> Option<(Role, Topics)> {
        let user = &owner.user;
        if user.disabled || !secret::same(&user.stamp, &self.stamp) || now_ms >= self.expires_ms {
            return None;
        }
        let topics = self.topics.common(&user.topics)?;
        Some((self.role.min(user.role), topics))
    }
}

/// Id and secret of a token's text.
pub fn parts(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix("lw_")?.split_once('_')?;
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    (hex(id, 16) && hex(secret, 64)).then_some((id, secret))
}

pub fn key_of(id: &str) -> String {
    format!("{PREFIX}{id}")
}

/// What is wanted of a new one.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub name: String,
    pub role: Role,
    pub topics: Topics,
    pub days: i64,
}

/// A token's text, its id, and what is written.
pub struct Made {
    pub text: String,
    pub id: String,
    pub checks: Vec<Check>,
    pub writes: Vec<Write>,
}

/// Why there is no new token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMade {
    #[error("{0}")]
    Wrong(String),
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

/// # Errors
/// It asks for more than its owner has, or there are no random numbers.
pub fn make(author: &Author, owner: &Named, wanted: Wanted, now_ms: i64) -> Result<Made, NotMade> {
    let wrong = |text: String| Err(NotMade::Wrong(text));
    if wanted.name.trim().is_empty() || wanted.name.chars().count() > 100 || wanted.name.contains(char::is_control) {
        return wrong("name: 1 to 100 characters that say what it is for".into());
    }
    if wanted.role > owner.user.role {
        return wrong(format!("role: {} is more than your own, {}", wanted.role.name(), owner.user.role.name()));
    }
    if !(1..=LONGEST_DAYS).contains(&wanted.days) {
        return wrong(format!("days: 1 to {LONGEST_DAYS}, not {}", wanted.days));
    }
    wanted.topics.within(&owner.user.topics).map_err(NotMade::Wrong)?;
    let (id, word) = (random::<8>()?, random::<32>()?);
    let detail = format!("{}, role {}, {} days", wanted.name, wanted.role.name(), wanted.days);
    let token = Token {
        user: owner.name.clone(),
        stamp: owner.user.stamp.clone(),
        name: wanted.name,
        role: wanted.role,
        topics: wanted.topics,
        hash: secret::hash(&word),
        created_ms: now_ms,
        expires_ms: now_ms + wanted.days * DAY_MS,
        last_used_ms: None,
    };
    let key = key_of(&id);
    let checks = vec![Check::unchanged(&owner.item), Check::absent(&key)];
    let put = Write::put(key, serde_json::to_vec(&token).unwrap_or_default());
    let writes = vec![put, author.did("token.add", &id, detail)?];
    Ok(Made { text: format!("lw_{id}_{word}"), id, checks, writes })
}

pub fn read(item: &Item) -> Option<Token> {
    serde_json::from_slice(&item.value).ok()
}

/// The write that tells of its use, if it is time.
pub fn touch(item: &Item, token: &Token, now_ms: i64) -> Option<(Vec<Check>, Vec<Write>)> {
    token.last_used_ms.is_none_or(|last| now_ms >= last + TOUCH_MS).then(|| {
        let used = Token { last_used_ms: Some(now_ms), ..token.clone() };
        let put = Write::put(&item.key, serde_json::to_vec(&used).unwrap_or_default());
        (vec![Check::unchanged(item)], vec![put])
    })
}

#[cfg(test)]
mod tests {
    use super::{super::users::User, *};

    fn owner(role: Role, topics: &[&str]) -> Named {
        let topics = Topics::try_from(topics.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()).unwrap();
        let [password, stamp, browsers] = ["p", "s", "b"].map(str::to_owned);
        let user = User { role, password, disabled: false, topics, created_ms: 0, changed_ms: 0, stamp, browsers };
        let item = Item { key: "/logweir/users/anna".into(), value: Vec::new(), revision: 3 };
        Named { name: "anna".into(), user, item }
    }

    fn wanted(role: Role, topics: &str, days: i64) -> Wanted {
        Wanted { name: "ci".into(), role, topics: vec![topics.to_owned()].try_into().unwrap(), days }
    }

    fn author() -> Author {
        Author { name: "anna".into(), address: "::1".into() }
    }

    fn made(owner: &Named, wanted: Wanted) -> Token {
        let made = make(&author(), owner, wanted, 1_000).unwrap();
        let (id, secret) = parts(&made.text).unwrap();
        assert_eq!(id, made.id);
        let Write::Put { value, .. } = &made.writes[0] else { panic!("a put") };
        assert!(!String::from_utf8_lossy(value).contains(secret), "the secret itself is kept nowhere");
        let token: Token = serde_json::from_slice(value).unwrap();
        assert!(secret::has_hash(secret, &token.hash));
        token
    }

    #[test]
    fn a_token_does_at_most_what_its_owner_does_now() {
        let mut anna = owner(Role::Editor, &["*"]);
        let token = made(&anna, wanted(Role::Editor, "shop-*", 1));
        let topics = |text: &str| Topics::try_from(vec![text.to_owned()]).unwrap();
        assert_eq!(token.allows(&anna, 1_001), Some((Role::Editor, topics("shop-*"))));
        assert_eq!(token.allows(&anna, 1_000 + DAY_MS), None, "expired");
        anna.user.role = Role::Viewer;
        assert_eq!(token.allows(&anna, 1_001), Some((Role::Viewer, topics("shop-*"))));
        anna.user.topics = topics("web");
        assert_eq!(token.allows(&anna, 1_001), None, "nothing is left");
        anna.user.topics = topics("shop-1");
        assert_eq!(token.allows(&anna, 1_001), Some((Role::Viewer, topics("shop-1"))));
        anna.user.topics = topics("*");
        anna.user.stamp = "other".into();
        assert_eq!(token.allows(&anna, 1_001), None, "a new password ends it");
        let disabled = Named { user: User { disabled: true, ..owner(Role::Admin, &["*"]).user }, ..anna };
        assert_eq!(token.allows(&disabled, 1_001), None);
    }

    #[test]
    fn nobody_makes_a_token_for_more_than_they_may_do() {
        let anna = owner(Role::Editor, &["shop-*"]);
        for wrong in [
            wanted(Role::Admin, "shop-*", 1),
            wanted(Role::Viewer, "*", 1),
            wanted(Role::Viewer, "shop-*", 0),
            wanted(Role::Viewer, "shop-*", 367),
            Wanted { name: "a\nb".into(), ..wanted(Role::Viewer, "shop-*", 1) },
        ] {
            assert!(matches!(make(&author(), &anna, wrong.clone(), 0), Err(NotMade::Wrong(_))), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_token_is_not_looked_for() {
        let good = format!("lw_{}_{}", "a".repeat(16), "b".repeat(64));
        assert!(parts(&good).is_some());
        for text in ["", "lw__", "lw_a_b", &good[..80], &good.replace('b', "/"), &good.replace("lw", "lx")] {
            assert_eq!(parts(text), None, "{text}");
        }
    }
}
