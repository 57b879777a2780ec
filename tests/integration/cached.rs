//! The cached repository: what it answers from Redis, what it does not, and that it never answers what is too old.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use futures_util::future::{join_all, try_join, try_join_all};
use harness::{client::Client, dump, process::free_port, seed::seed, stack::Stack, wait};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use redis::AsyncCommands;
use serde_json::{Value, json};
use shared::{
    cache::{Cache, Invalidation},
    database,
    entity::{Entity, Id, Key, Kind, User, Version},
    lane::Lane,
    query::{Page, Query},
    redis::Redis,
    repository::{CacheStats, Cached, Counts, MySqlRepository, ReadError, Repository},
    specification::Specification,
};

use crate::{USERS, create, user};

/// The cached users of a stack, with the beats that the test keeps.
struct Users {
    stack: Stack,
    cache: Cache,
    stats: CacheStats,
    mysql: MySqlRepository<User>,
    redis: redis::aio::MultiplexedConnection,
}

impl Users {
    async fn new(stack: Stack) -> anyhow::Result<Self> {
        let redis = Redis::new(&stack.config.redis)?.with_timeout(wait::DEADLINE);
        let cache = Cache::new(redis, &stack.config.redis.prefix, &stack.config.cache);
        let mysql = MySqlRepository::new(database::pool(&stack.config.database));
        let redis = dump::redis(&stack).await?;
        Ok(Self { stack, cache, stats: CacheStats::default(), mysql, redis })
    }

    fn cached(&self) -> Cached<MySqlRepository<User>> {
        self.in_front_of(self.mysql.clone())
    }

    fn in_front_of<R>(&self, inner: R) -> Cached<R> {
        Cached::new(self.cache.clone(), inner, self.stats.clone())
    }

    fn lane(&self, lane: Lane) -> String {
        format!("{}:{{{lane}}}", self.stack.config.redis.prefix)
    }

    fn entry(&self, id: &str) -> anyhow::Result<String> {
        let key = key(id)?;
        Ok(format!("{}:{key}", self.lane(Lane::of(&key))))
    }

    /// All lanes are invalidated up to so many milliseconds ago.
    async fn beat(&self, age_ms: u64) -> anyhow::Result<()> {
        let mut redis = self.redis.clone();
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut redis).await?;
        self.beat_of(seconds * 1_000 + micros / 1_000 - age_ms).await
    }

    async fn beat_of(&self, time_ms: u64) -> anyhow::Result<()> {
        let mut pipeline = redis::pipe();
        for lane in Lane::all() {
            pipeline.hset(self.lane(lane), "beat", time_ms).ignore();
        }
        Ok(pipeline.exec_async(&mut self.redis.clone()).await?)
    }

    /// Reads, and tells what was counted for it.
    async fn read(&self, id: &str) -> anyhow::Result<(Option<u64>, Counts)> {
        let before = self.stats.counts(Kind::User);
        let found: Option<User> = self.cached().get(&id.parse()?).await?;
        Ok((found.map(|user| user.version.0), difference(self.stats.counts(Kind::User), before)))
    }

    async fn finish(self) -> anyhow::Result<()> {
        self.stack.discard().await
    }
}

fn difference(now: Counts, before: Counts) -> Counts {
    Counts {
        hits: now.hits - before.hits,
        negative_hits: now.negative_hits - before.negative_hits,
        misses: now.misses - before.misses,
        bypassed: now.bypassed - before.bypassed,
        fills: now.fills - before.fills,
        refused_fills: now.refused_fills - before.refused_fills,
        errors: now.errors - before.errors,
    }
}

fn key(id: &str) -> anyhow::Result<Key> {
    Ok(Key { kind: Kind::User, id: id.parse()? })
}

const HIT: Counts = Counts { hits: 1, ..NONE };
const NEGATIVE_HIT: Counts = Counts { negative_hits: 1, ..NONE };
const FILLED: Counts = Counts { misses: 1, fills: 1, ..NONE };
const PAST: Counts = Counts { bypassed: 1, ..NONE };
const NONE: Counts =
    Counts { hits: 0, negative_hits: 0, misses: 0, bypassed: 0, fills: 0, refused_fills: 0, errors: 0 };

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_needs_a_fresh_beat_this_form_and_this_epoch() -> anyhow::Result<()> {
    let users = Users::new(Stack::new().await?).await?;
    let (api, client) = users.stack.start_api().await?;
    create(&client, "users", vec![user("ann")]).await?;
    users.cache.forget(&key("ann")?).await?;

    assert_eq!(users.read("ann").await?, (Some(1), PAST), "without a beat it is read past the cache");
    users.beat(users.stack.config.cache.max_staleness_ms + 1).await?;
    assert_eq!(users.read("ann").await?, (Some(1), PAST), "a beat that is old is none");
    users.beat_of(u64::MAX / 4_000).await?;
    assert_eq!(users.read("ann").await?, (Some(1), PAST), "nor is one of the future");
    users.beat(0).await?;
    assert_eq!(users.read("ann").await?, (Some(1), FILLED));
    assert_eq!(users.read("ann").await?, (Some(1), HIT));
    assert_eq!(users.read("bob").await?, (None, FILLED));
    assert_eq!(users.read("bob").await?, (None, NEGATIVE_HIT));

    // An invalidation of a new version takes the entry.
    users.cache.invalidate(&[Invalidation::of(&key("ann")?, Version(2))]).await?;
    assert_eq!(users.read("ann").await?, (Some(1), FILLED));
    // What another binary wrote in another form is no hit, and no error.
    let mut redis = users.redis.clone();
    redis.hset::<_, _, _, ()>(users.entry("ann")?, "schema", 999).await?;
    assert_eq!(users.read("ann").await?, (Some(1), FILLED));
    redis.hset::<_, _, _, ()>(users.entry("ann")?, "payload", "{}").await?;
    assert_eq!(users.read("ann").await?, (Some(1), PAST), "what cannot be read is read past the cache");
    redis.hset::<_, _, _, ()>(users.lane(Lane::of(&key("ann")?)), "epoch", "another").await?;
    assert_eq!(users.read("ann").await?, (Some(1), FILLED), "an entry of another epoch is no hit");

    users.cache.clear().await?;
    assert_eq!(users.read("ann").await?, (Some(1), FILLED));
    users.cache.forget(&key("ann")?).await?;
    assert_eq!(users.read("ann").await?, (Some(1), FILLED));
    assert_eq!(users.read("ann").await?, (Some(1), HIT), "who is not forgotten stays");
    api.stop().await?;
    users.finish().await
}

/// MySQL, where something happens between the read and its answer.
struct Then<F> {
    mysql: MySqlRepository<User>,
    then: F,
}

impl<F, T> Repository<User> for Then<F>
where
    F: Fn(Id) -> T + Send + Sync,
    T: Future<Output = Result<(), ReadError>> + Send,
{
    async fn get(&self, id: &Id) -> Result<Option<User>, ReadError> {
        let found = self.mysql.get(id).await?;
        (self.then)(id.clone()).await?;
        Ok(found)
    }

    async fn find(&self, query: &Query<User>) -> Result<Page<User>, ReadError> {
        self.mysql.find(query).await
    }

    async fn count(&self, specification: &Specification<User>) -> Result<u64, ReadError> {
        self.mysql.count(specification).await
    }

    async fn exists(&self, id: &Id) -> Result<bool, ReadError> {
        self.mysql.exists(id).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_between_the_read_and_the_fill_is_not_filled() -> anyhow::Result<()> {
    let users = Users::new(Stack::new().await?).await?;
    let (api, client) = users.stack.start_api().await?;
    create(&client, "users", vec![user("ann")]).await?;
    users.cache.forget(&key("ann")?).await?;
    users.beat(0).await?;
    let then = async |id: Id| {
        let changed = client.patch(&format!("{USERS}/{id}"), &json!({ "name": "Changed meanwhile" })).await;
        // The entry is gone, so that no version stands in the way of the fill: the lease alone does.
        let forgotten = users.cache.forget(&Key { kind: Kind::User, id }).await;
        let done = changed.is_ok_and(|answer| answer.version() == 2) && forgotten.is_ok();
        if done { Ok(()) } else { Err(ReadError::Panicked) }
    };
    let then = |id| then(id);
    let found = users.in_front_of(Then { mysql: users.mysql.clone(), then }).get(&"ann".parse()?).await?;
    assert_eq!(found.map(|user| user.version), Some(Version(1)), "what was read before the change");
    let Counts { fills, refused_fills, .. } = users.stats.counts(Kind::User);
    assert_eq!((fills, refused_fills), (0, 1), "a stale state was filled");
    assert_eq!(users.read("ann").await?.0, Some(2));
    api.stop().await?;
    users.finish().await
}

async fn stats_of_users(client: &Client) -> anyhow::Result<Value> {
    let stats = client.get("/api/v1/repositories/cache/stats").await?;
    let entities = stats.body["entities"].as_array().cloned().unwrap_or_default();
    Ok(entities.into_iter().find(|entity| entity["entity"] == "user").unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_is_warmed_cleared_and_forgets_over_http() -> anyhow::Result<()> {
    let users = Users::new(Stack::new().await?).await?;
    let (api, client) = users.stack.start_api().await?;
    for chunk in 0..3 {
        let items = (0..100).map(|number| user(&format!("u{}", chunk * 100 + number)));
        create(&client, "users", items.collect()).await?;
    }
    users.cache.clear().await?;
    users.beat(0).await?;
    let warm = async |request: Value| client.post("/api/v1/repositories/cache/warm", &request).await;
    let ids = warm(json!({ "entity": "user", "ids": ["u1", "u2", "nobody", "u1"] })).await?;
    assert_eq!(ids.body, json!({ "loaded": 2, "skipped": 1, "refused": 0 }), "{ids:?}");
    for id in ["u1", "u2"] {
        assert_eq!(users.read(id).await?, (Some(1), HIT), "{id}");
    }
    let all = warm(json!({ "entity": "user", "where": { "all": [] } })).await?;
    assert_eq!(all.body, json!({ "loaded": 300, "skipped": 0, "refused": 0 }), "{all:?}");
    assert_eq!(users.read("u299").await?, (Some(1), HIT));
    assert_eq!(stats_of_users(&client).await?["fills"], 302);

    assert_eq!(client.delete("/api/v1/repositories/cache/user/u1").await?.status, 204);
    assert_eq!(users.read("u1").await?, (Some(1), FILLED), "it was to be forgotten");
    assert_eq!(users.read("u2").await?, (Some(1), HIT));
    assert_eq!(client.delete("/api/v1/repositories/cache").await?.status, 204);
    assert_eq!(users.read("u2").await?, (Some(1), FILLED), "all was to be forgotten");
    assert_eq!(client.delete("/api/v1/repositories/cache/invoice/u1").await?.status, 404);

    users.cache.clear().await?;
    let newest = json!({ "field": "id", "op": "prefix", "value": "u29" });
    let some = warm(json!({ "entity": "user", "where": newest, "limit": 5 })).await?;
    assert_eq!(some.body, json!({ "loaded": 5, "skipped": 0, "refused": 0 }), "{some:?}");
    for (request, pointer) in [
        (json!({ "entity": "user" }), ""),
        (json!({ "entity": "user", "ids": ["u1"], "where": { "all": [] } }), ""),
        (json!({ "entity": "user", "ids": ["u1"], "limit": 1 }), ""),
        (json!({ "entity": "user", "ids": [] }), "/ids"),
        (json!({ "entity": "user", "ids": ["a b"] }), "/ids/0"),
        (json!({ "entity": "user", "where": { "all": [] }, "limit": 10_001 }), "/limit"),
        (json!({ "entity": "user", "where": { "field": "age", "op": "eq", "value": 1 } }), "/where/field"),
    ] {
        let refused = warm(request).await?;
        let mut pointers = crate::pointers(&refused);
        pointers.dedup();
        assert_eq!((refused.status.as_u16(), pointers), (422, vec![pointer]), "{refused:?}");
    }
    api.stop().await?;
    users.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_reads_are_right() -> anyhow::Result<()> {
    let mut stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    create(&client, "users", vec![user("ann")]).await?;
    let there = stack.config.redis.url.clone();
    stack.config.redis.url = format!("redis://127.0.0.1:{}", free_port()?).into();
    let redis = Redis::new(&stack.config.redis)?;
    let cache = Cache::new(redis, &stack.config.redis.prefix, &stack.config.cache);
    let mysql = MySqlRepository::new(database::pool(&stack.config.database));
    let stats = CacheStats::default();
    let cached: Cached<MySqlRepository<User>> = Cached::new(cache, mysql, stats.clone());
    let begun = Instant::now();
    for number in 0..20 {
        let id: Id = if number % 2 == 0 { "ann" } else { "nobody" }.parse()?;
        let found: Option<User> = cached.get(&id).await?;
        assert_eq!(found.map(|user| user.version.0), (number % 2 == 0).then_some(1));
    }
    println!("20 reads without Redis took {:?}", begun.elapsed());
    let Counts { bypassed, errors, hits, .. } = stats.counts(Kind::User);
    assert_eq!((bypassed, errors, hits), (20, 20, 0));
    api.stop().await?;
    stack.config.redis.url = there;
    stack.discard().await
}

const READ_USERS: usize = 5;
const CHANGES: usize = 100;
const READERS: u64 = 6;

/// What a read that begins now may not be below: the version whose change was answered and invalidated.
type Floors = HashMap<String, AtomicU64>;

/// Changes users at random; a version counts once it is answered and invalidated.
async fn write(users: &Users, client: &Client, floors: &Floors, seed: u64) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..CHANGES {
        let id = format!("u{}", random.random_range(0..READ_USERS));
        let name = format!("Name {}", random.random::<u32>());
        let changed = client.patch(&format!("{USERS}/{id}"), &json!({ "name": name })).await?;
        ensure!(changed.status == 200, "{changed:?}");
        // As after a change, as an operator does, or as if it were evicted: then no version guards the entry.
        match random.random_range(0..20) {
            0 => users.cache.clear().await?,
            1..=8 => users.cache.forget(&key(&id)?).await?,
            _ => users.cache.invalidate(&[Invalidation::of(&key(&id)?, Version(changed.version()))]).await?,
        }
        floors[&id].fetch_max(changed.version(), Ordering::SeqCst);
    }
    Ok(())
}

async fn read(users: &Users, floors: &Floors, ended: &AtomicBool, seed: u64) -> anyhow::Result<u64> {
    // Who stalls between the read and the fill must not fill with what was changed meanwhile.
    let stall = |_| async {
        wait::pause(Duration::from_millis(rand::random_range(0..20))).await;
        Ok(())
    };
    let cached = users.in_front_of(Then { mysql: users.mysql.clone(), then: stall });
    let (mut random, mut reads) = (StdRng::seed_from_u64(seed), 0);
    while !ended.load(Ordering::SeqCst) {
        let id = format!("u{}", random.random_range(0..READ_USERS));
        let floor = floors[&id].load(Ordering::SeqCst);
        let found: Option<User> = cached.get(&id.parse()?).await?;
        let version = found.map_or(0, |user| user.version().0);
        ensure!(version >= floor, "{id}: version {version} was read, {floor} was invalidated before");
        reads += 1;
    }
    Ok(reads)
}

/// Writers and readers at once. The beats are always fresh, so that only leases, versions and epochs guard the entries.
#[tokio::test(flavor = "multi_thread")]
async fn no_read_is_older_than_what_was_invalidated_before_it() -> anyhow::Result<()> {
    let seed = seed("cached reads");
    let users = Users::new(Stack::new().await?).await?;
    let (api, client) = users.stack.start_api().await?;
    create(&client, "users", (0..READ_USERS).map(|number| user(&format!("u{number}"))).collect()).await?;
    let floors: Floors = (0..READ_USERS).map(|number| (format!("u{number}"), AtomicU64::new(1))).collect();
    users.cache.clear().await?;
    users.beat(0).await?;
    let ended = Arc::new(AtomicBool::new(false));
    let writing = async {
        let written = join_all((0..3).map(|writer| write(&users, &client, &floors, seed + writer))).await;
        ended.store(true, Ordering::SeqCst);
        written.into_iter().collect::<anyhow::Result<Vec<()>>>()
    };
    let beating = async {
        while !ended.load(Ordering::SeqCst) {
            users.beat(0).await?;
            wait::pause(Duration::from_millis(500)).await;
        }
        Ok(())
    };
    let reading = try_join_all((0..READERS).map(|reader| read(&users, &floors, &ended, seed + 100 + reader)));
    let (_, (reads, ())) = try_join(writing, try_join(reading, beating)).await?;
    let counts = users.stats.counts(Kind::User);
    println!("{} reads beside {} changes: {counts:?}", reads.iter().sum::<u64>(), 3 * CHANGES);
    assert!(counts.hits > 100 && counts.fills > 10 && counts.bypassed == 0 && counts.errors == 0, "{counts:?}");
    api.stop().await?;
    users.finish().await
}
