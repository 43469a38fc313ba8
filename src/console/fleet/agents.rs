//! The processes as a table: filtered, sorted, a page at a time. The problem: of two thousand the few that need somebody
//! have to stand first, so "worst" is an order: gone, refused, losing, failing, and then by what is behind.

use super::{Known, Process, State};
use crate::console::gate::{HIDDEN, Topics};
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};

/// An ERROR of the log counts as trouble for so long.
const RECENT_MS: u64 = 10 * 60 * 1000;

/// By what the table is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    #[default]
    Worst,
    Host,
    Kind,
    Version,
    Uptime,
    Files,
    Lag,
    Rate,
    /// When it told something last.
    Told,
}

impl By {
    pub const NAMES: [&str; 9] = ["worst", "host", "kind", "version", "uptime", "files", "lag", "rate", "told"];
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Part of a name, a version, a key or a reason; letter case doesn't matter.
    pub text: String,
    pub kind: Option<String>,
    pub state: Option<State>,
    /// Only those that need somebody.
    pub troubled: bool,
    pub by: By,
    pub reverse: bool,
    pub from: usize,
    pub size: usize,
    /// Those that who asks may know of.
    pub topics: Topics,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub alive: usize,
    pub stopped: usize,
    pub gone: usize,
    /// Of those that live: they need somebody.
    pub troubled: usize,
}

/// A refused key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub key: String,
    pub revision: Option<i64>,
    pub reason: String,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub kind: String,
    pub host: String,
    pub instance: String,
    pub state: State,
    pub version: String,
    pub started_ms: u64,
    pub told_ms: u64,
    /// When it was seen first.
    pub first_ms: u64,
    pub went_ms: Option<u64>,
    /// Nobody watched when it went: it was some time between `told_ms` and `went_ms`.
    pub unwatched: bool,
    pub files: u64,
    pub lag: u64,
    pub lines_per_second: f64,
    pub bytes_per_second: f64,
    pub bytes_lost: u64,
    pub refused: Vec<Refused>,
    pub paused: usize,
    /// `None` with a time: there is one, and who asks may not see it.
    pub last_error: Option<String>,
    pub last_error_ms: Option<u64>,
    pub unreadable: Option<String>,
}

/// How bad it is; the highest needs somebody first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    None,
    Stopped,
    Failing,
    Losing,
    Refused,
    Gone,
}

fn trouble(process: &Process, now_ms: u64) -> Trouble {
    let status = &process.status;
    match process.state() {
        State::Gone => return Trouble::Gone,
        State::Stopped => return Trouble::Stopped,
        State::Alive => {}
    }
    if process.unreadable.is_some() || status.sources.values().any(|source| source.refused.is_some()) {
        return Trouble::Refused;
    }
    if status.bytes_lost > 0 || !status.paused.is_empty() {
        return Trouble::Losing;
    }
    let recent = status.last_error_ms.is_some_and(|at| at + RECENT_MS > now_ms);
    if recent { Trouble::Failing } else { Trouble::None }
}

impl Known {
    /// How many there are of this kind.
    pub fn counts(&self, kind: Option<&str>, now_ms: u64) -> Counts {
        let mut counts = Counts::default();
        for process in self.all().filter(|process| kind.is_none_or(|kind| process.status.kind == kind)) {
            match process.state() {
                State::Alive => counts.alive += 1,
                State::Stopped => counts.stopped += 1,
                State::Gone => counts.gone += 1,
            }
            counts.troubled += usize::from(process.is_alive() && trouble(process, now_ms) > Trouble::Stopped);
        }
        counts
    }

    /// One page, and how many there are on all pages.
    pub fn page(&self, asked: &Question, now_ms: u64) -> (Vec<Row>, usize) {
        let text = asked.text.to_lowercase();
        let wanted = |process: &&Process| {
            asked.kind.as_ref().is_none_or(|kind| process.status.kind == *kind)
                && asked.state.is_none_or(|state| process.state() == state)
                && (!asked.troubled || trouble(process, now_ms) > Trouble::Stopped)
                && (text.is_empty() || mentions(process, &text, &asked.topics))
        };
        let mut found: Vec<(Trouble, &Process)> =
            self.all().filter(wanted).map(|process| (trouble(process, now_ms), process)).collect();
        found.sort_by(|a, b| {
            let order = compare(asked.by, a, b);
            // Those that are equal stay in the order of their names.
            if asked.reverse { order.reverse() } else { order }.then_with(|| name(a.1).cmp(&name(b.1)))
        });
        let total = found.len();
        let page = found.into_iter().skip(asked.from).take(asked.size);
        (page.map(|(_, process)| row(process, &asked.topics)).collect(), total)
    }
}

fn name(process: &Process) -> (&str, &str, &str) {
    (&process.status.host, &process.status.kind, &process.status.instance)
}

fn compare(by: By, (bad_a, a): &(Trouble, &Process), (bad_b, b): &(Trouble, &Process)) -> Ordering {
    let (x, y) = (&a.status, &b.status);
    match by {
        By::Worst => bad_b.cmp(bad_a).then(y.lag.cmp(&x.lag)),
        By::Host => x.host.cmp(&y.host),
        By::Kind => x.kind.cmp(&y.kind),
        By::Version => x.version.cmp(&y.version),
        // The newest begins last.
        By::Uptime => x.started_ms.cmp(&y.started_ms),
        By::Files => Reverse(x.files).cmp(&Reverse(y.files)),
        By::Lag => Reverse(x.lag).cmp(&Reverse(y.lag)),
        By::Rate => y.lines_per_second.total_cmp(&x.lines_per_second),
        By::Told => a.told_ms.cmp(&b.told_ms),
    }
}

/// The last line of an error, for those who may see all topics: it may name any of them.
pub fn last_error<'a>(process: &'a Process, topics: &Topics) -> Option<&'a str> {
    process.status.last_error.as_deref().filter(|_| topics.all())
}

/// Whether the text, in lower case, stands in what people look for, and may see.
fn mentions(process: &Process, text: &str, topics: &Topics) -> bool {
    let status = &process.status;
    let has = |part: &str| part.to_lowercase().contains(text);
    [&status.host, &status.instance, &status.version].into_iter().any(|part| has(part))
        || last_error(process, topics).is_some_and(has)
        || status.topics.keys().any(|topic| topics.allow(topic) && has(topic))
        || (topics.all()
            && (status.keys.iter().any(|key| has(key))
                || status.sources.iter().any(|(key, source)| has(key) || source.refused.as_deref().is_some_and(has))))
}

pub fn row(process: &Process, topics: &Topics) -> Row {
    let status = process.status.clone();
    // What is wrong with a key tells of its entries, whatever their topics.
    let told = |text: String| if topics.all() { text } else { HIDDEN.into() };
    let refused = status.sources.into_iter().filter_map(|(key, source)| {
        let key = if topics.all() { key } else { String::new() };
        Some(Refused { key, revision: source.refused_revision, reason: told(source.refused?) })
    });
    Row {
        state: process.state(),
        told_ms: process.told_ms,
        first_ms: process.first_ms,
        went_ms: process.went_ms,
        unwatched: process.unwatched,
        refused: refused.collect(),
        unreadable: process.unreadable.clone().map(told),
        kind: status.kind,
        host: status.host,
        instance: status.instance,
        version: status.version,
        started_ms: status.started_ms,
        files: status.files,
        lag: status.lag,
        lines_per_second: status.lines_per_second,
        bytes_per_second: status.bytes_per_second,
        bytes_lost: status.bytes_lost,
        paused: status.paused.len(),
        last_error: last_error(process, topics).map(str::to_owned),
        last_error_ms: status.last_error_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        console::fleet::{
            Fleet,
            tests::{deleted, put, status},
        },
        telemetry::{SourceStatus, Status},
    };

    const NOW: u64 = 1_795_246_112_111;

    fn fleet() -> Fleet {
        let fleet = Fleet::default();
        let refused = SourceStatus { refused: Some("line 3: no".into()), ..SourceStatus::default() };
        let agents = [
            Status { lag: 5, version: "0.2.0".into(), ..status("agent", "behind") },
            Status { lag: 9, ..status("agent", "far-behind") },
            Status { last_error_ms: Some(NOW - 1), last_error: Some("disk full".into()), ..status("agent", "failing") },
            Status { last_error_ms: Some(1), ..status("agent", "failed-long-ago") },
            Status { bytes_lost: 1, ..status("agent", "losing") },
            Status { sources: [("k".to_owned(), refused)].into(), ..status("agent", "refusing") },
            status("agent", "gone"),
            Status { leaving: true, ..status("agent", "stopped") },
            status("transfer", "es"),
        ];
        agents.iter().for_each(|agent| put(&fleet, agent));
        deleted(&fleet, "agent", "gone");
        deleted(&fleet, "agent", "stopped");
        fleet
    }

    fn hosts(asked: &Question) -> (Vec<String>, usize) {
        let (rows, total) = fleet().known().page(asked, NOW);
        (rows.into_iter().map(|row| row.host).collect(), total)
    }

    #[test]
    fn the_worst_stand_first() {
        let agents = Question { kind: Some("agent".into()), size: 100, ..Question::default() };
        let worst = ["gone", "refusing", "losing", "failing", "stopped", "far-behind", "behind", "failed-long-ago"];
        assert_eq!(hosts(&agents), (worst.map(str::to_owned).to_vec(), 8));
        let second = Question { from: 2, size: 2, ..agents.clone() };
        assert_eq!(hosts(&second), (vec!["losing".into(), "failing".into()], 8));
        let beyond = Question { from: 100, ..agents };
        assert_eq!(hosts(&beyond), (vec![], 8));
    }

    #[test]
    fn a_part_of_what_people_look_for_is_found() {
        let of = |text: &str| hosts(&Question { text: text.into(), size: 100, ..Question::default() }).0;
        assert_eq!(of("DISK"), ["failing"]);
        assert_eq!(of("line 3"), ["refusing"]);
        assert_eq!(of("0.2"), ["behind"]);
        assert_eq!(of("nothing like it"), [""; 0]);
        let gone = Question { state: Some(State::Gone), size: 100, ..Question::default() };
        assert_eq!(hosts(&gone).0, ["gone"]);
        let troubled = Question { troubled: true, size: 100, ..Question::default() };
        assert_eq!(hosts(&troubled).0, ["gone", "refusing", "losing", "failing"]);
    }

    #[test]
    fn each_column_sorts_both_ways() {
        let by = |by, reverse| {
            hosts(&Question { by, reverse, kind: Some("agent".into()), size: 1, ..Question::default() }).0.remove(0)
        };
        assert_eq!((by(By::Host, false), by(By::Lag, false)), ("behind".into(), "far-behind".into()));
        assert_eq!(by(By::Host, true), "stopped");
        assert_eq!(by(By::Version, true), "behind");
        assert_eq!(by(By::Worst, true), "failed-long-ago");
        for name in By::NAMES {
            serde_json::from_value::<By>(name.into()).unwrap();
        }
    }

    #[test]
    fn all_are_counted() {
        let counts = fleet().known().counts(Some("agent"), NOW);
        assert_eq!(counts, Counts { alive: 6, stopped: 1, gone: 1, troubled: 3 });
    }
}
