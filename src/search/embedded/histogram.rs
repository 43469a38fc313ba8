//! How many, over time. Documents of a segment lie nearly in the order of time, so that most fall into the same bar as
//! the one before.

use super::{
    super::{
        histogram::{MAX_BARS, check_bars, too_many_bars},
        model::{Histogram, Scope, SearchError},
    },
    scan::Scan,
};
use std::collections::BTreeMap;

pub fn histogram(scan: &Scan<'_>, scope: &Scope, interval_ms: i64) -> Result<Histogram, SearchError> {
    check_bars(scope, interval_ms)?;
    let counted = scan.each(&scan.segments(), |segment| {
        let columns = segment.reader.fast_fields();
        let time = columns.i64("time").map_err(|error| segment.failed(&error))?.first_or_default_col(0);
        let mut bars: BTreeMap<i64, u64> = BTreeMap::new();
        let (mut begin, mut end, mut count) = (0, 0, 0);
        let mut times = [0; tantivy::COLLECT_BLOCK_BUFFER_LEN];
        segment.each_block(|docs| {
            let times = &mut times[..docs.len()];
            time.get_vals(docs, times);
            for &ms in &*times {
                if !(begin..end).contains(&ms) {
                    if count > 0 {
                        *bars.entry(begin).or_default() += count;
                    }
                    begin = ms.div_euclid(interval_ms).saturating_mul(interval_ms);
                    (end, count) = (begin.saturating_add(interval_ms), 0);
                }
                count += 1;
            }
        })?;
        if count > 0 {
            *bars.entry(begin).or_default() += count;
        }
        Ok(bars)
    })?;
    let mut bars: BTreeMap<i64, u64> = BTreeMap::new();
    for (begin, count) in counted.into_iter().flatten() {
        *bars.entry(begin).or_default() += count;
    }
    if bars.len() > MAX_BARS {
        return Err(too_many_bars());
    }
    Ok(Histogram { interval_ms, total: bars.values().sum(), bars: bars.into_iter().collect() })
}
