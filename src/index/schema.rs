//! The fields of the index. The problem: search, writer and page have to agree on them, and a day written today has to
//! be readable after parsing has brought new fields. So there are five fixed fields, and one that holds whatever else a
//! document has, each value by its own type.

use super::words::{WORDS, Words};
use tantivy::{
    IndexSettings,
    schema::{
        BytesOptions, FAST, Field, INDEXED, IndexRecordOption, JsonObjectOptions, NumericOptions, Schema,
        TextFieldIndexing, TextOptions,
    },
    store::{Compressor, ZstdCompressor},
    tokenizer::TokenizerManager,
};

/// The tokenizer of values that are one word as a whole.
const RAW: &str = "raw";

/// Bytes of documents that are compressed together: more make the index smaller and a page of hits slower.
const STORE_BLOCK_BYTES: usize = 64 << 10;
const STORE_LEVEL: i32 = 3;

/// The fields of every day; their numbers are the same in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// `message`: text; its words with their positions.
    pub message: Field,
    /// `@timestamp` in milliseconds since 1970: i64, fast, indexed.
    pub time: Field,
    /// `log.offset`: u64, fast.
    pub offset: Field,
    /// `logweir.file` as a number: u64, fast, indexed.
    pub file: Field,
    /// All other fields, by their full dotted name (dots divide): JSON, fast, strings as one word.
    pub fields: Field,
    /// The document's JSON as the transfer would send it: bytes, stored only.
    pub source: Field,
}

impl Fields {
    /// Name of [`Fields::fields`], before which the dotted name of a fast field's column stands.
    pub const DYNAMIC: &str = "fields";

    /// The handles.
    pub fn get() -> Self {
        Self::schema().1
    }

    /// The schema, and the handles of its fields.
    pub fn schema() -> (Schema, Self) {
        let mut schema = Schema::builder();
        let indexing = |tokenizer, option| {
            TextFieldIndexing::default().set_tokenizer(tokenizer).set_index_option(option).set_fieldnorms(false)
        };
        let words = indexing(WORDS, IndexRecordOption::WithFreqsAndPositions);
        let whole = indexing(RAW, IndexRecordOption::Basic);
        let dynamic = JsonObjectOptions::default().set_indexing_options(whole).set_fast(RAW).set_expand_dots_enabled();
        let fields = Self {
            message: schema.add_text_field("message", TextOptions::default().set_indexing_options(words)),
            time: schema.add_i64_field("time", NumericOptions::from(FAST | INDEXED)),
            offset: schema.add_u64_field("offset", NumericOptions::from(FAST)),
            file: schema.add_u64_field("file", NumericOptions::from(FAST | INDEXED)),
            fields: schema.add_json_field(Self::DYNAMIC, dynamic),
            source: schema.add_bytes_field("source", BytesOptions::default().set_stored()),
        };
        (schema.build(), fields)
    }
}

/// How documents are stored.
pub(super) fn settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::Zstd(ZstdCompressor { compression_level: Some(STORE_LEVEL) }),
        docstore_blocksize: STORE_BLOCK_BYTES,
        ..IndexSettings::default()
    }
}

/// The tokenizers that the schema names; an index that is opened needs them.
pub(super) fn tokenizers() -> TokenizerManager {
    let tokenizers = TokenizerManager::default();
    tokenizers.register(WORDS, Words::default());
    tokenizers
}
