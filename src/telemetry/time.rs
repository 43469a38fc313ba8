//! The time of the system, and its text in log and metrics.

use crate::calendar;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, by the system's clock.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Milliseconds since 1970 as `2026-11-21T10:15:00.123Z`.
pub fn rfc3339_ms(ms: u64) -> String {
    let text = i64::try_from(ms).ok().and_then(calendar::rfc3339);
    text.unwrap_or_else(|| format!("{ms} ms after 1970"))
}
