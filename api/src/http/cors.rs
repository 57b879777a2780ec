//! Which pages of other origins may use the API from a browser (the Fetch standard, CORS protocol).

use poem::http::{HeaderMap, HeaderName, HeaderValue, header};

/// What a page may read of an answer besides its body.
const EXPOSED: &str = "etag, link, location, idempotency-replayed, preference-applied, retry-after, x-request-id";
/// What a page may send.
const ACCEPTED: &str = "authorization, content-type, idempotency-key, if-match, if-none-match, prefer, traceparent, \
                        tracestate, x-min-version, x-request-id";
const PREFLIGHT_SECONDS: &str = "600";

/// An origin that is not allowed is told nothing: its browser keeps the answer from the page.
pub(super) struct Cors(Vec<String>);

impl Cors {
    /// Of `http.cors_origins`.
    pub(super) fn new(configured: &str) -> Self {
        let origins = configured.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        Self(origins.map(str::to_owned).collect())
    }

    /// The request's origin, if its pages may use the API.
    pub(super) fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(header::ORIGIN)?;
        self.0.iter().any(|known| known.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }

    /// Adds what lets the origin read the answer; `allow` are the methods that a preflight asks for.
    pub(super) fn permit(&self, origin: Option<HeaderValue>, allow: Option<&str>, response: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        // A shared cache must not give one origin's answer to another.
        response.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin else { return };
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let fixed: [(HeaderName, &'static str); 3] = [
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, ACCEPTED),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
        ];
        for (name, value) in fixed {
            response.insert(name, HeaderValue::from_static(value));
        }
        if let Some(Ok(methods)) = allow.map(HeaderValue::from_str) {
            response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
    }
}
