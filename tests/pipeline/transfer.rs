//! The central proof: files -> agent -> Kafka -> transfer -> Elasticsearch, with everything on the way killed.

use crate::{
    agent::{ALL, Event, FILES, ROTATED, duration, killed_and_started, moments, wait_until},
    scene::{Scene, central_lines, report},
    support::{rng::Rng, writer::Background},
};
use std::time::Instant;

#[test]
fn every_line_is_in_elasticsearch_exactly_once_though_everything_on_the_way_is_killed() {
    let mut scene = Scene::new("everything-killed");
    let mut rng = Rng::from_env();
    let lines = central_lines();
    scene.collect(ROTATED);
    let writer = scene.writer(FILES, lines / 50, Rng::new(rng.next())).with_gentle_and_steady(2, 1);
    let mut agent = scene.agent.start_ready();
    let mut transfer = scene.transfer.start_ready();

    let over = duration(lines);
    let kills = [(Event::KillAgent, 10), (Event::KillTransfer, 10), (Event::KillBroker, 1), (Event::KillElastic, 1)];
    let events = moments(&mut rng, over, &kills);
    let writing = Background::start(writer, lines, over);
    let begun = Instant::now();
    for (at, event) in events {
        wait_until(begun, at);
        match event {
            Event::KillAgent => agent = killed_and_started(agent),
            Event::KillTransfer => transfer = killed_and_started(transfer),
            Event::KillBroker => {
                scene.servers.kafka.kill();
                scene.servers.kafka.start();
            }
            Event::KillElastic => {
                scene.servers.elastic.kill();
                scene.servers.elastic.start();
            }
            Event::AddEntry => scene.collect(ALL),
            Event::RemoveEntry => scene.collect(ROTATED),
        }
    }
    let written = writing.finish();
    scene.collect(ALL);

    let written = written.written();
    let (in_kafka, repeats) = scene.judge_kafka(agent, written);
    assert!(in_kafka.is_empty(), "in Kafka: {in_kafka:#?}\nagent's log: {}", scene.agent.log().display());
    let in_elastic = scene.judge_elastic(transfer, written);
    report(&format!(
        "files -> Elasticsearch: {} lines ({} bytes), agent and transfer killed 10 times each, broker and Elasticsearch \
         once: {repeats} repeats in Kafka",
        written.lines(),
        written.bytes
    ));
    assert!(in_elastic.is_empty(), "{in_elastic:#?}\ntransfer's log: {}", scene.transfer.log().display());
}
