//! The JSON of a document. The problem: the transfer and the embedded index have to write the same documents, byte for
//! byte, and quickly; so what all lines of a file share is written once, and there is one place that knows the fields.

use super::{json, time::TimeText};
use crate::{flow::FileId, messages::Part};
use std::{collections::BTreeMap, io::Write};

/// What the documents of one file, or of one topic's foreign records, have in common.
#[derive(Debug)]
pub(super) struct Body {
    /// `"host":{..},"log":{..,"offset":` for ours, empty for foreign.
    before_offset: Vec<u8>,
    /// `"labels":{..},"logweir":{..` up to where part or partition may follow.
    after_offset: Vec<u8>,
}

/// Where a line stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Position {
    /// Our own line: its first byte in its file.
    File { offset: u64 },
    /// A foreign record.
    Partition { partition: i32, offset: i64 },
}

/// `"labels":{..},`, or nothing where there are none.
pub(super) fn label_text(labels: &BTreeMap<String, String>) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in labels {
        text.extend_from_slice(if text.is_empty() { b"\"labels\":{\"" } else { b",\"" });
        json::write_escaped(&mut text, name.as_bytes());
        text.extend_from_slice(b"\":\"");
        json::write_escaped(&mut text, value.as_bytes());
        text.push(b'"');
    }
    if !text.is_empty() {
        text.extend_from_slice(b"},");
    }
    text
}

impl Body {
    /// `labels`: see [`label_text`].
    pub(super) fn ours(host: &[u8], path: &[u8], file: FileId, topic: &str, labels: &[u8]) -> Self {
        let mut before_offset = b"\"host\":{\"name\":\"".to_vec();
        json::write_escaped(&mut before_offset, host);
        before_offset.extend_from_slice(b"\"},\"log\":{\"file\":{\"path\":\"");
        json::write_escaped(&mut before_offset, path);
        before_offset.extend_from_slice(b"\"},\"offset\":");
        let mut after_offset = labels.to_vec();
        after_offset.extend_from_slice(format!("\"logweir\":{{\"file\":\"{file}\",\"topic\":\"").as_bytes());
        json::write_escaped(&mut after_offset, topic.as_bytes());
        after_offset.push(b'"');
        Self { before_offset, after_offset }
    }

    pub(super) fn foreign(topic: &str) -> Self {
        let mut after_offset = b"\"logweir\":{\"topic\":\"".to_vec();
        json::write_escaped(&mut after_offset, topic.as_bytes());
        after_offset.push(b'"');
        Self { before_offset: Vec::new(), after_offset }
    }

    /// Appends the document of one line, without a line end.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        (time, time_ms): (&mut TimeText, u64),
        position: Position,
        part: Part,
        value: &[u8],
    ) {
        out.extend_from_slice(b"{\"@timestamp\":\"");
        time.write(out, time_ms);
        out.extend_from_slice(b"\",");
        if let Position::File { offset } = position {
            out.extend_from_slice(&self.before_offset);
            number(out, offset as i64);
            out.extend_from_slice(b"},");
        }
        out.extend_from_slice(&self.after_offset);
        if let Position::Partition { partition, offset } = position {
            out.extend_from_slice(b",\"partition\":");
            number(out, partition.into());
            out.extend_from_slice(b",\"offset\":");
            number(out, offset);
        }
        write_part(out, part);
        let valid = std::str::from_utf8(value).is_ok();
        if !valid {
            out.extend_from_slice(b",\"invalid_utf8\":true");
        }
        out.extend_from_slice(b"},\"message\":\"");
        json::write_checked(out, value, valid);
        out.extend_from_slice(b"\"}");
    }
}

/// A decimal number.
fn number(out: &mut Vec<u8>, number: i64) {
    let mut text = [0u8; 20];
    let (mut at, mut rest) = (text.len(), number.unsigned_abs());
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        text[at] = b'-';
    }
    out.extend_from_slice(&text[at..]);
}

fn write_part(out: &mut Vec<u8>, part: Part) {
    match part {
        Part::Whole => {}
        Part::Last => out.extend_from_slice(b",\"part\":\"last\""),
        // Writing to a Vec can't fail.
        Part::Nth(n) => write!(out, ",\"part\":\"{n}\"").unwrap_or(()),
    }
}
