//! `/metrics`. The problem: every part of the process has numbers to tell, and a global registry would tie tests and
//! restarted actors together. A [`Registry`] is a plain value: parts hand it their counters once (or again after a
//! restart: the later one replaces the earlier), and it reads them when it is asked.
//!
//! Names are `logweir_<noun>_<unit>`, counters end in `_total`.

use super::{ActorStats, mailbox::quantile_us, process};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The metrics of a process. Cloning gives another handle of the same ones.
#[derive(Clone, Default)]
pub struct Registry {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    actors: BTreeMap<&'static str, Arc<ActorStats>>,
    values: BTreeMap<&'static str, Values>,
}

struct Values {
    help: &'static str,
    counter: bool,
    /// Name of the label; empty for a single value.
    label: &'static str,
    read: Box<dyn Fn() -> Vec<(String, f64)> + Send + Sync>,
}

/// Registers the fields of a part's counters one by one; see [`Registry::of`].
#[derive(Debug)]
pub struct Numbers<'r, T> {
    registry: &'r Registry,
    source: Arc<T>,
}

impl<T: Send + Sync + 'static> Numbers<'_, T> {
    /// See [`Registry::counter`].
    pub fn counter(&self, name: &'static str, help: &'static str, field: fn(&T) -> &AtomicU64) -> &Self {
        let source = self.source.clone();
        self.registry.counter(name, help, move || field(&source).load(Relaxed));
        self
    }

    /// See [`Registry::gauge`].
    pub fn gauge(&self, name: &'static str, help: &'static str, field: fn(&T) -> &AtomicU64) -> &Self {
        let source = self.source.clone();
        self.registry.gauge(name, help, move || field(&source).load(Relaxed) as f64);
        self
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailbox counters of one kind of actor.
    pub fn actor(&self, stats: Arc<ActorStats>) {
        self.inner().actors.insert(stats.kind(), stats);
    }

    /// The counters of all kinds of actors, by name.
    pub fn actors(&self) -> Vec<Arc<ActorStats>> {
        self.inner().actors.values().cloned().collect()
    }

    /// A number that only rises. `name` ends in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.add(name, help, true, "", move || vec![(String::new(), read() as f64)]);
    }

    /// A number that goes up and down.
    pub fn gauge(&self, name: &'static str, help: &'static str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.add(name, help, false, "", move || vec![(String::new(), read())]);
    }

    /// The numbers of one part of the process, which it keeps in `source`.
    pub fn of<T: Send + Sync + 'static>(&self, source: &Arc<T>) -> Numbers<'_, T> {
        Numbers { registry: self, source: source.clone() }
    }

    /// Rising numbers of one name, told apart by the value of `label`.
    pub fn counters(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(String, u64)> + Send + Sync + 'static,
    ) {
        debug_assert!(name.ends_with("_total"), "{name}");
        let read = move || read().into_iter().map(|(label, value)| (label, value as f64)).collect();
        self.add(name, help, true, label, read);
    }

    /// Numbers of one name that go up and down, told apart by the value of `label`.
    pub fn gauges(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(String, f64)> + Send + Sync + 'static,
    ) {
        self.add(name, help, false, label, read);
    }

    fn add(
        &self,
        name: &'static str,
        help: &'static str,
        counter: bool,
        label: &'static str,
        read: impl Fn() -> Vec<(String, f64)> + Send + Sync + 'static,
    ) {
        debug_assert!(name.starts_with("logweir_"), "{name}");
        self.inner().values.insert(name, Values { help, counter, label, read: Box::new(read) });
    }

    /// Everything as Prometheus (OpenMetrics) text.
    pub fn render(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(Snapshot(self.clone())));
        let mut text = String::new();
        if text::encode(&mut text, &registry).is_err() {
            // Writing to a string doesn't fail; a half page would be read as "all else is gone".
            text.clear();
        }
        text
    }
}

#[derive(Debug)]
struct Snapshot(Registry);

impl prometheus_client::collector::Collector for Snapshot {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let inner = self.0.inner();
        encode_actors(&inner.actors, &mut to)?;
        for (name, values) in &inner.values {
            encode_values(name, values, &mut to)?;
        }
        drop(inner);
        encode_process(&mut to)
    }
}

/// The encoder adds `_total` to a counter's name by itself.
fn family<'a>(
    to: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    counter: bool,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    let kind = if counter { MetricType::Counter } else { MetricType::Gauge };
    to.encode_descriptor(name.strip_suffix("_total").unwrap_or(name), help, None, kind)
}

fn sample(to: MetricEncoder<'_>, counter: bool, value: f64) -> fmt::Result {
    if counter { ConstCounter::new(value).encode(to) } else { ConstGauge::new(value).encode(to) }
}

fn encode_values(name: &str, values: &Values, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut family = family(to, name, values.help, values.counter)?;
    for (label, value) in (values.read)() {
        if values.label.is_empty() {
            sample(family, values.counter, value)?;
            return Ok(());
        }
        sample(family.encode_family(&[(values.label, label.as_str())])?, values.counter, value)?;
    }
    Ok(())
}

type OfActor = (&'static str, &'static str, bool, fn(&ActorStats) -> f64);

const ACTOR_METRICS: [OfActor; 7] = [
    ("logweir_actor_mailbox_depth_messages", "Messages sent and not handled yet", false, |s| s.depth() as f64),
    ("logweir_actor_mailbox_high_water_messages", "Largest depth since the last report in the log", false, |s| {
        s.high_water() as f64
    }),
    ("logweir_actor_mailbox_capacity_messages", "Messages that fit the mailbox", false, |s| s.capacity() as f64),
    ("logweir_actor_messages_handled_total", "Messages handled", true, |s| s.handled() as f64),
    ("logweir_actor_handling_p50_seconds", "Median handling time since the start", false, |s| {
        quantile_us(&s.times(), 0.5) / 1e6
    }),
    ("logweir_actor_handling_p99_seconds", "99th percentile of the handling time since the start", false, |s| {
        quantile_us(&s.times(), 0.99) / 1e6
    }),
    ("logweir_actor_restarts_total", "Restarts after a failure", true, |s| s.restarts() as f64),
];

fn encode_actors(actors: &BTreeMap<&'static str, Arc<ActorStats>>, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (name, help, counter, read) in ACTOR_METRICS {
        let mut family = family(to, name, help, counter)?;
        for (kind, stats) in actors {
            sample(family.encode_family(&[("actor", *kind)])?, counter, read(stats))?;
        }
    }
    Ok(())
}

/// Under the names that every dashboard knows.
fn encode_process(to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let usage = process::usage();
    let all = [
        ("process_cpu_seconds_total", "CPU time, user and system", usage.cpu_secs),
        ("process_resident_memory_bytes", "Memory in RAM", usage.resident_bytes.map(|bytes| bytes as f64)),
        ("process_open_fds", "Open file descriptors", usage.open_fds.map(|fds| fds as f64)),
    ];
    for (name, help, value) in all {
        let counter = name.ends_with("_total");
        if let Some(value) = value {
            sample(family(to, name, help, counter)?, counter, value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[test]
    fn actors_counters_and_labels_are_rendered_with_their_present_values() {
        let registry = Registry::default();
        let stats = ActorStats::new("kafka_producer", 64);
        registry.actor(stats.clone());
        stats.sent_one();
        stats.sent_one();
        drop(stats.handling());
        let lines = Arc::new(AtomicU64::new(0));
        let read = lines.clone();
        registry.counter("logweir_lines_read_total", "Lines read", move || read.load(Relaxed));
        registry
            .gauges("logweir_lag_bytes", "Bytes to read", "topic", || vec![("a\"b".into(), 5.0), ("c".into(), 7.5)]);
        lines.store(12, Relaxed);

        let text = registry.render();
        for line in [
            "logweir_actor_mailbox_depth_messages{actor=\"kafka_producer\"} 1.0",
            "logweir_actor_mailbox_high_water_messages{actor=\"kafka_producer\"} 2.0",
            "logweir_actor_mailbox_capacity_messages{actor=\"kafka_producer\"} 64.0",
            "logweir_actor_messages_handled_total{actor=\"kafka_producer\"} 1.0",
            "logweir_actor_restarts_total{actor=\"kafka_producer\"} 0.0",
            "# TYPE logweir_lines_read counter",
            "logweir_lines_read_total 12.0",
            "logweir_lag_bytes{topic=\"a\\\"b\"} 5.0",
            "logweir_lag_bytes{topic=\"c\"} 7.5",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    }

    #[test]
    fn a_restarted_part_replaces_its_earlier_counter() {
        let registry = Registry::default();
        for value in [1, 2] {
            registry.counter("logweir_things_total", "Things", move || value);
        }
        let text = registry.render();
        assert_eq!(text.matches("\nlogweir_things_total").count(), 1);
        assert!(text.contains("\nlogweir_things_total 2.0\n"));
    }
}
