//! The API's description, OpenAPI 3.1, made from the table of calls: what isn't described isn't there, and what is
//! there is described. What bodies and answers are made of stands in schemas.json.

use super::{
    ask,
    route::{Answer, BASE, Kind, Parameter, Place, Route},
    routes,
};
use actix_web::HttpResponse;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

const SCHEMAS: &str = include_str!("schemas.json");

/// `GET /api/v1/openapi.json`.
pub async fn show() -> HttpResponse {
    static MADE: OnceLock<Value> = OnceLock::new();
    ask::json(MADE.get_or_init(|| describe(routes::all())))
}

fn describe<'a>(table: impl Iterator<Item = &'a Route>) -> Value {
    let mut paths = Map::new();
    for route in table {
        let path = paths.entry(format!("{BASE}{}", route.plain_path())).or_insert_with(|| json!({}));
        path[route.verb.name()] = operation(route);
    }
    // A test reads it: it is an object.
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "logweir", "version": env!("CARGO_PKG_VERSION"),
            "description": "What the pages of logweir ask. A call needs a session's cookie or a token; a change by a \
                session needs the headers X-Logweir: 1 and X-CSRF-Token.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": "logweir_session" },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route.parameters.iter().map(parameter).collect();
    if route.verb.method() != actix_web::http::Method::GET {
        parameters.push(json!({
            "name": "X-Logweir", "in": "header", "required": true, "schema": { "const": "1" },
            "description": "No other site can send it.",
        }));
    }
    let mut made = json!({
        "operationId": format!("{}_{}", route.verb.name(), name(route)), "summary": route.summary,
        "parameters": parameters, "responses": responses(route), "x-least-role": role(route),
        "security": if route.least.role().is_none() { json!([]) } else { json!([{ "token": [] }, { "session": [] }]) },
    });
    if let Some(body) = route.body {
        made["requestBody"] = json!({
            "required": true, "content": { "application/json": { "schema": reference(body.schema) } },
        });
    }
    made
}

fn role(route: &Route) -> &'static str {
    route.least.role().map_or("none", |role| role.name())
}

/// The path as one word.
fn name(route: &Route) -> String {
    let parts = route.plain_path();
    let parts = parts.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("_")
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Whole(from, i64::MAX) => json!({ "type": "integer", "minimum": from }),
        Kind::Whole(from, to) => json!({ "type": "integer", "minimum": from, "maximum": to }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Choice(values) => json!({ "enum": values }),
        Kind::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
    };
    let place = match parameter.place {
        Place::Query => "query",
        Place::Path => "path",
        Place::Header => "header",
    };
    json!({
        "name": parameter.name, "in": place, "required": parameter.required, "description": parameter.text,
        "schema": schema,
    })
}

fn responses(route: &Route) -> Value {
    let json_of = |schema| json!({ "application/json": { "schema": reference(schema) } });
    let (status, content) = match route.answer {
        Answer::Json(schema) => (200, Some(json_of(schema))),
        Answer::Created(schema) => (201, Some(json_of(schema))),
        Answer::Nothing => (204, None),
        Answer::Stream(kinds) => {
            let kinds = kinds.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": { "type": "string" } })));
            (200, Some(Value::Object(kinds.collect())))
        }
    };
    let mut all = json!({ status.to_string(): { "description": "Done." } });
    if let Some(content) = content {
        all[status.to_string()]["content"] = content;
    }
    let always = [400, 403, 503];
    let unknown = route.least.role().map(|_| 401);
    for status in always.iter().chain(&unknown).chain(route.refusals) {
        all[status.to_string()] = json!({ "description": meaning(*status), "content": json_of("Error") });
    }
    all
}

/// What a refusal means, whichever call gives it.
fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The question is wrong; the text says what.",
        401 => "Nobody is logged in, or the token isn't valid.",
        403 => "Not allowed for this role, or not from there.",
        404 => "There is no such thing.",
        408 => "It took too long.",
        409 => "Somebody else was faster, or it is there already.",
        413 => "The body is too large.",
        422 => "The query takes too long or too much memory.",
        429 => "Too often; Retry-After says when to try again.",
        503 => "What is needed doesn't answer now.",
        _ => "Refused.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The names that the schemas refer to.
    fn referred(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                if let Some(name) = members.get("$ref").and_then(Value::as_str) {
                    into.insert(name.rsplit('/').next().unwrap_or_default().to_owned());
                }
                members.values().for_each(|member| referred(member, into));
            }
            Value::Array(items) => items.iter().for_each(|item| referred(item, into)),
            _ => {}
        }
    }

    #[test]
    fn every_call_is_described_and_every_schema_is_there_and_used() {
        let made = describe(routes::all());
        let operations: Vec<&Value> =
            made["paths"].as_object().unwrap().values().flat_map(|p| p.as_object().unwrap().values()).collect();
        assert_eq!(operations.len(), routes::all().count());
        let ids: BTreeSet<&str> = operations.iter().map(|o| o["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), operations.len(), "each has an id of its own");
        let mut used = BTreeSet::new();
        referred(&made, &mut used);
        let there: BTreeSet<String> = made["components"]["schemas"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(used, there);
    }

    #[test]
    fn parameters_of_the_path_are_those_that_are_described() {
        for route in routes::all() {
            let path = route.plain_path();
            let in_path: BTreeSet<&str> = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
            let told = route.parameters.iter().filter(|p| p.place == Place::Path);
            assert_eq!(told.map(|p| p.name).collect::<BTreeSet<_>>(), in_path, "{path}");
            assert!(!route.summary.is_empty() && route.parameters.iter().all(|p| !p.text.is_empty()), "{path}");
        }
    }
}
