//! The changes that are the same for every entity. Each is one transaction and can be done again from its beginning.

use thiserror::Error;

use crate::{
    entity::{Entity, Id, Version},
    store::Change,
    unit_of_work::{UnitOfWork, WriteError},
};

/// Why a change was refused. Nothing is stored then.
#[derive(Debug, Error)]
pub enum ChangeError {
    #[error("there is no such entity")]
    NotFound,
    #[error("the entity is at version {current}")]
    VersionMismatch { current: Version },
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Stores a new entity.
pub struct Create<E>(pub E);

impl<E: Entity> Change for Create<E> {
    type Output = E;
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<E, ChangeError> {
        Ok(work.create(self.0.clone()).await?)
    }
}

/// Edits an entity under its row's lock, whatever was changed since the caller read it, unless a version is expected.
pub struct Edit<E, F> {
    id: Id,
    expected: Option<Version>,
    how: F,
    entity: std::marker::PhantomData<fn(E)>,
}

impl<E, F: Fn(&mut E)> Edit<E, F> {
    pub fn new(id: Id, expected: Option<Version>, how: F) -> Self {
        Self { id, expected, how, entity: std::marker::PhantomData }
    }
}

impl<E: Entity, F: Fn(&mut E) + Send + Sync> Change for Edit<E, F> {
    type Output = E;
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<E, ChangeError> {
        let mut entity = locked::<E>(work, &self.id, self.expected).await?;
        (self.how)(&mut entity);
        Ok(work.update(entity).await?)
    }
}

/// Deletes an entity.
pub struct Delete<E> {
    id: Id,
    expected: Option<Version>,
    entity: std::marker::PhantomData<fn(E)>,
}

impl<E> Delete<E> {
    #[must_use]
    pub fn new(id: Id, expected: Option<Version>) -> Self {
        Self { id, expected, entity: std::marker::PhantomData }
    }
}

impl<E: Entity> Change for Delete<E> {
    type Output = ();
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<(), ChangeError> {
        let entity = locked::<E>(work, &self.id, self.expected).await?;
        Ok(work.delete(entity).await?)
    }
}

async fn locked<E: Entity>(work: &mut UnitOfWork, id: &Id, expected: Option<Version>) -> Result<E, ChangeError> {
    let entity: E = work.lock(id).await?.ok_or(ChangeError::NotFound)?;
    match expected {
        Some(expected) if expected != entity.version() => {
            Err(ChangeError::VersionMismatch { current: entity.version() })
        }
        _ => Ok(entity),
    }
}
