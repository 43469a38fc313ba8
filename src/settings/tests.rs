//! What the settings promise, over text, environment and files.

use super::{load, *};
use std::{collections::BTreeMap, path::Path};

fn agent(text: &str, env: &[(&str, &str)]) -> Result<AgentSettings, SettingsError> {
    let env = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    load::parse(text, "agent.toml", &env)
}

fn refused(text: &str, env: &[(&str, &str)]) -> String {
    agent(text, env).expect_err("must be refused").to_string()
}

/// Every key stands in the shipped files, with the value that it has without a file.
#[test]
fn the_shipped_files_hold_every_key_with_its_default() {
    fn same<T: load::Loaded + PartialEq + std::fmt::Debug>(name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name);
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(load::parse::<T>(&text, name, &BTreeMap::new()).unwrap(), T::default());
        let defaults = serde_json::to_value(T::default()).unwrap();
        for (section, keys) in defaults.as_object().unwrap() {
            assert!(text.contains(&format!("\n[{section}]\n")), "{name}: [{section}]");
            for key in keys.as_object().unwrap().keys() {
                let there = [format!("\n{key} = "), format!("\n[{section}.{key}]\n")].iter().any(|t| text.contains(t));
                assert!(there, "{name}: {section}.{key}");
            }
        }
    }
    same::<AgentSettings>("agent.toml");
    same::<TransferSettings>("transfer.toml");
    same::<ConsoleSettings>("console.toml");
}

#[test]
fn a_file_and_the_environment_override_the_defaults() {
    let text = "[agent]\nhost = \"web-01\"\nwatch = \"poll\"\n[kafka.options]\nlinger.ms = 5\n\"x.y\" = true\n";
    let env = [
        ("LOGWEIR__AGENT__HOST", "web-02"),
        ("LOGWEIR__AGENT__GROUPS", "a, b"),
        ("LOGWEIR__METRICS__METRICS_INTERVAL_SECS", "5"),
        ("LOGWEIR__KAFKA__OPTIONS__SASL_PASSWORD", "hidden"),
        ("LOGWEIR__LOG__LEVELS__LOGWEIR__TAIL", "debug"),
    ];
    let settings = agent(text, &env).unwrap();
    assert_eq!((settings.agent.host.as_str(), settings.agent.watch), ("web-02", WatchMode::Poll));
    assert_eq!(settings.agent.groups, ["a", "b"]);
    assert_eq!(settings.metrics.metrics_interval_secs, 5);
    assert_eq!(settings.kafka.options["linger.ms"], "5");
    assert_eq!(settings.kafka.options["x.y"], "true");
    assert_eq!(settings.kafka.options["sasl.password"], "hidden");
    assert_eq!(settings.log.levels["logweir::tail"], Level::Debug);
    assert!(!format!("{settings:?}").contains("hidden"));
}

#[test]
fn each_mistake_is_told_with_place_key_and_reason() {
    let cases = [
        (
            "[agent]\nsweep_intervall_secs = 3",
            "agent.toml:2:1: agent.sweep_intervall_secs is an unknown key; did you mean sweep_interval_secs?",
        ),
        ("[agnt]\nx = 1", "agent.toml:1:1: agnt is an unknown key; did you mean agent?"),
        (
            "[agent]\n\n  memory_bytes = \"32 MiB\"",
            "agent.toml:3:3: agent.memory_bytes = \"32 MiB\" has the wrong type: a whole number from 0 is expected",
        ),
        ("[agent]\nmemory_bytes = -1", "agent.memory_bytes = -1 has the wrong type"),
        (
            "[agent]\nmemory_bytes = 1",
            "agent.toml:2:1: agent.memory_bytes = 1 is out of range: 8388608 to 4294967295 are allowed",
        ),
        (
            "[agent]\nwatch = \"kqueue\"",
            "agent.toml:2:1: agent.watch is not allowed: unknown variant `kqueue`, expected `inotify` or `poll`",
        ),
        ("[agent]\nhost = \"web 01\"", "agent.toml:2:1: agent.host"),
        ("[log.levels]\n\"logweir::tail\" = \"loud\"", "agent.toml:2:1: log.levels.logweir::tail is not allowed"),
        ("[etcd]\npassword = \"x\"", "agent.toml:2:1: etcd.password is a secret"),
        ("[kafka.options]\n\"sasl.password\" = \"x\"", "agent.toml:2:1: kafka.options.sasl.password is a secret"),
        ("[etcd]\nendpoints = [\"127.0.0.1:2379\"]", "agent.toml:2:1: etcd.endpoints"),
        ("[etcd]\nendpoints = [\"http://me:secret@h:1\"]", "agent.toml:2:1: etcd.endpoints holds a user or a password"),
        ("[kafka]\nbrokers = [\"h\"]", "agent.toml:2:1: kafka.brokers = \"h\" is not host:port"),
        ("[kafka]\nbrokers = \"h:1\"", "a list of texts is expected"),
        ("[collection]\nsource = \"file\"", "collection.file is empty"),
        ("[metrics]\nlisten = \"here\"", "agent.toml:2:1: metrics.listen"),
        ("kafka = 3", "agent.toml:1:1: kafka = 3 has the wrong type: a table is expected"),
        ("[agent]\nhost = \"a\"\nhost = \"b\"", "agent.toml:3:1: is no TOML: duplicate key"),
        ("[agent\n", "agent.toml:1:7: is no TOML"),
    ];
    for (text, expected) in cases {
        let told = refused(text, &[]);
        assert!(told.contains(expected), "{text:?}\n  told:     {told}\n  expected: {expected}");
    }
    let all = refused("[agent]\nmemory_bytes = 1\nx = 1\n[kafka]\nbrokers = []", &[]);
    assert_eq!(all.lines().count(), 3, "all mistakes at once:\n{all}");
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    for (variable, value, expected) in [
        ("LOGWEIR__AGENT__HOSTT", "x", "did you mean LOGWEIR__AGENT__HOST?"),
        ("LOGWEIR__AGENT__MEMORY_BYTES", "much", "LOGWEIR__AGENT__MEMORY_BYTES = \"much\" has the wrong type"),
        ("LOGWEIR__AGENT__MEMORY_BYTES", "1", "LOGWEIR__AGENT__MEMORY_BYTES: agent.memory_bytes = 1 is out of range"),
        ("LOGWEIR__AGENT__WATCH", "kqueue", "LOGWEIR__AGENT__WATCH: agent.watch is not allowed"),
        ("LOGWEIR_LOG__LEVEL", "debug", "LOGWEIR_LOG__LEVEL is no setting; did you mean LOGWEIR__LOG__LEVEL?"),
    ] {
        let told = refused("", &[(variable, value)]);
        assert!(told.contains(expected), "{variable}: {told}");
    }
}

#[test]
fn secrets_come_from_files_and_are_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    let (password, file) = (dir.path().join("password"), dir.path().join("agent.toml"));
    std::fs::write(&password, "t0p secret\n").unwrap();
    let text = format!(
        "[etcd]\nusername = \"u\"\npassword_file = {password:?}\n[kafka.option_files]\n\"sasl.password\" = {password:?}\n"
    );
    std::fs::write(&file, &text).unwrap();
    let settings = AgentSettings::load(&file).unwrap();
    assert_eq!(settings.etcd.password.as_ref().unwrap().reveal(), "t0p secret");
    assert_eq!(settings.kafka.options["sasl.password"], "t0p secret");
    assert!(!format!("{settings:?}").contains("t0p"));
    assert!(!serde_json::to_string(&settings.etcd).unwrap().contains("t0p"));
    assert!(!settings.agent.host.is_empty() && settings.agent.base_dir.is_absolute());
    assert_eq!(settings.dead_letters.file.as_deref(), Some(Path::new("/var/lib/logweir/dead-letters.ndjson")));

    std::fs::remove_file(&password).unwrap();
    let told = AgentSettings::load(&file).unwrap_err().to_string();
    assert!(told.contains("agent.toml:3:1: etcd.password_file") && told.contains("can't be read"), "{told}");
    let missing = AgentSettings::load(&dir.path().join("none.toml")).unwrap_err().to_string();
    assert!(missing.contains("none.toml: can't be read"), "{missing}");
}

#[test]
fn the_transfer_needs_something_to_consume_and_somewhere_to_write() {
    let parse = |text: &str| load::parse::<TransferSettings>(text, "t", &BTreeMap::new()).map_err(|e| e.to_string());
    assert!(parse("[kafka]\ntopics_from_entries = false").unwrap_err().contains("nothing to consume"));
    assert!(parse("[etcd]\nendpoints = []").unwrap_err().contains("elasticsearch.urls"));
    assert!(parse("[kafka]\ntopics = [\"a b\"]").unwrap_err().contains("no legal topic name"));
    let standing = "[etcd]\nendpoints = []\n[kafka]\ntopics = [\"a\"]\ntopics_from_entries = false\n[elasticsearch]\nurls = [\"http://h:1\"]";
    assert!(parse(standing).is_ok());
}

#[test]
fn the_console_needs_an_etcd_indices_and_both_halves_of_tls() {
    let parse = |text: &str| load::parse::<ConsoleSettings>(text, "c", &BTreeMap::new()).map_err(|e| e.to_string());
    for (text, expected) in [
        ("[etcd]\nendpoints = []", "c:2:1: etcd.endpoints is empty"),
        ("[elasticsearch]\nindices = []", "c:2:1: elasticsearch.indices is empty"),
        ("[elasticsearch]\nindices = [\"a,b\"]", "elasticsearch.indices = \"a,b\" is no name"),
        ("[elasticsearch]\nbulk_bytes = 1", "elasticsearch.bulk_bytes is an unknown key"),
        ("[elasticsearch]\napi_key = \"x\"", "elasticsearch.api_key is a secret"),
        ("[console]\ntls_cert_file = \"/c\"", "console.tls_cert_file and tls_key_file are needed together"),
        ("[console]\nlisten = \"here\"", "console.listen = \"here\" is not address:port"),
        ("[console]\nnames = [\"logs.example:443\"]", "console.names = \"logs.example:443\" is no name"),
        ("[console]\nbehind_proxy = \"yes\"", "true or false is expected"),
        ("[console]\nsession_secs = 600", "console.session_idle_secs is longer than session_secs"),
    ] {
        let told = parse(text).unwrap_err();
        assert!(told.contains(expected), "{text:?}\n  told:     {told}\n  expected: {expected}");
    }
    let whole = "[console]\nlisten = \"0.0.0.0:443\"\nnames = [\"logs.example\"]\ntls_cert_file = \"/c\"\ntls_key_file = \"/k\"";
    assert!(parse(whole).is_ok());
}
