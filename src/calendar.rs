//! Dates in UTC, without a date library: the proleptic Gregorian calendar, counted in days since 1970. The problem: an
//! index is named after a day, a document has a time, a person asks for a date, and all of them have to mean the same.

/// Milliseconds of a day; UTC has no leap seconds here.
pub const DAY_MS: i64 = 86_400_000;

/// Days of an era of 400 years, and from 1 March of the year 0, where one begins, to 1970. Years that begin in March have
/// the leap day last. (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".)
const ERA_DAYS: i64 = 146_097;
const MARCH_0_TO_1970: i64 = 719_468;

/// Year, month, day of month of a number of days since 1970.
pub fn date(days: i64) -> (i64, u32, u32) {
    let days = days + MARCH_0_TO_1970;
    let (era, of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

/// Days since 1970 of a date; `None` where the calendar has no such day.
pub fn days(year: i64, month: u32, day: u32) -> Option<i64> {
    let march_year = year - i64::from(month <= 2);
    let (era, year_of_era) = (march_year.div_euclid(400), march_year.rem_euclid(400));
    let day_of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * ERA_DAYS + of_era - MARCH_0_TO_1970;
    // A 31 April would be a 1 May.
    (date(days) == (year, month, day)).then_some(days)
}

/// RFC 3339 with milliseconds; `None` outside of the years 0 to 9999.
pub fn rfc3339(ms: i64) -> Option<String> {
    let (days, of_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    let ms = of_day % 1000;
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_follows_the_one_before_and_leads_back_to_itself() {
        let (mut year, mut month, mut day) = (0, 1, 1);
        for n in days(0, 1, 1).unwrap()..days(2400, 1, 1).unwrap() {
            assert_eq!(date(n), (year, month, day), "day {n}");
            assert_eq!(days(year, month, day), Some(n));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = [31, 28 + u32::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            day += 1;
            if day > last {
                assert_eq!(days(year, month, day), None, "{year}-{month}-{day}");
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
        assert_eq!(date(0), (1970, 1, 1));
        for (month, day) in [(0, 1), (13, 1), (1, 0), (2, 30)] {
            assert_eq!(days(2024, month, day), None, "{month}-{day}");
        }
    }

    #[test]
    fn times_are_written_as_rfc_3339_in_utc() {
        let at = |ms| rfc3339(ms).unwrap();
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_795_246_112_111), "2026-11-21T07:28:32.111Z");
        assert_eq!(at(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(rfc3339(253_402_300_800_000), None);
    }
}
