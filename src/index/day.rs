//! A day in UTC, by which the index is divided.

use crate::document::civil;
use std::{fmt, str::FromStr};

const DAY_MS: u64 = 86_400_000;

/// Days since 1970; written as `2026-11-21`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

impl Day {
    /// The day of a time in milliseconds since 1970.
    pub fn of_ms(ms: u64) -> Self {
        Self(u32::try_from(ms / DAY_MS).unwrap_or(u32::MAX))
    }

    /// Its first millisecond.
    pub fn begin_ms(self) -> i64 {
        i64::from(self.0) * DAY_MS as i64
    }

    /// The first millisecond of the next day.
    pub fn end_ms(self) -> i64 {
        self.begin_ms() + DAY_MS as i64
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.into());
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
        let number = |range| text.get(range).and_then(|digits: &str| digits.parse::<u32>().ok());
        let (Some(year), Some(month)) = (number(0..4), number(5..7)) else { return Err(NoDay) };
        // No calendar backwards: a month has 31 days at most, and the guess is at most 31 days early.
        let months = (u64::from(year).checked_sub(1970).ok_or(NoDay)?) * 12 + u64::from(month);
        let guess = (months.saturating_sub(1) * 2_629_746 / 86_400).saturating_sub(3);
        let days = (guess..guess + 40).filter_map(|days| u32::try_from(days).ok()).map(Self);
        days.into_iter().find(|day| day.to_string() == text).ok_or(NoDay)
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
