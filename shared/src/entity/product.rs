//! A product: what is ordered, with its price and stock.

mod changes;

use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row, mysql::MySqlRow, types::Text};
use strum::VariantNames;

pub use changes::{ChangeProduct, MoveStock, NewProduct};

use super::{Attributes, Entity, Facts, Field, FieldType, Id, Kind, Statement, Value, Version};
use crate::{
    money::{Amount, Currency},
    timestamp::Timestamp,
};

/// More pieces than this are not kept of one product.
const MOST_STOCK: u32 = 1_000_000_000;

/// A product as it is stored, announced and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Product {
    pub id: Id,
    /// The stock keeping unit: its number on the shelf, of no other product.
    pub sku: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub category: String,
    pub price: Amount,
    pub currency: Currency,
    /// How many pieces can be ordered.
    pub stock: u32,
    pub status: ProductStatus,
    pub attributes: Attributes,
    /// Counts the changes of this product; the `ETag` of an answer.
    pub version: Version,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    Enum,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[oai(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum ProductStatus {
    #[default]
    Active,
    /// It cannot be ordered any more.
    Archived,
}

/// What conditions on products may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::EnumString, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ProductField {
    Id,
    Sku,
    Name,
    Description,
    Category,
    Price,
    Currency,
    Stock,
    Status,
    Version,
    CreatedAt,
    UpdatedAt,
}

impl Field for ProductField {
    const ID: Self = Self::Id;
    const CREATED_AT: Self = Self::CreatedAt;

    fn facts(self) -> Facts {
        match self {
            Self::Id | Self::Sku | Self::Name => Facts::of(FieldType::Text).sortable().filterable(),
            Self::Description => Facts::of(FieldType::Text).nullable(),
            Self::Category => Facts::of(FieldType::Text).filterable(),
            Self::Price => Facts::of(FieldType::Amount).sortable().filterable(),
            Self::Currency => Facts::of(FieldType::Text),
            Self::Stock | Self::Version => Facts::of(FieldType::Integer),
            Self::Status => Facts::of(FieldType::Choice(ProductStatus::VARIANTS)).filterable(),
            Self::CreatedAt => Facts::of(FieldType::Time).sortable().filterable(),
            Self::UpdatedAt => Facts::of(FieldType::Time),
        }
    }
}

impl FromRow<'_, MySqlRow> for Product {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        let currency = row.try_get::<Text<Currency>, _>("currency")?.0;
        Ok(Self {
            id: row.try_get("id")?,
            sku: row.try_get("sku")?,
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            category: row.try_get("category")?,
            price: Amount::from_row(row, "price", currency)?,
            currency,
            stock: row.try_get("stock")?,
            status: row.try_get::<Text<ProductStatus>, _>("status")?.0,
            attributes: Attributes::from_text(row.try_get("attributes")?)?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

impl Entity for Product {
    const KIND: Kind = Kind::Product;
    const PLURAL: &'static str = "products";
    const SELECT: &'static str = "SELECT id, sku, name, description, category, price, currency, stock, status, \
                                  attributes, version, created_at, updated_at FROM products";
    const INSERT: &'static str = "INSERT INTO products (id, version, created_at, updated_at, sku, name, description, \
                                  category, price, currency, stock, status, attributes) \
                                  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    const UPDATE: &'static str = "UPDATE products SET version = ?, updated_at = ?, sku = ?, name = ?, \
                                  description = ?, category = ?, price = ?, currency = ?, stock = ?, status = ?, \
                                  attributes = ? WHERE id = ? AND version = ?";
    const DELETE: &'static str = "DELETE FROM products WHERE id = ? AND version = ?";
    type Field = ProductField;

    fn id(&self) -> &Id {
        &self.id
    }

    fn version(&self) -> Version {
        self.version
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    fn owner(&self) -> Option<&Id> {
        None
    }

    fn stamp(&mut self, version: Version, updated_at: Timestamp) {
        self.version = version;
        self.updated_at = updated_at;
    }

    fn bind_fields<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        statement
            .bind(&self.sku)
            .bind(&self.name)
            .bind(&self.description)
            .bind(&self.category)
            .bind(self.price.decimal())
            .bind(Text(self.currency))
            .bind(self.stock)
            .bind(Text(self.status))
            .bind(self.attributes.to_text())
    }

    fn value(&self, field: ProductField) -> Value<'_> {
        match field {
            ProductField::Id => self.id.as_str().into(),
            ProductField::Sku => self.sku.as_str().into(),
            ProductField::Name => self.name.as_str().into(),
            ProductField::Description => self.description.as_deref().into(),
            ProductField::Category => self.category.as_str().into(),
            ProductField::Price => Value::Amount(self.price.decimal()),
            ProductField::Currency => self.currency.code().into(),
            ProductField::Stock => Value::Integer(self.stock.into()),
            ProductField::Status => Value::choice(self.status),
            ProductField::Version => self.version.into(),
            ProductField::CreatedAt => Value::Time(self.created_at),
            ProductField::UpdatedAt => Value::Time(self.updated_at),
        }
    }
}
