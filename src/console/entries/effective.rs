//! What one host goes by. The problem: an agent merges several keys, and for the same path and topic the later one wins, so
//! that the entry somebody looks at need not be the one that counts. Which keys, and in which order, the agent tells.

use super::book::Book;
use crate::{collection::EntryKey, console::gate::Topics};
use serde_json::{Value, json};
use std::collections::HashMap;

impl Book {
    /// Every entry of these keys (a later one wins) and topics, each with the key that wins over it, if one does; and the
    /// keys whose values are wrong, for which the agent keeps what it had.
    pub fn effective(&self, keys: &[String], topics: &Topics) -> (Vec<Value>, Vec<String>) {
        let known = self.known();
        let there: Vec<_> =
            keys.iter().filter_map(|name| known.keys.get(name)).filter(|key| key.is_of(topics)).collect();
        let good = || there.iter().filter_map(|key| Some((key, key.read.as_ref().ok()?)));
        let mut winner: HashMap<EntryKey, &str> = HashMap::new();
        for (key, entries) in good() {
            winner.extend(entries.iter().map(|entry| (entry.key(), key.item.key.as_str())));
        }
        let mut told = Vec::new();
        for (key, entries) in good() {
            let rows = entries.iter().zip(&key.rows).enumerate();
            for (n, (entry, row)) in rows.filter(|(_, (_, row))| row.is_of(topics)) {
                let by = winner.get(&entry.key()).filter(|by| **by != key.item.key);
                told.push(json!({
                    "key": key.item.key, "scope": self.scope(&key.item.key).map(|s| s.to_string()), "n": n,
                    "entry": row.json, "overridden_by": by,
                }));
            }
        }
        let wrong = there.iter().filter(|key| key.read.is_err()).map(|key| key.item.key.clone()).collect();
        (told, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::book::tests::{book, put},
        Topics,
    };
    use crate::collection::{Collections, parse_entries};
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn what_counts_is_what_an_agent_makes_of_the_same_keys() {
        let (_dir, book) = book();
        let values = [
            ("/l/all", r#"[{"path":"/a","topic":"t"},{"path":"/b","topic":"t","start":"end"}]"#),
            ("/l/group/web", r#"[{"path":"/b/","topic":"t"},{"path":"/b","topic":"other"}]"#),
            ("/l/host/h", r#"[{"path":"/c","topic":"t"}]"#),
            ("/l/host/other", r#"[{"path":"/d","topic":"t"}]"#),
        ];
        let order: Vec<String> = ["/l/all", "/l/group/web", "/l/group/none", "/l/host/h"].map(String::from).into();
        let mut agent = Collections::new(order.clone());
        for (revision, (key, value)) in (1..).zip(values) {
            put(&book, key, revision, value);
            if order.iter().any(|known| known == key) {
                agent.set(key, parse_entries(value.as_bytes(), Path::new("/<base_dir>")).unwrap());
            }
        }
        let all = Topics::default();
        let (rows, wrong) = book.effective(&order, &all);
        let counts: Vec<_> = rows.iter().filter(|row| row["overridden_by"].is_null()).collect();
        assert_eq!(counts.len(), agent.diff().added.len());
        let lost = rows.iter().find(|row| !row["overridden_by"].is_null()).unwrap();
        assert_eq!((&lost["entry"]["start"], &lost["overridden_by"]), (&json!("end"), &json!("/l/group/web")));
        assert!(wrong.is_empty());
        put(&book, "/l/host/h", 9, "{}");
        assert_eq!(book.effective(&order, &all).1, ["/l/host/h"]);
        let others = Topics::try_from(vec!["other".to_owned()]).unwrap();
        let (rows, wrong) = book.effective(&order, &others);
        assert_eq!((rows.len(), &rows[0]["entry"]["topic"], wrong.len()), (1, &json!("other"), 0));
    }
}
