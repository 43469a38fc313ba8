//! Milliseconds since 1970 as UTC text, years 1970 to 9999. The problem: every document has a time; neighbours mostly share
//! its second, so the text up to the second is kept.

use crate::calendar::date;

/// 9999-12-31T23:59:59.999Z, the last time that has this form.
pub(super) const LAST_MS: u64 = 253_402_300_799_999;

pub(super) const HOUR_MS: u64 = 3_600_000;

/// Writes RFC 3339 with milliseconds.
#[derive(Debug)]
pub(super) struct TimeText {
    second: u64,
    /// `2026-11-21T10:06:09.`
    text: [u8; 20],
}

impl Default for TimeText {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00." }
    }
}

fn put(to: &mut [u8], mut number: u32) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl TimeText {
    /// `ms` at most [`LAST_MS`].
    pub(super) fn write(&mut self, out: &mut Vec<u8>, ms: u64) {
        let second = ms / 1000;
        if second != self.second {
            self.second = second;
            let (year, month, day) = date((second / 86_400) as i64);
            let of_day = (second % 86_400) as u32;
            put(&mut self.text[0..4], year as u32);
            put(&mut self.text[5..7], month);
            put(&mut self.text[8..10], day);
            put(&mut self.text[11..13], of_day / 3600);
            put(&mut self.text[14..16], of_day / 60 % 60);
            put(&mut self.text[17..19], of_day % 60);
        }
        let mut tail = *b"000Z";
        put(&mut tail[..3], (ms % 1000) as u32);
        out.extend_from_slice(&self.text);
        out.extend_from_slice(&tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        let mut text = TimeText::default();
        let mut at = |ms| {
            let mut out = Vec::new();
            text.write(&mut out, ms);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400_007), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(1_795_246_112_111), "2026-11-21T07:28:32.111Z");
        assert_eq!(at(1_795_246_112_112), "2026-11-21T07:28:32.112Z");
        assert_eq!(at(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(at(LAST_MS), "9999-12-31T23:59:59.999Z");
    }
}
