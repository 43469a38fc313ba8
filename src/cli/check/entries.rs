//! What is to be collected, judged as the agent and the transfer judge it, and what it means on this disk now.

use super::{
    etcd,
    report::{Fault, Report},
};
use crate::{
    collection::{Entry, Intake, Judgement, KeyTemplate, LocalNames, TOPIC_PREFIX, TopicMemory, Value},
    etcd::{EtcdError, Kv, Session},
    settings::{AgentSettings, CollectionSource, Etcd},
    tail::{Found, Pattern},
};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Where entries were found.
const CHECK: &str = "entries";
const REFUSED: &str = "correct it: until then the value before it stays in use, at a new start there is none";

/// The agent's entries, merged. `session`: where etcd answers.
pub async fn of_agent(settings: &AgentSettings, session: Option<&Session>) -> (Vec<Entry>, Report) {
    let mut report = Report::default();
    let agent = &settings.agent;
    let with_etcd = !settings.etcd.endpoints.is_empty();
    let mut values = Vec::new();
    let mut keys = Vec::new();
    match (&settings.collection.source, session) {
        (CollectionSource::File, _) => {
            let file = settings.collection.file.clone().unwrap_or_default();
            values.extend(read(&file, &mut report));
        }
        (CollectionSource::Etcd, None) => report.warn(CHECK, "not read, because etcd doesn't answer", ""),
        (CollectionSource::Etcd, Some(session)) => {
            keys = match keys_here(&settings.etcd, &agent.host, &agent.groups) {
                Ok(keys) => keys,
                Err(error) => {
                    let text = format!("this machine's addresses can't be found: {error}");
                    report.fail(CHECK, Fault::Settings, text, "use {host} instead of {ip} in [etcd] keys");
                    return (Vec::new(), report);
                }
            };
            if keys.is_empty() {
                report.warn(CHECK, "the key templates make no key on this machine", "see [etcd] keys and agent.groups");
            }
            values = get(session, &keys, &mut report).await;
        }
    }
    let intake = Intake::new(agent.base_dir.clone(), keys, with_etcd);
    let entries = judge(intake, &values, &mut report);
    (entries, report)
}

/// The entries of all hosts, and the topics that were ever collected into: what the transfer goes by.
pub async fn of_transfer(settings: &Etcd, session: &Session) -> (Vec<Entry>, BTreeSet<String>, Report) {
    let mut report = Report::default();
    let mut values: BTreeMap<String, Kv> = BTreeMap::new();
    let templates: Vec<_> = settings.keys.iter().filter_map(|text| KeyTemplate::parse(text).ok()).collect();
    for template in &templates {
        let found = if template.is_fixed() {
            session.get(template.prefix()).await.map(|kv| kv.into_iter().collect())
        } else {
            session.list(template.prefix()).await.map(|(kvs, _)| kvs)
        };
        match found {
            Ok(found) => {
                values.extend(found.into_iter().filter(|kv| template.fits(&kv.key)).map(|kv| (kv.key.clone(), kv)))
            }
            Err(error) => etcd::failure(&error, false, &mut report),
        }
    }
    if values.is_empty() {
        report.warn(CHECK, format!("there is no key like {}", settings.keys.join(", ")), "put one with the entries");
    }
    let values: Vec<_> = values.into_values().map(|kv| (kv.key, kv.value, Some(kv.revision))).collect();
    let entries = judge(Intake::new("/".into(), Vec::new(), true), &values, &mut report);
    let mut topics: BTreeSet<String> = entries.iter().map(|entry| entry.topic.clone()).collect();
    match session.list(TOPIC_PREFIX).await {
        Ok((kvs, _)) => {
            let memory = TopicMemory::new(templates);
            topics.extend(kvs.iter().filter_map(|kv| memory.topic(&kv.key)).map(str::to_owned));
        }
        Err(error) => etcd::failure(&error, false, &mut report),
    }
    (entries, topics, report)
}

/// The key, the value, and its revision.
type Read = (String, Vec<u8>, Option<i64>);

fn keys_here(settings: &Etcd, host: &str, groups: &[String]) -> std::io::Result<Vec<String>> {
    let names = LocalNames::of_this_machine(host, groups)?;
    let templates = settings.keys.iter().filter_map(|text| KeyTemplate::parse(text).ok());
    Ok(templates.flat_map(|template| template.keys(&names)).collect())
}

async fn get(session: &Session, keys: &[String], report: &mut Report) -> Vec<Read> {
    let mut values = Vec::new();
    for key in keys {
        match session.get(key).await {
            Ok(Some(kv)) => values.push((kv.key, kv.value, Some(kv.revision))),
            Ok(None) => report.ok(CHECK, format!("{key}: is not there, so it names no files")),
            Err(error) => {
                etcd::failure(&error, false, report);
                // A server that has gone meanwhile would cost every key its deadline.
                if !matches!(error, EtcdError::Denied { .. }) {
                    break;
                }
            }
        }
    }
    values
}

fn read(file: &Path, report: &mut Report) -> Option<Read> {
    match std::fs::read(file) {
        Ok(bytes) => Some((file.display().to_string(), bytes, None)),
        Err(error) => {
            let text = format!("{} can't be read: {error}", file.display());
            report.fail(CHECK, Fault::Entries, text, "see [collection] file");
            None
        }
    }
}

fn judge(mut intake: Intake, values: &[Read], report: &mut Report) -> Vec<Entry> {
    for (source, bytes, revision) in values {
        match intake.put(&Value { source, bytes, revision: *revision }) {
            Some(Judgement::Accepted { source, revision, entries }) => {
                let revision = revision.map(|r| format!(" (revision {r})")).unwrap_or_default();
                report.ok(CHECK, format!("{source}{revision}: entries: {entries}"));
            }
            Some(Judgement::Refused(refusal)) => report.fail(CHECK, Fault::Entries, refusal.to_string(), REFUSED),
            Some(Judgement::Gone { .. }) | None => {}
        }
    }
    intake.diff().added
}

/// What all entries together mean on the disk.
#[derive(Debug, Default)]
pub struct OnDisk {
    pub files: u64,
    pub folders: BTreeSet<PathBuf>,
}

/// One line an entry: the files that it means now, and what stands in the way.
pub fn on_disk(entries: &[Entry]) -> (OnDisk, Report) {
    let (mut all, mut report) = (OnDisk::default(), Report::default());
    let mut taken: BTreeSet<(u64, u64, &str)> = BTreeSet::new();
    for entry in entries {
        let (path, topic) = (&entry.path, &entry.topic);
        let expansion = match Pattern::of(entry) {
            Ok(pattern) => pattern.expand(),
            Err(error) => {
                report.fail("files", Fault::Entries, error.to_string(), REFUSED);
                continue;
            }
        };
        let (files, bytes) = (expansion.files.len(), expansion.files.iter().map(|file| file.size).sum::<u64>());
        if files == 0 && expansion.problems.is_empty() {
            let advice = "files are collected as they come; if one should be there, check the path";
            report.warn("files", format!("{path} to {topic}: no file now"), advice);
        } else {
            report.ok("files", format!("{path} to {topic}: files: {files}, bytes: {bytes}"));
        }
        for problem in &expansion.problems {
            report.warn("files", format!("{path} to {topic}: {problem}"), "only regular, readable files are collected");
        }
        unreadable(entry, &expansion.files, &mut report);
        let twice = expansion.files.iter().filter(|file| !taken.insert((file.dev, file.ino, topic))).count();
        if twice > 0 {
            let text = format!("{path} to {topic}: {twice} files belong to another entry of that topic, too");
            report.warn("files", text, "they are collected once; take them out of one entry");
        }
        all.files += files as u64;
        all.folders.extend(expansion.watch);
    }
    (all, report)
}

fn unreadable(entry: &Entry, files: &[Found], report: &mut Report) {
    let closed = |file: &&Found| accessat(CWD, &file.path, Access::READ_OK, AtFlags::EACCESS).is_err();
    let mut closed = files.iter().filter(closed);
    if let Some(first) = closed.next() {
        let more = closed.count();
        let text = format!("{}: {} can't be read by this user, nor {more} more", entry.path, first.path.display());
        report.warn("files", text, "let the agent's user read them, or run check as that user");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Exit, check::report::Level};

    #[test]
    fn a_refused_value_is_65_with_its_place_and_the_others_count() {
        let values: Vec<Read> = vec![
            ("/k/all".into(), br#"[{"path":"/a","topic":"t"},{"path":"/b","topic":"t"}]"#.to_vec(), Some(3)),
            ("/k/host".into(), b"[\n {\"path\":\"/c\",\"topik\":\"t\"}]".to_vec(), Some(4)),
        ];
        let mut report = Report::default();
        let entries = judge(Intake::new("/".into(), vec![], true), &values, &mut report);
        assert_eq!((entries.len(), report.exit()), (2, Exit::Data));
        let text = report.text();
        assert!(text.contains("/k/all (revision 3): entries: 2"), "{text}");
        assert!(text.contains("/k/host (revision 4) line 2 column") && text.contains("topic"), "{text}");
    }

    #[test]
    fn each_entry_tells_its_files_and_what_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(at("a.log"), "12345").unwrap();
        std::fs::write(at("b.log"), "123").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let entries = [
            Entry::plain(at("*.log"), "t"),
            Entry::plain(at("a.log"), "u"),
            Entry::plain(at("a.log"), "t"),
            Entry::plain(at("none-*"), "t"),
            Entry::plain(at("socket"), "t"),
        ];
        let (all, report) = on_disk(&entries);
        let text = report.text();
        for part in [
            "t: files: 2, bytes: 8",
            "u: files: 1, bytes: 5",
            "1 files belong to another",
            "no file now",
            "is a socket",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(report.exit(), Exit::Ok);
        assert_eq!(report.lines.iter().filter(|line| line.level == Level::Warn).count(), 3);
        assert_eq!((all.files, all.folders.len()), (4, 1));
    }
}
