//! The name of the index a document goes to. The problem: a template is written by people, a topic may have any case
//! and length, and Elasticsearch refuses a wrong name for every document; so each template gives a legal name for
//! every topic and time.
//!
//! A template is text with `{topic}` and `%Y %m %d %H` (UTC). The name is then made legal:
//! - lower-cased;
//! - each of `\ / * ? " < > | , # :`, white space and control characters becomes `_`;
//! - a name that begins with `-`, `_`, `+` or `.` gets `logweir` in front;
//! - where it could get longer than 255 bytes, the topic is cut and ends in `-` and 8 hex digits of its CRC-32C.

use super::time::HOUR_MS;
use crate::calendar::date;

/// Where documents go whose entry doesn't say.
pub const DEFAULT_INDEX: &str = "logweir-{topic}-%Y.%m.%d";

const MAX_BYTES: usize = 255;
const MAX_TEMPLATE_BYTES: usize = 128;
const PREFIX: &str = "logweir";

/// The template can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexTemplateError {
    #[error("index template is empty")]
    Empty,
    #[error("index template is longer than {MAX_TEMPLATE_BYTES} bytes")]
    TooLong,
    #[error("index template: `{0}` is not known; known are {{topic}} %Y %m %d %H")]
    UnknownField(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Topic,
    Year,
    Month,
    Day,
    Hour,
}

/// A checked template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexTemplate {
    pieces: Vec<Piece>,
}

impl std::str::FromStr for IndexTemplate {
    type Err = IndexTemplateError;

    fn from_str(template: &str) -> Result<Self, IndexTemplateError> {
        if template.is_empty() {
            return Err(IndexTemplateError::Empty);
        }
        if template.len() > MAX_TEMPLATE_BYTES {
            return Err(IndexTemplateError::TooLong);
        }
        let (mut pieces, mut rest) = (Vec::new(), template);
        while !rest.is_empty() {
            let text = rest.find(['{', '%']).unwrap_or(rest.len());
            if text > 0 {
                pieces.push(Piece::Text(legal(&rest[..text])));
                rest = &rest[text..];
                continue;
            }
            let (piece, len) = field(rest)?;
            pieces.push(piece);
            rest = &rest[len..];
        }
        Ok(Self { pieces })
    }
}

fn field(rest: &str) -> Result<(Piece, usize), IndexTemplateError> {
    let known =
        [("{topic}", Piece::Topic), ("%Y", Piece::Year), ("%m", Piece::Month), ("%d", Piece::Day), ("%H", Piece::Hour)];
    for (text, piece) in known {
        if rest.starts_with(text) {
            return Ok((piece, text.len()));
        }
    }
    let shown = match rest.find('}') {
        Some(end) if rest.starts_with('{') => &rest[..=end],
        _ => &rest[..rest.char_indices().nth(2).map_or(rest.len(), |(i, _)| i)],
    };
    Err(IndexTemplateError::UnknownField(shown.to_owned()))
}

/// Lower-cased, with illegal characters replaced.
fn legal(text: &str) -> String {
    let illegal = |c: char| r#"\/*?"<>|,#:"#.contains(c) || c.is_whitespace() || c.is_control();
    text.chars().flat_map(char::to_lowercase).map(|c| if illegal(c) { '_' } else { c }).collect()
}

fn legal_start(mut name: String) -> String {
    if name.starts_with(['-', '_', '+', '.']) {
        name.insert_str(0, PREFIX);
    }
    name
}

impl IndexTemplate {
    /// The index of a topic's document of this time (milliseconds since 1970).
    pub fn name(&self, topic: &str, ms: u64) -> String {
        let (year, month, day) = date((ms / 86_400_000) as i64);
        let topic = self.topic_text(topic);
        let name = self.join(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Topic => topic.clone(),
            Piece::Year => format!("{year:04}"),
            Piece::Month => format!("{month:02}"),
            Piece::Day => format!("{day:02}"),
            Piece::Hour => format!("{:02}", ms / HOUR_MS % 24),
        });
        legal_start(name)
    }

    /// A wildcard that all names match, for searching.
    pub fn pattern_of_all(&self) -> String {
        let mut pattern = legal_start(self.join(|piece| match piece {
            Piece::Text(text) => text.clone(),
            _ => "*".to_owned(),
        }));
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        pattern
    }

    /// A wildcard that this topic's names of all times match, for Elasticsearch's index template. A template that
    /// begins with text of its own has one for all topics; another one has one for each, so that it never covers
    /// indices which aren't ours.
    pub fn pattern(&self, topic: &str) -> String {
        let for_all = matches!(self.pieces.first(), Some(Piece::Text(_)));
        let topic = if for_all { "*".to_owned() } else { self.topic_text(topic) };
        let mut pattern = legal_start(self.join(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Topic => topic.clone(),
            _ => "*".to_owned(),
        }));
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        pattern
    }

    /// The topic as it stands in a name: legal, and cut where the name would be too long.
    fn topic_text(&self, topic: &str) -> String {
        let topic = legal(topic);
        let topics = self.pieces.iter().filter(|p| **p == Piece::Topic).count().max(1);
        let others = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Topic => 0,
            Piece::Year => 4,
            Piece::Month | Piece::Day | Piece::Hour => 2,
        });
        let room = MAX_BYTES.saturating_sub(PREFIX.len() + others.sum::<usize>()) / topics;
        if topic.len() <= room {
            return topic;
        }
        let end = (0..=room.saturating_sub(9)).rev().find(|&i| topic.is_char_boundary(i)).unwrap_or(0);
        format!("{}-{:08x}", &topic[..end], crc32c::crc32c(topic.as_bytes()))
    }

    fn join(&self, text: impl Fn(&Piece) -> String) -> String {
        self.pieces.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_795_246_112_111;

    fn name(template: &str, topic: &str) -> String {
        template.parse::<IndexTemplate>().unwrap().name(topic, MS)
    }

    #[test]
    fn the_default_is_one_index_a_topic_and_day() {
        assert_eq!(name(DEFAULT_INDEX, "nginx_log"), "logweir-nginx_log-2026.11.21");
        assert_eq!(name("x-%Y%m%d%H", "t"), "x-2026112107");
    }

    #[test]
    fn names_are_made_legal() {
        assert_eq!(name("Web Logs:{topic}", "A/B*C"), "web_logs_a_b_c");
        assert_eq!(name("{topic}", "_x"), "logweir_x");
        assert_eq!(name("{topic}", ".."), "logweir..");
        assert_eq!(name("-x", "t"), "logweir-x");
        assert_eq!(name("ÄÖ{topic}", "É"), "äöé");
    }

    #[test]
    fn a_long_topic_is_cut_and_stays_distinct() {
        let (a, b) = ("t".repeat(249), format!("{}u", "t".repeat(248)));
        for template in [DEFAULT_INDEX, "{topic}{topic}-%Y", "{topic}"] {
            let (first, second) = (name(template, &a), name(template, &b));
            assert!(first.len() <= MAX_BYTES, "{template}: {}", first.len());
            assert_ne!(first, second, "{template}");
        }
        assert!(name(DEFAULT_INDEX, &a).ends_with("-2026.11.21"));
        assert_eq!(name("{topic}", &"t".repeat(248)).len(), 248);
    }

    #[test]
    fn the_pattern_covers_the_names() {
        let pattern = |t: &str| t.parse::<IndexTemplate>().unwrap().pattern("Nginx");
        assert_eq!(pattern(DEFAULT_INDEX), "logweir-*-*.*.*");
        assert_eq!(pattern("App-%Y%m"), "app-*");
        assert_eq!(pattern("{topic}"), "nginx");
        assert_eq!(pattern("{topic}-%Y.%m"), "nginx-*.*");
    }

    #[test]
    fn unknown_fields_are_named() {
        let error = |t: &str| t.parse::<IndexTemplate>().unwrap_err().to_string();
        assert!(error("a-{host}-b").contains("`{host}`"));
        assert!(error("a-%y").contains("`%y`"));
        assert!(error("a-%").contains("`%`"));
        assert_eq!("".parse::<IndexTemplate>(), Err(IndexTemplateError::Empty));
        assert_eq!("x".repeat(129).parse::<IndexTemplate>(), Err(IndexTemplateError::TooLong));
    }
}
