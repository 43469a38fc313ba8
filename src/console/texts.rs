//! The page's words, a JSON file a language. The problem: the shell is written by the server and the rest by scripts,
//! and both have to say the same; so the scripts get the same file as a module.

use rust_embed::RustEmbed;
use std::collections::BTreeMap;

#[derive(RustEmbed)]
#[folder = "src/console/lang/"]
struct Embedded;

/// Languages, the best known first; the names are those of BCP 47.
pub const LANGUAGES: [(&str, &str); 3] = [("en", "English"), ("zh-Hans", "简体中文"), ("zh-Hant", "繁體中文")];

/// The words of one language.
#[derive(Clone, Debug)]
pub struct Words {
    by_key: BTreeMap<String, String>,
}

impl Words {
    /// The text of a key; of one that is missing (a test sees to it that none is) the key.
    pub fn get<'a>(&'a self, key: &'a str) -> &'a str {
        self.by_key.get(key).map_or(key, String::as_str)
    }

    /// The text of a key that is put together.
    pub fn by_parts(&self, group: &str, name: &str) -> &str {
        self.by_key.get(&format!("{group}.{name}")).map_or("", String::as_str)
    }

    /// As a script.
    pub fn module(&self) -> String {
        format!("export default {};\n", serde_json::json!(self.by_key))
    }
}

/// The words of all languages.
#[derive(Clone, Debug)]
pub struct Texts {
    by_language: BTreeMap<&'static str, Words>,
}

impl Texts {
    /// # Errors
    /// A file is missing or no JSON object of strings.
    pub fn load() -> Result<Self, String> {
        let words = |language: &'static str| {
            let file = Embedded::get(&format!("{language}.json")).ok_or_else(|| format!("no texts for {language}"))?;
            let by_key = serde_json::from_slice(&file.data).map_err(|e| format!("the texts for {language}: {e}"))?;
            Ok((language, Words { by_key }))
        };
        let by_language = LANGUAGES.iter().map(|(language, _)| words(language)).collect::<Result<_, String>>()?;
        Ok(Self { by_language })
    }

    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Words)> {
        self.by_language.iter().map(|(language, words)| (*language, words))
    }

    pub fn of(&self, language: &str) -> Option<&Words> {
        self.by_language.get(language)
    }
}

/// The language for a reader: the one chosen, else the first of `accepted` (an Accept-Language header) that there is.
pub fn choose(chosen: Option<&str>, accepted: &str) -> &'static str {
    let known = |name: &str| LANGUAGES.iter().map(|(language, _)| *language).find(|language| *language == name);
    if let Some(language) = chosen.and_then(known) {
        return language;
    }
    let mut ranges: Vec<(f32, &str)> = accepted.split(',').filter_map(range).collect();
    // Stable: among equals the first counts.
    ranges.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranges.into_iter().find_map(|(_, name)| by_range(name)).unwrap_or("en")
}

fn range(text: &str) -> Option<(f32, &str)> {
    let (name, rest) = text.split_once(';').unwrap_or((text, ""));
    let weight = rest.trim().strip_prefix("q=").map_or(1.0, |q| q.parse().unwrap_or(0.0));
    (weight > 0.0 && !name.trim().is_empty()).then_some((weight, name.trim()))
}

fn by_range(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let mut parts = name.split('-');
    match parts.next()? {
        "en" | "*" => Some("en"),
        "zh" => {
            let parts: Vec<&str> = parts.collect();
            let place = |places: &[&str]| parts.iter().any(|part| places.contains(part));
            let traditional = place(&["hant"]) || (place(&["tw", "hk", "mo"]) && !place(&["hans"]));
            Some(if traditional { "zh-Hant" } else { "zh-Hans" })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_reader_gets_the_language_that_was_chosen_or_is_asked_for() {
        for (chosen, accepted, language) in [
            (None, "", "en"),
            (None, "de-DE,zh-TW;q=0.8,en;q=0.5", "zh-Hant"),
            (None, "en;q=0.3, zh-CN;q=0.9", "zh-Hans"),
            (None, "zh-Hans-HK", "zh-Hans"),
            (None, "zh", "zh-Hans"),
            (None, "zh;q=0, en", "en"),
            (Some("zh-Hant"), "en", "zh-Hant"),
            (Some("xx"), "zh-CN", "zh-Hans"),
        ] {
            assert_eq!(choose(chosen, accepted), language, "{chosen:?} {accepted}");
        }
    }

    /// Scripts and templates in one text.
    fn sources() -> String {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console");
        let files = ["assets", "templates"].map(|name| std::fs::read_dir(folder.join(name)).unwrap());
        let paths = files.into_iter().flatten().map(|file| file.unwrap().path()).filter(|path| path.is_file());
        paths.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    /// Every key in quotes after `t(`, and those that stand in lists.
    fn used(sources: &str) -> BTreeSet<&str> {
        let calls = ["t('", "t(\""].map(|start| sources.match_indices(start)).into_iter().flatten();
        let alone = calls.filter(|(at, _)| !sources[..*at].ends_with(|c: char| c.is_alphanumeric()));
        let keys = alone.filter_map(|(at, start)| sources[at + start.len()..].split(['\'', '"']).next());
        let listed = sources.split('\'').filter(|text| text.starts_with("key.") || text.starts_with("syntax."));
        keys.chain(listed).filter(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'.')).collect()
    }

    #[test]
    fn every_language_has_every_text_and_no_other() {
        let texts = Texts::load().unwrap();
        let sources = sources();
        let used = used(&sources);
        assert!(used.len() > 50, "{used:?}");
        // A key may be put together: t(`kind.${..}`).
        let built =
            |key: &str| key.match_indices('.').any(|(at, _)| sources.contains(&format!("t(`{}${{", &key[..=at])));
        let shown = |key: &String| used.contains(key.as_str()) || built(key);
        for (language, words) in texts.all() {
            let missing: Vec<_> = used.iter().filter(|key| !words.by_key.contains_key(**key)).collect();
            assert!(missing.is_empty(), "{language} lacks {missing:?}");
            let unused: Vec<_> = words.by_key.keys().filter(|key| !shown(key)).collect();
            assert!(unused.is_empty(), "{language} has {unused:?}, which nothing shows");
            let holes = |text: &str| text.matches('{').count();
            let english = texts.of("en").unwrap();
            for (key, text) in &words.by_key {
                assert_eq!(holes(text), holes(english.get(key)), "{language} {key}");
            }
        }
    }
}
