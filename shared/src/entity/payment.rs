//! A payment: an amount that a user pays through a gateway, for an order or without one.

mod changes;
mod input;

use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row, mysql::MySqlRow, types::Text};
use strum::VariantNames;

pub use changes::{CreatePayments, EditPayment};
pub use input::{ChangePayment, NewPayment};

use super::{Entity, Facts, Field, FieldType, Id, Kind, Statement, Status, Value, Version};
use crate::{
    money::{Amount, Currency},
    timestamp::Timestamp,
};

/// A payment as it is stored, announced and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Payment {
    pub id: Id,
    pub user_id: Id,
    /// An order of the same user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<Id>,
    pub amount: Amount,
    pub currency: Currency,
    pub gateway: String,
    /// What the gateway calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_reference: Option<String>,
    pub status: PaymentStatus,
    /// Counts the changes of this payment; the `ETag` of an answer.
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
    strum::VariantArray,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[oai(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum PaymentStatus {
    #[default]
    Pending,
    Processing,
    Completed,
    Failed,
    Cancelled,
    Refunded,
}

impl Status for PaymentStatus {
    fn next(self) -> &'static [Self] {
        match self {
            Self::Pending => &[Self::Processing, Self::Cancelled],
            Self::Processing => &[Self::Completed, Self::Failed],
            Self::Completed => &[Self::Refunded],
            Self::Failed | Self::Cancelled | Self::Refunded => &[],
        }
    }
}

impl PaymentStatus {
    /// Whether money of it is on its way or has arrived: its order must not be cancelled then.
    #[must_use]
    pub fn pays(self) -> bool {
        matches!(self, Self::Processing | Self::Completed)
    }

    /// Whether nothing was ever paid by it.
    #[must_use]
    pub fn is_deletable(self) -> bool {
        matches!(self, Self::Pending | Self::Failed | Self::Cancelled)
    }
}

/// What conditions on payments may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::EnumString, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum PaymentField {
    Id,
    UserId,
    OrderId,
    Amount,
    Currency,
    Gateway,
    GatewayReference,
    Status,
    Version,
    CreatedAt,
    UpdatedAt,
}

impl Field for PaymentField {
    const ID: Self = Self::Id;
    const CREATED_AT: Self = Self::CreatedAt;

    fn facts(self) -> Facts {
        match self {
            Self::Id => Facts::of(FieldType::Text).sortable().filterable(),
            Self::UserId => Facts::of(FieldType::Text).filterable(),
            Self::OrderId => Facts::of(FieldType::Text).nullable().filterable(),
            Self::Amount => Facts::of(FieldType::Amount).sortable().filterable(),
            Self::Currency | Self::Gateway => Facts::of(FieldType::Text),
            Self::GatewayReference => Facts::of(FieldType::Text).nullable(),
            Self::Status => Facts::of(FieldType::Choice(<PaymentStatus as VariantNames>::VARIANTS)).filterable(),
            Self::Version => Facts::of(FieldType::Integer),
            Self::CreatedAt => Facts::of(FieldType::Time).sortable().filterable(),
            Self::UpdatedAt => Facts::of(FieldType::Time),
        }
    }
}

impl FromRow<'_, MySqlRow> for Payment {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        let currency = row.try_get::<Text<Currency>, _>("currency")?.0;
        Ok(Self {
            id: row.try_get("id")?,
            user_id: row.try_get("user_id")?,
            order_id: row.try_get("order_id")?,
            amount: Amount::from_row(row, "amount", currency)?,
            currency,
            gateway: row.try_get("gateway")?,
            gateway_reference: row.try_get("gateway_reference")?,
            status: row.try_get::<Text<PaymentStatus>, _>("status")?.0,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

impl Entity for Payment {
    const KIND: Kind = Kind::Payment;
    const PLURAL: &'static str = "payments";
    const SELECT: &'static str = "SELECT id, user_id, order_id, amount, currency, gateway, gateway_reference, status, \
                                  version, created_at, updated_at FROM payments";
    const INSERT: &'static str = "INSERT INTO payments (id, version, created_at, updated_at, user_id, order_id, \
                                  amount, currency, gateway, gateway_reference, status) \
                                  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    const UPDATE: &'static str = "UPDATE payments SET version = ?, updated_at = ?, user_id = ?, order_id = ?, \
                                  amount = ?, currency = ?, gateway = ?, gateway_reference = ?, status = ? \
                                  WHERE id = ? AND version = ?";
    const DELETE: &'static str = "DELETE FROM payments WHERE id = ? AND version = ?";
    type Field = PaymentField;

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
            .bind(&self.order_id)
            .bind(self.amount.decimal())
            .bind(Text(self.currency))
            .bind(&self.gateway)
            .bind(&self.gateway_reference)
            .bind(Text(self.status))
    }

    fn value(&self, field: PaymentField) -> Value<'_> {
        match field {
            PaymentField::Id => self.id.as_str().into(),
            PaymentField::UserId => self.user_id.as_str().into(),
            PaymentField::OrderId => self.order_id.as_ref().map(Id::as_str).into(),
            PaymentField::Amount => Value::Amount(self.amount.decimal()),
            PaymentField::Currency => self.currency.code().into(),
            PaymentField::Gateway => self.gateway.as_str().into(),
            PaymentField::GatewayReference => self.gateway_reference.as_deref().into(),
            PaymentField::Status => Value::choice(self.status),
            PaymentField::Version => self.version.into(),
            PaymentField::CreatedAt => Value::Time(self.created_at),
            PaymentField::UpdatedAt => Value::Time(self.updated_at),
        }
    }
}
