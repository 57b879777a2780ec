//! SQL, BSON and memory interpret the same condition alike: random conditions over entities that are hard to compare.

mod data;
mod trees;

use std::time::Instant;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use harness::{seed::seed, stack::Stack};
use rand::{SeedableRng, rngs::StdRng};
use shared::{
    database,
    entity::{Entity, Order, Payment, Product, User},
    lifecycle::Lifecycle,
    query::{Position, Query, Sort},
    repository::{Documents, MongoRepository, MySqlRepository, Repository},
    specification::Specification,
};
use sqlx::MySqlPool;
use worker::app::Role;

use trees::{Trees, compares_with_null};

/// Of each of the four kinds.
const CONDITIONS: usize = 1_250;
const PAGED_LISTS: usize = 40;
/// More than there are of any kind.
const ALL: u32 = 1_000;
const CONCURRENT: usize = 6;

/// The same entities in the three places.
struct Three<E> {
    memory: Vec<E>,
    mysql: MySqlRepository<E>,
    mongodb: MongoRepository<E>,
}

impl<E: Entity> Three<E> {
    async fn read(pool: &MySqlPool, documents: &Documents) -> anyhow::Result<Self> {
        let mysql = MySqlRepository::<E>::new(pool.clone());
        let mongodb = MongoRepository::<E>::new(documents.clone());
        let everything = query(Specification::everything(), Sort::default(), ALL);
        let memory = mysql.find(&everything).await?.items;
        let told = mongodb.find(&everything).await?.items;
        let shown = |entities: &[E]| entities.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
        assert_eq!(shown(&memory)?, shown(&told)?, "rows and documents are not the same entities");
        ensure!(memory.len() >= 40, "only {} entities", memory.len());
        Ok(Self { memory, mysql, mongodb })
    }

    /// In the order of the sort.
    fn in_memory(&self, specification: &Specification<E>, sort: Sort<E::Field>) -> Vec<String> {
        let mut found: Vec<&E> = self.memory.iter().filter(|entity| specification.matches(entity)).collect();
        found.sort_by(|one, other| {
            let order =
                (one.value(sort.field()), one.id().as_str()).cmp(&(other.value(sort.field()), other.id().as_str()));
            if sort.is_descending() { order.reverse() } else { order }
        });
        found.into_iter().map(|entity| entity.id().to_string()).collect()
    }

    /// True where the condition tells entities apart.
    async fn agree(&self, specification: Specification<E>, sort: Sort<E::Field>, counts: bool) -> anyhow::Result<bool> {
        let expected = self.in_memory(&specification, sort);
        let json = specification.to_json();
        let query = query(specification, sort, ALL);
        let (mysql, mongodb) = tokio::try_join!(self.mysql.find(&query), self.mongodb.find(&query))
            .with_context(|| format!("{sort} {json}"))?;
        self.same(&ids(&mysql.items), &expected).with_context(|| format!("MySQL and memory, by {sort}: {json}"))?;
        self.same(&ids(&mongodb.items), &expected).with_context(|| format!("MongoDB and memory, by {sort}: {json}"))?;
        if counts {
            let condition = &query.specification;
            let counted = tokio::try_join!(self.mysql.count(condition), self.mongodb.count(condition))?;
            let count = expected.len() as u64;
            assert_eq!(counted, (count, count), "{json}");
        }
        if !compares_with_null(&query.specification) {
            let read = Specification::<E>::parse(&json, "");
            let read = read.map_err(|violations| anyhow::anyhow!("{json} is refused: {violations:?}"))?;
            assert_eq!(read.to_json(), json, "what is read is not what was written");
            assert_eq!(self.in_memory(&read, sort), expected, "{json}");
        }
        Ok(!expected.is_empty() && expected.len() < self.memory.len())
    }

    fn same(&self, found: &[String], expected: &[String]) -> anyhow::Result<()> {
        let differs = |one: &[String], other: &[String]| -> Vec<String> {
            let entities = self.memory.iter().filter(|entity| {
                let id = entity.id().to_string();
                one.contains(&id) && !other.contains(&id)
            });
            entities.map(|entity| serde_json::to_string(entity).unwrap_or_default()).collect()
        };
        let (more, less) = (differs(found, expected), differs(expected, found));
        ensure!(more.is_empty() && less.is_empty(), "too many: {more:#?}, too few: {less:#?}");
        ensure!(found == expected, "in another order: {found:?}, not {expected:?}");
        Ok(())
    }

    /// Cursor by cursor.
    async fn pages(
        &self,
        repository: &impl Repository<E>,
        specification: &Specification<E>,
        sort: Sort<E::Field>,
        limit: u32,
    ) -> anyhow::Result<Vec<String>> {
        let (mut found, mut query) = (Vec::new(), query(specification.clone(), sort, limit));
        loop {
            let page = repository.find(&query).await?;
            found.extend(ids(&page.items));
            match page.items.last() {
                Some(last) if page.has_more => query.position = query.after(last),
                _ => return Ok(found),
            }
        }
    }

    async fn page_alike(
        &self,
        specification: Specification<E>,
        sort: Sort<E::Field>,
        limit: u32,
    ) -> anyhow::Result<()> {
        let expected = self.in_memory(&specification, sort);
        let (mysql, mongodb) = tokio::try_join!(
            self.pages(&self.mysql, &specification, sort, limit),
            self.pages(&self.mongodb, &specification, sort, limit),
        )?;
        let json = specification.to_json();
        self.same(&mysql, &expected).with_context(|| format!("MySQL, {limit} by {limit}, by {sort}: {json}"))?;
        self.same(&mongodb, &expected).with_context(|| format!("MongoDB, {limit} by {limit}, by {sort}: {json}"))
    }
}

fn query<E: Entity>(specification: Specification<E>, sort: Sort<E::Field>, limit: u32) -> Query<E> {
    Query { specification, sort, position: Position::Offset(0), limit }
}

fn ids<E: Entity>(entities: &[E]) -> Vec<String> {
    entities.iter().map(|entity| entity.id().to_string()).collect()
}

async fn check<E: Entity>(pool: &MySqlPool, documents: &Documents, seed: u64) -> anyhow::Result<()> {
    let three = Three::<E>::read(pool, documents).await?;
    let mut trees = Trees::new(StdRng::seed_from_u64(seed), &three.memory);
    let conditions: Vec<_> =
        (0..CONDITIONS).map(|number| (trees.specification(), trees.sort(), number % 8 == 0)).collect();
    let begun = Instant::now();
    let agreed = stream::iter(conditions).map(|(specification, sort, counts)| three.agree(specification, sort, counts));
    let told_apart: Vec<bool> = agreed.buffer_unordered(CONCURRENT).try_collect().await?;
    let told_apart = told_apart.into_iter().filter(|told| *told).count();
    let lists: Vec<_> = (0..PAGED_LISTS).map(|_| (trees.specification(), trees.sort(), trees.limit())).collect();
    let paged = stream::iter(lists).map(|(specification, sort, limit)| three.page_alike(specification, sort, limit));
    paged.buffer_unordered(CONCURRENT).try_collect::<()>().await?;
    let (kind, count, taken) = (E::KIND, three.memory.len(), begun.elapsed());
    println!("{kind}: {CONDITIONS} conditions on {count}, of which {told_apart} tell them apart: {taken:?}");
    ensure!(told_apart > CONDITIONS / 4, "the conditions are too plain");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_interpreters_agree_on_random_conditions() -> anyhow::Result<()> {
    let seed = seed("conditions");
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    data::populate(&client, &mut StdRng::seed_from_u64(seed)).await?;
    stack.settled().await?;
    worker.stop().await?;

    let lifecycle = Lifecycle::new();
    let pool = database::pool(&stack.config.database);
    let documents = Documents::new(&stack.config.mongodb, "tests", lifecycle).await?;
    check::<User>(&pool, &documents, seed).await?;
    check::<Product>(&pool, &documents, seed).await?;
    check::<Order>(&pool, &documents, seed).await?;
    check::<Payment>(&pool, &documents, seed).await?;
    pool.close().await;
    api.stop().await?;
    stack.finish().await
}
