//! A bad value in etcd is refused, said so, and stops nothing; the next good one is taken.

use crate::{
    scene::Scene,
    support::{rng::Rng, wait_for},
};
use std::time::Duration;

/// Values, and a word that the refusal has to contain.
const BAD: &[(&str, &str)] = &[
    ("this is no JSON", "JSON"),
    (r#"{"path":"/var/log/a.log","topic":"a"}"#, "array"),
    (r#"[{"path":"/var/log/a.log","topic":"a","pathh":"b"}]"#, "pathh"),
    (r#"[{"path":"/var/log/a.log","topic":"a","multiline":{"start":"x"}}]"#, "multiline"),
    (r#"[{"path":"/var/log/a.log","topic":"a","rate_limit":{"lines":5}}]"#, "rate_limit"),
    (r#"[{"path":"/var/log/a.log","topic":"a"},{"path":"/var/log/a.log","topic":"a"}]"#, "/var/log/a.log"),
    (r#"[{"path":"logs/../../etc/shadow","topic":"a"}]"#, ".."),
    (r#"[{"path":"","topic":"a"}]"#, "path"),
    (r#"[{"path":"/var/log/a.log","topic":"no/topic"}]"#, "no/topic"),
];

#[test]
fn a_bad_value_in_etcd_is_named_in_the_log_and_what_runs_goes_on() {
    let scene = Scene::new("bad-entries");
    scene.collect(&["app-[01].log"]);
    let mut writer = scene.writer(3, u64::MAX, Rng::new(19));
    let mut agent = scene.agent.start_ready();
    for (value, word) in BAD {
        let before = scene.agent.logged().len();
        scene.servers.etcd_put(&scene.key(), value);
        let what = format!("the refusal of {value}, see {}", scene.agent.log().display());
        wait_for(&what, Duration::from_secs(60), || {
            agent.assert_running();
            let logged = scene.agent.logged();
            let mut lines = logged[before..].lines();
            lines.any(|line| line.contains(&scene.key()) && line.contains(word)).then_some(())
        });
        writer.write(100);
    }
    // No key, no entries; the files go on where they were when it comes back.
    scene.servers.etcd_delete(&scene.key());
    writer.write(100);
    scene.collect(&["app-*.log"]);
    writer.write(100);
    let (verdict, _) = scene.judge_kafka(agent, writer.written());
    assert!(verdict.is_empty(), "{verdict:#?}\nagent's log: {}", scene.agent.log().display());
}
