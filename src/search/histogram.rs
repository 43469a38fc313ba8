//! What holds for every histogram, whoever counts it.

use super::model::{Scope, SearchError};

/// Bars of one answer.
pub const MAX_BARS: usize = 2000;

pub fn too_many_bars() -> SearchError {
    SearchError::Refused(format!("more than {MAX_BARS} bars; take a wider interval or a shorter time"))
}

/// What can be said against an interval before anything is counted.
pub fn check_bars(scope: &Scope, interval_ms: i64) -> Result<(), SearchError> {
    if interval_ms < 1 {
        return Err(SearchError::Refused("an interval has at least a millisecond".to_owned()));
    }
    let (Some(from), Some(to)) = (scope.from_ms, scope.to_ms) else { return Ok(()) };
    if to.saturating_sub(from) / interval_ms > MAX_BARS as i64 { Err(too_many_bars()) } else { Ok(()) }
}
