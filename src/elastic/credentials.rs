//! The value of the etcd key with Elasticsearch's addresses and credentials. The problem: people write it by hand while
//! everything runs, so a mistake is answered with its place and the nearest right word, and never with the secret that
//! stands beside it.

use elasticsearch::cert::Certificate;
use serde::{
    Deserialize,
    de::{Deserializer, Error as _, MapAccess, Visitor},
};
use serde_json::Value;
use std::fmt;
use url::Url;

/// How to reach Elasticsearch: the value of the etcd key `elasticsearch_config`, or of the settings.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ElasticConfig {
    pub urls: Vec<String>,
    /// As Elasticsearch gives it (`encoded`), or `id:api_key`.
    pub api_key: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// PEM text of a CA.
    pub ca_cert: Option<String>,
}

impl fmt::Debug for ElasticConfig {
    /// Never prints a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElasticConfig").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// The value can't be used. Says nothing of its secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct CredentialsError {
    pub reason: String,
    /// From 1; `None` where the reason is about the value as a whole.
    pub line: Option<usize>,
    pub column: Option<usize>,
}

const FIELDS: [&str; 5] = ["api_key", "url_address", "username", "password", "ca_cert"];

struct Fields(ElasticConfig);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with url_address and credentials")
    }

    // serde's own messages quote what they found, which here is a secret: each of these says only what was expected.
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Fields, E> {
        Err(E::custom("expected an object with url_address and credentials, found a string"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut config = ElasticConfig::default();
        let mut seen: Vec<String> = Vec::new();
        while let Some(field) = map.next_key::<String>()? {
            if seen.contains(&field) {
                return Err(A::Error::custom(format!("field `{field}` stands twice")));
            }
            if !FIELDS.contains(&field.as_str()) {
                return Err(A::Error::custom(unknown(&field)));
            }
            let value: Value = map.next_value()?;
            take(&mut config, &field, value).map_err(A::Error::custom)?;
            seen.push(field);
        }
        Ok(Fields(config))
    }
}

fn unknown(field: &str) -> String {
    let nearest = FIELDS.into_iter().max_by(|a, b| strsim::jaro(field, a).total_cmp(&strsim::jaro(field, b)));
    format!("unknown field `{field}`, did you mean `{}`? (known: {})", nearest.unwrap_or_default(), FIELDS.join(", "))
}

fn take(config: &mut ElasticConfig, field: &str, value: Value) -> Result<(), String> {
    if field == "url_address" {
        let Value::Array(urls) = value else {
            return Err("`url_address` must be an array of URLs, as [\"http://localhost:9200\"]".into());
        };
        for url in urls {
            let Value::String(url) = url else { return Err("`url_address` must contain strings only".into()) };
            config.urls.push(url);
        }
        return Ok(());
    }
    let Value::String(text) = value else { return Err(format!("`{field}` must be a string")) };
    if text.is_empty() {
        return Err(format!("`{field}` is empty; leave it out where it isn't used"));
    }
    *match field {
        "api_key" => &mut config.api_key,
        "username" => &mut config.username,
        "password" => &mut config.password,
        _ => &mut config.ca_cert,
    } = Some(text);
    Ok(())
}

impl ElasticConfig {
    /// Reads and checks the JSON value.
    ///
    /// # Errors
    /// It can't be used, with its place where it has one.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let Fields(config) = serde_json::from_str(text).map_err(|error| {
            let place = (error.line() > 0).then_some((error.line(), error.column()));
            let whole = error.to_string();
            let reason = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(reason, _)| reason);
            // For a value that isn't an object serde quotes it.
            let reason = if reason.starts_with("invalid type") { "expected a JSON object" } else { reason };
            CredentialsError { reason: reason.into(), line: place.map(|p| p.0), column: place.map(|p| p.1) }
        })?;
        config.check().map_err(|reason| CredentialsError { reason, line: None, column: None })?;
        Ok(config)
    }

    /// # Errors
    /// The first thing that is wrong, without secrets.
    pub fn check(&self) -> Result<(), String> {
        if self.urls.is_empty() {
            return Err("`url_address` must name at least one URL".into());
        }
        for (number, url) in self.urls.iter().enumerate() {
            check_url(url).map_err(|reason| format!("`url_address`, URL {}: {reason}", number + 1))?;
        }
        match (&self.api_key, &self.username, &self.password) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                return Err("either `api_key` or `username` and `password`, not both".into());
            }
            (None, Some(_), None) => return Err("`username` needs `password`".into()),
            (None, None, Some(_)) => return Err("`password` needs `username`".into()),
            _ => {}
        }
        if self.api_key.as_deref().is_some_and(|key| !key.bytes().all(|b| b.is_ascii_graphic())) {
            return Err("`api_key` has characters that no API key has".into());
        }
        if self.username.as_deref().is_some_and(|name| name.contains(':')) {
            return Err("`username` must not contain a colon".into());
        }
        let Some(pem) = &self.ca_cert else { return Ok(()) };
        let certificates = Certificate::from_pem(pem.as_bytes()).map_err(|_| "`ca_cert` is no PEM text")?;
        match certificates.into_iter().next() {
            Some(_) => Ok(()),
            None => Err("`ca_cert` has no certificate in it".into()),
        }
    }
}

fn check_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url {
        _ if !matches!(url.scheme(), "http" | "https") => Err("must begin with http:// or https://".into()),
        _ if url.host_str().is_none_or(str::is_empty) => Err("names no host".into()),
        _ if !url.username().is_empty() || url.password().is_some() => {
            Err("put the user and password into `username` and `password`".into())
        }
        _ if url.query().is_some() || url.fragment().is_some() => Err("must not have a query or fragment".into()),
        _ => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> CredentialsError {
        ElasticConfig::parse(text).unwrap_err()
    }

    #[test]
    fn the_form_of_the_contract_is_taken() {
        let config = ElasticConfig::parse(r#"{"api_key":"abc==","url_address":["http://localhost:9200"]}"#).unwrap();
        assert_eq!(
            (config.api_key.as_deref(), &config.urls[..]),
            (Some("abc=="), &["http://localhost:9200".into()][..])
        );
        let config = r#"{"username":"u","password":"p","url_address":["https://a:9200/es","http://[::1]:9200"]}"#;
        assert_eq!(ElasticConfig::parse(config).unwrap().urls.len(), 2);
        assert!(ElasticConfig::parse(r#"{"url_address":["http://localhost:9200"]}"#).is_ok());
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let wrong = error("{\n  \"api_key\": \"x\",\n  \"url_adress\": []\n}");
        assert_eq!(wrong.line, Some(3));
        assert!(wrong.reason.contains("`url_adress`") && wrong.reason.contains("`url_address`"), "{wrong}");
        assert_eq!(error("{\"api_key\":").line, Some(1));
        assert!(error("").line.is_some());
    }

    #[test]
    fn every_bad_value_is_refused_and_no_secret_is_told() {
        let bad = [
            r#""s3cret""#,
            r#"["s3cret"]"#,
            r#"{"api_key":["s3cret"],"url_address":["http://h"]}"#,
            r#"{"api_key":"s3cret","username":"u","url_address":["http://h"]}"#,
            r#"{"api_key":"s3cret\n","url_address":["http://h"]}"#,
            r#"{"api_key":"s3cret"}"#,
            r#"{"api_key":"s3cret","url_address":[]}"#,
            r#"{"api_key":"s3cret","url_address":"http://h"}"#,
            r#"{"api_key":"s3cret","url_address":["ftp://h"]}"#,
            r#"{"api_key":"s3cret","url_address":["nonsense"]}"#,
            r#"{"url_address":["http://u:s3cret@h"]}"#,
            r#"{"url_address":["http://h/?q=1"]}"#,
            r#"{"username":"u","url_address":["http://h"]}"#,
            r#"{"password":"s3cret","url_address":["http://h"]}"#,
            r#"{"password":"","username":"u","url_address":["http://h"]}"#,
            r#"{"password":"s3cret","password":"s3cret","url_address":["http://h"]}"#,
            r#"{"ca_cert":"s3cret","url_address":["http://h"]}"#,
            r#"{"password":"s3cret" x}"#,
            "12345",
        ];
        for text in bad {
            let shown = format!("{:?}", error(text));
            assert!(!shown.contains("s3cret") && !shown.contains("12345"), "{text}: {shown}");
        }
        let config = ElasticConfig { password: Some("s3cret".into()), ..Default::default() };
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
