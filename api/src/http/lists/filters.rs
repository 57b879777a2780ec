//! Flat filters of lists: `status=pending`, `price.gte=10`, `status.in=pending,confirmed`.

use serde_json::{Value, json};
use shared::{
    entity::{Entity, Field, FieldType, Kind, Visitor},
    specification::{MOST_VALUES, Specification, Test, parse_text_value},
};
use strum::VariantArray;

/// How a field may be compared by a parameter: by its name alone, or with a word behind it.
const RANGES: [&str; 4] = ["gt", "gte", "lt", "lte"];

/// A parameter of a list, as the document shows it.
pub(in crate::http) struct FilterForm {
    pub(in crate::http) name: String,
    pub(in crate::http) description: String,
    pub(in crate::http) schema: Value,
    /// Whether there may be several, separated by commas.
    pub(in crate::http) many: bool,
}

/// The condition that a parameter says; the rule that it breaks where it is none.
pub(super) fn condition<E: Entity>(name: &str, value: &str) -> Result<Specification<E>, String> {
    let (field, operator) = name.split_once('.').unwrap_or((name, "eq"));
    let field: E::Field = field.parse().map_err(|_| unknown())?;
    if !operators(field).any(|known| known == operator) {
        return Err(unknown());
    }
    let read = |text: &str| parse_text_value(field, text);
    let test = match operator {
        "in" => {
            let values: Vec<&str> = value.split(',').collect();
            if values.len() > MOST_VALUES {
                return Err(format!("at most {MOST_VALUES} values"));
            }
            Test::In(values.into_iter().map(read).collect::<Result<_, _>>()?)
        }
        "prefix" => Test::Prefix(text(value)?),
        "gt" => Test::Gt(read(value)?),
        "gte" => Test::Gte(read(value)?),
        "lt" => Test::Lt(read(value)?),
        "lte" => Test::Lte(read(value)?),
        _ => Test::Eq(read(value)?),
    };
    Ok(Specification::is(field, test))
}

fn unknown() -> String {
    "there is no such parameter here".to_owned()
}

fn text(value: &str) -> Result<String, String> {
    let fits = (1..=200).contains(&value.chars().count()) && !value.contains('\0');
    if fits { Ok(value.to_owned()) } else { Err("must be 1 to 200 characters".to_owned()) }
}

fn operators<F: Field>(field: F) -> impl Iterator<Item = &'static str> {
    let facts = field.facts();
    let others: &[&str] = match facts.field_type {
        FieldType::Choice(_) => &["in"],
        FieldType::Text => &["in", "prefix"],
        FieldType::Integer | FieldType::Amount | FieldType::Time => &RANGES,
    };
    let offered = facts.filterable.then(|| std::iter::once("eq").chain(others.iter().copied()));
    offered.into_iter().flatten()
}

/// The parameters of a kind's lists, and the fields that they can be sorted by.
pub(in crate::http) fn forms(kind: Kind) -> (Vec<FilterForm>, Vec<&'static str>) {
    kind.visit(Forms)
}

struct Forms;

impl Visitor for Forms {
    type Output = (Vec<FilterForm>, Vec<&'static str>);

    fn visit<E: Entity>(self) -> Self::Output {
        let fields = E::Field::VARIANTS.iter().copied();
        let forms = fields.clone().flat_map(|field| operators(field).map(move |operator| form(field, operator)));
        (forms.collect(), fields.filter(|field| field.facts().sortable).map(Field::name).collect())
    }
}

fn form<F: Field>(field: F, operator: &'static str) -> FilterForm {
    let text = |least: u32, most: u32| json!({ "type": "string", "minLength": least, "maxLength": most, "pattern": r"^[^\x00]*$" });
    let schema = match field.facts().field_type {
        FieldType::Choice(words) => json!({ "type": "string", "enum": words }),
        FieldType::Amount => {
            json!({ "type": "string", "pattern": r"^-?[0-9]{1,19}(\.[0-9]{1,4})?$", "example": "100.50" })
        }
        FieldType::Time => json!({ "type": "string", "format": "date-time", "example": "2026-01-31T12:00:00Z" }),
        FieldType::Integer => json!({ "type": "integer", "format": "int64" }),
        FieldType::Text if operator == "prefix" => text(1, 200),
        // A hundred of them must fit into an address.
        FieldType::Text if operator == "in" => text(0, 200),
        FieldType::Text => text(0, 1_000),
    };
    let name = field.name();
    match operator {
        "eq" => {
            FilterForm { name: name.to_owned(), description: format!("Only with this `{name}`."), schema, many: false }
        }
        "in" => FilterForm {
            name: format!("{name}.in"),
            description: format!("Only with one of these `{name}`, separated by commas."),
            schema: json!({ "type": "array", "items": schema, "minItems": 1, "maxItems": MOST_VALUES }),
            many: true,
        },
        operator => FilterForm {
            name: format!("{name}.{operator}"),
            description: format!("Only where `{name}` compares so ({operator})."),
            schema,
            many: false,
        },
    }
}
