//! Answers up to a length. The problem: an answer to a search comes in pieces and without its length, and the official
//! client reads any answer to its end; a thousand long lines would be gigabytes before anybody could say no. So
//! questions are asked by a plain client, with the same credentials, which stops reading.

use super::credentials::ElasticConfig;
use bytes::{Bytes, BytesMut};
use elasticsearch::{
    cert::Certificate,
    http::headers::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use reqwest::RequestBuilder;
use url::Url;

/// No answer is read beyond this.
pub const MOST: usize = 64 << 20;

/// The way to one server.
#[derive(Debug)]
pub struct Reader {
    client: reqwest::Client,
    /// Ends with a slash.
    url: Url,
    authorization: Option<HeaderValue>,
}

impl Reader {
    /// # Errors
    /// The credentials or the CA can't be used.
    pub fn new(config: &ElasticConfig, mut url: Url) -> Result<Self, String> {
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json.clone()), (ACCEPT, json)]);
        let mut builder = reqwest::Client::builder().no_proxy().default_headers(headers);
        if let Some(pem) = &config.ca_cert {
            let certificates = Certificate::from_pem(pem.as_bytes()).map_err(|error| error.to_string())?;
            builder = certificates.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        let client = builder.build().map_err(|error| error.to_string())?;
        let authorization = authorization(config, client.get(url.clone()))?;
        Ok(Self { client, url, authorization })
    }

    /// The status and the body, with a body by POST. A body of more than [`MOST`] is left, and `None`.
    ///
    /// # Errors
    /// No answer, or not all of it.
    pub async fn ask(&self, path: &str, body: Option<String>) -> Result<(u16, Option<Bytes>), reqwest::Error> {
        let whole = format!("{}{path}", self.url);
        let mut request = match body {
            Some(body) => self.client.post(whole).body(body),
            None => self.client.get(whole),
        };
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut answer = request.send().await?;
        let status = answer.status().as_u16();
        let mut read = BytesMut::new();
        while let Some(piece) = answer.chunk().await? {
            if read.len() + piece.len() > MOST {
                return Ok((status, None));
            }
            read.extend_from_slice(&piece);
        }
        Ok((status, Some(read.freeze())))
    }
}

/// As the official client sends it. `request` is never sent: it knows how a password is written.
fn authorization(config: &ElasticConfig, request: RequestBuilder) -> Result<Option<HeaderValue>, String> {
    let basic = |user: &str, password: &str| {
        let request = request.basic_auth(user, Some(password)).build().map_err(|error| error.to_string())?;
        let value = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        Ok::<_, String>(value.unwrap_or_default().to_owned())
    };
    let text = match (&config.api_key, &config.username, &config.password) {
        (Some(key), ..) => match key.split_once(':') {
            Some((id, key)) => basic(id, key)?.replacen("Basic", "ApiKey", 1),
            None => format!("ApiKey {key}"),
        },
        (None, Some(user), Some(password)) => basic(user, password)?,
        _ => return Ok(None),
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| "the credentials have unusable characters".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    fn sent(config: ElasticConfig) -> Option<String> {
        let reader = Reader::new(&config, Url::parse("http://a/es").unwrap()).unwrap();
        assert_eq!(reader.url.as_str(), "http://a/es/");
        reader.authorization.map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn credentials_are_sent_as_elasticsearch_takes_them() {
        let some = |text: &str| Some(text.to_owned());
        let key = |key: &str| sent(ElasticConfig { api_key: some(key), ..ElasticConfig::default() });
        assert_eq!(key("YTpi"), some("ApiKey YTpi"));
        assert_eq!(key("a:b"), some("ApiKey YTpi"));
        let user = ElasticConfig { username: some("a"), password: some("b"), ..ElasticConfig::default() };
        assert_eq!(sent(user), some("Basic YTpi"));
        assert_eq!(sent(ElasticConfig::default()), None);
    }

    /// What a server answers in pieces of a MiB without saying how many, and how many of them it could send.
    async fn asked(pieces: usize) -> (Option<usize>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
            let piece = [b"100000\r\n".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
            for sent in 0..pieces {
                if stream.write_all(&piece).await.is_err() {
                    return sent;
                }
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
            pieces
        });
        let reader = Reader::new(&ElasticConfig::default(), url).unwrap();
        let (status, body) = reader.ask("_search", Some("{}".to_owned())).await.unwrap();
        assert_eq!(status, 200);
        (body.map(|body| body.len()), serving.await.unwrap())
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_the_limit_and_no_further() {
        assert_eq!(asked(64).await, (Some(MOST), 64));
        let (body, sent) = asked(300).await;
        assert_eq!(body, None);
        assert!(sent < 100, "{sent} MiB were taken");
    }
}
