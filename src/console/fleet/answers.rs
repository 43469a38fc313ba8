//! What became of a key of entries: who has applied it, who refused it and why, who hasn't answered. The problem: an agent
//! answers with the revision that it applied or refused, and that may be an older one than the one that is asked about.

use super::{Fleet, Process};

/// One agent, and when it told something last.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Answer {
    pub host: String,
    pub instance: String,
    pub told_ms: u64,
}

/// One agent that refused it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Refusal {
    #[serde(flatten)]
    pub agent: Answer,
    pub reason: String,
}

/// All agents that watch the key.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Answers {
    pub applied: Vec<Answer>,
    pub refused: Vec<Refusal>,
    /// They live, and have not got to it yet.
    pub waiting: Vec<Answer>,
    /// They watched it, and are gone.
    pub gone: Vec<Answer>,
}

enum Verdict {
    Applied,
    Refused(String),
    Waiting,
}

impl Fleet {
    /// Answers of the agents to this revision of a key; `None`: the key is deleted.
    pub fn answers(&self, key: &str, revision: Option<i64>) -> Answers {
        let mut answers = Answers::default();
        for process in self.known().all().filter(|process| process.collects()) {
            // One of an older version doesn't tell its keys, only those that there are.
            let status = &process.status;
            if !status.keys.iter().any(|watched| watched == key) && !status.sources.contains_key(key) {
                continue;
            }
            let (host, instance) = (status.host.clone(), status.instance.clone());
            let answer = Answer { host, instance, told_ms: process.told_ms };
            if !process.is_alive() {
                answers.gone.push(answer);
                continue;
            }
            match verdict(process, key, revision) {
                Verdict::Applied => answers.applied.push(answer),
                Verdict::Refused(reason) => answers.refused.push(Refusal { agent: answer, reason }),
                Verdict::Waiting => answers.waiting.push(answer),
            }
        }
        answers
    }
}

fn verdict(process: &Process, key: &str, revision: Option<i64>) -> Verdict {
    let Some(source) = process.status.sources.get(key) else {
        return if revision.is_none() { Verdict::Applied } else { Verdict::Waiting };
    };
    let Some(revision) = revision else { return Verdict::Waiting };
    match &source.refused {
        // One of an older version doesn't say which revision it refused: a newer one than it applied.
        Some(reason) if source.refused_revision.is_none_or(|refused| refused >= revision) => {
            Verdict::Refused(reason.clone())
        }
        // A file has no revision.
        _ if source.applied_revision.is_none_or(|applied| applied >= revision) && source.refused.is_none() => {
            Verdict::Applied
        }
        _ => Verdict::Waiting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        console::fleet::tests::{deleted, put, status},
        telemetry::{SourceStatus, Status},
    };

    const KEY: &str = "/logweir/collect/all";

    fn agent(host: &str, applied: Option<i64>, refused: Option<i64>) -> Status {
        let source = SourceStatus {
            applied_revision: applied,
            refused: refused.map(|_| "line 1: no".into()),
            refused_revision: refused,
        };
        let mut agent = Status { keys: vec![KEY.into()], ..status("agent", host) };
        if applied.is_some() || refused.is_some() {
            agent.sources.insert(KEY.into(), source);
        }
        agent
    }

    fn hosts(answers: &[Answer]) -> Vec<&str> {
        answers.iter().map(|answer| answer.host.as_str()).collect()
    }

    #[test]
    fn an_agent_has_applied_what_is_as_new_as_what_is_asked_about() {
        let fleet = Fleet::default();
        for agent in [
            agent("applied", Some(7), None),
            agent("newer", Some(9), None),
            agent("older", Some(6), None),
            agent("refused", Some(5), Some(7)),
            agent("refused-before", Some(5), Some(6)),
            agent("silent", None, None),
            agent("gone", Some(7), None),
            status("agent", "elsewhere"),
            status("transfer", "es"),
        ] {
            put(&fleet, &agent);
        }
        deleted(&fleet, "agent", "gone");
        let answers = fleet.answers(KEY, Some(7));
        assert_eq!(hosts(&answers.applied), ["applied", "newer"]);
        assert_eq!(hosts(&answers.waiting), ["older", "refused-before", "silent"]);
        assert_eq!(hosts(&answers.gone), ["gone"]);
        assert_eq!(answers.refused.len(), 1);
        assert_eq!((&*answers.refused[0].agent.host, &*answers.refused[0].reason), ("refused", "line 1: no"));
        let answers = fleet.answers(KEY, None);
        assert_eq!(hosts(&answers.applied), ["silent"], "of a deleted key nothing is left");
    }

    #[test]
    fn an_agent_of_an_older_version_answers_without_its_keys_and_without_what_it_refused() {
        let fleet = Fleet::default();
        let mut old = agent("old", Some(5), Some(6));
        old.keys.clear();
        old.sources.get_mut(KEY).unwrap().refused_revision = None;
        put(&fleet, &old);
        assert_eq!(fleet.answers(KEY, Some(6)).refused.len(), 1);
        assert_eq!(fleet.answers("/other", Some(6)), Answers::default());
    }
}
