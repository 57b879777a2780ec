//! Random conditions whose values come from the data, as they are or a little beside it.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use rust_decimal::Decimal;
use shared::{
    entity::{Entity, Field, FieldType, Value},
    query::Sort,
    specification::{MOST_DEPTH, MOST_TERMS, Specification, Test},
    timestamp::Timestamp,
};
use strum::VariantArray;

/// What grows trees of an entity.
pub(super) struct Trees<E: Entity> {
    random: StdRng,
    values: HashMap<E::Field, Vec<Value<'static>>>,
}

impl<E: Entity> Trees<E> {
    pub(super) fn new(random: StdRng, entities: &[E]) -> Self {
        let values = |field: &E::Field| {
            let values = entities.iter().map(|entity| entity.value(*field).into_owned());
            (*field, values.filter(|value| *value != Value::Null).collect())
        };
        Self { random, values: E::Field::VARIANTS.iter().map(values).collect() }
    }

    /// Within the limits of what clients may send.
    pub(super) fn specification(&mut self) -> Specification<E> {
        loop {
            let depth = self.random.random_range(1..=MOST_DEPTH);
            let tree = self.node(depth);
            if terms(&tree) <= MOST_TERMS {
                return tree;
            }
        }
    }

    pub(super) fn sort(&mut self) -> Sort<E::Field> {
        let sortable = E::Field::VARIANTS.iter().filter(|field| field.facts().sortable).collect::<Vec<_>>();
        let field = sortable.choose(&mut self.random).map_or(E::Field::ID, |field| **field);
        let direction = if self.random.random() { "-" } else { "" };
        Sort::parse(&format!("{direction}{}", field.name())).unwrap_or_default()
    }

    pub(super) fn limit(&mut self) -> u32 {
        self.random.random_range(1..=25)
    }

    fn node(&mut self, depth: usize) -> Specification<E> {
        match self.random.random_range(0..10) {
            _ if depth == 1 => self.leaf(),
            0..=2 => Specification::All(self.nodes(depth - 1)),
            3..=5 => Specification::Any(self.nodes(depth - 1)),
            6..=7 => Specification::Not(Box::new(self.node(depth - 1))),
            _ => self.leaf(),
        }
    }

    fn nodes(&mut self, depth: usize) -> Vec<Specification<E>> {
        let count = self.random.random_range(0..=3).min(self.random.random_range(1..=30));
        (0..count).map(|_| self.node(depth)).collect()
    }

    fn leaf(&mut self) -> Specification<E> {
        let field = E::Field::VARIANTS.choose(&mut self.random).copied().unwrap_or(E::Field::ID);
        let is_text = field.facts().field_type == FieldType::Text;
        let test = match self.random.random_range(0..12) {
            0 => Test::Eq(self.value(field)),
            1 => Test::Ne(self.value(field)),
            2 => Test::Lt(self.value(field)),
            3 => Test::Lte(self.value(field)),
            4 => Test::Gt(self.value(field)),
            5 => Test::Gte(self.value(field)),
            6 | 7 => Test::In((0..self.random.random_range(0..6)).map(|_| self.value(field)).collect()),
            8 => Test::IsNull(self.random.random()),
            9 | 10 if is_text => Test::Prefix(self.part(field, true)),
            _ if is_text => Test::Contains(self.part(field, false)),
            _ => Test::Ne(self.value(field)),
        };
        Specification::is(field, test)
    }

    fn known(&mut self, field: E::Field) -> Value<'static> {
        let known = self.values.get(&field).and_then(|values| values.choose(&mut self.random)).cloned();
        known.unwrap_or(Value::Text("x".into()))
    }

    fn value(&mut self, field: E::Field) -> Value<'static> {
        if self.random.random_range(0..50) == 0 {
            return Value::Null;
        }
        let known = self.known(field);
        if self.random.random() {
            return known;
        }
        match (known, field.facts().field_type) {
            (Value::Text(_), FieldType::Choice(words)) => {
                Value::choice(words.choose(&mut self.random).copied().unwrap_or_default())
            }
            (Value::Text(text), _) => Value::Text(self.beside(&text).into()),
            (Value::Integer(number), _) => {
                let others = [number + 1, number - 1, -number, i64::MAX, i64::MIN, 0];
                Value::Integer(others.choose(&mut self.random).copied().unwrap_or_default())
            }
            (Value::Amount(amount), _) => Value::Amount(self.amount(amount)),
            (Value::Time(time), _) => Value::Time(self.time(time.to_utc())),
            (other, _) => other,
        }
    }

    fn amount(&mut self, amount: Decimal) -> Decimal {
        let others = [
            amount + Decimal::new(1, 4),
            amount - Decimal::new(1, 4),
            amount + Decimal::new(1, 6),
            amount.normalize(),
            amount.trunc(),
            -amount,
            Decimal::MAX,
            Decimal::MIN,
            Decimal::new(1, 28),
            Decimal::ZERO,
        ];
        others.choose(&mut self.random).copied().unwrap_or_default()
    }

    fn time(&mut self, time: DateTime<Utc>) -> Timestamp {
        let milliseconds = *[1, -1, 500, -86_400_000, 86_400_000].choose(&mut self.random).unwrap_or(&1);
        let year = |text| DateTime::parse_from_rfc3339(text).map_or(time, |time| time.to_utc());
        Timestamp::from(match self.random.random_range(0..8) {
            0 => year("1000-01-01T00:00:00Z"),
            1 => year("9999-12-31T23:59:59.999Z"),
            2 => year("1969-12-31T23:59:59.999Z"),
            _ => time + TimeDelta::milliseconds(milliseconds),
        })
    }

    fn beside(&mut self, text: &str) -> String {
        let letters: Vec<char> = text.chars().collect();
        match self.random.random_range(0..8) {
            0 => letters.iter().take(letters.len() / 2).collect(),
            1 => format!("{text} "),
            2 => text.trim_end().to_owned(),
            3 => text.to_uppercase(),
            4 => text.to_lowercase(),
            5 => format!("{text}\u{1}"),
            6 => text.replace(|letter: char| !letter.is_alphanumeric(), "%"),
            _ => letters.iter().rev().collect(),
        }
    }

    /// Some of a text, never nothing.
    fn part(&mut self, field: E::Field, first: bool) -> String {
        let text = match self.known(field) {
            Value::Text(text) if self.random.random_range(0..4) > 0 => text.into_owned(),
            Value::Text(text) => self.beside(&text),
            _ => String::new(),
        };
        let letters: Vec<char> = text.chars().collect();
        let begin = if first || letters.is_empty() { 0 } else { self.random.random_range(0..letters.len()) };
        let length = self.random.random_range(1..=4);
        let part: String = letters.iter().skip(begin).take(length).collect();
        if part.is_empty() { "%".to_owned() } else { part }
    }
}

pub(super) fn terms<E: Entity>(tree: &Specification<E>) -> usize {
    match tree {
        Specification::All(parts) | Specification::Any(parts) => parts.iter().map(terms).sum::<usize>().max(1),
        Specification::Not(part) => terms(part),
        Specification::Is { .. } => 1,
    }
}

/// Whether a value of it is NULL, which no client can send.
pub(super) fn compares_with_null<E: Entity>(tree: &Specification<E>) -> bool {
    match tree {
        Specification::All(parts) | Specification::Any(parts) => parts.iter().any(compares_with_null),
        Specification::Not(part) => compares_with_null(part),
        Specification::Is { test, .. } => match test {
            Test::Eq(value)
            | Test::Ne(value)
            | Test::Lt(value)
            | Test::Lte(value)
            | Test::Gt(value)
            | Test::Gte(value) => *value == Value::Null,
            Test::In(values) => values.contains(&Value::Null),
            Test::IsNull(_) | Test::Prefix(_) | Test::Contains(_) => false,
        },
    }
}
