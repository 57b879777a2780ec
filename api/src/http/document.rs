//! The `OpenAPI` document as it is published: what the framework writes, completed.

use serde_json::{Map, Value, json};

const METHODS: [(&str, &str); 5] =
    [("post", "create"), ("get", "get"), ("put", "replace"), ("patch", "change"), ("delete", "delete")];

/// Completes the framework's document.
pub(super) fn published(written: &str) -> serde_json::Result<Value> {
    let mut document: Value = serde_json::from_str(written)?;
    name_operations(&mut document);
    close_request_bodies(&mut document);
    Ok(document)
}

/// The operations of the generic routes get their names from method and path: `listUsers`, `getUser`. A generic
/// implementation can only carry a literal, which would be the same for all entities.
fn name_operations(document: &mut Value) {
    for (path, item) in members(&mut document["paths"]) {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let one = segments.last().is_some_and(|segment| segment.starts_with('{'));
        let Some(resource) = segments.iter().rev().find(|segment| !segment.starts_with('{')) else { continue };
        for (method, verb) in METHODS {
            let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) else { continue };
            let verb = if method == "get" && !one { "list" } else { verb };
            let singular = one || method == "post";
            operation.entry("operationId").or_insert_with(|| json!(format!("{verb}{}", noun(resource, singular))));
        }
    }
}

/// `users` as `Users` or `User`.
fn noun(resource: &str, singular: bool) -> String {
    let mut letters = if singular { resource.trim_end_matches('s') } else { resource }.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Says of each request body that it has no other fields, which is enforced. Answers stay open: fields are added.
fn close_request_bodies(document: &mut Value) {
    let mut names = Vec::new();
    for (_, item) in members(&mut document["paths"]) {
        for (_, operation) in members(item) {
            let content = &operation["requestBody"]["content"]["application/json"];
            if let Some(name) = content["schema"]["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
                names.push(name.to_owned());
            }
        }
    }
    for name in names {
        document["components"]["schemas"][name.as_str()]["additionalProperties"] = json!(false);
    }
}

fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flat_map(Map::iter_mut)
}
