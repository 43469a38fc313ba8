//! Documents that don't match, for tantivy. The problem: its own exclusion asks the excluded query about each document
//! by steps backwards, which phrases and columns don't allow (0.27: a wrong answer, or a panic where it is checked). So
//! what is excluded is gone through once, forwards, and taken out of all.

use super::scan::{BLOCKS, Control};
use std::sync::Arc;
use tantivy::{
    BitSet, COLLECT_BLOCK_BUFFER_LEN, DocId, DocSet, Score, SegmentReader, TantivyError,
    query::{BitSetDocSet, ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight},
};

#[derive(Clone, Debug)]
pub struct NotQuery {
    pub excluded: Arc<dyn Query>,
    pub control: Arc<Control>,
}

impl Query for NotQuery {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(NotWeight { excluded: self.excluded.weight(scoring)?, control: self.control.clone() }))
    }
}

struct NotWeight {
    excluded: Box<dyn Weight>,
    control: Arc<Control>,
}

impl Weight for NotWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let mut rest = BitSet::with_max_value_and_full(reader.max_doc());
        let mut excluded = self.excluded.scorer(reader, 1.0)?;
        let mut block = [0; COLLECT_BLOCK_BUFFER_LEN];
        for count in 1_usize.. {
            let filled = excluded.fill_buffer(&mut block);
            for &doc in &block[..filled] {
                rest.remove(doc);
            }
            if filled < block.len() {
                break;
            }
            if count.is_multiple_of(BLOCKS) {
                self.control.check().map_err(|reason| self.control.stop(reason))?;
            }
        }
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(rest), boost)))
    }

    fn explain(&self, _: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        Err(TantivyError::InvalidArgument(format!("document {doc}: nothing is explained")))
    }
}
