//! All keys in one JSON file, out and in: `{key: [entries]}`; `null` for a key that is to be deleted. The problem: between
//! the look at what a file would change and the change itself others change keys, too. So the look tells the revisions,
//! and each key is changed only if it's still at the one that was looked at.

use super::{
    book::Book,
    diff::{self, difference_until},
};
use crate::collection::Placed;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::{collections::BTreeMap, time::Instant};

/// A file, and what was seen before.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    pub keys: BTreeMap<String, Option<Box<RawValue>>>,
    /// The revisions that a look has told (0: not there); without them nothing is changed.
    pub seen: Option<BTreeMap<String, i64>>,
}

/// What a file has for one key.
#[derive(Debug)]
pub struct Planned {
    pub key: String,
    pub text: Option<Vec<u8>>,
    /// The key's revision now.
    pub revision: i64,
    pub verdict: Verdict,
}

#[derive(Debug)]
pub enum Verdict {
    Same,
    Wrong(Placed),
    /// No template makes such a key.
    NoKey,
    Change,
}

impl Book {
    /// All keys as one JSON object; a value that is no JSON stands there as text.
    pub fn export(&self) -> String {
        let known = self.known();
        let one = |(name, key): (&String, &super::Key)| {
            let text = String::from_utf8_lossy(&key.item.value);
            let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
            let value = if is_json { text.trim().to_owned() } else { Value::from(text.as_ref()).to_string() };
            format!("{}: {value}", Value::from(name.as_str()))
        };
        let all: Vec<String> = known.keys.iter().map(one).collect();
        if all.is_empty() { "{}\n".into() } else { format!("{{\n{}\n}}\n", all.join(",\n")) }
    }

    /// What would come of a file.
    pub fn plan(&self, import: &Import) -> Vec<Planned> {
        import.keys.iter().map(|(key, value)| self.plan_key(key, value.as_deref())).collect()
    }

    fn plan_key(&self, key: &str, value: Option<&RawValue>) -> Planned {
        let text = value.map(|raw| lines(raw).into_bytes());
        let now = self.key(key).map(|known| known.item);
        let same = match (&text, &now) {
            (Some(text), Some(now)) => diff::is_same(&now.value, text),
            (None, None) => true,
            _ => false,
        };
        let mistake = || text.as_deref().and_then(|text| self.read(text).err());
        let verdict = match () {
            () if !self.is_key(key) => Verdict::NoKey,
            () if same => Verdict::Same,
            () => mistake().map_or(Verdict::Change, Verdict::Wrong),
        };
        Planned { key: key.into(), text, revision: now.map_or(0, |item| item.revision), verdict }
    }

    /// A line of the look.
    pub fn look_at(&self, deadline: Instant, planned: &Planned) -> Value {
        let mut row = json!({ "key": planned.key, "revision": planned.revision });
        let result = match &planned.verdict {
            Verdict::Same => "same",
            Verdict::NoKey => "no_key",
            Verdict::Wrong(mistake) => {
                row["mistake"] = json!(mistake);
                "wrong"
            }
            Verdict::Change => {
                let now = self.key(&planned.key).map(|key| key.item.value);
                row["diff"] = difference_until(deadline, &planned.key, now.as_deref(), planned.text.as_deref()).into();
                match (&now, &planned.text) {
                    (None, _) => "new",
                    (_, None) => "delete",
                    _ => "change",
                }
            }
        };
        row["result"] = result.into();
        row
    }
}

/// An entry a line, each as it was written.
fn lines(value: &RawValue) -> String {
    match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        Ok(entries) if entries.is_empty() => "[]\n".into(),
        Ok(entries) => {
            let entries: Vec<String> = entries.iter().map(|entry| format!("  {}", entry.get())).collect();
            format!("[\n{}\n]\n", entries.join(",\n"))
        }
        // What is no array is refused by its own text.
        Err(_) => value.get().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::book::tests::{book, put};
    use super::*;

    #[test]
    fn what_is_exported_can_be_imported_and_changes_nothing() {
        let (_dir, book) = book();
        assert_eq!(book.export(), "{}\n");
        put(&book, "/l/all", 1, "[{\"topic\":\"t\",\n \"path\":\"/a\"}]\n");
        put(&book, "/l/host/h", 2, "[]");
        let keys = serde_json::from_str(&book.export()).unwrap();
        let plan = book.plan(&Import { keys, seen: None });
        assert!(plan.len() == 2 && plan.iter().all(|p| matches!(p.verdict, Verdict::Same)), "{plan:?}");
        put(&book, "/l/host/wrong", 3, "no \"JSON\"");
        let keys: BTreeMap<String, Value> = serde_json::from_str(&book.export()).unwrap();
        assert_eq!(keys["/l/host/wrong"], "no \"JSON\"");
    }

    #[test]
    fn a_look_tells_of_each_key_what_would_come_of_it() {
        let (_dir, book) = book();
        put(&book, "/l/all", 7, r#"[{"path":"/a","topic":"t"}]"#);
        let file = r#"{"keys": {"/l/all": [{"path":"/b","topic":"t"}], "/l/host/new": [], "/l/host/none": null,
            "/l/group/w": [{"path":"/b","topik":"t"}], "elasticsearch_config": []}}"#;
        let plan = book.plan(&serde_json::from_str(file).unwrap());
        let told: Vec<Value> = plan.iter().map(|planned| book.look_at(diff::deadline(), planned)).collect();
        let result = |key: &str| told.iter().find(|row| row["key"] == key).unwrap();
        assert_eq!((&result("/l/all")["result"], &result("/l/all")["revision"]), (&json!("change"), &json!(7)));
        assert!(result("/l/all")["diff"].as_str().unwrap().contains("+    \"path\": \"/b\""));
        assert_eq!(result("/l/host/new")["result"], "new");
        assert_eq!(result("/l/host/none")["result"], "same");
        assert_eq!(result("/l/group/w")["mistake"]["field"], "topik");
        assert_eq!(result("elasticsearch_config")["result"], "no_key");
    }
}
