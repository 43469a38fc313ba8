//! Panics, restarts and stops.

use super::house::{House, Sent};
use logweir::{
    actors::tail_manager::InjectTailPanic,
    flow::PartitionRule,
    journal::{NewFile, Range, RangeEnd},
    messages::{AppendRange, ListFiles, RegisterFiles},
    tail::{fingerprint, head_of_file},
};
use std::{os::unix::fs::MetadataExt, sync::atomic::Ordering::Relaxed, time::Duration};

#[actix_rt::test]
async fn a_panic_in_a_tail_is_survived_even_when_its_file_has_no_name_any_more() {
    let house = House::with(|start| {
        start.credit_bytes = 64 << 10;
        start.chunk_bytes = 4 << 10;
    })
    .await;
    house.sink().withhold_all = true;
    house.append("a.log", "line of a file whose tail panics\n".repeat(3000));
    house.append("b.log", "untouched\n");
    house.add(house.entry("a.log", "a")).await;
    house.add(house.entry("b.log", "b")).await;
    house.until("first lines", |sink| !sink.texts_of("a").is_empty() && sink.texts_of("b").len() == 1).await;
    // Nothing is settled, so its topic's share of the memory ends the reading: the rest is only in the open file.
    assert!(house.sink().texts_of("a").len() < 3000, "it panics in the middle of its file");
    let there = house.manager.send(InjectTailPanic(house.path("a.log"))).await.unwrap();
    assert!(there);
    house.remove("a.log");
    house.until_count("restarted", |counters| counters.tails_restarted.load(Relaxed) == 1).await;
    house.settle_all();
    house.until("all lines", |sink| sink.index().len() == 3001).await;
    house.until_count("closed", |_| house.open_files() == 1).await;
    assert_eq!((house.started(), house.lost_bytes()), (3, 0));
}

#[actix_rt::test]
async fn a_tail_that_panics_again_and_again_is_restarted_each_time() {
    let house = House::new().await;
    house.add(house.entry("a.log", "a")).await;
    for n in 0..4 {
        house.append("a.log", format!("{n}\n"));
        house.until("its line", |sink| sink.index().len() == n + 1).await;
        house.manager.send(InjectTailPanic(house.path("a.log"))).await.unwrap();
        house.until_count("restarted", |counters| counters.tails_restarted.load(Relaxed) == n as u64 + 1).await;
        house.until_count("open", |_| house.open_files() == 1 && house.started() == n as u64 + 2).await;
    }
    house.append("a.log", "last\n");
    house.until("last", |sink| sink.index().len() == 5).await;
}

/// Batches without settling in between, then a kill: the same ranges come again, each as it was.
#[actix_rt::test]
async fn pending_ranges_are_sent_again_as_they_were_and_then_reading_goes_on() {
    let mut house = House::with(|start| start.chunk_bytes = 4 << 10).await;
    house.sink().withhold_all = true;
    let mut entry = house.entry("a.log", "t");
    entry.max_line_bytes = 3000;
    house.append("a.log", "a line\r\n\n".repeat(500) + &"x".repeat(20_000) + "\n" + &"b line\n".repeat(700));
    house.append("gone.log", "of an entry that goes\n");
    house.add(entry.clone()).await;
    house.add(house.entry("gone.log", "u")).await;
    let all = 500 + 7 + 700 + 1;
    house.until("all lines", |sink| sink.lines.len() == all).await;
    let first = { std::mem::take(&mut *house.sink()) };
    house.kill().await;

    // One entry has other rules by now, the other is gone.
    entry.max_line_bytes = 16;
    house.append("a.log", "new\n");
    house.start_again().await;
    house.add(entry).await;
    house.until("all lines again, and the new one", |sink| sink.lines.len() == all + 1).await;
    let second = { std::mem::take(&mut *house.sink()) };
    let by_file = |sent: &[Sent]| {
        let mut sent = sent.to_vec();
        sent.sort_by_key(|batch| (batch.file, batch.begin));
        sent
    };
    let mut again = by_file(&second.sent);
    again.retain(|batch| first.sent.iter().any(|one| one.file == batch.file && one.begin == batch.begin));
    assert_eq!(again, by_file(&first.sent));
    let key = |line: &super::house::Got| (line.file, line.offset);
    let sorted = |lines: &[super::house::Got]| {
        let mut lines = lines.to_vec();
        lines.sort_by_key(key);
        lines
    };
    let mut lines = sorted(&second.lines);
    lines.retain(|line| line.text != b"new");
    assert_eq!(lines, sorted(&first.lines));
    assert!(house.counters.replayed_ranges.load(Relaxed) as usize >= first.sent.len());
    house.until_count("the tail of the entry that is gone ends", |_| house.open_files() == 1).await;
}

#[actix_rt::test]
async fn a_killed_agent_repeats_only_what_was_not_settled() {
    let mut house = House::new().await;
    for round in 0..5 {
        house.append("a.log", (0..100).map(|n| format!("round {round} line {n}\n")).collect::<String>());
        if round == 0 {
            house.add(house.entry("a.log", "t")).await;
        }
        house.until("its lines", |sink| sink.index().len() == (round + 1) * 100).await;
        house.kill().await;
        house.start_again().await;
        house.add(house.entry("a.log", "t")).await;
    }
    house.append("a.log", "end\n");
    house.until("the end", |sink| sink.index().len() == 501).await;
}

#[actix_rt::test]
async fn pending_bytes_that_are_gone_are_counted_and_settled() {
    let mut house = House::with(|start| start.settings.forget_after = std::time::Duration::from_millis(500)).await;
    house.sink().withhold_all = true;
    house.append("a.log", "deleted while down\n");
    house.append("b.log", "truncated while down\n");
    house.add(house.entry("*.log", "t")).await;
    house.until("both", |sink| sink.lines.len() == 2).await;
    house.kill().await;
    house.remove("a.log");
    std::fs::File::options().write(true).truncate(true).open(house.path("b.log")).unwrap();
    house.sink().withhold_all = false;
    house.start_again().await;
    house.add(house.entry("*.log", "t")).await;
    house.until_count("counted", |_| house.lost_bytes() == 19 + 21).await;
    house.append("b.log", "new\n");
    house.until("the new content", |sink| sink.texts().last().is_some_and(|text| text == "new")).await;
    house.until_files("the old ones are forgotten", |files| files.len() == 1).await;
}

#[actix_rt::test]
async fn a_new_sink_gets_everything_that_is_not_settled() {
    let mut house = House::new().await;
    house.sink().withhold_all = true;
    house.append("a.log", "1\n2\n");
    house.append("b.log", "settled\n");
    house.add(house.entry("a.log", "t")).await;
    house.until("both", |sink| sink.lines.len() == 2).await;
    house.stop_sink().await;
    house.sink().withhold_all = false;
    house.append("a.log", "3\n");
    house.new_sink().await;
    house.until("again", |sink| sink.lines.len() == 5).await;
    assert_eq!(house.sink().texts(), ["1", "2", "1", "2", "3"]);
    assert_eq!(house.sink().index().len(), 3);
    house.until_files("settled", |files| files[0].settled == 6).await;
}

#[actix_rt::test]
async fn a_panic_of_the_manager_stops_its_tails_and_the_next_one_goes_on() {
    let mut house = House::new().await;
    house.sink().withhold_all = true;
    house.append("a.log", "1\n");
    house.add(house.entry("a.log", "t")).await;
    house.until_lines(&["1"]).await;
    let _gone = house.manager.send(logweir::messages::InjectPanic).await;
    house.until_count("the tail stops", |_| house.open_files() == 0).await;
    house
        .until("reported", |sink| sink.stopped.iter().any(|child| child.kind == "tail_manager" && !child.orderly))
        .await;
    house.sink().withhold_all = false;
    house.start_manager();
    house.add(house.entry("a.log", "t")).await;
    house.append("a.log", "2\n");
    house.until_lines(&["1", "1", "2"]).await;
    assert_eq!(house.sink().index().len(), 2);
}

#[actix_rt::test]
async fn an_orderly_stop_waits_for_what_was_read_and_repeats_nothing() {
    let mut house = House::new().await;
    house.sink().withhold_all = true;
    house.append("a.log", "1\n");
    house.add(house.entry("a.log", "t")).await;
    house.until_lines(&["1"]).await;
    let mut stop = Box::pin(house.shut_down());
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), &mut stop).await;
    assert!(early.is_err(), "it waits");
    house.settle_all();
    stop.await;
    house.append("a.log", "2\n");
    house.start_again().await;
    house.add(house.entry("a.log", "t")).await;
    house.until_lines(&["1", "2"]).await;
}

#[actix_rt::test]
async fn when_the_journal_dies_the_manager_stops_and_says_so() {
    let mut house = House::new().await;
    house.append("a.log", "1\n");
    house.add(house.entry("a.log", "t")).await;
    house.until_lines(&["1"]).await;
    let _gone = house.journal.send(logweir::messages::InjectPanic).await;
    house.append("a.log", "2\n");
    house
        .until("reported", |sink| sink.stopped.iter().any(|child| child.kind == "tail_manager" && !child.orderly))
        .await;
    house.start_again().await;
    house.add(house.entry("a.log", "t")).await;
    house.until("the rest", |sink| sink.index().len() == 2).await;
}

#[actix_rt::test]
async fn a_file_without_a_name_outlives_a_panic_of_the_manager_and_of_the_journal() {
    let mut house = House::with(|start| {
        start.credit_bytes = 64 << 10;
        start.chunk_bytes = 4 << 10;
    })
    .await;
    house.sink().withhold_all = true;
    house.append("a.log", "line of a deleted file\n".repeat(3000));
    house.add(house.entry("a.log", "t")).await;
    house.until("first lines", |sink| !sink.lines.is_empty()).await;
    assert!(house.sink().lines.len() < 3000, "the rest is only in the open file");
    house.remove("a.log");
    let _gone = house.manager.send(logweir::messages::InjectPanic).await;
    house.until_count("the tail stops", |_| house.open_files() == 0).await;
    house.start_manager();
    house.add(house.entry("a.log", "t")).await;
    house.until_count("read again", |_| house.open_files() == 1).await;
    house.kill().await;
    house.until_count("the tail stops again", |_| house.open_files() == 0).await;
    house.start_again().await;
    house.add(house.entry("a.log", "t")).await;
    house.settle_all();
    house.until("all lines", |sink| sink.index().len() == 3000).await;
    house.until_files("forgotten", |files| files.is_empty()).await;
    assert_eq!(house.lost_bytes(), 0);
}

#[actix_rt::test]
async fn a_tail_that_failed_goes_on_with_a_file_that_was_deleted_meanwhile() {
    let house = House::with(|start| {
        start.credit_bytes = 64 << 10;
        start.chunk_bytes = 4 << 10;
    })
    .await;
    house.sink().withhold_all = true;
    let line = "line of a file that is deleted\n";
    house.append("a.log", line.repeat(1000));
    house.add(house.entry("a.log", "t")).await;
    // Nothing is settled, so it waits for credit; what it reads next is journalled by somebody else already.
    let share = house.credits.share_bytes();
    house.until("its share is used up", |_| house.credits.free_bytes() < (64 << 10) - share / 2).await;
    let record = house.journal.send(ListFiles).await.unwrap().remove(0);
    let begin = record.position;
    let range = Range {
        begin,
        end: begin + line.len() as u64,
        read_ms: 1,
        parts_before: 0,
        ends_with: RangeEnd::Line,
        parts_after: 0,
        max_line_bytes: 512 * 1024,
        entry: None,
        partition: PartitionRule::File,
        back: fingerprint(&line.repeat(3).as_bytes()[line.len() * 3 - 64..]),
    };
    house.journal.send(AppendRange { file: record.id, range }).await.unwrap().unwrap();
    house.remove("a.log");
    house.settle_all();
    house.until_count("it has failed", |_| house.open_files() == 0).await;
    assert!(house.sink().lines.len() < 1000);
    house.until("all lines", |sink| sink.index().len() == 1000).await;
    house.until_files("forgotten", |files| files.is_empty()).await;
    assert_eq!((house.started(), house.lost_bytes()), (2, 0));
}

/// The files' records say another device than the one where their folders are now: their file system is not mounted.
#[actix_rt::test]
async fn files_of_a_file_system_that_is_away_are_kept_for_longer_than_deleted_ones() {
    let second = Duration::from_secs(1);
    for keep in [second * 3600, second] {
        let mut house = House::with(|start| {
            start.settings.forget_after = second / 5;
            start.settings.forget_away_after = keep;
            start.settings.sweep_interval = second / 10;
        })
        .await;
        std::fs::create_dir(house.path("mounted")).unwrap();
        house.append("deleted.log", "1\n");
        let found = std::fs::metadata(house.path("deleted.log")).unwrap();
        let head = head_of_file(&std::fs::File::open(house.path("deleted.log")).unwrap()).unwrap();
        let file = |name: &str, dev| {
            let (path, topic) = (house.path(name), "t".to_owned());
            NewFile { path, topic, dev, ino: found.ino(), head, start: 2 }
        };
        let away = found.dev() + 1;
        let files = vec![file("mounted/a.log", away), file("no/folder/a.log", away), file("deleted.log", found.dev())];
        house.journal.send(RegisterFiles(files)).await.unwrap().unwrap();
        house.kill().await;
        house.remove("deleted.log");
        house.start_again().await;
        if keep > second {
            house.until_files("the deleted one is forgotten", |files| files.len() == 2).await;
            // The others would have been with this one.
            house.add(house.entry("later.log", "t")).await;
            house.append("later.log", "2\n");
            house.until_files("collected", |files| files.len() == 3).await;
            house.remove("later.log");
            house.until_files("forgotten", |files| files.len() == 2).await;
            assert!(house.files().await.iter().all(|file| file.path.ends_with("/a.log")));
        } else {
            house.until_files("all are forgotten in the end", |files| files.is_empty()).await;
        }
    }
}
