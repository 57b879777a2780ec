//! A user: who orders and pays, and whose sockets hear of it.

use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, types::Text};

use super::{Entity, Id, Kind, Statement, Version};
use crate::timestamp::Timestamp;

/// A user as it is stored, announced and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, FromRow, Object)]
pub struct User {
    pub id: Id,
    pub email: String,
    pub name: String,
    #[sqlx(try_from = "Text<UserStatus>")]
    pub status: UserStatus,
    /// Counts the changes of this user; the `ETag` of an answer.
    pub version: Version,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Enum, strum::Display, strum::EnumString,
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
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
pub struct NewUser {
    /// Made by the server where it is missing; in a replacement it may only repeat the path's.
    #[oai(default)]
    pub id: Option<Id>,
    #[oai(validator(max_length = 254))]
    pub email: poem_openapi::types::Email,
    #[oai(validator(min_length = 1, max_length = 200, pattern = r"^[^\p{Cc}]*$"))]
    pub name: String,
    /// Where it is missing: `active` for a new user, of a replaced one what it was.
    #[oai(default)]
    pub status: Option<UserStatus>,
}

/// What a client sends to change a user: only the members that change (RFC 7396, no member may be null).
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
pub struct ChangeUser {
    #[oai(default, validator(max_length = 254))]
    pub email: Option<poem_openapi::types::Email>,
    #[oai(default, validator(min_length = 1, max_length = 200, pattern = r"^[^\p{Cc}]*$"))]
    pub name: Option<String>,
    #[oai(default)]
    pub status: Option<UserStatus>,
}

impl User {
    /// A user that is not yet stored.
    #[must_use]
    pub fn new(new: NewUser) -> Self {
        let now = Timestamp::now();
        Self {
            id: new.id.unwrap_or_else(Id::generate),
            email: new.email.0,
            name: new.name,
            status: new.status.unwrap_or_default(),
            version: Version::FIRST,
            created_at: now,
            updated_at: now,
        }
    }

    /// Takes over everything a client decides, as `PUT` does.
    pub fn replace(&mut self, new: NewUser) {
        self.email = new.email.0;
        self.name = new.name;
        // A status is not lost by leaving it out.
        self.status = new.status.unwrap_or(self.status);
    }

    /// Takes over what was sent, as `PATCH` does.
    pub fn change(&mut self, changes: ChangeUser) {
        if let Some(email) = changes.email {
            self.email = email.0;
        }
        if let Some(name) = changes.name {
            self.name = name;
        }
        if let Some(status) = changes.status {
            self.status = status;
        }
    }
}

impl Entity for User {
    const KIND: Kind = Kind::User;
    const SELECT: &'static str = "SELECT id, email, name, status, version, created_at, updated_at FROM users";
    const INSERT: &'static str = "INSERT INTO users (id, version, created_at, updated_at, email, name, status) \
                                  VALUES (?, ?, ?, ?, ?, ?, ?)";
    const UPDATE: &'static str = "UPDATE users SET version = ?, updated_at = ?, email = ?, name = ?, status = ? \
                                  WHERE id = ? AND version = ?";
    const DELETE: &'static str = "DELETE FROM users WHERE id = ? AND version = ?";

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
        statement.bind(&self.email).bind(&self.name).bind(Text(self.status))
    }
}
