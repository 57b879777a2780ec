//! The event: one `CloudEvents` 1.0 JSON (structured mode) that the outbox stores, Kafka carries and sockets get.
//!
//! A published contract: attributes are only ever added.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;
use uuid::Uuid;

use crate::{
    entity::{Action, Id, Key, Kind, Version},
    timestamp::Timestamp,
};

pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// What happened to what: `user_created`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventType {
    pub kind: Kind,
    pub action: Action,
}

#[derive(Debug, Error)]
#[error("no event type")]
pub struct UnknownEventType;

impl fmt::Display for EventType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", self.kind, self.action)
    }
}

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        let (kind, action) = text.split_once('_').ok_or(UnknownEventType)?;
        Ok(Self {
            kind: kind.parse().map_err(|_| UnknownEventType)?,
            action: action.parse().map_err(|_| UnknownEventType)?,
        })
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The event of one change of one entity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// The version of `CloudEvents`.
    pub specversion: Cow<'static, str>,
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// `UUIDv7`; the same in every delivery of this event.
    pub id: Uuid,
    pub source: Cow<'static, str>,
    /// The entity as a path: `users/user123`.
    pub subject: String,
    pub time: Timestamp,
    pub datacontenttype: Cow<'static, str>,
    #[serde(rename = "entity")]
    pub kind: Kind,
    #[serde(rename = "entityid")]
    pub entity_id: Id,
    /// The version after the change; of a deletion the version that follows the last state's.
    #[serde(rename = "entityversion")]
    pub version: Version,
    /// The user it belongs to, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<Id>,
    /// Who did it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "requestid")]
    pub request_id: Option<String>,
    /// Why it was done, where who did it said so; at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// All events of one transaction carry the same.
    #[serde(rename = "transactionid")]
    pub transaction_id: Uuid,
    /// How many events the transaction has.
    #[serde(rename = "transactionsize")]
    pub transaction_size: usize,
    /// The entity after the change as REST shows it; of a deletion its last state.
    pub data: Box<RawValue>,
}

impl Event {
    pub const SPECVERSION: Cow<'static, str> = Cow::Borrowed("1.0");
    pub const SOURCE: Cow<'static, str> = Cow::Borrowed("/sluice");
    pub const DATACONTENTTYPE: Cow<'static, str> = Cow::Borrowed("application/json");

    #[must_use]
    pub fn key(&self) -> Key {
        Key { kind: self.kind, id: self.entity_id.clone() }
    }
}

/// Where a change comes from. Everything in it is optional: a job has no request.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Who asked for it; at most 128 characters.
    pub actor: Option<String>,
    /// At most 128 characters.
    pub request_id: Option<String>,
    pub trace: TraceContext,
}

/// The trace a change belongs to (W3C Trace Context), as it is stored beside the event and sent as Kafka headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// The headers as they were read from Kafka, or made of a span's context.
    pub fn from_headers<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut context = Self::default();
        for (name, value) in headers {
            match name {
                "traceparent" => context.traceparent = Some(value.to_owned()),
                // W3C asks only for 512 bytes to be carried on; longer ones would not fit the outbox row.
                "tracestate" if (1..=512).contains(&value.len()) => context.tracestate = Some(value.to_owned()),
                _ => {}
            }
        }
        context
    }

    /// The trace's id, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        self.traceparent.as_deref()?.split('-').nth(1)
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    /// The published form, to the letter. Only additions may change this test.
    #[test]
    fn the_json_form_is_the_published_one() {
        let text = concat!(
            r#"{"specversion":"1.0","type":"user_updated","id":"0198c0de-0000-7000-8000-000000000001","#,
            r#""source":"/sluice","subject":"users/user123","time":"2026-01-31T12:00:00.123Z","#,
            r#""datacontenttype":"application/json","entity":"user","entityid":"user123","entityversion":2,"#,
            r#""recipient":"user123","requestid":"r1","transactionid":"0198c0de-0000-7000-8000-000000000002","#,
            r#""transactionsize":1,"data":{"id":"user123"}}"#
        );
        let event: Event = serde_json::from_str(text).unwrap();
        assert_eq!(event.event_type, EventType { kind: Kind::User, action: Action::Updated });
        assert_eq!(event.key().to_string(), "user:user123");
        assert_eq!(event.actor, None);
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
    }

    #[test]
    fn every_type_has_a_text_that_reads_back() {
        for kind in Kind::VARIANTS.iter().copied() {
            for action in Action::VARIANTS.iter().copied() {
                let event_type = EventType { kind, action };
                assert_eq!(event_type.to_string().parse::<EventType>().unwrap(), event_type);
            }
        }
        assert!("user_renamed".parse::<EventType>().is_err());
    }

    #[test]
    fn a_long_tracestate_is_dropped() {
        let long = "x".repeat(513);
        let context = TraceContext::from_headers(
            [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", &long)]
                .into_iter(),
        );
        assert_eq!(context.tracestate, None);
        assert_eq!(context.trace_id(), Some("0af7651916cd43dd8448eb211c80319c"));
    }
}
