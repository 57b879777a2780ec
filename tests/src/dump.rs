//! What is in the stores, all of it.

mod outbox;
mod topic;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use mongodb::bson::{Document, doc};
use redis::AsyncCommands;
use serde_json::Value;
use shared::entity::{Entity, Kind, Visitor};
use sqlx::mysql::MySqlRow;
use strum::VariantArray;
use uuid::Uuid;

pub use outbox::{Parked, Waiting};
pub use topic::{Offsets, Record, ends, topic, topic_since};

use crate::stack::Stack;

/// All that the checker compares. Entities go by their key: `user:ann`.
#[derive(Clone, Default)]
pub struct Dumps {
    /// As REST shows them.
    pub rows: BTreeMap<String, Value>,
    /// The last versions of what was deleted.
    pub retired: BTreeMap<String, u64>,
    pub outbox: Vec<Waiting>,
    pub parked: Vec<Parked>,
    /// The ids of the events that the operator's log says were discarded.
    pub discarded: BTreeSet<Uuid>,
    /// How many partitions the topic has; where it was expanded, what it had before comes first.
    pub partitions: Vec<u16>,
    /// Each partition in its order.
    pub records: Vec<Record>,
    /// Tombstones included.
    pub documents: BTreeMap<String, Document>,
    /// By `_id`, the event's id.
    pub audit: BTreeMap<String, Document>,
    pub cached: BTreeMap<String, BTreeMap<String, String>>,
}

impl Dumps {
    /// To be taken when nothing is on its way any more.
    pub async fn take(stack: &Stack) -> anyhow::Result<Self> {
        let mut connection = stack.mysql().await?;
        Ok(Self {
            rows: rows(stack).await?,
            retired: outbox::retired(&mut connection).await?,
            outbox: outbox::waiting(&mut connection).await?,
            parked: outbox::parked(&mut connection).await?,
            discarded: outbox::discarded(&mut connection).await?,
            partitions: vec![stack.config.kafka.partitions],
            records: topic(&stack.config.kafka).await?,
            documents: entity_documents(stack).await?,
            audit: documents(stack, "audit_log").await?,
            cached: cached(stack).await?,
        })
    }
}

/// The documents of a collection by `_id`, tombstones included.
pub async fn documents(stack: &Stack, collection: &str) -> anyhow::Result<BTreeMap<String, Document>> {
    let mut cursor = stack.mongodb().await?.collection::<Document>(collection).find(doc! {}).await?;
    let mut documents = BTreeMap::new();
    while cursor.advance().await? {
        let document = cursor.deserialize_current()?;
        documents.insert(document.get_str("_id")?.to_owned(), document);
    }
    Ok(documents)
}

/// The documents of all four collections by key (`user:ann`), tombstones included.
pub async fn entity_documents(stack: &Stack) -> anyhow::Result<BTreeMap<String, Document>> {
    let mut all = BTreeMap::new();
    for kind in Kind::VARIANTS {
        let found = documents(stack, kind.plural()).await?;
        all.extend(found.into_iter().map(|(id, document)| (format!("{kind}:{id}"), document)));
    }
    Ok(all)
}

/// The cache's entries by key (`user:ann`): the hash's fields.
pub async fn cached(stack: &Stack) -> anyhow::Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut connection = redis(stack).await?;
    let pattern = format!("{}:{{*}}:*", stack.config.redis.prefix);
    let mut names = Vec::new();
    {
        let mut found = connection.scan_match::<_, String>(pattern).await?;
        while let Some(name) = found.next_item().await {
            names.push(name?);
        }
    }
    let mut entries = BTreeMap::new();
    for name in names {
        let fields: BTreeMap<String, String> = connection.hgetall(&name).await?;
        let (_, key) = name.split_once("}:").context("not the name of an entry")?;
        entries.insert(key.to_owned(), fields);
    }
    Ok(entries)
}

/// A connection of the test's own to Redis.
pub async fn redis(stack: &Stack) -> anyhow::Result<redis::aio::MultiplexedConnection> {
    let url = secrecy::ExposeSecret::expose_secret(&stack.config.redis.url);
    Ok(redis::Client::open(url)?.get_multiplexed_async_connection().await?)
}

/// The rows of all four tables by key (`user:ann`), as REST shows them.
pub async fn rows(stack: &Stack) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut connection = stack.mysql().await?;
    let mut rows = BTreeMap::new();
    for kind in Kind::VARIANTS {
        let Table { select, read } = kind.visit(TableOf);
        for row in sqlx::query(select).fetch_all(&mut connection).await? {
            let (key, shown) = read(&row)?;
            rows.insert(key, shown);
        }
    }
    Ok(rows)
}

struct Table {
    select: &'static str,
    /// The key of a row, and how REST shows it.
    read: fn(&MySqlRow) -> anyhow::Result<(String, Value)>,
}

struct TableOf;

impl Visitor for TableOf {
    type Output = Table;

    fn visit<E: Entity>(self) -> Table {
        let read = |row: &MySqlRow| {
            let entity = E::from_row(row)?;
            Ok((entity.key().to_string(), serde_json::to_value(entity)?))
        };
        Table { select: E::SELECT, read }
    }
}
