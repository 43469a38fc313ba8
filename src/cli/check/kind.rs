//! Whether a settings file is the agent's, the transfer's or the console's. The problem: the file may be wrong, and then it
//! still has to be checked as what it is meant to be. So its sections are looked at, not its syntax.

use std::path::Path;

/// What the settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Agent,
    Transfer,
    Console,
}

/// Sections, or keys of a section, that only one of them has.
const SIGNS: [(&str, Kind); 11] = [
    ("agent", Kind::Agent),
    ("collection", Kind::Agent),
    ("dead_letters.file", Kind::Agent),
    ("transfer", Kind::Transfer),
    ("dead_letters.topic", Kind::Transfer),
    ("kafka.group", Kind::Transfer),
    ("kafka.topics", Kind::Transfer),
    ("kafka.topic_pattern", Kind::Transfer),
    ("kafka.topics_from_entries", Kind::Transfer),
    ("console", Kind::Console),
    ("elasticsearch.indices", Kind::Console),
];

/// Transfer and console have it; the transfer's, where nothing speaks for the console.
const SHARED: &str = "elasticsearch";

impl Kind {
    /// Decides by the content, and where that doesn't tell by the file's name.
    ///
    /// # Errors
    /// What stands against deciding.
    pub fn of(file: &Path, text: &str) -> Result<Self, String> {
        let all = [(Self::Agent, "agent"), (Self::Transfer, "transfer"), (Self::Console, "console")];
        let (mut found, shared) = signs(text);
        if shared && !found.contains(&Self::Console) {
            found.push(Self::Transfer);
        }
        let told: Vec<_> = all.iter().filter(|(kind, _)| found.contains(kind)).collect();
        match &told[..] {
            [(kind, _)] => return Ok(*kind),
            [] => {}
            several => {
                let names: Vec<&str> = several.iter().map(|(_, name)| *name).collect();
                return Err(format!("has sections of the {}", names.join(" and of the ")));
            }
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let named: Vec<_> = all.iter().filter(|(_, word)| name.contains(word)).collect();
        match &named[..] {
            [(kind, _)] => Ok(*kind),
            _ => Err("has no section that only one of agent, transfer and console has".into()),
        }
    }
}

/// Whose signs there are, and whether there is the shared section.
fn signs(text: &str) -> (Vec<Kind>, bool) {
    let (mut section, mut found, mut shared) = (String::new(), Vec::new(), false);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let key = if let Some(header) = line.strip_prefix('[') {
            section = header.split(']').next().unwrap_or_default().trim().to_owned();
            section.clone()
        } else {
            let Some((name, _)) = line.split_once('=') else { continue };
            let name = name.trim();
            if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
        };
        let means = |sign: &str| key.strip_prefix(sign).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        found.extend(SIGNS.iter().find(|(sign, _)| means(sign)).map(|(_, kind)| *kind));
        shared |= means(SHARED);
    }
    (found, shared)
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
        assert_eq!(of("transfer.toml", include_str!("../../../conf/console.toml")), Ok(Kind::Console));
    }

    #[test]
    fn broken_and_small_files_are_told_apart_too() {
        assert_eq!(of("x", "[agent]\nhost = \n"), Ok(Kind::Agent));
        assert_eq!(of("x", "agent.host = 'a'"), Ok(Kind::Agent));
        assert_eq!(of("x", "[kafka]\ngroup = 'a'"), Ok(Kind::Transfer));
        assert_eq!(of("x", "[dead_letters]\nfile = 'a'"), Ok(Kind::Agent));
        assert_eq!(of("x", "[elasticsearch]\nurls = []"), Ok(Kind::Transfer));
        assert_eq!(of("x", "[elasticsearch]\nindices = ["), Ok(Kind::Console));
        assert_eq!(of("my-console.toml", "[etcd]\n"), Ok(Kind::Console));
        assert_eq!(of("my-transfer.toml", "[kafka]\nbrokers = []"), Ok(Kind::Transfer));
    }

    #[test]
    fn what_could_be_both_or_neither_is_asked_for() {
        assert!(of("x", "[agent]\n[transfer]").is_err());
        assert!(of("x", "[agents]\n# [transfer]").is_err());
        assert!(of("agent-transfer.toml", "").is_err());
    }
}
