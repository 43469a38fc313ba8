//! The page as it leaves the server: everything that stands still, in the reader's language and colours, with the
//! addresses of the scripts that bring the rest. The problem: it should be there at once and not flicker, so language
//! and colours are known before the first byte.

use super::{
    ask,
    assets::{Assets, gzip, takes_gzip},
    gate::{By, Gate, Person, Role},
    route::Least,
    texts::{LANGUAGES, Texts, Words, choose},
};
use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{StatusCode, header},
    middleware::{Next, from_fn},
    web,
};
use askama::Template;

/// A page; a new one is a line here.
struct PageRoute {
    path: &'static str,
    least: Least,
    handler: fn() -> actix_web::Route,
}

static PAGES: &[PageRoute] = &[
    PageRoute { path: "/", least: Least::Viewer, handler: || web::get().to(search) },
    PageRoute { path: "/collect", least: Least::Viewer, handler: || web::get().to(collect) },
    PageRoute { path: "/agents", least: Least::Viewer, handler: || web::get().to(agents) },
    PageRoute { path: "/pipeline", least: Least::Viewer, handler: || web::get().to(pipeline) },
    PageRoute { path: "/people", least: Least::Viewer, handler: || web::get().to(people) },
    PageRoute { path: "/login", least: Least::Open, handler: || web::get().to(login) },
    PageRoute { path: "/setup", least: Least::Open, handler: || web::get().to(setup) },
];

pub fn register(config: &mut web::ServiceConfig) {
    for page in PAGES {
        let least = page.least;
        config.route(page.path, (page.handler)().wrap(from_fn(move |request, next| let_in(least, request, next))));
    }
}

/// Who isn't known is sent to the page where people log in, and comes back from there.
async fn let_in(least: Least, request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    match Gate::admit(&request, least).await {
        Ok(person) => {
            if let Some(person) = person {
                request.extensions_mut().insert(person);
            }
            next.call(request).await
        }
        Err(refusal) if refusal.status_code() == StatusCode::UNAUTHORIZED => {
            let mut to = url::form_urlencoded::Serializer::new(String::from("/login?"));
            to.append_pair("to", request.uri().path_and_query().map_or("/", |whole| whole.as_str()));
            Ok(request.into_response(elsewhere(&to.finish())))
        }
        Err(refusal) => Ok(request.into_response(refusal.error_response())),
    }
}

/// What all pages share.
struct Shell<'a> {
    language: &'static str,
    /// `light`, `dark`, or empty: as the system has it.
    theme: &'static str,
    words: &'a Words,
    base: String,
    scripts: Vec<&'a str>,
    now_ms: i64,
    version: &'static str,
    /// Who looks at it.
    person: Option<Person>,
}

impl Shell<'_> {
    /// Whether who looks has the role, so that nobody is shown ways that are closed.
    fn may(&self, role: Role) -> bool {
        self.person.as_ref().is_some_and(|person| person.may(role))
    }

    /// Whether who looks may have keys of entries as a whole.
    fn sees_entries(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.entries().all())
    }

    /// Who looks, if it is somebody who has logged in.
    fn known(&self) -> Option<&Person> {
        self.person.as_ref().filter(|person| person.by != By::Local)
    }

    fn role(&self, role: &Role) -> &str {
        self.words.by_parts("role", role.name())
    }

    /// What changes have to bring along.
    fn csrf(&self) -> &str {
        match self.person.as_ref().map(|person| &person.by) {
            Some(By::Session { csrf, .. }) => csrf,
            _ => "",
        }
    }

    fn t<'b>(&'b self, key: &'b str) -> &'b str {
        self.words.get(key)
    }

    fn languages(&self) -> [(&'static str, &'static str); 3] {
        LANGUAGES
    }
}

/// A template of a page's own, with what all pages share.
macro_rules! template {
    ($name:ident, $file:literal) => {
        #[derive(Template)]
        #[template(path = $file)]
        struct $name<'a> {
            s: Shell<'a>,
        }
    };
}

template!(LoginPage, "login.html");
template!(SetupPage, "setup.html");

/// A page that stands in its template, and the script that fills it.
macro_rules! page {
    ($handler:ident, $name:ident, $file:literal, $script:literal) => {
        template!($name, $file);

        async fn $handler(request: HttpRequest, assets: web::Data<Assets>, texts: web::Data<Texts>) -> HttpResponse {
            page(&request, &assets, &texts, $script, |s| $name { s }.render())
        }
    };
}

page!(search, SearchPage, "search.html", "search.js");
page!(collect, CollectPage, "collect.html", "collect.js");
page!(agents, AgentsPage, "agents.html", "agents.js");
page!(pipeline, PipelinePage, "pipeline.html", "pipeline.js");
page!(people, PeoplePage, "people.html", "people.js");

async fn login(
    request: HttpRequest,
    assets: web::Data<Assets>,
    texts: web::Data<Texts>,
    gate: web::Data<Gate>,
) -> HttpResponse {
    match (gate.is_open().await, gate.has_users().await) {
        (Ok(true), _) => elsewhere("/"),
        (_, Ok(false)) => elsewhere("/setup"),
        // Where the store is away the page says so when it is used.
        _ => page(&request, &assets, &texts, "login.js", |s| LoginPage { s }.render()),
    }
}

async fn setup(
    request: HttpRequest,
    assets: web::Data<Assets>,
    texts: web::Data<Texts>,
    gate: web::Data<Gate>,
) -> HttpResponse {
    match (gate.is_open().await, gate.has_users().await) {
        (Ok(true), _) => elsewhere("/people"),
        (_, Ok(true)) => elsewhere("/login"),
        _ => page(&request, &assets, &texts, "login.js", |s| SetupPage { s }.render()),
    }
}

fn elsewhere(path: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, path))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

fn page<'a>(
    request: &HttpRequest,
    assets: &'a Assets,
    texts: &'a Texts,
    script: &str,
    render: impl FnOnce(Shell<'a>) -> askama::Result<String>,
) -> HttpResponse {
    let header = |name: header::HeaderName| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let cookie = |name: &str| {
        let pairs = header(header::COOKIE).split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    };
    let language = choose(cookie("logweir_language"), header(header::ACCEPT_LANGUAGE));
    let theme = match cookie("logweir_theme") {
        Some("light") => "light",
        Some("dark") => "dark",
        _ => "",
    };
    let Some(words) = texts.of(language) else { return HttpResponse::InternalServerError().finish() };
    let (base, scripts) = (assets.base(), assets.scripts(script));
    let version = env!("CARGO_PKG_VERSION");
    let person = request.extensions().get::<Person>().cloned();
    // Who is logged in, and what their changes bring along, is in no cache.
    let kept = if person.as_ref().is_some_and(|person| person.by != By::Local) { "no-store" } else { "no-cache" };
    let shell = Shell { language, theme, words, base, scripts, now_ms: ask::now_ms(), version, person };
    let text = match render(shell) {
        Ok(text) => text,
        Err(e) => return HttpResponse::InternalServerError().body(e.to_string()),
    };
    let mut answer = HttpResponse::Ok();
    answer
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, kept))
        .insert_header((header::VARY, "accept-language, cookie, accept-encoding"));
    match gzip(text.as_bytes()) {
        Ok(gzip) if takes_gzip(request) => answer.insert_header((header::CONTENT_ENCODING, "gzip")).body(gzip),
        _ => answer.body(text),
    }
}
