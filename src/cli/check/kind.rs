//! Whether a settings file is the agent's or the transfer's. The problem: the file may be wrong, and then it still has to
//! be checked as what it is meant to be. So its sections are looked at, not its syntax.

use std::path::Path;

/// What the settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Agent,
    Transfer,
}

/// Sections, or keys of a section, that only one of the two has.
const SIGNS: [(&str, Kind); 10] = [
    ("agent", Kind::Agent),
    ("collection", Kind::Agent),
    ("dead_letters.file", Kind::Agent),
    ("transfer", Kind::Transfer),
    ("elasticsearch", Kind::Transfer),
    ("dead_letters.topic", Kind::Transfer),
    ("kafka.group", Kind::Transfer),
    ("kafka.topics", Kind::Transfer),
    ("kafka.topic_pattern", Kind::Transfer),
    ("kafka.topics_from_entries", Kind::Transfer),
];

impl Kind {
    /// Decides by the content, and where that doesn't tell by the file's name.
    ///
    /// # Errors
    /// What stands against deciding.
    pub fn of(file: &Path, text: &str) -> Result<Self, String> {
        let found: Vec<Self> = signs(text).collect();
        match (found.contains(&Self::Agent), found.contains(&Self::Transfer)) {
            (true, false) => return Ok(Self::Agent),
            (false, true) => return Ok(Self::Transfer),
            (true, true) => return Err("has sections of the agent and of the transfer".into()),
            (false, false) => {}
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match (name.contains("agent"), name.contains("transfer")) {
            (true, false) => Ok(Self::Agent),
            (false, true) => Ok(Self::Transfer),
            _ => Err("has no section that only the agent or only the transfer has".into()),
        }
    }
}

fn signs(text: &str) -> impl Iterator<Item = Kind> {
    let mut section = String::new();
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).filter_map(move |line| {
        let key = if let Some(header) = line.strip_prefix('[') {
            section = header.split(']').next().unwrap_or_default().trim().to_owned();
            section.clone()
        } else {
            let name = line.split_once('=')?.0.trim();
            if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
        };
        let means = |sign: &str| key.strip_prefix(sign).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        SIGNS.iter().find(|(sign, _)| means(sign)).map(|(_, kind)| *kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Result<Kind, String> {
        Kind::of(Path::new(name), text)
    }

    #[test]
    fn the_shipped_files_are_what_they_are_under_any_name() {
        assert_eq!(of("x.toml", include_str!("../../../conf/agent.toml")), Ok(Kind::Agent));
        assert_eq!(of("agent.toml", include_str!("../../../conf/transfer.toml")), Ok(Kind::Transfer));
    }

    #[test]
    fn broken_and_small_files_are_told_apart_too() {
        assert_eq!(of("x", "[agent]\nhost = \n"), Ok(Kind::Agent));
        assert_eq!(of("x", "agent.host = 'a'"), Ok(Kind::Agent));
        assert_eq!(of("x", "[kafka]\ngroup = 'a'"), Ok(Kind::Transfer));
        assert_eq!(of("x", "[dead_letters]\nfile = 'a'"), Ok(Kind::Agent));
        assert_eq!(of("my-transfer.toml", "[kafka]\nbrokers = []"), Ok(Kind::Transfer));
    }

    #[test]
    fn what_could_be_both_or_neither_is_asked_for() {
        assert!(of("x", "[agent]\n[transfer]").is_err());
        assert!(of("x", "[agents]\n# [transfer]").is_err());
        assert!(of("agent-transfer.toml", "").is_err());
    }
}
