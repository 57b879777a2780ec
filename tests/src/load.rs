//! The events that are measured with: changes of users, as the product writes them, without the users.

use std::collections::BTreeMap;

use anyhow::Context;
use rand::RngExt;
use serde_json::{json, value::to_raw_value};
use shared::{
    entity::{Action, Id, Kind, Version},
    event::{Event, EventType, TraceContext},
    outbox,
    timestamp::Timestamp,
};
use sqlx::{Connection, MySqlConnection};
use uuid::Uuid;

/// So many are inserted in one statement and one transaction.
const BATCH: usize = 500;

/// Which entities change, and how often each has.
pub struct Load {
    first: usize,
    versions: Vec<u64>,
}

impl Load {
    /// The entities of a range of numbers, none of which has an event yet.
    #[must_use]
    pub fn new(entities: std::ops::Range<usize>) -> Self {
        Self { first: entities.start, versions: vec![0; entities.len()] }
    }

    /// The next change of some entity.
    pub fn next_event(&mut self) -> anyhow::Result<Event> {
        let at = rand::rng().random_range(0..self.versions.len());
        let version = self.versions.get_mut(at).context("no entity")?;
        *version += 1;
        event(self.first + at, *version)
    }

    /// Commits so many events, in as few transactions as is usual for a bulk load.
    pub async fn fill(&mut self, connection: &mut MySqlConnection, count: usize) -> anyhow::Result<()> {
        let mut left = count;
        while left > 0 {
            let events = (0..left.min(BATCH)).map(|_| self.next_event()).collect::<anyhow::Result<Vec<_>>>()?;
            left -= events.len();
            let mut transaction = connection.begin().await?;
            outbox::append(&mut transaction, &events, &TraceContext::default(), usize::MAX).await?;
            transaction.commit().await?;
        }
        Ok(())
    }

    /// How many events each entity has by now, by its id.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, u64> {
        (self.first..).map(id).zip(self.versions.iter().copied()).filter(|(_, version)| *version > 0).collect()
    }
}

fn id(number: usize) -> String {
    format!("u{number:05}")
}

fn event(number: usize, version: u64) -> anyhow::Result<Event> {
    let (id, now) = (id(number), Timestamp::now());
    let data = json!({
        "id": id, "email": "u@example.com", "name": "U", "status": "active", "version": version,
        "created_at": now, "updated_at": now,
    });
    Ok(Event {
        specversion: Event::SPECVERSION,
        event_type: EventType {
            kind: Kind::User,
            action: if version == 1 { Action::Created } else { Action::Updated },
        },
        id: Uuid::now_v7(),
        source: Event::SOURCE,
        subject: format!("users/{id}"),
        time: now,
        datacontenttype: Event::DATACONTENTTYPE,
        kind: Kind::User,
        entity_id: id.parse::<Id>()?,
        version: Version(version),
        recipient: None,
        actor: None,
        request_id: None,
        reason: None,
        transaction_id: Uuid::now_v7(),
        transaction_size: 1,
        data: to_raw_value(&data)?,
    })
}
