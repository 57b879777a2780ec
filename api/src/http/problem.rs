//! Every answer that is not a success: `application/problem+json` (RFC 9457).

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
use shared::{
    change::ChangeError, database, entity::Version, repository::ReadError, store::TransactError, telemetry::one_line,
    unit_of_work::WriteError,
};

pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong, as programs tell it apart. The text is published: it never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidJson,
    InvalidParameter,
    NotFound,
    RouteNotFound,
    MethodNotAllowed,
    AlreadyExists,
    VersionMismatch,
    BodyTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
    UpgradeRequired,
    Internal,
    Unavailable,
    OutcomeUnknown,
    Busy,
    TooManySockets,
    Timeout,
}

impl Code {
    /// Its text, its status and a title that is the same for every occurrence.
    const fn facts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidJson => ("invalid-json", StatusCode::BAD_REQUEST, "The body is not JSON"),
            Self::InvalidParameter => ("invalid-parameter", StatusCode::BAD_REQUEST, "A parameter is not valid"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is no such entity"),
            Self::RouteNotFound => ("route-not-found", StatusCode::NOT_FOUND, "There is nothing at this address"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "This address does not know the method")
            }
            Self::AlreadyExists => ("already-exists", StatusCode::CONFLICT, "An entity with this id exists"),
            Self::VersionMismatch => {
                ("version-mismatch", StatusCode::PRECONDITION_FAILED, "The entity has another version")
            }
            Self::BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be application/json")
            }
            Self::ValidationFailed => {
                ("validation-failed", StatusCode::UNPROCESSABLE_ENTITY, "The body breaks the rules of its schema")
            }
            Self::UpgradeRequired => {
                ("upgrade-required", StatusCode::UPGRADE_REQUIRED, "This address speaks WebSocket only")
            }
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here"),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "The service is not available now"),
            Self::OutcomeUnknown => {
                ("outcome-unknown", StatusCode::SERVICE_UNAVAILABLE, "The change may or may not have been made")
            }
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE, "Too many changes of the same thing at once"),
            Self::TooManySockets => ("too-many-sockets", StatusCode::SERVICE_UNAVAILABLE, "No more sockets here"),
            Self::Timeout => ("timeout", StatusCode::GATEWAY_TIMEOUT, "The request took too long"),
        }
    }

    const fn status(self) -> StatusCode {
        self.facts().1
    }
}

/// One thing that is wrong with what was sent.
#[derive(Clone, Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct Violation {
    /// Where in the body, as a JSON pointer (RFC 6901).
    pub(crate) pointer: Option<String>,
    /// Which parameter or header, where it is not in the body.
    pub(crate) parameter: Option<String>,
    /// Which rule: the keyword of the schema, or a code of its own.
    pub(crate) code: String,
    pub(crate) detail: String,
}

/// The body of an answer that is not a success.
#[derive(Debug, Object)]
#[oai(rename = "Problem", skip_serializing_if_is_none)]
struct ProblemBody {
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
    /// In seconds.
    retry_after: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    detail: Option<String>,
    violations: Vec<Violation>,
    current_version: Option<Version>,
}

impl Problem {
    pub(crate) fn new(code: Code) -> Self {
        Self { code, detail: None, violations: Vec::new(), current_version: None }
    }

    pub(crate) fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// The body is JSON and breaks these rules.
    pub(crate) fn invalid(violations: Vec<Violation>) -> Self {
        Self { violations, ..Self::new(Code::ValidationFailed) }
    }

    pub(crate) fn invalid_parameter(name: &str, detail: String) -> Self {
        let violation =
            Violation { pointer: None, parameter: Some(name.to_owned()), code: "invalid".to_owned(), detail };
        Self { violations: vec![violation], ..Self::new(Code::InvalidParameter) }
    }

    /// The body names another id than the path.
    pub(crate) fn another_id() -> Self {
        Self::invalid(vec![Violation {
            pointer: Some("/id".to_owned()),
            parameter: None,
            code: "not-allowed".to_owned(),
            detail: "an id does not change: leave it out or repeat that of the path".to_owned(),
        }])
    }

    /// The answer, with what only the request knows.
    pub(crate) fn to_response(&self, instance: &str, request_id: &str, trace_id: Option<&str>) -> Response {
        let (code, status, title) = self.code.facts();
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        let body = ProblemBody {
            kind: format!("/problems/{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone(),
            instance: instance.to_owned(),
            code: code.to_owned(),
            request_id: request_id.to_owned(),
            trace_id: trace_id.map(str::to_owned),
            errors: (!self.violations.is_empty()).then(|| self.violations.clone()),
            current_version: self.current_version,
            retry_after,
        };
        let mut response = Response::builder().status(status).content_type(CONTENT_TYPE).body(body.to_json_string());
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // A cached failure would outlive its cause.
        response.headers_mut().insert(HeaderName::from_static("cache-control"), HeaderValue::from_static("no-store"));
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code.facts().0)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.code.status()
    }
}

impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        let possible = [
            (400, "The request cannot be read"),
            (404, "There is no such entity"),
            (409, "It conflicts with what is stored"),
            (412, "The entity has another version"),
            (413, "The body is too large"),
            (415, "The body is not application/json"),
            (422, "The body breaks the rules of its schema"),
            (500, "Something went wrong here"),
            (503, "The service is not available now, or the outcome is unknown"),
            (504, "The request took too long"),
        ];
        let responses = possible.into_iter().map(|(status, description)| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType { content_type: CONTENT_TYPE, schema: Json::<ProblemBody>::schema_ref() }],
            headers: Vec::new(),
        });
        MetaResponses { responses: responses.collect() }
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
    }
}

impl From<ReadError> for Problem {
    fn from(ReadError(error): ReadError) -> Self {
        of_database(&error)
    }
}

impl From<TransactError<ChangeError>> for Problem {
    fn from(error: TransactError<ChangeError>) -> Self {
        match error {
            TransactError::Refused(ChangeError::NotFound) => Self::new(Code::NotFound),
            TransactError::Refused(ChangeError::VersionMismatch { current }) => {
                Self { current_version: Some(current), ..Self::new(Code::VersionMismatch) }
            }
            TransactError::Refused(ChangeError::Write(error)) | TransactError::Failed(error) => match error {
                WriteError::Exists => Self::new(Code::AlreadyExists),
                WriteError::Stale => Self::new(Code::Busy),
                WriteError::Database(error) => of_database(&error),
                WriteError::Event(error) => {
                    tracing::error!(error = one_line(&error), "an event could not be written");
                    Self::new(Code::Internal)
                }
            },
            TransactError::Conflict => Self::new(Code::Busy),
            TransactError::Timeout => Self::new(Code::Unavailable),
            TransactError::Panicked => Self::new(Code::Internal),
            TransactError::OutcomeUnknown(cause) => {
                let error = cause.map_or_else(|| "no answer in time".to_owned(), |cause| one_line(&cause));
                tracing::error!(error, "the outcome of a commit is unknown");
                Self::new(Code::OutcomeUnknown)
            }
        }
    }
}

/// The client learns only whether it may try again; the log has the cause.
fn of_database(error: &sqlx::Error) -> Problem {
    if database::is_unavailable(error) {
        tracing::warn!(error = one_line(error), "MySQL is not available");
        Problem::new(Code::Unavailable)
    } else {
        tracing::error!(error = one_line(error), "MySQL refused a statement");
        Problem::new(Code::Internal)
    }
}
