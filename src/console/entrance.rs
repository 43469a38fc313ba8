//! How the console is reached. The problem: on this machine's loopback whoever gets there is its owner; from anywhere
//! else people have to log in, over TLS. Which name, address and protocol a request really has is known to a proxy in
//! front, if there is one, and to be believed only then.

use super::gate::{Cookies, Ends};
use actix_web::http::header::HeaderMap;
use std::{net::SocketAddr, path::PathBuf};

/// Certificate and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the server's certificate and those that lead to a known one.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
}

/// Who comes in where, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// While there are no users, everybody on this machine is the admin; otherwise the first one is made by a one-time
    /// code.
    pub open_without_users: bool,
    /// Names that browsers may use, besides loopback and the address it listens on.
    pub names: Vec<String>,
    /// A proxy in front does TLS and says who asks, in `X-Forwarded-For` and `X-Forwarded-Proto`.
    pub behind_proxy: bool,
    pub tls: Option<TlsFiles>,
    pub ends: Ends,
    /// Records of the audit are kept so long.
    pub audit_days: u64,
    /// Where it listens; known once it does.
    pub address: SocketAddr,
}

impl Entrance {
    /// On loopback, where nobody has to log in before there is a user.
    pub fn open() -> Self {
        Self { open_without_users: true, ..Self::login() }
    }

    /// For people who log in.
    pub fn login() -> Self {
        Self {
            open_without_users: false,
            names: Vec::new(),
            behind_proxy: false,
            tls: None,
            ends: Ends::default(),
            audit_days: 365,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    /// Where a request comes from.
    pub fn address(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> String {
        let forwarded = if self.behind_proxy { last(headers, "x-forwarded-for") } else { None };
        let forwarded = forwarded.and_then(|text| text.parse::<std::net::IpAddr>().ok());
        let address = forwarded.or_else(|| peer.map(|peer| peer.ip()));
        address.map_or_else(|| "unknown".to_owned(), |ip| ip.to_canonical().to_string())
    }

    /// Whether the browser's connection is a TLS one.
    pub fn is_secure(&self, headers: &HeaderMap) -> bool {
        self.tls.is_some() || (self.behind_proxy && last(headers, "x-forwarded-proto") == Some("https"))
    }

    /// An address of a page that this machine's own browser can open, or one by a name that is known.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() || self.behind_proxy { "https" } else { "http" };
        match self.names.first() {
            Some(name) if self.behind_proxy => format!("{scheme}://{name}{path}"),
            Some(name) => format!("{scheme}://{name}:{}{path}", self.address.port()),
            None => format!("{scheme}://{}{path}", self.address),
        }
    }

    pub fn cookies(&self, headers: &HeaderMap) -> Cookies {
        Cookies { secure: self.is_secure(headers), port: self.address.port() }
    }
}

/// The last value of a list: the one that the proxy next to us has added.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let text = headers.get_all(name).last()?.to_str().ok()?;
    text.rsplit(',').next().map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    #[test]
    fn what_a_proxy_says_counts_only_where_there_is_one() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-forwarded-for", "6.6.6.6, 10.1.1.1"), ("x-forwarded-proto", "http,https")] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let peer = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
        let direct = Entrance::login();
        let behind = Entrance { behind_proxy: true, ..Entrance::login() };
        assert_eq!((direct.address(peer, &headers).as_str(), direct.is_secure(&headers)), ("127.0.0.1", false));
        assert_eq!((behind.address(peer, &headers).as_str(), behind.is_secure(&headers)), ("10.1.1.1", true));
        let forged = HeaderName::from_static("x-forwarded-for");
        headers.insert(forged, HeaderValue::from_static("<script>"));
        assert_eq!(behind.address(peer, &headers), "127.0.0.1");
    }
}
