//! Documents of a question, until there are enough or an answer is full. The problem: how large documents are shows only
//! when they come, and a thousand large ones are too much for Elasticsearch's memory, too. So it is asked for as many as
//! the last ones let expect, for fewer where an answer was too large, and again until it is enough.

use super::{SORT, ask::Answer};
use crate::{
    elastic::LONGEST_ANSWER,
    search::{
        budget::{ANSWER_BYTES, Room},
        cursor,
        model::{Hit, MAX_PAGE, Order, SearchError},
        value::flat,
    },
};
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Documents that are asked for at once where nothing is known of their size.
const FIRST: usize = 100;

/// How many documents make a full answer, as the last ones showed.
#[derive(Debug)]
pub struct Pace(AtomicUsize);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicUsize::new(FIRST))
    }
}

impl Pace {
    /// So many documents fitted. Large ones count at once, small ones little by little: other questions find others.
    fn learn(&self, fitting: usize) {
        let known = self.0.load(Relaxed);
        self.0.store(fitting.min(known.saturating_mul(2)).clamp(1, MAX_PAGE), Relaxed);
    }
}

/// What is asked for.
pub struct Wanted {
    /// The question without its size; sorted, at last by [`SORT`].
    pub body: Value,
    pub size: usize,
    /// Of the cursors.
    pub order: Order,
    /// Values of the body's own sorting before those of [`SORT`].
    pub own: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Documents {
    pub hits: Vec<Hit>,
    /// The next one, where it was read and there was no room for it.
    pub beyond: Option<Hit>,
    /// Whether there may be more of them.
    pub more: bool,
    /// Where the body asks for it.
    pub total: Option<u64>,
    pub incomplete: Option<String>,
}

/// `ask` answers a body, with `None` where the answer is too large.
pub async fn fetch<'a>(
    pace: &Pace,
    wanted: Wanted,
    ask: impl Fn(Value) -> BoxFuture<'a, Result<Option<Answer>, SearchError>>,
) -> Result<Documents, SearchError> {
    let Wanted { mut body, size, order, own } = wanted;
    let (mut found, mut room, mut step) = (Documents::default(), Room::default(), pace.0.load(Relaxed));
    while found.hits.len() < size {
        let asked = step.min(size - found.hits.len());
        body["size"] = asked.into();
        let Some(mut answer) = ask(body.clone()).await? else {
            if asked > 1 {
                step = asked / 2;
                pace.learn(step);
                continue;
            }
            if found.hits.is_empty() {
                return Err(too_large(&ask, body, own).await);
            }
            // The next page begins with it.
            break;
        };
        found.total = found.total.or(answer.body["hits"]["total"]["value"].as_u64());
        found.incomplete = found.incomplete.or(answer.incomplete);
        let Value::Array(documents) = answer.body["hits"]["hits"].take() else { return Ok(found) };
        let all = documents.len() < asked;
        if let Some(last) = documents.last() {
            body["search_after"] = last["sort"].clone();
            body["track_total_hits"] = false.into();
        }
        for document in documents {
            let hit = hit(document, order, own)?;
            if !room.take(&hit) {
                pace.learn(found.hits.len());
                (found.more, found.beyond) = (true, Some(hit));
                return Ok(found);
            }
            found.hits.push(hit);
        }
        if all {
            return Ok(found);
        }
        let each = ((ANSWER_BYTES - room.left()) / found.hits.len()).max(1);
        pace.learn(ANSWER_BYTES / each);
        step = (room.left() / each).clamp(1, MAX_PAGE);
    }
    found.more = true;
    Ok(found)
}

/// A document as a hit; `own` values stand before those of [`SORT`].
pub fn hit(mut document: Value, order: Order, own: usize) -> Result<Hit, SearchError> {
    let unread = || SearchError::Unavailable("it answers something that is no hit".to_owned());
    let fields = flat(document["_source"].take());
    let values = document["sort"].as_array().and_then(|values| values.get(own..)).ok_or_else(unread)?;
    Ok(Hit {
        time_ms: values.first().and_then(Value::as_i64).ok_or_else(unread)?,
        file: fields.get("logweir.file").and_then(Value::as_str).map(str::to_owned),
        offset: fields.get("log.offset").and_then(Value::as_u64),
        cursor: cursor::write(order, values),
        fields,
    })
}

/// Names the one document that is larger than an answer may be, so that it can be left out.
async fn too_large<'a>(
    ask: impl Fn(Value) -> BoxFuture<'a, Result<Option<Answer>, SearchError>>,
    mut body: Value,
    own: usize,
) -> SearchError {
    body["_source"] = false.into();
    let place = match ask(body).await {
        Ok(Some(answer)) => place(&answer.body["hits"]["hits"][0]["sort"], own),
        Ok(None) => String::new(),
        Err(error) => return error,
    };
    let text = "a line is larger than an answer of Elasticsearch may be";
    SearchError::TooExpensive(format!("{text} ({} MiB); leave it out: NOT ({place})", LONGEST_ANSWER >> 20))
}

/// A document's place, as a query for it.
fn place(sort: &Value, own: usize) -> String {
    let values =
        || SORT.iter().zip(sort.as_array().into_iter().flatten().skip(own)).map(|((name, _), value)| (*name, value));
    let own_line = values().any(|(name, value)| name == "logweir.file" && value.is_string());
    let names = if own_line { 1..3 } else { 3..6 };
    let texts = values().enumerate().filter(|(n, _)| names.contains(n)).map(|(_, (name, value))| match value {
        Value::String(text) => format!("{name}:\"{text}\""),
        value => format!("{name}:{value}"),
    });
    texts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Mutex;

    const MIB: usize = 1 << 20;

    /// Documents of these sizes, and how many were asked for each time.
    struct Store {
        sizes: Vec<usize>,
        asked: Mutex<Vec<u64>>,
    }

    impl Store {
        fn new(sizes: Vec<usize>) -> Self {
            Self { sizes, asked: Mutex::default() }
        }

        fn answer(&self, body: &Value) -> Option<Answer> {
            let size = body["size"].as_u64().unwrap();
            self.asked.lock().unwrap().push(size);
            let begin = body["search_after"][2].as_u64().map_or(0, |offset| offset as usize + 1);
            let bare = body["_source"] == false;
            let found: Vec<_> = self.sizes.iter().enumerate().skip(begin).take(size as usize).collect();
            if !bare && found.iter().map(|(_, size)| **size).sum::<usize>() > LONGEST_ANSWER {
                return None;
            }
            let document = |(n, size): &(usize, &usize)| {
                let text = if bare { String::new() } else { "x".repeat(**size) };
                json!({"_source": {"message": text, "log": {"offset": n}}, "sort": [1, "f", n, null, null, null]})
            };
            let documents: Vec<_> = found.iter().map(document).collect();
            let total = if body["track_total_hits"] == true { json!({"value": self.sizes.len()}) } else { Value::Null };
            Some(Answer { body: json!({"hits": {"hits": documents, "total": total}}), incomplete: None })
        }

        async fn fetch(&self, pace: &Pace, size: usize, after: Option<u64>) -> Result<Documents, SearchError> {
            let mut body = json!({"track_total_hits": true});
            if let Some(after) = after {
                body["search_after"] = json!([1, "f", after, null, null, null]);
            }
            let wanted = Wanted { body, size, order: Order::OldestFirst, own: 0 };
            fetch(pace, wanted, |body| Box::pin(async move { Ok(self.answer(&body)) })).await
        }

        /// The offsets of all pages, and how many pages those are.
        async fn all(&self, pace: &Pace, size: usize) -> (Vec<u64>, usize) {
            let (mut offsets, mut pages) = (Vec::new(), 0);
            loop {
                let found = self.fetch(pace, size, offsets.last().copied()).await.unwrap();
                assert!(found.hits.len() == 1 || found.hits.iter().map(Hit::bytes).sum::<usize>() <= ANSWER_BYTES);
                offsets.extend(found.hits.iter().filter_map(|hit| hit.offset));
                pages += 1;
                if !found.more {
                    return (offsets, pages);
                }
            }
        }

        fn asked(&self) -> Vec<u64> {
            std::mem::take(&mut *self.asked.lock().unwrap())
        }
    }

    #[tokio::test]
    async fn small_documents_come_by_one_question_once_their_size_is_known() {
        let (store, pace) = (Store::new(vec![300; 3_000]), Pace::default());
        let found = store.fetch(&pace, 1_000, None).await.unwrap();
        assert_eq!((found.hits.len(), found.more, found.total), (1_000, true, Some(3_000)));
        assert_eq!(store.asked(), [100, 900]);
        assert_eq!(store.all(&pace, 1_000).await.0.len(), 3_000);
        assert_eq!(store.asked(), [400, 600, 1_000, 1_000, 1_000]);
        assert!(!store.fetch(&pace, 5_000, None).await.unwrap().more);
    }

    #[tokio::test]
    async fn large_documents_are_asked_for_in_parts_and_nothing_is_left_out() {
        let (store, pace) = (Store::new(vec![MIB; 200]), Pace::default());
        let (offsets, pages) = store.all(&pace, 10_000).await;
        assert_eq!(offsets, (0..200).collect::<Vec<u64>>());
        assert_eq!(pages, 14, "15 to a page: the sixteenth is a few bytes too much");
        let asked = store.asked();
        assert_eq!(asked[..3], [100, 50, 15], "the first is too large, the next more than fits: that is remembered");
        assert!(asked.iter().sum::<u64>() < 500, "{asked:?}");
    }

    #[tokio::test]
    async fn documents_of_all_sizes_are_found_once_each() {
        let sizes: Vec<usize> =
            (0..400).map(|n| [10, 300_000, 17 * MIB, 5_000, 900][n % 5] / (1 + n / 5 % 3)).collect();
        for size in [3, 100, 10_000] {
            let store = Store::new(sizes.clone());
            let (offsets, _) = store.all(&Pace::default(), size).await;
            assert_eq!(offsets, (0..400).collect::<Vec<u64>>(), "{size}");
        }
    }

    #[tokio::test]
    async fn a_document_that_is_too_large_by_itself_is_named_after_those_before_it() {
        let mut sizes = vec![1_000; 10];
        sizes[7] = LONGEST_ANSWER + 1;
        let (store, pace) = (Store::new(sizes), Pace::default());
        let found = store.fetch(&pace, 10, None).await.unwrap();
        assert_eq!((found.hits.len(), found.more), (7, true));
        let error = store.fetch(&pace, 10, Some(6)).await.unwrap_err();
        let SearchError::TooExpensive(text) = &error else { panic!("{error}") };
        assert!(text.ends_with("(64 MiB); leave it out: NOT (logweir.file:\"f\" log.offset:7)"), "{text}");
        assert_eq!(store.fetch(&pace, 10, Some(7)).await.unwrap().hits.len(), 2, "behind it they go on");
    }
}
