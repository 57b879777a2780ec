//! Of several changes of one entity, the newest is enough for the cache and the documents.

use std::collections::HashMap;

use shared::entity::{Key, Version};

/// Keeps of each entity what belongs to its highest version.
pub(crate) fn by_key<T>(changes: impl Iterator<Item = (Key, Version, T)>) -> HashMap<Key, (Version, T)> {
    let mut newest: HashMap<Key, (Version, T)> = HashMap::new();
    for (key, version, change) in changes {
        match newest.get(&key) {
            Some((known, _)) if *known >= version => {}
            _ => {
                newest.insert(key, (version, change));
            }
        }
    }
    newest
}
