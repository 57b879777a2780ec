//! What the system stores: entities, each a row of its own table with an id and a version.
//!
//! Adding one: a file beside `entity/user.rs`, a migration, a variant of [`Kind`].
//! How an entity is written, announced, cached and shown is generic over [`Entity`] and is not here.

mod attributes;
mod field;
mod id;
mod order;
mod patch;
mod payment;
mod product;
mod status;
mod user;

use std::fmt;

use poem_openapi::NewType;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::{
    MySql,
    mysql::{MySqlArguments, MySqlRow},
    query::Query,
    types::Text,
};

pub use attributes::Attributes;
pub use field::{DECIMAL_SUFFIX, Facts, Field, FieldType, Value};
pub use id::{Id, IdError};
pub use order::{
    ChangeOrder, DeleteOrder, EditOrder, ExpireOrder, Item, NewItem, NewOrder, Order, OrderField, OrderStatus,
    PlaceOrders, overdue,
};
pub use patch::Patch;
pub use payment::{ChangePayment, CreatePayments, EditPayment, NewPayment, Payment, PaymentField, PaymentStatus};
pub use product::{ChangeProduct, MoveStock, NewProduct, Product, ProductField, ProductStatus};
pub use status::Status;
pub use user::{ChangeUser, NewUser, User, UserField, UserStatus, search_users};

use crate::timestamp::Timestamp;

/// What an entity is. The text form is part of topic keys, event types, cache keys and outbox rows.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    poem_openapi::Enum,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[oai(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Kind {
    User,
    Product,
    Order,
    Payment,
}

/// Something that is done for the type of a kind that is known only at run time.
pub trait Visitor {
    type Output;

    fn visit<E: Entity>(self) -> Self::Output;
}

impl Kind {
    /// As [`Entity::PLURAL`].
    #[must_use]
    pub fn plural(self) -> &'static str {
        struct Plural;
        impl Visitor for Plural {
            type Output = &'static str;

            fn visit<E: Entity>(self) -> &'static str {
                E::PLURAL
            }
        }
        self.visit(Plural)
    }

    pub fn visit<V: Visitor>(self, visitor: V) -> V::Output {
        match self {
            Self::User => visitor.visit::<User>(),
            Self::Product => visitor.visit::<Product>(),
            Self::Order => visitor.visit::<Order>(),
            Self::Payment => visitor.visit::<Payment>(),
        }
    }
}

impl From<Text<Self>> for Kind {
    fn from(Text(kind): Text<Self>) -> Self {
        kind
    }
}

/// What was done to an entity.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Action {
    Created,
    Updated,
    Deleted,
}

impl From<Text<Self>> for Action {
    fn from(Text(action): Text<Self>) -> Self {
        action
    }
}

/// The number of an entity's state: 1 for the first, one more for each change; never used twice for one id.
///
/// It is the `ETag`, the guard of an update, the event's version and the guard of every effect after the commit.
/// It stays below 2^53, so that JavaScript and Lua read it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type, NewType)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Version(pub u64);

impl Version {
    pub const FIRST: Self = Self(1);

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Which entity: its kind and its id. As text the key of its Kafka records: `user:user123`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    pub id: Id,
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.kind, self.id)
    }
}

pub type Statement<'q> = Query<'q, MySql, MySqlArguments>;

/// A row of a table of its own, stored together with the event that tells of it.
///
/// The three statements are whole and literal, so that they can be read and found. Their order is fixed:
/// `INSERT` takes id, version, `created_at`, `updated_at`, then the fields of [`bind_fields`](Self::bind_fields);
/// `UPDATE` takes version, `updated_at`, the fields, then the id and the version that is to be replaced;
/// `SELECT` ends where a `WHERE` can follow.
pub trait Entity:
    Clone + Serialize + DeserializeOwned + for<'r> sqlx::FromRow<'r, MySqlRow> + Send + Sync + Unpin + 'static
{
    const KIND: Kind;
    /// The name of the table in MySQL, of the collection in MongoDB and of the REST resource: `users`.
    const PLURAL: &'static str;
    const SELECT: &'static str;
    const INSERT: &'static str;
    const UPDATE: &'static str;
    const DELETE: &'static str;
    type Field: Field;

    fn id(&self) -> &Id;
    fn version(&self) -> Version;
    fn created_at(&self) -> Timestamp;
    fn updated_at(&self) -> Timestamp;

    /// Whose sockets hear of it: the user it belongs to.
    fn owner(&self) -> Option<&Id>;

    /// Sets what the unit of work decides.
    fn stamp(&mut self, version: Version, updated_at: Timestamp);

    fn bind_fields<'q>(&'q self, statement: Statement<'q>) -> Statement<'q>;

    /// What a condition on the field sees.
    fn value(&self, field: Self::Field) -> Value<'_>;

    fn key(&self) -> Key {
        Key { kind: Self::KIND, id: self.id().clone() }
    }
}
