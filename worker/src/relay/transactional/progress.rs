//! What a group of lanes has committed to Kafka and perhaps not yet deleted from MySQL.
//!
//! A record of the progress topic, in the same Kafka transaction as the events; its partition is the group, and only
//! the last one counts:
//!
//! ```json
//! {"version":1,"rows":[[<lane>,<id>,"<event id>"], …]}
//! ```

use std::time::{Duration, Instant};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use serde::{Deserialize, Serialize};
use shared::{
    config::Kafka,
    kafka::{self, TIMEOUT},
    lane::Lane,
    outbox::RowId,
};
use thiserror::Error;
use uuid::Uuid;

const VERSION: u32 = 1;
/// How long the last records of a partition may take to be read.
const LIMIT: Duration = Duration::from_secs(10);
/// Each transaction leaves a record and a marker, or a marker alone: among so many offsets there is one that counts.
const LAST: i64 = 32;

#[derive(Debug, Error)]
pub(super) enum ProgressError {
    #[error("the progress topic could not be read")]
    Kafka(#[from] KafkaError),
    #[error("the progress topic was not read in time")]
    Timeout,
    #[error("what stands in the progress topic was not written by this version")]
    Format(#[from] serde_json::Error),
    #[error("the progress topic has records of version {0}, which this binary does not know")]
    Version(u32),
}

#[derive(Debug, Deserialize, Serialize)]
struct Progress {
    version: u32,
    rows: Vec<(Lane, u64, Uuid)>,
}

pub(super) fn write<'a>(rows: impl Iterator<Item = &'a RowId>) -> serde_json::Result<Vec<u8>> {
    let rows = rows.map(|row| (row.lane, row.id, row.event_id)).collect();
    serde_json::to_vec(&Progress { version: VERSION, rows })
}

fn read(payload: &[u8]) -> Result<Vec<RowId>, ProgressError> {
    let progress: Progress = serde_json::from_slice(payload)?;
    if progress.version != VERSION {
        return Err(ProgressError::Version(progress.version));
    }
    Ok(progress.rows.into_iter().map(|(lane, id, event_id)| RowId { lane, id, event_id }).collect())
}

/// The rows that the group's last committed transaction says. Asks the brokers: not on the runtime's threads.
///
/// Only after `init_transactions` of the group's producer, which ends what an earlier one had left open.
pub(super) fn last(settings: &Kafka, group: i32) -> Result<Vec<RowId>, ProgressError> {
    let consumer: BaseConsumer = kafka::consumer(settings, "unused")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()?;
    let (low, high) = consumer.fetch_watermarks(&settings.progress_topic, group, TIMEOUT)?;
    let mut reach = LAST;
    loop {
        let from = low.max(high - reach);
        if from >= high {
            return Ok(Vec::new());
        }
        if let Some(payload) = last_from(&consumer, settings, group, from)? {
            return read(&payload);
        }
        // Nothing but aborted transactions.
        if from == low {
            return Ok(Vec::new());
        }
        reach *= 8;
    }
}

fn last_from(
    consumer: &BaseConsumer,
    settings: &Kafka,
    group: i32,
    from: i64,
) -> Result<Option<Vec<u8>>, ProgressError> {
    let mut position = TopicPartitionList::new();
    position.add_partition_offset(&settings.progress_topic, group, Offset::Offset(from))?;
    consumer.assign(&position)?;
    let until = Instant::now() + LIMIT;
    let mut last = None;
    while Instant::now() < until {
        match consumer.poll(TIMEOUT) {
            Some(Ok(record)) => last = record.payload().map(<[u8]>::to_vec),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(last),
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    Err(ProgressError::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_published_one() {
        let lane = Lane::all().nth(5).unwrap();
        let row = RowId { lane, id: 7, event_id: Uuid::from_u128(1) };
        let written = write([row].iter()).unwrap();
        let expected = r#"{"version":1,"rows":[[5,7,"00000000-0000-0000-0000-000000000001"]]}"#;
        assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
        assert_eq!(read(&written).unwrap(), [row]);
        assert!(matches!(read(br#"{"version":2,"rows":[]}"#), Err(ProgressError::Version(2))));
    }
}
