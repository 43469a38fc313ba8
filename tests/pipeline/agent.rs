//! Files -> agent -> Kafka: at least once in Kafka, exactly once after folding by FILE and OFFSET.

use crate::{
    scene::{Scene, central_lines, report},
    support::{process::Process, rng::Rng, writer::Background},
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// What goes wrong on purpose, or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    KillAgent,
    KillTransfer,
    KillBroker,
    KillElastic,
    AddEntry,
    RemoveEntry,
}

/// Six files that are rotated hastily, sometimes twice within a millisecond, under a pattern that still matches them then (no
/// agent could know a file that came and left its pattern while the agent was dead), two that leave their pattern when they are
/// rotated, and one that is never rotated, with an entry of its own that comes, goes and comes again.
pub const ROTATED: &[&str] = &["app-[0-5].log*", "app-[67].log"];
pub const ALL: &[&str] = &["app-[0-5].log*", "app-[67].log", "app-8.log"];
pub const FILES: usize = 9;

/// How long the writer takes: enough for all the kills.
pub fn duration(lines: u64) -> Duration {
    Duration::from_secs(30 + lines / 10_000)
}

/// The events at random moments of the first nine tenths; the entry is added in the first half and removed in the second.
pub fn moments(rng: &mut Rng, over: Duration, events: &[(Event, usize)]) -> Vec<(Duration, Event)> {
    let span = over.as_millis() as u64 * 9 / 10;
    let mut all = Vec::new();
    for &(event, times) in events {
        for _ in 0..times {
            all.push((Duration::from_millis(rng.below(span)), event));
        }
    }
    all.push((Duration::from_millis(rng.below(span / 2)), Event::AddEntry));
    all.push((Duration::from_millis(span / 2 + rng.below(span / 2)), Event::RemoveEntry));
    all.sort_by_key(|&(at, _)| at);
    all
}

/// Waits for the moment of an event.
pub fn wait_until(begun: Instant, at: Duration) {
    while let Some(rest) = at.checked_sub(begun.elapsed()) {
        thread::park_timeout(rest);
    }
}

pub fn killed_and_started(process: Process) -> Process {
    let program = process.program.clone();
    process.kill();
    program.start()
}

#[test]
fn every_line_is_in_kafka_after_ten_kills_of_the_agent_and_one_of_the_broker() {
    let mut scene = Scene::new("agent-kills");
    let mut rng = Rng::from_env();
    let lines = central_lines();
    scene.collect(ROTATED);
    let writer = scene.writer(FILES, lines / 50, Rng::new(rng.next())).with_gentle_and_steady(2, 1);
    let mut agent = scene.agent.start_ready();

    let over = duration(lines);
    let events = moments(&mut rng, over, &[(Event::KillAgent, 10), (Event::KillBroker, 1)]);
    let writing = Background::start(writer, lines, over);
    let begun = Instant::now();
    for (at, event) in events {
        wait_until(begun, at);
        match event {
            Event::KillAgent => agent = killed_and_started(agent),
            Event::KillBroker => {
                scene.servers.kafka.kill();
                scene.servers.kafka.start();
            }
            Event::AddEntry => scene.collect(ALL),
            Event::RemoveEntry => scene.collect(ROTATED),
            Event::KillTransfer | Event::KillElastic => unreachable!("not among these events"),
        }
    }
    let written = writing.finish();
    scene.collect(ALL);

    let written = written.written();
    let (verdict, repeats) = scene.judge_kafka(agent, written);
    report(&format!(
        "agent -> Kafka: {} lines ({} bytes), 10 kills of the agent, 1 of the broker: {repeats} repeats in Kafka",
        written.lines(),
        written.bytes
    ));
    assert!(verdict.is_empty(), "{verdict:#?}\nagent's log: {}", scene.agent.log().display());
}
