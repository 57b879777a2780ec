//! The cache tokens of one transaction, asked for while it runs: no transaction waits for Redis.

use std::collections::HashMap;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::{
    cache::{Cache, CacheError, Token},
    entity::Key,
};

pub(crate) struct Tokens {
    cache: Cache,
    tracker: TaskTracker,
    requested: HashMap<Key, JoinHandle<Result<Token, CacheError>>>,
    arrived: HashMap<Key, Token>,
}

impl Tokens {
    pub(crate) fn new(cache: Cache, tracker: TaskTracker) -> Self {
        Self { cache, tracker, requested: HashMap::new(), arrived: HashMap::new() }
    }

    /// Asks for the token of an entity that is about to change.
    pub(crate) fn request(&mut self, key: Key) {
        let (cache, tracker) = (&self.cache, &self.tracker);
        self.requested.entry(key.clone()).or_insert_with(|| {
            let cache = cache.clone();
            tracker.spawn(async move { cache.miss(&key).await })
        });
    }

    /// Takes what has arrived and gives up on the rest.
    pub(crate) fn close(mut self) -> Self {
        for (key, mut request) in self.requested.drain() {
            match (&mut request).now_or_never() {
                Some(Ok(Ok(token))) => {
                    self.arrived.insert(key, token);
                }
                Some(_) => {}
                None => request.abort(),
            }
        }
        self
    }

    pub(crate) fn take(&mut self, key: &Key) -> Option<Token> {
        self.arrived.remove(key)
    }
}
