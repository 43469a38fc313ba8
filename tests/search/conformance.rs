//! Both stores answer as the definition says.

use crate::{
    compare::{Pages, around_differences, differences, value_differences},
    corpus,
    model::Model,
    questions::{Question, questions},
    stores,
    support::{env_number, rng::Rng},
};
use futures_util::future::BoxFuture;
use logweir::search::model::{
    Around, Backend, Field, Histogram, LineAt, Order, Page, PageRequest, Scope, SearchError, TopValues,
};
use serde_json::Value;

fn asked() -> (Vec<Value>, Vec<Question>) {
    let documents = corpus::documents(env_number("LOGWEIR_TEST_DOCUMENTS", 100_000), 7);
    (documents, questions(env_number("LOGWEIR_TEST_QUERIES", 250), &mut Rng::from_env()))
}

fn lines(documents: &[Value]) -> Vec<LineAt> {
    let line = |document: &Value| LineAt {
        file: document["logweir"]["file"].as_str().unwrap().to_owned(),
        offset: document["log"]["offset"].as_u64().unwrap(),
    };
    let mut lines: Vec<_> = documents.iter().step_by(documents.len() / 12).map(line).collect();
    // The first and last lines of all, one that is gone, and a file that nobody knows.
    lines.extend([line(&documents[0]), line(&documents[documents.len() - 1])]);
    lines.push(LineAt { offset: lines[3].offset + 1, ..lines[3].clone() });
    lines.push(LineAt { file: "00000000000000ff".to_owned(), offset: 5 });
    lines
}

async fn judge(tested: &dyn Backend, documents: &[Value], questions: &[Question]) {
    let model = Model::new(documents);
    let (mut found, mut rng) = (Vec::new(), Rng::from_env());
    for (n, question) in questions.iter().enumerate() {
        let pages = if rng.once_in(12) { Pages::All } else { Pages::First };
        found.extend(differences(&model, tested, question, pages).await);
        if n % 10 == 0 {
            found.extend(value_differences(&model, tested, question).await);
        }
    }
    found.extend(around_differences(&model, tested, &lines(documents)).await);
    let day = |n: i64| Some(corpus::BEGIN_MS + n * 86_400_000);
    let minute = |n: i64| Some(corpus::BEGIN_MS + n * 60_000);
    let mut spans =
        vec![(None, None), (day(1), day(2)), (day(9), None), (minute(700), minute(701)), (minute(1), minute(1))];
    // Of some of these few lines none has this or that field.
    spans.extend((0..20).map(|_| rng.below(4 * 24 * 60) as i64).map(|n| (minute(n), minute(n + 1))));
    spans.extend([(minute(2000), None), (None, minute(2001))]);
    for (from, to) in spans {
        let (expected, fields) = (model.fields(from, to).await, tested.fields(from, to).await);
        if expected != fields {
            found.push(format!("fields: expected {expected:?}, found {fields:?}"));
        }
    }
    let shown = found.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(found.is_empty(), "{} differences in {} questions:\n{shown}", found.len(), questions.len());
}

#[tokio::test]
async fn the_embedded_index_answers_as_the_definition_says() {
    let (documents, questions) = asked();
    let folder = tempfile::tempdir().unwrap();
    judge(&stores::in_the_embedded_index(&documents, folder.path()), &documents, &questions).await;
}

#[tokio::test]
async fn the_index_that_the_product_writes_answers_as_the_definition_says() {
    let (documents, questions) = asked();
    let folder = tempfile::tempdir().unwrap();
    // A third of them: what differs from the index above is how a line gets there.
    let lines: Vec<_> = documents.iter().take(documents.len() / 3).map(corpus::plain).collect();
    let tested = stores::as_the_product_writes_them(&lines, folder.path());
    let documents: Vec<Value> = lines.into_iter().map(|line| line.document).collect();
    judge(&tested, &documents, &questions).await;
}

#[tokio::test]
async fn elasticsearch_answers_as_the_definition_says() {
    let (documents, questions) = asked();
    judge(&stores::in_elasticsearch(&documents, "conformance").await, &documents, &questions).await;
}

/// A back end with a mistake.
struct Wrong<'a>(&'a Model, &'static str);

impl Backend for Wrong<'_> {
    fn page(&self, mut request: PageRequest) -> BoxFuture<'_, Result<Page, SearchError>> {
        Box::pin(async move {
            if self.1 == "order" {
                request.order = Order::OldestFirst;
            }
            let mut page = self.0.page(request).await?;
            match self.1 {
                "hit" => _ = page.hits.pop(),
                "total" => page.total = page.total.map(|total| total + 1),
                "ties" => page.hits.sort_by_key(|hit| std::cmp::Reverse((hit.time_ms, hit.offset))),
                "field" => page.hits.iter_mut().for_each(|hit| _ = hit.fields.remove("message")),
                _ => {}
            }
            Ok(page)
        })
    }

    fn histogram(&self, scope: Scope, interval_ms: i64) -> BoxFuture<'_, Result<Histogram, SearchError>> {
        Box::pin(async move {
            let mut histogram = self.0.histogram(scope, interval_ms).await?;
            if self.1 == "bar" {
                histogram.bars[0].1 += 1;
            }
            Ok(histogram)
        })
    }

    fn top_values(&self, scope: Scope, field: String, size: usize) -> BoxFuture<'_, Result<TopValues, SearchError>> {
        self.0.top_values(scope, field, if self.1 == "value" { size - 1 } else { size })
    }

    fn fields(&self, from_ms: Option<i64>, to_ms: Option<i64>) -> BoxFuture<'_, Result<Vec<Field>, SearchError>> {
        self.0.fields(from_ms, to_ms)
    }

    fn around(&self, line: LineAt, before: usize, after: usize) -> BoxFuture<'_, Result<Around, SearchError>> {
        self.0.around(line, before + usize::from(self.1 == "around"), after)
    }
}

#[tokio::test]
async fn every_kind_of_mistake_is_found() {
    let documents = corpus::documents(12_000, 7);
    let model = Model::new(&documents);
    let question = questions(0, &mut Rng::new(1)).into_iter().find(|question| question.text == "ภาษา*").unwrap();
    let lines = lines(&documents);
    for (mistake, found) in [
        ("none", false),
        ("hit", true),
        ("total", true),
        ("ties", true),
        ("order", true),
        ("field", true),
        ("bar", true),
        ("value", true),
        ("around", true),
    ] {
        let wrong = Wrong(&model, mistake);
        let question =
            Question { order: Order::NewestFirst, scope: question.scope.clone(), text: String::new(), page: 50 };
        let mut told = differences(&model, &wrong, &question, Pages::First).await;
        told.extend(value_differences(&model, &wrong, &question).await);
        told.extend(around_differences(&model, &wrong, &lines).await);
        assert_eq!(!told.is_empty(), found, "{mistake}: {told:#?}");
    }
}
