//! New documents of a real Elasticsearch, as they arrive: also those whose lines are hours old, in indices with several
//! shards, and in indices that come later. Each is told once.

use crate::stores::{cluster, elasticsearch};
use bytes::Bytes;
use logweir::{
    elastic::{Answer, Cluster, TemplateSettings},
    search::{Elastic, Follow, budget::ANSWER_BYTES, model::Hit, parse::parse},
    telemetry::{now_ms, rfc3339_ms},
};
use serde_json::{Value, json};
use std::sync::Arc;

struct Scene {
    cluster: Arc<Cluster>,
    elastic: Elastic,
    name: &'static str,
}

impl Scene {
    async fn new(name: &'static str, shards: u32) -> Self {
        let (cluster, pattern) = (cluster(elasticsearch()), format!("{name}-*"));
        let settings = TemplateSettings { replicas: 0, shards, ..TemplateSettings::default() };
        cluster.install_template(&pattern, &settings).await.unwrap();
        Self { elastic: Elastic::new(cluster.clone(), &[pattern]), cluster, name }
    }

    /// Lines of one index, so many seconds old, visible when this returns.
    async fn write(&self, index: &str, age_secs: u64, messages: &[String]) {
        let mut body = String::new();
        for message in messages {
            let document = document(message, now_ms() - age_secs * 1_000);
            body.push_str(&format!("{{\"create\":{{\"_index\":\"{}-{index}\"}}}}\n{document}\n", self.name));
        }
        let answer = self.cluster.bulk(Bytes::from(body), messages.len()).await;
        let Answer::Items(refused) = answer else { panic!("{answer:?}") };
        assert!(refused.is_empty(), "{refused:?}");
        elasticsearch().request("POST", &format!("/{}-*/_refresh", self.name), None);
    }

    async fn look(&self, follow: &mut Follow) -> Vec<String> {
        let news = follow.look(&self.elastic).await.unwrap();
        assert_eq!(news.skipped, 0);
        news.hits.iter().map(|hit| hit.fields["message"].as_str().unwrap().to_owned()).collect()
    }
}

fn document(message: &str, time_ms: u64) -> Value {
    let offset: u64 = message.bytes().fold(7, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte));
    json!({"@timestamp": rfc3339_ms(time_ms), "message": message, "log": {"offset": offset},
        "logweir": {"file": "a41f9c0e77d2b3c8", "topic": "t"}})
}

fn lines(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name} {n}")).collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[actix_rt::test]
async fn each_line_is_told_once_however_old_it_is() {
    let scene = Scene::new("followed", 1).await;
    scene.write("a", 5, &lines("before", 3)).await;
    let mut follow = Follow::begin(&scene.elastic, parse("-hidden").unwrap()).await.unwrap();
    assert_eq!(scene.look(&mut follow).await, [""; 0], "what was there is not new");
    scene.write("a", 0, &lines("now", 2)).await;
    assert_eq!(scene.look(&mut follow).await, ["now 0", "now 1"]);
    // Its server was away for hours.
    scene.write("a", 5 * 3_600, &lines("late", 2)).await;
    assert_eq!(sorted(scene.look(&mut follow).await), ["late 0", "late 1"]);
    // An index that is new, and nothing that doesn't match.
    scene.write("b", 60, &[lines("new", 1), lines("hidden", 2)].concat()).await;
    assert_eq!(scene.look(&mut follow).await, ["new 0"]);
    for _ in 0..8 {
        assert_eq!(scene.look(&mut follow).await, [""; 0], "nothing is told twice");
    }
    scene.write("b", 0, &lines("after", 1)).await;
    assert_eq!(scene.look(&mut follow).await, ["after 0"]);
}

#[actix_rt::test]
async fn every_shard_is_followed_by_its_own_numbers() {
    let scene = Scene::new("sharded", 5).await;
    scene.write("a", 5, &lines("before", 50)).await;
    let mut follow = Follow::begin(&scene.elastic, parse("").unwrap()).await.unwrap();
    let mut told = Vec::new();
    for round in 0..6 {
        scene.write("a", round * 700, &lines(&format!("round {round}"), 20)).await;
        told.extend(scene.look(&mut follow).await);
    }
    let all: Vec<String> = (0..6).flat_map(|round| lines(&format!("round {round}"), 20)).collect();
    assert_eq!(sorted(told), sorted(all));
}

#[actix_rt::test]
async fn more_than_a_look_tells_are_counted_and_the_next_look_goes_on() {
    let scene = Scene::new("flooded", 1).await;
    let mut follow = Follow::begin(&scene.elastic, parse("").unwrap()).await.unwrap();
    scene.write("a", 0, &lines("flood", 2_500)).await;
    let news = follow.look(&scene.elastic).await.unwrap();
    assert_eq!((news.hits.len(), news.skipped), (2_000, 500));
    assert_eq!(scene.look(&mut follow).await, [""; 0]);
    scene.write("a", 0, &lines("after", 1)).await;
    assert_eq!(scene.look(&mut follow).await, ["after 0"]);
}

/// 75 MB: more than an answer may have, and far more than a look tells.
#[actix_rt::test]
async fn long_lines_are_told_as_far_as_there_is_room_and_the_others_counted() {
    let scene = Scene::new("long", 1).await;
    let mut follow = Follow::begin(&scene.elastic, parse("").unwrap()).await.unwrap();
    let text = "long ".repeat(100_000);
    let long: Vec<String> = (0..150).map(|n| format!("{n} {text}")).collect();
    scene.write("a", 0, &long).await;
    let news = follow.look(&scene.elastic).await.unwrap();
    assert!(news.hits.iter().map(Hit::bytes).sum::<usize>() <= ANSWER_BYTES);
    assert_eq!((news.hits.len(), news.skipped), (33, 117));
    assert_eq!(scene.look(&mut follow).await, [""; 0]);
    scene.write("a", 0, &lines("after", 30)).await;
    assert_eq!(scene.look(&mut follow).await.len(), 30);
}
