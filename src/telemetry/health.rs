//! `/health`. The problem: "it doesn't work" has a dozen reasons, and the process knows most of them. Each part keeps
//! its own condition with a reason in words; live means "don't restart me", ready means "data flows".

use super::StatusBoard;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The conditions of a process. Cloning gives another handle of the same ones.
#[derive(Clone, Debug, Default)]
pub struct Health {
    conditions: Arc<Mutex<BTreeMap<&'static str, Condition>>>,
}

/// How one part is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Condition {
    /// The process can heal this by itself; `false`: only a restart helps.
    pub live: bool,
    /// The part does its work.
    pub ready: bool,
    /// Why not, or what an operator should know; absent while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is like this, milliseconds since 1970.
    pub since_ms: u64,
}

/// Everything, as `/health` shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct HealthReport {
    pub live: bool,
    pub ready: bool,
    pub conditions: BTreeMap<&'static str, Condition>,
}

impl Health {
    fn conditions(&self) -> MutexGuard<'_, BTreeMap<&'static str, Condition>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, name: &'static str, live: bool, ready: bool, reason: Option<String>) {
        let mut conditions = self.conditions();
        let same = conditions.get(name).filter(|was| (was.live, was.ready) == (live, ready));
        let since_ms = same.map_or_else(super::now_ms, |was| was.since_ms);
        conditions.insert(name, Condition { live, ready, reason, since_ms });
    }

    /// All is well with `name`.
    pub fn ready(&self, name: &'static str) {
        self.set(name, true, true, None);
    }

    /// `name` does its work, but an operator should know this.
    pub fn ready_but(&self, name: &'static str, reason: impl Into<String>) {
        self.set(name, true, true, Some(reason.into()));
    }

    /// `name` doesn't do its work, for this reason; it will by itself when the reason is gone.
    pub fn not_ready(&self, name: &'static str, reason: impl Into<String>) {
        self.set(name, true, false, Some(reason.into()));
    }

    /// `name` can't heal by itself.
    pub fn dead(&self, name: &'static str, reason: impl Into<String>) {
        self.set(name, false, false, Some(reason.into()));
    }

    /// `name` is well once everything that the process awaits has come; with what was refused of it since, if anything.
    pub fn note_configuration(&self, name: &'static str, board: &StatusBoard) {
        if let Some(awaited) = board.awaited() {
            return self.not_ready(name, format!("waiting for {awaited}"));
        }
        let sources = board.sources();
        let refused = sources.into_iter().find_map(|(source, status)| Some(format!("{source}: {}", status.refused?)));
        match refused {
            Some(reason) => self.ready_but(name, format!("refused, what ran keeps running: {reason}")),
            None => self.ready(name),
        }
    }

    /// Keeps [`Self::note_configuration`] true until everything that the process awaits has come.
    pub async fn follow_configuration(self, name: &'static str, board: Arc<StatusBoard>) {
        loop {
            self.note_configuration(name, &board);
            if board.awaited().is_none() {
                return;
            }
            board.awaited_changed().await;
        }
    }

    /// `name` is no part of this process any more.
    pub fn forget(&self, name: &'static str) {
        self.conditions().remove(name);
    }

    /// The whole. A process without conditions is live and not ready: it has only begun.
    pub fn report(&self) -> HealthReport {
        let conditions = self.conditions().clone();
        let live = conditions.values().all(|condition| condition.live);
        let ready = !conditions.is_empty() && conditions.values().all(|condition| condition.ready);
        HealthReport { live, ready, conditions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_every_part_and_live_only_that_none_is_dead() {
        let health = Health::default();
        assert_eq!((health.report().live, health.report().ready), (true, false));
        health.ready("journal");
        health.not_ready("kafka", "connection refused");
        assert_eq!((health.report().live, health.report().ready), (true, false));
        health.ready("kafka");
        assert!(health.report().ready);
        health.dead("journal", "fenced");
        assert_eq!((health.report().live, health.report().ready), (false, false));
        health.forget("journal");
        assert!(health.report().ready);
    }

    #[test]
    fn the_configuration_is_not_ready_before_it_has_come_and_ready_with_a_refusal_afterwards() {
        let (health, board) = (Health::default(), StatusBoard::new("agent", "web-01", "1"));
        let collection = || {
            health.note_configuration("collection", &board);
            health.report().conditions["collection"].clone()
        };
        board.awaits("entries");
        board.refused("key", None, "line 1".into());
        assert!(!collection().ready);
        assert_eq!(collection().reason.as_deref(), Some("waiting for the entries: not read yet"));
        board.has("entries");
        assert!(collection().ready && collection().reason.is_some_and(|reason| reason.contains("line 1")));
        board.applied("key", Some(2));
        assert_eq!((collection().ready, collection().reason), (true, None));
    }

    #[test]
    fn a_condition_keeps_its_time_while_only_its_reason_changes() {
        let health = Health::default();
        health.not_ready("kafka", "first");
        let at = |since| health.conditions().get_mut("kafka").unwrap().since_ms = since;
        at(5);
        health.not_ready("kafka", "second");
        let report = health.report();
        assert_eq!(
            (report.conditions["kafka"].since_ms, report.conditions["kafka"].reason.as_deref()),
            (5, Some("second"))
        );
        health.ready("kafka");
        assert!(health.report().conditions["kafka"].since_ms > 5);
    }
}
