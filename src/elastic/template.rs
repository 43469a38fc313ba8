//! The index template that is installed before the first document is written. The problem: without it the first line
//! that looks like a date maps `message` as a date, and every other line is refused. It also makes Elasticsearch see the
//! words in a message that the search and the embedded index see (`document::words`).

use crate::document::{MAX_WORD_UNITS, SEPARATORS};
use serde_json::{Value, json};

/// What the settings say about new indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateSettings {
    /// `false` where the operator keeps templates of his own.
    pub install: bool,
    /// Primary shards of an index.
    pub shards: u32,
    /// Copies of each.
    pub replicas: u32,
}

impl Default for TemplateSettings {
    fn default() -> Self {
        Self { install: true, shards: 1, replicas: 1 }
    }
}

/// Lowest priority of our templates; they use up to [`PRIORITIES`] more. An operator's own template for the same
/// indices wins from 1100 on.
const FIRST_PRIORITY: u32 = 100;
pub(super) const PRIORITIES: u32 = 1000;

/// The name of the template for a pattern: the same in every transfer, so that they overwrite each other with the same.
pub fn template_name(pattern: &str) -> String {
    format!("logweir-{:08x}", crc32c::crc32c(pattern.as_bytes()))
}

/// The index template for a pattern. Elasticsearch refuses two templates of one priority whose patterns overlap, so
/// each has its own; the `attempt`s count on from there.
pub fn index_template(pattern: &str, settings: &TemplateSettings, attempt: u32) -> Value {
    let place = crc32c::crc32c(pattern.as_bytes()).wrapping_add(attempt) % PRIORITIES;
    // 8191 characters are at most 32,764 bytes: below Lucene's limit of a term, so that no path or label is refused.
    let keyword = json!({"type": "keyword", "ignore_above": 8191});
    json!({
        "index_patterns": [pattern],
        "priority": FIRST_PRIORITY + place,
        "_meta": {"description": "installed by logweir transfer"},
        "template": {
            "settings": {"index": {
                "number_of_shards": settings.shards,
                "number_of_replicas": settings.replicas,
                "analysis": {
                    "char_filter": {
                        "logweir_separators": {"type": "pattern_replace", "pattern": SEPARATORS, "replacement": " "},
                    },
                    "tokenizer": {"logweir_words": {"type": "standard", "max_token_length": MAX_WORD_UNITS}},
                    "analyzer": {"logweir_words": {
                        "type": "custom",
                        "char_filter": ["logweir_separators"],
                        "tokenizer": "logweir_words",
                        "filter": ["lowercase"],
                    }},
                },
            }},
            "mappings": {
                "date_detection": false,
                "numeric_detection": false,
                "dynamic_templates": [
                    {"strings": {"match_mapping_type": "string", "mapping": keyword}},
                    // Elasticsearch's own choice is `float`, in which 0.1 is another number.
                    {"numbers": {"match_mapping_type": "double", "mapping": {"type": "double"}}},
                ],
                "properties": {
                    "@timestamp": {"type": "date"},
                    // Nothing is ever scored.
                    "message": {"type": "text", "analyzer": "logweir_words", "norms": false},
                    "host": {"properties": {"name": keyword}},
                    "log": {"properties": {"file": {"properties": {"path": keyword}}, "offset": {"type": "long"}}},
                    "logweir": {"properties": {
                        "file": {"type": "keyword"},
                        "topic": {"type": "keyword"},
                        "partition": {"type": "integer"},
                        "offset": {"type": "long"},
                        "part": {"type": "keyword"},
                        "invalid_utf8": {"type": "boolean"},
                    }},
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_has_its_own_name_and_priority_and_the_next_attempt_another() {
        let priority =
            |pattern, attempt| index_template(pattern, &TemplateSettings::default(), attempt)["priority"].clone();
        assert_ne!(template_name("logweir-*"), template_name("app-*"));
        assert_ne!(priority("logweir-*", 0), priority("logweir-*", 1));
        for attempt in 0..2 * PRIORITIES {
            assert!((100..1100).contains(&priority("logweir-*", attempt).as_u64().unwrap()));
        }
    }
}
