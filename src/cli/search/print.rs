//! Lines as they are printed. The problem: a line of a log holds whatever somebody sent to a server, and a terminal
//! obeys control characters; so they are shown, not sent.

use super::super::{Exit, Failure};
use crate::{
    calendar,
    search::{
        marks::Marker,
        model::Hit,
        query::{DEFAULT_FIELD, Query},
    },
};
use serde_json::Value;
use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

const DIM: &str = "\x1b[2m";
const CYAN: &str = "\x1b[36m";
const FOUND: &str = "\x1b[1;31m";
const RESET: &str = "\x1b[0m";

/// Prints to stdout.
pub struct Printer {
    marker: Marker,
    colours: bool,
    json: bool,
    closed: bool,
}

/// A character as it may go to a terminal: none that moves the cursor, changes colours, or turns the direction of text.
pub fn harmless(c: char) -> char {
    match c {
        '\t' => ' ',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => '\u{fffd}',
        c => c,
    }
}

impl Printer {
    pub fn new(query: &Query, colours: bool, json: bool) -> Self {
        Self { marker: Marker::new(query), colours, json, closed: false }
    }

    /// Whether nobody reads any more (`head`).
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// # Errors
    /// Writing fails, for another reason than that nobody reads.
    pub fn hits(&mut self, hits: &[Hit]) -> Result<(), Failure> {
        let mut text = String::new();
        for hit in hits {
            text.push_str(&if self.json { json(hit) } else { self.line(hit) });
            text.push('\n');
        }
        self.write(&text)
    }

    /// Says that lines were left out.
    pub fn skipped(&self, lines: u64) {
        if lines > 0 {
            eprintln!("logweir: {lines} lines came too fast and are not shown");
        }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::new(Exit::Io, format!("stdout: {error}"))),
        }
    }

    /// Time, host, file and the line.
    fn line(&self, hit: &Hit) -> String {
        let mut out = String::new();
        let time = calendar::rfc3339(hit.time_ms).unwrap_or_else(|| hit.time_ms.to_string());
        self.coloured(&mut out, DIM, &time);
        let text = |name: &str| hit.fields.get(name).and_then(Value::as_str);
        let from = [text("host.name"), text("log.file.path").or(text("logweir.topic"))];
        for (colour, name) in [CYAN, DIM].into_iter().zip(from) {
            if let Some(name) = name {
                out.push(' ');
                self.coloured(&mut out, colour, name);
            }
        }
        out.push(' ');
        let message = text(DEFAULT_FIELD).unwrap_or_default();
        let mut at = 0;
        for mark in self.marker.marks(DEFAULT_FIELD, message) {
            out.extend(message[at..mark.start].chars().map(harmless));
            self.coloured(&mut out, FOUND, &message[mark.clone()]);
            at = mark.end;
        }
        out.extend(message[at..].chars().map(harmless));
        out
    }

    fn coloured(&self, out: &mut String, colour: &str, text: &str) {
        let text: String = text.chars().map(harmless).collect();
        // Writing to a String can't fail.
        let _ = if self.colours { write!(out, "{colour}{text}{RESET}") } else { write!(out, "{text}") };
    }
}

/// One object a line; JSON escapes what a terminal would obey, and what it leaves is escaped here.
fn json(hit: &Hit) -> String {
    let text = Value::Object(hit.fields.clone()).to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c >= '\u{7f}' && harmless(c) != c {
            let _ = write!(out, "\\u{:04x}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::super::super::search::parse::parse, *};
    use serde_json::json;

    fn hit(message: &str) -> Hit {
        let fields = json!({"message": message, "host.name": "web\u{1b}[2J-01", "log.file.path": "/var/log/a.log"});
        let Value::Object(fields) = fields else { unreachable!() };
        Hit { time_ms: 1_795_246_112_111, file: None, offset: None, fields, cursor: String::new() }
    }

    #[test]
    fn found_words_are_marked_and_control_characters_are_shown() {
        let query = parse("timed").unwrap();
        let plain = Printer::new(&query, false, false).line(&hit("read\ttimed\x1b]0;x\x07 out\u{202e}\u{9b}31m"));
        assert_eq!(
            plain,
            "2026-11-21T07:28:32.111Z web\u{241b}[2J-01 /var/log/a.log read timed\u{241b}]0;x\u{2407} out\u{fffd}\u{fffd}31m"
        );
        let coloured = Printer::new(&query, true, false).line(&hit("read timed out"));
        assert!(coloured.ends_with(&format!(" read {FOUND}timed{RESET} out")), "{coloured:?}");
    }

    #[test]
    fn json_stays_the_same_value_and_harms_no_terminal() {
        let hit = hit("a\x1b[31m \u{9b}2J \u{202e}b 失败");
        let text = json(&hit);
        assert!(text.chars().all(|c| harmless(c) == c), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), Value::Object(hit.fields));
    }
}
