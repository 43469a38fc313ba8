//! From where the console may be talked to. The problem: every web page that somebody opens can send requests to
//! whatever that browser reaches, this machine's loopback included. So a request has to name this console (a foreign name
//! that was made to point here is turned away), what other sites cause is turned away, and a change needs a header that
//! no other site can send. Who asks is the [`super::gate`]'s question.

use super::{body, entrance::Entrance, error::ApiError};
use actix_web::{
    Error, ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, Uri,
        header::{self, HeaderMap, HeaderValue},
    },
    middleware::{DefaultHeaders, Next},
    web,
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
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(entrance) = request.app_data::<web::Data<Entrance>>().cloned() else {
        let answer = ApiError::unavailable("it isn't known who may talk to this server").error_response();
        return Ok(request.into_response(answer));
    };
    let secure = entrance.is_secure(request.headers());
    let held = body::hold(&mut request);
    let mut answer = match judge(request.method(), request.headers(), request.uri(), &entrance) {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(refusal) => request.into_response(refusal.error_response()),
    };
    answer = body::until_answered(answer, held);
    if secure {
        let year = HeaderValue::from_static("max-age=31536000");
        answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    Ok(answer)
}

fn judge(method: &Method, headers: &HeaderMap, uri: &Uri, entrance: &Entrance) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text("host").or_else(|| uri.authority().map(|a| a.as_str())).unwrap_or_default();
    if !is_us(host, entrance) {
        return Err(ApiError::forbidden(format!(
            "this server answers only as localhost, as the address it listens on, and as the names in its settings, not \
             as {host:?}"
        )));
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    // A link from elsewhere may open the page itself; it may not use the calls beneath it.
    let is_page = reads && !uri.path().starts_with("/api/");
    // Calls know by themselves whether they take one.
    if is_page && body::has_body(headers) {
        return Err(ApiError::bad("a page takes no body"));
    }
    if matches!(text("sec-fetch-site"), Some("cross-site" | "same-site")) && !is_page {
        return Err(ApiError::forbidden("requests of other sites are not answered"));
    }
    if text("origin").is_some_and(|origin| !is_own(origin, host, entrance.is_secure(headers), entrance)) {
        return Err(ApiError::forbidden("requests of other origins are not answered"));
    }
    // No other site can send a token, either.
    if !reads && text("x-logweir") != Some("1") && !headers.contains_key(header::AUTHORIZATION) {
        return Err(ApiError::forbidden("a change needs the header X-Logweir: 1"));
    }
    Ok(())
}

/// A host's name without its port.
fn name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// `localhost` or an address of loopback; where it listens elsewhere any address, which no foreign name can be; and the
/// names of the settings; with or without a port.
fn is_us(host: &str, entrance: &Entrance) -> bool {
    let name = name(host);
    let known = |known: &String| known.eq_ignore_ascii_case(name);
    let address = |ip: IpAddr| ip.is_loopback() || !entrance.address.ip().is_loopback();
    name.eq_ignore_ascii_case("localhost") || entrance.names.iter().any(known) || name.parse().is_ok_and(address)
}

/// Whether a page of this console sends it. A proxy may have made another host of the one that the browser knows.
fn is_own(origin: &str, host: &str, secure: bool, entrance: &Entrance) -> bool {
    let Some(rest) = origin.strip_prefix(if secure { "https://" } else { "http://" }) else { return false };
    let named = || entrance.behind_proxy && entrance.names.iter().any(|known| known.eq_ignore_ascii_case(name(rest)));
    rest == host || named()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn answers_as(entrance: &Entrance, method: Method, path: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let pairs = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), header::HeaderValue::from_static(value)));
        judge(&method, &pairs.collect(), &path.parse().unwrap(), entrance).is_ok()
    }

    fn answers(method: Method, path: &str, headers: &[(&'static str, &'static str)]) -> bool {
        answers_as(&Entrance::open(), method, path, headers)
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
    fn elsewhere_it_answers_by_address_and_by_the_names_of_its_settings() {
        let address = SocketAddr::from(([0, 0, 0, 0], 8688));
        let entrance = Entrance { names: vec!["logs.example".into()], address, ..Entrance::login() };
        for host in ["logs.example", "LOGS.example:8688", "10.0.0.1:8688", "[2001:db8::1]:8688", "localhost"] {
            assert!(answers_as(&entrance, Method::GET, "/", &[("host", host)]), "{host}");
        }
        for host in ["", "evil.example", "x.logs.example", "10.0.0.1.evil.example"] {
            assert!(!answers_as(&entrance, Method::GET, "/", &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn behind_a_proxy_the_browsers_own_name_is_ours() {
        let names = vec!["logs.example".into()];
        let entrance = Entrance { names, behind_proxy: true, ..Entrance::login() };
        let ask = |origin: &'static str, proto: &'static str| {
            let headers = [("host", "127.0.0.1:8688"), ("origin", origin), ("x-forwarded-proto", proto)];
            answers_as(&entrance, Method::GET, "/api/v1/live", &headers)
        };
        assert!(ask("https://logs.example", "https"));
        assert!(!ask("http://logs.example", "https"));
        assert!(!ask("https://evil.example", "https"));
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
    fn a_change_needs_its_header_or_a_token() {
        let own = ("host", "localhost:1");
        assert!(!answers(Method::PUT, "/api/v1/entries/key", &[own]));
        assert!(answers(Method::PUT, "/api/v1/entries/key", &[own, ("x-logweir", "1")]));
        assert!(answers(Method::PUT, "/api/v1/entries/key", &[own, ("authorization", "Bearer x")]));
        let foreign = [own, ("x-logweir", "1"), ("origin", "null")];
        assert!(!answers(Method::DELETE, "/api/v1/searches/a", &foreign));
    }
}
