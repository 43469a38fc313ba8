//! Files that grow, and what their lines are.

use super::house::House;
use logweir::messages::Part;
use std::{sync::atomic::Ordering::Relaxed, time::Duration};

#[actix_rt::test]
async fn what_is_appended_comes_out_line_by_line_and_is_settled() {
    let house = House::new().await;
    house.append("a.log", "one\n");
    house.add(house.entry("a.log", "t")).await;
    house.until_lines(&["one"]).await;
    house.append("a.log", "two\nthr");
    house.until_lines(&["one", "two"]).await;
    house.append("a.log", "ee\n");
    house.until_lines(&["one", "two", "three"]).await;
    house.until_files("all settled", |files| files.len() == 1 && files[0].settled == 14).await;
    let offsets: Vec<_> = house.sink().lines.iter().map(|line| line.offset).collect();
    assert_eq!(offsets, [0, 4, 8]);
}

#[actix_rt::test]
async fn line_ends_and_empty_lines_are_no_content_and_any_bytes_pass() {
    let house = House::new().await;
    house.append("a.log", b"dos\r\n\r\n\n\nbin\x00\xff\xfe\n\n");
    house.add(house.entry("a.log", "t")).await;
    house.until("two lines", |sink| sink.lines.len() == 2).await;
    house.until_files("empty lines settled, too", |files| files[0].settled == 17).await;
    let sink = house.sink();
    assert_eq!((sink.lines[0].text.as_slice(), sink.lines[0].offset), (&b"dos"[..], 0));
    assert_eq!((sink.lines[1].text.as_slice(), sink.lines[1].offset), (&b"bin\x00\xff\xfe"[..], 9));
}

#[actix_rt::test]
async fn only_empty_lines_settle_without_a_batch() {
    let house = House::new().await;
    house.append("a.log", "\n\n\n");
    house.add(house.entry("a.log", "t")).await;
    house.until_files("all settled", |files| files.len() == 1 && files[0].settled == 3).await;
    assert!(house.sink().sent.is_empty());
}

#[actix_rt::test]
async fn a_line_longer_than_the_limit_and_than_a_chunk_comes_in_parts() {
    let house = House::with(|start| start.chunk_bytes = 4096).await;
    let long: Vec<u8> = (0..50_000u32).map(|i| b'a' + (i % 26) as u8).collect();
    house.append("a.log", "short\n");
    house.append("a.log", &long);
    house.append("a.log", "\nafter\n");
    let mut entry = house.entry("a.log", "t");
    entry.max_line_bytes = 10_000;
    house.add(entry).await;
    house.until("the line after", |sink| sink.texts().last().is_some_and(|text| text == "after")).await;
    let sink = house.sink();
    let parts: Vec<_> = sink.lines[1..sink.lines.len() - 1].iter().map(|line| (line.part, line.text.len())).collect();
    let nth = |n| (Part::Nth(n), 10_000);
    assert_eq!(parts, [nth(1), nth(2), nth(3), nth(4), (Part::Last, 10_000)]);
    let joined: Vec<u8> = sink.lines[1..sink.lines.len() - 1].iter().flat_map(|line| line.text.clone()).collect();
    assert_eq!(joined, long);
}

#[actix_rt::test]
async fn a_thousand_quiet_files_are_read_while_a_busy_one_is() {
    let house = House::with(|start| start.chunk_bytes = 64 << 10).await;
    let line = "x".repeat(99) + "\n";
    // 20 MB: more than 300 chunks.
    house.append("busy.log", line.repeat(200_000));
    for n in 0..1000 {
        house.append(&format!("quiet-{n}.log"), format!("quiet {n}\n"));
    }
    house.add(house.entry("*.log", "t")).await;
    house.until("all lines", |sink| sink.lines.len() == 201_000).await;
    let sink = house.sink();
    let last_quiet = sink.lines.iter().rposition(|line| line.text.starts_with(b"quiet")).unwrap();
    let busy_before = sink.lines[..last_quiet].iter().filter(|line| line.text.starts_with(b"x")).count();
    // Without slices it would be all 200,000; how many it is depends on how slowly the disk takes the new files' records.
    assert!(busy_before < 100_000, "{busy_before} lines of the busy file came before the last quiet file's");
}

#[actix_rt::test]
async fn a_topic_that_is_not_delivered_stops_only_its_own_files() {
    let house = House::with(|start| start.credit_bytes = 1 << 20).await;
    house.sink().withhold.insert("stuck".to_owned());
    let line = "y".repeat(99) + "\n";
    house.append("stuck.log", line.repeat(20_000));
    house.append("free.log", line.repeat(20_000));
    house.add(house.entry("stuck.log", "stuck")).await;
    house.add(house.entry("free.log", "free")).await;
    house.until("the free topic", |sink| sink.texts_of("free").len() == 20_000).await;
    let stuck = house.sink().texts_of("stuck").len();
    assert!(stuck > 0 && stuck * 100 < (1 << 20) / 4, "{stuck} lines are in memory");
    house.settle_all();
    house.until("the stuck topic", |sink| sink.texts_of("stuck").len() == 20_000).await;
    assert_eq!(house.counters.lines_read.load(Relaxed), 40_000);
}

#[actix_rt::test]
async fn credit_comes_back_when_all_is_settled() {
    let house = House::with(|start| start.credit_bytes = 1 << 20).await;
    house.append("a.log", "line\n".repeat(100_000));
    house.add(house.entry("a.log", "t")).await;
    house.until("all lines", |sink| sink.lines.len() == 100_000).await;
    house.until_files("all settled", |files| files[0].settled == 500_000).await;
    assert_eq!(house.credits.free_bytes(), 1 << 20);
}

#[actix_rt::test]
async fn a_piece_never_costs_more_than_its_credit_however_short_its_lines_are() {
    let house = House::with(|start| start.credit_bytes = 8 << 20).await;
    house.sink().withhold_all = true;
    house.append("a.log", "x\n".repeat(50_000));
    house.add(house.entry("a.log", "t")).await;
    // An eighth of the credits is the topic's: it is full before the file is read to its end.
    let full = |held: usize| held + 300_000 > 1 << 20;
    let credit = |sink: &super::house::Sink| sink.held.iter().map(|batch| batch.credit.bytes()).sum::<usize>();
    house.until("the topic's share is used", |sink| full(credit(sink))).await;
    for batch in &house.sink().held {
        let cost = batch.data.len() + batch.lines.len() * 256;
        assert!(cost <= batch.credit.bytes(), "{cost} bytes and records on {} of credit", batch.credit.bytes());
    }
    assert!(house.sink().lines.len() < 50_000);
    while house.sink().lines.len() < 50_000 {
        house.settle_all();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert!(house.sink().texts().iter().all(|text| text == "x"));
}

#[actix_rt::test]
async fn an_append_through_a_symbolic_link_is_told_by_the_folder_where_the_file_is() {
    // No sweep comes to help.
    let house = House::with(|start| start.settings.sweep_interval = std::time::Duration::from_secs(3600)).await;
    std::fs::create_dir_all(house.path("pods")).unwrap();
    std::fs::create_dir_all(house.path("containers")).unwrap();
    let link = |name: &str| {
        let real = house.path(&format!("pods/{name}.0"));
        std::os::unix::fs::symlink(real, house.path(&format!("containers/{name}"))).unwrap();
    };
    house.append("pods/a.log.0", "one\n");
    link("a.log");
    house.add(house.entry("containers/*.log", "t")).await;
    house.until_lines(&["one"]).await;
    house.append("pods/a.log.0", "two\n");
    house.until_lines(&["one", "two"]).await;
    // A link that comes later.
    house.append("pods/b.log.0", "three\n");
    link("b.log");
    house.until_lines(&["one", "two", "three"]).await;
    house.append("pods/b.log.0", "four\n");
    house.until_lines(&["one", "two", "three", "four"]).await;
    // Rotated behind the link, as kubelet does it.
    house.rename("pods/a.log.0", "pods/a.log.0.20261121");
    house.append("pods/a.log.0", "five\n");
    house.until_lines(&["one", "two", "three", "four", "five"]).await;
    let names: Vec<_> = house.sink().lines.iter().map(|line| line.path.rsplit('/').nth(1).map(str::to_owned)).collect();
    assert!(names.iter().all(|name| name.as_deref() == Some("containers")), "{names:?}");
}

#[actix_rt::test]
async fn files_that_grow_while_they_wait_for_credit_dont_exceed_it() {
    let house = House::with(|start| {
        start.credit_bytes = 1 << 20;
        start.chunk_bytes = 16 << 10;
    })
    .await;
    house.sink().withhold_all = true;
    house.append("0.log", "a line of the large file\n".repeat(40_000));
    house.add(house.entry("*.log", "t")).await;
    house.until("first lines", |sink| !sink.lines.is_empty()).await;
    let small: Vec<String> = (1..=100).map(|n| format!("{n}.log")).collect();
    small.iter().for_each(|name| house.append(name, "x\n"));
    house.until_count("all are open", |_| house.open_files() == 101).await;
    small.iter().for_each(|name| house.append(name, "as much again and more\n".repeat(500)));
    // Each time the credit is all out, what is held is within it; then it is given back.
    let (topic, lines) = ("t".into(), 40_000 + 100 * 501);
    while house.sink().lines.len() < lines {
        let is_short = || house.credits.try_take(&topic, 16 << 10).is_none();
        house.until("the credit is out", |sink| sink.lines.len() == lines || !sink.held.is_empty() && is_short()).await;
        let held = std::mem::take(&mut house.sink().held);
        let bytes: usize = held.iter().map(|batch| batch.data.len()).sum();
        assert!(bytes <= (1 << 20) / 8, "{bytes} bytes are held for one topic");
        held.iter().for_each(|batch| batch.settle_to.tell(batch.settled(0)));
    }
}

/// A folder with many files rests after each scan; here it rests for an hour.
#[actix_rt::test]
async fn a_new_file_that_an_event_names_is_read_without_a_scan_of_its_folder() {
    let hour = Duration::from_secs(3600);
    let house = House::with(|start| {
        start.settings.rest = hour..=hour;
        start.settings.sweep_interval = hour;
    })
    .await;
    house.append("a.log", "1\n");
    house.add(house.entry("*.log", "t")).await;
    house.until_lines(&["1"]).await;
    house.append("b.log", "2\n");
    house.until_lines(&["1", "2"]).await;
    std::fs::write(house.path("c.tmp"), "3\n").unwrap();
    house.rename("c.tmp", "c.log");
    house.until_lines(&["1", "2", "3"]).await;
    house.append("c.log", "4\n");
    house.until_lines(&["1", "2", "3", "4"]).await;
}
