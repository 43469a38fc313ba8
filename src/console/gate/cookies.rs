//! What a browser keeps for us: the session's word, and a mark that tells that it has logged in before. The problem: no
//! script, no other site and no plain connection may get at them; and several consoles on one machine's loopback must
//! not overwrite each other's, for cookies know no ports.

use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue};

/// How cookies are called and sent on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookies {
    /// Over TLS, ours or a proxy's.
    pub secure: bool,
    /// Where this console listens.
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    Session,
    /// Of a browser that has logged in.
    Browser,
}

/// A year.
const LONG: i64 = 31_536_000;

impl Cookies {
    fn name(self, cookie: Cookie) -> String {
        let name = match cookie {
            Cookie::Session => "logweir_session",
            Cookie::Browser => "logweir_browser",
        };
        // Browsers take a `__Host-` cookie over TLS only, for this host and the whole of it.
        if self.secure { format!("__Host-{name}") } else { format!("{name}_{}", self.port) }
    }

    pub fn read(self, headers: &HeaderMap, cookie: Cookie) -> Option<&str> {
        let name = self.name(cookie);
        let texts = headers.get_all(COOKIE).filter_map(|value| value.to_str().ok());
        let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// `value`: hex digits and points.
    pub fn set(self, cookie: Cookie, value: &str) -> HeaderValue {
        let kept = if cookie == Cookie::Browser { format!("; Max-Age={LONG}") } else { String::new() };
        self.header(cookie, value, &kept)
    }

    pub fn clear(self, cookie: Cookie) -> HeaderValue {
        self.header(cookie, "", "; Max-Age=0")
    }

    fn header(self, cookie: Cookie, value: &str, kept: &str) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{kept}", self.name(cookie));
        // Nothing in it could be refused.
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_read_by_its_name_and_sent_with_all_that_protects_it() {
        let (plain, secure) = (Cookies { secure: false, port: 8686 }, Cookies { secure: true, port: 8686 });
        let mut headers = HeaderMap::new();
        let text = "a=b; logweir_session_8688=other; logweir_session_8686=ours; __Host-logweir_session=tls";
        headers.insert(COOKIE, HeaderValue::from_static(text));
        assert_eq!(plain.read(&headers, Cookie::Session), Some("ours"));
        assert_eq!(secure.read(&headers, Cookie::Session), Some("tls"));
        assert_eq!(plain.read(&headers, Cookie::Browser), None);
        let set = secure.set(Cookie::Session, "ab");
        assert_eq!(set, "__Host-logweir_session=ab; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert!(plain.clear(Cookie::Session).to_str().unwrap().ends_with("SameSite=Strict; Max-Age=0"));
    }
}
