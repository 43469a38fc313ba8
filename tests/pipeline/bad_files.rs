//! Paths that are no files, and contents that no program should write, through the whole agent: what can be read arrives
//! byte for byte, what can't is named in the log, and nothing holds up the rest.

use crate::{
    records::{Records, records, values, wait_for_records},
    scene::Scene,
    support::{process::Program, wait_for},
};
use serde_json::json;
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
    process::Command,
    time::Duration,
};

/// `max_line_bytes` where the entry says nothing.
const PART: usize = 512 << 10;

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("open a log");
    file.write_all(bytes).expect("write a log");
}

fn collect(scene: &Scene, paths: &[&str]) {
    let entry = |path: &&str| json!({"path": scene.logs.join(path), "topic": scene.topic});
    let entries: Vec<_> = paths.iter().map(entry).collect();
    scene.servers.etcd_put(&scene.key(), &json!(entries).to_string());
}

fn wait_for_log(scene: &Scene, words: &[&str]) {
    let what = format!("a line with {words:?} in {}", scene.agent.log().display());
    wait_for(&what, Duration::from_secs(60), || {
        scene.agent.logged().lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    });
}

/// The agent as a user for whom the permissions of files hold: any but root, or root without these two capabilities.
fn without_rights_over_files(scene: &Scene) -> Program {
    if !rustix::process::geteuid().is_root() {
        return scene.agent.clone();
    }
    let without = "-dac_override,-dac_read_search";
    scene.agent.wrapped_in(&["setpriv", "--bounding-set", without, "--inh-caps", without, "--"])
}

#[test]
fn a_fifo_a_device_a_socket_and_an_unreadable_file_are_named_and_the_rest_arrives() {
    let scene = Scene::new("no-files");
    fs::create_dir_all(&scene.logs).unwrap();
    let path = |name: &str| scene.logs.join(name);
    assert!(Command::new("mkfifo").arg(path("fifo.log")).status().unwrap().success());
    let _socket = UnixListener::bind(path("socket.log")).unwrap();
    append(&path("secret.log"), b"secret\n");
    fs::set_permissions(path("secret.log"), fs::Permissions::from_mode(0o0)).unwrap();
    append(&path("plain.log"), b"plain\n");
    collect(&scene, &["fifo.log", "socket.log", "/dev/zero", "secret.log", "*.log"]);
    let mut agent = without_rights_over_files(&scene).start_ready();
    wait_for_records(&scene, &mut agent, "the plain file", |all| values(all, "plain.log") == [b"plain"]);
    for (name, kind) in [("fifo.log", "FIFO"), ("socket.log", "socket"), ("/dev/zero", "device")] {
        wait_for_log(&scene, &[name, kind, "regular file"]);
    }
    wait_for_log(&scene, &["secret.log", "ermission denied"]);
    assert!(values(&records(&scene), "secret.log").is_empty());
    // It is read as soon as it may be.
    fs::set_permissions(path("secret.log"), fs::Permissions::from_mode(0o600)).unwrap();
    wait_for_records(&scene, &mut agent, "the secret file", |all| values(all, "secret.log") == [b"secret"]);

    // A file in the FIFO's place is one.
    fs::remove_file(path("fifo.log")).unwrap();
    append(&path("fifo.log"), b"a file now\n");
    wait_for_records(&scene, &mut agent, "the new file", |all| values(all, "fifo.log") == [b"a file now"]);
    agent.stop();
    assert_eq!(records(&scene).len(), 3);
}

#[test]
fn a_folder_removed_while_watched_is_followed_when_it_comes_back() {
    let scene = Scene::new("folder-removed");
    fs::create_dir_all(scene.logs.join("folder")).unwrap();
    append(&scene.logs.join("other.log"), b"1\n");
    append(&scene.logs.join("folder/a.log"), b"1\n");
    collect(&scene, &["other.log", "folder"]);
    let mut agent = scene.agent.start_ready();
    wait_for_records(&scene, &mut agent, "both files", |all| all.len() == 2);
    append(&scene.logs.join("folder/a.log"), b"2\n");
    fs::remove_dir_all(scene.logs.join("folder")).unwrap();
    append(&scene.logs.join("other.log"), b"2\n");
    wait_for_records(&scene, &mut agent, "what was written before", |all| all.len() == 4);
    fs::create_dir(scene.logs.join("folder")).unwrap();
    append(&scene.logs.join("folder/a.log"), b"3\n");
    let all = wait_for_records(&scene, &mut agent, "the folder's next file", |all| all.len() == 5);
    let mut lines = values(&all, "a.log");
    lines.sort_unstable();
    assert_eq!(lines, [b"1", b"2", b"3"]);
    agent.stop();
}

#[test]
fn nul_bytes_invalid_utf_8_a_line_of_50_mb_and_a_file_without_a_line_end_arrive_byte_for_byte() {
    let scene = Scene::new("bad-contents");
    fs::create_dir_all(&scene.logs).unwrap();
    let path = |name: &str| scene.logs.join(name);
    let bytes = |len: usize, of: usize| (0..len).map(|i| (i % of) as u8 + b' ').collect::<Vec<u8>>();
    let (long, endless) = (bytes(50_000_000, 89), bytes(PART * 2 + 1_000, 83));
    append(&path("bytes.log"), b"a\0b\n\0\0\n\xff\xfe\xc3(\r\n\n\xed\xa0\x80\n");
    append(&path("long.log"), &[&long[..], b"\r\nafter\n"].concat());
    append(&path("endless.log"), &endless);
    collect(&scene, &["*.log"]);
    let mut agent = scene.agent.start_ready();
    let parts = long.len().div_ceil(PART);
    let all = wait_for_records(&scene, &mut agent, "all that has an end", |all| all.len() == 4 + parts + 1 + 2);
    assert_eq!(values(&all, "bytes.log"), [&b"a\0b"[..], b"\0\0", b"\xff\xfe\xc3(", b"\xed\xa0\x80"]);
    let found: Vec<_> = all.iter().filter(|(_, found)| found.name == "long.log").collect();
    for (n, ((_, offset), found)) in found.iter().take(parts).enumerate() {
        let last = n + 1 == parts;
        assert_eq!(*offset, (n * PART) as u64);
        assert_eq!(found.part, Some(if last { "last".to_owned() } else { (n + 1).to_string() }));
    }
    assert_eq!(found[parts].1.value, b"after");
    assert!(values(&all, "long.log")[..parts].concat() == long, "the long line is whole");

    // Its end never comes: the rest is sent once the file has been replaced and is quiet.
    fs::rename(path("endless.log"), path("endless.old")).unwrap();
    append(&path("endless.log"), b"next\n");
    let whole = |all: &Records| values(all, "endless.log").concat().len() == endless.len() + 4;
    let all = wait_for_records(&scene, &mut agent, "the rest of the file without an end", whole);
    let first =
        &all.values().find(|found| found.part.as_deref() == Some("1") && found.name == "endless.log").unwrap().file;
    let of_first = all.values().filter(|found| found.file == *first).collect::<Vec<_>>();
    assert!(of_first.iter().flat_map(|found| &found.value).eq(&endless), "the file without an end is whole");
    assert_eq!(of_first.last().unwrap().part.as_deref(), Some("last"));
    agent.stop();
}
