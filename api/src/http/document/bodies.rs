//! What requests and answers carry: closed requests, conditions as the tree that they are.

use serde_json::{Value, json};
use shared::{
    entity::Kind,
    specification::{MOST_DEPTH, MOST_TERMS, MOST_VALUES},
};
use strum::VariantArray;

const JSON: &str = "application/json";

pub(super) fn complete(document: &mut Value) {
    let mut closed = Vec::new();
    for (_, method, operation) in super::operations(document) {
        plain_media_types(operation.get_mut("responses"));
        let Some(content) = operation.get_mut("requestBody").and_then(|body| body.get_mut("content")) else { continue };
        if let Some(name) = content[JSON]["schema"]["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            closed.push(name.to_owned());
        }
        if method == "patch" {
            content["application/merge-patch+json"] = content[JSON].clone();
        }
    }
    let schemas = &mut document["components"]["schemas"];
    for name in closed {
        close(schemas, &name);
    }
    schemas["Specification"] = specification();
    for request in ["QueryRequest", "WarmRequest"] {
        let condition = &mut schemas[request]["properties"]["where"];
        let description = condition["description"].clone();
        *condition = json!({ "description": description, "allOf": [{ "$ref": "#/components/schemas/Specification" }] });
    }
    let entities = Kind::VARIANTS.iter().map(|kind| json!({ "$ref": format!("#/components/schemas/{kind:?}") }));
    schemas["QueryAnswer"]["properties"]["items"]["items"] = json!({ "anyOf": entities.collect::<Vec<_>>() });
    // The history's `after` is the entity; what a field held may be anything.
    for object in ["key", "values"] {
        schemas["AnsweredGroup"]["properties"][object] = json!({ "type": "object", "additionalProperties": {} });
    }
}

/// Says that an object that is sent has no other fields, which is enforced. Answers stay open: fields are added.
fn close(schemas: &mut Value, name: &str) {
    let schema = &mut schemas[name];
    if schema["properties"].is_null() || schema["additionalProperties"] == json!(false) {
        return;
    }
    schema["additionalProperties"] = json!(false);
    let properties = schema["properties"].clone();
    for property in properties.as_object().into_iter().flat_map(|properties| properties.values()) {
        let inner = [&property["$ref"], &property["items"]["$ref"]].into_iter().find_map(Value::as_str);
        if let Some(inner) = inner.and_then(|path| path.rsplit('/').next()) {
            close(schemas, inner);
        }
    }
}

/// `application/json; charset=utf-8` is the same to a client, and no generator knows it.
fn plain_media_types(responses: Option<&mut Value>) {
    for response in responses.and_then(Value::as_object_mut).into_iter().flat_map(|responses| responses.values_mut()) {
        let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) else { continue };
        if let Some(media) = content.remove("application/json; charset=utf-8") {
            content.insert(JSON.to_owned(), media);
        }
    }
}

/// The tree that `Specification::parse` reads. One flat object, as generators of clients make something readable of
/// that; which members go together is said in words and enforced.
fn specification() -> Value {
    let this = json!({ "$ref": "#/components/schemas/Specification" });
    let list = |description: &str| json!({ "type": "array", "items": this, "description": description });
    json!({
        "type": "object",
        "description": format!(
            "A condition: either `field`, `op` and `value`, or one of `all`, `any` and `not`. At most {MOST_DEPTH} \
             levels, {MOST_TERMS} tests, {MOST_VALUES} values of one `in`. Comparing with a missing value is false, and \
             `not` is the exact complement."
        ),
        "minProperties": 1,
        "maxProperties": 3,
        "properties": {
            "all": list("Every one of these; without any, everything."),
            "any": list("At least one of these; without any, nothing."),
            "not": { "allOf": [this], "description": "What does not fulfil this." },
            "field": { "type": "string", "description": "One of the entity's fields." },
            "op": {
                "type": "string",
                "enum": ["eq", "ne", "lt", "lte", "gt", "gte", "in", "is_null", "prefix", "contains"],
            },
            "value": {
                "description": "Of the field's type: text, also for amounts and times, or an integer. Of `in` an array, \
                                of `is_null` true or false.",
            },
        },
        "additionalProperties": false,
        "example": { "field": "status", "op": "eq", "value": "active" },
    })
}
