//! The names of operations: `listUsers`, `getUser`, `createUserBatch`, `listOrdersByUser`.

use serde_json::{Map, Value, json};

/// Names an operation of a generic route after its method and path. Those of one entity bring their own names.
pub(super) fn name(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let segments: Vec<&str> = path.trim_start_matches("/api/v1/").split('/').collect();
    let name = match (method, segments.as_slice()) {
        ("get", [resource]) => format!("list{}", plural(resource)),
        ("post", [resource]) => format!("create{}", singular(resource)),
        ("post", [resource, "batch"]) => format!("create{}Batch", singular(resource)),
        ("get", [resource, "user", _]) => format!("list{}ByUser", plural(resource)),
        ("get", [resource, _]) => format!("get{}", singular(resource)),
        ("put", [resource, _]) => format!("replace{}", singular(resource)),
        ("patch", [resource, _]) => format!("change{}", singular(resource)),
        ("delete", [resource, _]) => format!("delete{}", singular(resource)),
        ("get", [resource, _, "history"]) => format!("get{}History", singular(resource)),
        _ => return,
    };
    operation.entry("operationId").or_insert_with(|| json!(name));
}

/// `users` as `Users`.
fn plural(resource: &str) -> String {
    let mut letters = resource.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn singular(resource: &str) -> String {
    plural(resource.trim_end_matches('s'))
}
