//! From a name and a password to a session. The problem: whoever guesses learns nothing but "no", neither from the
//! answer nor from its time; the try is counted before the password is looked at, so that many at once gain nothing; and
//! who has logged in with this browser before comes in while strangers try by the thousand.

use super::{
    Gate, audit,
    limits::Try,
    password,
    person::{Role, Topics},
    secret::{self, NoRandom, random},
    sessions::{self, Session},
    users::{Change, Named, User, UserError},
};
use crate::{
    console::error::ApiError,
    store::{Committed, Write},
};
use std::time::{Duration, Instant};

/// Who logs in, from where.
#[derive(Clone, Debug)]
pub struct Asked {
    pub name: String,
    pub password: String,
    pub address: String,
    /// The browser's mark, as it came.
    pub mark: Option<String>,
}

/// Somebody who is in now.
pub struct LoggedIn {
    pub user: Named,
    /// For the session's cookie.
    pub word: String,
    pub key: String,
    pub session: Session,
    /// For the browser's cookie.
    pub mark: String,
}

/// The first part of a browser's mark, if the mark was made for this user.
fn known_browser<'a>(name: &str, user: &User, mark: &'a str) -> Option<&'a str> {
    let (word, signature) = mark.split_once('.')?;
    let good = word.len() == 32 && secret::same(&secret::signed(&user.browsers, &format!("{name}.{word}")), signature);
    good.then_some(word)
}

fn new_mark(name: &str, user: &User) -> Result<String, NoRandom> {
    let word = random::<16>()?;
    let signature = secret::signed(&user.browsers, &format!("{name}.{word}"));
    Ok(format!("{word}.{signature}"))
}

fn too_often(wait: Duration) -> ApiError {
    let seconds = wait.as_secs() + 1;
    ApiError::too_often(format!("too many tries; try again in {seconds} s"), seconds)
}

fn too_many_logins(wait: Duration) -> ApiError {
    let seconds = wait.as_secs() + 1;
    let text =
        format!("too many logins of this user; go on with one of its sessions or make a token, or wait {seconds} s");
    ApiError::too_often(text, seconds)
}

impl From<NoRandom> for ApiError {
    fn from(error: NoRandom) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl From<UserError> for ApiError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Wrong(reason) => Self::bad(reason),
            UserError::Missing(_) => Self::not_found(error.to_string()),
            UserError::Conflict(reason) => Self::conflict(reason),
            UserError::Store(error) => error.into(),
            UserError::NoRandom(error) => error.into(),
        }
    }
}

impl Gate {
    /// # Errors
    /// It is refused (401, the same for whatever reason), too often (429), or can't be decided now (503).
    pub async fn login(&self, asked: Asked) -> Result<LoggedIn, ApiError> {
        if asked.password.len() > password::LONGEST {
            return Err(ApiError::bad("the password is too long"));
        }
        let found = self.users.get(&asked.name).await?;
        if !self.proves(&asked, found.as_ref()).await? {
            self.note_refused(found.as_ref().map(|user| user.name.as_str()), &asked.address).await;
            return Err(ApiError::unknown("the name or the password is wrong"));
        }
        let user = found.ok_or_else(|| ApiError::unknown("the name or the password is wrong"))?;
        self.begin(user, &asked.address).await
    }

    /// Whether the password is this user's; counted against guessing.
    pub async fn proves(&self, asked: &Asked, found: Option<&Named>) -> Result<bool, ApiError> {
        let mark = asked.mark.as_deref();
        let browser = found.and_then(|found| known_browser(&found.name, &found.user, mark?));
        let who = Try::new(&asked.address, &asked.name, browser);
        self.limits().take(&who, Instant::now()).map_err(too_often)?;
        let hash = found.map(|found| found.user.password.clone());
        let verified = self.passwords.verify(asked.password.clone(), hash, browser.is_some()).await?;
        let good = verified && found.is_some_and(|found| !found.user.disabled);
        if good {
            self.limits().was_good(&who, Instant::now()).map_err(too_many_logins)?;
        }
        Ok(good)
    }

    /// A session for a user who has proved it. Where there are many of this user, those end that were left alone longest.
    pub async fn begin(&self, user: Named, address: &str) -> Result<LoggedIn, ApiError> {
        let (word, key, session) = sessions::begin(&user, address)?;
        let too_many = sessions::too_many(&*self.store, &user.name).await?;
        let (checks, mut writes) = sessions::login(&user, &key, &session, too_many.len())?;
        writes.extend(too_many.iter().map(Write::delete));
        match self.store.commit(checks, writes).await? {
            Committed::Done(_) => {
                too_many.iter().for_each(|key| self.known.forget_one(key));
                let mark = new_mark(&user.name, &user.user)?;
                Ok(LoggedIn { user, word, key, session, mark })
            }
            Committed::Conflict(_) => Err(ApiError::conflict("the user was changed at this moment; try again")),
        }
    }

    async fn note_refused(&self, name: Option<&str>, address: &str) {
        let record = self.refused.add(name, address, crate::telemetry::now_ms() as i64);
        if let Some(record) = record
            && let Err(error) = audit::tell(&*self.store, &record).await
        {
            slog_scope::warn!("a refused login is not in the audit"; "address" => address, "reason" => %error);
        }
    }

    /// The first user of all, by whoever has the one-time code.
    ///
    /// # Errors
    /// There are users already, or the code is wrong.
    pub async fn set_up(&self, code: &str, asked: Asked) -> Result<LoggedIn, ApiError> {
        let who = Try::new(&asked.address, "", None);
        self.limits().take(&who, Instant::now()).map_err(too_often)?;
        if self.users.any().await? {
            return Err(ApiError::conflict("there are users already; log in"));
        }
        if !self.is_code(code) {
            self.note_refused(None, &asked.address).await;
            return Err(ApiError::unknown("the code is wrong; it stands in the log of this console"));
        }
        let author = audit::Author { name: asked.name.clone(), address: asked.address.clone() };
        self.add_user(&author, &asked.name, &asked.password, (Role::Admin, Topics::default()), true).await?;
        self.forget_code();
        let user = self.users.get(&asked.name).await?;
        self.begin(user.ok_or_else(|| ApiError::conflict("the user has gone again"))?, &asked.address).await
    }

    /// # Errors
    /// See [`UserError`]; or the password is too weak.
    pub async fn add_user(
        &self,
        author: &audit::Author,
        name: &str,
        password: &str,
        (role, topics): (Role, Topics),
        only_first: bool,
    ) -> Result<(), ApiError> {
        super::users::check_name(name).map_err(ApiError::bad)?;
        password::check(name, password).map_err(ApiError::bad)?;
        let hash = self.passwords.hash(password.to_owned()).await?;
        let added = self.users.add(author, name, (role, topics, hash), only_first).await;
        self.known.forget();
        Ok(added?)
    }

    /// # Errors
    /// See [`UserError`]; or the password is too weak.
    pub async fn change_user(
        &self,
        author: &audit::Author,
        name: &str,
        mut change: Change,
        password: Option<String>,
    ) -> Result<Named, ApiError> {
        if let Some(password) = password {
            password::check(name, &password).map_err(ApiError::bad)?;
            change.password = Some(self.passwords.hash(password).await?);
        }
        let changed = self.users.change(author, name, &change).await;
        self.known.forget();
        Ok(changed?)
    }
}
