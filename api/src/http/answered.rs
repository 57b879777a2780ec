//! Changes that a client may safely repeat, and their answers.

use std::marker::PhantomData;

use poem::{
    IntoResponse, Response,
    http::{HeaderName, StatusCode, header},
};
use poem_openapi::{
    ApiResponse,
    payload::{Json, Payload},
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::{ParseFromJSON, ToJSON, Type},
};
use shared::{
    change::ChangeError,
    idempotency::{Answer, Idempotent, Key, Outcome},
    store::{Change, Store},
};

use super::{
    problem::{self, Problem},
    request::RequestContext,
};

/// An answer of the status with a body of the type; given again where the request is repeated with its key.
pub(super) struct Answered<T, const STATUS: u16> {
    answer: Answer,
    replayed: bool,
    body: PhantomData<fn() -> T>,
}

/// How a change is asked for.
pub(super) struct Asked<'a> {
    pub(super) context: &'a RequestContext,
    /// The header `Idempotency-Key`.
    pub(super) key: Option<&'a str>,
    pub(super) fingerprint: [u8; 32],
    /// A request with one item has no `items` in its body.
    pub(super) only_item: bool,
}

impl Asked<'_> {
    /// Makes the change, once for its key where there is one.
    pub(super) async fn perform<C, T, const STATUS: u16>(
        self,
        store: &Store,
        change: C,
        render: fn(&C::Output) -> Answer,
    ) -> Result<Answered<T, STATUS>, Problem>
    where
        C: Change<Output: Sync + 'static, Error = ChangeError> + 'static,
    {
        let origin = self.context.origin();
        let only_item = self.only_item;
        let told = move |problem: Problem| if only_item { problem.of_the_only_item() } else { problem };
        let Some(key) = self.key()? else {
            let output = store.transact(origin, change).await.map_err(|error| told(error.into()))?;
            return Ok(Answered { answer: render(&output), replayed: false, body: PhantomData });
        };
        let context = self.context.clone();
        let answer = move |outcome: Result<&C::Output, &ChangeError>| match outcome {
            Ok(output) => Some(render(output)),
            Err(error) => refused(&told(error.into()), &context),
        };
        let done = store.transact(origin, Idempotent { key, change, answer }).await;
        let (answer, replayed) = match done.map_err(|error| told(error.into()))? {
            Outcome::Done(answer) => (answer, false),
            Outcome::Replayed(answer) => (answer, true),
        };
        Ok(Answered { answer, replayed, body: PhantomData })
    }

    /// The key, quoted or bare.
    fn key(&self) -> Result<Option<Key>, Problem> {
        let Some(sent) = self.key else { return Ok(None) };
        let name = sent.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(sent);
        if !(1..=255).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
            let rule = "must be 1 to 255 visible ASCII characters, in quotes or without any";
            return Err(Problem::invalid_parameter("Idempotency-Key", rule));
        }
        let principal = self.context.principal().to_owned();
        Ok(Some(Key { principal, name: name.to_owned(), fingerprint: self.fingerprint }))
    }
}

/// What the request's repetition would end in too.
fn refused(problem: &Problem, context: &RequestContext) -> Option<Answer> {
    let status = problem.status();
    let body = problem.to_body(context.path(), context.request_id(), context.trace_id()).into_bytes();
    status.is_client_error().then(|| Answer { status: status.as_u16(), etag: None, location: None, body })
}

impl<T: Send, const STATUS: u16> IntoResponse for Answered<T, STATUS> {
    fn into_response(self) -> Response {
        let Answer { status, etag, location, body } = self.answer;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let content_type = if status.is_success() { "application/json; charset=utf-8" } else { problem::CONTENT_TYPE };
        let mut response = Response::builder().status(status).content_type(content_type);
        for (name, value) in [(header::ETAG, etag), (header::LOCATION, location)] {
            if let Some(value) = value {
                response = response.header(name, value);
            }
        }
        if self.replayed {
            response = response.header(HeaderName::from_static("idempotency-replayed"), "true");
        }
        response.body(body)
    }
}

impl<T: ParseFromJSON + ToJSON + Type + Send, const STATUS: u16> ApiResponse for Answered<T, STATUS> {
    fn meta() -> MetaResponses {
        let header = |name: &str, description: &str| MetaHeader {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            required: false,
            deprecated: false,
            schema: String::schema_ref(),
        };
        let response = MetaResponse {
            description: "Done, as it was stored",
            status: Some(STATUS),
            status_range: None,
            content: vec![MetaMediaType { content_type: Json::<T>::CONTENT_TYPE, schema: T::schema_ref() }],
            headers: vec![
                header("ETag", "Of one entity: its version, in quotes"),
                header("Location", "Of one new entity: where it is found"),
                header("Idempotency-Replayed", "`true` where it is the answer to an earlier request with the key"),
            ],
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
