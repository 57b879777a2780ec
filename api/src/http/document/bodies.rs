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
        // Which is enforced. Answers stay open: fields are added.
        schemas[name.as_str()]["additionalProperties"] = json!(false);
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

/// `application/json; charset=utf-8` is the same to a client, and no generator knows it.
fn plain_media_types(responses: Option<&mut Value>) {
    for response in responses.and_then(Value::as_object_mut).into_iter().flat_map(|responses| responses.values_mut()) {
        let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) else { continue };
        if let Some(media) = content.remove("application/json; charset=utf-8") {
            content.insert(JSON.to_owned(), media);
        }
    }
}

/// The tree that `Specification::parse` reads.
fn specification() -> Value {
    let this = json!({ "$ref": "#/components/schemas/Specification" });
    let only = |name: &str, schema: Value| json!({ "type": "object", "required": [name], "properties": { name: schema }, "additionalProperties": false });
    let list = json!({ "type": "array", "items": this });
    let test = json!({
        "type": "object",
        "required": ["field", "op", "value"],
        "properties": {
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
    });
    json!({
        "description": format!(
            "A condition: a test of one field, or `all`, `any`, `not` of others. At most {MOST_DEPTH} levels, \
             {MOST_TERMS} tests, {MOST_VALUES} values of one `in`. Comparing with a missing value is false, and `not` \
             is the exact complement."
        ),
        "oneOf": [only("all", list.clone()), only("any", list), only("not", this), test],
        "example": { "field": "status", "op": "eq", "value": "active" },
    })
}
