//! What of thousands of entries is shown: by words, a page at a time.

use super::book::{Book, Key, Row};
use crate::console::gate::{HIDDEN, Topics};
use serde_json::{Value, json};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Words, all of which stand in the key or in the entry.
    pub text: String,
    /// Only this key.
    pub key: Option<String>,
    /// Only keys that agents refuse.
    pub wrong: bool,
    pub from: usize,
    pub size: usize,
    /// Those whose entries who asks may see; of another key than theirs nothing is told.
    pub topics: Topics,
}

/// A page, and how many there are in all.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub rows: Vec<Value>,
    pub total: usize,
}

impl Key {
    /// Whether who may see these topics may know of it: one of its entries is of them.
    pub fn is_of(&self, topics: &Topics) -> bool {
        topics.all() || self.rows.iter().any(|row| row.is_of(topics))
    }
}

impl Row {
    pub fn is_of(&self, topics: &Topics) -> bool {
        topics.all() || self.json["topic"].as_str().is_some_and(|topic| topics.allow(topic))
    }
}

impl Question {
    fn words(&self) -> Vec<String> {
        self.text.to_lowercase().split_whitespace().map(str::to_owned).collect()
    }

    fn takes(&self, key: &Key) -> bool {
        self.key.as_ref().is_none_or(|wanted| *wanted == key.item.key)
            && (!self.wrong || key.read.is_err())
            && key.is_of(&self.topics)
    }

    fn page(&self, found: impl Iterator<Item = impl FnOnce() -> Value>) -> Listed {
        let mut listed = Listed { rows: Vec::new(), total: 0 };
        for row in found {
            if (self.from..self.from.saturating_add(self.size)).contains(&listed.total) {
                listed.rows.push(row());
            }
            listed.total += 1;
        }
        listed
    }
}

impl Book {
    /// Entries, in the order of their keys.
    pub fn entries(&self, question: &Question) -> Listed {
        let (words, known) = (question.words(), self.known());
        let found = known.keys.values().filter(|key| question.takes(key)).flat_map(|key| {
            let lower = key.item.key.to_lowercase();
            let rest: Vec<&String> = words.iter().filter(|word| !lower.contains(word.as_str())).collect();
            let rows = key.rows.iter().enumerate();
            rows.filter(|(_, row)| row.is_of(&question.topics))
                .filter(move |(_, row)| rest.iter().all(|word| row.words.contains(word.as_str())))
                .map(move |(n, row)| move || self.row(key, n, row))
        });
        question.page(found)
    }

    fn row(&self, key: &Key, n: usize, row: &Row) -> Value {
        json!({
            "key": key.item.key, "scope": self.scope(&key.item.key).map(|s| s.to_string()), "n": n, "entry": row.json,
            "revision": key.item.revision, "wrong": key.read.is_err(),
        })
    }

    /// Keys: those whose name, or any of whose entries, has the words.
    pub fn keys(&self, question: &Question) -> Listed {
        let (words, known) = (question.words(), self.known());
        let found = known.keys.values().filter(|key| question.takes(key)).filter(|key| {
            let lower = key.item.key.to_lowercase();
            let has = |row: &Row| words.iter().all(|word| lower.contains(word) || row.words.contains(word));
            let seen = || key.rows.iter().filter(|row| row.is_of(&question.topics));
            words.iter().all(|word| lower.contains(word)) || seen().any(has)
        });
        question.page(found.map(|key| move || self.of_key(key, &question.topics)))
    }

    /// What is shown of a key to who may see the entries of these topics.
    pub fn of_key(&self, key: &Key, topics: &Topics) -> Value {
        let seen = key.rows.iter().filter(|row| row.is_of(topics)).count();
        // A mistake may be in another's entry, and tells of it.
        let hidden = || json!({ "reason": HIDDEN, "line": null, "column": null, "entry": null, "field": null });
        let mistake = key.read.as_ref().err().map(|mistake| if topics.all() { json!(mistake) } else { hidden() });
        json!({
            "key": key.item.key, "scope": self.scope(&key.item.key).map(|s| s.to_string()),
            "revision": key.item.revision, "entries": seen, "bytes": key.item.value.len(), "mistake": mistake,
            "seen_ms": key.seen_ms,
        })
    }

    /// Keys that agents refuse, of those with entries of these topics.
    pub fn wrong(&self, topics: &Topics) -> usize {
        self.known().keys.values().filter(|key| key.read.is_err() && key.is_of(topics)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::book::tests::{book, put};
    use super::*;

    #[test]
    fn entries_are_found_by_words_in_path_topic_key_and_labels() {
        let (_dir, book) = book();
        put(&book, "/l/all", 1, r#"[{"path":"/var/Log/nginx/*.log","topic":"web"},{"path":"/b","topic":"t"}]"#);
        put(&book, "/l/host/web-01", 2, r#"[{"path":"/c","topic":"t","labels":{"team":"Shop"}}]"#);
        put(&book, "/l/host/<b>", 3, "no JSON");
        let found = |text: &str| {
            let listed = book.entries(&Question { text: text.into(), size: 9, ..Question::default() });
            listed.rows.iter().map(|row| row["entry"]["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found(""), ["/var/Log/nginx/*.log", "/b", "/c"]);
        assert_eq!(found("NGINX"), ["/var/Log/nginx/*.log"]);
        assert_eq!(found("web"), ["/var/Log/nginx/*.log", "/c"]);
        assert_eq!(found("web-01 shop"), ["/c"]);
        assert_eq!(found("team"), ["/c"]);
        assert!(found("topic").is_empty(), "names of fields are not what is looked for");
        let keys =
            |text: &str, wrong| book.keys(&Question { text: text.into(), wrong, size: 9, ..Question::default() });
        assert_eq!(keys("shop", false).rows[0]["scope"], "host/web-01");
        let wrong = keys("", true);
        assert_eq!((wrong.total, wrong.rows[0]["key"].as_str()), (1, Some("/l/host/<b>")));
        assert!(wrong.rows[0]["mistake"]["reason"].as_str().unwrap().contains("JSON"));
    }

    #[test]
    fn a_page_is_a_piece_of_all() {
        let (_dir, book) = book();
        for host in 0..50 {
            let entries: Vec<Value> = (0..100).map(|n| json!({ "path": format!("/{n}"), "topic": "t" })).collect();
            put(&book, &format!("/l/host/h{host:02}"), host + 1, &json!(entries).to_string());
        }
        let listed = book.entries(&Question { from: 4_950, size: 100, ..Question::default() });
        assert_eq!((listed.total, listed.rows.len()), (5_000, 50));
        assert_eq!(listed.rows[0]["entry"]["path"], "/50");
        assert_eq!(
            book.entries(&Question { key: Some("/l/host/h07".into()), size: 9, ..Question::default() }).total,
            100
        );
    }
}
