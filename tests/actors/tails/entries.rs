//! Entries that come, go and change.

use super::house::{Disk, House};
use logweir::{
    collection::Start,
    flow::{Origin, PartitionRule},
    messages::ListFiles,
};
use std::{
    os::unix::fs::PermissionsExt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

#[actix_rt::test]
async fn globs_and_folders_are_expanded_and_new_files_are_found() {
    let house = House::new().await;
    std::fs::create_dir(house.path("folder")).unwrap();
    house.append("one.log", "glob 1\n");
    house.append("one.txt", "not matched\n");
    house.append("folder/x", "folder 1\n");
    house.add(house.entry("*.log", "glob")).await;
    house.add(house.entry("folder", "folder")).await;
    house.add(house.entry("deep/**/*.log", "deep")).await;
    house.until("both", |sink| sink.lines.len() == 2).await;
    house.append("two.log", "glob 2\n");
    house.append("folder/y", "folder 2\n");
    house.until("new files", |sink| sink.lines.len() == 4).await;
    std::fs::create_dir_all(house.path("deep/a/b")).unwrap();
    house.append("deep/a/b/c.log", "deep 1\n");
    house.until("a file in new folders", |sink| sink.texts_of("deep") == ["deep 1"]).await;
    assert_eq!(house.sink().texts_of("glob"), ["glob 1", "glob 2"]);
    assert_eq!(house.sink().texts_of("folder"), ["folder 1", "folder 2"]);
}

#[actix_rt::test]
async fn a_removed_entry_stops_its_files_and_goes_on_where_it_was_when_added_again() {
    let house = House::new().await;
    let (a, b) = (house.entry("a.log", "t"), house.entry("b.log", "t"));
    house.append("a.log", "a1\n");
    house.append("b.log", "b1\n");
    house.add(a.clone()).await;
    house.add(b).await;
    house.until("both", |sink| sink.lines.len() == 2).await;
    house.remove_entry(&a).await;
    house.until_count("a's tail ends", |_| house.open_files() == 1).await;
    house.append("a.log", "a2\n");
    house.append("b.log", "b2\n");
    house.until("b goes on", |sink| sink.lines.len() == 3).await;
    assert_eq!(house.sink().texts()[2], "b2");
    house.add(a).await;
    house.until("a goes on", |sink| sink.lines.len() == 4).await;
    assert_eq!(house.sink().texts()[3], "a2");
    assert_eq!(house.started(), 3, "b's tail notices nothing");
}

#[actix_rt::test]
async fn what_is_read_of_a_removed_entry_is_still_settled() {
    let house = House::new().await;
    house.sink().withhold_all = true;
    let entry = house.entry("a.log", "t");
    house.append("a.log", "a1\n");
    house.add(entry.clone()).await;
    house.until_lines(&["a1"]).await;
    house.remove_entry(&entry).await;
    house.append("a.log", "a2\n");
    assert_eq!(house.open_files(), 1, "it waits for the delivery");
    house.settle_all();
    house.until_count("the tail ends", |_| house.open_files() == 0).await;
    assert_eq!(house.files().await[0].settled, 3);
    assert_eq!(house.sink().texts(), ["a1"]);
}

#[actix_rt::test]
async fn a_changed_entry_changes_the_rules_of_its_own_files_only() {
    let house = House::new().await;
    let (mut a, b) = (house.entry("a.log", "t"), house.entry("b.log", "t"));
    house.append("a.log", "a1\n");
    house.append("b.log", "b1\n");
    house.add(a.clone()).await;
    house.add(b).await;
    house.until("both", |sink| sink.lines.len() == 2).await;
    a.partition = PartitionRule::Number(3);
    a.max_line_bytes = 16;
    house.change(a).await;
    house.append("a.log", "0123456789012345678901234567890123456789\n");
    house.append("b.log", "0123456789012345678901234567890123456789\n");
    house.until("new lines", |sink| sink.lines.len() == 6).await;
    let sink = house.sink();
    let of = |name: &str| sink.lines.iter().filter(|line| line.path.ends_with(name)).skip(1).collect::<Vec<_>>();
    assert_eq!(of("a.log").iter().map(|line| line.text.len()).collect::<Vec<_>>(), [16, 16, 8]);
    assert!(of("a.log").iter().all(|line| line.partition == PartitionRule::Number(3)));
    assert_eq!(of("b.log").len(), 1);
    drop(sink);
    assert_eq!(house.started(), 2, "no tail was started anew");
}

#[actix_rt::test]
async fn start_at_the_end_leaves_out_what_is_there_when_the_entry_is_first_applied() {
    let mut house = House::new().await;
    let mut entry = house.entry("*.log", "t");
    entry.start = Start::End;
    house.append("old.log", "old 1\nold unfinished");
    house.add(entry.clone()).await;
    house.until_files("known", |files| files.len() == 1).await;
    house.append("old.log", " finished\nold 2\n");
    house.append("new.log", "new 1\n");
    house.until("new lines", |sink| sink.lines.len() == 3).await;
    house.shut_down().await;
    house.append("while down.log", "down 1\n");
    house.start_again().await;
    house.add(entry).await;
    house.until("a file made while the agent was down", |sink| sink.lines.len() == 4).await;
    assert_eq!(house.sink().indexed_texts(), ["down 1", "new 1", "old 2", "old unfinished finished"]);
}

#[actix_rt::test]
async fn a_file_matched_twice_is_collected_once_for_a_topic_and_twice_for_two() {
    let house = House::new().await;
    house.append("a.log", "line\n");
    house.add(house.entry("a.log", "t")).await;
    house.add(house.entry("*.log", "t")).await;
    house.add(house.entry("*.log", "u")).await;
    house.until("both topics", |sink| sink.lines.len() == 2).await;
    house.append("a.log", "more\n");
    house.until("more", |sink| sink.lines.len() == 4).await;
    assert_eq!(house.sink().texts_of("t"), ["line", "more"]);
    assert_eq!(house.sink().texts_of("u"), ["line", "more"]);
    // The one that named it goes: the other takes over where it was.
    house.remove_entry(&house.entry("a.log", "t")).await;
    house.append("a.log", "last\n");
    house.until("last", |sink| sink.lines.len() == 6).await;
    assert_eq!(house.started(), 2);
}

#[actix_rt::test]
async fn delivery_fields_are_published_before_their_first_line() {
    let house = House::new().await;
    house.sink().refuse_publications = 1;
    let mut labelled = house.entry("a.log", "t");
    labelled.labels.insert("team".to_owned(), "web".to_owned());
    house.append("a.log", "labelled\n");
    house.append("b.log", "plain\n");
    house.add(labelled.clone()).await;
    house.add(house.entry("b.log", "t")).await;
    house.until("both", |sink| sink.lines.len() == 2).await;
    let sink = house.sink();
    assert_eq!(sink.texts(), ["plain", "labelled"], "only its own file waits");
    assert_eq!(sink.lines[0].entry, None);
    assert_eq!(sink.lines[1].entry.as_slice(), &sink.published[..]);
}

#[actix_rt::test]
async fn what_is_no_file_or_unreadable_does_not_stop_the_rest() {
    let house = House::new().await;
    rustix::fs::mknodat(rustix::fs::CWD, house.path("fifo.log"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(house.path("socket.log")).unwrap();
    house.append("secret.log", "secret\n");
    std::fs::set_permissions(house.path("secret.log"), PermissionsExt::from_mode(0o000)).unwrap();
    house.append("plain.log", "plain\n");
    for name in ["fifo.log", "socket.log", "secret.log"] {
        house.add(house.entry(name, "t")).await;
    }
    house.add(house.entry("/dev/null", "t")).await;
    house.add(house.entry("*.log", "t")).await;
    house.until("the rest", |sink| sink.texts().contains(&"plain".to_owned())).await;
    std::fs::set_permissions(house.path("secret.log"), PermissionsExt::from_mode(0o600)).unwrap();
    house.until("readable now", |sink| sink.texts().contains(&"secret".to_owned())).await;
    house.remove("fifo.log");
    house.append("fifo.log", "a file now\n");
    house.until("a file now", |sink| sink.texts().contains(&"a file now".to_owned())).await;
    assert_eq!(house.sink().lines.len(), 3);
}

#[actix_rt::test]
async fn a_folder_that_goes_and_comes_again_is_followed() {
    let house = House::new().await;
    std::fs::create_dir(house.path("folder")).unwrap();
    house.append("folder/a.log", "1\n");
    house.add(house.entry("folder/*.log", "t")).await;
    house.until_lines(&["1"]).await;
    house.append("folder/a.log", "2\n");
    std::fs::remove_dir_all(house.path("folder")).unwrap();
    house.until_lines(&["1", "2"]).await;
    house.until_count("closed", |_| house.open_files() == 0).await;
    std::fs::create_dir(house.path("folder")).unwrap();
    house.append("folder/a.log", "3\n");
    house.until_lines(&["1", "2", "3"]).await;
}

#[actix_rt::test]
async fn a_file_behind_a_symbolic_link_is_followed() {
    let house = House::new().await;
    std::fs::create_dir(house.path("real")).unwrap();
    std::fs::create_dir(house.path("links")).unwrap();
    house.append("real/a", "1\n");
    std::os::unix::fs::symlink(house.path("real/a"), house.path("links/a.log")).unwrap();
    house.add(house.entry("links/*.log", "t")).await;
    house.until_lines(&["1"]).await;
    house.append("real/a", "2\n");
    house.until_lines(&["1", "2"]).await;
}

#[actix_rt::test]
async fn what_is_sent_while_an_entry_changes_is_what_the_journal_says() {
    let house = House::with(|start| start.chunk_bytes = 4 << 10).await;
    house.sink().withhold_all = true;
    let mut entry = house.entry("a.log", "t");
    house.append("a.log", "a line that is sent by one rule or another\n".repeat(8_000));
    house.add(entry.clone()).await;
    let mut changes = 0;
    while house.sink().lines.len() < 8_000 {
        changes += 1;
        entry.partition = PartitionRule::Number(changes % 10);
        house.change(entry.clone()).await;
    }
    let records = house.journal.send(ListFiles).await.unwrap();
    let sink = house.sink();
    assert_eq!(records[0].pending.len(), sink.held.len());
    for (batch, (seq, range)) in sink.held.iter().zip(&records[0].pending) {
        let Origin::File(origin) = &batch.origin else { panic!("of a file") };
        assert_eq!((batch.seq, origin.partition), (*seq, range.partition));
    }
}

/// A piece that was read while the disk was full is journalled, when there is room, by the rules that it was cut by.
#[actix_rt::test]
async fn what_was_read_before_an_entry_changed_keeps_its_rules_through_a_full_disk() {
    let disk = Arc::new(Disk::default());
    disk.full.store(true, Relaxed);
    let house = House::with(|start| start.disk = Some(disk.clone())).await;
    let mut entry = house.entry("a.log", "t");
    entry.max_line_bytes = 3000;
    house.append("a.log", "x".repeat(7000) + "\n");
    house.add(entry.clone()).await;
    house.until("refused", |_| disk.refused.load(Relaxed) > 0).await;
    entry.max_line_bytes = 16;
    entry.partition = PartitionRule::Number(3);
    house.change(entry).await;
    assert!(house.sink().lines.is_empty(), "nothing is sent that isn't journalled");
    disk.full.store(false, Relaxed);
    house.append("a.log", "y".repeat(20) + "\n");
    house.until("all of it", |sink| sink.lines.len() == 5).await;
    let lines: Vec<_> = house.sink().lines.iter().map(|line| (line.text.len(), line.partition)).collect();
    let (old, new) = (PartitionRule::File, PartitionRule::Number(3));
    assert_eq!(lines, [(3000, old), (3000, old), (1000, old), (16, new), (4, new)]);
    assert_eq!(house.counters.bytes_read.load(Relaxed), 7001 + 21, "it was read once");
}
