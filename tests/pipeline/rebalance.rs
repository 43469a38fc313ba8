//! Partitions move between transfers while lines flow: what one has not settled, the other delivers, and nothing twice.

use crate::{
    scene::{Scene, report},
    support::{
        process::{Process, free_address, http_get},
        rng::Rng,
        wait_for,
        writer::Background,
    },
};
use std::time::Duration;

const LINES: u64 = 60_000;

/// Documents that this transfer has created in its present run.
fn created(transfer: &Process) -> u64 {
    let text = http_get(&transfer.program.listen, "/metrics").map(|(_, body)| body).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("logweir_documents_created_total "));
    line.map_or(0.0, |number| number.parse::<f64>().expect("a number")) as u64
}

fn wait_for_work(transfer: &mut Process, what: &str) {
    let what = format!("{what}, see {}", transfer.program.log().display());
    let before = created(transfer);
    wait_for(&what, Duration::from_secs(90), || {
        transfer.assert_running();
        (created(transfer) > before).then_some(())
    });
}

#[test]
fn a_second_transfer_takes_its_share_and_when_it_leaves_or_dies_the_first_goes_on_and_every_line_is_there_once() {
    let scene = Scene::new("rebalance");
    scene.collect(&["app-*.log"]);
    let agent = scene.agent.start_ready();
    let writer = scene.writer(12, u64::MAX, Rng::new(23));
    let writing = Background::start(writer, LINES, Duration::from_secs(45));
    // This topic alone, so that each of two transfers has partitions of it.
    let transfer = scene
        .transfer
        .with("LOGWEIR__KAFKA__TOPICS", &scene.topic)
        .with("LOGWEIR__KAFKA__TOPICS_FROM_ENTRIES", "false");
    let mut first = transfer.start_ready();
    wait_for_work(&mut first, "the first transfer to deliver");

    let address = free_address();
    let mut program =
        transfer.with("LOGWEIR__TRANSFER__INSTANCE", "rebalance-second").with("LOGWEIR__METRICS__LISTEN", &address);
    program.name = "second".to_owned();
    program.listen = address;
    let mut second = program.start_ready();
    wait_for_work(&mut second, "the second transfer to deliver");
    wait_for_work(&mut first, "the first to deliver beside the second");
    second.stop();
    wait_for_work(&mut first, "the first to deliver after the second has left");
    let mut second = program.start_ready();
    wait_for_work(&mut second, "the second, back, to deliver");
    second.kill();
    wait_for_work(&mut first, "the first to deliver after the second was killed");

    let writer = writing.finish();
    let (in_kafka, _) = scene.judge_kafka(agent, writer.written());
    assert!(in_kafka.is_empty(), "in Kafka: {in_kafka:#?}");
    let in_elastic = scene.judge_elastic(first, writer.written());
    assert!(
        in_elastic.is_empty(),
        "{in_elastic:#?}\nsee {} and {}",
        scene.transfer.log().display(),
        program.log().display()
    );
    report(&format!("rebalance: {LINES} lines, a second transfer joined twice, left once and was killed once"));
}
