//! Names that move between files.

use super::house::House;
use std::io::Write;

#[actix_rt::test]
async fn a_renamed_file_is_read_to_its_end_before_its_successor() {
    let house = House::new().await;
    house.add(house.entry("a.log", "t")).await;
    house.append("a.log", "1\n");
    house.until_lines(&["1"]).await;
    house.append("a.log", "2\n");
    house.rename("a.log", "a.log.1");
    house.append("a.log", "3\n");
    house.append("a.log.1", "late\n");
    house.until("all lines", |sink| sink.lines.len() == 4).await;
    let sink = house.sink();
    let texts = sink.texts();
    let at = |text: &str| texts.iter().position(|other| other == text).unwrap();
    assert!(at("2") < at("3"), "{texts:?}");
    assert!(sink.lines.iter().all(|line| line.path.ends_with("/a.log")), "the name it was written to");
    assert_ne!(sink.lines[at("1")].file, sink.lines[at("3")].file);
    assert_eq!(sink.lines[at("1")].file, sink.lines[at("late")].file);
}

#[actix_rt::test]
async fn several_rotations_while_nothing_is_delivered_lose_nothing_and_keep_the_order() {
    let house = House::with(|start| {
        start.credit_bytes = 64 << 10;
        start.chunk_bytes = 4 << 10;
    })
    .await;
    house.sink().withhold_all = true;
    house.add(house.entry("a.log", "t")).await;
    let mut expected = Vec::new();
    for generation in 0..5 {
        if generation > 0 {
            for n in (1..generation).rev() {
                house.rename(&format!("a.log.{n}"), &format!("a.log.{}", n + 1));
            }
            house.rename("a.log", "a.log.1");
        }
        let lines: Vec<_> = (0..2000).map(|n| format!("generation {generation} line {n}")).collect();
        house.append("a.log", lines.join("\n") + "\n");
        expected.extend(lines);
        house.until_files("the generation is known", |files| files.len() == generation + 1).await;
    }
    assert!(house.sink().lines.len() < 1000, "credit holds reading back");
    house.settle_all();
    house.until("all lines", |sink| sink.lines.len() == expected.len()).await;
    assert_eq!(house.sink().texts(), expected);
    assert_eq!(house.lost_bytes(), 0);
}

#[actix_rt::test]
async fn rotations_while_the_agent_is_down_lose_nothing() {
    let mut house = House::new().await;
    house.add(house.entry("a.log", "t")).await;
    house.append("a.log", "1\n2\n");
    house.until("first lines", |sink| sink.lines.len() == 2).await;
    house.until_files("settled", |files| files[0].settled == 4).await;
    house.shut_down().await;
    house.append("a.log", "3\n");
    house.rename("a.log", "a.log.1");
    // Nobody has seen this file under its own name.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    house.append("a.log", "4\n");
    house.rename("a.log.1", "a.log.2");
    house.rename("a.log", "a.log.1");
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    house.append("a.log", "5\n");
    house.append("a.log.3", "older, not ours\n");
    std::fs::File::open(house.path("a.log.3"))
        .unwrap()
        .set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600))
        .unwrap();
    house.start_again().await;
    house.add(house.entry("a.log", "t")).await;
    house.until("all lines", |sink| sink.lines.len() == 5).await;
    assert_eq!(house.sink().texts(), ["1", "2", "3", "4", "5"]);
    assert_eq!(house.sink().indexed_texts(), ["1", "2", "3", "4", "5"]);
}

#[actix_rt::test]
async fn a_file_deleted_while_reading_lags_is_read_to_its_end_and_closed() {
    let house = House::with(|start| {
        start.credit_bytes = 64 << 10;
        start.chunk_bytes = 4 << 10;
    })
    .await;
    house.sink().withhold_all = true;
    house.append("a.log", "line of a deleted file\n".repeat(5000));
    house.append("a.log", "unfinished");
    house.add(house.entry("a.log", "t")).await;
    house.until("first lines", |sink| !sink.lines.is_empty()).await;
    house.remove("a.log");
    house.settle_all();
    house.until("all lines", |sink| sink.lines.len() == 5001).await;
    assert_eq!(house.sink().texts()[5000], "unfinished");
    house.until_count("closed", |_| house.open_files() == 0).await;
    house.until_files("forgotten", |files| files.is_empty()).await;
    assert_eq!(house.lost_bytes(), 0);
}

#[actix_rt::test]
async fn a_file_made_anew_under_the_name_of_a_deleted_one_is_another_file() {
    let house = House::new().await;
    house.add(house.entry("a.log", "t")).await;
    for generation in 0..5 {
        house.append("a.log", format!("generation {generation}\n"));
        house.until("its line", |sink| sink.lines.len() == generation + 1).await;
        house.remove("a.log");
    }
    assert_eq!(house.sink().index().len(), 5);
    house.until_count("closed", |_| house.open_files() == 0).await;
}

#[actix_rt::test]
async fn a_truncated_file_begins_again_and_what_was_not_read_is_counted() {
    let house = House::with(|start| {
        start.credit_bytes = 64 << 10;
        start.chunk_bytes = 4 << 10;
    })
    .await;
    house.add(house.entry("a.log", "t")).await;
    house.append("a.log", "before\n");
    house.until_lines(&["before"]).await;
    std::fs::File::options().write(true).truncate(true).open(house.path("a.log")).unwrap();
    house.append("a.log", "after\n");
    house.until_lines(&["before", "after"]).await;
    assert_eq!(house.lost_bytes(), 0);
    let files: Vec<_> = house.sink().lines.iter().map(|line| (line.file, line.offset)).collect();
    assert_ne!(files[0].0, files[1].0);
    assert_eq!(files[1].1, 0);

    house.sink().withhold_all = true;
    house.append("a.log", "0123456789012345678\n".repeat(5000));
    house.until("reading stops for want of credit", |sink| !sink.held.is_empty()).await;
    house.until_files("its size is seen", |files| files.iter().any(|file| file.size == Some(100_006))).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let read: usize = house.sink().lines[2..].iter().map(|line| line.text.len() + 1).sum();
    std::fs::File::options().write(true).truncate(true).open(house.path("a.log")).unwrap();
    house.append("a.log", "last\n");
    house.settle_all();
    house.until("the new content", |sink| sink.texts().last().is_some_and(|text| text == "last")).await;
    let all: usize = house.sink().lines[2..].iter().map(|line| line.text.len() + 1).sum::<usize>() - 5;
    assert!(all >= read && all < 100_000);
    house.until_count("lost bytes counted", |_| house.lost_bytes() == (100_000 - all) as u64).await;
}

#[actix_rt::test]
async fn copytruncate_is_followed() {
    let house = House::new().await;
    house.add(house.entry("a.log", "t")).await;
    let mut expected = Vec::new();
    for generation in 0..4 {
        for n in 0..50 {
            let line = format!("generation {generation} line {n}");
            house.append("a.log", line.clone() + "\n");
            expected.push(line);
        }
        let so_far = expected.len();
        house.until("its lines", |sink| sink.lines.len() == so_far).await;
        std::fs::copy(house.path("a.log"), house.path("a.log.1")).unwrap();
        std::fs::File::options().write(true).truncate(true).open(house.path("a.log")).unwrap();
    }
    house.append("a.log", "end\n");
    expected.push("end".to_owned());
    house.until("the end", |sink| sink.lines.len() >= expected.len()).await;
    assert_eq!(house.sink().texts(), expected);
    assert_eq!(house.lost_bytes(), 0);
}

#[actix_rt::test]
async fn a_file_replaced_while_the_agent_is_down_is_another_file() {
    let mut house = House::new().await;
    house.add(house.entry("a.log", "t")).await;
    house.append("a.log", "the first content\n");
    house.until("first", |sink| sink.lines.len() == 1).await;
    house.until_files("settled", |files| files[0].settled == 18).await;
    house.shut_down().await;
    // The same inode, longer than before.
    let mut file = std::fs::File::options().write(true).truncate(true).open(house.path("a.log")).unwrap();
    file.write_all(b"quite another content, longer\nand more\n").unwrap();
    house.start_again().await;
    house.add(house.entry("a.log", "t")).await;
    house.until_lines(&["the first content", "quite another content, longer", "and more"]).await;
    assert_eq!(house.sink().index().len(), 3);
    house.until_files("the old identity is forgotten", |files| files.len() == 1).await;
}

#[actix_rt::test]
async fn an_unfinished_last_line_is_sent_when_its_file_is_superseded_and_quiet() {
    let house = House::new().await;
    house.add(house.entry("a.log", "t")).await;
    house.append("a.log", "whole\nunfinished");
    house.until_lines(&["whole"]).await;
    house.rename("a.log", "a.log.1");
    house.append("a.log", "next\n");
    house.until("the unfinished line", |sink| sink.texts().contains(&"unfinished".to_owned())).await;
    house.until_count("the old file is closed", |_| house.open_files() == 1).await;
    // Someone still had it open.
    house.append("a.log.1", " and more\n");
    house.until("more of it", |sink| sink.texts().contains(&" and more".to_owned())).await;
    assert_eq!(house.sink().index().len(), 4);
}

#[actix_rt::test]
async fn a_file_renamed_within_the_glob_keeps_its_identity() {
    let house = House::new().await;
    house.append("a.log", "1\n");
    house.add(house.entry("a.log*", "t")).await;
    house.until_lines(&["1"]).await;
    house.rename("a.log", "a.log.1");
    house.append("a.log.1", "2\n");
    house.until_lines(&["1", "2"]).await;
    house.append("a.log", "3\n");
    house.until_lines(&["1", "2", "3"]).await;
    assert_eq!(house.sink().index().len(), 3);
    house.until_files("two files", |files| files.len() == 2).await;
}
