//! Conditions as JSON: `{"all": [{"field": "status", "op": "eq", "value": "pending"}, {"not": …}]}`.

use serde_json::{Map, Value as Json, json};

use super::{Specification, Test, parse_json_value};
use crate::{
    entity::{Entity, Field, FieldType, Value},
    violation::Violation,
};

/// Levels of `all`, `any` and `not`, the tests included.
pub const MOST_DEPTH: usize = 8;
/// Tests in all.
pub const MOST_TERMS: usize = 64;
/// Values of one `in`.
pub const MOST_VALUES: usize = 100;

/// In characters, of `prefix` and `contains`.
const LONGEST_PART: usize = 200;

impl<E: Entity> Specification<E> {
    /// Reads a condition that a client sent; `pointer` is where it was in the body.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(json: &Json, pointer: &str) -> Result<Self, Vec<Violation>> {
        let mut reader = Reader { terms: 0, violations: Vec::new() };
        let read = reader.node(json, pointer, 1);
        if reader.terms > MOST_TERMS {
            let rule = format!("at most {MOST_TERMS} tests");
            reader.violations.push(Violation::at(pointer, "too-many-terms", rule));
        }
        match read {
            Some(specification) if reader.violations.is_empty() => Ok(specification),
            _ => Err(reader.violations),
        }
    }

    /// The same as [`parse`](Self::parse) reads.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let list = |parts: &[Self]| parts.iter().map(Self::to_json).collect::<Vec<_>>();
        match self {
            Self::All(parts) => json!({ "all": list(parts) }),
            Self::Any(parts) => json!({ "any": list(parts) }),
            Self::Not(part) => json!({ "not": part.to_json() }),
            Self::Is { field, test } => {
                let (op, value) = test.to_json();
                json!({ "field": field.name(), "op": op, "value": value })
            }
        }
    }
}

impl Test {
    fn to_json(&self) -> (&'static str, Json) {
        match self {
            Self::Eq(value) => ("eq", of_value(value)),
            Self::Ne(value) => ("ne", of_value(value)),
            Self::Lt(value) => ("lt", of_value(value)),
            Self::Lte(value) => ("lte", of_value(value)),
            Self::Gt(value) => ("gt", of_value(value)),
            Self::Gte(value) => ("gte", of_value(value)),
            Self::In(values) => ("in", values.iter().map(of_value).collect()),
            Self::IsNull(null) => ("is_null", (*null).into()),
            Self::Prefix(text) => ("prefix", text.as_str().into()),
            Self::Contains(text) => ("contains", text.as_str().into()),
        }
    }
}

fn of_value(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Text(text) => text.as_ref().into(),
        Value::Integer(number) => (*number).into(),
        Value::Amount(decimal) => decimal.to_string().into(),
        Value::Time(time) => time.to_text().into(),
    }
}

struct Reader {
    /// Also what is no test but has no parts either: so the reading of nonsense has an end.
    terms: usize,
    violations: Vec<Violation>,
}

impl Reader {
    fn refuse(&mut self, pointer: &str, code: &str, rule: impl Into<String>) {
        self.violations.push(Violation::at(pointer, code, rule.into()));
    }

    /// False beyond the limit, where nothing is told but that.
    fn counts_one_more(&mut self) -> bool {
        self.terms += 1;
        self.terms <= MOST_TERMS
    }

    fn refuse_node<T>(&mut self, pointer: &str, code: &str, rule: &str) -> Option<T> {
        if self.counts_one_more() {
            self.refuse(pointer, code, rule);
        }
        None
    }

    fn node<E: Entity>(&mut self, json: &Json, pointer: &str, depth: usize) -> Option<Specification<E>> {
        if depth > MOST_DEPTH {
            return self.refuse_node(pointer, "too-deep", &format!("at most {MOST_DEPTH} levels"));
        }
        let Some(members) = json.as_object() else {
            return self.refuse_node(pointer, "wrong-type", "must be an object");
        };
        let only = if members.len() == 1 { members.iter().next() } else { None };
        match only.map(|(name, value)| (name.as_str(), value)) {
            Some(("all", value)) => self.nodes(value, &format!("{pointer}/all"), depth).map(Specification::All),
            Some(("any", value)) => self.nodes(value, &format!("{pointer}/any"), depth).map(Specification::Any),
            Some(("not", value)) => {
                let part = self.node(value, &format!("{pointer}/not"), depth + 1)?;
                Some(Specification::Not(Box::new(part)))
            }
            _ => self.test(members, pointer),
        }
    }

    fn nodes<E: Entity>(&mut self, json: &Json, pointer: &str, depth: usize) -> Option<Vec<Specification<E>>> {
        let Some(items) = json.as_array() else {
            return self.refuse_node(pointer, "wrong-type", "must be an array");
        };
        if items.is_empty() && !self.counts_one_more() {
            return None;
        }
        // Beyond the limit nothing is read: it is refused anyway.
        let items = items.iter().take(MOST_TERMS + 1).enumerate();
        let parts: Vec<_> =
            items.map(|(index, item)| self.node(item, &format!("{pointer}/{index}"), depth + 1)).collect();
        parts.into_iter().collect()
    }

    fn test<E: Entity>(&mut self, members: &Map<String, Json>, pointer: &str) -> Option<Specification<E>> {
        if !self.counts_one_more() {
            return None;
        }
        for name in members.keys().filter(|name| !["field", "op", "value"].contains(&name.as_str())) {
            let rule = "a condition is {field, op, value}, {all: […]}, {any: […]} or {not: …}";
            self.refuse(&Violation::member(pointer, name), "unknown-field", rule);
        }
        let missing: Vec<_> =
            ["field", "op", "value"].into_iter().filter(|name| !members.contains_key(*name)).collect();
        for name in &missing {
            self.refuse(&Violation::member(pointer, name), "required", "the field is missing");
        }
        let (field, op, value) = (members.get("field")?, members.get("op")?, members.get("value")?);
        let Some(field) = field.as_str().and_then(|name| name.parse::<E::Field>().ok()) else {
            let names: Vec<_> = <E::Field as strum::VariantArray>::VARIANTS.iter().map(|field| field.name()).collect();
            self.refuse(&format!("{pointer}/field"), "not-allowed", format!("must be one of {}", names.join(", ")));
            return None;
        };
        match test(field, op.as_str().unwrap_or_default(), value) {
            Ok(test) => Some(Specification::Is { field, test }),
            Err((member, code, rule)) => {
                self.refuse(&format!("{pointer}/{member}"), code, rule);
                None
            }
        }
    }
}

/// What is wrong, with the member that is to blame.
type Broken = (&'static str, &'static str, String);

fn test<F: Field>(field: F, op: &str, value: &Json) -> Result<Test, Broken> {
    let read = |json: &Json| parse_json_value(field, json).map_err(|rule| ("value", "invalid", rule));
    let is_text = field.facts().field_type == FieldType::Text;
    Ok(match op {
        "eq" => Test::Eq(read(value)?),
        "ne" => Test::Ne(read(value)?),
        "lt" => Test::Lt(read(value)?),
        "lte" => Test::Lte(read(value)?),
        "gt" => Test::Gt(read(value)?),
        "gte" => Test::Gte(read(value)?),
        "in" => Test::In(values(value)?.iter().map(read).collect::<Result<_, _>>()?),
        "is_null" => {
            Test::IsNull(value.as_bool().ok_or(("value", "wrong-type", "must be true or false".to_owned()))?)
        }
        "prefix" if is_text => Test::Prefix(part(value)?),
        "contains" if is_text => Test::Contains(part(value)?),
        "prefix" | "contains" => return Err(("op", "not-allowed", "only text has parts".to_owned())),
        _ => {
            let rule = "must be one of eq, ne, lt, lte, gt, gte, in, is_null, prefix, contains";
            return Err(("op", "not-allowed", rule.to_owned()));
        }
    })
}

fn values(value: &Json) -> Result<&[Json], Broken> {
    match value.as_array() {
        Some(values) if values.len() <= MOST_VALUES => Ok(values),
        Some(_) => Err(("value", "too-long", format!("at most {MOST_VALUES} values"))),
        None => Err(("value", "wrong-type", "must be an array".to_owned())),
    }
}

fn part(value: &Json) -> Result<String, Broken> {
    match value.as_str() {
        Some(text) if (1..=LONGEST_PART).contains(&text.chars().count()) && !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(("value", "invalid", format!("must be text of 1 to {LONGEST_PART} characters, without NUL"))),
    }
}
