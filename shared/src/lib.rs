//! What the API and the worker of Sluice share: the entities, the event, the outbox and the stores.
//!
//! All SQL is here. [`UnitOfWork`](unit_of_work::UnitOfWork) is the only writer: there is no other way to change an
//! entity, and none to change it without its event.

pub mod aggregation;
pub mod audit;
pub mod bell;
pub mod cache;
pub mod change;
pub mod config;
pub mod database;
pub mod entity;
pub mod event;
pub mod idempotency;
pub mod jobs;
pub mod kafka;
pub mod lane;
pub mod lifecycle;
pub mod money;
pub mod outbox;
pub mod probe;
pub mod process;
pub mod query;
pub mod redis;
pub mod repository;
pub mod search;
pub mod specification;
pub mod store;
pub mod telemetry;
pub mod timestamp;
pub mod unit_of_work;
pub mod violation;
