//! The records of a topic as they are, by file: for tests of contents that the writer doesn't write.

use crate::{
    scene::Scene,
    support::{kafka::TopicReader, process::Process, wait_for},
};
use rdkafka::{Message as _, message::Headers as _};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// A record of ours, without its repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// FILE of the key.
    pub file: String,
    /// Name of the file.
    pub name: String,
    pub value: Vec<u8>,
    pub part: Option<String>,
}

/// By file and offset; the values of a file stand in its order.
pub type Records = BTreeMap<(String, u64), Found>;

/// Everything that is in the topic now. A repeat has to be the same.
pub fn records(scene: &Scene) -> Records {
    let mut all = Records::new();
    TopicReader::new(scene.servers.kafka.fact("address"), &scene.topic).read_to_end(|record| {
        let key = String::from_utf8(record.key().expect("a key").to_vec()).expect("a key of text");
        let [_, file, offset, _, _, path] = key.splitn(6, ' ').collect::<Vec<_>>()[..] else { panic!("key {key}") };
        let name = Path::new(path).file_name().expect("a file name").to_string_lossy().into_owned();
        let part = record.headers().and_then(|headers| headers.iter().find(|header| header.key == "part"));
        let part = part.and_then(|header| header.value).map(|text| String::from_utf8_lossy(text).into_owned());
        let value = record.payload().expect("a value").to_vec();
        let found = Found { file: file.to_owned(), name, value, part };
        let before = all.insert((file.to_owned(), offset.parse().expect("an offset")), found.clone());
        assert!(before.is_none_or(|before| before == found), "a repeat differs: {key}");
    });
    all
}

/// The values of the files of this name, in order.
pub fn values<'a>(records: &'a Records, name: &str) -> Vec<&'a [u8]> {
    records.values().filter(|found| found.name == name).map(|found| &found.value[..]).collect()
}

/// Waits until the topic holds what is wanted.
pub fn wait_for_records(scene: &Scene, agent: &mut Process, what: &str, wanted: impl Fn(&Records) -> bool) -> Records {
    let what = format!("{what}, see {}", scene.agent.log().display());
    wait_for(&what, Duration::from_secs(120), || {
        agent.assert_running();
        Some(records(scene)).filter(&wanted)
    })
}
