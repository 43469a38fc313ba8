//! Questions that nobody should be able to do harm with.

use crate::{corpus, stores};
use logweir::search::{
    Embedded,
    model::{Backend, MAX_PAGE, Order, PageRequest, Scope, SearchError},
    parse::parse,
};
use serde_json::json;

fn request(query: &str) -> PageRequest {
    let scope = Scope { query: parse(query).unwrap(), from_ms: None, to_ms: None };
    PageRequest { scope, order: Order::NewestFirst, size: 10, after: None, count: true }
}

async fn refused(backend: &dyn Backend, what: &str) {
    let is_refused = |answer: Result<_, SearchError>| matches!(answer, Err(SearchError::Refused(_)));
    for size in [0, MAX_PAGE + 1] {
        assert!(is_refused(backend.page(PageRequest { size, ..request("*") }).await.map(drop)), "{what} {size}");
    }
    for after in ["", "x", "n", "n[]", "n[1,2,3,4,5,6,7]", "o[1]"] {
        let after = Some(after.to_owned());
        assert!(
            is_refused(backend.page(PageRequest { after: after.clone(), ..request("*") }).await.map(drop)),
            "{after:?}"
        );
    }
    let scope = request("*").scope;
    assert!(is_refused(backend.histogram(scope.clone(), 0).await.map(drop)), "{what}");
    assert!(is_refused(backend.histogram(scope.clone(), 1).await.map(drop)), "{what}: more than 2000 bars");
    assert!(is_refused(backend.top_values(scope, "message".to_owned(), 5).await.map(drop)), "{what}");
    let line = logweir::search::model::LineAt { file: "../etc".to_owned(), offset: 0 };
    assert!(is_refused(backend.around(line, 1, 1).await.map(drop)), "{what}");
    let everything = backend.page(request("?* OR *?*")).await.unwrap();
    assert_eq!(everything.hits.len(), 10, "{what}");
}

#[tokio::test]
async fn nonsense_is_refused_in_a_sentence_by_both() {
    let documents = corpus::documents(9000, 3);
    let folder = tempfile::tempdir().unwrap();
    refused(&stores::in_the_embedded_index(&documents, folder.path()), "embedded").await;
    refused(&stores::in_elasticsearch(&documents, "limits").await, "elasticsearch").await;
}

#[tokio::test]
async fn a_pattern_for_too_many_words_is_refused_and_a_question_can_be_dropped() {
    let document = |n: u64| {
        let words: String = (0..200).map(|i| format!("w{:x} ", n * 200 + i)).collect();
        json!({
            "@timestamp": "2026-11-19T10:00:00.000Z", "message": words, "log": {"offset": n},
            "logweir": {"file": "a41f9c0e77d2b3c8"},
        })
    };
    let documents: Vec<_> = (0..700).map(document).collect();
    let folder = tempfile::tempdir().unwrap();
    let embedded: Embedded = stores::in_the_embedded_index(&documents, folder.path());
    let answer = embedded.page(request("w*")).await;
    assert!(matches!(&answer, Err(SearchError::TooExpensive(text)) if text.contains("longer")), "{answer:?}");
    assert_eq!(embedded.page(request("w1ff*")).await.unwrap().hits.len(), 4);
    // Dropped before it is answered: its turn is free again, however often.
    for _ in 0..20 {
        drop(embedded.page(request("*1*")));
        let _ = futures_util::FutureExt::now_or_never(embedded.page(request("*1*")));
    }
    assert!(embedded.page(request("w1")).await.is_ok());
}

#[tokio::test]
async fn records_of_other_producers_are_paged_in_their_order() {
    let foreign = |n: i64| {
        json!({
            "@timestamp": "2026-11-19T10:00:00.000Z", "message": "foreign",
            "logweir": {"topic": if n % 2 == 0 { "a" } else { "b" }, "partition": n % 3, "offset": n},
        })
    };
    let mut documents: Vec<_> = (0..200).map(foreign).collect();
    documents.extend(corpus::documents(300, 3));
    let elastic = stores::in_elasticsearch(&documents, "foreign").await;
    let mut orders = Vec::new();
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut request = PageRequest { order, size: 7, ..request("*") };
        let mut found = Vec::new();
        loop {
            let page = elastic.page(request.clone()).await.unwrap();
            let Some(last) = page.hits.last() else { break };
            request.after = Some(last.cursor.clone());
            found.extend(page.hits.into_iter().map(|hit| {
                let number = |name: &str| hit.fields.get(name).and_then(serde_json::Value::as_i64);
                let topic = hit.fields["logweir.topic"].as_str().unwrap().to_owned();
                (
                    hit.time_ms,
                    hit.file.is_none(),
                    hit.file,
                    hit.offset,
                    topic,
                    number("logweir.partition"),
                    number("logweir.offset"),
                )
            }));
        }
        assert_eq!(found.len(), documents.len());
        orders.push(found);
    }
    let mut reversed = orders[1].clone();
    reversed.reverse();
    assert_eq!(orders[0], reversed);
    assert!(orders[0].is_sorted());
}

#[tokio::test]
async fn a_search_that_meets_a_damaged_day_answers_with_the_others_and_says_so() {
    let (documents, folder) = (corpus::documents(9000, 3), tempfile::tempdir().unwrap());
    let embedded = stores::in_the_embedded_index(&documents, folder.path());
    let whole = embedded.page(request("*")).await.unwrap();
    assert_eq!((whole.total, whole.incomplete), (Some(9000), None));
    let newest =
        documents.iter().map(|document| document["@timestamp"].as_str().unwrap()[..10].to_owned()).max().unwrap();
    let of_newest = documents.iter().filter(|document| document["@timestamp"].as_str().unwrap().starts_with(&newest));
    let left = 9000 - of_newest.count() as u64;
    assert!((1..9000).contains(&left), "{left}");
    let files = std::fs::read_dir(folder.path().join("index").join(&newest)).unwrap().flatten().map(|file| file.path());
    for store in files.filter(|path| path.extension().is_some_and(|end| end == "store")) {
        // In its place: the file is mapped.
        let (mut bytes, file) =
            (std::fs::read(&store).unwrap(), std::fs::File::options().write(true).open(&store).unwrap());
        let end = bytes.len() - 200;
        bytes[..end].fill(0xa5);
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    }
    let other = PageRequest { order: Order::OldestFirst, size: 1000, ..request("*") };
    for (asked, hits) in [(request("*"), 10), (other, left.min(1000) as usize)] {
        let page = embedded.page(asked).await.unwrap();
        assert_eq!((page.hits.len(), page.total), (hits, Some(left)));
        let incomplete = page.incomplete.unwrap();
        assert!(incomplete.contains(&newest) && incomplete.contains("damaged"), "{incomplete}");
    }
    let histogram = embedded.histogram(request("*").scope, 86_400_000).await.unwrap();
    assert_eq!(histogram.total, left);
}
