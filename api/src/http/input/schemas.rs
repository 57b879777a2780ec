//! The rules of all request bodies, made of the published document, and how a broken one is told.

use std::{collections::HashMap, sync::Arc};

use jsonschema::{Keyword, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Value, json};
use shared::{
    entity::Id,
    money::{AmountInput, AmountInputError, Currency},
    violation::Violation,
};

use crate::http::problem::{Code, Problem};

/// The checks of all request bodies, made of the published document.
#[derive(Clone)]
pub(crate) struct Schemas {
    validators: Arc<HashMap<String, Validator>>,
    pub(super) max_body_bytes: usize,
}

impl Schemas {
    /// # Errors
    /// If a schema of the document is not one.
    pub(crate) fn new(document: &Value, max_body_bytes: usize) -> anyhow::Result<Self> {
        let components = enforceable(&document["components"]);
        let mut validators = HashMap::new();
        for name in components["schemas"].as_object().into_iter().flat_map(|schemas| schemas.keys()) {
            let schema = json!({ "$ref": format!("#/components/schemas/{name}"), "components": components });
            // OpenAPI 3.0 builds on a schema dialect of which draft 4 is the nearest.
            let validator = jsonschema::options()
                .with_draft(jsonschema::Draft::Draft4)
                .should_validate_formats(true)
                .with_format("email", |text: &str| email_address::EmailAddress::is_valid(text))
                .with_format("id", |text: &str| text.parse::<Id>().is_ok())
                .with_format("currency", |text: &str| text.parse::<Currency>().is_ok())
                .with_keyword(AMOUNT, |_, _, _| Ok(Box::new(AmountRule)))
                .build(&schema)
                .map_err(|error| anyhow::anyhow!("the schema {name} cannot be used: {error}"))?;
            validators.insert(name.clone(), validator);
        }
        Ok(Self { validators: Arc::new(validators), max_body_bytes })
    }

    pub(super) fn check(&self, schema: &str, value: &Value) -> Result<Vec<Violation>, Problem> {
        let Some(validator) = self.validators.get(schema) else {
            tracing::error!(schema, "the document lacks a schema");
            return Err(Problem::new(Code::Internal));
        };
        Ok(validator.iter_errors(value).flat_map(|error| violations(&error)).collect())
    }
}

const CONDITION: &str = "#/components/schemas/Specification";

/// Names the rule for amounts in the schemas that are enforced.
const AMOUNT: &str = "x-amount";

struct AmountRule;

impl<'i> Keyword<'i> for AmountRule {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        AmountInput::read(instance).map(|_| ()).map_err(|error| ValidationError::custom(error.to_string()))
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        AmountInput::read(instance).is_ok()
    }
}

/// The published schemas in the words of the dialect that is checked: `nullable` is none of them, and of an amount
/// the two forms would be told apart from each other only, not what is wrong with either.
fn enforceable(schema: &Value) -> Value {
    match schema {
        Value::Object(members) if members.get("format") == Some(&json!("amount")) => json!({ AMOUNT: true }),
        // Read by its own parser, which says what is wrong with it.
        Value::Object(members) if members.get("$ref") == Some(&json!(CONDITION)) => json!({}),
        Value::Object(members) if members.get("nullable") == Some(&json!(true)) => {
            let mut members = members.clone();
            members.remove("nullable");
            json!({ "anyOf": [{ "type": "null" }, enforceable(&Value::Object(members))] })
        }
        Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), enforceable(member))).collect(),
        Value::Array(items) => items.iter().map(enforceable).collect(),
        scalar => scalar.clone(),
    }
}

/// What clients are told of a broken rule. Never the value: it may be personal.
fn violations(error: &ValidationError<'_>) -> Vec<Violation> {
    let pointer = error.instance_path().to_string();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|name| {
                let pointer = Violation::member(&pointer, name);
                Violation::at(&pointer, "unknown-field", "there is no such field".to_owned())
            })
            .collect(),
        ValidationErrorKind::Required { property } => {
            let pointer = Violation::member(&pointer, property.as_str().unwrap_or_default());
            vec![Violation::at(&pointer, "required", "the field is missing".to_owned())]
        }
        // It may be null: what else it may be is what matters.
        ValidationErrorKind::AnyOf { context } => match context.last() {
            Some(errors) => errors.iter().flat_map(violations).collect(),
            None => Vec::new(),
        },
        ValidationErrorKind::Custom { message, .. } => {
            vec![Violation::at(&pointer, amount_code(error.instance()), message.clone())]
        }
        kind => {
            let (code, detail) = explain(kind);
            vec![Violation::at(&pointer, code, detail)]
        }
    }
}

fn amount_code(instance: &Value) -> &'static str {
    AmountInput::read(instance).err().map_or("invalid", AmountInputError::code)
}

fn explain(kind: &ValidationErrorKind) -> (&'static str, String) {
    match kind {
        ValidationErrorKind::Type { .. } => ("wrong-type", "the value has another type".to_owned()),
        ValidationErrorKind::Enum { options } => ("not-allowed", format!("must be one of {options}")),
        ValidationErrorKind::Format { format } => ("invalid-format", format!("must be of the format {format}")),
        ValidationErrorKind::Pattern { pattern } => ("invalid-format", format!("must match {pattern}")),
        ValidationErrorKind::MinLength { limit } => ("too-short", format!("at least {limit} characters")),
        ValidationErrorKind::MaxLength { limit } => ("too-long", format!("at most {limit} characters")),
        ValidationErrorKind::MinItems { limit } => ("too-short", format!("at least {limit} items")),
        ValidationErrorKind::MaxItems { limit } => ("too-long", format!("at most {limit} items")),
        ValidationErrorKind::Minimum { limit } => ("out-of-range", format!("at least {limit}")),
        ValidationErrorKind::Maximum { limit } => ("out-of-range", format!("at most {limit}")),
        other => ("invalid", format!("breaks the rule {}", other.keyword())),
    }
}
