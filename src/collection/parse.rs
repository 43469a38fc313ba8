//! From a key's JSON to checked entries. The problem: nothing may be ignored and nothing guessed, and whoever wrote the
//! value must be told the line, the column and what would be right. One bad entry refuses the whole value: half of a
//! configuration is another configuration than the one that somebody wrote.

use super::{
    entry::{Entry, EntryKey, Start},
    raw::{Field, Fields, kind, line_column, name_offset, offset, syntax_offset},
};
use crate::flow::PartitionRule;
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::RangeInclusive,
    path::{Component, Path},
};

/// Fields that this version knows.
const FIELDS: [&str; 8] = ["path", "topic", "exclude", "start", "max_line_bytes", "partition", "labels", "index"];
/// Fields of later versions.
const LATER: [&str; 6] = ["multiline", "encoding", "rate_limit", "parse", "time", "ignore_older_secs"];
/// Allowed for `max_line_bytes`: Kafka's limit for a record is 1 MiB, key and headers included.
const LINE_BYTES: RangeInclusive<u64> = 16..=900_000;
/// Longest path; the kernel's PATH_MAX.
const PATH_BYTES: usize = 4096;
/// Largest value that is taken: etcd's own limit of a request.
pub const MAX_VALUE_BYTES: usize = 3 << 19;

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line and column (in characters), from 1.
    pub place: Option<(usize, usize)>,
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "line {line} column {column}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// A mistake at a byte offset of the text.
struct At(usize, String);

/// The known name nearest to `name`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |k: &&str| strsim::damerau_levenshtein(name, k);
    known.into_iter().min_by_key(distance).filter(|k| distance(k) <= 1 + name.chars().count() / 3)
}

/// The entries of a value: a JSON array. Relative paths are joined to `base_dir`, which is absolute.
///
/// # Errors
/// The first mistake, with its place.
pub fn parse_entries(value: &[u8], base_dir: &Path) -> Result<Vec<Entry>, Mistake> {
    let mistake = |text: &str, At(offset, reason): At| Mistake { place: Some(line_column(text, offset)), reason };
    if value.len() > MAX_VALUE_BYTES {
        let reason = format!("the value has {} bytes, {MAX_VALUE_BYTES} are allowed", value.len());
        return Err(Mistake { place: None, reason });
    }
    let text = match std::str::from_utf8(value) {
        Ok(text) => text,
        Err(e) => {
            let valid = String::from_utf8_lossy(&value[..e.valid_up_to()]);
            return Err(mistake(&valid, At(valid.len(), "is not UTF-8 from here on".into())));
        }
    };
    Parser { text, base_dir }.entries().map_err(|at| mistake(text, at))
}

struct Parser<'a> {
    text: &'a str,
    base_dir: &'a Path,
}

impl<'a> Parser<'a> {
    fn at(&self, piece: &RawValue, reason: impl Into<String>) -> At {
        At(offset(self.text, piece.get()), reason.into())
    }

    fn entries(&self) -> Result<Vec<Entry>, At> {
        let syntax = |e: serde_json::Error| {
            let reason = e.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            At(syntax_offset(self.text, &e), format!("is no JSON: {reason}"))
        };
        let whole: &RawValue = serde_json::from_str(self.text).map_err(syntax)?;
        if !whole.get().starts_with('[') {
            return Err(self.at(whole, format!("an array of entries is expected, this is {}", kind(whole))));
        }
        let pieces: Vec<&RawValue> = serde_json::from_str(self.text).map_err(syntax)?;
        let mut seen: HashMap<EntryKey, &RawValue> = HashMap::with_capacity(pieces.len());
        let mut entries = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let entry = self.entry(piece)?;
            if let Some(first) = seen.insert(entry.key(), piece) {
                let (line, column) = line_column(self.text, offset(self.text, first.get()));
                let reason = format!(
                    "path {:?} and topic {:?} stand together already in the entry at line {line} column {column}",
                    entry.path, entry.topic
                );
                return Err(self.at(piece, reason));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn entry(&self, piece: &'a RawValue) -> Result<Entry, At> {
        let Ok(Fields(fields)) = serde_json::from_str::<Fields<'a>>(piece.get()) else {
            return Err(self.at(piece, format!("an entry is an object, this is {}", kind(piece))));
        };
        self.known(&fields)?;
        let field = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
        let required = |name: &str| {
            field(name).ok_or_else(|| self.at(piece, format!("the entry has no \"{name}\", which is required")))
        };
        let (path, topic) = (self.path(required("path")?)?, self.topic(required("topic")?)?);
        let mut entry = Entry::plain(path, topic);
        if let Some(value) = field("exclude") {
            entry.exclude = self.exclude(value)?;
        }
        if let Some(value) = field("start") {
            entry.start = self.start(value)?;
        }
        if let Some(value) = field("max_line_bytes") {
            entry.max_line_bytes = self.number(value, "max_line_bytes", LINE_BYTES)? as u32;
        }
        if let Some(value) = field("partition") {
            entry.partition = self.partition(value)?;
        }
        if let Some(value) = field("labels") {
            entry.labels = self.labels(value)?;
        }
        entry.index = field("index").map(|value| self.index(value)).transpose()?;
        Ok(entry)
    }

    /// Refuses unknown and repeated fields and those of later versions.
    fn known(&self, fields: &[Field<'a>]) -> Result<(), At> {
        for (i, (name, value)) in fields.iter().enumerate() {
            let reason = if LATER.contains(&name.as_str()) {
                format!("field \"{name}\" is not supported yet by this version")
            } else if !FIELDS.contains(&name.as_str()) {
                match nearest(name, FIELDS.into_iter().chain(LATER)) {
                    Some(near) => format!("unknown field \"{name}\"; did you mean \"{near}\"?"),
                    None => format!("unknown field \"{name}\"; known are {}", FIELDS.join(", ")),
                }
            } else if fields[..i].iter().any(|(earlier, _)| earlier == name) {
                format!("field \"{name}\" stands twice in this entry")
            } else {
                continue;
            };
            return Err(At(name_offset(self.text, offset(self.text, value.get())), reason));
        }
        Ok(())
    }

    fn string(&self, value: &RawValue, what: &str) -> Result<String, At> {
        let text: String = serde_json::from_str(value.get())
            .map_err(|_| self.at(value, format!("\"{what}\" is a string, this is {}", kind(value))))?;
        if text.is_empty() {
            return Err(self.at(value, format!("\"{what}\" is empty")));
        }
        if text.contains(char::is_control) {
            return Err(self.at(value, format!("\"{what}\" holds a control character")));
        }
        Ok(text)
    }

    fn number(&self, value: &RawValue, what: &str, allowed: RangeInclusive<u64>) -> Result<u64, At> {
        let number = serde_json::from_str::<u64>(value.get()).ok().filter(|n| allowed.contains(n));
        number.ok_or_else(|| {
            let (from, to) = allowed.into_inner();
            self.at(value, format!("\"{what}\" is a whole number from {from} to {to}, not {}", short(value)))
        })
    }

    /// Absolute, without `.`, double slashes and a slash at the end.
    fn path(&self, value: &RawValue) -> Result<String, At> {
        let text = self.string(value, "path")?;
        self.glob(value, &text, "path")
    }

    fn glob(&self, value: &RawValue, text: &str, what: &str) -> Result<String, At> {
        if Path::new(text).components().any(|c| c == Component::ParentDir) {
            return Err(self.at(value, format!("\"{what}\" {text:?} holds \"..\", which is not allowed")));
        }
        let mut whole = if text.starts_with('/') {
            String::new()
        } else {
            let base = self.base_dir.to_string_lossy();
            if is_glob(&base) { globset::escape(&base) } else { base.into_owned() }
        };
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            whole = [whole.trim_end_matches('/'), "/", part].concat();
        }
        if whole.is_empty() {
            whole.push('/');
        }
        if whole.len() > PATH_BYTES {
            return Err(self.at(value, format!("\"{what}\" has {} bytes, {PATH_BYTES} are allowed", whole.len())));
        }
        match globset::GlobBuilder::new(&whole).literal_separator(true).build() {
            Ok(_) => Ok(whole),
            Err(e) => Err(self.at(value, format!("\"{what}\" {text:?} is no glob: {}", e.kind()))),
        }
    }

    fn topic(&self, value: &RawValue) -> Result<String, At> {
        let name = self.string(value, "topic")?;
        if !is_topic_name(&name) {
            let rule = "1 to 249 of a-z A-Z 0-9 . _ -, not . or ..";
            return Err(self.at(value, format!("topic {name:?} is not a legal topic name ({rule})")));
        }
        Ok(name)
    }

    /// A glob without a slash stands for that name in any folder.
    fn exclude(&self, value: &'a RawValue) -> Result<Vec<String>, At> {
        let Ok(globs) = serde_json::from_str::<Vec<&'a RawValue>>(value.get()) else {
            return Err(self.at(value, format!("\"exclude\" is an array of globs, this is {}", kind(value))));
        };
        let one = |glob: &'a RawValue| {
            let text = self.string(glob, "exclude")?;
            if text.contains('/') && !text.starts_with("**/") {
                return self.glob(glob, &text, "exclude");
            }
            let absolute = self.glob(glob, &format!("/{}", text.trim_start_matches("**/")), "exclude")?;
            Ok(format!("**{absolute}"))
        };
        globs.into_iter().map(one).collect()
    }

    fn start(&self, value: &RawValue) -> Result<Start, At> {
        match value.get() {
            "\"beginning\"" => Ok(Start::Beginning),
            "\"end\"" => Ok(Start::End),
            _ => Err(self.at(value, format!("\"start\" is \"beginning\" or \"end\", not {}", short(value)))),
        }
    }

    fn partition(&self, value: &RawValue) -> Result<PartitionRule, At> {
        match value.get() {
            "\"file\"" => Ok(PartitionRule::File),
            "\"random\"" => Ok(PartitionRule::Random),
            "\"round_robin\"" => Ok(PartitionRule::RoundRobin),
            other => match other.parse() {
                Ok(number @ 0..) => Ok(PartitionRule::Number(number)),
                _ => {
                    let known = "\"file\", \"random\", \"round_robin\" or a partition's number";
                    Err(self.at(value, format!("\"partition\" is {known}, not {}", short(value))))
                }
            },
        }
    }

    fn labels(&self, value: &'a RawValue) -> Result<BTreeMap<String, String>, At> {
        let Ok(Fields(fields)) = serde_json::from_str::<Fields<'a>>(value.get()) else {
            return Err(self.at(value, format!("\"labels\" is an object of strings, this is {}", kind(value))));
        };
        let mut labels = BTreeMap::new();
        for (name, value) in fields {
            let Ok(text) = serde_json::from_str::<String>(value.get()) else {
                return Err(self.at(value, format!("label {name:?} is a string, this is {}", kind(value))));
            };
            let place = || name_offset(self.text, offset(self.text, value.get()));
            if name.split('.').any(str::is_empty) || name.contains(char::is_control) {
                return Err(At(place(), format!("label {name:?} is no field name")));
            }
            if labels.contains_key(&name) {
                return Err(At(place(), format!("label {name:?} stands twice")));
            }
            labels.insert(name, text);
        }
        Ok(labels)
    }

    fn index(&self, value: &RawValue) -> Result<String, At> {
        let template = self.string(value, "index")?;
        if template.len() > 255 || template.contains(char::is_whitespace) {
            return Err(self.at(value, "\"index\" holds a blank or is longer than 255 bytes"));
        }
        Ok(template)
    }
}

fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

/// A value as it stands, cut where it's long.
fn short(value: &RawValue) -> String {
    let text = value.get();
    if text.chars().count() <= 60 { text.into() } else { text.chars().take(60).chain(['…']).collect() }
}

/// Whether Kafka takes this as the name of a topic.
pub(crate) fn is_topic_name(name: &str) -> bool {
    let legal = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    legal && (1..=249).contains(&name.len()) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Entry>, Mistake> {
        parse_entries(text.as_bytes(), Path::new("/base"))
    }

    #[test]
    fn the_plain_form_that_people_have_works_as_it_is() {
        let text =
            r#"[{"path":"/var/log/nginx/access.log","topic":"nginx_log"}, {"path":"log/error","topic":"error.log"}]"#;
        let entries = parse(text).unwrap();
        assert_eq!(entries[0], Entry::plain("/var/log/nginx/access.log", "nginx_log"));
        assert_eq!(entries[1], Entry::plain("/base/log/error", "error.log"));
        assert_eq!(parse(" [ ] \n").unwrap(), []);
    }

    #[test]
    fn every_optional_field_is_taken_over() {
        let text = r#"[{"path":"./a//b/*.{log,txt}/","topic":"t","exclude":["*.gz","/x/[ab]*","c/d","**/e"],"start":"end",
            "max_line_bytes":16,"partition":7,"labels":{"k":"v","e":""},"index":"i-%Y"}]"#;
        let expected = Entry {
            exclude: ["**/*.gz", "/x/[ab]*", "/base/c/d", "**/e"].map(String::from).into(),
            start: Start::End,
            max_line_bytes: 16,
            partition: PartitionRule::Number(7),
            labels: [("k", "v"), ("e", "")].map(|(k, v)| (k.into(), v.into())).into(),
            index: Some("i-%Y".into()),
            ..Entry::plain("/base/a/b/*.{log,txt}", "t")
        };
        assert_eq!(parse(text).unwrap(), [expected]);
        for (partition, rule) in [("\"file\"", PartitionRule::File), ("\"random\"", PartitionRule::Random)] {
            let text = format!(r#"[{{"path":"/a","topic":"t","partition":{partition},"start":"beginning"}}]"#);
            assert_eq!(parse(&text).unwrap()[0].partition, rule);
        }
    }

    #[test]
    fn each_mistake_is_told_with_line_column_and_reason() {
        let cases = [
            ("", 1, 1, "is no JSON: EOF"),
            ("[{\"path\":\"/a\",\n \"topic\":\"t\" \"x\"}]", 2, 14, "is no JSON: expected `,` or `}`"),
            ("[]\n  []", 2, 3, "is no JSON: trailing characters"),
            ("{\"path\":\"/a\"}", 1, 1, "an array of entries is expected, this is an object"),
            ("null", 1, 1, "this is null"),
            ("[\n  3]", 2, 3, "an entry is an object, this is a number"),
            ("[{\"path\":\"/a\",\"topic\":\"t\"},\n {\"topic\":\"t\"}]", 2, 2, "no \"path\""),
            ("[{\"path\":\"/a\"}]", 1, 2, "no \"topic\""),
            ("[{\"path\":\"\",\"topic\":\"t\"}]", 1, 10, "\"path\" is empty"),
            ("[{\"path\":7,\"topic\":\"t\"}]", 1, 10, "\"path\" is a string, this is a number"),
            ("[{\"path\":\"/a\\u0000\",\"topic\":\"t\"}]", 1, 10, "control character"),
            ("[{\"path\":\"a/../b\",\"topic\":\"t\"}]", 1, 10, "holds \"..\""),
            ("[{\"path\":\"/a/[b\",\"topic\":\"t\"}]", 1, 10, "is no glob"),
            ("[{\"topic\":\"a b\",\"path\":\"/a\"}]", 1, 11, "topic \"a b\" is not a legal topic name"),
            ("[{\"topic\":\"..\",\"path\":\"/a\"}]", 1, 11, "not a legal topic name"),
            (
                "[{\"path\":\"/ä\",\"topic\":\"t\",\n\n\"tpoic\":1}]",
                3,
                1,
                "unknown field \"tpoic\"; did you mean \"topic\"?",
            ),
            (
                "[{\"path\":\"/ä\",\"topic\":\"t\",\"zzzzzz\" : 1}]",
                1,
                27,
                "unknown field \"zzzzzz\"; known are path, topic",
            ),
            (
                "[{\"path\":\"/a\",\"topic\":\"t\",\"multiline\":{}}]",
                1,
                27,
                "\"multiline\" is not supported yet by this version",
            ),
            ("[{\"path\":\"/a\",\"topic\":\"t\",\"path\":\"/b\"}]", 1, 27, "\"path\" stands twice"),
            (
                "[{\"path\":\"/a\",\"topic\":\"t\",\"exclude\":\"*.gz\"}]",
                1,
                37,
                "\"exclude\" is an array of globs, this is a string",
            ),
            ("[{\"path\":\"/a\",\"topic\":\"t\",\"start\":\"now\"}]", 1, 35, "\"beginning\" or \"end\", not \"now\""),
            ("[{\"path\":\"/a\",\"topic\":\"t\",\"max_line_bytes\":3}]", 1, 44, "from 16 to 900000, not 3"),
            ("[{\"path\":\"/a\",\"topic\":\"t\",\"partition\":-1}]", 1, 39, "a partition's number, not -1"),
            (
                "[{\"path\":\"/a\",\"topic\":\"t\",\"labels\":{\"a\":1}}]",
                1,
                41,
                "label \"a\" is a string, this is a number",
            ),
            ("[{\"path\":\"/a\",\"topic\":\"t\",\"labels\":{\"a.\":\"\"}}]", 1, 37, "label \"a.\" is no field name"),
            ("[{\"path\":\"/a\",\"topic\":\"t\",\"index\":\"\"}]", 1, 35, "\"index\" is empty"),
            (
                "[{\"path\":\"/a\",\"topic\":\"t\"},\n{\"path\":\"//a/\",\"topic\":\"t\"}]",
                2,
                1,
                "path \"/a\" and topic \"t\" stand together already in the entry at line 1 column 2",
            ),
        ];
        for (text, line, column, reason) in cases {
            let mistake = parse(text).expect_err(text);
            assert!(mistake.reason.contains(reason), "{text}\n{mistake}");
            assert_eq!(mistake.place, Some((line, column)), "{text}\n{mistake}");
        }
        let mistake = parse_entries(b"[\n\xff]", Path::new("/")).unwrap_err();
        assert_eq!((mistake.place, mistake.reason.contains("UTF-8")), (Some((2, 1)), true));
        assert!(parse(&" ".repeat(MAX_VALUE_BYTES + 1)).unwrap_err().reason.contains("are allowed"));
    }

    #[test]
    fn ten_thousand_entries_in_one_value_are_taken_and_the_last_ones_mistake_is_found() {
        let entry = |i: usize| format!("{{\"path\":\"/var/log/app/{i}/*.log\",\"topic\":\"topic-{}\"}}", i % 50);
        let lines: Vec<String> = (0..10_000).map(entry).collect();
        let text = format!("[\n{}\n]", lines.join(",\n"));
        assert_eq!(parse(&text).unwrap().len(), 10_000);
        let mistake = parse(&text.replace("/9999/*.log", "/9999/[.log")).unwrap_err();
        assert_eq!(mistake.place, Some((10_001, 9)));
    }

    #[test]
    fn one_path_for_two_topics_is_two_entries() {
        assert_eq!(parse(r#"[{"path":"/a","topic":"t"},{"path":"/a","topic":"u"}]"#).unwrap().len(), 2);
    }

    #[test]
    fn a_base_dir_with_the_signs_of_a_glob_is_taken_literally() {
        let entries = parse_entries(br#"[{"path":"a","topic":"t"}]"#, Path::new("/x[1]")).unwrap();
        assert_eq!(entries[0].path, "/x[[]1[]]/a");
    }
}
