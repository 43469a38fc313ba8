//! The people who may log in. The problem: they are changed from several consoles and from the command line, each change
//! belongs into the audit, and at no moment may there be nobody left who can make changes. So every change is one commit
//! that checks what it has seen: the user, and, where an admin goes, another one who stays.

use super::{
    audit::Author,
    person::{Role, Topics},
    secret::{NoRandom, random},
};
use crate::store::{Check, Committed, Item, Store, StoreError, Write};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub const PREFIX: &str = "/logweir/users/";
/// Changes with the first user, so that there are never two first ones.
pub const FIRST: &str = "/logweir/first-user";
/// Characters of a name.
const LONGEST: usize = 64;
/// Users there may be.
const MOST: usize = 10_000;
/// How often a change is tried again that somebody else was faster than.
const TRIES: usize = 5;

/// One of them, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub role: Role,
    /// Its hash, a PHC string of argon2id.
    pub password: String,
    #[serde(default)]
    pub disabled: bool,
    #[serde(default)]
    pub topics: Topics,
    pub created_ms: i64,
    pub changed_ms: i64,
    /// Sessions and tokens hold it, too; with another one they are over.
    pub stamp: String,
    /// Signs the marks of browsers that have logged in.
    pub browsers: String,
}

/// Why a user was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("{0}")]
    Wrong(String),
    #[error("there is no user {0:?}")]
    Missing(String),
    #[error("{0}")]
    Conflict(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

/// A user with name and revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub user: User,
    pub item: Item,
}

impl Named {
    fn is_admin(&self) -> bool {
        self.user.role == Role::Admin && !self.user.disabled
    }
}

/// What is changed of a user; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub role: Option<Role>,
    pub topics: Option<Topics>,
    pub disabled: Option<bool>,
    /// The hash of a new password.
    pub password: Option<String>,
}

impl Change {
    fn apply(&self, user: &mut User) -> Result<(), NoRandom> {
        if let Some(role) = self.role {
            user.role = role;
        }
        if let Some(topics) = &self.topics {
            user.topics = topics.clone();
        }
        if let Some(password) = &self.password {
            user.password.clone_from(password);
            user.browsers = random::<32>()?;
        }
        if let Some(disabled) = self.disabled {
            user.disabled = disabled;
        }
        if self.password.is_some() || self.disabled == Some(true) {
            user.stamp = random::<16>()?;
        }
        user.changed_ms = crate::telemetry::now_ms() as i64;
        Ok(())
    }

    /// What is done, for the audit: action and detail.
    fn told(&self) -> (&'static str, String) {
        let mut parts = Vec::new();
        if let Some(role) = self.role {
            parts.push(format!("role {}", role.name()));
        }
        if let Some(topics) = &self.topics {
            parts.push(format!("topics {}", Vec::from(topics.clone()).join(" ")));
        }
        if self.password.is_some() {
            parts.push("new password".into());
        }
        let action = match self.disabled {
            Some(true) => "user.disable",
            Some(false) => "user.enable",
            None if parts == ["new password"] => "user.password",
            None => "user.change",
        };
        (action, parts.join(", "))
    }
}

/// # Errors
/// What is wrong with it, for people.
pub fn check_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(legal) {
        return Err(format!("a name has 1 to {LONGEST} characters: a-z A-Z 0-9 . _ - @"));
    }
    if ["local", "nobody", ".", ".."].contains(&name) {
        return Err(format!("{name:?} can't be a name"));
    }
    Ok(())
}

/// All of them.
#[derive(Clone)]
pub struct Users {
    store: Arc<dyn Store>,
}

impl Users {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// # Errors
    /// What is wrong with a password, for people.
    pub fn check_password(name: &str, password: &str) -> Result<(), String> {
        super::password::check(name, password)
    }

    /// A password as the store keeps it. Takes time: not for a thread that others wait for.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn hash(password: &str) -> Result<String, String> {
        super::password::hash(password)
    }

    /// # Errors
    /// The store doesn't answer, or what it holds is no user.
    pub async fn get(&self, name: &str) -> Result<Option<Named>, StoreError> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        self.store.get(&format!("{PREFIX}{name}")).await?.map(read).transpose()
    }

    /// All of them. A key that holds no user is left out and told in the log: it lets nobody in, and keeps nobody from
    /// changing the others.
    ///
    /// # Errors
    /// The store doesn't answer.
    pub async fn list(&self) -> Result<Vec<Named>, StoreError> {
        let items = self.store.list(PREFIX, None, MOST).await?;
        let told = |item| read(item).inspect_err(|e| slog_scope::warn!("a user is left out"; "reason" => %e)).ok();
        Ok(items.into_iter().filter_map(told).collect())
    }

    /// # Errors
    /// The store doesn't answer.
    pub async fn any(&self) -> Result<bool, StoreError> {
        Ok(!self.store.list(PREFIX, None, 1).await?.is_empty())
    }

    /// A new user; the first one has to be an admin, for only admins can add others. `only_first`: nobody else may be
    /// there.
    ///
    /// # Errors
    /// See [`UserError`].
    pub async fn add(
        &self,
        author: &Author,
        name: &str,
        (role, topics, password): (Role, Topics, String),
        only_first: bool,
    ) -> Result<(), UserError> {
        check_name(name).map_err(UserError::Wrong)?;
        let key = format!("{PREFIX}{name}");
        let first = self.store.get(FIRST).await?.map_or(0, |item| item.revision);
        let mut checks = vec![Check::absent(&key)];
        let mut writes = vec![author.did("user.add", name, format!("role {}", role.name()))?];
        match self.any().await? {
            true if only_first => return Err(UserError::Conflict("there are users already; log in".into())),
            true => {}
            false if role != Role::Admin || !topics.all() => {
                return Err(UserError::Wrong("the first user has to be an admin who sees all topics".into()));
            }
            false => {
                checks.push(Check::revision(FIRST, first));
                writes.push(Write::put(FIRST, name));
            }
        }
        let now = crate::telemetry::now_ms() as i64;
        let (stamp, browsers) = (random::<16>()?, random::<32>()?);
        let user = User { role, password, disabled: false, topics, created_ms: now, changed_ms: now, stamp, browsers };
        writes.push(Write::put(key, text(&user)?));
        match self.store.commit(checks, writes).await? {
            Committed::Done(_) => Ok(()),
            Committed::Conflict(_) => Err(UserError::Conflict(format!("the user {name:?} is there already"))),
        }
    }

    /// Changes a user, and is tried again where somebody else was faster.
    ///
    /// # Errors
    /// See [`UserError`].
    pub async fn change(&self, author: &Author, name: &str, change: &Change) -> Result<Named, UserError> {
        for _ in 0..TRIES {
            let mut found = self.get(name).await?.ok_or_else(|| UserError::Missing(name.into()))?;
            let mut checks = vec![Check::unchanged(&found.item)];
            let was_admin = found.is_admin();
            change.apply(&mut found.user)?;
            if was_admin && !found.is_admin() {
                let all = self.list().await?;
                let other = all.iter().find(|other| other.name != name && other.is_admin());
                let other = other.ok_or_else(|| UserError::Conflict("the last admin has to stay".into()))?;
                checks.push(Check::unchanged(&other.item));
            }
            let (action, detail) = change.told();
            let writes = vec![author.did(action, name, detail)?, Write::put(&found.item.key, text(&found.user)?)];
            if let Committed::Done(_) = self.store.commit(checks, writes).await? {
                return Ok(found);
            }
        }
        Err(UserError::Conflict("others change the users at this moment; try again".into()))
    }
}

pub fn read(item: Item) -> Result<Named, StoreError> {
    let user = serde_json::from_slice(&item.value)
        .map_err(|e| StoreError::Unavailable(format!("{} holds no user: {e}", item.key)))?;
    Ok(Named { name: item.key.trim_start_matches(PREFIX).to_owned(), user, item })
}

fn text(user: &User) -> Result<Vec<u8>, UserError> {
    serde_json::to_vec(user).map_err(|e| UserError::Wrong(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{super::audit, *};
    use crate::store::FileStore;

    fn author() -> Author {
        Author { name: "local".into(), address: "127.0.0.1".into() }
    }

    async fn users(dir: &tempfile::TempDir) -> Users {
        let users = Users::new(Arc::new(FileStore::new(dir.path().join("console.json"))));
        users.add(&author(), "anna", (Role::Admin, Topics::default(), "hash".into()), false).await.unwrap();
        users
    }

    #[actix_rt::test]
    async fn the_first_user_is_an_admin_and_there_is_only_one_first() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::new(Arc::new(FileStore::new(dir.path().join("console.json"))));
        let viewer = (Role::Viewer, Topics::default(), "hash".to_owned());
        assert!(matches!(users.add(&author(), "v", viewer, false).await, Err(UserError::Wrong(_))));
        let both = tokio::join!(add_first(&users, "anna"), add_first(&users, "bert"));
        assert_eq!([both.0.is_ok(), both.1.is_ok()].iter().filter(|ok| **ok).count(), 1, "{both:?}");
        assert_eq!(users.list().await.unwrap().len(), 1);
    }

    async fn add_first(users: &Users, name: &str) -> Result<(), UserError> {
        users.add(&author(), name, (Role::Admin, Topics::default(), "hash".into()), true).await
    }

    async fn disable_one(users: &Users, name: &str) -> Result<Named, UserError> {
        users.change(&author(), name, &Change { disabled: Some(true), ..Change::default() }).await
    }

    #[actix_rt::test]
    async fn the_last_admin_stays() {
        let dir = tempfile::tempdir().unwrap();
        let users = users(&dir).await;
        let disable = Change { disabled: Some(true), ..Change::default() };
        let demote = Change { role: Some(Role::Viewer), ..Change::default() };
        for change in [&disable, &demote] {
            assert!(matches!(users.change(&author(), "anna", change).await, Err(UserError::Conflict(_))));
        }
        users.add(&author(), "bert", (Role::Admin, Topics::default(), "hash".into()), false).await.unwrap();
        let both = tokio::join!(disable_one(&users, "anna"), disable_one(&users, "bert"));
        assert_eq!([both.0.is_ok(), both.1.is_ok()].iter().filter(|ok| **ok).count(), 1, "{both:?}");
    }

    #[actix_rt::test]
    async fn a_change_has_its_record_and_ends_what_the_old_password_opened() {
        let dir = tempfile::tempdir().unwrap();
        let users = users(&dir).await;
        let before = users.get("anna").await.unwrap().unwrap().user;
        let password = Change { password: Some("other".into()), ..Change::default() };
        let after = users.change(&author(), "anna", &password).await.unwrap().user;
        assert!(after.stamp != before.stamp && after.browsers != before.browsers);
        let topics = Change { topics: Some(vec!["a".to_owned()].try_into().unwrap()), ..Change::default() };
        assert_eq!(users.change(&author(), "anna", &topics).await.unwrap().user.stamp, after.stamp);
        let wanted = audit::Wanted { size: 10, ..audit::Wanted::default() };
        let (records, _) = audit::read(&*users.store, &wanted).await.unwrap();
        let mut actions: Vec<_> = records.iter().map(|(_, r)| r.action.as_str()).collect();
        actions.sort_unstable();
        assert_eq!(actions, ["user.add", "user.change", "user.password"]);
        assert!(!format!("{records:?}").contains("hash"));
    }

    #[actix_rt::test]
    async fn names_with_markup_or_paths_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let users = users(&dir).await;
        for name in ["<script>alert(1)</script>", "", "a/b", "..", "a b", "é", "local", &"x".repeat(65)] {
            let added = users.add(&author(), name, (Role::Viewer, Topics::default(), "hash".into()), false).await;
            assert!(matches!(added, Err(UserError::Wrong(_))), "{name}");
            assert_eq!(users.get(name).await, Ok(None));
        }
        assert_eq!(
            users.add(&author(), "anna", (Role::Viewer, Topics::default(), "hash".into()), false).await,
            Err(UserError::Conflict("the user \"anna\" is there already".into()))
        );
    }
}
