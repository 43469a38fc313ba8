//! What belongs to the page and is part of the program: scripts, style, texts. The problem: a browser should fetch it
//! once and never use it with another version's page. So all of it has one hash, which is part of every address, and a
//! browser may keep it for ever. Compressed once, at the start.

use super::texts::Texts;
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use rust_embed::RustEmbed;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher as _},
    io::{self, Write as _},
};

#[derive(RustEmbed)]
#[folder = "src/console/assets/"]
struct Embedded;

#[derive(Clone, Debug)]
struct Asset {
    kind: &'static str,
    plain: Bytes,
    gzip: Bytes,
}

/// All assets, ready to be sent.
#[derive(Clone, Debug)]
pub struct Assets {
    /// 16 hex digits; other assets have another.
    hash: String,
    by_name: BTreeMap<String, Asset>,
}

impl Assets {
    /// `texts` become a module each, `lang/<language>.js`.
    ///
    /// # Errors
    /// Compressing fails.
    pub fn load(texts: &Texts) -> io::Result<Self> {
        let files =
            Embedded::iter().filter_map(|name| Some((name.to_string(), Embedded::get(&name)?.data.into_owned())));
        let modules = texts.all().map(|(language, text)| (format!("lang/{language}.js"), text.module().into_bytes()));
        let (mut hasher, mut by_name) = (DefaultHasher::new(), BTreeMap::new());
        for (name, content) in files.chain(modules).collect::<BTreeMap<_, _>>() {
            hasher.write(name.as_bytes());
            hasher.write(&content);
            by_name.insert(name.clone(), Asset { kind: kind(&name), gzip: gzip(&content)?, plain: content.into() });
        }
        Ok(Self { hash: format!("{:016x}", hasher.finish()), by_name })
    }

    /// What every address of an asset begins with.
    pub fn base(&self) -> String {
        format!("/assets/{}", self.hash)
    }

    /// The names of the scripts that a page's own script imports, itself included, without the texts.
    pub fn scripts(&self, page: &str) -> Vec<&str> {
        let (mut found, mut next) = (BTreeSet::new(), vec![page]);
        while let Some(name) = next.pop() {
            if let Some((name, script)) = self.by_name.get_key_value(name)
                && found.insert(name.as_str())
            {
                next.extend(imports(&script.plain));
            }
        }
        found.into_iter().collect()
    }

    fn get(&self, hash: &str, name: &str) -> Option<&Asset> {
        self.by_name.get(name).filter(|_| hash == self.hash)
    }
}

/// The modules beside it that a script begins with.
fn imports(script: &[u8]) -> impl Iterator<Item = &str> {
    let text = std::str::from_utf8(script).unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with("import ") || line.starts_with("} from "));
    lines.filter_map(|line| line.split("'./").nth(1)?.split('\'').next())
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

pub fn gzip(content: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?.into())
}

/// Whether the browser takes gzip.
pub fn takes_gzip(request: &HttpRequest) -> bool {
    let accepted = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|text| text.split(',').any(|one| one.trim().split(';').next() == Some("gzip")))
}

/// `GET /assets/HASH/NAME`.
pub async fn serve(request: HttpRequest, path: web::Path<(String, String)>, assets: web::Data<Assets>) -> HttpResponse {
    let (hash, name) = path.into_inner();
    let Some(asset) = assets.get(&hash, &name) else { return HttpResponse::NotFound().finish() };
    let tag = format!("\"{hash}\"");
    let mut answer = HttpResponse::Ok();
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    if known {
        answer = HttpResponse::NotModified();
    }
    answer
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::ETAG, tag))
        .insert_header((header::VARY, "accept-encoding"))
        .insert_header((header::CONTENT_TYPE, asset.kind));
    if known {
        return answer.finish();
    }
    if takes_gzip(&request) {
        answer.insert_header((header::CONTENT_ENCODING, "gzip"));
        return answer.body(asset.gzip.clone());
    }
    answer.body(asset.plain.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_scripts_that_it_will_ask_for_and_no_others() {
        let assets = Assets::load(&Texts::load().unwrap()).unwrap();
        assert_eq!(assets.scripts("login.js"), ["login.js", "util.js"]);
        let search = assets.scripts("search.js");
        assert!(["bar.js", "chart.js", "rows.js", "util.js"].iter().all(|name| search.contains(name)), "{search:?}");
        assert!(!search.contains(&"login.js"));
        assert!(assets.scripts("nothing.js").is_empty());
    }
}
