//! A user: who orders and pays, and whose sockets hear of it.

mod search;

use poem_openapi::{Enum, Object, types::Example};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, types::Text};
use strum::VariantNames;

pub use search::search_users;

use super::{Entity, Facts, Field, FieldType, Id, Kind, Statement, Value, Version};
use crate::{
    change::{Amend, ChangeError, Create, Delete, Edit, Managed, Rules, Target, Wanted},
    timestamp::Timestamp,
    violation::Violation,
};

/// A user as it is stored, announced and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, FromRow, Object)]
pub struct User {
    pub id: Id,
    pub email: String,
    /// Whether no other user may have this address; decided by the configuration at each write.
    #[serde(skip)]
    #[oai(skip)]
    claims_email: bool,
    pub name: String,
    #[sqlx(try_from = "Text<UserStatus>")]
    pub status: UserStatus,
    /// Counts the changes of this user; the `ETag` of an answer.
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
pub enum UserStatus {
    #[default]
    Active,
    Suspended,
}

impl From<Text<Self>> for UserStatus {
    fn from(Text(status): Text<Self>) -> Self {
        status
    }
}

/// What a client sends to create a user, and to replace one.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct NewUser {
    /// Made by the server where it is missing; in a replacement it may only repeat the path's.
    #[oai(default)]
    pub id: Option<Id>,
    #[oai(validator(max_length = 254))]
    pub email: poem_openapi::types::Email,
    #[oai(validator(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub name: String,
    /// Where it is missing: `active` for a new user, of a replaced one what it was.
    #[oai(default)]
    pub status: Option<UserStatus>,
    /// Why the status changes; in the event and the audit trail.
    #[oai(default, validator(max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub reason: Option<String>,
}

/// What a client sends to change a user: only the members that change (RFC 7396, no member may be null).
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct ChangeUser {
    #[oai(default, validator(max_length = 254))]
    pub email: Option<poem_openapi::types::Email>,
    #[oai(default, validator(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub name: Option<String>,
    #[oai(default)]
    pub status: Option<UserStatus>,
    /// Why; in the event and the audit trail.
    #[oai(default, validator(max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub reason: Option<String>,
}

impl Example for NewUser {
    fn example() -> Self {
        let email = poem_openapi::types::Email("ada@example.com".to_owned());
        Self { id: None, email, name: "Ada Lovelace".to_owned(), status: None, reason: None }
    }
}

impl Example for ChangeUser {
    fn example() -> Self {
        Self { email: None, name: Some("Ada King".to_owned()), status: None, reason: None }
    }
}

impl User {
    fn new(new: NewUser, rules: Rules) -> Self {
        let now = Timestamp::now();
        Self {
            id: new.id.unwrap_or_else(Id::generate),
            email: new.email.0,
            claims_email: rules.unique_email,
            name: new.name,
            status: new.status.unwrap_or_default(),
            version: Version::FIRST,
            created_at: now,
            updated_at: now,
        }
    }
}

impl Managed for User {
    const PATH: &'static str = "/api/v1/users";
    const HEADING: &'static str = "Users";
    const ABOUT: &'static str = "Who orders and pays.";
    type New = NewUser;
    type Changes = ChangeUser;
    type Create = Create<Self>;
    type Edit = Edit<Self>;
    type Delete = Delete<Self>;

    fn brought_id(new: &NewUser) -> Option<&Id> {
        new.id.as_ref()
    }

    fn set_id(new: &mut NewUser, id: Id) {
        new.id = Some(id);
    }

    fn create(items: Vec<NewUser>, rules: Rules) -> Result<Create<Self>, Vec<Violation>> {
        Ok(Create(items.into_iter().map(|new| Self::new(new, rules)).collect()))
    }

    fn edit(target: Target, wanted: Wanted<Self>, rules: Rules) -> Result<Edit<Self>, Vec<Violation>> {
        Ok(Edit { target, wanted, rules })
    }

    fn delete(target: Target) -> Delete<Self> {
        Delete::new(target)
    }
}

impl Amend for User {
    fn amend(&mut self, wanted: &Wanted<Self>, edit: &Edit<Self>) -> Result<(), ChangeError> {
        let changes = match wanted.clone() {
            Wanted::Changes(changes) => changes,
            // A status is not lost by leaving it out.
            Wanted::Replacement(NewUser { email, name, status, reason, .. }) => {
                ChangeUser { email: Some(email), name: Some(name), status, reason }
            }
        };
        if let Some(email) = changes.email {
            self.email = email.0;
        }
        if let Some(name) = changes.name {
            self.name = name;
        }
        if let Some(status) = changes.status {
            self.status = status;
        }
        self.claims_email = edit.rules.unique_email;
        Ok(())
    }

    fn reason(wanted: &Wanted<Self>) -> Option<&str> {
        match wanted {
            Wanted::Replacement(new) => new.reason.as_deref(),
            Wanted::Changes(changes) => changes.reason.as_deref(),
        }
    }
}

/// What conditions on users may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::EnumString, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum UserField {
    Id,
    Email,
    Name,
    Status,
    Version,
    CreatedAt,
    UpdatedAt,
}

impl Field for UserField {
    const ID: Self = Self::Id;
    const CREATED_AT: Self = Self::CreatedAt;

    fn facts(self) -> Facts {
        match self {
            Self::Id | Self::Email | Self::Name => Facts::of(FieldType::Text).sortable().filterable(),
            Self::Status => Facts::of(FieldType::Choice(UserStatus::VARIANTS)).filterable(),
            Self::Version => Facts::of(FieldType::Integer),
            Self::CreatedAt => Facts::of(FieldType::Time).sortable().filterable(),
            Self::UpdatedAt => Facts::of(FieldType::Time),
        }
    }
}

impl Entity for User {
    const KIND: Kind = Kind::User;
    const PLURAL: &'static str = "users";
    const SELECT: &'static str = "SELECT id, email, claimed_email IS NOT NULL AS claims_email, name, status, version, \
                                  created_at, updated_at FROM users";
    const INSERT: &'static str = "INSERT INTO users \
                                  (id, version, created_at, updated_at, email, claimed_email, name, status) \
                                  VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    const UPDATE: &'static str = "UPDATE users SET version = ?, updated_at = ?, email = ?, claimed_email = ?, \
                                  name = ?, status = ? WHERE id = ? AND version = ?";
    const DELETE: &'static str = "DELETE FROM users WHERE id = ? AND version = ?";
    type Field = UserField;

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
        Some(&self.id)
    }

    fn stamp(&mut self, version: Version, updated_at: Timestamp) {
        self.version = version;
        self.updated_at = updated_at;
    }

    fn bind_fields<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        let claimed = self.claims_email.then_some(&self.email);
        statement.bind(&self.email).bind(claimed).bind(&self.name).bind(Text(self.status))
    }

    fn value(&self, field: UserField) -> Value<'_> {
        match field {
            UserField::Id => self.id.as_str().into(),
            UserField::Email => self.email.as_str().into(),
            UserField::Name => self.name.as_str().into(),
            UserField::Status => Value::choice(self.status),
            UserField::Version => self.version.into(),
            UserField::CreatedAt => Value::Time(self.created_at),
            UserField::UpdatedAt => Value::Time(self.updated_at),
        }
    }
}
