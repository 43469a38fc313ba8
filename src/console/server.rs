//! The console's web server. The problem: it shows logs and changes what is collected, and has no login yet; so it
//! listens on loopback only, refuses any other address, and says which one it got.

use super::{
    Parts,
    assets::{self, Assets},
    error::ApiError,
    gate::Gate,
    guard,
    live::Viewers,
    pages, route, routes,
    texts::Texts,
};
use crate::telemetry::telemetry_routes;
use actix_web::{
    App, HttpServer, ResponseError as _, dev::ServerHandle, error::InternalError, middleware::from_fn, web,
};
use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    time::Duration,
};

/// Requests are small questions; the work is the back end's.
const WORKERS: usize = 2;
/// How long a browser may take to send its request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);

/// The console can't be started.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error("can't listen on {listen} for the page: {source}")]
    Listen { listen: String, source: io::Error },
    #[error("the page has no login yet, so it listens only on this machine (127.0.0.1 or ::1), not on {listen}")]
    NotLoopback { listen: String },
    #[error("the page can't be made ready: {0}")]
    Assets(String),
}

/// The running console; stops when told to.
pub struct Console {
    address: SocketAddr,
    handle: ServerHandle,
    /// Records the changes that go past the console.
    history: actix_rt::task::JoinHandle<()>,
}

impl Console {
    /// Listens on `address:port` (port 0 takes a free one) and serves, on threads of its own.
    ///
    /// # Errors
    /// The address is not one of loopback, or can't be bound.
    pub fn start(listen: &str, parts: Parts) -> Result<Self, ConsoleError> {
        let texts = Texts::load().map_err(ConsoleError::Assets)?;
        let assets = web::Data::new(Assets::load(&texts).map_err(|e| ConsoleError::Assets(e.to_string()))?);
        let (texts, parts, viewers) =
            (web::Data::new(texts), web::Data::new(parts), web::Data::new(Viewers::default()));
        let own = parts.clone();
        let entries = parts.entries.clone();
        let gate = web::Data::new(Gate::default());
        let refused = |source| ConsoleError::Listen { listen: listen.to_owned(), source };
        let listener = bind(listen)?;
        let address = listener.local_addr().map_err(refused)?;
        let server = HttpServer::new(move || {
            App::new()
                .app_data(parts.clone())
                .app_data(assets.clone())
                .app_data(texts.clone())
                .app_data(viewers.clone())
                .app_data(gate.clone())
                .app_data(web::QueryConfig::default().error_handler(|e, _| wrong_parameter(&e)))
                .wrap(from_fn(guard::guard))
                .wrap(guard::headers())
                .configure(everything)
                .configure(|c| telemetry_routes(c, own.registry.clone(), own.health.clone(), own.pages.clone()))
        });
        // Signals are the supervisor's.
        let server = server
            .workers(WORKERS)
            .disable_signals()
            .client_request_timeout(REQUEST_DEADLINE)
            .shutdown_timeout(1)
            .listen(listener)
            .map_err(refused)?
            .run();
        let handle = server.handle();
        let history = actix_rt::spawn(async move { entries.keep_history().await });
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                slog_scope::error!("the web server of the page failed"; "error" => %error);
            }
        });
        Ok(Self { address, handle, history })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it; requests under way have a second.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        self.history.abort();
    }
}

fn bind(listen: &str) -> Result<TcpListener, ConsoleError> {
    let refused = |source| ConsoleError::Listen { listen: listen.to_owned(), source };
    let addresses: Vec<SocketAddr> = listen.to_socket_addrs().map_err(refused)?.collect();
    if addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(ConsoleError::NotLoopback { listen: listen.to_owned() });
    }
    TcpListener::bind(&addresses[..]).map_err(refused)
}

fn everything(config: &mut web::ServiceConfig) {
    pages::register(config);
    config.route("/assets/{hash}/{name:.+}", web::get().to(assets::serve));
    route::register(config, routes::all());
}

fn wrong_parameter(error: &actix_web::error::QueryPayloadError) -> actix_web::Error {
    let answer = ApiError::bad(format!("a parameter is wrong: {error}"));
    let response = answer.error_response();
    InternalError::from_response(answer, response).into()
}
