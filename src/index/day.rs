//! A day in UTC, by which the index is divided.

use crate::calendar::{self, DAY_MS};
use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

/// Days since 1970; written as `2026-11-21`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

impl Day {
    /// The day of a time in milliseconds since 1970.
    pub fn of_ms(ms: u64) -> Self {
        Self(u32::try_from(ms / DAY_MS as u64).unwrap_or(u32::MAX))
    }

    /// The day that it is.
    pub fn today() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self::of_ms(now.map_or(0, |since| since.as_millis() as u64))
    }

    /// Its first millisecond.
    pub fn begin_ms(self) -> i64 {
        i64::from(self.0) * DAY_MS
    }

    /// The first millisecond of the next day.
    pub fn end_ms(self) -> i64 {
        self.begin_ms() + DAY_MS
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = calendar::date(self.0.into());
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// The text is no day.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected a day like 2026-11-21")]
pub struct NoDay;

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, NoDay> {
        let part = |range| text.get(range).and_then(|digits: &str| digits.parse::<u32>().ok());
        let date = part(0..4).zip(part(5..7)).zip(part(8..10));
        let days = date.and_then(|((year, month), day)| calendar::days(year.into(), month, day));
        let day = days.and_then(|days| u32::try_from(days).ok()).map(Self).ok_or(NoDay)?;
        // There is one way to write it.
        (day.to_string() == text).then_some(day).ok_or(NoDay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_read_as_it_is_written() {
        for days in (0..60_000).chain([2_932_896]) {
            assert_eq!(Day(days).to_string().parse(), Ok(Day(days)), "{days}");
        }
        assert_eq!(Day::of_ms(1_795_246_112_111).to_string(), "2026-11-21");
        for wrong in
            ["", "2026", "2026-11-31", "2026-13-01", "1969-12-31", "2026-11-21x", "2026-1-21", "2026-11-21.bad"]
        {
            assert_eq!(wrong.parse::<Day>(), Err(NoDay), "{wrong}");
        }
    }

    #[test]
    fn a_day_begins_and_ends_at_midnight() {
        let day = Day::of_ms(1_795_246_112_111);
        assert_eq!((Day::of_ms(day.begin_ms() as u64), Day::of_ms(day.end_ms() as u64)), (day, Day(day.0 + 1)));
    }
}
