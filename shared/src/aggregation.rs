//! Sums over groups of entities as data, interpreted alike by SQL and by BSON.

use std::str::FromStr;

use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::{
    entity::{Entity, Field, FieldType, Value},
    money::Currency,
    specification::Specification,
    timestamp::Timestamp,
    violation::Violation,
};

/// Beyond it groups are left out, and the answer says so.
pub const MOST_GROUPS: u32 = 1_000;
/// Of an average, in decimals.
const AVERAGE_DECIMALS: u32 = 8;

/// What is asked of a repository: measures of each group of the entities that fulfil a condition.
///
/// Amounts of several currencies are never added: [`Aggregation::new`] refuses it.
#[derive(Clone, Debug)]
pub struct Aggregation<E: Entity> {
    pub specification: Specification<E>,
    groups: Vec<Group<E::Field>>,
    measures: Vec<Measure<E::Field>>,
}

/// What entities of one group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<F> {
    pub field: F,
    /// Of a time, and only of one.
    pub period: Option<Period>,
}

/// In UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Period {
    Day,
    /// From Monday (ISO 8601).
    Week,
    Month,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Function {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure<F> {
    Count,
    Of { function: Function, field: F },
}

/// One group: what its entities have in common, and the measures, each in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    pub keys: Vec<Json>,
    pub measures: Vec<Json>,
}

/// What a store answers of one group, as text: the interpreters agree by reading the same of it.
pub(crate) struct RawRow {
    pub(crate) keys: Vec<Option<String>>,
    pub(crate) count: u64,
    /// Of each measure that is no count: its sum for a sum and an average, else its least or greatest value.
    pub(crate) values: Vec<Option<String>>,
}

impl<F: Field> Measure<F> {
    /// As the answer calls it: `count`, `sum_amount`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Count => "count".to_owned(),
            Self::Of { function, field } => format!("{}_{}", <&str>::from(function), field.name()),
        }
    }
}

impl<E: Entity> Aggregation<E> {
    /// Checks what is asked for; the pointers begin with `/group_by` and `/aggregate`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(
        specification: Specification<E>,
        groups: Vec<Group<E::Field>>,
        measures: Vec<Measure<E::Field>>,
    ) -> Result<Self, Vec<Violation>> {
        let this = Self { specification, groups, measures };
        let groups = this.groups.iter().enumerate().filter_map(|(index, group)| {
            let rule = match (group.field.facts().field_type, group.period) {
                (FieldType::Time, None) => "a time is grouped by a period: day, week or month",
                (FieldType::Amount, _) => "amounts make no groups",
                (FieldType::Text | FieldType::Choice(_) | FieldType::Integer, Some(_)) => "only a time has periods",
                _ => return None,
            };
            Some(Violation::at(&format!("/group_by/{index}"), "not-allowed", rule.to_owned()))
        });
        let measures = this.measures.iter().enumerate().filter_map(|(index, measure)| {
            let rule = this.broken(*measure)?;
            Some(Violation::at(&format!("/aggregate/{index}"), "not-allowed", rule.to_owned()))
        });
        let violations: Vec<_> = groups.chain(measures).collect();
        if violations.is_empty() { Ok(this) } else { Err(violations) }
    }

    fn broken(&self, measure: Measure<E::Field>) -> Option<&'static str> {
        let Measure::Of { function, field } = measure else { return None };
        match (field.facts().field_type, function) {
            (_, Function::Count) => Some("a count is of no field"),
            (FieldType::Text | FieldType::Choice(_), _) => Some("text has no such measure"),
            (FieldType::Time, Function::Sum | Function::Avg) => Some("of a time there are min and max only"),
            (FieldType::Amount, _) if !self.has_one_currency() => {
                Some("amounts of several currencies: group by currency, or name one in the condition")
            }
            _ => None,
        }
    }

    fn has_one_currency(&self) -> bool {
        let Ok(currency) = E::Field::from_str("currency") else { return false };
        self.groups.iter().any(|group| group.field == currency) || self.specification.only_value(currency).is_some()
    }

    #[must_use]
    pub fn groups(&self) -> &[Group<E::Field>] {
        &self.groups
    }

    #[must_use]
    pub fn measures(&self) -> &[Measure<E::Field>] {
        &self.measures
    }

    /// The measures that a store is asked for besides the count.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (Function, E::Field)> + '_ {
        self.measures.iter().filter_map(|measure| match measure {
            Measure::Count => None,
            Measure::Of { function: Function::Avg, field } => Some((Function::Sum, *field)),
            Measure::Of { function, field } => Some((*function, *field)),
        })
    }

    /// What a client is told of a store's answer.
    pub(crate) fn row(&self, raw: &RawRow) -> GroupRow {
        let currency = self.currency(&raw.keys);
        let mut values = raw.values.iter();
        let measures = self.measures.iter().map(|measure| match measure {
            Measure::Count => raw.count.into(),
            Measure::Of { function, field } => match values.next() {
                Some(Some(text)) if *function == Function::Avg => average(text, raw.count),
                Some(Some(text)) => shown(field.facts().field_type, text, currency),
                _ => Json::Null,
            },
        });
        let measures = measures.collect();
        let keys = self.groups.iter().zip(&raw.keys).map(|(group, key)| match (group.period, key) {
            (_, None) => Json::Null,
            (Some(_), Some(date)) => date.as_str().into(),
            (None, Some(text)) => shown(group.field.facts().field_type, text, None),
        });
        GroupRow { keys: keys.collect(), measures }
    }

    fn currency(&self, keys: &[Option<String>]) -> Option<Currency> {
        let field = E::Field::from_str("currency").ok()?;
        let grouped = self.groups.iter().position(|group| group.field == field).and_then(|at| keys.get(at)?.as_deref());
        match (grouped, self.specification.only_value(field)) {
            (Some(code), _) => code.parse().ok(),
            (None, Some(Value::Text(code))) => code.parse().ok(),
            _ => None,
        }
    }
}

fn shown(field_type: FieldType, text: &str, currency: Option<Currency>) -> Json {
    match field_type {
        FieldType::Integer => text.parse::<i64>().map_or_else(|_| text.into(), Json::from),
        FieldType::Amount => match (Decimal::from_str_exact(text), currency) {
            (Ok(decimal), Some(currency)) => {
                let mut scaled = decimal.normalize();
                scaled.rescale(currency.decimals().max(scaled.scale()));
                scaled.to_string().into()
            }
            // More digits than can be counted with here are still exact as they came.
            _ => text.into(),
        },
        FieldType::Time => {
            let time = chrono::DateTime::parse_from_rfc3339(text);
            time.map_or_else(|_| text.into(), |time| Timestamp::from(time.to_utc()).to_text().into())
        }
        FieldType::Text | FieldType::Choice(_) => text.into(),
    }
}

fn average(sum: &str, count: u64) -> Json {
    let average = Decimal::from_str(sum).ok().and_then(|sum| sum.checked_div(Decimal::from(count)));
    average.map_or(Json::Null, |average| average.round_dp(AVERAGE_DECIMALS).normalize().to_string().into())
}
