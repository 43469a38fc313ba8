//! The small web server for `/metrics`, `/health` and what a running process can tell of itself (`/files`). On
//! loopback by default: it has no login. It can't be started where its port is taken: an operator who watches the wrong
//! process is worse off than one who sees a start refused.

use super::{Health, Registry};
use actix_web::{App, HttpResponse, dev::ServerHandle, web};
use futures_util::future::LocalBoxFuture;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

/// How long a page may take to be made.
const PAGE_DEADLINE: Duration = Duration::from_secs(10);
/// OpenMetrics, as Prometheus asks for it.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The web server can't listen.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {listen} for /metrics and /health (setting metrics.listen): {source}")]
pub struct HttpError {
    pub listen: String,
    pub source: io::Error,
}

/// A page of JSON that is asked for when somebody looks; an `Err` is shown as status 503.
pub type JsonPage = Arc<dyn Fn() -> LocalBoxFuture<'static, Result<serde_json::Value, String>> + Send + Sync>;

/// The running web server; stops when told to.
pub struct HttpServer {
    address: SocketAddr,
    handle: ServerHandle,
}

impl HttpServer {
    /// Listens on `address:port` (port 0 takes a free one) and serves, on a thread of its own. `pages`: further pages by path, for example `/files`.
    ///
    /// # Errors
    /// The address can't be bound.
    pub fn start(
        listen: &str,
        registry: Registry,
        health: Health,
        pages: Vec<(&'static str, JsonPage)>,
    ) -> Result<Self, HttpError> {
        let refused = |source| HttpError { listen: listen.to_owned(), source };
        let listener = TcpListener::bind(listen).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let server = actix_web::HttpServer::new(move || {
            let (registry, health, pages) = (registry.clone(), health.clone(), pages.clone());
            App::new().configure(|config| telemetry_routes(config, registry, health, pages))
        });
        // Signals are the supervisor's.
        let server = server.workers(1).disable_signals().shutdown_timeout(1).listen(listener).map_err(refused)?.run();
        let handle = server.handle();
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                slog_scope::error!("the web server for /metrics and /health failed"; "error" => %error);
            }
        });
        Ok(Self { address, handle })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it; requests under way have a second.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }
}

/// `/metrics`, `/health` and further pages by path, for a web server that has others, too.
pub fn telemetry_routes(
    config: &mut web::ServiceConfig,
    registry: Registry,
    health: Health,
    pages: Vec<(&'static str, JsonPage)>,
) {
    health_routes(config, health);
    metrics_routes(config, registry, pages);
}

/// `/health` and its parts.
fn health_routes(config: &mut web::ServiceConfig, health: Health) {
    config
        .app_data(web::Data::new(health))
        .route("/health", web::get().to(|health| answer(health, |live, ready| live && ready)))
        .route("/health/live", web::get().to(|health| answer(health, |live, _| live)))
        .route("/health/ready", web::get().to(|health| answer(health, |_, ready| ready)));
}

/// `/metrics` and further pages by path.
fn metrics_routes(config: &mut web::ServiceConfig, registry: Registry, pages: Vec<(&'static str, JsonPage)>) {
    config.app_data(web::Data::new(registry)).route("/metrics", web::get().to(metrics_page));
    for (path, page) in pages {
        config.route(path, web::get().to(move || json_page(page.clone())));
    }
}

/// `/metrics`
pub async fn metrics_page(registry: web::Data<Registry>) -> HttpResponse {
    HttpResponse::Ok().content_type(METRICS_TYPE).body(registry.render())
}

async fn answer(health: web::Data<Health>, is_well: fn(bool, bool) -> bool) -> HttpResponse {
    let report = health.report();
    let well = is_well(report.live, report.ready);
    if well { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() }.json(report)
}

/// What a page of JSON answers.
pub async fn json_page(page: JsonPage) -> HttpResponse {
    let made = tokio::time::timeout(PAGE_DEADLINE, page()).await;
    match made.unwrap_or_else(|_| Err(format!("no answer within {} s", PAGE_DEADLINE.as_secs()))) {
        Ok(value) => HttpResponse::Ok().json(value),
        Err(reason) => HttpResponse::ServiceUnavailable().json(serde_json::json!({ "error": reason })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    async fn get(server: &HttpServer, path: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    fn start(health: Health, pages: Vec<(&'static str, JsonPage)>) -> Result<HttpServer, HttpError> {
        crate::telemetry::init_for_tests();
        HttpServer::start("127.0.0.1:0", Registry::default(), health, pages)
    }

    #[actix_rt::test]
    async fn metrics_and_health_are_served_with_their_reasons() {
        let health = Health::default();
        health.not_ready("kafka", "no broker answers");
        let server = start(health.clone(), Vec::new()).unwrap();
        let metrics = get(&server, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.0 200") && metrics.ends_with("# EOF\n"), "{metrics}");
        let whole = get(&server, "/health").await;
        assert!(whole.starts_with("HTTP/1.0 503") && whole.contains("no broker answers"), "{whole}");
        assert!(get(&server, "/health/live").await.starts_with("HTTP/1.0 200"));
        assert!(get(&server, "/health/ready").await.starts_with("HTTP/1.0 503"));
        health.ready("kafka");
        assert!(get(&server, "/health").await.starts_with("HTTP/1.0 200"));
        assert!(get(&server, "/nothing").await.starts_with("HTTP/1.0 404"));
        server.stop().await;
    }

    #[actix_rt::test]
    async fn further_pages_are_json_and_their_failure_is_told() {
        let good: JsonPage = Arc::new(|| Box::pin(async { Ok(serde_json::json!([{ "path": "/var/log/a" }])) }));
        let bad: JsonPage = Arc::new(|| Box::pin(async { Err("the tail manager is restarting".to_owned()) }));
        let server = start(Health::default(), vec![("/files", good), ("/bad", bad)]).unwrap();
        assert!(get(&server, "/files").await.ends_with(r#"[{"path":"/var/log/a"}]"#));
        let bad = get(&server, "/bad").await;
        assert!(bad.starts_with("HTTP/1.0 503") && bad.contains("is restarting"), "{bad}");
        server.stop().await;
    }

    #[actix_rt::test]
    async fn a_taken_port_is_refused_with_its_address() {
        let first = start(Health::default(), Vec::new()).unwrap();
        let listen = first.address().to_string();
        let second = HttpServer::start(&listen, Registry::default(), Health::default(), Vec::new());
        let error = second.err().unwrap();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&first.address().to_string()));
        first.stop().await;
    }
}
