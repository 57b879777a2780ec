//! The integration tests: everything through the front door, on the real servers.

#![expect(clippy::print_stdout, reason = "seeds and measurements are reported")]

mod aggregations;
mod attributes;
mod back_pressure;
mod cache;
mod cached;
mod conformance;
mod crash_of_the_api;
mod crash_of_the_worker;
mod demo;
mod documents;
mod duplicates;
mod expand;
mod explain;
mod faults;
mod faults_relay;
mod input;
mod late_commits;
mod life;
mod load;
mod money;
mod money_property;
mod operator_commands;
mod orders;
mod orders_expiry;
mod parked;
mod payments;
mod queries;
mod repositories;
mod requirement;
mod scopes;
mod search;
mod shop;
mod sockets;
mod specification;
mod status;
mod stock;
mod stock_deadlocks;
mod stock_races;
mod tour;
mod transactional;
mod troubles;
mod unique_email;
mod way_of_a_change;
mod workers;

use harness::client::{Answer, Client};
use serde_json::{Value, json};

const USERS: &str = "/api/v1/users";

fn user(id: &str) -> Value {
    json!({ "id": id, "email": format!("{id}@example.com"), "name": "Test User" })
}

/// Creates a batch.
async fn create(client: &Client, plural: &str, items: Vec<Value>) -> anyhow::Result<Vec<Value>> {
    let batch = client.post(&format!("/api/v1/{plural}/batch"), &json!({ "items": items })).await?;
    anyhow::ensure!(batch.status == 201, "{batch:?}");
    Ok(batch.body["items"].as_array().cloned().unwrap_or_default())
}

async fn query(client: &Client, asked: &Value) -> anyhow::Result<Answer> {
    client.post("/api/v1/repositories/query", asked).await
}

/// Where in the body rules are broken.
fn pointers(refused: &Answer) -> Vec<&str> {
    let errors = refused.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    errors.iter().filter_map(|error| error["pointer"].as_str()).collect()
}
