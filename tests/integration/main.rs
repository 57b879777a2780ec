//! The integration tests: everything through the front door, on the real servers.

#![expect(clippy::print_stdout, reason = "seeds and measurements are reported")]

mod attributes;
mod cache;
mod crash_of_the_api;
mod crash_of_the_worker;
mod demo;
mod documents;
mod duplicates;
mod faults;
mod input;
mod life;
mod load;
mod money;
mod money_property;
mod orders;
mod orders_expiry;
mod payments;
mod requirement;
mod scopes;
mod shop;
mod sockets;
mod status;
mod stock;
mod stock_deadlocks;
mod stock_races;
mod tour;
mod unique_email;
mod users;
mod way_of_a_change;
mod workers;

use serde_json::{Value, json};

const USERS: &str = "/api/v1/users";

fn user(id: &str) -> Value {
    json!({ "id": id, "email": format!("{id}@example.com"), "name": "Test User" })
}
