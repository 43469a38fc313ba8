//! Documents with a word that passes a test, for tantivy. The problem: its own way makes an automaton of a pattern and
//! then reads all there is, however much that is; this one looks at the clock and refuses what would never end.

use super::{super::model::SearchError, scan::Control};
use std::{fmt, sync::Arc};
use tantivy::{
    BitSet, DocId, Score, SegmentReader, TantivyError,
    query::{BitSetDocSet, ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight},
    schema::{Field, IndexRecordOption},
};

/// Different words that one pattern may stand for in a segment.
const MAX_WORDS: usize = 100_000;

/// Words that are looked at between two looks at the clock.
const WORDS: usize = 4096;

pub type WordTest = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Documents with a word in `field` that begins with `prefix` and passes the test for the rest of it.
#[derive(Clone)]
pub struct WordQuery {
    pub field: Field,
    /// Bytes in the dictionary that every word has in front.
    pub prefix: Vec<u8>,
    /// Is given what follows `skip` bytes.
    pub skip: usize,
    pub test: WordTest,
    pub control: Arc<Control>,
}

impl fmt::Debug for WordQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WordQuery").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Query for WordQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(WordWeight(self.clone())))
    }
}

struct WordWeight(WordQuery);

/// The first key behind all that begin with this; `None` where there is none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

impl Weight for WordWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let query = &self.0;
        let mut found = BitSet::with_max_value(reader.max_doc());
        let index = reader.inverted_index(query.field)?;
        let mut range = index.terms().range().ge(&query.prefix);
        if let Some(end) = behind(&query.prefix) {
            range = range.lt(end);
        }
        let (mut words, mut looked, mut matching) = (range.into_stream()?, 0_usize, 0);
        while words.advance() {
            looked += 1;
            if looked.is_multiple_of(WORDS) {
                query.control.check().map_err(|reason| query.control.stop(reason))?;
            }
            if !(query.test)(words.key().get(query.skip..).unwrap_or_default()) {
                continue;
            }
            matching += 1;
            if matching > MAX_WORDS {
                let text = format!("a pattern stands for more than {MAX_WORDS} different words; make it longer");
                return Err(query.control.stop(SearchError::TooExpensive(text)));
            }
            let mut postings = index.read_block_postings_from_terminfo(words.value(), IndexRecordOption::Basic)?;
            while !postings.docs().is_empty() {
                for &doc in postings.docs() {
                    found.insert(doc);
                }
                postings.advance();
            }
        }
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(found), boost)))
    }

    fn explain(&self, _: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        Err(TantivyError::InvalidArgument(format!("document {doc}: nothing is explained")))
    }
}
