//! The sections of the configuration and what their values may be.

use std::{net::IpAddr, str::FromStr};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, hidden};
use crate::lane::LANES;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub host: String,
    pub port: u16,
    #[serde(serialize_with = "hidden")]
    pub cursor_keys: SecretString,
    pub shutdown_grace_seconds: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub max_body_bytes: usize,
    pub request_timeout_ms: u64,
    pub max_concurrent_requests: usize,
    pub require_if_match: bool,
    pub cors_origins: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub host: String,
    pub port: u16,
    pub name: String,
    pub username: String,
    #[serde(serialize_with = "hidden")]
    pub password: SecretString,
    pub max_connections: u32,
    pub acquire_timeout_ms: u64,
    pub transaction_timeout_ms: u64,
    pub read_timeout_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    #[serde(serialize_with = "hidden")]
    pub url: SecretString,
    pub prefix: String,
    pub command_timeout_ms: u64,
    pub connect_timeout_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    pub brokers: String,
    pub topic: String,
    pub partitions: u16,
    pub replication_factor: u16,
    pub retention_ms: i64,
    pub create_topic: bool,
    pub group_prefix: String,
    pub delivery: Delivery,
    pub progress_topic: String,
}

/// What the relay promises a consumer of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    AtLeastOnce,
    /// Once, to whoever reads committed records only.
    Transactional,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mongodb {
    #[serde(serialize_with = "hidden")]
    pub uri: SecretString,
    pub database: String,
    pub timeout_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    pub ttl_ms: u64,
    pub absent_ttl_ms: u64,
    pub max_staleness_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Outbox {
    pub batch_rows: u32,
    pub batch_bytes: usize,
    pub lease_ms: u64,
    pub poll_min_ms: u64,
    pub poll_max_ms: u64,
    pub max_payload_bytes: usize,
    pub max_depth: u64,
    pub max_age_ms: u64,
}

/// Of a Kafka consumer group of the worker.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    pub batch_records: usize,
    pub batch_wait_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Notifications {
    pub queue_frames: usize,
    pub max_sockets: usize,
    pub ping_interval_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    pub unique_email: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    pub expire_after_seconds: u32,
}

/// When jobs run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scheduler {
    pub expire_orders: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    pub host: String,
    pub port: u16,
    pub shutdown_grace_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Pretty,
    Json,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    pub log_format: LogFormat,
    pub log_filter: String,
    pub log_directory: String,
}

const LEAST_KEY_BYTES: usize = 16;

impl Config {
    /// Refuses values that have the right type and could not work.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.check_stores()?;
        within("server.shutdown_grace_seconds", self.server.shutdown_grace_seconds, 1, 600)?;
        within("worker.shutdown_grace_seconds", self.worker.shutdown_grace_seconds, 1, 600)?;
        self.check_server()?;
        within("http.max_body_bytes", self.http.max_body_bytes as u64, 1024, 16 << 20)?;
        // A write must be decided before its request is given up: to connect, to work, to commit.
        let write_ms = self.database.acquire_timeout_ms + 2 * self.database.transaction_timeout_ms;
        within("http.request_timeout_ms", self.http.request_timeout_ms, write_ms, 300_000)?;
        within("http.max_concurrent_requests", self.http.max_concurrent_requests as u64, 1, 1_000_000)?;
        within("orders.expire_after_seconds", self.orders.expire_after_seconds.into(), 1, 366 * 86_400)?;
        if let Err(error) = croner::Cron::from_str(&self.scheduler.expire_orders) {
            return refuse("scheduler.expire_orders", error.to_string());
        }
        within("cache.ttl_ms", self.cache.ttl_ms, 1_000, 7 * 86_400_000)?;
        within("cache.max_staleness_ms", self.cache.max_staleness_ms, 100, 3_600_000)?;
        within("cache.absent_ttl_ms", self.cache.absent_ttl_ms, 1_000, 86_400_000)?;
        within("outbox.batch_rows", self.outbox.batch_rows.into(), 1, 4_000)?;
        // The producer's queue holds 16 MiB.
        within("outbox.batch_bytes", self.outbox.batch_bytes as u64, 1024, 8 << 20)?;
        within("outbox.lease_ms", self.outbox.lease_ms, 1_000, 300_000)?;
        within("outbox.poll_min_ms", self.outbox.poll_min_ms, 1, 1_000)?;
        within("outbox.poll_max_ms", self.outbox.poll_max_ms, self.outbox.poll_min_ms, 1_000)?;
        // A broker takes 1,048,588 bytes of a record, its key and headers included, where nothing else is configured.
        within("outbox.max_payload_bytes", self.outbox.max_payload_bytes as u64, 1024, 1_000_000)?;
        within("outbox.max_depth", self.outbox.max_depth, 0, 1_000_000_000)?;
        within("outbox.max_age_ms", self.outbox.max_age_ms, 0, 7 * 86_400_000)?;
        for (name, consumer) in [("projector", &self.projector), ("invalidator", &self.invalidator)] {
            within(&format!("{name}.batch_records"), consumer.batch_records as u64, 1, 10_000)?;
            within(&format!("{name}.batch_wait_ms"), consumer.batch_wait_ms, 1, 10_000)?;
        }
        within("notifications.queue_frames", self.notifications.queue_frames as u64, 1, 65_536)?;
        within("notifications.max_sockets", self.notifications.max_sockets as u64, 1, 1_000_000)?;
        within("notifications.ping_interval_ms", self.notifications.ping_interval_ms, 100, 300_000)
    }

    fn check_server(&self) -> Result<(), ConfigError> {
        let keys = self.server.cursor_keys.expose_secret();
        if keys.is_empty() {
            return match self.server.host.parse::<IpAddr>() {
                Ok(address) if address.is_loopback() => Ok(()),
                _ if self.server.host == "localhost" => Ok(()),
                _ => refuse("server.cursor_keys", "beyond loopback there must be at least one".to_owned()),
            };
        }
        if keys.split(',').any(|key| key.trim().len() < LEAST_KEY_BYTES) {
            return refuse("server.cursor_keys", format!("each key has at least {LEAST_KEY_BYTES} characters"));
        }
        Ok(())
    }

    fn check_stores(&self) -> Result<(), ConfigError> {
        named("database.name", &self.database.name, "_-")?;
        within("database.max_connections", self.database.max_connections.into(), 1, 1_000)?;
        within("database.acquire_timeout_ms", self.database.acquire_timeout_ms, 10, 60_000)?;
        within("database.transaction_timeout_ms", self.database.transaction_timeout_ms, 100, 300_000)?;
        within("database.read_timeout_ms", self.database.read_timeout_ms, 10, 300_000)?;
        if let Err(error) = redis::Client::open(self.redis.url.expose_secret()) {
            return refuse("redis.url", format!("not an address of a Redis server: {}", error.category()));
        }
        named("redis.prefix", &self.redis.prefix, "_-:.")?;
        within("redis.command_timeout_ms", self.redis.command_timeout_ms, 1, 10_000)?;
        within("redis.connect_timeout_ms", self.redis.connect_timeout_ms, 1, 10_000)?;
        named("kafka.topic", &self.kafka.topic, "._-")?;
        named("kafka.group_prefix", &self.kafka.group_prefix, "._-")?;
        named("kafka.progress_topic", &self.kafka.progress_topic, "._-")?;
        if self.kafka.partitions == 0 || !LANES.is_multiple_of(self.kafka.partitions) {
            return refuse("kafka.partitions", format!("{} does not divide the {LANES} lanes", self.kafka.partitions));
        }
        within("kafka.replication_factor", self.kafka.replication_factor.into(), 1, 15)?;
        named("mongodb.database", &self.mongodb.database, "_-")?;
        within("mongodb.timeout_ms", self.mongodb.timeout_ms, 100, 300_000)
    }
}

fn refuse(key: &str, reason: String) -> Result<(), ConfigError> {
    Err(ConfigError::Key { key: key.to_owned(), reason })
}

fn within(key: &str, value: u64, least: u64, most: u64) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    refuse(key, format!("{value} is not within {least} to {most}"))
}

fn named(key: &str, value: &str, punctuation: &str) -> Result<(), ConfigError> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || punctuation.contains(letter);
    if (1..=64).contains(&value.len()) && value.chars().all(allowed) {
        return Ok(());
    }
    refuse(key, format!("{value:?} is not 1 to 64 of letters, digits and {punctuation:?}"))
}
