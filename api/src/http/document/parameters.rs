//! The parameters of lists, which depend on the fields of the entity.

use serde_json::{Map, Value, json};
use shared::entity::Kind;
use strum::VariantArray;

use crate::http::lists::{FilterForm, MOST_LIMIT, MOST_OFFSET, forms};

const FIRST_PAGE: u32 = 20;

/// Says what the headers must look like, and adds its parameters to an operation that answers a part of a list.
pub(super) fn complete(path: &str, method: &str, operation: &mut Map<String, Value>) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        constrain(parameter, method);
    }
    let lists = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        .as_str()
        .is_some_and(|schema| schema.contains("/Page_"));
    let kind = Kind::VARIANTS.iter().find(|kind| path.split('/').nth(3) == Some(kind.plural()));
    let (true, Some(kind)) = (lists, kind) else { return };
    let (filters, sortable) = forms(*kind);
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let Some(parameters) = parameters.as_array_mut() else { return };
    parameters.extend(paging(&sortable));
    parameters.extend(filters.into_iter().map(filter));
}

fn paging(sortable: &[&str]) -> Vec<Value> {
    let sorts: Vec<_> = sortable.iter().flat_map(|field| [(*field).to_owned(), format!("-{field}")]).collect();
    vec![
        json!({
            "name": "limit", "in": "query", "description": "How many at the most.",
            "schema": { "type": "integer", "minimum": 1, "maximum": MOST_LIMIT, "default": FIRST_PAGE },
        }),
        json!({
            "name": "offset", "in": "query", "description": "How many to pass over. Not beside `after`.",
            "schema": { "type": "integer", "minimum": 0, "maximum": MOST_OFFSET },
        }),
        json!({
            "name": "after", "in": "query",
            "description": "A cursor, `next` of the part before, with the same filters and sort.",
            "schema": { "type": "string" },
        }),
        json!({
            "name": "sort", "in": "query", "description": "By which field, with `-` for descending.",
            "schema": { "type": "string", "enum": sorts, "default": "-created_at" },
        }),
        json!({
            "name": "Prefer", "in": "header", "description": "`count=exact` counts all, as `total` (RFC 7240).",
            "schema": { "type": "string" }, "example": "count=exact",
        }),
    ]
}

fn filter(FilterForm { name, description, schema, many }: FilterForm) -> Value {
    let mut parameter = json!({ "name": name, "in": "query", "description": description });
    parameter["schema"] = schema;
    if many {
        parameter["style"] = json!("form");
        parameter["explode"] = json!(false);
    }
    parameter
}

/// What the headers of conditions and keys must look like.
const HEADERS: [(&str, &str); 2] =
    [("If-Match", r#"^("[0-9]{1,16}"|[*])$"#), ("Idempotency-Key", r#"^([!#-~]{1,255}|"[!#-~]{1,255}")$"#)];

fn constrain(parameter: &mut Value, method: &str) {
    let pattern = HEADERS.iter().find(|(name, _)| parameter["name"] == *name).map(|(_, pattern)| *pattern);
    if let Some(pattern) = pattern {
        parameter["schema"]["pattern"] = json!(pattern);
    }
    if parameter["name"] == "id" && parameter["in"] == "path" {
        parameter["schema"]["pattern"] = json!("^[A-Za-z0-9_-]{1,64}$");
    }
    if parameter["name"] == "If-None-Match" && method == "put" {
        parameter["schema"]["enum"] = json!(["*"]);
    }
}
