//! What can go wrong, as programs tell it apart.

use poem::http::StatusCode;

/// Published: a code never changes its meaning. `/problems/<code>` explains each.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Code {
    AlreadyExists,
    Backlog,
    BodyTooLarge,
    Busy,
    CacheUnavailable,
    EmailTaken,
    EventTooLarge,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IllegalTransition,
    InUse,
    InsufficientStock,
    Internal,
    InvalidCursor,
    InvalidJson,
    InvalidParameter,
    MethodNotAllowed,
    NotDeletable,
    NotFound,
    OrderClosed,
    OutcomeUnknown,
    Overloaded,
    QueryTooExpensive,
    ReadModelUnavailable,
    RouteNotFound,
    Timeout,
    TooManySockets,
    Unavailable,
    UnsupportedMediaType,
    UpgradeRequired,
    ValidationFailed,
    VersionMismatch,
    VersionNotReached,
    VersionRequired,
}

impl Code {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidCursor | Self::InvalidJson | Self::InvalidParameter => StatusCode::BAD_REQUEST,
            Self::NotFound | Self::RouteNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::AlreadyExists
            | Self::EmailTaken
            | Self::IdempotencyKeyInUse
            | Self::IllegalTransition
            | Self::InUse
            | Self::InsufficientStock
            | Self::NotDeletable
            | Self::OrderClosed => StatusCode::CONFLICT,
            Self::VersionMismatch | Self::VersionNotReached => StatusCode::PRECONDITION_FAILED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::EventTooLarge | Self::IdempotencyKeyReused | Self::QueryTooExpensive | Self::ValidationFailed => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::VersionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Backlog
            | Self::Busy
            | Self::CacheUnavailable
            | Self::OutcomeUnknown
            | Self::Overloaded
            | Self::ReadModelUnavailable
            | Self::TooManySockets
            | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Whether the same request may end otherwise in a moment.
    pub(crate) fn is_worth_repeating(self) -> bool {
        self.status() == StatusCode::SERVICE_UNAVAILABLE || self == Self::IdempotencyKeyInUse
    }

    /// The same for every occurrence.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::AlreadyExists => "An entity with this id, or this unique field, exists",
            Self::Backlog => "Too many changes wait to be announced",
            Self::BodyTooLarge => "The body is too large",
            Self::CacheUnavailable => "The cache cannot be reached now",
            Self::Busy => "Too many changes of the same thing at once",
            Self::EmailTaken => "Another user has this address",
            Self::EventTooLarge => "The entity is too large to be announced",
            Self::IdempotencyKeyInUse => "The first request with this key is still running",
            Self::IdempotencyKeyReused => "The key was used for another request",
            Self::IllegalTransition => "The status has no such step",
            Self::InUse => "Others refer to it",
            Self::InsufficientStock => "There is not enough stock",
            Self::Internal => "Something went wrong here",
            Self::InvalidCursor => "The cursor is not one of this list",
            Self::InvalidJson => "The body is not JSON",
            Self::InvalidParameter => "A parameter is not valid",
            Self::MethodNotAllowed => "This address does not know the method",
            Self::NotDeletable => "With its status it cannot be deleted",
            Self::NotFound => "There is no such entity",
            Self::OrderClosed => "The order is cancelled",
            Self::OutcomeUnknown => "The change may or may not have been made",
            Self::Overloaded => "Too many requests at once",
            Self::QueryTooExpensive => "The query takes too long",
            Self::ReadModelUnavailable => "The documents cannot be read now",
            Self::RouteNotFound => "There is nothing at this address",
            Self::Timeout => "The request took too long",
            Self::TooManySockets => "No more sockets here",
            Self::Unavailable => "The service is not available now",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::UpgradeRequired => "This address speaks WebSocket only",
            Self::ValidationFailed => "The body breaks rules",
            Self::VersionMismatch => "The entity has another version",
            Self::VersionNotReached => "The entity has not reached this version",
            Self::VersionRequired => "The version that is to be changed must be named",
        }
    }

    /// What a client can do.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::AlreadyExists => {
                "Read the existing one, or choose another id. `errors` names the field that is taken."
            }
            Self::BodyTooLarge => "Send less at once; `detail` says how much is accepted.",
            Self::Backlog | Self::Busy | Self::Overloaded | Self::TooManySockets | Self::Unavailable => {
                "Nothing was changed. Try again after `Retry-After` seconds."
            }
            Self::CacheUnavailable => "Only what is done to the cache is affected. Try again later.",
            Self::EmailTaken => "Use another address, or the user who has it. Case does not tell addresses apart.",
            Self::EventTooLarge => "Nothing was changed. Make it smaller; `detail` says how large its event may be.",
            Self::IdempotencyKeyInUse => "Repeat the request with the same key after `Retry-After` seconds.",
            Self::IdempotencyKeyReused => "A key stands for one request: method, path and body. Make a new key.",
            Self::IllegalTransition => "`allowed_transitions` lists the steps from the present status.",
            Self::InUse => "Delete what refers to it first; `detail` says what does.",
            Self::InsufficientStock => "Order less, or later. `errors` names the items and what is in stock.",
            Self::Internal => "Report the `request_id`. A change may be repeated with the same `Idempotency-Key`.",
            Self::InvalidCursor => "Take `next` of an answer as it is, with the same filters and sort; or start anew.",
            Self::InvalidJson => "`detail` says where reading ended.",
            Self::InvalidParameter => "`errors` names each parameter or header and its rule.",
            Self::MethodNotAllowed => "`Allow` lists the methods.",
            Self::NotDeletable => "Take it to a status that can be deleted, or leave it.",
            Self::NotFound => "It never existed, or was deleted; its history may still be read.",
            Self::OrderClosed => "A cancelled order is not paid. Cancel the payment.",
            Self::OutcomeUnknown => "Repeat with the same `Idempotency-Key`, or read what is stored.",
            Self::QueryTooExpensive => "Use fields that lists can be filtered by, smaller ranges, or a cursor.",
            Self::ReadModelUnavailable => "Only what is read from the documents is affected. Try again later.",
            Self::RouteNotFound => "`/docs` lists the addresses.",
            Self::Timeout => "A change may or may not have been made: repeat it with the same `Idempotency-Key`.",
            Self::UnsupportedMediaType => {
                "Send `Content-Type: application/json`, or for PATCH `application/merge-patch+json`."
            }
            Self::UpgradeRequired => "Connect with a WebSocket client.",
            Self::ValidationFailed => "`errors` lists every rule that is broken and where.",
            Self::VersionMismatch => "Read it again: `current_version` is the present one.",
            Self::VersionNotReached => "The version was never answered for this entity, or it is gone.",
            Self::VersionRequired => "Send `If-Match` with the `ETag` that you have read.",
        }
    }
}
