//! Holds the answers of one back end against another's, and tells every difference in a sentence.

use crate::questions::Question;
use logweir::search::model::{Backend, Hit, LineAt, MAX_PAGE, Page, PageRequest, SearchError};
use std::fmt::Debug;

/// Beyond so many hits the pages are those of [`Pages`].
const ALL_PAGES: u64 = 4000;

/// Which pages of very many hits are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    First,
    /// All, each as large as may be.
    All,
}

fn id(hit: &Hit) -> (i64, Option<&str>, Option<u64>) {
    (hit.time_ms, hit.file.as_deref(), hit.offset)
}

async fn pages(backend: &dyn Backend, question: &Question, which: Pages) -> Result<(u64, Vec<Hit>), SearchError> {
    let mut request = PageRequest {
        scope: question.scope.clone(),
        order: question.order,
        size: question.page,
        after: None,
        count: true,
    };
    let Page { mut hits, mut after, total, incomplete } = backend.page(request.clone()).await?;
    assert_eq!(incomplete, None);
    let total = total.expect("it was asked for");
    let few = total > ALL_PAGES && which == Pages::First;
    let wanted = if few { hits.len() * 3 } else { usize::MAX };
    if total > ALL_PAGES && which == Pages::All {
        request.size = MAX_PAGE;
    }
    request.count = false;
    while hits.len() < wanted && after.is_some() {
        request.after = after;
        let next = backend.page(request.clone()).await?;
        hits.extend(next.hits);
        after = next.after;
    }
    Ok((total, hits))
}

fn same<T: PartialEq + Debug>(what: &str, expected: &T, found: &T, differences: &mut Vec<String>) {
    if expected != found {
        let short = |value: &T| format!("{value:?}").chars().take(300).collect::<String>();
        differences.push(format!("{what}: expected {}, found {}", short(expected), short(found)));
    }
}

/// Every difference in what is answered to one question.
pub async fn differences(
    expected: &dyn Backend,
    tested: &dyn Backend,
    question: &Question,
    which: Pages,
) -> Vec<String> {
    let mut found = Vec::new();
    let about =
        |what: &str| format!("{} [{:?} {:?}]: {what}", question.text, question.scope.from_ms, question.scope.to_ms);
    match (pages(expected, question, which).await, pages(tested, question, which).await) {
        (Ok((total, hits)), Ok((found_total, found_hits))) => {
            same(&about("total"), &total, &found_total, &mut found);
            let ids = |hits: &[Hit]| hits.iter().map(|hit| format!("{:?}", id(hit))).collect::<Vec<_>>();
            same(&about("hits"), &ids(&hits), &ids(&found_hits), &mut found);
            let fields = hits.iter().zip(&found_hits).take(20).find(|(a, b)| a.fields != b.fields);
            same(
                &about("fields of a hit"),
                &fields.map(|(a, _)| &a.fields),
                &fields.map(|(_, b)| &b.fields),
                &mut found,
            );
        }
        (expected, tested) => {
            found.push(about(&format!("{:?} {:?}", expected.map(|p| p.0), tested.map(|p| p.0))));
        }
    }
    for interval in [3_600_000, 7 * 60_000] {
        let (a, b) = (
            expected.histogram(question.scope.clone(), interval).await,
            tested.histogram(question.scope.clone(), interval).await,
        );
        same(&about("histogram"), &a, &b, &mut found);
    }
    found
}

/// Every difference in what is asked rarely because it costs much.
pub async fn value_differences(expected: &dyn Backend, tested: &dyn Backend, question: &Question) -> Vec<String> {
    let mut found = Vec::new();
    for field in [
        "host.name",
        "status",
        "took",
        "ok",
        "user.tags",
        "user.name",
        "labels.team",
        "logweir.file",
        "log.file.path",
        "unknown",
        "log.offset",
    ] {
        let (a, b) = (
            expected.top_values(question.scope.clone(), field.to_owned(), 12).await,
            tested.top_values(question.scope.clone(), field.to_owned(), 12).await,
        );
        same(&format!("{}: values of {field}", question.text), &a, &b, &mut found);
    }
    found
}

/// Every difference around some lines.
pub async fn around_differences(expected: &dyn Backend, tested: &dyn Backend, lines: &[LineAt]) -> Vec<String> {
    let mut found = Vec::new();
    for line in lines {
        for (before, after) in [(5, 5), (0, 3), (40, 0), (2000, 7)] {
            let (a, b) = (
                expected.around(line.clone(), before, after).await.unwrap(),
                tested.around(line.clone(), before, after).await.unwrap(),
            );
            let ids = |hits: &[Hit]| hits.iter().map(|hit| hit.offset).collect::<Vec<_>>();
            let parts = |around: &logweir::search::model::Around| {
                let line = around.line.as_ref().map(|hit| hit.fields.clone());
                (ids(&around.before), line, ids(&around.after), around.more_before, around.more_after)
            };
            same(&format!("around {line:?} {before} {after}"), &parts(&a), &parts(&b), &mut found);
        }
    }
    found
}
