//! An example of everything that is sent and answered, made of the schemas.

use serde_json::{Map, Value, json};

/// Deeper than any of our schemas, but for the one that contains itself.
const MOST_DEPTH: usize = 8;

pub(super) fn complete(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    for (_, _, operation) in super::operations(document) {
        for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
            if parameter.get("example").is_none() && !has_none(parameter) {
                parameter["example"] = of_parameter(parameter, &schemas);
            }
        }
        add(operation.get_mut("requestBody"), &schemas);
        let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
        for (_, response) in responses.into_iter().flatten() {
            add(Some(response), &schemas);
        }
    }
}

fn add(carrier: Option<&mut Value>, schemas: &Value) {
    let content = carrier.and_then(|carrier| carrier.get_mut("content")).and_then(Value::as_object_mut);
    for (_, media) in content.into_iter().flatten() {
        if media.get("examples").is_none() {
            media["example"] = of_schema(&media["schema"], schemas, 0);
        }
    }
}

/// A cursor is signed, so none can be made up; and a request with all examples at once must be one.
fn has_none(parameter: &Value) -> bool {
    parameter["name"] == "after" || (parameter["name"] == "If-None-Match" && !parameter["schema"]["enum"].is_null())
}

fn of_parameter(parameter: &Value, schemas: &Value) -> Value {
    match parameter["name"].as_str().unwrap_or_default() {
        "id" | "user_id" => json!("user123"),
        "category" => json!("shoes"),
        "kind" => json!("user"),
        "type" => json!("mysql"),
        "q" => json!("ada"),
        "If-Match" | "If-None-Match" => json!("\"1\""),
        "Idempotency-Key" => json!("0198c0de-0000-7000-8000-000000000002"),
        _ => of_schema(&parameter["schema"], schemas, 0),
    }
}

fn of_schema(schema: &Value, schemas: &Value, depth: usize) -> Value {
    if depth > MOST_DEPTH {
        return Value::Null;
    }
    let below = |schema: &Value| of_schema(schema, schemas, depth + 1);
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return below(&schemas[name]);
    }
    let given = [&schema["example"], &schema["default"], &schema["enum"][0]];
    if let Some(given) = given.into_iter().find(|given| !given.is_null()) {
        return given.clone();
    }
    for parts in ["allOf", "anyOf", "oneOf"] {
        if let Some(first) = schema[parts].get(0) {
            return below(first);
        }
    }
    match schema["type"].as_str() {
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            // What fails only shows where something failed.
            Value::Object(
                properties
                    .map(|(name, schema)| (name.clone(), of_property(name, below(schema))))
                    .collect::<Map<_, _>>(),
            )
        }
        Some("array") => json!([below(&schema["items"])]),
        Some("string") => json!(of_format(schema["format"].as_str())),
        Some("integer") => schema["minimum"].as_i64().map_or(json!(1), |least| json!(least.max(1))),
        Some("number") => json!(1.5),
        Some("boolean") => json!(false),
        _ => Value::Null,
    }
}

/// Where the name tells more than the type.
fn of_property(name: &str, value: Value) -> Value {
    match (name, value.as_str()) {
        ("name", Some("text")) => json!("Ada Lovelace"),
        ("email", Some("text")) => json!("ada@example.com"),
        ("sku", Some("text")) => json!("SHOE-RED-42"),
        ("category", Some("text")) => json!("shoes"),
        ("gateway", Some("text")) => json!("stripe"),
        ("product_id", _) => json!("shoes-1"),
        _ => value,
    }
}

fn of_format(format: Option<&str>) -> &'static str {
    match format {
        Some("email") => "ada@example.com",
        Some("date-time") => "2026-01-31T12:00:00.000Z",
        _ => "text",
    }
}
