//! The body of a request: JSON that keeps the rules of its schema.
//!
//! The published schema *is* the check, so that the document cannot promise what is not enforced, and all violations
//! are told at once.

use std::{collections::HashMap, sync::Arc};

use jsonschema::{Validator, error::ValidationErrorKind};
use poem::{FromRequest, Request, RequestBody, error::ReadBodyError, web::Data};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    error::ContentTypeError,
    payload::{Json, Payload},
    registry::{MetaMediaType, MetaRequest, Registry},
    types::ParseFromJSON,
};
use serde_json::{Value, json};
use shared::entity::Id;

use super::problem::{Code, Problem, Violation};

/// A request's body of the type `T`, checked.
pub(crate) struct Input<T>(pub(crate) T);

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for Input<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        match request.content_type() {
            Some(content_type) if Json::<T>::check_content_type(content_type) => {}
            Some(content_type) => {
                return Err(ContentTypeError::NotSupported { content_type: content_type.to_owned() }.into());
            }
            None => return Err(ContentTypeError::ExpectContentType.into()),
        }
        let schemas = <Data<&Schemas> as FromRequest>::from_request(request, body).await?;
        let read = body.take()?.into_bytes_limit(schemas.max_body_bytes).await;
        let bytes = read.map_err(|error| match error {
            ReadBodyError::PayloadTooLarge => Problem::new(Code::BodyTooLarge)
                .with_detail(format!("at most {} bytes are accepted", schemas.max_body_bytes)),
            _ => Problem::new(Code::InvalidJson).with_detail("the body did not arrive whole"),
        })?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
            Problem::new(Code::InvalidJson).with_detail(format!("at line {} column {}", error.line(), error.column()))
        })?;
        let violations = schemas.check(&T::name(), &value)?;
        if !violations.is_empty() {
            return Err(Problem::invalid(violations).into());
        }
        // What the schema could not say.
        let parsed = T::parse_from_json(Some(value))
            .map_err(|error| Problem::invalid(vec![violation(String::new(), "invalid", error.into_message())]))?;
        Ok(Self(parsed))
    }
}

/// The checks of all request bodies, made of the published document.
#[derive(Clone)]
pub(crate) struct Schemas {
    validators: Arc<HashMap<String, Validator>>,
    max_body_bytes: usize,
}

impl Schemas {
    /// # Errors
    /// If a schema of the document is not one.
    pub(crate) fn new(document: &Value, max_body_bytes: usize) -> anyhow::Result<Self> {
        let components = &document["components"];
        let mut validators = HashMap::new();
        for name in components["schemas"].as_object().into_iter().flat_map(|schemas| schemas.keys()) {
            let schema = json!({ "$ref": format!("#/components/schemas/{name}"), "components": components });
            // OpenAPI 3.0 builds on a schema dialect of which draft 4 is the nearest.
            let validator = jsonschema::options()
                .with_draft(jsonschema::Draft::Draft4)
                .should_validate_formats(true)
                .with_format("email", |text: &str| email_address::EmailAddress::is_valid(text))
                .with_format("id", |text: &str| text.parse::<Id>().is_ok())
                .build(&schema)
                .map_err(|error| anyhow::anyhow!("the schema {name} cannot be used: {error}"))?;
            validators.insert(name.clone(), validator);
        }
        Ok(Self { validators: Arc::new(validators), max_body_bytes })
    }

    fn check(&self, schema: &str, value: &Value) -> Result<Vec<Violation>, Problem> {
        let Some(validator) = self.validators.get(schema) else {
            tracing::error!(schema, "the document lacks a schema");
            return Err(Problem::new(Code::Internal));
        };
        Ok(validator.iter_errors(value).flat_map(|error| violations(&error)).collect())
    }
}

/// What clients are told of a broken rule. Never the value: it may be personal.
fn violations(error: &jsonschema::ValidationError<'_>) -> Vec<Violation> {
    let pointer = error.instance_path().to_string();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|name| violation(member(&pointer, name), "unknown-field", "there is no such field".to_owned()))
            .collect(),
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![violation(member(&pointer, name), "required", "the field is missing".to_owned())]
        }
        kind => {
            let (code, detail) = explain(kind);
            vec![violation(pointer, code, detail)]
        }
    }
}

fn explain(kind: &ValidationErrorKind) -> (&'static str, String) {
    match kind {
        ValidationErrorKind::Type { .. } => ("wrong-type", "the value has another type".to_owned()),
        ValidationErrorKind::Enum { options } => ("not-allowed", format!("must be one of {options}")),
        ValidationErrorKind::Format { format } => ("invalid-format", format!("must be of the format {format}")),
        ValidationErrorKind::Pattern { pattern } => ("invalid-format", format!("must match {pattern}")),
        ValidationErrorKind::MinLength { limit } => ("too-short", format!("at least {limit} characters")),
        ValidationErrorKind::MaxLength { limit } => ("too-long", format!("at most {limit} characters")),
        ValidationErrorKind::Minimum { limit } => ("out-of-range", format!("at least {limit}")),
        ValidationErrorKind::Maximum { limit } => ("out-of-range", format!("at most {limit}")),
        other => ("invalid", format!("breaks the rule {}", other.keyword())),
    }
}

fn violation(pointer: String, code: &str, detail: String) -> Violation {
    Violation { pointer: Some(pointer), parameter: None, code: code.to_owned(), detail }
}

/// The pointer of an object's member (RFC 6901, section 3).
fn member(object: &str, name: &str) -> String {
    format!("{object}/{}", name.replace('~', "~0").replace('/', "~1"))
}
