//! Logging in and out, who one is, and one's own password.

use super::{
    By, Cookie, Gate, Person,
    audit::Author,
    login::{Asked, LoggedIn},
    users::Change,
};
use crate::{
    console::{ask, error::ApiError},
    store::Write,
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Deserialize;
use serde_json::{Value, json};

type Answer = Result<HttpResponse, ApiError>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    name: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    code: String,
    name: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    old: String,
    new: String,
}

impl Gate {
    fn asked(&self, request: &HttpRequest, name: String, password: String) -> Asked {
        let headers = request.headers();
        let address = self.entrance.address(request.peer_addr(), headers);
        let mark = self.entrance.cookies(headers).read(headers, Cookie::Browser).map(str::to_owned);
        Asked { name, password, address, mark }
    }

    /// The answer to a login, with its cookies.
    fn welcome(&self, request: &HttpRequest, logged_in: LoggedIn) -> HttpResponse {
        let cookies = self.entrance.cookies(request.headers());
        let user = logged_in.user;
        let by = By::Session { key: logged_in.key, csrf: logged_in.session.csrf };
        let (role, topics) = (user.user.role, user.user.topics);
        let person = Person { name: user.name, role, topics, by, address: logged_in.session.address };
        HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .append_header((header::SET_COOKIE, cookies.set(Cookie::Session, &logged_in.word)))
            .append_header((header::SET_COOKIE, cookies.set(Cookie::Browser, &logged_in.mark)))
            .json(told(&person))
    }
}

fn told(person: &Person) -> Value {
    let (by, csrf) = match &person.by {
        By::Local => ("local", None),
        By::Session { csrf, .. } => ("session", Some(csrf)),
        By::Token(_) => ("token", None),
    };
    json!({ "name": person.name, "role": person.role, "topics": person.topics, "by": by, "csrf": csrf })
}

/// `GET /api/v1/me`
pub async fn me(person: Person) -> HttpResponse {
    ask::json(&told(&person))
}

/// `POST /api/v1/login`
pub async fn log_in(request: HttpRequest, body: web::Json<Login>, gate: web::Data<Gate>) -> Answer {
    let Login { name, password } = body.into_inner();
    let asked = gate.asked(&request, name, password);
    // One who logs in again leaves the session before.
    let before = gate.session_of(&request).await;
    let logged_in = gate.login(asked).await?;
    if let Some(Person { by: By::Session { key, .. }, .. }) = before {
        gate.store.commit(Vec::new(), vec![Write::delete(key)]).await?;
        gate.known.forget();
    }
    Ok(gate.welcome(&request, logged_in))
}

/// `POST /api/v1/logout`
pub async fn log_out(request: HttpRequest, person: Person, gate: web::Data<Gate>) -> Answer {
    if let By::Session { key, .. } = &person.by {
        let writes = vec![Write::delete(key), Author::from(&person).did("logout", &person.name, "")?];
        gate.store.commit(Vec::new(), writes).await?;
        gate.known.forget();
    }
    let cookies = gate.entrance.cookies(request.headers());
    Ok(HttpResponse::NoContent()
        .insert_header((header::SET_COOKIE, cookies.clear(Cookie::Session)))
        .insert_header(("Clear-Site-Data", "\"cache\""))
        .finish())
}

/// `POST /api/v1/setup`
pub async fn set_up(request: HttpRequest, body: web::Json<Setup>, gate: web::Data<Gate>) -> Answer {
    let Setup { code, name, password } = body.into_inner();
    let asked = gate.asked(&request, name, password);
    let logged_in = gate.set_up(&code, asked).await?;
    Ok(gate.welcome(&request, logged_in))
}

/// `PUT /api/v1/me/password`: ends all sessions and tokens of this user, and begins a new one.
pub async fn new_password(
    request: HttpRequest,
    person: Person,
    body: web::Json<NewPassword>,
    gate: web::Data<Gate>,
) -> Answer {
    if !matches!(person.by, By::Session { .. }) {
        return Err(ApiError::forbidden("only who is logged in by a password changes it"));
    }
    let NewPassword { old, new } = body.into_inner();
    let asked = gate.asked(&request, person.name.clone(), old);
    let found = gate.users.get(&person.name).await?;
    if !gate.proves(&asked, found.as_ref()).await? {
        return Err(ApiError::forbidden("the old password is wrong"));
    }
    gate.change_user(&Author::from(&person), &person.name, Change::default(), Some(new)).await?;
    // Read again: a session needs the user's present revision.
    let user = gate.users.get(&person.name).await?.ok_or_else(|| ApiError::not_found("the user has gone"))?;
    let logged_in = gate.begin(user, &asked.address).await?;
    Ok(gate.welcome(&request, logged_in))
}

impl Gate {
    /// Whose session's cookie comes along; nothing where that can't be told.
    async fn session_of(&self, request: &HttpRequest) -> Option<Person> {
        let headers = request.headers();
        let address = self.entrance.address(request.peer_addr(), headers);
        let word = self.entrance.cookies(headers).read(headers, Cookie::Session)?;
        self.by_session(word, &address, true).await.ok().flatten()
    }
}
