//! What one kind of repository tells of each entity.

use futures_util::{FutureExt, future::BoxFuture};
use poem_openapi::Object;
use shared::{
    entity::{Entity, Field, FieldType, Kind, Visitor},
    repository::{MongoRepository, MySqlRepository, Repository},
    specification::Specification,
};
use strum::VariantArray;

use crate::repositories::{Repositories, RepositoryType};

/// One entity in one kind of repository.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct EntityReport {
    entity: Kind,
    /// What can be asked of it.
    operations: Vec<String>,
    /// What conditions may name. Of the specification repository only.
    fields: Option<Vec<FieldReport>>,
    indexes: Vec<IndexReport>,
    /// About how many rows or documents there are. Missing where the store is away, or does not count.
    count: Option<u64>,
    /// Missing where nothing was asked since the process began.
    latency: Option<Latency>,
}

/// A field that conditions may name.
#[derive(Object)]
struct FieldReport {
    name: String,
    #[oai(rename = "type")]
    field_type: String,
    operators: Vec<String>,
    /// Whether lists can be sorted by it.
    sortable: bool,
}

#[derive(Object)]
struct IndexReport {
    name: String,
    /// In their order.
    fields: Vec<String>,
    unique: bool,
}

/// How long this process's repository took, in milliseconds.
#[derive(Object)]
struct Latency {
    answers: u64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Asks the repository of an entity.
pub(super) struct Report<'a> {
    pub(super) of: RepositoryType,
    /// Without its store only what is known here is told.
    pub(super) healthy: bool,
    pub(super) repositories: &'a Repositories,
}

impl<'a> Visitor for Report<'a> {
    type Output = BoxFuture<'a, EntityReport>;

    fn visit<E: Entity>(self) -> Self::Output {
        async move {
            let (indexes, count) = if self.healthy { self.held::<E>().await } else { (Vec::new(), None) };
            let latency = self.repositories.latency(self.of, E::KIND);
            EntityReport {
                entity: E::KIND,
                operations: operations(self.of).iter().map(ToString::to_string).collect(),
                fields: (self.of == RepositoryType::Specification).then(fields::<E>),
                indexes,
                count,
                latency: latency.map(|it| Latency { answers: it.count, p50_ms: it.p50_ms, p99_ms: it.p99_ms }),
            }
        }
        .boxed()
    }
}

impl Report<'_> {
    async fn held<E: Entity>(&self) -> (Vec<IndexReport>, Option<u64>) {
        match self.of {
            RepositoryType::Mysql | RepositoryType::Specification => {
                let mysql = self.repositories.mysql::<E>();
                let mysql: &MySqlRepository<E> = mysql.inner();
                let index = |it: shared::repository::Index| IndexReport {
                    name: it.name,
                    fields: it.columns.split(',').map(str::to_owned).collect(),
                    unique: it.is_unique,
                };
                let indexes = mysql.indexes().await.unwrap_or_default();
                (indexes.into_iter().map(index).collect(), mysql.estimated_rows().await.ok())
            }
            RepositoryType::Mongodb => {
                let mongodb = self.repositories.mongodb::<E>();
                let mongodb: &MongoRepository<E> = mongodb.inner();
                let index = |it: shared::repository::DocumentIndex| IndexReport {
                    unique: it.name == "_id_",
                    name: it.name,
                    fields: it.fields,
                };
                let indexes = self.repositories.documents().indexes::<E>().await.unwrap_or_default();
                let count = mongodb.count(&Specification::everything()).await.ok();
                (indexes.into_iter().map(index).collect(), count)
            }
            RepositoryType::Cached => (Vec::new(), None),
        }
    }
}

fn operations(of: RepositoryType) -> &'static [&'static str] {
    match of {
        RepositoryType::Mysql => &["get", "list", "count", "exists", "find", "aggregate", "create", "update", "delete"],
        RepositoryType::Mongodb => &["get", "list", "count", "exists", "find", "aggregate", "history"],
        RepositoryType::Cached => &["get", "list", "count", "exists", "find", "warm", "stats", "invalidate", "clear"],
        RepositoryType::Specification => &["find", "count", "aggregate"],
    }
}

fn fields<E: Entity>() -> Vec<FieldReport> {
    E::Field::VARIANTS.iter().copied().map(field).collect()
}

fn field<F: Field>(field: F) -> FieldReport {
    let facts = field.facts();
    let (field_type, parts): (_, &[&str]) = match facts.field_type {
        FieldType::Text => ("text", &["prefix", "contains"]),
        FieldType::Choice(_) => ("choice", &[]),
        FieldType::Integer => ("integer", &[]),
        FieldType::Amount => ("amount", &[]),
        FieldType::Time => ("time", &[]),
    };
    let operators = ["eq", "ne", "lt", "lte", "gt", "gte", "in", "is_null"].iter().chain(parts);
    FieldReport {
        name: field.name().to_owned(),
        field_type: field_type.to_owned(),
        operators: operators.map(ToString::to_string).collect(),
        sortable: facts.sortable,
    }
}
