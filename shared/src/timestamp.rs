//! The time of an entity: UTC, cut to milliseconds.
//!
//! MySQL stores `DATETIME(3)` and BSON has no finer date, so a finer time would differ between the stores.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC with millisecond precision; as text RFC 3339 with exactly three decimals and `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    #[must_use]
    pub fn now() -> Self {
        Self::from(Utc::now())
    }

    #[must_use]
    pub fn to_text(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        self.0
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.trunc_subsecs(3))
    }
}

/// Text where people read it (JSON), a BSON date where a database does.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.to_text())
        } else {
            mongodb::bson::DateTime::from_millis(self.0.timestamp_millis()).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            DateTime::<Utc>::deserialize(deserializer).map(Self::from)
        } else {
            let date = mongodb::bson::DateTime::deserialize(deserializer)?;
            DateTime::from_timestamp_millis(date.timestamp_millis())
                .map(Self)
                .ok_or_else(|| serde::de::Error::custom("a date beyond what can be told"))
        }
    }
}

impl Type for Timestamp {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_date-time".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date-time")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for Timestamp {
    fn to_json(&self) -> Option<serde_json::Value> {
        Some(self.to_text().into())
    }
}

impl ParseFromJSON for Timestamp {
    fn parse_from_json(value: Option<serde_json::Value>) -> ParseResult<Self> {
        serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_three_decimals_and_is_cut_not_rounded() {
        let finer: DateTime<Utc> = "2026-01-31T12:00:00.999999Z".parse().unwrap();
        assert_eq!(Timestamp::from(finer).to_text(), "2026-01-31T12:00:00.999Z");
        let whole: DateTime<Utc> = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(Timestamp::from(whole).to_text(), "2026-01-31T12:00:00.000Z");
    }

    #[test]
    fn bson_holds_a_date() {
        let time = Timestamp::now();
        let document = mongodb::bson::serialize_to_vec(&std::collections::BTreeMap::from([("at", time)])).unwrap();
        let dates: mongodb::bson::Document = mongodb::bson::deserialize_from_slice(&document).unwrap();
        assert_eq!(dates.get_datetime("at").unwrap().timestamp_millis(), time.to_utc().timestamp_millis());
        let back: std::collections::BTreeMap<String, Timestamp> =
            mongodb::bson::deserialize_from_slice(&document).unwrap();
        assert_eq!(back["at"], time);
    }
}
