//! What was announced, or would have been but for an operator.

use std::collections::BTreeMap;

use shared::{entity::Action, event::Event};

use crate::dump::{Dumps, Parked, Record};

pub(super) struct Told<'a> {
    /// Each event once, in the order of their first delivery; entities by their key.
    pub(super) delivered: &'a BTreeMap<String, Vec<Record>>,
    /// The holes that are allowed: what the operator's log names and is parked as discarded.
    pub(super) discarded: Vec<&'a Parked>,
}

impl<'a> Told<'a> {
    pub(super) fn new(delivered: &'a BTreeMap<String, Vec<Record>>, dumps: &'a Dumps) -> Self {
        let is_logged = |row: &&Parked| row.state == "discarded" && dumps.discarded.contains(&row.event_id);
        Self { delivered, discarded: dumps.parked.iter().filter(is_logged).collect() }
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &'a Event> {
        self.delivered.values().flatten().map(|record| &record.event)
    }

    pub(super) fn is_discarded(&self, key: &str, version: u64) -> bool {
        self.discarded.iter().any(|row| row.key == key && row.version == version)
    }

    /// Discarded ones as well: their change is stored all the same.
    pub(super) fn newest(&self) -> BTreeMap<&'a str, Newest<'a>> {
        let delivered = self.delivered.iter().flat_map(|(key, records)| {
            records.iter().map(|record| (key.as_str(), record.event.version.0, Some(&record.event)))
        });
        let discarded = self.discarded.iter().map(|row| (row.key.as_str(), row.version, row.event.as_ref()));
        let mut newest: BTreeMap<&str, Newest<'_>> = BTreeMap::new();
        for (key, version, event) in delivered.chain(discarded) {
            let entry = newest.entry(key).or_insert(Newest { version, event, retired: None });
            if event.is_some_and(|event| event.event_type.action == Action::Deleted) {
                entry.retired = entry.retired.max(Some(version));
            }
            if version > entry.version {
                (entry.version, entry.event) = (version, event);
            }
        }
        newest
    }
}

/// The newest event of an entity.
pub(super) struct Newest<'a> {
    pub(super) version: u64,
    /// None where it was discarded because it cannot be read.
    pub(super) event: Option<&'a Event>,
    /// The version of the last deletion.
    pub(super) retired: Option<u64>,
}
