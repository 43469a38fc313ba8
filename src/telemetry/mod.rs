//! What the process tells its operators: log, mailbox counters, `/metrics`, `/health`.

mod by_topic;
mod health;
mod http;
mod log;
mod mailbox;
mod metrics;
mod process;
mod seen;
mod status;
mod time;

pub use by_topic::ByTopic;
pub use health::{Condition, Health, HealthReport};
pub use http::{HttpError, HttpServer, JsonPage, json_page, metrics_page, telemetry_routes};
pub use log::{LastError, Levels, LogGuard, init, init_for_tests};
pub use mailbox::{ActorStats, Handling, Mailbox, quantile_us};
pub use metrics::Registry;
pub use process::{Usage, usage};
pub use seen::{SEEN_PREFIX, Seen, brief};
pub use status::{
    BulkStatus, DeadLetterSample, DeadLetterStatus, STATUS_PREFIX, SinkWork, SourceStatus, Status, StatusBoard,
    TopicStatus, Totals, files_keys,
};
pub use time::{now_ms, rfc3339_ms};
