//! The `OpenAPI` document as it is published: what the framework writes, completed.
//!
//! A generic implementation carries only what is the same for all entities, so names of operations, parameters of
//! lists and the answers that an operation can give are written here, from the method and the path.

mod bodies;
mod examples;
mod operations;
mod parameters;
mod responses;

use serde_json::{Map, Value, json};

/// Completes the framework's document.
pub(super) fn published(written: &str) -> serde_json::Result<Value> {
    let mut document: Value = serde_json::from_str(written)?;
    document["servers"] = json!([{ "url": "/", "description": "Where this document comes from." }]);
    correct(&mut document);
    add_security(&mut document);
    bodies::complete(&mut document);
    for (path, method, operation) in operations(&mut document) {
        operations::name(&path, method, operation);
        parameters::complete(&path, method, operation);
        responses::complete(&path, method, operation);
    }
    responses::add_components(&mut document);
    examples::complete(&mut document);
    Ok(document)
}

/// One of the document's operations with its path and method.
type Operation<'a> = (String, &'static str, &'a mut Map<String, Value>);

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn operations(document: &mut Value) -> Vec<Operation<'_>> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let method = METHODS.into_iter().find(|known| known == method);
            if let (Some(method), Some(operation)) = (method, operation.as_object_mut()) {
                found.push((path.clone(), method, operation));
            }
        }
    }
    found
}

/// The framework gives every optional field the default null, which its schema does not allow, and leaves it to the
/// format to say that a number is not negative. It writes limits as floats, which clients would be told: `at most 5.0`.
fn correct(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.retain(|name, value| name != "default" || !value.is_null());
            for member in members.values_mut() {
                correct(member);
            }
            let unsigned =
                members.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint"));
            if unsigned && !members.contains_key("minimum") {
                members.insert("minimum".to_owned(), json!(0));
            }
            if let Some(parts) = members.get_mut("allOf").and_then(Value::as_array_mut) {
                parts.retain(|part| part.as_object().is_none_or(|part| !part.is_empty()));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(correct),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0)
                && let Ok(whole) = format!("{whole:.0}").parse::<i64>()
            {
                *number = whole.into();
            }
        }
        _ => {}
    }
}

/// Published while the service is still open to everyone: clients that send a token already are right.
fn add_security(document: &mut Value) {
    document["components"]["securitySchemes"]["bearer"] = json!({
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Not asked for yet: whoever reaches the service can do everything.",
    });
    document["security"] = json!([{}, { "bearer": [] }]);
}
