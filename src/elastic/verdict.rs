//! What became of one document of a bulk request. The problem: "not created" has three meanings. The document is
//! there already; the document itself is at fault and would be refused for ever; or the server, the index or our
//! rights are at fault, and the document has to wait. Status 400 alone doesn't tell the last two apart.

use std::borrow::Cow;

/// Longest reason that is kept, in bytes: Elasticsearch repeats whole field values in some.
const REASON_BYTES: usize = 512;

/// Why a document was not created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// HTTP status, of the item or of the whole answer; 0 where there was none.
    pub status: u16,
    /// Elasticsearch's exception type, or our own word.
    pub kind: Box<str>,
    /// Elasticsearch's sentence; it may repeat a part of the document, so it doesn't go to the log.
    pub text: Box<str>,
}

impl Reason {
    pub(super) fn new(status: u16, kind: &str, text: &str) -> Self {
        let end = (0..=text.len().min(REASON_BYTES)).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        Self { status, kind: kind.into(), text: text[..end].into() }
    }

    /// In words, with what an operator can do, and without anything of a document.
    pub(super) fn told(&self) -> Box<str> {
        let what = match (self.status, &*self.text) {
            (0, text) if !text.is_empty() => text.to_owned(),
            (0, _) => "no answer".to_owned(),
            (status, _) => format!("{status} {}", self.kind),
        };
        format!("{what}: {}", self.advice()).into()
    }

    /// An operator has to do something, waiting alone won't help.
    pub fn needs_operator(&self) -> bool {
        matches!(self.status, 400..=499) && self.status != 429 && self.status != 408
    }

    /// What an operator can do about it.
    pub fn advice(&self) -> &'static str {
        match (self.status, &*self.kind) {
            (401, _) => "put valid credentials into the etcd key of Elasticsearch's credentials; records wait",
            (403, "cluster_block_exception") => "the index or cluster is read-only; remove the block (disk full?)",
            (403, _) => {
                "give these credentials the right to create documents, indices and index templates; records wait"
            }
            (404, _) => "check the URLs: this is no Elasticsearch, or automatic index creation is off",
            (_, "validation_exception") => "raise cluster.max_shards_per_node or delete old indices; records wait",
            (_, "index_closed_exception") => "open the index; records wait",
            (_, "invalid_index_name_exception") => "correct the entry's index template; records wait",
            (429, _) | (500.., _) => "Elasticsearch is overloaded or in trouble; records wait and are sent again",
            (0, _) => "check the servers, the network and the URLs; records wait and are sent again",
            _ => "records wait and are sent again",
        }
    }
}

/// What became of one document that was not created (a created one needs no verdict).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Already there: delivered.
    Conflict,
    /// Its own fault: to the dead letters.
    Dead(Reason),
    /// Not its fault: to be sent again.
    Retry(Reason),
}

impl Verdict {
    /// Judges an item that isn't 2xx.
    pub(super) fn of(status: u16, kind: &str, text: &str) -> Self {
        let reason = || Reason::new(status, kind, text);
        match status {
            409 if kind.is_empty() || kind == "version_conflict_engine_exception" => Self::Conflict,
            400 if is_documents_fault(kind, text) => Self::Dead(reason()),
            413 => Self::Dead(reason()),
            _ => Self::Retry(reason()),
        }
    }
}

/// Whether a 400 is about this document and not about its index, the templates, or the cluster.
fn is_documents_fault(kind: &str, text: &str) -> bool {
    let about = |words: &[&str]| {
        let text: Cow<str> = text.to_ascii_lowercase().into();
        words.iter().any(|word| text.contains(word))
    };
    match kind {
        // The index could not be created from its template, or is full of fields: an operator's matter.
        "mapper_parsing_exception" | "document_parsing_exception" => {
            !about(&["failed to parse mapping", "limit of total fields"])
        }
        "strict_dynamic_mapping_exception" | "x_content_parse_exception" | "input_coercion_exception" => true,
        // Used for everything from an immense term to a missing pipeline or write index.
        "illegal_argument_exception" => about(&[
            "immense term",
            "cannot be changed from type",
            "can't merge",
            "object mapping",
            "limit of mapping depth",
            "number of nested documents",
            "field name",
        ]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(status: u16, kind: &str, text: &str) -> &'static str {
        match Verdict::of(status, kind, text) {
            Verdict::Conflict => "there",
            Verdict::Dead(_) => "dead",
            Verdict::Retry(_) => "wait",
        }
    }

    #[test]
    fn not_every_400_is_the_documents_fault() {
        // Texts as Elasticsearch 8.19 answers them.
        let parsing =
            "[1:6] failed to parse field [m] of type [date] in document with id '1'. Preview of field's value";
        let shards = "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [3]/[1]";
        let cases = [
            (400, "document_parsing_exception", parsing, "dead"),
            (400, "mapper_parsing_exception", "failed to parse", "dead"),
            (400, "strict_dynamic_mapping_exception", "mapping set to strict", "dead"),
            (400, "illegal_argument_exception", "Document contains at least one immense term in field", "dead"),
            (400, "illegal_argument_exception", "pipeline with id [nope] does not exist", "wait"),
            (400, "illegal_argument_exception", "no write index is defined for alias [x]", "wait"),
            (400, "mapper_parsing_exception", "Failed to parse mapping: No handler for type [x]", "wait"),
            (400, "document_parsing_exception", "failed to parse: Limit of total fields [3] has been exceeded", "wait"),
            (400, "validation_exception", shards, "wait"),
            (400, "invalid_index_name_exception", "Invalid index name [_A]", "wait"),
            (400, "index_closed_exception", "closed", "wait"),
            (400, "", "", "wait"),
            (401, "security_exception", "", "wait"),
            (403, "cluster_block_exception", "index [a] blocked by: [FORBIDDEN/8/index write (api)];", "wait"),
            (404, "index_not_found_exception", "", "wait"),
            (409, "version_conflict_engine_exception", "[1]: version conflict", "there"),
            (409, "", "", "there"),
            (413, "", "", "dead"),
            (429, "es_rejected_execution_exception", "", "wait"),
            (503, "unavailable_shards_exception", "", "wait"),
        ];
        for (status, kind, text, expected) in cases {
            assert_eq!(word(status, kind, text), expected, "{status} {kind} {text}");
        }
    }

    #[test]
    fn a_reason_that_repeats_the_document_is_cut() {
        let Verdict::Dead(reason) = Verdict::of(400, "document_parsing_exception", &"ä".repeat(10_000)) else {
            panic!()
        };
        assert!(reason.text.len() <= REASON_BYTES);
    }
}
