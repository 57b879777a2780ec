//! Every status that an operation can answer, with the problems behind it.

use serde_json::{Map, Value, json};
use strum::VariantArray;

use crate::http::problem::{CONTENT_TYPE, Code};

/// Adds what can go wrong, by what the operation takes and does.
pub(super) fn complete(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten();
    for (_, response) in responses {
        complete_success(response);
    }
    if method == "post" {
        link(path, operation);
    }
    let has_body = operation.contains_key("requestBody");
    let has_inputs = has_body
        || operation
            .get("parameters")
            .and_then(Value::as_array)
            .is_some_and(|it| it.iter().any(|parameter| parameter["in"] != "path"));
    let of_entity = path.starts_with("/api/v1/") && !path.starts_with("/api/v1/repositories");
    let writes = of_entity && method != "get";
    let of_one = path.contains("{id}") || path.contains("{type}");
    let conditional = writes && of_one;
    let reads_many = method == "get" && of_entity && !path.ends_with("/{id}");
    let statuses = [
        (400, has_inputs),
        (404, of_one),
        (409, writes),
        (412, conditional || (of_entity && path.ends_with("/{id}"))),
        (413, has_body),
        (415, has_body),
        (422, writes || has_body || reads_many),
        (428, conditional),
        (500, true),
        (503, true),
        (504, true),
    ];
    for (status, _) in statuses.into_iter().filter(|(_, possible)| *possible) {
        let response = &mut operation["responses"][status.to_string()];
        // A summary of its own is what `/health` answers when it is down.
        if response.is_null() || !response["content"][CONTENT_TYPE].is_null() {
            *response = json!({ "$ref": format!("#/components/responses/Problem{status}") });
        }
    }
}

/// As they are written; the framework shouts.
const HEADERS: [&str; 4] = ["ETag", "Link", "Location", "Preference-Applied"];

fn complete_success(response: &mut Value) {
    if response["description"].as_str().is_none_or(str::is_empty) {
        response["description"] = json!("What was asked for.");
    }
    for name in HEADERS {
        let written = response.get_mut("headers").and_then(Value::as_object_mut);
        if let Some(header) = written.and_then(|headers| headers.remove(&name.to_uppercase())) {
            response["headers"][name] = header;
        }
    }
    response["headers"]["X-Request-Id"] = json!({ "$ref": "#/components/headers/RequestId" });
}

/// What a client can do with what it created.
fn link(path: &str, operation: &mut Map<String, Value>) {
    let Some(name) = operation["operationId"].as_str().and_then(|name| name.strip_prefix("create")).map(str::to_owned)
    else {
        return;
    };
    if path.ends_with("/batch") {
        return;
    }
    for (verb, behind) in [("get", ""), ("replace", ""), ("change", ""), ("delete", ""), ("get", "History")] {
        let target = format!("{verb}{name}{behind}");
        operation["responses"]["201"]["links"][&target] =
            json!({ "operationId": target, "parameters": { "id": "$response.body#/id" } });
    }
}

/// The answers that are the same wherever they are given.
pub(super) fn add_components(document: &mut Value) {
    let components = &mut document["components"];
    components["headers"]["RequestId"] = json!({
        "description": "The request's own id, or the one that was made for it; in the log and the events.",
        "required": true,
        "schema": { "type": "string" },
    });
    components["headers"]["RetryAfter"] =
        json!({ "description": "In seconds.", "schema": { "type": "integer", "minimum": 0 } });
    for code in Code::VARIANTS {
        let status = code.status().as_u16();
        let response = &mut components["responses"][format!("Problem{status}")];
        if response.is_null() {
            *response = json!({
                "description": "",
                "headers": { "X-Request-Id": { "$ref": "#/components/headers/RequestId" } },
                "content": { CONTENT_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } },
            });
        }
        let described = response["description"].as_str().unwrap_or_default();
        let separator = if described.is_empty() { "" } else { " " };
        response["description"] = json!(format!("{described}{separator}`{code}`: {}.", code.title()));
        if code.is_worth_repeating() {
            response["headers"]["Retry-After"] = json!({ "$ref": "#/components/headers/RetryAfter" });
        }
        response["content"][CONTENT_TYPE]["examples"][code.to_string()]["value"] = json!({
            "type": format!("/problems/{code}"),
            "title": code.title(),
            "status": status,
            "instance": "/api/v1/users/user123",
            "code": code.to_string(),
            "request_id": "0198c0de-0000-7000-8000-000000000001",
        });
    }
}
