//! From text and environment to checked settings. The problem: every error has to name the key it is about, also a
//! wrong type or an unknown variant, for which serde names none. So what is given is compared with the defaults,
//! which know every key and its type; serde has the last word.

use super::{
    problem::{Problem, Problems, SettingsError, variable},
    shared::Options,
};
use crate::collection::nearest;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, path::Path};

/// Keys that may stand in the environment only.
const SECRETS: [&str; 3] = ["etcd.password", "elasticsearch.password", "elasticsearch.api_key"];

/// Settings of one kind of process.
pub(super) trait Loaded: Default + Serialize + DeserializeOwned {
    /// Checks what serde can't: ranges and what belongs together.
    fn check(&self, problems: &mut Problems<'_>);
    /// Fills in what depends on the machine, and reads the secrets.
    fn resolve(&mut self, problems: &mut Problems<'_>);
}

/// One section that several kinds of settings have.
pub(super) trait Section {
    fn check(&self, problems: &mut Problems<'_>);
    fn read_secrets(&mut self, _problems: &mut Problems<'_>) {}
}

/// Reads, checks and completes the settings of a file.
pub(super) fn load<T: Loaded>(file: &Path) -> Result<T, SettingsError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| no_place(&name, format!("can't be read: {e}")))?;
    let env = environment();
    let mut settings: T = parse(&text, &name, &env)?;
    let mut problems = Problems::new(&name, &text, &env);
    settings.resolve(&mut problems);
    problems.into_result()?;
    Ok(settings)
}

const PREFIX: &str = "LOGWEIR__";

/// The variables that are settings, and those that look as if they were meant to be (`LOGWEIR_LOG__LEVEL`): other
/// variables that begin with `LOGWEIR_` have no `__`.
pub(super) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .filter(|(k, _)| k.starts_with("LOGWEIR_") && k.contains("__"))
        .collect()
}

/// Settings of a text and an environment, checked, but without what depends on the machine.
pub(super) fn parse<T: Loaded>(text: &str, file: &str, env: &BTreeMap<String, String>) -> Result<T, SettingsError> {
    let given: Value = config::Config::builder()
        .add_source(config::File::from_str(text, config::FileFormat::Toml))
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|e| syntax(file, &e.to_string()))?;
    let mut problems = Problems::new(file, text, env);
    let mut overlay = Overlay::new::<T>(file)?;
    overlay.take_table("", given, &mut problems);
    overlay.take_env(&mut problems);
    let settings = overlay.finish::<T>(&mut problems);
    if let Some(settings) = &settings {
        settings.check(&mut problems);
    }
    problems.into_result()?;
    settings.ok_or_else(|| no_place(file, "can't be understood".into()))
}

fn of_environment(variable: &str, reason: String) -> Problem {
    Problem { source: "environment".into(), key: Some(variable.into()), line: None, column: None, reason }
}

fn no_place(file: &str, reason: String) -> SettingsError {
    SettingsError { problems: vec![Problem { source: file.into(), key: None, line: None, column: None, reason }] }
}

/// TOML's own message begins with its place: `TOML parse error at line 3, column 5`, then shows the line.
fn syntax(file: &str, message: &str) -> SettingsError {
    let number = |word: &str| {
        let rest = message.split_once(word)?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let reason = message.lines().filter(|l| !l.contains('|') && !l.contains("parse error at") && !l.is_empty());
    let reason = format!("is no TOML: {}", reason.collect::<Vec<_>>().join("; "));
    let (line, column) = (number("line "), number("column "));
    SettingsError { problems: vec![Problem { source: file.into(), key: None, line, column, reason }] }
}

/// The defaults as a tree, over which the given values are laid.
struct Overlay {
    defaults: Value,
    tree: Value,
    /// Keys that were given.
    given: Vec<Vec<String>>,
}

impl Overlay {
    fn new<T: Loaded>(file: &str) -> Result<Self, SettingsError> {
        let defaults = serde_json::to_value(T::default()).map_err(|e| no_place(file, e.to_string()))?;
        Ok(Self { tree: defaults.clone(), defaults, given: Vec::new() })
    }

    fn take_table(&mut self, prefix: &str, given: Value, problems: &mut Problems<'_>) {
        let Value::Object(given) = given else { return };
        for (name, value) in given {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let Some(default) = find(&self.defaults, &key).cloned() else {
                let secret = SECRETS.contains(&key.as_str());
                problems.add(&key, if secret { in_a_file(&key) } else { unknown(&self.defaults, prefix, &name) });
                continue;
            };
            match (&default, value) {
                (Value::Object(known), Value::Object(inner)) if known.is_empty() => {
                    self.take_map(&key, inner, problems)
                }
                (Value::Object(_), inner @ Value::Object(_)) => self.take_table(&key, inner, problems),
                (default, value) if same_kind(default, &value) => self.set(&key, None, value),
                (default, value) => problems.add(&key, wrong_kind(default, &value)),
            }
        }
    }

    /// A table whose keys are the user's. `linger.ms = 5` is a table in a table to TOML, here it is one name.
    fn take_map(&mut self, key: &str, given: Map<String, Value>, problems: &mut Problems<'_>) {
        let mut names: Vec<(String, Value)> = given.into_iter().collect();
        while let Some((name, value)) = names.pop() {
            match value {
                Value::Object(inner) => names.extend(inner.into_iter().map(|(k, v)| (format!("{name}.{k}"), v))),
                Value::Array(_) | Value::Null => problems.add(&format!("{key}.{name}"), "is not one value"),
                _ if key.ends_with(".options") && Options::is_secret(&name) => {
                    let reason = "is a secret and doesn't stand in this file: put the name of a file that holds it under option_files";
                    problems.add(&format!("{key}.{name}"), reason);
                }
                Value::String(text) => self.set(key, Some(&name), text.into()),
                other => self.set(key, Some(&name), other.to_string().into()),
            }
        }
    }

    /// `LOGWEIR__SECTION__KEY`; lists are separated by commas; in tables `__` begins the user's own name, in which `_`
    /// stands for `.` (`LOGWEIR__KAFKA__OPTIONS__LINGER_MS`).
    fn take_env(&mut self, problems: &mut Problems<'_>) {
        let env = problems.env;
        for (variable, text) in env {
            let Some(name) = variable.strip_prefix(PREFIX) else {
                let meant = variable.replacen('_', "__", 1);
                problems.push(of_environment(variable, format!("is no setting; did you mean {meant}?")));
                continue;
            };
            let key = name.to_lowercase().replace("__", ".");
            if SECRETS.contains(&key.as_str()) && find(&self.defaults, &format!("{key}_file")).is_some() {
                continue;
            }
            if let Some((table, name)) = split_map(&self.defaults, &key) {
                let name = if table == "log.levels" { name.replace('.', "::") } else { name.replace('_', ".") };
                self.set(&table, Some(&name), text.as_str().into());
                continue;
            }
            let value = match find(&self.defaults, &key) {
                Some(Value::Object(_)) | None => {
                    Err(format!("is an unknown key ({key}){}", near(&self.defaults, &key)))
                }
                Some(Value::Array(_)) => Ok(text.split(',').map(str::trim).filter(|t| !t.is_empty()).collect()),
                Some(default @ (Value::Number(_) | Value::Bool(_))) => serde_json::from_str(text)
                    .ok()
                    .filter(|value| same_kind(default, value))
                    .ok_or_else(|| wrong_kind(default, &Value::String(text.clone()))),
                Some(_) => Ok(text.as_str().into()),
            };
            match value {
                Ok(value) => self.set(&key, None, value),
                Err(reason) => problems.push(of_environment(variable, reason)),
            }
        }
    }

    /// `name`: one name within the map of that key.
    fn set(&mut self, key: &str, name: Option<&str>, value: Value) {
        let path: Vec<String> = key.split('.').chain(name).map(String::from).collect();
        put(&mut self.tree, &path, value);
        self.given.push(path);
    }

    /// Where serde refuses the tree, each given value is tried alone over the defaults to find whose fault it is.
    fn finish<T: Loaded>(self, problems: &mut Problems<'_>) -> Option<T> {
        let error = match serde_json::from_value(self.tree.clone()) {
            Ok(settings) => return Some(settings),
            Err(error) => error,
        };
        let mut found = false;
        for path in &self.given {
            let mut one = self.defaults.clone();
            let Some(value) = path.iter().try_fold(&self.tree, |v, name| v.get(name)) else { continue };
            put(&mut one, path, value.clone());
            if let Err(e) = serde_json::from_value::<T>(one) {
                problems.add(&path.join("."), format!("is not allowed: {e}"));
                found = true;
            }
        }
        if !found {
            let reason = error.to_string();
            problems.push(Problem { source: problems.file.into(), key: None, line: None, column: None, reason });
        }
        None
    }
}

fn put(tree: &mut Value, path: &[String], value: Value) {
    let mut at = tree;
    for name in path {
        at = &mut at[name.as_str()];
    }
    *at = value;
}

fn find<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |value, name| value.get(name))
}

/// `kafka.options.linger_ms` -> (`kafka.options`, `linger_ms`), where the first is a table of the user's keys.
fn split_map(defaults: &Value, key: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = key.split('.').collect();
    let (table, name) = parts.split_at_checked(2)?;
    let table = table.join(".");
    let open = matches!(find(defaults, &table), Some(Value::Object(known)) if known.is_empty());
    (open && !name.is_empty()).then(|| (table, name.join(".")))
}

fn unknown(defaults: &Value, prefix: &str, name: &str) -> String {
    let table = if prefix.is_empty() { Some(defaults) } else { find(defaults, prefix) };
    let known = table.and_then(Value::as_object).map(|t| t.keys().map(String::as_str).collect::<Vec<_>>());
    let known = known.unwrap_or_default();
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("is an unknown key; did you mean {near}?"),
        None => format!("is an unknown key; known are {}", known.join(", ")),
    }
}

fn near(defaults: &Value, key: &str) -> String {
    let sections = defaults.as_object().into_iter().flatten();
    let keys: Vec<String> = sections
        .flat_map(|(section, keys)| keys.as_object().into_iter().flatten().map(move |(k, _)| format!("{section}.{k}")))
        .collect();
    nearest(key, keys.iter().map(String::as_str)).map_or(String::new(), |k| format!("; did you mean {}?", variable(k)))
}

fn in_a_file(key: &str) -> String {
    format!("is a secret and doesn't stand in this file: use {key}_file, or {} in the environment", variable(key))
}

fn same_kind(default: &Value, value: &Value) -> bool {
    match (default, value) {
        (Value::Number(_), Value::Number(n)) => n.is_u64(),
        (Value::Bool(_), Value::Bool(_)) | (Value::String(_), Value::String(_)) => true,
        (Value::Array(_), Value::Array(items)) => items.iter().all(Value::is_string),
        _ => false,
    }
}

fn wrong_kind(default: &Value, value: &Value) -> String {
    let kind = match default {
        Value::Number(_) => "a whole number from 0",
        Value::Bool(_) => "true or false",
        Value::String(_) => "text in quotes",
        Value::Array(_) => "a list of texts",
        _ => "a table",
    };
    format!("= {value} has the wrong type: {kind} is expected")
}
