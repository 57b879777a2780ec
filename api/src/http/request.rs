//! What surrounds every request: its id, its trace, its time limit, and a problem for everything that goes wrong.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use poem::{
    Endpoint, IntoResponse, Request, Response,
    error::{MethodNotAllowedError, NotFoundError, WebSocketError},
    http::{HeaderMap, HeaderValue, Method, StatusCode},
};
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError};
use shared::{
    event::{Origin, TraceContext},
    telemetry,
};
use tracing::Instrument;
use uuid::Uuid;

use super::problem::{Code, Problem};

/// What a handler may know of its request.
#[derive(Clone)]
pub(crate) struct RequestContext {
    request_id: String,
    trace: TraceContext,
}

impl RequestContext {
    fn new(headers: &HeaderMap, span: &tracing::Span) -> Self {
        let sent = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let names = ["traceparent", "tracestate"];
        let brought = names.into_iter().filter_map(|name| Some((name, sent(name)?)));
        telemetry::continue_trace(span, &TraceContext::from_headers(brought));
        let well_formed = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        let request_id = sent("x-request-id").filter(well_formed);
        let request_id = request_id.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        Self { request_id, trace: telemetry::trace_context(span) }
    }

    /// Where a change that this request makes comes from.
    pub(crate) fn origin(&self) -> Origin {
        Origin { actor: None, request_id: Some(self.request_id.clone()), trace: self.trace.clone() }
    }

    fn problem(&self, problem: &Problem, path: &str) -> Response {
        problem.to_response(path, &self.request_id, self.trace.trace_id())
    }
}

/// Answers a request in time, whatever happens to it.
pub(crate) async fn surround<E: Endpoint>(
    next: Arc<E>,
    mut request: Request,
    limit: Duration,
) -> poem::Result<Response> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("http.request", %method, path, request_id = tracing::field::Empty);
    let context = RequestContext::new(request.headers(), &span);
    span.record("request_id", &context.request_id);
    request.extensions_mut().insert(context.clone());
    let answered = async {
        // A panic is told by the process's panic hook; the client gets an answer all the same.
        let called = AssertUnwindSafe(next.call(request)).catch_unwind();
        match tokio::time::timeout(limit, called).await {
            Ok(Ok(Ok(response))) => response.into_response(),
            Ok(Ok(Err(error))) => answer(&error, &method, &context, &path),
            Ok(Err(_)) => context.problem(&Problem::new(Code::Internal), &path),
            Err(_) => context.problem(&Problem::new(Code::Timeout), &path),
        }
    };
    let mut response = answered.instrument(span).await;
    let headers = response.headers_mut();
    if let Ok(request_id) = HeaderValue::from_str(&context.request_id) {
        headers.insert("x-request-id", request_id);
    }
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// Every error as a problem: our own, and what the framework refuses before a handler is called.
fn answer(error: &poem::Error, method: &Method, context: &RequestContext, path: &str) -> Response {
    let problem = if let Some(problem) = error.downcast_ref::<Problem>() {
        return context.problem(problem, path);
    } else if error.is::<NotFoundError>() {
        Problem::new(Code::RouteNotFound)
    } else if error.is::<MethodNotAllowedError>() {
        Problem::new(Code::MethodNotAllowed).with_detail(format!("{method} is not one of this address's methods"))
    } else if error.is::<WebSocketError>() {
        Problem::new(Code::UpgradeRequired)
    } else if let Some(error) = error.downcast_ref::<ContentTypeError>() {
        Problem::new(Code::UnsupportedMediaType).with_detail(error.to_string())
    } else if let Some(ParseParamError { name, reason }) = error.downcast_ref() {
        Problem::invalid_parameter(name, reason.clone())
    } else if let Some(ParsePathError { name, reason }) = error.downcast_ref() {
        Problem::invalid_parameter(name, reason.clone())
    } else {
        of_status(error)
    };
    context.problem(&problem, path)
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
