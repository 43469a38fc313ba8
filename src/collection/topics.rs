//! Which topics were ever collected into. The problem: what is in a topic has to be transferred also when its entry has
//! gone, so every topic is remembered in etcd; and several installations may share one etcd, so it has to be told whose a
//! topic is. Therefore its key ends in the key template of the entries that name the topic, and who goes by other
//! templates leaves it alone. A template, not a key: a thousand hosts with a key each remember a topic once.

use super::template::KeyTemplate;
use std::collections::BTreeSet;

/// Prefix of the keys that remember topics: `/logweir/topic/<topic>/<key template>`. A topic's name has no slash, so the
/// rest is the template as it is. Whoever deletes such a key (and has no entry for it) ends the topic's transfer.
pub const TOPIC_PREFIX: &str = "/logweir/topic/";

/// The topics that etcd remembers for one set of key templates.
#[derive(Debug, Default)]
pub struct TopicMemory {
    templates: Vec<KeyTemplate>,
    /// Their keys.
    there: BTreeSet<String>,
    on_the_way: BTreeSet<String>,
}

impl TopicMemory {
    /// `templates`: of this installation's entries.
    pub fn new(templates: Vec<KeyTemplate>) -> Self {
        Self { templates, ..Self::default() }
    }

    /// The topic of a key that remembers one for these templates.
    pub fn topic<'k>(&self, key: &'k str) -> Option<&'k str> {
        let (topic, owner) = key.strip_prefix(TOPIC_PREFIX)?.split_once('/')?;
        let ours = super::is_topic_name(topic) && self.templates.iter().any(|template| template.fits(owner));
        ours.then_some(topic)
    }

    /// The key that remembers the topic of an entry in `source`. A source that is no key is a file, which stands in place
    /// of the keys: it takes the first template.
    fn key(&self, source: &str, topic: &str) -> Option<String> {
        let owner = self.templates.iter().find(|template| template.fits(source)).or(self.templates.first())?;
        Some(format!("{TOPIC_PREFIX}{topic}/{owner}"))
    }

    /// A key was found. Answers whether it is one that remembers a topic, here or for another installation.
    pub fn found(&mut self, key: &str) -> bool {
        if self.topic(key).is_some() {
            self.there.insert(key.into());
        }
        key.starts_with(TOPIC_PREFIX)
    }

    /// A key has gone.
    pub fn gone(&mut self, key: &str) {
        self.there.remove(key);
    }

    /// Nothing is known of what etcd remembers.
    pub fn forget(&mut self) {
        self.there.clear();
    }

    /// The topics, some perhaps twice.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.there.iter().filter_map(|key| self.topic(key))
    }

    /// The keys that are not there for these sources and topics; each is named once until [`TopicMemory::put`].
    pub fn missing<'a>(&mut self, named: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
        // A value has thousands of entries and few topics.
        let named: BTreeSet<(&str, &str)> = named.collect();
        let keys: BTreeSet<String> = named.into_iter().filter_map(|(source, topic)| self.key(source, topic)).collect();
        keys.into_iter().filter(|key| !self.there.contains(key) && self.on_the_way.insert(key.clone())).collect()
    }

    /// What became of the putting of a missing key; after a failure it is missing again.
    pub fn put(&mut self, key: String, done: bool) {
        self.on_the_way.remove(&key);
        if done {
            self.there.insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(templates: &[&str]) -> TopicMemory {
        TopicMemory::new(templates.iter().map(|text| KeyTemplate::parse(text).unwrap()).collect())
    }

    #[test]
    fn a_topic_is_remembered_once_for_all_hosts_and_found_by_whoever_has_the_same_keys() {
        let mut agent = memory(&["/a/all", "/a/host/{host}", "/a/%s/x"]);
        let named = [("/a/host/h1", "t"), ("/a/host/h2", "t"), ("/a/10.0.0.1/x", "t"), ("/etc/collect.json", "u")];
        let keys = agent.missing(named.into_iter());
        assert_eq!(keys, ["/logweir/topic/t//a/host/{host}", "/logweir/topic/t//a/{ip}/x", "/logweir/topic/u//a/all"]);
        assert!(agent.missing(named.into_iter()).is_empty(), "they are on their way");
        agent.put(keys[0].clone(), false);
        agent.put(keys[1].clone(), true);
        assert_eq!(agent.missing(named.into_iter()), keys[..1], "a failure is tried again");

        let mut transfer = memory(&["/a/{ip}/x", "/a/all", "/a/host/{host}"]);
        assert!(keys.iter().all(|key| transfer.found(key)));
        assert_eq!(transfer.topics().collect::<BTreeSet<_>>(), ["t", "u"].into());
        transfer.gone(&keys[2]);
        assert_eq!(transfer.topics().collect::<BTreeSet<_>>(), ["t"].into());
    }

    #[test]
    fn topics_of_another_installation_and_keys_written_wrongly_are_left_alone() {
        let mut memory = memory(&["/a/host/{host}", "collect_log_conf"]);
        for other in ["t//b/host/{host}", "t//a/host/{host}/more", "t/collect_log_conf2", "t", "", "a b//a/host/{host}"]
        {
            assert!(memory.found(&format!("{TOPIC_PREFIX}{other}")), "{other:?} is no entry either");
        }
        assert_eq!(memory.topics().count(), 0);
        assert!(!memory.found("/a/host/web-01"));
        memory.found("/logweir/topic/t/collect_log_conf");
        assert_eq!(memory.topics().collect::<Vec<_>>(), ["t"]);
    }
}
