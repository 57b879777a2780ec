//! Entities as documents in MongoDB: as new as the projector has brought them.

mod aggregate;

use std::marker::PhantomData;

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};

use super::{Documents, ReadError, Repository, entity_of};
use crate::{
    entity::{Entity, Field, Id, Value},
    query::{Page, Position, Query},
    specification::{Specification, value_to_bson},
};

/// The documents of one kind.
#[derive(Clone, Debug)]
pub struct MongoRepository<E> {
    documents: Documents,
    entity: PhantomData<fn() -> E>,
}

impl<E: Entity> MongoRepository<E> {
    #[must_use]
    pub fn new(documents: Documents) -> Self {
        Self { documents, entity: PhantomData }
    }

    async fn documents(
        &self,
        filter: Document,
        sort: Document,
        skip: u32,
        limit: u32,
    ) -> Result<Vec<Document>, ReadError> {
        let (collection, timeout) = (self.documents.collection(E::PLURAL), self.documents.timeout());
        let read = async move {
            let find = collection.find(filter).sort(sort).skip(skip.into()).limit(limit.into());
            find.max_time(timeout).await?.try_collect().await
        };
        self.documents.in_time(read).await
    }
}

impl<E: Entity> Repository<E> for MongoRepository<E> {
    async fn get(&self, id: &Id) -> Result<Option<E>, ReadError> {
        let found = self.documents(living(doc! { "_id": id.as_str() }), doc! { "_id": 1 }, 0, 1).await?;
        found.into_iter().next().map(entity_of).transpose()
    }

    async fn find(&self, query: &Query<E>) -> Result<Page<E>, ReadError> {
        let (filter, skip) = match &query.position {
            Position::Offset(offset) => (query.specification.to_bson(), *offset),
            Position::After { value, id } => {
                (doc! { "$and": [query.specification.to_bson(), beyond(query, value, id)] }, 0)
            }
        };
        let direction = if query.sort.is_descending() { -1 } else { 1 };
        let mut sort = doc! { query.sort.field().document_path(): direction };
        sort.insert("_id", direction);
        let found = self.documents(living(filter), sort, skip, query.limit + 1).await?;
        let items = found.into_iter().map(entity_of).collect::<Result<_, _>>()?;
        Ok(Page::of_one_more(items, query.limit))
    }

    async fn count(&self, specification: &Specification<E>) -> Result<u64, ReadError> {
        let (collection, timeout) = (self.documents.collection(E::PLURAL), self.documents.timeout());
        let filter = living(specification.to_bson());
        self.documents.in_time(async move { collection.count_documents(filter).max_time(timeout).await }).await
    }

    async fn exists(&self, id: &Id) -> Result<bool, ReadError> {
        Ok(self.get(id).await?.is_some())
    }
}

/// Without the tombstones of what was deleted.
fn living(filter: Document) -> Document {
    doc! { "$and": [filter, { "deleted_at": Bson::Null }] }
}

fn beyond<E: Entity>(query: &Query<E>, value: &Value<'static>, id: &Id) -> Document {
    let operator = if query.sort.is_descending() { "$lt" } else { "$gt" };
    let behind_id = doc! { "_id": { operator: id.as_str() } };
    if query.sort.field() == E::Field::ID {
        return behind_id;
    }
    let (path, value) = (query.sort.field().document_path(), value_to_bson(value));
    doc! { "$or": [
        { path.as_ref(): { operator: value.clone() } },
        { "$and": [{ path.as_ref(): value }, behind_id] },
    ] }
}
