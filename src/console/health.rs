//! Whether the console is well. The problem: whoever runs the machines asks by a program that knows no password and needs
//! no more than yes or no; but the reasons name servers and keys, so they are for people who may look.

use super::{
    gate::{Gate, Person},
    route::Least,
};
use crate::telemetry::{Health, HealthReport};
use actix_web::{
    Error, HttpMessage as _, HttpResponse,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::{Next, from_fn},
    web,
};
use serde_json::json;

/// A path, and what has to be well there.
type Part = (&'static str, fn(&HealthReport) -> bool);

/// `/health` and its parts.
pub fn register(config: &mut web::ServiceConfig, health: Health) {
    config.app_data(web::Data::new(health));
    let parts: [Part; 3] = [
        ("/health", |report| report.live && report.ready),
        ("/health/live", |report| report.live),
        ("/health/ready", |report| report.ready),
    ];
    for (path, is_well) in parts {
        let show = move |health: web::Data<Health>, person: Option<Person>| async move {
            answer(&health.report(), is_well, person.as_ref())
        };
        config.route(path, web::get().to(show).wrap(from_fn(known)));
    }
}

/// Lets everybody in, and those who say who they are as who they are.
async fn known(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Ok(Some(person)) = Gate::admit(&request, Least::Open).await {
        request.extensions_mut().insert(person);
    }
    next.call(request).await
}

fn answer(report: &HealthReport, is_well: fn(&HealthReport) -> bool, person: Option<&Person>) -> HttpResponse {
    let mut answer = if is_well(report) { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    if person.is_some_and(|person| person.topics.all()) {
        return answer.json(report);
    }
    let status = match (report.live, report.ready) {
        (false, _) => "dead",
        (true, false) => "not ready",
        (true, true) => "ready",
    };
    answer.json(json!({ "status": status }))
}
