//! The body of a request: JSON that keeps the rules of its schema.
//!
//! The published schema *is* the check, so that the document cannot promise what is not enforced, and all violations
//! are told at once.

mod schemas;

use poem::{FromRequest, Request, RequestBody, error::ReadBodyError, http::Method, web::Data};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    error::ContentTypeError,
    registry::{MetaMediaType, MetaRequest, Registry},
    types::ParseFromJSON,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use shared::violation::Violation;

use super::problem::{Code, Problem};
pub(crate) use schemas::Schemas;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A request's body of the type `T`, checked; of at most so many bytes, or of 0 as many as the configuration allows.
pub(crate) struct Input<T, const MOST_BYTES: usize = 0> {
    pub(crate) value: T,
    /// SHA-256 of method, path and body: what tells the request apart.
    pub(crate) fingerprint: [u8; 32],
}

impl<'a, T: ParseFromJSON, const MOST_BYTES: usize> ApiExtractor<'a> for Input<T, MOST_BYTES> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: JSON, schema: T::schema_ref() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        check_content_type(request)?;
        let schemas = <Data<&Schemas> as FromRequest>::from_request(request, body).await?;
        let most_bytes = if MOST_BYTES == 0 { schemas.max_body_bytes } else { MOST_BYTES };
        let read = body.take()?.into_bytes_limit(most_bytes).await;
        let bytes = read.map_err(|error| match error {
            ReadBodyError::PayloadTooLarge => {
                Problem::new(Code::BodyTooLarge).with_detail(format!("at most {most_bytes} bytes are accepted"))
            }
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
            .map_err(|error| Problem::invalid(vec![Violation::at("", "invalid", error.into_message())]))?;
        Ok(Self { value: parsed, fingerprint: fingerprint(request, &bytes) })
    }
}

/// Of the other types that are written in JSON each means something else by it.
fn check_content_type(request: &Request) -> Result<(), ContentTypeError> {
    let content_type = request.content_type().ok_or(ContentTypeError::ExpectContentType)?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_patch = request.method() == Method::PATCH && media_type.eq_ignore_ascii_case(MERGE_PATCH);
    if is_patch || media_type.eq_ignore_ascii_case(JSON) {
        return Ok(());
    }
    Err(ContentTypeError::NotSupported { content_type: content_type.to_owned() })
}

fn fingerprint(request: &Request, body: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [request.method().as_str().as_bytes(), b" ", request.uri().path().as_bytes(), b"\n", body] {
        digest.update(part);
    }
    digest.finalize().into()
}
