//! What each section that several kinds of settings share has to hold, and where its secrets come from.

use super::{
    load::Section,
    problem::Problems,
    shared::{Etcd, Kafka, Metrics, Options},
    transfer::{Elasticsearch, TransferKafka},
};
use std::{collections::BTreeMap, path::PathBuf};

/// The machine's name where none is set.
pub(super) fn resolve_host(host: &mut String, key: &str, problems: &mut Problems<'_>) {
    if host.is_empty() {
        *host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        problems.word(key, host, false);
    }
}

pub(super) fn check_url(problems: &mut Problems<'_>, key: &str, text: &str) {
    match url::Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            problems.add(key, format!("= {text:?}: only http:// and https:// are known"));
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            problems.add(key, "holds a user or a password: they don't stand in an address");
        }
        Ok(url) if url.host_str().is_none_or(str::is_empty) => problems.add(key, format!("= {text:?} names no host")),
        Ok(_) => {}
        Err(e) => problems.add(key, format!("= {text:?} is no URL: {e}")),
    }
}

fn check_brokers(problems: &mut Problems<'_>, brokers: &[String]) {
    if brokers.is_empty() {
        problems.add("kafka.brokers", "is empty");
    }
    for broker in brokers {
        let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            problems.add("kafka.brokers", format!("= {broker:?} is not host:port"));
        }
    }
}

fn read_options(options: &mut Options, files: &BTreeMap<String, PathBuf>, problems: &mut Problems<'_>) {
    for (name, file) in files {
        if let Some(text) = problems.read(&format!("kafka.option_files.{name}"), file) {
            options.0.entry(name.clone()).or_insert(text);
        }
    }
}

impl Section for Etcd {
    fn check(&self, problems: &mut Problems<'_>) {
        for endpoint in &self.endpoints {
            check_url(problems, "etcd.endpoints", endpoint);
        }
        if self.keys.is_empty() {
            problems.add("etcd.keys", "is empty");
        }
        for template in &self.keys {
            if let Err(reason) = crate::collection::KeyTemplate::parse(template) {
                problems.add("etcd.keys", format!("= {template:?} {reason}"));
            }
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            problems.add("etcd.cert_file", "and key_file are needed together");
        }
        problems.range("etcd.relist_interval_secs", self.relist_interval_secs, 1..=86_400);
        problems.range("etcd.connect_timeout_ms", self.connect_timeout_ms, 10..=600_000);
        problems.range("etcd.request_timeout_ms", self.request_timeout_ms, 10..=600_000);
    }

    fn read_secrets(&mut self, problems: &mut Problems<'_>) {
        self.password = problems.secret("etcd.password", self.password_file.as_deref());
        if self.password.is_some() && self.username.is_empty() {
            problems.add("etcd.username", "is empty, but there is a password");
        }
        if self.password.is_none() && !self.username.is_empty() && self.password_file.is_none() {
            problems.add("etcd.username", "is set, but there is no password: use etcd.password_file");
        }
        problems.readable("etcd.ca_file", self.ca_file.as_deref());
        problems.readable("etcd.cert_file", self.cert_file.as_deref());
        problems.readable("etcd.key_file", self.key_file.as_deref());
    }
}

impl Section for Kafka {
    fn check(&self, problems: &mut Problems<'_>) {
        check_brokers(problems, &self.brokers);
    }

    fn read_secrets(&mut self, problems: &mut Problems<'_>) {
        read_options(&mut self.options, &self.option_files, problems);
    }
}

impl Section for TransferKafka {
    fn check(&self, problems: &mut Problems<'_>) {
        check_brokers(problems, &self.brokers);
        if self.group.is_empty() {
            problems.add("kafka.group", "is empty");
        }
        for topic in &self.topics {
            problems.topic("kafka.topics", topic);
        }
        if !self.topic_pattern.is_empty() && !self.topic_pattern.starts_with('^') {
            problems.add("kafka.topic_pattern", format!("= {:?} doesn't begin with ^", self.topic_pattern));
        }
    }

    fn read_secrets(&mut self, problems: &mut Problems<'_>) {
        read_options(&mut self.options, &self.option_files, problems);
    }
}

impl Section for Elasticsearch {
    fn check(&self, problems: &mut Problems<'_>) {
        for url in &self.urls {
            check_url(problems, "elasticsearch.urls", url);
        }
        if self.config_key.is_empty() && self.urls.is_empty() {
            problems.add("elasticsearch.config_key", "is empty, and so is urls");
        }
        problems.range("elasticsearch.bulk_bytes", self.bulk_bytes, 64 << 10..=64 << 20);
        problems.range("elasticsearch.bulk_count", self.bulk_count, 1..=1_000_000);
        problems.range("elasticsearch.bulk_linger_ms", self.bulk_linger_ms, 0..=60_000);
        problems.range("elasticsearch.requests_in_flight", self.requests_in_flight, 1..=64);
        problems.range("elasticsearch.request_timeout_ms", self.request_timeout_ms, 100..=600_000);
        problems.range("elasticsearch.shards", self.shards, 1..=1_024);
        problems.range("elasticsearch.replicas", self.replicas, 0..=32);
        problems.range("elasticsearch.pause_over_percent", self.pause_over_percent, 1..=100);
        problems.range("elasticsearch.pause_at_least", self.pause_at_least, 1..=1_000_000);
        if self.index.is_empty() {
            problems.add("elasticsearch.index", "is empty");
        }
    }

    fn read_secrets(&mut self, problems: &mut Problems<'_>) {
        self.password = problems.secret("elasticsearch.password", self.password_file.as_deref());
        self.api_key = problems.secret("elasticsearch.api_key", self.api_key_file.as_deref());
        problems.readable("elasticsearch.ca_file", self.ca_file.as_deref());
    }
}

impl Section for Metrics {
    fn check(&self, problems: &mut Problems<'_>) {
        problems.range("metrics.metrics_interval_secs", self.metrics_interval_secs, 0..=86_400);
        if !self.listen.is_empty() && self.listen.parse::<std::net::SocketAddr>().is_err() {
            problems.add("metrics.listen", format!("= {:?} is not address:port", self.listen));
        }
    }
}
