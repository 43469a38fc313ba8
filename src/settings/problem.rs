//! What is wrong with the settings, where, and what would be right. The problem: `config` and serde forget on which
//! line a key stood. So a key's place is looked up in the text again when there is something to say about it.

use super::shared::Secret;
use std::{collections::BTreeMap, fmt, ops::RangeInclusive, path::Path};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the environment's variable.
    pub source: String,
    /// `section.key`; `None` for a file that can't be read or is no TOML.
    pub key: Option<String>,
    /// From 1; `None` where the key doesn't stand in the file.
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        match &self.key {
            Some(key) => write!(f, ": {key} {}", self.reason),
            None => write!(f, ": {}", self.reason),
        }
    }
}

/// The settings were refused: everything that is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError {
    pub problems: Vec<Problem>,
}

/// Collects what is wrong while a file is checked.
pub(super) struct Problems<'a> {
    pub file: &'a str,
    pub text: &'a str,
    /// See [`environment`](super::load::environment).
    pub env: &'a BTreeMap<String, String>,
    found: Vec<Problem>,
}

/// `etcd.password` -> `LOGWEIR__ETCD__PASSWORD`.
pub(super) fn variable(key: &str) -> String {
    format!("LOGWEIR__{}", key.to_uppercase().replace('.', "__"))
}

impl<'a> Problems<'a> {
    pub fn new(file: &'a str, text: &'a str, env: &'a BTreeMap<String, String>) -> Self {
        Self { file, text, env, found: Vec::new() }
    }

    /// `reason` continues a sentence that begins with the key.
    pub fn add(&mut self, key: &str, reason: impl Into<String>) {
        let place = place(self.text, key);
        let by_env = self.env.contains_key(&variable(key));
        self.found.push(Problem {
            source: if by_env { variable(key) } else { self.file.into() },
            key: Some(key.into()),
            line: place.filter(|_| !by_env).map(|p| p.0),
            column: place.filter(|_| !by_env).map(|p| p.1),
            reason: reason.into(),
        });
    }

    pub fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    pub fn range(&mut self, key: &str, value: u64, allowed: RangeInclusive<u64>) {
        if !allowed.contains(&value) {
            self.add(key, format!("= {value} is out of range: {} to {} are allowed", allowed.start(), allowed.end()));
        }
    }

    /// A name that goes into keys separated by spaces or slashes.
    pub fn word(&mut self, key: &str, value: &str, may_be_empty: bool) {
        if value.is_empty() && !may_be_empty {
            self.add(key, "is empty");
        }
        if value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            self.add(key, format!("= {value:?} holds a blank, a slash or a control character"));
        }
    }

    pub fn topic(&mut self, key: &str, name: &str) {
        if !crate::collection::is_topic_name(name) {
            self.add(key, format!("= {name:?} is no legal topic name (1 to 249 of a-z A-Z 0-9 . _ -)"));
        }
    }

    /// The secret of `key`: from the environment, else from the file that `<key>_file` names. One line end after it is
    /// not part of it.
    pub fn secret(&mut self, key: &str, file: Option<&Path>) -> Option<Secret> {
        if let Some(text) = self.env.get(&variable(key)) {
            return Some(Secret::new(text));
        }
        self.read(&format!("{key}_file"), file?).map(Secret::new)
    }

    /// The content of a file that `key` names.
    pub fn read(&mut self, key: &str, file: &Path) -> Option<String> {
        match std::fs::read_to_string(file) {
            Ok(text) if text.trim().is_empty() => self.add(key, format!("= {file:?} is an empty file")),
            Ok(text) => return Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(e) => self.add(key, format!("= {file:?} can't be read: {e}")),
        }
        None
    }

    pub fn readable(&mut self, key: &str, file: Option<&Path>) {
        if let Some(file) = file {
            self.read(key, file);
        }
    }

    pub fn into_result(self) -> Result<(), SettingsError> {
        if self.found.is_empty() { Ok(()) } else { Err(SettingsError { problems: self.found }) }
    }
}

/// Line and column of a key (`section.key`) in TOML text. Only an aid to the reader, so it knows what people write:
/// `[section]` headers and one `key = value` a line.
fn place(text: &str, key: &str) -> Option<(usize, usize)> {
    let plain = |name: &str| name.split('.').map(|p| p.trim().trim_matches(['"', '\''])).collect::<Vec<_>>().join(".");
    let mut section = String::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        let column = line.chars().count() - code.chars().count() + 1;
        if let Some(header) = code.strip_prefix('[') {
            section = plain(header.split(']').next().unwrap_or_default());
            if section == key {
                return Some((number + 1, column));
            }
        } else if let Some((name, _)) = code.split_once('=')
            && !code.starts_with('#')
        {
            let name = plain(name);
            if [&section, ".", &name].concat() == key || (section.is_empty() && name == key) {
                return Some((number + 1, column));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::nearest;

    #[test]
    fn a_key_is_found_where_it_stands() {
        let text = "# a.b = 1\n[kafka]\n  brokers = []\n[kafka.options]\n\"linger.ms\" = 5\nacks.x = 1\n";
        assert_eq!(place(text, "kafka.brokers"), Some((3, 3)));
        assert_eq!(place(text, "kafka.options.linger.ms"), Some((5, 1)));
        assert_eq!(place(text, "kafka.options.acks.x"), Some((6, 1)));
        assert_eq!(place(text, "kafka.options"), Some((4, 1)));
        assert_eq!(place(text, "kafka.topic"), None);
        assert_eq!(place("etcd = 3", "etcd"), Some((1, 1)));
    }

    #[test]
    fn the_nearest_name_is_only_told_when_it_can_be_meant() {
        let known = ["sweep_interval_secs", "data_dir", "host"];
        assert_eq!(nearest("sweep_interval", known), Some("sweep_interval_secs"));
        assert_eq!(nearest("datadir", known), Some("data_dir"));
        assert_eq!(nearest("zzz", known), None);
    }
}
