//! Who may do what. The problem: one page shows logs and changes what a whole fleet collects, so every call has to be
//! somebody's, and what that somebody may do must be decided in one place and before anything else is done.
//!
//! ```text
//! request -> session's cookie | token | (no users, this machine: everybody) -> Person -> may the role make this call?
//! ```
//! Everything that is decided by is in the store, so several consoles decide alike: users, the hashes of sessions and
//! tokens, the audit. A user who is disabled or gets another password has another stamp; what holds the old one is over.

mod audit;
mod calls;
mod cookies;
mod keeper;
mod known;
mod limits;
mod login;
mod password;
mod people;
mod person;
mod secret;
mod sessions;
mod tokens;
mod users;

pub use audit::Author;
pub use calls::{log_in, log_out, me, new_password, set_up};
pub use cookies::{Cookie, Cookies};
pub use keeper::keep;
pub use people::{
    MAX_BODY, add_token, add_user, audit as read_audit, change_user, list_tokens, list_users, remove_token,
};
pub use person::{By, HIDDEN, Person, Role, Topics};
pub use sessions::Ends;
pub use users::{Change, UserError, Users};

use super::{entrance::Entrance, error::ApiError, route::Least};
use crate::store::{Item, Store, StoreError, Write};
use actix_web::{
    dev::ServiceRequest,
    http::{
        Method,
        header::{self, HeaderMap},
    },
    web,
};
use known::Known;
use limits::Limits;
use password::Passwords;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether a person caused the call. A page that lies open asks by itself, and says so; a browser that connects its event
/// stream again can't say so, but its event streams tell themselves apart.
fn is_used(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &[u8]| headers.get(name).is_some_and(|given| given.as_bytes() == value);
    !is("x-logweir-background", b"1") && !is("accept", b"text/event-stream")
}

/// Decides who makes a call. One for all threads.
pub struct Gate {
    store: Arc<dyn Store>,
    users: Users,
    known: Known,
    passwords: Passwords,
    limits: Mutex<Limits>,
    refused: audit::Refused,
    /// The hash of the code by which the first user is made.
    code: Mutex<Option<String>>,
    entrance: Entrance,
}

/// Why other machines don't reach it.
#[derive(Debug, thiserror::Error)]
pub enum NotReached {
    #[error("{0}")]
    Refused(&'static str),
    /// Another try may be better.
    #[error("it isn't known whether there are users: {0}")]
    Unknown(StoreError),
}

impl Gate {
    pub fn new(store: Arc<dyn Store>, entrance: Entrance) -> Self {
        Self {
            users: Users::new(store.clone()),
            known: Known::new(store.clone()),
            store,
            passwords: Passwords::default(),
            limits: Mutex::default(),
            refused: audit::Refused::default(),
            code: Mutex::default(),
            entrance,
        }
    }

    /// Who makes this call; `None` where nobody has to be known.
    ///
    /// # Errors
    /// Nobody is known, or who is may not make it.
    pub async fn admit(request: &ServiceRequest, least: Least) -> Result<Option<Person>, ApiError> {
        let gate = request.app_data::<web::Data<Self>>();
        let gate = gate.ok_or_else(|| ApiError::unavailable("nobody decides who may do this"))?.clone();
        let person = gate.who(request).await;
        let Some(role) = least.role() else { return Ok(person.ok().flatten()) };
        let person = person?.ok_or_else(|| ApiError::unknown("log in first"))?;
        if let By::Session { csrf, .. } = &person.by
            && !matches!(*request.method(), Method::GET | Method::HEAD)
        {
            let given = request.headers().get("x-csrf-token").and_then(|value| value.to_str().ok());
            if !given.is_some_and(|given| secret::same(given, csrf)) {
                return Err(ApiError::forbidden("a change by a session needs its X-CSRF-Token"));
            }
        }
        if !person.may(role) {
            let (has, needs) = (person.role.name(), role.name());
            return Err(ApiError::forbidden(format!(
                "this needs the role {needs}; {} has the role {has}",
                person.name
            )));
        }
        Ok(Some(person))
    }

    /// Whoever proves to be somebody; `None`: nobody tries to.
    async fn who(&self, request: &ServiceRequest) -> Result<Option<Person>, ApiError> {
        let (peer, headers) = (request.peer_addr(), request.headers());
        let address = self.entrance.address(peer, headers);
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let text = value.to_str().unwrap_or_default();
            let token = text.split_once(' ').filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
            let person = match token {
                Some((_, token)) => self.by_token(token.trim(), &address).await?,
                None => None,
            };
            return person.map(Some).ok_or_else(|| ApiError::unknown("the token isn't valid"));
        }
        if let Some(word) = self.entrance.cookies(headers).read(headers, Cookie::Session)
            && let Some(person) = self.by_session(word, &address, is_used(headers)).await?
        {
            return Ok(Some(person));
        }
        Ok(self.is_open().await?.then(|| Person::local(address)))
    }

    async fn user(&self, name: &str) -> Result<Option<users::Named>, StoreError> {
        if users::check_name(name).is_err() {
            return Ok(None);
        }
        self.known.get(&format!("{}{name}", users::PREFIX)).await?.map(users::read).transpose()
    }

    /// `used`: by a person, which keeps the session from ending.
    async fn by_session(&self, word: &str, address: &str, used: bool) -> Result<Option<Person>, StoreError> {
        let Some(key) = sessions::key_of(word) else { return Ok(None) };
        let Some(item) = self.known.get(&key).await? else { return Ok(None) };
        let (Some(session), now) = (sessions::read(&item), crate::telemetry::now_ms() as i64) else {
            return Ok(None);
        };
        let user = self.user(&session.user).await?;
        let valid = |user: &users::Named| !user.user.disabled && secret::same(&user.user.stamp, &session.stamp);
        let Some(user) = user.filter(valid).filter(|_| !session.is_over(self.entrance.ends, now)) else {
            return Ok(None);
        };
        if used {
            self.touch(&item, sessions::touch(&item, &session, self.entrance.ends, now)).await;
        }
        let by = By::Session { key, csrf: session.csrf };
        let (name, role, topics) = (user.name, user.user.role, user.user.topics);
        Ok(Some(Person { name, role, topics, by, address: address.to_owned() }))
    }

    async fn by_token(&self, text: &str, address: &str) -> Result<Option<Person>, StoreError> {
        let Some((id, word)) = tokens::parts(text) else { return Ok(None) };
        let Some(item) = self.known.get(&tokens::key_of(id)).await? else { return Ok(None) };
        let Some(token) = tokens::read(&item).filter(|token| secret::has_hash(word, &token.hash)) else {
            return Ok(None);
        };
        let now = crate::telemetry::now_ms() as i64;
        let owner = self.user(&token.user).await?;
        let Some((role, topics)) = owner.and_then(|owner| token.allows(&owner, now)) else { return Ok(None) };
        self.touch(&item, tokens::touch(&item, &token, now)).await;
        let by = By::Token(id.to_owned());
        Ok(Some(Person { name: token.user, role, topics, by, address: address.to_owned() }))
    }

    /// Writes down that something was used. That it can't be written now keeps nobody out.
    async fn touch(&self, item: &Item, change: Option<(Vec<crate::store::Check>, Vec<Write>)>) {
        let Some((checks, writes)) = change else { return };
        match self.store.commit(checks, writes).await {
            Ok(_) => self.known.forget_one(&item.key),
            Err(error) => slog_scope::debug!("the use of a session or token is not written down";
                "key" => &item.key, "reason" => %error),
        }
    }

    /// Whether somebody who was let in would be let in now, as who they were then: for answers that never end.
    pub async fn still(&self, person: &Person) -> bool {
        let (user, now) = (self.user(&person.name).await, crate::telemetry::now_ms() as i64);
        match &person.by {
            By::Local => self.is_open().await.unwrap_or(false),
            By::Session { key, .. } => {
                let item = self.known.get(key).await.ok().flatten();
                let session = item.and_then(|item| sessions::read(&item));
                let as_then = |user: &users::User| (user.role, &user.topics) == (person.role, &person.topics);
                session.filter(|session| !session.is_over(self.entrance.ends, now)).is_some_and(|session| match &user {
                    Ok(Some(users::Named { user, .. })) => {
                        !user.disabled && user.stamp == session.stamp && as_then(user)
                    }
                    _ => false,
                })
            }
            By::Token(id) => {
                let item = self.known.get(&tokens::key_of(id)).await.ok().flatten();
                let allowed = |token: tokens::Token| token.allows(user.ok().flatten().as_ref()?, now);
                let allows = item.and_then(|item| tokens::read(&item)).and_then(allowed);
                allows.is_some_and(|(role, topics)| (role, &topics) == (person.role, &person.topics))
            }
        }
    }

    /// Whether everybody who reaches this machine's loopback may do everything: there are no users, and none are needed.
    ///
    /// # Errors
    /// The store doesn't answer.
    pub async fn is_open(&self) -> Result<bool, StoreError> {
        let own_machine = self.entrance.address.ip().is_loopback() && !self.entrance.behind_proxy;
        Ok(self.entrance.open_without_users && own_machine && !self.has_users().await?)
    }

    /// # Errors
    /// The store doesn't answer.
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        // Once there was a user the key stays, also if somebody deletes users by hand.
        match self.known.get(users::FIRST).await? {
            Some(_) => Ok(true),
            None => self.users.any().await,
        }
    }

    /// Whether other machines may reach it: they meet people who log in, and nobody listens on the way.
    ///
    /// # Errors
    /// Why not.
    pub async fn may_be_reached(&self) -> Result<(), NotReached> {
        if self.entrance.tls.is_none() && !self.entrance.behind_proxy {
            return Err(NotReached::Refused(
                "passwords would cross the network in the open: give it a certificate, or say that a proxy is in front \
                 of it",
            ));
        }
        match self.users.any().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotReached::Refused(
                "there are no users yet: make the first one on 127.0.0.1, or by `logweir console user add`",
            )),
            Err(error) => Err(NotReached::Unknown(error)),
        }
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new code by which the first user may be made; the one before is worth nothing.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new_code(&self) -> Result<String, secret::NoRandom> {
        let code = secret::random::<16>()?;
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret::hash(&code));
        Ok(code)
    }

    fn is_code(&self, code: &str) -> bool {
        let code = code.trim().to_ascii_lowercase();
        let expected = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        expected.as_ref().is_some_and(|expected| secret::has_hash(&code, expected))
    }

    fn forget_code(&self) {
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
