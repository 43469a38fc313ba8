//! The console's web server. The problem: it shows logs and changes what is collected; so it listens on loopback, and
//! elsewhere only where people log in and nobody listens on the way, and it says which address it got.

use super::{
    Parts,
    assets::{self, Assets},
    collected,
    entrance::Entrance,
    error::ApiError,
    gate::{self, Gate, Person},
    guard, health,
    live::Viewers,
    pages, route, routes,
    texts::Texts,
    tls::Certificate,
};
use crate::telemetry::{Registry, json_page, metrics_page};
use actix_web::{
    App, HttpResponse, HttpServer, ResponseError as _, dev::ServerHandle, error::InternalError, middleware::from_fn,
    web,
};
use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinHandle;

/// Requests are small questions; the work is the back end's.
const WORKERS: usize = 2;
/// How long a browser may take to send its request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);

/// The console can't be started.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error("can't listen on {listen} for the page: {source}")]
    Listen { listen: String, source: io::Error },
    #[error("the page listens only on this machine (127.0.0.1 or ::1), not on {listen}: {reason}")]
    NotLoopback { listen: String, reason: String },
    /// The store doesn't answer; to be tried again.
    #[error("the page can't listen on {listen} now: {reason}")]
    NotNow { listen: String, reason: String },
    #[error("TLS: {0}")]
    Tls(String),
    #[error("the page can't be made ready: {0}")]
    Assets(String),
}

/// The running console; stops when told to.
pub struct Console {
    entrance: Entrance,
    handle: ServerHandle,
    /// What runs beside it.
    keeping: Vec<JoinHandle<()>>,
}

impl Console {
    /// Listens on `address:port` (port 0 takes a free one) and serves, on threads of its own.
    ///
    /// # Errors
    /// The address can't be bound, or is one that other machines reach without need to log in or without TLS.
    pub async fn start(listen: &str, parts: Parts) -> Result<Self, ConsoleError> {
        let texts = Texts::load().map_err(ConsoleError::Assets)?;
        let assets = web::Data::new(Assets::load(&texts).map_err(|e| ConsoleError::Assets(e.to_string()))?);
        let (texts, parts, viewers) =
            (web::Data::new(texts), web::Data::new(parts), web::Data::new(Viewers::default()));
        let (entries, fleet) = (parts.entries.clone(), parts.fleet.clone());
        let certificate = parts.entrance.tls.clone().map(Certificate::load).transpose().map_err(ConsoleError::Tls)?;
        let refused = |source| ConsoleError::Listen { listen: listen.to_owned(), source };
        let listener = bind(listen)?;
        let address = listener.local_addr().map_err(refused)?;
        let entrance = Entrance { address, ..parts.entrance.clone() };
        let gate = Arc::new(Gate::new(parts.store.clone(), entrance.clone()));
        if !address.ip().is_loopback() {
            gate.may_be_reached().await.map_err(|error| {
                let (listen, reason) = (listen.to_owned(), error.to_string());
                match error {
                    gate::NotReached::Refused(_) => ConsoleError::NotLoopback { listen, reason },
                    gate::NotReached::Unknown(_) => ConsoleError::NotNow { listen, reason },
                }
            })?;
        }
        let mut keeping = vec![actix_rt::spawn(gate::keep(gate.clone()))];
        let (own, own_entrance) = (parts.clone(), entrance.clone());
        let (gate, entrance) = (web::Data::from(gate), web::Data::new(entrance));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(parts.clone())
                .app_data(assets.clone())
                .app_data(texts.clone())
                .app_data(viewers.clone())
                .app_data(gate.clone())
                .app_data(entrance.clone())
                .app_data(web::QueryConfig::default().error_handler(|e, _| wrong_parameter(&e)))
                .wrap(from_fn(guard::guard))
                .wrap(guard::headers())
                .configure(|config| everything(config, &own))
        });
        // Signals are the supervisor's.
        let server =
            server.workers(WORKERS).disable_signals().client_request_timeout(REQUEST_DEADLINE).shutdown_timeout(1);
        let server = match certificate {
            None => server.listen(listener).map_err(refused)?,
            Some(certificate) => {
                let config = certificate.config().map_err(ConsoleError::Tls)?;
                keeping.push(actix_rt::spawn(certificate.watch()));
                server.tls_handshake_timeout(REQUEST_DEADLINE).listen_rustls_0_23(listener, config).map_err(refused)?
            }
        };
        let server = server.run();
        let handle = server.handle();
        keeping.push(actix_rt::spawn(async move { entries.keep_history().await }));
        keeping.push(actix_rt::spawn(async move { fleet.keep().await }));
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                slog_scope::error!("the web server of the page failed"; "error" => %error);
            }
        });
        Ok(Self { entrance: own_entrance, handle, keeping })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.entrance.address
    }

    /// The address of a page, for people.
    pub fn url(&self, path: &str) -> String {
        self.entrance.url(path)
    }

    /// Stops it; requests under way have a second.
    pub async fn stop(self) {
        self.keeping.iter().for_each(JoinHandle::abort);
        self.handle.stop(true).await;
    }
}

fn bind(listen: &str) -> Result<TcpListener, ConsoleError> {
    let refused = |source| ConsoleError::Listen { listen: listen.to_owned(), source };
    let addresses: Vec<SocketAddr> = listen.to_socket_addrs().map_err(refused)?.collect();
    TcpListener::bind(&addresses[..]).map_err(refused)
}

fn everything(config: &mut web::ServiceConfig, parts: &Parts) {
    pages::register(config);
    config.route("/assets/{hash}/{name:.+}", web::get().to(assets::serve));
    route::register(config, routes::all());
    // Whether it lives is asked by machines that know nobody; what it does is for those who may look.
    health::register(config, parts.health.clone());
    let figures = web::scope("").wrap(from_fn(route::for_viewers));
    config.service(figures.configure(|config| {
        config.app_data(web::Data::new(parts.registry.clone())).route("/metrics", web::get().to(metrics));
        for (path, page) in parts.pages.clone() {
            let show = move |person: Person| json_page(collected::page_for(person, page.clone()));
            config.route(path, web::get().to(show));
        }
    }));
}

/// `GET /metrics`: they are told apart by topics.
async fn metrics(person: Person, registry: web::Data<Registry>) -> Result<HttpResponse, ApiError> {
    if !person.topics.all() {
        return Err(ApiError::forbidden("the figures are of all topics; only who may see all topics may read them"));
    }
    Ok(metrics_page(registry).await)
}

fn wrong_parameter(error: &actix_web::error::QueryPayloadError) -> actix_web::Error {
    let answer = ApiError::bad(format!("a parameter is wrong: {error}"));
    let response = answer.error_response();
    InternalError::from_response(answer, response).into()
}
