//! Who did what (the rest comes with the login).

use crate::store::Write;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    pub name: String,
    pub address: String,
}

impl From<&super::Person> for Author {
    fn from(person: &super::Person) -> Self {
        Self { name: person.name.clone(), address: person.address.clone() }
    }
}

impl Author {
    /// Who uses the command line: `user@machine`.
    pub fn of_command_line() -> Self {
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
        let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { name: format!("{user}@{machine}"), address: "command line".into() }
    }

    /// # Errors
    /// There are no random numbers.
    pub fn did(&self, action: &str, subject: &str, detail: impl Into<String>) -> Result<Write, getrandom::Error> {
        let time_ms = crate::telemetry::now_ms();
        let record = serde_json::json!({
            "time_ms": time_ms, "author": self.name, "address": self.address, "action": action, "subject": subject,
            "detail": detail.into(),
        });
        Ok(Write::put(format!("/logweir/audit/{time_ms:013}-{:08x}", getrandom::u32()?), record.to_string()))
    }
}
