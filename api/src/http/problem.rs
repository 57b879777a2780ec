//! Every answer that is not a success: `application/problem+json` (RFC 9457).

mod code;
mod of_errors;
pub(super) mod pages;

use std::fmt;

use poem::{
    Response,
    error::ResponseError,
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    payload::{Json, Payload},
    registry::{MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::{ToJSON, Type},
};
use shared::{entity::Version, violation::Violation};

pub(crate) use code::Code;

pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

/// The body of an answer that is not a success.
#[derive(Debug, Object)]
#[oai(rename = "Problem", skip_serializing_if_is_none)]
struct ProblemBody {
    /// `/problems/<code>`, where it is explained.
    #[oai(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: Option<String>,
    /// The path that was asked for.
    instance: String,
    code: String,
    request_id: String,
    trace_id: Option<String>,
    /// Everything that is wrong, not the first only.
    errors: Option<Vec<Violation>>,
    /// Where the version was another: the present one.
    current_version: Option<Version>,
    /// Where the status has no such step: those that it has.
    allowed_transitions: Option<Vec<String>>,
    /// In seconds.
    retry_after: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    detail: Option<String>,
    violations: Vec<Violation>,
    current_version: Option<Version>,
    allowed_transitions: Option<Vec<String>>,
    allow: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code) -> Self {
        Self {
            code,
            detail: None,
            violations: Vec::new(),
            current_version: None,
            allowed_transitions: None,
            allow: None,
        }
    }

    pub(crate) fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    pub(crate) fn with_violations(self, violations: Vec<Violation>) -> Self {
        Self { violations, ..self }
    }

    /// The methods that the address knows.
    pub(super) fn with_allow(self, allow: Option<String>) -> Self {
        Self { allow, ..self }
    }

    /// The body is JSON and breaks these rules.
    pub(crate) fn invalid(violations: Vec<Violation>) -> Self {
        Self::new(Code::ValidationFailed).with_violations(violations)
    }

    pub(crate) fn invalid_parameter(name: &str, detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameter).with_violations(vec![Violation::of_parameter(name, detail.into())])
    }

    /// The same of a request with one item, whose body has no `items`.
    pub(crate) fn of_the_only_item(mut self) -> Self {
        for pointer in self.violations.iter_mut().filter_map(|it| it.pointer.as_mut()) {
            if let Some(rest) = pointer.strip_prefix("/items/0") {
                *pointer = rest.to_owned();
            }
        }
        self
    }

    /// Whether a member of the body is to blame.
    pub(crate) fn is_about(&self, pointer: &str) -> bool {
        self.violations.iter().any(|violation| violation.pointer.as_deref() == Some(pointer))
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.code.status()
    }

    fn retry_after(&self) -> Option<u32> {
        self.code.is_worth_repeating().then_some(1)
    }

    /// The body, with what only the request knows.
    pub(crate) fn to_body(&self, instance: &str, request_id: &str, trace_id: Option<&str>) -> String {
        let body = ProblemBody {
            kind: format!("/problems/{}", self.code),
            title: self.code.title().to_owned(),
            status: self.status().as_u16(),
            detail: self.detail.clone(),
            instance: instance.to_owned(),
            code: self.code.to_string(),
            request_id: request_id.to_owned(),
            trace_id: trace_id.map(str::to_owned),
            errors: (!self.violations.is_empty()).then(|| self.violations.clone()),
            current_version: self.current_version,
            allowed_transitions: self.allowed_transitions.clone(),
            retry_after: self.retry_after(),
        };
        body.to_json_string()
    }

    /// The answer.
    pub(crate) fn to_response(&self, instance: &str, request_id: &str, trace_id: Option<&str>) -> Response {
        let body = self.to_body(instance, request_id, trace_id);
        let mut response = Response::builder().status(self.status()).content_type(CONTENT_TYPE).body(body);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(Ok(allow)) = self.allow.as_deref().map(HeaderValue::from_str) {
            headers.insert(header::ALLOW, allow);
        }
        // A cached failure would outlive its cause.
        headers.insert(HeaderName::from_static("cache-control"), HeaderValue::from_static("no-store"));
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(formatter)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.code.status()
    }
}

/// Only what keeps the schema in the document: which problems an operation can answer is said where that is written.
impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: CONTENT_TYPE, schema: Json::<ProblemBody>::schema_ref() }];
        let response =
            MetaResponse { description: "", status: Some(500), status_range: None, content, headers: Vec::new() };
        MetaResponses { responses: vec![response] }
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
    }
}
