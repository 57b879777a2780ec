//! The cache protocol: entities by id in Redis, guarded by leases, epochs and versions.
//!
//! Leases as in Nishtala et al., "Scaling Memcache at Facebook" (NSDI 2013): a reader that misses gets a token, every
//! invalidation takes the token away, and only its holder may fill. So a reader that stalls between its read of MySQL
//! and its fill cannot put an old state over a newer one, which a plain DEL allows.
//!
//! | key | content |
//! | --- | --- |
//! | `<prefix>:{<lane>}:<kind>:<id>` | hash: `version`, `state`, `payload`, `schema`, `epoch`, `lease` |
//! | `<prefix>:{<lane>}` | hash: `epoch`; `beat`, the milliseconds of Redis's clock up to which the lane is invalidated |
//!
//! The lane is the hash tag: a script sees an entity and its lane in one slot of a cluster.

use std::sync::LazyLock;

use rand::RngExt;
use redis::{Script, ScriptInvocation};
use thiserror::Error;

use crate::{
    config,
    entity::{Action, Key, Version},
    event::Event,
    lane::Lane,
    redis::{CommandError, Redis},
};

/// The form of the payload. An entry of another form is no hit.
pub const SCHEMA: u32 = 1;

static MISS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("cache/miss.lua")));
static FILL: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("cache/accept.lua"), include_str!("cache/fill.lua"))));
static INVALIDATE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("cache/accept.lua"), include_str!("cache/invalidate.lua"))));

/// How many entries are invalidated at once: a long batch must not hold up what else waits for Redis.
const CHUNK: usize = 100;

#[derive(Debug, Error)]
#[error("the cache could not be reached")]
pub struct CacheError(#[from] CommandError);

/// What is known of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum State {
    /// It exists; the payload is its JSON, as REST shows it.
    Live,
    /// It was not found; version 0, no payload.
    Absent,
    /// It is gone; the version tells of which life, no payload.
    Deleted,
}

/// The right to fill one entry, until something invalidates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub epoch: String,
    pub lease: String,
}

/// What an entry is filled with.
#[derive(Clone, Debug)]
pub struct Content {
    pub version: Version,
    pub state: State,
    pub payload: String,
}

/// An entity as a transaction left it.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) key: Key,
    pub(crate) version: Version,
    state: State,
    payload: Box<serde_json::value::RawValue>,
}

impl From<Event> for Changed {
    fn from(event: Event) -> Self {
        Self {
            key: event.key(),
            version: event.version,
            state: if event.event_type.action == Action::Deleted { State::Deleted } else { State::Live },
            payload: event.data,
        }
    }
}

/// That an entity has changed to (at least) a version; with its state where the caller holds a token.
#[derive(Clone, Debug)]
pub struct Invalidation {
    key: Key,
    version: Version,
    fill: Option<(Content, Token)>,
}

impl Invalidation {
    #[must_use]
    pub fn of(key: &Key, version: Version) -> Self {
        Self { key: key.clone(), version, fill: None }
    }

    pub(crate) fn with_state(changed: &Changed, token: Option<Token>) -> Self {
        let payload = match changed.state {
            State::Live => changed.payload.get().to_owned(),
            State::Absent | State::Deleted => String::new(),
        };
        let content = Content { version: changed.version, state: changed.state, payload };
        Self { fill: token.map(|token| (content, token)), ..Self::of(&changed.key, changed.version) }
    }
}

/// What the cache says of an entity.
#[derive(Clone, Debug)]
pub enum Lookup {
    Hit(Content),
    Miss,
    /// The lane has no fresh beat: how old an entry may be has no bound.
    Unbounded,
}

/// A version that no entity reaches: it invalidates whatever stands.
const BEYOND_ALL: Version = Version((1 << 53) - 1);

#[derive(Clone)]
pub struct Cache {
    redis: Redis,
    prefix: String,
    ttl_ms: u64,
    absent_ttl_ms: u64,
    max_staleness_ms: u64,
}

impl Cache {
    #[must_use]
    pub fn new(redis: Redis, prefix: &str, settings: &config::Cache) -> Self {
        Self {
            redis,
            prefix: prefix.to_owned(),
            ttl_ms: settings.ttl_ms,
            absent_ttl_ms: settings.absent_ttl_ms,
            max_staleness_ms: settings.max_staleness_ms,
        }
    }

    /// Reads an entry: a hit only of this form and of the lane's epoch, in a lane with a fresh beat.
    pub async fn read(&self, key: &Key) -> Result<Lookup, CacheError> {
        let lane = self.lane(Lane::of(key));
        let mut pipeline = redis::pipe();
        pipeline.cmd("HMGET").arg(format!("{lane}:{key}")).arg(&["version", "state", "payload", "schema", "epoch"]);
        pipeline.cmd("HMGET").arg(&lane).arg(&["epoch", "beat"]);
        pipeline.cmd("TIME");
        let ((version, state, payload, schema, of), (epoch, beat), (seconds, micros)): (Entry, (_, _), (u64, u64)) =
            self.redis.run(async |connection| pipeline.query_async(connection).await).await?;
        let (now_ms, beat): (u64, Option<u64>) = (seconds * 1_000 + micros / 1_000, beat);
        let age_ms = beat.and_then(|beat| now_ms.checked_sub(beat));
        if age_ms.is_none_or(|age_ms| age_ms >= self.max_staleness_ms) {
            return Ok(Lookup::Unbounded);
        }
        let (Some(version), Some(state)) = (version, state.and_then(|state| state.parse().ok())) else {
            return Ok(Lookup::Miss);
        };
        if schema != Some(SCHEMA) || of.is_none() || of != epoch {
            return Ok(Lookup::Miss);
        }
        Ok(Lookup::Hit(Content { version: Version(version), state, payload: payload.unwrap_or_default() }))
    }

    /// Forgets one entity.
    pub async fn forget(&self, key: &Key) -> Result<(), CacheError> {
        self.invalidate(&[Invalidation::of(key, BEYOND_ALL)]).await
    }

    /// Forgets everything: no entry is of the new epochs, and no fill that is under way is accepted.
    pub async fn clear(&self) -> Result<(), CacheError> {
        let mut pipeline = redis::pipe();
        for lane in Lane::all() {
            pipeline.hset(self.lane(lane), "epoch", random_token()).ignore();
        }
        Ok(self.redis.run(async |connection| pipeline.exec_async(connection).await).await?)
    }

    /// Whether Redis answers.
    pub async fn answers(&self) -> Result<(), CacheError> {
        let ping = redis::cmd("PING");
        Ok(self.redis.run(async |connection| ping.exec_async(connection).await).await?)
    }

    /// Asks for the token of an entry that is missing or is about to be changed.
    pub async fn miss(&self, key: &Key) -> Result<Token, CacheError> {
        let mut call = self.call(&MISS, key);
        call.arg(random_token());
        let (epoch, lease) = self.redis.run(async |connection| call.invoke_async(connection).await).await?;
        Ok(Token { epoch, lease })
    }

    /// Fills an entry; false where the token does not hold any more.
    pub async fn fill(&self, key: &Key, content: &Content, token: &Token) -> Result<bool, CacheError> {
        let mut call = self.call(&FILL, key);
        self.push_content(&mut call, content, token);
        Ok(self.redis.run(async |connection| call.invoke_async(connection).await).await?)
    }

    /// Invalidates entries, a hundred in a round trip. Where it fails, some may be invalidated.
    pub async fn invalidate(&self, invalidations: &[Invalidation]) -> Result<(), CacheError> {
        for chunk in invalidations.chunks(CHUNK) {
            self.invalidate_chunk(chunk).await?;
        }
        Ok(())
    }

    async fn invalidate_chunk(&self, invalidations: &[Invalidation]) -> Result<(), CacheError> {
        let mut pipeline = redis::pipe();
        // Loaded each time: Redis may have forgotten it, and a pipeline cannot load it half way through.
        pipeline.load_script(&INVALIDATE).ignore();
        for invalidation in invalidations {
            let mut call = self.call(&INVALIDATE, &invalidation.key);
            match &invalidation.fill {
                Some((content, token)) => self.push_content(&mut call, content, token),
                None => {
                    call.arg(invalidation.version.0);
                }
            }
            pipeline.invoke_script(&call).ignore();
        }
        Ok(self.redis.run(async |connection| pipeline.exec_async(connection).await).await?)
    }

    fn lane(&self, lane: Lane) -> String {
        format!("{}:{{{lane}}}", self.prefix)
    }

    fn call<'a>(&self, script: &'a Script, key: &Key) -> ScriptInvocation<'a> {
        let lane = self.lane(Lane::of(key));
        let mut call = script.prepare_invoke();
        call.key(format!("{lane}:{key}")).key(lane);
        call
    }

    fn push_content(&self, call: &mut ScriptInvocation<'_>, content: &Content, token: &Token) {
        let ttl_ms = match content.state {
            State::Live | State::Deleted => self.ttl_ms,
            State::Absent => self.absent_ttl_ms,
        };
        // Entries that were filled together must not run out together.
        let ttl_ms = rand::rng().random_range(ttl_ms - ttl_ms / 10..=ttl_ms + ttl_ms / 10);
        call.arg(content.version.0)
            .arg(content.state.to_string())
            .arg(&content.payload)
            .arg(SCHEMA)
            .arg(ttl_ms)
            .arg(&token.epoch)
            .arg(&token.lease);
    }
}

/// The fields of an entry: version, state, payload, schema, epoch.
type Entry = (Option<u64>, Option<String>, Option<String>, Option<u32>, Option<String>);

/// Of 128 bits, made here: a script's random numbers are seeded alike.
fn random_token() -> String {
    format!("{:032x}", rand::random::<u128>())
}
