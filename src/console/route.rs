//! One call of the API, described once. The problem: who may make a call, how it is reached, what its description says
//! and what the tests try must not differ, so all of them read the same line of [`super::routes`]. A handler can't be
//! reached but through such a line.

use super::{
    body,
    error::ApiError,
    gate::{Gate, Role},
};
use actix_web::{
    Error, HttpMessage as _, ResponseError as _,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::Method,
    middleware::{Compress, Next, from_fn},
    web,
};
use std::time::Duration;
use tokio::time::timeout;

/// What all calls stand below.
pub const BASE: &str = "/api/v1";
/// A call that takes longer, its body included, is given up: a body that never ends holds nothing for ever.
const DEADLINE: Duration = Duration::from_secs(60);

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Least {
    /// Everybody who can reach the server.
    Open,
    Viewer,
    Editor,
    Admin,
}

impl Least {
    /// `None`: nobody has to be known.
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Open => None,
            Self::Viewer => Some(Role::Viewer),
            Self::Editor => Some(Role::Editor),
            Self::Admin => Some(Role::Admin),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }

    pub fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Put => Method::PUT,
            Self::Post => Method::POST,
            Self::Delete => Method::DELETE,
        }
    }
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// From, to; both included.
    Whole(i64, i64),
    Boolean,
    Choice(&'static [&'static str]),
    /// By a regular expression.
    Pattern(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Query,
    Path,
    Header,
}

/// A parameter of a call.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub place: Place,
    pub kind: Kind,
    pub required: bool,
    /// What it means.
    pub text: &'static str,
}

impl Parameter {
    pub const fn query(name: &'static str, kind: Kind, text: &'static str) -> Self {
        Self { name, place: Place::Query, kind, required: false, text }
    }

    pub const fn path(name: &'static str, text: &'static str) -> Self {
        Self { name, place: Place::Path, kind: Kind::Text, required: true, text }
    }

    pub const fn header(name: &'static str, text: &'static str) -> Self {
        Self { name, place: Place::Header, kind: Kind::Text, required: false, text }
    }

    pub const fn needed(mut self) -> Self {
        self.required = true;
        self
    }
}

/// What is sent with a call.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// Its name in schemas.json.
    pub schema: &'static str,
    /// Bytes; more are refused with 413.
    pub most: usize,
}

/// What a call answers when all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200 and JSON; its name in schemas.json.
    Json(&'static str),
    /// 201 and JSON.
    Created(&'static str),
    /// 204.
    Nothing,
    /// 200 and text that comes as it is made; its media types.
    Stream(&'static [&'static str]),
}

/// A line of the table.
#[derive(Clone, Copy)]
pub struct Route {
    pub verb: Verb,
    /// Below [`BASE`]; `{name}` stands for one part, `{name:.+}` for all that follow.
    pub path: &'static str,
    pub least: Least,
    pub summary: &'static str,
    pub parameters: &'static [Parameter],
    pub body: Option<Body>,
    pub answer: Answer,
    /// What it answers otherwise, besides what every call may: 400, 401, 403, 503.
    pub refusals: &'static [u16],
    handler: fn() -> actix_web::Route,
}

/// A line; `handler`: `|| web::to(function)`.
pub const fn route(
    verb: Verb,
    path: &'static str,
    least: Least,
    summary: &'static str,
    handler: fn() -> actix_web::Route,
) -> Route {
    Route { verb, path, least, summary, parameters: &[], body: None, answer: Answer::Nothing, refusals: &[], handler }
}

impl Route {
    pub const fn takes(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }

    pub const fn with_body(mut self, schema: &'static str, most: usize) -> Self {
        self.body = Some(Body { schema, most });
        self
    }

    pub const fn answers(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }

    pub const fn refuses(mut self, refusals: &'static [u16]) -> Self {
        self.refusals = refusals;
        self
    }

    /// The path without the expressions of its parameters: as people and descriptions write it.
    pub fn plain_path(&self) -> String {
        self.path.replace(":.+}", "}")
    }

    /// With its method, and behind the gate.
    fn guarded(&self) -> actix_web::Route {
        let (least, has_body) = (self.least, self.body.is_some());
        let route = (self.handler)().method(self.verb.method());
        let may = from_fn(move |request, next| let_in(least, has_body, request, next));
        // Streams are not compressed, for their pieces have to leave at once, and last as long as somebody reads.
        match self.answer {
            Answer::Stream(_) => route.wrap(may),
            _ => route.wrap(Compress::default()).wrap(from_fn(in_time)).wrap(may),
        }
    }
}

/// Registers the table, and that nothing else is there.
pub fn register<'a>(config: &mut web::ServiceConfig, table: impl Iterator<Item = &'a Route>) {
    let mut by_path: Vec<(&str, Vec<&Route>)> = Vec::new();
    for route in table {
        match by_path.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, routes)) => routes.push(route),
            None => by_path.push((route.path, vec![route])),
        }
    }
    for (path, routes) in by_path {
        let most = routes.iter().filter_map(|route| route.body).map(|body| body.most).max().unwrap_or(0);
        let resource = web::resource(format!("{BASE}{path}"))
            .app_data(web::PayloadConfig::new(most))
            .app_data(web::JsonConfig::default().limit(most).content_type_required(false).error_handler(wrong_body))
            .default_service(web::to(async || {
                ApiError::not_allowed("this call doesn't know that method").error_response()
            }));
        let resource = routes.iter().fold(resource, |resource, route| resource.route(route.guarded()));
        config.service(resource);
    }
    let nothing = web::to(async || ApiError::not_found("there is no such call").error_response());
    config.service(web::scope("/api").default_service(nothing));
}

/// A body that is no JSON, or none of the kind that is expected.
fn wrong_body(error: actix_web::error::JsonPayloadError, _: &actix_web::HttpRequest) -> Error {
    use actix_web::error::JsonPayloadError::{Overflow, OverflowKnownLength};
    match error {
        Overflow { .. } | OverflowKnownLength { .. } => ApiError::too_large("the body is too large").into(),
        error => ApiError::bad(format!("the body: {error}")).into(),
    }
}

/// Lets those in who may make this call.
async fn let_in(
    least: Least,
    has_body: bool,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match Gate::admit(&request, least).await {
        Ok(_) if !has_body && body::has_body(request.headers()) => {
            Ok(request.into_response(ApiError::bad("this call takes no body").error_response()))
        }
        Ok(person) => {
            if let Some(person) = person {
                request.extensions_mut().insert(person);
            }
            next.call(request).await
        }
        Err(refusal) => Ok(request.into_response(refusal.error_response())),
    }
}

/// For what isn't in the table: the process' own figures.
pub async fn for_viewers(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let_in(Least::Viewer, false, request, next).await
}

async fn in_time(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let own = request.request().clone();
    match timeout(DEADLINE, next.call(request)).await {
        Ok(answer) => answer,
        Err(_) => {
            let late = ApiError::late(format!("the call took longer than {} s", DEADLINE.as_secs()));
            Ok(ServiceResponse::new(own, late.error_response()))
        }
    }
}
