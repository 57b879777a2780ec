//! The REST and WebSocket side of Sluice. It stores changes with their events, and never speaks to Kafka but to read.

pub mod app;
mod backlog;
mod health;
mod http;
mod notifications;
mod repositories;
