//! Who may talk to the console. The problem: it has no login yet and listens on loopback, where every web page that the
//! same person opens can send requests, too. So a request has to name this machine (a foreign name that was made to
//! point to 127.0.0.1 is turned away), what other sites cause is turned away, and a change needs a header that no other
//! site can send.

use super::error::ApiError;
use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, Uri,
        header::{self, HeaderMap},
    },
    middleware::{DefaultHeaders, Next},
};
use std::net::IpAddr;

/// Nothing but what this server sends, and no script or style within a page's text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// On every answer.
pub fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, POLICY))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::REFERRER_POLICY, "no-referrer"))
        .add(("Cross-Origin-Opener-Policy", "same-origin"))
        .add(("Cross-Origin-Resource-Policy", "same-origin"))
}

/// Before every answer.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    judge(request.method(), request.headers(), request.uri())?;
    Ok(next.call(request).await?.map_into_boxed_body())
}

fn judge(method: &Method, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text("host").or_else(|| uri.authority().map(|a| a.as_str())).unwrap_or_default();
    if !names_loopback(host) {
        return Err(ApiError::forbidden(format!(
            "this server answers only as localhost or 127.0.0.1, not as {host:?}"
        )));
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    // A link from elsewhere may open the page itself; it may not use the calls beneath it.
    let is_page = reads && !uri.path().starts_with("/api/");
    if matches!(text("sec-fetch-site"), Some("cross-site" | "same-site")) && !is_page {
        return Err(ApiError::forbidden("requests of other sites are not answered"));
    }
    if text("origin").is_some_and(|origin| origin.strip_prefix("http://") != Some(host)) {
        return Err(ApiError::forbidden("requests of other origins are not answered"));
    }
    if !reads && text("x-logweir") != Some("1") {
        return Err(ApiError::forbidden("a change needs the header X-Logweir: 1"));
    }
    Ok(())
}

/// `localhost`, an address of 127.0.0.0/8 or ::1, with or without a port.
fn names_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(method: Method, path: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let pairs = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), header::HeaderValue::from_static(value)));
        judge(&method, &pairs.collect(), &path.parse().unwrap()).is_ok()
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in ["localhost:8686", "LOCALHOST", "127.0.0.1:8686", "127.9.9.9", "[::1]:8686"] {
            assert!(answers(Method::GET, "/", &[("host", host)]), "{host}");
        }
        for host in
            ["", "evil.example:8686", "10.0.0.1:8686", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]"]
        {
            assert!(!answers(Method::GET, "/", &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn other_sites_can_open_the_page_and_nothing_else() {
        let cross = [("host", "localhost:1"), ("sec-fetch-site", "cross-site")];
        assert!(answers(Method::GET, "/?q=a", &cross));
        assert!(!answers(Method::GET, "/api/v1/search", &cross));
        let own = [("host", "localhost:1"), ("sec-fetch-site", "same-origin"), ("origin", "http://localhost:1")];
        assert!(answers(Method::GET, "/api/v1/search", &own));
        assert!(!answers(Method::GET, "/api/v1/live", &[("host", "localhost:1"), ("origin", "http://evil.example")]));
        assert!(!answers(Method::GET, "/api/v1/live", &[("host", "localhost:1"), ("origin", "http://localhost:2")]));
    }

    #[test]
    fn a_change_needs_its_header() {
        let own = ("host", "localhost:1");
        assert!(!answers(Method::PUT, "/api/v1/entries/key", &[own]));
        assert!(answers(Method::PUT, "/api/v1/entries/key", &[own, ("x-logweir", "1")]));
        let foreign = [own, ("x-logweir", "1"), ("origin", "null")];
        assert!(!answers(Method::DELETE, "/api/v1/searches/a", &foreign));
    }
}
