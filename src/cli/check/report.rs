//! What `check` found: one line a check, and the exit code that follows from all of them.

use crate::cli::Exit;
use serde::Serialize;
use std::fmt::Write as _;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It runs, but a limit of the promise doesn't hold, or somebody should look.
    Warn,
    Fail,
}

/// Whose fault a failure is; the first of these that was found is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Settings,
    /// A value in etcd, or the file of entries.
    Entries,
    /// A server isn't there, or doesn't serve us.
    Server,
    Journal,
}

impl Fault {
    fn exit(self) -> Exit {
        match self {
            Self::Settings => Exit::Config,
            Self::Entries => Exit::Data,
            Self::Server => Exit::Unavailable,
            Self::Journal => Exit::Io,
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub level: Level,
    /// What it is about, in one word.
    pub check: &'static str,
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
    #[serde(skip)]
    fault: Option<Fault>,
}

/// All checks, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub lines: Vec<Line>,
}

#[derive(Serialize)]
struct Json<'a> {
    exit: u8,
    checks: &'a [Line],
}

impl Report {
    pub fn ok(&mut self, check: &'static str, text: impl Into<String>) {
        self.push(Level::Ok, check, text.into(), "", None);
    }

    pub fn warn(&mut self, check: &'static str, text: impl Into<String>, advice: &str) {
        self.push(Level::Warn, check, text.into(), advice, None);
    }

    pub fn fail(&mut self, check: &'static str, fault: Fault, text: impl Into<String>, advice: &str) {
        self.push(Level::Fail, check, text.into(), advice, Some(fault));
    }

    fn push(&mut self, level: Level, check: &'static str, text: String, advice: &str, fault: Option<Fault>) {
        // Servers' sentences may have several lines; here each check has one.
        let text = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        self.lines.push(Line { level, check, text, advice: advice.to_owned(), fault });
    }

    pub fn append(&mut self, mut other: Self) {
        self.lines.append(&mut other.lines);
    }

    pub fn exit(&self) -> Exit {
        self.lines.iter().filter_map(|line| line.fault).min().map_or(Exit::Ok, Fault::exit)
    }

    /// For people: the lines, then how many of each there are.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut counts = [0; 3];
        for line in &self.lines {
            let level = ["ok", "warn", "FAIL"][line.level as usize];
            counts[line.level as usize] += 1;
            // Writing to a String doesn't fail.
            _ = write!(text, "{level:<4}  {:<13}  {}", line.check, line.text);
            if !line.advice.is_empty() {
                _ = write!(text, " -> {}", line.advice);
            }
            text.push('\n');
        }
        let [ok, warn, fail] = counts;
        _ = writeln!(text, "{ok} ok, {warn} to look at, {fail} failed");
        text
    }

    /// For machines.
    ///
    /// # Errors
    /// It can't be written as JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        let json = Json { exit: self.exit() as u8, checks: &self.lines };
        serde_json::to_string_pretty(&json).map(|text| text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.ok("etcd", "http://a: version 3.4");
        report.warn("kafka", "topic t has 1 replica", "raise it");
        report
    }

    #[test]
    fn every_check_is_one_line_whatever_a_server_says() {
        let mut report = report();
        report.fail("kafka", Fault::Server, "no\n  answer\n", "");
        let text = "ok    etcd           http://a: version 3.4\n\
                    warn  kafka          topic t has 1 replica -> raise it\n\
                    FAIL  kafka          no; answer\n\
                    1 ok, 1 to look at, 1 failed\n";
        assert_eq!(report.text(), text);
    }

    #[test]
    fn the_json_has_the_exit_code_and_every_check() {
        let value: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        assert_eq!(value["exit"], 0);
        assert_eq!(
            value["checks"][1],
            serde_json::json!({"level": "warn", "check": "kafka", "text": "topic t has 1 replica", "advice": "raise it"})
        );
    }

    #[test]
    fn warnings_are_no_failure_and_of_several_faults_the_first_in_order_counts() {
        let mut report = report();
        assert_eq!(report.exit(), Exit::Ok);
        let faults = [
            (Fault::Journal, Exit::Io),
            (Fault::Server, Exit::Unavailable),
            (Fault::Entries, Exit::Data),
            (Fault::Settings, Exit::Config),
        ];
        for (fault, exit) in faults {
            report.fail("x", fault, "y", "");
            assert_eq!(report.exit(), exit);
        }
        report.fail("x", Fault::Journal, "y", "");
        assert_eq!(report.exit(), Exit::Config);
    }
}
