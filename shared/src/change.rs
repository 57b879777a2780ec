//! The changes that are the same for every entity. Each is one transaction and can be done again from its beginning.

use std::collections::HashSet;

use thiserror::Error;

use crate::{
    entity::{Entity, Id, Version},
    store::Change,
    unit_of_work::{CreateError, UnitOfWork, WriteError},
    violation::Violation,
};

/// Why a change was refused. Nothing is stored then.
#[derive(Debug, Error)]
pub enum ChangeError {
    #[error("there is no such entity")]
    NotFound,
    #[error("the entity is at version {current}")]
    VersionMismatch { current: Version },
    /// A change that must not overwrite what it has not seen names no version.
    #[error("the change needs the version that is to be changed")]
    VersionRequired,
    /// What was sent does not fit what is stored.
    #[error("the change breaks rules")]
    Invalid(Vec<Violation>),
    #[error("from {from} there is no step to {to}")]
    IllegalTransition { from: String, to: String, allowed: Vec<String> },
    /// Each where in the body it was asked for.
    #[error("there is not enough stock")]
    InsufficientStock(Vec<Violation>),
    #[error("the order is cancelled")]
    OrderClosed,
    #[error("with the status {status} it cannot be deleted")]
    NotDeletable { status: String },
    /// Of several that were to be created, this one.
    #[error("the item {index} was refused")]
    Item { index: usize, source: WriteError },
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<CreateError> for ChangeError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Item { index, source } => Self::Item { index, source },
            CreateError::Write(error) => Self::Write(error),
        }
    }
}

impl ChangeError {
    #[must_use]
    pub fn invalid(pointer: &str, code: &str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::at(pointer, code, detail.into())])
    }
}

/// What clients may do to an entity, and the changes by which it is done.
pub trait Managed: Entity {
    /// Where REST shows it: `/api/v1/users`.
    const PATH: &'static str;
    /// Under which the document gathers its operations: `Users`.
    const HEADING: &'static str;
    /// What it is, in a sentence.
    const ABOUT: &'static str;
    /// What creates an entity, and replaces one: everything that a client decides.
    type New: Clone + Send + Sync + 'static;
    /// What changes one: only the members that change.
    type Changes: Clone + Send + Sync + 'static;
    /// Creates several, all or none.
    type Create: Change<Output = Vec<Self>, Error = ChangeError> + 'static;
    type Edit: Change<Output = Self, Error = ChangeError> + 'static;
    type Delete: Change<Output = (), Error = ChangeError> + 'static;

    /// The id that a client brings, if it does.
    fn brought_id(new: &Self::New) -> Option<&Id>;
    fn set_id(new: &mut Self::New, id: Id);

    /// # Errors
    /// What is wrong with the items, whatever is stored; the pointers begin with `/items/0`.
    fn create(items: Vec<Self::New>, rules: Rules) -> Result<Self::Create, Vec<Violation>>;

    /// # Errors
    /// What is wrong with what is wanted, whatever is stored.
    fn edit(target: Target, wanted: Wanted<Self>, rules: Rules) -> Result<Self::Edit, Vec<Violation>>;

    fn delete(target: Target) -> Self::Delete;
}

/// The items whose id an earlier one has already.
#[must_use]
pub fn ids_twice<E: Managed>(items: &[E::New]) -> Vec<Violation> {
    let mut known = HashSet::new();
    let twice = items.iter().enumerate().filter(|(_, new)| E::brought_id(new).is_some_and(|id| !known.insert(id)));
    twice
        .map(|(index, _)| {
            let pointer = format!("/items/{index}/id");
            Violation::at(&pointer, "duplicate", "another item has the same id".to_owned())
        })
        .collect()
}

/// Rules that the configuration decides.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// No two users share an address.
    pub unique_email: bool,
    /// A change must name the version that it changes.
    pub require_version: bool,
}

/// Which entity is to be changed.
#[derive(Clone, Debug)]
pub struct Target {
    pub id: Id,
    /// Where it is given: no other version than this one is changed.
    pub expected: Option<Version>,
}

impl Target {
    /// Reads the entity and holds its row until the transaction ends.
    ///
    /// # Errors
    /// If it is not there, or at another version than expected.
    pub async fn lock<E: Entity>(&self, work: &mut UnitOfWork) -> Result<E, ChangeError> {
        let entity: E = work.lock(&self.id).await?.ok_or(ChangeError::NotFound)?;
        match self.expected {
            Some(expected) if expected != entity.version() => {
                Err(ChangeError::VersionMismatch { current: entity.version() })
            }
            _ => Ok(entity),
        }
    }
}

/// What an entity is to become.
#[derive(Clone)]
pub enum Wanted<E: Managed> {
    /// Everything that a client decides (PUT).
    Replacement(E::New),
    /// Only the members that change (PATCH, RFC 7396).
    Changes(E::Changes),
}

/// Stores new entities, all or none.
pub struct Create<E>(pub Vec<E>);

impl<E: Entity> Change for Create<E> {
    type Output = Vec<E>;
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<Vec<E>, ChangeError> {
        Ok(work.create_many(self.0.clone()).await?)
    }
}

/// An entity whose edits concern nothing but its own row.
pub trait Amend: Managed {
    /// Takes over what is wanted.
    fn amend(&mut self, wanted: &Wanted<Self>, edit: &Edit<Self>) -> Result<(), ChangeError>;

    /// Why it was changed, where the client said so.
    fn reason(_wanted: &Wanted<Self>) -> Option<&str> {
        None
    }
}

/// Edits an entity under its row's lock, whatever was changed since the caller read it, unless a version is expected.
pub struct Edit<E: Managed> {
    pub target: Target,
    pub wanted: Wanted<E>,
    pub rules: Rules,
}

impl<E: Amend> Change for Edit<E> {
    type Output = E;
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<E, ChangeError> {
        let mut entity: E = self.target.lock(work).await?;
        entity.amend(&self.wanted, self)?;
        Ok(work.update(entity, E::reason(&self.wanted)).await?)
    }
}

/// Deletes an entity.
pub struct Delete<E> {
    target: Target,
    /// Refuses entities that must stay.
    check: fn(&E) -> Result<(), ChangeError>,
}

impl<E> Delete<E> {
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self { target, check: |_| Ok(()) }
    }

    #[must_use]
    pub fn only_if(self, check: fn(&E) -> Result<(), ChangeError>) -> Self {
        Self { check, ..self }
    }
}

impl<E: Entity> Change for Delete<E> {
    type Output = ();
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<(), ChangeError> {
        let entity: E = self.target.lock(work).await?;
        (self.check)(&entity)?;
        Ok(work.delete(entity).await?)
    }
}
