//! The background side of Sluice: the relay drains the outbox to Kafka, the invalidator and the projector follow the
//! topic. It writes no entity.

pub mod app;
mod consumer;
mod invalidator;
mod newest;
mod probes;
mod projector;
mod relay;
mod scheduler;
