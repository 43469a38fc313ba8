//! Times as people write them: `2026-11-21T10:00:00+01:00`, milliseconds since 1970, `now-15m`. The problem: the command
//! line, the page and a query have to understand the same ones, and a time without a zone would mean another one on
//! every machine.

use crate::calendar::{self, DAY_MS};

/// What a time in a query has to look like.
pub const FORM: &str = "a time like 2026-11-21T10:00:00Z or 2026-11-21, or milliseconds since 1970";

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    #[error("{0:?} is no time: write {FORM}, or relative to now: now-15m, -2d (s m h d w)")]
    NoTime(String),
    #[error("{0:?} names no time zone: put Z for UTC, or +01:00, behind it")]
    NoZone(String),
    #[error("the span ends ({to}) before it begins ({from})")]
    Backwards { from: String, to: String },
}

/// Milliseconds since 1970 of a time that may be relative to now.
///
/// # Errors
/// It is no time.
pub fn time(text: &str, now_ms: i64) -> Result<i64, TimeError> {
    let text = text.trim();
    let relative = match text.strip_prefix("now") {
        Some("") => return Ok(now_ms),
        Some(rest) => Some(rest),
        None if text.starts_with(['-', '+']) && text.ends_with(|c: char| c.is_ascii_alphabetic()) => Some(text),
        None => None,
    };
    let Some(relative) = relative else { return absolute(text) };
    let shift = shift(relative).and_then(|shift| now_ms.checked_add(shift));
    shift.ok_or_else(|| TimeError::NoTime(text.to_owned()))
}

/// A length of time in milliseconds: `15m`.
pub fn length(text: &str) -> Option<i64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_MS,
        "w" => 7 * DAY_MS,
        _ => return None,
    };
    digits(number)?.checked_mul(unit)
}

fn shift(text: &str) -> Option<i64> {
    match text.split_at_checked(1)? {
        ("-", rest) => length(rest).map(|length| -length),
        ("+", rest) => length(rest),
        _ => None,
    }
}

/// Milliseconds since 1970 of a time that is the same whenever it is asked.
///
/// # Errors
/// It is no such time.
pub fn absolute(text: &str) -> Result<i64, TimeError> {
    let text = text.trim();
    let no_time = || TimeError::NoTime(text.to_owned());
    let number = text.strip_prefix('-').unwrap_or(text);
    if let Some(ms) = digits(number) {
        return Ok(if number.len() < text.len() { -ms } else { ms });
    }
    let (date, clock) = text.split_at_checked(10).ok_or_else(no_time)?;
    let day_ms = date_ms(date).ok_or_else(no_time)?;
    let Some(clock) = clock.strip_prefix(['T', 't', ' ']) else {
        return if clock.is_empty() { Ok(day_ms) } else { Err(no_time()) };
    };
    let (clock, zone) = match clock.find(['Z', 'z', '+', '-']) {
        Some(at) => clock.split_at(at),
        None => (clock, ""),
    };
    let of_day = clock_ms(clock).ok_or_else(no_time)?;
    if zone.is_empty() {
        return Err(TimeError::NoZone(text.to_owned()));
    }
    Ok(day_ms + of_day - zone_ms(zone).ok_or_else(no_time)?)
}

/// First millisecond of a span, and the first behind it.
///
/// # Errors
/// One of them is no time, or they are the wrong way round.
pub fn span(from: Option<&str>, to: Option<&str>, now_ms: i64) -> Result<(Option<i64>, Option<i64>), TimeError> {
    let read = |text: Option<&str>| text.filter(|text| !text.trim().is_empty()).map(|text| time(text, now_ms));
    let (from_ms, to_ms) = (read(from).transpose()?, read(to).transpose()?);
    match (from_ms, to_ms) {
        (Some(begin), Some(end)) if end < begin => Err(TimeError::Backwards {
            from: from.unwrap_or_default().to_owned(),
            to: to.unwrap_or_default().to_owned(),
        }),
        both => Ok(both),
    }
}

/// A number of digits alone.
fn digits(text: &str) -> Option<i64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| all)
}

fn fixed(text: &str, places: usize, up_to: i64) -> Option<i64> {
    digits(text).filter(|number| text.len() == places && *number <= up_to)
}

/// `2026-11-21`, in UTC.
fn date_ms(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let year = fixed(parts.next()?, 4, 9999)?;
    let month = fixed(parts.next()?, 2, 12)?;
    let day = fixed(parts.next()?, 2, 31)?;
    let days = calendar::days(year, month as u32, day as u32);
    days.filter(|_| parts.next().is_none()).map(|days| days * DAY_MS)
}

/// `10:00`, `10:00:00`, `10:00:00.123`; digits beyond milliseconds are cut off.
fn clock_ms(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let fraction = digits(fraction).and(fraction.get(..fraction.len().min(3)))?;
    let ms = digits(fraction)? * 10_i64.pow(3 - fraction.len() as u32);
    let mut parts = clock.split(':');
    let hour = fixed(parts.next()?, 2, 23)?;
    let minute = fixed(parts.next()?, 2, 59)?;
    // A leap second is the next minute's first.
    let second = parts.next().map_or(Some(0), |second| fixed(second, 2, 60))?;
    parts.next().is_none().then_some(((hour * 60 + minute) * 60 + second) * 1000 + ms)
}

fn zone_ms(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = text.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':').or_else(|| rest.split_at_checked(2))?;
    let ms = (fixed(hours, 2, 23)? * 60 + fixed(minutes, 2, 59)?) * 60_000;
    Some(if sign == "-" { -ms } else { ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_246_112_111;

    #[test]
    fn times_are_read_in_every_form() {
        for (text, ms) in [
            ("2026-11-21T07:28:32.111Z", NOW),
            ("2026-11-21t08:28:32.111+01:00", NOW),
            ("2026-11-21 02:28:32.1119999-0500", NOW),
            ("1795246112111", NOW),
            ("now", NOW),
            ("now-15m", NOW - 900_000),
            ("-15m", NOW - 900_000),
            ("now+2d", NOW + 2 * DAY_MS),
            ("-1w", NOW - 7 * DAY_MS),
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000),
            ("1969-12-31T23:59Z", -60_000),
            ("-60000", -60_000),
        ] {
            assert_eq!(time(text, NOW), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_to_write() {
        for text in [
            "",
            "yesterday",
            "now-",
            "now-5",
            "now 5m",
            "-m",
            "2026-02-29",
            "2026-13-01",
            "2026-11-21T",
            "2026-11-21T25:00Z",
            "2026-11-21T10:00:00.Z",
            "2026-11-21T10:00:00.٣Z",
            "99999999999999999999",
            "-99999999999999999w",
            "2026-1-1",
            "2026-11-21T10:00:00+1",
            "2026-11-2\u{e9}",
        ] {
            assert!(matches!(time(text, NOW), Err(TimeError::NoTime(_))), "{text}");
        }
        assert_eq!(time("2026-11-21T10:00", NOW), Err(TimeError::NoZone("2026-11-21T10:00".into())));
        assert!(absolute("now-1h").is_err());
    }

    #[test]
    fn a_span_may_be_open_and_not_backwards() {
        assert_eq!(span(Some("-1h"), None, NOW), Ok((Some(NOW - 3_600_000), None)));
        assert_eq!(span(Some(""), Some("now"), NOW), Ok((None, Some(NOW))));
        assert!(matches!(span(Some("now"), Some("-1h"), NOW), Err(TimeError::Backwards { .. })));
    }

    proptest! {
        #[test]
        fn a_written_time_is_read_back(ms in -62_167_219_200_000_i64..253_402_300_800_000) {
            prop_assert_eq!(absolute(&calendar::rfc3339(ms).unwrap()), Ok(ms));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}", digits in "[-+0-9:TZnowms. ]{0,30}") {
            let _ = (time(&text, NOW), time(&digits, i64::MAX));
        }
    }
}
