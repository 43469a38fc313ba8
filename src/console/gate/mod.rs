//! Who may do what. The problem: one page shows logs and changes what a whole fleet collects, so every call has to be
//! somebody's, and what that somebody may do must be decided in one place and before anything else is done.

mod audit;
mod person;

pub use audit::Author;
pub use person::{Person, Role};

use super::{error::ApiError, route::Least};
use actix_web::{dev::ServiceRequest, web};

/// Decides who makes a call.
#[derive(Clone, Debug, Default)]
pub struct Gate {}

impl Gate {
    /// Who makes this call; `None` where nobody has to be known.
    ///
    /// # Errors
    /// Nobody is known, or who is may not make it.
    pub async fn admit(request: &ServiceRequest, least: Least) -> Result<Option<Person>, ApiError> {
        let gate = request.app_data::<web::Data<Self>>();
        let gate = gate.ok_or_else(|| ApiError::unavailable("nobody decides who may do this"))?.clone();
        match (gate.who(request).await, least.role()) {
            (person, None) => Ok(person.ok().flatten()),
            (Err(error), _) => Err(error),
            (Ok(None), _) => Err(ApiError::unknown("log in first")),
            (Ok(Some(person)), Some(role)) if person.may(role) => Ok(Some(person)),
            (Ok(Some(person)), Some(role)) => {
                let (has, needs) = (person.role.name(), role.name());
                Err(ApiError::forbidden(format!("this needs the role {needs}; {} has the role {has}", person.name)))
            }
        }
    }

    async fn who(&self, request: &ServiceRequest) -> Result<Option<Person>, ApiError> {
        let address = request.peer_addr().map_or_else(|| "unknown".to_owned(), |peer| peer.ip().to_string());
        Ok(Some(Person::local(address)))
    }
}
