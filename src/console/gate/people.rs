//! Users, tokens and the audit, as admins see and change them; and everybody's own tokens.

use super::{
    By, Gate, Person, Role, Topics, audit as records,
    audit::Author,
    tokens::{self, NotMade, Token},
    users::{Change, Named},
};
use crate::{
    console::{ask, error::ApiError},
    store::{Check, Committed, Write},
};
use actix_web::{HttpResponse, http::header, web};
use serde::Deserialize;
use serde_json::{Value, json};

/// Largest body of these calls.
pub const MAX_BODY: usize = 16 << 10;
/// Records of one answer.
const MAX_RECORDS: usize = 1_000;

type Answer = Result<HttpResponse, ApiError>;

/// Tokens look and do; who may look and do is decided by people.
fn no_token(person: &Person) -> Result<(), ApiError> {
    match person.by {
        By::Token(_) => Err(ApiError::forbidden("users and tokens are not changed by a token; log in")),
        _ => Ok(()),
    }
}

fn shown(found: &Named) -> Value {
    let user = &found.user;
    json!({
        "name": found.name, "role": user.role, "topics": user.topics, "disabled": user.disabled,
        "created_ms": user.created_ms, "changed_ms": user.changed_ms,
    })
}

/// `GET /api/v1/users`
pub async fn list_users(gate: web::Data<Gate>) -> Answer {
    let users = gate.users.list().await?;
    Ok(ask::json(&Value::Array(users.iter().map(shown).collect())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    name: String,
    role: Role,
    #[serde(default)]
    topics: Topics,
    password: String,
}

/// `POST /api/v1/users`
pub async fn add_user(person: Person, body: web::Json<NewUser>, gate: web::Data<Gate>) -> Answer {
    no_token(&person)?;
    let NewUser { name, role, topics, password } = body.into_inner();
    // With the first user, who is only local is nobody any more: that one has to be the first.
    let only_first = person.by == By::Local;
    gate.add_user(&Author::from(&person), &name, &password, (role, topics), only_first).await?;
    let added = gate.users.get(&name).await?.ok_or_else(|| ApiError::conflict("the user has gone again"))?;
    Ok(HttpResponse::Created().insert_header((header::CACHE_CONTROL, "no-store")).json(shown(&added)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangedUser {
    role: Option<Role>,
    topics: Option<Topics>,
    disabled: Option<bool>,
    password: Option<String>,
}

/// `PUT /api/v1/users/{name}`
pub async fn change_user(
    person: Person,
    name: web::Path<String>,
    body: web::Json<ChangedUser>,
    gate: web::Data<Gate>,
) -> Answer {
    no_token(&person)?;
    let ChangedUser { role, topics, disabled, password } = body.into_inner();
    let change = Change { role, topics, disabled, password: None };
    let changed = gate.change_user(&Author::from(&person), &name, change, password).await?;
    Ok(ask::json(&shown(&changed)))
}

fn shown_token(id: &str, token: &Token) -> Value {
    json!({
        "id": id, "user": token.user, "name": token.name, "role": token.role, "topics": token.topics,
        "created_ms": token.created_ms, "expires_ms": token.expires_ms, "last_used_ms": token.last_used_ms,
    })
}

/// `GET /api/v1/tokens`: one's own, and for an admin all.
pub async fn list_tokens(person: Person, gate: web::Data<Gate>) -> Answer {
    let items = gate.store.list(tokens::PREFIX, None, tokens::MOST).await?;
    let mut shown = Vec::new();
    for item in &items {
        let Some(token) = tokens::read(item) else { continue };
        if person.may(Role::Admin) || token.user == person.name {
            shown.push(shown_token(item.key.trim_start_matches(tokens::PREFIX), &token));
        }
    }
    Ok(ask::json(&Value::Array(shown)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    name: String,
    role: Role,
    #[serde(default)]
    topics: Option<Topics>,
    days: i64,
}

/// `POST /api/v1/tokens`
pub async fn add_token(person: Person, body: web::Json<NewToken>, gate: web::Data<Gate>) -> Answer {
    no_token(&person)?;
    let no_user = || ApiError::conflict("a token belongs to a user, and there are none yet");
    let owner = gate.users.get(&person.name).await?.ok_or_else(no_user)?;
    let NewToken { name, role, topics, days } = body.into_inner();
    let topics = topics.unwrap_or_else(|| owner.user.topics.clone());
    let all = gate.store.list(tokens::PREFIX, None, tokens::MOST).await?;
    let own = all.iter().filter_map(tokens::read).filter(|token| token.user == person.name).count();
    if own >= tokens::OF_ONE || all.len() >= tokens::MOST {
        return Err(ApiError::conflict(format!("{own} tokens are there already; end some that are no longer used")));
    }
    let now = ask::now_ms();
    let made = tokens::make(&Author::from(&person), &owner, tokens::Wanted { name, role, topics, days }, now);
    let made = made.map_err(|error| match error {
        NotMade::Wrong(reason) => ApiError::bad(reason),
        NotMade::NoRandom(error) => error.into(),
    })?;
    match gate.store.commit(made.checks, made.writes).await? {
        Committed::Done(_) => Ok(HttpResponse::Created()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(json!({ "id": made.id, "token": made.text }))),
        Committed::Conflict(_) => Err(ApiError::conflict("the user was changed at this moment; try again")),
    }
}

/// `DELETE /api/v1/tokens/{id}`: one's own, and for an admin any.
pub async fn remove_token(person: Person, id: web::Path<String>, gate: web::Data<Gate>) -> Answer {
    no_token(&person)?;
    let missing = || ApiError::not_found("there is no such token");
    let item = gate.store.get(&tokens::key_of(&id)).await?.ok_or_else(missing)?;
    let token = tokens::read(&item);
    // Another's is as good as none for who may not see it.
    if !person.may(Role::Admin) && token.as_ref().is_none_or(|token| token.user != person.name) {
        return Err(missing());
    }
    let detail = token.map(|token| format!("{} of {}", token.name, token.user)).unwrap_or_default();
    let writes = vec![Write::delete(&item.key), Author::from(&person).did("token.remove", &id, detail)?];
    // Its use may be written down at this moment; it goes all the same, but one that has gone isn't told twice.
    let mut done = gate.store.commit(vec![Check::unchanged(&item)], writes.clone()).await?;
    if let Committed::Conflict(now) = &done {
        let again = now.first().ok_or_else(missing)?;
        done = gate.store.commit(vec![Check::unchanged(again)], writes).await?;
    }
    gate.known.forget();
    match done {
        Committed::Done(_) => Ok(HttpResponse::NoContent().finish()),
        Committed::Conflict(_) => Err(ApiError::conflict("the token is used at this moment; try again")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedAudit {
    #[serde(default)]
    author: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    text: String,
    before: Option<String>,
    size: Option<usize>,
}

/// `GET /api/v1/audit`: newest first.
pub async fn audit(asked: web::Query<AskedAudit>, gate: web::Data<Gate>) -> Answer {
    let AskedAudit { author, action, text, before, size } = asked.into_inner();
    let size = size.unwrap_or(100);
    if !(1..=MAX_RECORDS).contains(&size) {
        return Err(ApiError::bad(format!("size: 1 to {MAX_RECORDS}, not {size}")));
    }
    if before.as_ref().is_some_and(|before| !before.starts_with(records::PREFIX)) {
        return Err(ApiError::bad("before: no key of the audit"));
    }
    let wanted = records::Wanted { author, action, text, before, size };
    let (found, before) = records::read(&*gate.store, &wanted).await?;
    let found: Vec<&records::Record> = found.iter().map(|(_, record)| record).collect();
    Ok(ask::json(&json!({ "records": found, "before": before })))
}
