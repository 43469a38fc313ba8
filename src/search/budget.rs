//! How much one answer holds. The problem: ten thousand lines are a few megabytes or many gigabytes, and whoever asks
//! doesn't know which; so a page, and the lines around one, end where their bytes are used up, in both stores behind the
//! same line.

use super::model::{Around, Hit};
use serde_json::Value;

/// Bytes of all lines of one answer. A line that is larger is an answer by itself.
pub const ANSWER_BYTES: usize = 16 << 20;

impl Hit {
    /// The length of all its names and values, roughly that of its JSON.
    pub fn bytes(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + bytes(value)).sum()
    }
}

fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + bytes(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// What is left of an answer's bytes.
#[derive(Debug)]
pub struct Room {
    left: usize,
    untouched: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: ANSWER_BYTES, untouched: true }
    }
}

impl Room {
    /// Whether there is room for this hit, which then takes it. For the first one there always is.
    pub fn take(&mut self, hit: &Hit) -> bool {
        let (bytes, first) = (hit.bytes(), std::mem::take(&mut self.untouched));
        let fits = first || bytes <= self.left;
        if fits {
            self.left = self.left.saturating_sub(bytes);
        }
        fits
    }

    pub fn left(&self) -> usize {
        self.left
    }
}

/// Lines on one side of another, the nearest first.
struct Side<I> {
    from: I,
    hits: Vec<Hit>,
    ended: bool,
}

impl<E, I: Iterator<Item = Result<Hit, E>>> Side<I> {
    fn new(from: I) -> Self {
        Self { from, hits: Vec::new(), ended: false }
    }

    /// Takes the next one, if there is any; whether there was room. Without the nearest one nobody could go on from here.
    fn step(&mut self, room: &mut Room) -> Result<bool, E> {
        let next = if self.ended { None } else { self.from.next().transpose()? };
        let Some(hit) = next else {
            self.ended = true;
            return Ok(true);
        };
        let fits = room.take(&hit) || self.hits.is_empty();
        if fits {
            self.hits.push(hit);
        }
        Ok(fits)
    }

    /// Whether there may be more of them, where so many were asked for.
    fn more(&self, asked: usize) -> bool {
        !self.ended || self.hits.len() >= asked
    }
}

/// The lines around one, taken on both sides in turn. `before` and `after`: how many are asked for, and these, the nearest
/// first; none is read that there is no room for but one.
pub fn centred<E>(
    line: Option<Hit>,
    before: (usize, impl Iterator<Item = Result<Hit, E>>),
    after: (usize, impl Iterator<Item = Result<Hit, E>>),
) -> Result<Around, E> {
    let mut room = Room::default();
    if let Some(line) = &line {
        room.take(line);
    }
    let (mut earlier, mut later) = (Side::new(before.1.take(before.0)), Side::new(after.1.take(after.0)));
    while !(earlier.ended && later.ended) {
        if !later.step(&mut room)? || !earlier.step(&mut room)? {
            break;
        }
    }
    let (more_before, more_after) = (earlier.more(before.0), later.more(after.0));
    earlier.hits.reverse();
    Ok(Around { before: earlier.hits, line, after: later.hits, more_before, more_after })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn hit(offset: u64, bytes: usize) -> Hit {
        let fields = serde_json::Map::from_iter([("message".to_owned(), "x".repeat(bytes - 7).into())]);
        Hit { time_ms: 1, file: None, offset: Some(offset), fields, cursor: String::new() }
    }

    fn around(line: usize, before: &[usize], after: &[usize], asked: usize) -> (Vec<u64>, Vec<u64>, bool, bool) {
        let hits = |sizes: &[usize]| {
            let hits: Vec<_> = (1..).zip(sizes).map(|(n, size)| Ok::<_, Infallible>(hit(n, *size))).collect();
            hits.into_iter()
        };
        let found = centred(Some(hit(0, line)), (asked, hits(before)), (asked, hits(after)));
        let Around { before, after, more_before, more_after, .. } = found.unwrap_or_else(|never| match never {});
        let offsets = |hits: Vec<Hit>| hits.iter().filter_map(|hit| hit.offset).collect();
        (offsets(before), offsets(after), more_before, more_after)
    }

    #[test]
    fn a_room_holds_its_bytes_and_always_one_line() {
        let mut room = Room::default();
        assert!(room.take(&hit(1, ANSWER_BYTES + 1)), "the first, however large");
        assert!(!room.take(&hit(2, 8)));
        let mut room = Room::default();
        assert!((0..16).all(|n| room.take(&hit(n, 1 << 20))));
        assert!(!room.take(&hit(16, 8)) && room.left() == 0);
    }

    #[test]
    fn the_bytes_of_values_of_all_kinds_count() {
        let fields = serde_json::json!({"ab": "cde", "n": 5, "list": ["x", "yz"], "deep": {"a": null}});
        let fields = fields.as_object().cloned().unwrap_or_default();
        let hit = Hit { time_ms: 1, file: None, offset: None, fields, cursor: String::new() };
        assert_eq!(hit.bytes(), 5 + 9 + 7 + 13);
    }

    #[test]
    fn the_lines_around_one_are_the_nearest_of_both_sides() {
        const MIB: usize = 1 << 20;
        assert_eq!(around(8, &[8; 5], &[8; 2], 5), (vec![5, 4, 3, 2, 1], vec![1, 2], true, false));
        assert_eq!(around(8, &[8; 4], &[8; 9], 5), (vec![4, 3, 2, 1], vec![1, 2, 3, 4, 5], false, true));
        assert_eq!(around(4 * MIB, &[4 * MIB; 9], &[4 * MIB; 9], 9), (vec![1], vec![1, 2], true, true));
        assert_eq!(around(MIB, &[MIB; 20], &[MIB; 2], 20), ((1..=13).rev().collect(), vec![1, 2], true, false));
        assert_eq!(around(20 * MIB, &[9 * MIB; 2], &[9 * MIB; 2], 2), (vec![1], vec![1], true, true), "one each");
    }
}
