//! What surrounds every request: its id, its trace, its limits, and a problem for everything that goes wrong.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use poem::{
    Endpoint, IntoResponse, Request, Response,
    error::{MethodNotAllowedError, NotFoundError, WebSocketError},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
};
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError};
use shared::{
    config,
    event::{Origin, TraceContext},
    telemetry,
};
use tokio::sync::Semaphore;
use tracing::Instrument;
use uuid::Uuid;

use crate::backlog::Gauge;

use super::{
    cors::Cors,
    problem::{Code, Problem},
    routes::Routes,
};

/// What a handler may know of its request.
#[derive(Clone)]
pub(crate) struct RequestContext {
    path: String,
    request_id: String,
    trace: TraceContext,
}

impl RequestContext {
    fn new(path: &str, headers: &HeaderMap, span: &tracing::Span) -> Self {
        let sent = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let names = ["traceparent", "tracestate"];
        let brought = names.into_iter().filter_map(|name| Some((name, sent(name)?)));
        telemetry::continue_trace(span, &TraceContext::from_headers(brought));
        let well_formed = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        let request_id = sent("x-request-id").filter(well_formed);
        let request_id = request_id.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        Self { path: path.to_owned(), request_id, trace: telemetry::trace_context(span) }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    pub(crate) fn trace_id(&self) -> Option<&str> {
        self.trace.trace_id()
    }

    /// Who sent it: everyone is the same one until they are told apart.
    #[expect(clippy::unused_self, reason = "whoever sends a request is known from it")]
    pub(crate) fn principal(&self) -> &'static str {
        "anonymous"
    }

    /// Where a change that this request makes comes from.
    pub(crate) fn origin(&self) -> Origin {
        Origin { actor: None, request_id: Some(self.request_id.clone()), trace: self.trace.clone() }
    }

    fn problem(&self, problem: &Problem) -> Response {
        problem.to_response(&self.path, &self.request_id, self.trace_id())
    }
}

/// What must be answered however many requests there are, or lasts as long as a socket.
const UNLIMITED: [&str; 4] = ["/livez", "/readyz", "/health", "/ws"];

/// What surrounds the routes.
pub(super) struct Surroundings {
    limit: Duration,
    concurrent: Semaphore,
    routes: Routes,
    cors: Cors,
    backlog: Gauge,
}

impl Surroundings {
    pub(super) fn new(settings: &config::Http, routes: Routes, backlog: Gauge) -> Self {
        Self {
            limit: Duration::from_millis(settings.request_timeout_ms),
            concurrent: Semaphore::new(settings.max_concurrent_requests),
            routes,
            cors: Cors::new(&settings.cors_origins),
            backlog,
        }
    }
}

/// Answers a request in time, whatever happens to it.
pub(super) async fn surround<E: Endpoint>(
    next: Arc<E>,
    mut request: Request,
    surroundings: Arc<Surroundings>,
) -> poem::Result<Response> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("http.request", %method, path, request_id = tracing::field::Empty);
    let context = RequestContext::new(&path, request.headers(), &span);
    span.record("request_id", &context.request_id);
    request.extensions_mut().insert(context.clone());
    if method == Method::HEAD {
        // As GET; the server sends no body then.
        request.set_method(Method::GET);
    }
    let origin = surroundings.cors.allowed(request.headers());
    let mut response = surroundings.answer(next, request, &method, &context).instrument(span).await;
    let too_large = response.status() == StatusCode::PAYLOAD_TOO_LARGE;
    let headers = response.headers_mut();
    surroundings.cors.permit(origin, surroundings.routes.allow(&path), headers);
    if let Ok(request_id) = HeaderValue::from_str(&context.request_id) {
        headers.insert("x-request-id", request_id);
    }
    if too_large {
        // The rest of the body is not read, so nothing else can come over this connection: its client must know.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    Ok(response)
}

impl Surroundings {
    async fn answer<E: Endpoint>(
        &self,
        next: Arc<E>,
        request: Request,
        method: &Method,
        context: &RequestContext,
    ) -> Response {
        let allow = self.routes.allow(&context.path);
        if let (&Method::OPTIONS, Some(allow)) = (method, allow) {
            return Response::builder().status(StatusCode::NO_CONTENT).header(header::ALLOW, allow).finish();
        }
        let _permit = match self.concurrent.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) if UNLIMITED.contains(&context.path.as_str()) => None,
            Err(_) => return context.problem(&Problem::new(Code::Overloaded)),
        };
        if changes_entities(method, &context.path, allow) && self.backlog.is_exceeded() {
            return context.problem(&Problem::new(Code::Backlog));
        }
        // A panic is told by the process's panic hook; the client gets an answer all the same.
        let called = AssertUnwindSafe(next.call(request)).catch_unwind();
        match tokio::time::timeout(self.limit, called).await {
            Ok(Ok(Ok(response))) => response.into_response(),
            Ok(Ok(Err(error))) => context.problem(&problem_of(error, method, allow)),
            Ok(Err(_)) => context.problem(&Problem::new(Code::Internal)),
            Err(_) => context.problem(&Problem::new(Code::Timeout)),
        }
    }
}

/// Whether the request would be announced.
fn changes_entities(method: &Method, path: &str, allow: Option<&str>) -> bool {
    let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method);
    let known = allow.is_some_and(|allow| allow.split(", ").any(|known| known == method.as_str()));
    writes && known && path.starts_with("/api/v1/") && !path.starts_with("/api/v1/repositories")
}

/// Every error as a problem: our own, and what the framework refuses before a handler is called.
fn problem_of(error: poem::Error, method: &Method, allow: Option<&str>) -> Problem {
    let error = match error.downcast::<Problem>() {
        Ok(problem) => return problem,
        Err(error) => error,
    };
    if error.is::<NotFoundError>() {
        Problem::new(Code::RouteNotFound)
    } else if error.is::<MethodNotAllowedError>() {
        Problem::new(Code::MethodNotAllowed)
            .with_detail(format!("{method} is not one of this address's methods"))
            .with_allow(allow.map(str::to_owned))
    } else if error.is::<WebSocketError>() {
        Problem::new(Code::UpgradeRequired)
    } else if let Some(error) = error.downcast_ref::<ContentTypeError>() {
        Problem::new(Code::UnsupportedMediaType).with_detail(error.to_string())
    } else if let Some(ParseParamError { name, reason }) = error.downcast_ref() {
        Problem::invalid_parameter(name, rule(reason))
    } else if let Some(ParsePathError { name, reason }) = error.downcast_ref() {
        Problem::invalid_parameter(name, rule(reason))
    } else {
        of_status(&error)
    }
}

/// The framework's words for a parameter's rule, as ours: `verification failed. minimum(1, exclusive: false)`, or
/// `failed to parse "integer(uint32)": invalid digit found in string`.
fn rule(reason: &str) -> String {
    match reason.strip_prefix("verification failed. ") {
        Some(rule) => format!("breaks the rule {rule}"),
        None => match reason.split_once('"').and_then(|(_, rest)| rest.split_once('"')) {
            Some((expected, _)) => format!("must be of the type {}", expected.split('_').next().unwrap_or(expected)),
            None => reason.to_owned(),
        },
    }
}

/// What else the framework says, by its status.
fn of_status(error: &poem::Error) -> Problem {
    match error.status() {
        StatusCode::NOT_FOUND => Problem::new(Code::RouteNotFound),
        status if status.is_client_error() => Problem::new(Code::InvalidParameter).with_detail(error.to_string()),
        status => {
            tracing::error!(%status, %error, "a request failed");
            Problem::new(Code::Internal)
        }
    }
}
