//! What a path on this machine means. The problem: the page has to write the same entry for a folder as the command line
//! does, and cannot see the disk; so it asks here, shows what it is told, and writes it like any other entry.

use super::{Parts, ask, error::ApiError};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    path: PathBuf,
}

/// `GET /api/v1/paths?path=...`: `path`, `kind`, `problem` and `entries`. Nothing is written.
pub async fn meaning(asked: web::Query<Asked>, parts: web::Data<Parts>) -> Result<HttpResponse, ApiError> {
    let Some(paths) = parts.paths.clone() else {
        return Err(ApiError::not_found(
            "nothing is collected on this machine: paths are those of the agents' machines",
        ));
    };
    let path = asked.into_inner().path;
    if path.as_os_str().is_empty() {
        return Err(ApiError::bad("path: a file, a folder or a pattern is expected"));
    }
    // A disk that hangs holds up nobody else.
    let meant = web::block(move || paths.meaning(&path)).await;
    let meant = meant.map_err(|_| ApiError::unavailable("it is being shut down"))?;
    Ok(ask::json(&json!(meant.map_err(|error| ApiError::bad(error.to_string()))?)))
}
