//! The console: the page on which people read their logs, and the HTTP calls beneath it. The problem: what a person sees
//! has to come from wherever the documents are, Elasticsearch or the embedded index, so the console asks a
//! [`Backend`](crate::search::model::Backend), a [`LiveSource`], a [`Store`] and what is known of it, and knows nothing
//! else of the process around it.
//!
//! Every call below `/api/v1` is a line of [`routes`], every page one of [`pages`]; who may use it is decided by the
//! [`gate`] before anything else happens.
//!
//! ```text
//! request -> guard (from where?) -> gate (who?) -> the call: api, export, live, searches, entries, fleet, paths
//! GET  /  /collect  /agents  /pipeline     the pages (`pages`), /assets/HASH/... what belongs to them (`assets`)
//! GET  /metrics /health                   what the process tells of itself (`telemetry`, `health`)
//! ```

mod api;
mod ask;
mod assets;
mod body;
mod collected;
mod connection;
mod entrance;
pub mod entries;
mod error;
mod export;
mod fleet;
mod gate;
mod guard;
mod health;
mod live;
mod live_elastic;
mod openapi;
mod pages;
mod paths;
mod route;
mod routes;
mod searches;
mod server;
mod texts;
mod tls;

pub use entrance::{Entrance, TlsFiles};
pub use entries::Book;
pub use fleet::{AgentFiles, Answer, Answers, FilesByEtcd, Fleet, OwnFiles, Refusal};
pub use gate::{Author, Change, Ends, Person, Role, Topics, UserError, Users};
pub use live::{LiveEvent, LiveSource};
pub use live_elastic::LiveElastic;
pub use searches::import as import_searches;
pub use server::{Console, ConsoleError};

use crate::{
    collection::LocalPaths,
    search::model::Backend,
    store::Store,
    telemetry::{Health, JsonPage, Registry},
};
use std::sync::Arc;

/// What the console stands on.
#[derive(Clone)]
pub struct Parts {
    pub backend: Arc<dyn Backend>,
    pub live: Arc<dyn LiveSource>,
    /// What is collected.
    pub entries: Arc<Book>,
    /// What people change here: entries, users, sessions, the audit.
    pub store: Arc<dyn Store>,
    /// Who comes in, and how.
    pub entrance: Entrance,
    /// The key of the store that says how Elasticsearch is reached, if one does.
    pub connection: Option<String>,
    /// Who collects and carries.
    pub fleet: Arc<Fleet>,
    /// Which files one of them reads.
    pub agent_files: Arc<dyn AgentFiles>,
    /// What paths mean, where the console's own process collects files; `None`: they are on other machines.
    pub paths: Option<LocalPaths>,
    /// For `/metrics` and `/health`, which the same server answers.
    pub registry: Registry,
    pub health: Health,
    /// Further pages of JSON by path, for example `/files`.
    pub pages: Vec<(&'static str, JsonPage)>,
}
