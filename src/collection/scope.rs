//! Whose entries a key holds. The problem: people say "all", "the group web" or "the host web-01", agents watch keys, and
//! which key that is, the templates of the settings say. Here one becomes the other, in both directions.

use super::template::{KeyTemplate, Placeholder};
use std::fmt;

/// Who goes by a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    All,
    Group(String),
    Host(String),
    /// By an address of the machine, as keys of older installations have it.
    Address(String),
}

impl fmt::Display for Scope {
    /// As it's written on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Group(name) => write!(f, "group/{name}"),
            Self::Host(name) => write!(f, "host/{name}"),
            Self::Address(address) => write!(f, "ip/{address}"),
        }
    }
}

impl Scope {
    /// # Errors
    /// It is none: what would be.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            None if text == "all" => Ok(Self::All),
            Some(("group", name)) if is_name(name) => Ok(Self::Group(name.into())),
            Some(("host", name)) if is_name(name) => Ok(Self::Host(name.into())),
            Some(("ip", name)) if is_name(name) => Ok(Self::Address(name.into())),
            _ => Err("all, group/NAME, host/NAME or ip/ADDRESS is expected".into()),
        }
    }

    /// The key of this scope, by the first template that is for such.
    pub fn key(&self, templates: &[KeyTemplate]) -> Option<String> {
        let (placeholder, name) = match self {
            Self::All => return templates.iter().find(|t| t.is_fixed()).map(|t| t.prefix().to_owned()),
            Self::Group(name) => (Placeholder::Group, name),
            Self::Host(name) => (Placeholder::Host, name),
            Self::Address(name) => (Placeholder::Address, name),
        };
        templates.iter().find_map(|template| template.key_of(placeholder, name))
    }

    /// Whose entries a key holds; `None` where its template doesn't say it by one name, or none fits.
    pub fn of(key: &str, templates: &[KeyTemplate]) -> Option<Self> {
        templates.iter().find_map(|template| {
            if template.is_fixed() {
                return (template.prefix() == key).then_some(Self::All);
            }
            let (placeholder, name) = template.name_in(key)?;
            Some(match placeholder {
                Placeholder::Group => Self::Group(name.into()),
                Placeholder::Host => Self::Host(name.into()),
                Placeholder::Address => Self::Address(name.into()),
            })
        })
    }
}

/// Whether this may stand for a placeholder in a key that is written.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
}

/// Whether entries may be written to this key: a template makes it, and nothing in it is what no name holds.
pub fn is_entry_key(key: &str, templates: &[KeyTemplate]) -> bool {
    let fits = |template: &KeyTemplate| {
        template.is_fixed() && template.prefix() == key || !template.is_fixed() && template.fits(key)
    };
    // A template fits its own text, but is nobody's key.
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '{';
    key.len() <= 1024 && !key.contains(odd) && templates.iter().any(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(texts: &[&str]) -> Vec<KeyTemplate> {
        texts.iter().map(|text| KeyTemplate::parse(text).unwrap()).collect()
    }

    #[test]
    fn a_scope_names_a_key_and_the_key_its_scope() {
        let usual = templates(&["/l/all", "/l/group/{group}", "/l/host/{host}", "/logagent/%s/log_config"]);
        for (scope, key) in [
            ("all", "/l/all"),
            ("group/web", "/l/group/web"),
            ("host/web-01", "/l/host/web-01"),
            ("ip/10.0.0.7", "/logagent/10.0.0.7/log_config"),
        ] {
            let parsed = Scope::parse(scope).unwrap();
            assert_eq!(parsed.key(&usual).as_deref(), Some(key));
            assert_eq!(Scope::of(key, &usual), Some(parsed.clone()));
            assert_eq!(parsed.to_string(), scope);
            assert!(is_entry_key(key, &usual));
        }
        assert_eq!(Scope::of("/else", &usual), None);
        assert_eq!(Scope::Group("web".into()).key(&templates(&["collect_log_conf"])), None);
        for wrong in ["", "any", "host", "host/", "host/a/b", "host/a b"] {
            assert!(Scope::parse(wrong).unwrap_err().contains("is expected"), "{wrong}");
        }
    }

    #[test]
    fn a_key_that_no_template_makes_is_none_of_entries() {
        let usual = templates(&["/l/all", "/l/host/{host}", "/two/{group}/{host}"]);
        for key in [
            "",
            "/l/al",
            "/l/all2",
            "/l/host/",
            "/l/host/a/b",
            "/l/host/a b",
            "/l/host/a\n",
            "/l/host/{host}",
            "elasticsearch_config",
        ] {
            assert!(!is_entry_key(key, &usual), "{key:?}");
        }
        assert!(is_entry_key("/two/a/b", &usual) && Scope::of("/two/a/b", &usual).is_none());
        assert!(!is_entry_key(&format!("/l/host/{}", "x".repeat(2000)), &usual));
    }
}
