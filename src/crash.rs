//! Proof that a SIGKILL anywhere is survived, and that the proof can fail. Tests name a step of the data path and the
//! process kills itself there ([`point`]), or they switch on a known mistake that the oracle has to catch
//! ([`mutation`]). Both are read once from the environment; where it is silent, a call is one load and a branch.
//!
//! - `LOGWEIR_CRASH_AT=journal_appended` kills at the first pass, `journal_appended:5` at the fifth.
//! - `LOGWEIR_MUTATION=settle_before_delivery` switches one mistake on; several are separated by commas.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Name of a point, and the pass at which the process dies, counted from 1.
#[derive(Debug, PartialEq, Eq)]
struct CrashAt {
    name: String,
    pass: u64,
}

impl CrashAt {
    /// `name` or `name:N`. What is no number after the colon counts as part of the name, so that it crashes nowhere.
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let numbered = text.rsplit_once(':').and_then(|(name, n)| Some((name, n.parse().ok()?)));
        let (name, pass) = numbered.unwrap_or((text, 1));
        Some(Self { name: name.to_owned(), pass })
    }
}

static CRASH_AT: OnceLock<Option<CrashAt>> = OnceLock::new();
static PASSES: AtomicU64 = AtomicU64::new(0);
static MUTATIONS: OnceLock<Vec<String>> = OnceLock::new();

/// A step of the data path. Kills this process by SIGKILL when `LOGWEIR_CRASH_AT` names it, else does nothing.
#[inline]
pub fn point(name: &str) {
    let at = CRASH_AT.get_or_init(|| std::env::var("LOGWEIR_CRASH_AT").ok().as_deref().and_then(CrashAt::parse));
    if let Some(at) = at {
        pass(at, name);
    }
}

#[cold]
fn pass(at: &CrashAt, name: &str) {
    if at.name == name && PASSES.fetch_add(1, Relaxed) + 1 == at.pass {
        // Nothing is unwound, flushed or dropped: that is the point. Abort stands in if the signal can't be sent.
        let _killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}

/// Whether this known mistake is switched on, for a test whose oracle has to catch it.
#[inline]
pub fn mutation(name: &str) -> bool {
    let read = || {
        let text = std::env::var("LOGWEIR_MUTATION").unwrap_or_default();
        text.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
    };
    let mutations = MUTATIONS.get_or_init(read);
    !mutations.is_empty() && mutations.iter().any(|one| one == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        os::unix::process::ExitStatusExt,
        process::{Command, Output},
    };

    const CHILD: &str = "LOGWEIR_CRASH_TEST_CHILD";

    /// Runs [`in_a_child_process`] below in a process of its own.
    fn child(variable: &str, value: &str) -> Output {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::tests::in_a_child_process", "--nocapture"])
            .env(CHILD, "1")
            .env(variable, value)
            .output()
            .unwrap()
    }

    #[test]
    fn in_a_child_process() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        for i in 1..=3 {
            println!("pass {i}.");
            point("read");
            point("sent");
        }
        println!("mutated {} {}.", mutation("skip_pending"), mutation("fresh_id_at_restart"));
    }

    #[test]
    fn a_named_point_kills_at_the_pass_that_is_asked_for() {
        for (at, passes) in [("sent", 1), ("read:2", 2), ("sent:3", 3)] {
            let output = child("LOGWEIR_CRASH_AT", at);
            assert_eq!(output.status.signal(), Some(9), "{at}");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(text.matches("pass ").count(), passes, "{at}: {text}");
        }
    }

    #[test]
    fn a_point_that_is_not_named_or_not_reached_does_nothing() {
        for at in ["", "settled", "read:4", "read:", "read:x"] {
            let output = child("LOGWEIR_CRASH_AT", at);
            assert!(output.status.success(), "{at}: {output:?}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("mutated false false."));
        }
    }

    #[test]
    fn a_mutation_is_on_when_it_is_named() {
        let of = |value| String::from_utf8_lossy(&child("LOGWEIR_MUTATION", value).stdout).into_owned();
        assert!(of("skip_pending").contains("mutated true false."));
        assert!(of("skip_pending, fresh_id_at_restart").contains("mutated true true."));
        assert!(of("").contains("mutated false false."));
    }
}
