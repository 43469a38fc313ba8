//! Key templates. The problem: one configuration file for all hosts, yet each host watches its own keys; and the transfer
//! has to find the keys of all hosts without knowing them. `{host}`, `{group}` and `{ip}` (or `%s`) are filled in by the
//! agent; the transfer lists the fixed prefix and takes the keys that fit.

use globset::{GlobBuilder, GlobMatcher};
use std::{fmt, net::IpAddr};

/// What templates are filled in with on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalNames {
    pub host: String,
    pub groups: Vec<String>,
    /// Every local address that isn't a loopback one.
    pub addresses: Vec<IpAddr>,
}

/// The template can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("is empty")]
    Empty,
    #[error("holds a control character")]
    Control,
    #[error("begins with a placeholder, so its keys can't be found by a prefix")]
    NoPrefix,
    #[error("holds the unknown placeholder {0}; known are {{host}}, {{group}}, {{ip}} and %s")]
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Host,
    Group,
    Address,
}

/// What a template asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    Host,
    Group,
    Address,
}

/// A parsed key template.
#[derive(Clone, Debug)]
pub struct KeyTemplate {
    parts: Vec<Part>,
    fits: GlobMatcher,
}

impl LocalNames {
    /// `host` and `groups` of the settings, and this machine's addresses as they are now.
    ///
    /// # Errors
    /// The kernel doesn't tell the addresses.
    pub fn of_this_machine(host: &str, groups: &[String]) -> std::io::Result<Self> {
        let all = if_addrs::get_if_addrs()?;
        let mut addresses: Vec<IpAddr> = all.iter().filter(|i| !i.is_loopback()).map(|i| i.ip()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok(Self { host: host.into(), groups: groups.into(), addresses })
    }
}

impl fmt::Display for KeyTemplate {
    /// As it is written, with `{ip}` for `%s`, which means the same. A template fits its own text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| {
            f.write_str(match part {
                Part::Text(text) => text,
                Part::Host => "{host}",
                Part::Group => "{group}",
                Part::Address => "{ip}",
            })
        })
    }
}

impl KeyTemplate {
    /// # Errors
    /// See [`TemplateError`].
    pub fn parse(template: &str) -> Result<Self, TemplateError> {
        if template.is_empty() {
            return Err(TemplateError::Empty);
        }
        if template.contains(char::is_control) {
            return Err(TemplateError::Control);
        }
        let parts = split(template)?;
        let Some(Part::Text(_)) = parts.first() else { return Err(TemplateError::NoPrefix) };
        let glob: String = parts
            .iter()
            .map(|part| if let Part::Text(text) = part { globset::escape(text) } else { "?*".into() })
            .collect();
        let glob = GlobBuilder::new(&glob).literal_separator(true).build();
        let fits = glob.map_err(|e| TemplateError::Unknown(e.to_string()))?.compile_matcher();
        Ok(Self { parts, fits })
    }

    /// The keys of this machine; none where a template asks for something that the machine hasn't got.
    pub fn keys(&self, names: &LocalNames) -> Vec<String> {
        let mut keys = vec![String::new()];
        for part in &self.parts {
            let values = match part {
                Part::Text(text) => vec![text.clone()],
                Part::Host => vec![names.host.clone()],
                Part::Group => names.groups.clone(),
                Part::Address => names.addresses.iter().map(IpAddr::to_string).collect(),
            };
            keys = keys.iter().flat_map(|key| values.iter().map(move |value| format!("{key}{value}"))).collect();
        }
        keys
    }

    /// Whether the template has no placeholder: it is one key, the same for all machines.
    pub fn is_fixed(&self) -> bool {
        self.parts.len() == 1
    }

    /// Whether its keys depend on the machine's addresses, which can change while the process runs.
    pub fn asks_for_addresses(&self) -> bool {
        self.parts.contains(&Part::Address)
    }

    /// What all its keys begin with (for a fixed template the key itself).
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// Its one placeholder with what stands before and behind it; `None` where there are none or several.
    fn one(&self) -> Option<(&str, Placeholder, &str)> {
        let (before, placeholder, after) = match self.parts.as_slice() {
            [Part::Text(before), placeholder] => (before.as_str(), placeholder, ""),
            [Part::Text(before), placeholder, Part::Text(after)] => (before.as_str(), placeholder, after.as_str()),
            _ => return None,
        };
        let placeholder = match placeholder {
            Part::Host => Placeholder::Host,
            Part::Group => Placeholder::Group,
            Part::Address => Placeholder::Address,
            Part::Text(_) => return None,
        };
        Some((before, placeholder, after))
    }

    /// The key for this name, where the template asks for this and nothing else.
    pub fn key_of(&self, placeholder: Placeholder, name: &str) -> Option<String> {
        let (before, own, after) = self.one()?;
        (own == placeholder).then(|| format!("{before}{name}{after}"))
    }

    /// The name in a key that was made from this template, where it asks for one.
    pub fn name_in<'k>(&self, key: &'k str) -> Option<(Placeholder, &'k str)> {
        let (before, placeholder, after) = self.one()?;
        let name = key.strip_prefix(before)?.strip_suffix(after)?;
        self.fits(key).then_some((placeholder, name))
    }

    /// Whether a key can have been made from this template, on whatever machine.
    pub fn fits(&self, key: &str) -> bool {
        self.fits.is_match(key)
    }
}

fn split(template: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '%']) {
        let (text, tail) = rest.split_at(at);
        let known = [("{host}", Part::Host), ("{group}", Part::Group), ("{ip}", Part::Address), ("%s", Part::Address)];
        let Some((name, part)) = known.into_iter().find(|(name, _)| tail.starts_with(name)) else {
            let end = tail.find('}').map_or(tail.len().min(2), |i| i + 1);
            return Err(TemplateError::Unknown(tail.get(..end).unwrap_or(tail).into()));
        };
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        parts.push(part);
        rest = &tail[name.len()..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> KeyTemplate {
        KeyTemplate::parse(text).unwrap()
    }

    fn names() -> LocalNames {
        let addresses = ["10.0.0.1", "fe80::1"].map(|a| a.parse().unwrap());
        LocalNames { host: "web-01".into(), groups: vec!["web".into(), "eu".into()], addresses: addresses.into() }
    }

    #[test]
    fn a_template_makes_a_key_for_every_value() {
        assert_eq!(template("collect_log_conf").keys(&names()), ["collect_log_conf"]);
        assert_eq!(template("/l/group/{group}").keys(&names()), ["/l/group/web", "/l/group/eu"]);
        assert_eq!(template("/l/host/{host}").keys(&names()), ["/l/host/web-01"]);
        let both = ["/logagent/10.0.0.1/log_config", "/logagent/fe80::1/log_config"];
        assert_eq!(template("/logagent/%s/log_config").keys(&names()), both);
        assert_eq!(template("/logagent/{ip}/log_config").keys(&names()), both);
        assert_eq!(template("/l/{host}/{group}").keys(&names()), ["/l/web-01/web", "/l/web-01/eu"]);
        assert!(template("/l/{group}").keys(&LocalNames::default()).is_empty());
    }

    #[test]
    fn the_transfer_finds_the_keys_of_all_hosts() {
        let per_address = template("/logagent/%s/log_config");
        assert_eq!((per_address.prefix(), per_address.is_fixed()), ("/logagent/", false));
        assert!(per_address.fits("/logagent/192.168.0.7/log_config"));
        assert!(!per_address.fits("/logagent/192.168.0.7/other"));
        assert!(!per_address.fits("/logagent/a/b/log_config"));
        assert!(!per_address.fits("/logagent//log_config"));
        let shared = template("collect_log_conf");
        assert_eq!((shared.prefix(), shared.is_fixed()), ("collect_log_conf", true));
        assert!(shared.fits("collect_log_conf") && !shared.fits("collect_log_conf2"));
        assert!(template("/a[1]*").fits("/a[1]*") && !template("/a[1]*").fits("/a1x"));
    }

    #[test]
    fn a_template_fits_its_own_text() {
        for text in ["collect_log_conf", "/l/{group}/{host}", "/logagent/%s/log_config", "/a[1]*/{ip}"] {
            let template = template(text);
            assert_eq!(template.to_string(), text.replace("%s", "{ip}"));
            assert!(template.fits(&template.to_string()));
        }
    }

    #[test]
    fn a_bad_template_is_refused_with_the_reason() {
        let told = |text: &str| KeyTemplate::parse(text).unwrap_err().to_string();
        assert_eq!(told(""), "is empty");
        assert_eq!(told("/a/{hots}"), "holds the unknown placeholder {hots}; known are {host}, {group}, {ip} and %s");
        assert_eq!(told("/a/%d"), "holds the unknown placeholder %d; known are {host}, {group}, {ip} and %s");
        assert_eq!(told("{host}/x"), "begins with a placeholder, so its keys can't be found by a prefix");
        assert!(told("/a/{host").contains("unknown placeholder"));
    }

    #[test]
    fn this_machine_has_a_name_and_its_loopback_addresses_are_left_out() {
        let names = LocalNames::of_this_machine("h", &[]).unwrap();
        assert!(names.addresses.iter().all(|a| !a.is_loopback()));
    }
}
