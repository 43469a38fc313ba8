//! Whether etcd is there, and what its keys say. The problem: with several endpoints the client takes whichever
//! answers, so that a dead one is noticed when the other dies, too. Each is asked alone here.

use super::report::{Fault, Report};
use crate::{
    etcd::{EtcdError, ServerStatus, Session},
    settings::Etcd,
};
use futures_util::future::join_all;

/// Asks every endpoint; whether at least one serves us.
pub async fn servers(settings: &Etcd) -> (bool, Report) {
    let asked = settings.endpoints.iter().map(async |endpoint| {
        let session = Session::new(Etcd { endpoints: vec![endpoint.clone()], ..settings.clone() });
        (endpoint.as_str(), session.status().await)
    });
    let answers = join_all(asked).await;
    let served = answers.iter().any(|(_, answer)| answer.is_ok());
    let user = if settings.username.is_empty() { String::new() } else { format!(", as user {}", settings.username) };
    let mut report = Report::default();
    for (endpoint, answer) in answers {
        line(endpoint, &user, answer, served, &mut report);
    }
    (served, report)
}

/// `served`: another endpoint answers, so one that doesn't is no failure yet.
fn line(endpoint: &str, user: &str, answer: Result<ServerStatus, EtcdError>, served: bool, report: &mut Report) {
    match answer {
        Ok(status) if status.alarms.is_empty() => {
            report.ok("etcd", format!("{endpoint}: version {}{user}", status.version));
        }
        Ok(status) => {
            let text = format!("{endpoint}: version {}, but: {}", status.version, status.alarms.join("; "));
            report.warn("etcd", text, "see etcdctl endpoint status and alarm list");
        }
        Err(error) => failure(&error, served, report),
    }
}

/// An endpoint or call that failed.
pub fn failure(error: &EtcdError, served: bool, report: &mut Report) {
    let (fault, advice) = match error {
        EtcdError::Settings(_) => (Fault::Settings, "correct the files that [etcd] names"),
        EtcdError::Denied { .. } => (Fault::Server, "check [etcd] username, password_file and the user's roles"),
        _ => (Fault::Server, "check [etcd] endpoints, the server, the network and the certificates"),
    };
    if served && fault == Fault::Server {
        report.warn("etcd", error.to_string(), advice);
    } else {
        report.fail("etcd", fault, error.to_string(), advice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Exit, check::report::Level};

    #[test]
    fn one_dead_endpoint_of_two_is_a_warning_and_all_dead_ones_are_a_failure() {
        let failed = |call| EtcdError::Failed { endpoints: "http://a".into(), call, reason: "refused".into() };
        for (served, exit) in [(true, Exit::Ok), (false, Exit::Unavailable)] {
            let mut report = Report::default();
            line("http://a", "", Err(failed("status")), served, &mut report);
            assert_eq!(report.exit(), exit);
            assert!(report.text().contains("http://a"), "{}", report.text());
        }
    }

    #[test]
    fn a_server_with_an_alarm_is_looked_at() {
        let mut report = Report::default();
        let status = |alarms| Ok(ServerStatus { version: "3.4".into(), alarms });
        line("http://a", ", as user u", status(vec![]), true, &mut report);
        line("http://a", "", status(vec!["NOSPACE".into()]), true, &mut report);
        assert_eq!(report.lines.iter().map(|l| l.level).collect::<Vec<_>>(), [Level::Ok, Level::Warn]);
        assert!(report.text().contains("3.4, as user u") && report.text().contains("NOSPACE"));
    }

    #[test]
    fn a_missing_certificate_is_a_fault_of_the_settings() {
        let mut report = Report::default();
        failure(&EtcdError::Settings("/ca.pem: gone".into()), true, &mut report);
        assert_eq!(report.exit(), Exit::Config);
    }
}
