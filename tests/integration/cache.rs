//! The cache protocol against a real Redis: what may fill, and when.

use harness::{dump, stack::Stack};
use redis::AsyncCommands;
use shared::{
    cache::{Cache, Content, Invalidation, State},
    entity::{Key, Kind, Version},
    redis::Redis,
};

fn cache(stack: &Stack) -> anyhow::Result<Cache> {
    let redis = Redis::new(&stack.config.redis)?.with_timeout(harness::wait::DEADLINE);
    Ok(Cache::new(redis, &stack.config.redis.prefix, &stack.config.cache))
}

fn key(id: &str) -> anyhow::Result<Key> {
    Ok(Key { kind: Kind::User, id: id.parse()? })
}

fn live(version: u64) -> Content {
    Content { version: Version(version), state: State::Live, payload: format!("{{\"version\":{version}}}") }
}

async fn stored_version(stack: &Stack, id: &str) -> anyhow::Result<Option<String>> {
    Ok(dump::cached(stack).await?.get(&format!("user:{id}")).and_then(|entry| entry.get("version").cloned()))
}

/// The race that a plain DEL loses each time: a reader misses, stalls; a writer commits and invalidates; the reader
/// fills with what it read before.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalled_cannot_fill_with_an_old_state() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let cache = cache(&stack)?;
    for number in 0..200 {
        let key = key(&format!("u{number}"))?;
        let token = cache.miss(&key).await?;
        cache.invalidate(&[Invalidation::of(&key, Version(2))]).await?;
        assert!(!cache.fill(&key, &live(1), &token).await?, "a stale fill was accepted");
        assert_eq!(stored_version(&stack, key.id.as_str()).await?, None);
        // The next reader fills.
        let token = cache.miss(&key).await?;
        assert!(cache.fill(&key, &live(2), &token).await?);
        if number % 50 == 0 {
            assert_eq!(stored_version(&stack, key.id.as_str()).await?.as_deref(), Some("2"));
        }
    }
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_needs_its_lease_its_epoch_and_no_higher_version() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (cache, key) = (cache(&stack)?, key("ann")?);
    let mut redis = dump::redis(&stack).await?;

    // Two readers share a lease; the first fill takes it away.
    let (first, second) = (cache.miss(&key).await?, cache.miss(&key).await?);
    assert_eq!(first, second);
    assert!(cache.fill(&key, &live(3), &first).await?);
    assert!(!cache.fill(&key, &live(4), &second).await?);

    // An older state does not replace a newer one of the same epoch.
    let token = cache.miss(&key).await?;
    assert!(!cache.fill(&key, &live(2), &token).await?);
    assert_eq!(stored_version(&stack, "ann").await?.as_deref(), Some("3"));

    // An invalidation of the same version leaves the entry and takes the lease; of a higher one it takes the entry.
    cache.invalidate(&[Invalidation::of(&key, Version(3))]).await?;
    assert!(!cache.fill(&key, &live(3), &token).await?);
    assert_eq!(stored_version(&stack, "ann").await?.as_deref(), Some("3"));
    cache.invalidate(&[Invalidation::of(&key, Version(4))]).await?;
    assert_eq!(stored_version(&stack, "ann").await?, None);

    // When the lane is gone, so is the right to fill.
    let token = cache.miss(&key).await?;
    let lane = format!("{}:{{{}}}", stack.config.redis.prefix, shared::lane::Lane::of(&key));
    redis.del::<_, ()>(&lane).await?;
    assert!(!cache.fill(&key, &live(5), &token).await?);
    let renewed = cache.miss(&key).await?;
    assert_ne!(renewed.epoch, token.epoch);
    assert!(!cache.fill(&key, &live(5), &token).await?);
    stack.discard().await
}

/// What the API stores after a commit is what it answered; and where there is no payload, there is no lasting key.
#[tokio::test(flavor = "multi_thread")]
async fn the_writer_leaves_the_new_state() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let mut filled = 0;
    for number in 0..50 {
        let id = format!("u{number}");
        let created = client.post(crate::USERS, &crate::user(&id)).await?;
        if let Some(entry) = dump::cached(&stack).await?.get(&format!("user:{id}"))
            && let Some(payload) = entry.get("payload")
        {
            assert_eq!(serde_json::from_str::<serde_json::Value>(payload)?, created.body);
            filled += 1;
        }
    }
    // A token that is late is given up; on an idle machine hardly any is.
    assert!(filled > 25, "only {filled} of 50 were left in the cache");
    let entries = dump::cached(&stack).await?;
    let mut redis = dump::redis(&stack).await?;
    for key in entries.keys() {
        let id = key.strip_prefix("user:").unwrap_or_default();
        let name = format!("{}:{{{}}}:{key}", stack.config.redis.prefix, shared::lane::Lane::of(&self::key(id)?));
        assert!(redis.ttl::<_, i64>(name).await? > 0, "an entry without an end");
    }
    api.stop().await?;
    stack.discard().await
}
