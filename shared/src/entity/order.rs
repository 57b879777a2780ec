//! An order: what a user buys. Its items hold stock while it is pending or confirmed, and have left it afterwards.

mod edit;
mod expire;
mod input;
mod items;
mod place;
mod stock;

use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row, mysql::MySqlRow, types::Text};
use strum::VariantNames;

pub use edit::{DeleteOrder, EditOrder};
pub use expire::{ExpireOrder, overdue};
pub use input::{ChangeOrder, NewItem, NewOrder};
pub use place::PlaceOrders;

use super::{Entity, Facts, Field, FieldType, Id, Kind, Statement, Status, Value, Version};
use crate::{
    money::{Amount, Currency},
    timestamp::Timestamp,
};

/// An order as it is stored, announced and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
pub struct Order {
    pub id: Id,
    pub user_id: Id,
    pub status: OrderStatus,
    /// They do not change.
    pub items: Vec<Item>,
    /// Of all items, at the products' prices when it was placed.
    pub total_amount: Amount,
    pub currency: Currency,
    /// Counts the changes of this order; the `ETag` of an answer.
    pub version: Version,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// So many pieces of one product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
#[oai(rename = "OrderItem")]
pub struct Item {
    pub product_id: Id,
    pub quantity: u32,
    /// The product's price when the order was placed.
    pub unit_price: Amount,
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
    strum::VariantArray,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[oai(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum OrderStatus {
    #[default]
    Pending,
    Confirmed,
    Processing,
    Shipped,
    Delivered,
    Returned,
    Cancelled,
}

impl Status for OrderStatus {
    fn next(self) -> &'static [Self] {
        match self {
            Self::Pending => &[Self::Confirmed, Self::Cancelled],
            Self::Confirmed => &[Self::Processing, Self::Cancelled],
            Self::Processing => &[Self::Shipped],
            Self::Shipped => &[Self::Delivered],
            Self::Delivered => &[Self::Returned],
            Self::Returned | Self::Cancelled => &[],
        }
    }
}

impl OrderStatus {
    /// Whether its items are held back from the stock and go back there when it ends now.
    ///
    /// Who left these statuses never comes back to them: there is no such step.
    #[must_use]
    pub fn holds_stock(self) -> bool {
        matches!(self, Self::Pending | Self::Confirmed)
    }
}

/// What conditions on orders may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::EnumString, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OrderField {
    Id,
    UserId,
    Status,
    TotalAmount,
    Currency,
    Version,
    CreatedAt,
    UpdatedAt,
}

impl Field for OrderField {
    const ID: Self = Self::Id;
    const CREATED_AT: Self = Self::CreatedAt;

    fn facts(self) -> Facts {
        match self {
            Self::Id => Facts::of(FieldType::Text).sortable().filterable(),
            Self::UserId => Facts::of(FieldType::Text).filterable(),
            Self::Status => Facts::of(FieldType::Choice(<OrderStatus as VariantNames>::VARIANTS)).filterable(),
            Self::TotalAmount => Facts::of(FieldType::Amount).sortable().filterable(),
            Self::Currency => Facts::of(FieldType::Text),
            Self::Version => Facts::of(FieldType::Integer),
            Self::CreatedAt => Facts::of(FieldType::Time).sortable().filterable(),
            Self::UpdatedAt => Facts::of(FieldType::Time),
        }
    }
}

impl FromRow<'_, MySqlRow> for Order {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        let currency = row.try_get::<Text<Currency>, _>("currency")?.0;
        Ok(Self {
            id: row.try_get("id")?,
            user_id: row.try_get("user_id")?,
            status: row.try_get::<Text<OrderStatus>, _>("status")?.0,
            items: items::from_row(row, currency)?,
            total_amount: Amount::from_row(row, "total_amount", currency)?,
            currency,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

impl Entity for Order {
    const KIND: Kind = Kind::Order;
    const PLURAL: &'static str = "orders";
    // The items lie in a table of their own and are inserted by `place`.
    const SELECT: &'static str = "SELECT id, user_id, status, total_amount, currency, version, created_at, updated_at, \
                                  (SELECT JSON_ARRAYAGG(JSON_OBJECT('line', line, 'product_id', product_id, \
                                  'quantity', quantity, 'unit_price', CAST(unit_price AS CHAR))) \
                                  FROM order_items WHERE order_id = orders.id) AS items FROM orders";
    const INSERT: &'static str = "INSERT INTO orders (id, version, created_at, updated_at, user_id, status, \
                                  total_amount, currency) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    const UPDATE: &'static str = "UPDATE orders SET version = ?, updated_at = ?, user_id = ?, status = ?, \
                                  total_amount = ?, currency = ? WHERE id = ? AND version = ?";
    const DELETE: &'static str = "DELETE FROM orders WHERE id = ? AND version = ?";
    type Field = OrderField;

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
        Some(&self.user_id)
    }

    fn stamp(&mut self, version: Version, updated_at: Timestamp) {
        self.version = version;
        self.updated_at = updated_at;
    }

    fn bind_fields<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        statement
            .bind(&self.user_id)
            .bind(Text(self.status))
            .bind(self.total_amount.decimal())
            .bind(Text(self.currency))
    }

    fn value(&self, field: OrderField) -> Value<'_> {
        match field {
            OrderField::Id => self.id.as_str().into(),
            OrderField::UserId => self.user_id.as_str().into(),
            OrderField::Status => Value::choice(self.status),
            OrderField::TotalAmount => Value::Amount(self.total_amount.decimal()),
            OrderField::Currency => self.currency.code().into(),
            OrderField::Version => self.version.into(),
            OrderField::CreatedAt => Value::Time(self.created_at),
            OrderField::UpdatedAt => Value::Time(self.updated_at),
        }
    }
}
