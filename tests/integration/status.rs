//! The status machines, each with all of its steps: what is allowed is done and told with its reason, the rest refused.

use std::collections::BTreeMap;

use harness::{client::Client, ledger, stack::Stack};
use serde_json::{Value, json};
use shared::entity::Action;

use crate::{
    USERS,
    input::{assert_problem, violations},
    shop::{ORDERS, PAYMENTS, PRODUCTS, create, create_users, order, payment, product, walk, with},
    user,
};

/// A machine as it is published, written down once more.
struct Machine {
    path: &'static str,
    body: fn(&str) -> Value,
    /// Of each status: how a new entity gets there, what may follow, whether it can be deleted there.
    statuses: &'static [(&'static str, &'static [&'static str], &'static [&'static str], bool)],
}

const ORDER: Machine = Machine {
    path: ORDERS,
    body: |id| order(id, "ann", &[("lamp", 1)]),
    statuses: &[
        ("pending", &[], &["confirmed", "cancelled"], true),
        ("confirmed", &["confirmed"], &["processing", "cancelled"], true),
        ("processing", &["confirmed", "processing"], &["shipped"], false),
        ("shipped", &["confirmed", "processing", "shipped"], &["delivered"], false),
        ("delivered", &["confirmed", "processing", "shipped", "delivered"], &["returned"], false),
        ("returned", &["confirmed", "processing", "shipped", "delivered", "returned"], &[], false),
        ("cancelled", &["cancelled"], &[], true),
    ],
};

const PAYMENT: Machine = Machine {
    path: PAYMENTS,
    body: |id| payment(id, "ann"),
    statuses: &[
        ("pending", &[], &["processing", "cancelled"], true),
        ("processing", &["processing"], &["completed", "failed"], false),
        ("completed", &["processing", "completed"], &["refunded"], false),
        ("failed", &["processing", "failed"], &[], true),
        ("cancelled", &["cancelled"], &[], true),
        ("refunded", &["processing", "completed", "refunded"], &[], false),
    ],
};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_takes_every_legal_step_and_no_other() -> anyhow::Result<()> {
    ORDER.exercise().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_takes_every_legal_step_and_no_other() -> anyhow::Result<()> {
    PAYMENT.exercise().await
}

impl Machine {
    async fn exercise(&self) -> anyhow::Result<()> {
        let stack = Stack::new().await?;
        let (api, client) = stack.start_api().await?;
        create_users(&client, &["ann"]).await?;
        create(&client, PRODUCTS, &product("lamp", 1000)).await?;
        let mut reasons = BTreeMap::new();
        for (from, way, next, deletable) in self.statuses {
            self.refuse_others(&client, from, way, next).await?;
            for to in *next {
                let id = format!("{from}-{to}");
                create(&client, self.path, &(self.body)(&id)).await?;
                let path = format!("{}/{id}", self.path);
                walk(&client, &path, way).await?;
                let reason = format!("because of {id}");
                let stepped = client.patch(&path, &json!({ "status": to, "reason": reason })).await?;
                assert_eq!((stepped.status.as_u16(), &stepped.body["status"]), (200, &json!(to)), "{stepped:?}");
                assert_eq!(stepped.version(), way.len() as u64 + 2);
                reasons.insert((id, stepped.version()), (reason, *to));
            }
            self.delete(&client, from, *deletable).await?;
        }
        for event in ledger::outbox(&stack).await? {
            if let Some((reason, to)) = reasons.remove(&(event.entity_id.to_string(), event.version.0)) {
                assert_eq!(event.reason.as_ref(), Some(&reason));
                let data: Value = serde_json::from_str(event.data.get())?;
                assert_eq!(data["status"], to, "{reason}");
            }
        }
        assert!(reasons.is_empty(), "not told: {reasons:?}");
        api.stop().await?;
        stack.discard().await
    }

    /// Leaves an entity with the status `from` behind, by its name.
    async fn refuse_others(&self, client: &Client, from: &str, way: &[&str], next: &[&str]) -> anyhow::Result<()> {
        create(client, self.path, &(self.body)(from)).await?;
        let path = format!("{}/{from}", self.path);
        walk(client, &path, way).await?;
        let before = client.get(&path).await?;
        assert_eq!(before.body["status"], from);
        for (to, ..) in self.statuses.iter().filter(|(to, ..)| *to != from && !next.contains(to)) {
            let replacement = with((self.body)(from), "status", json!(to));
            for refused in
                [client.patch(&path, &json!({ "status": to })).await?, client.put(&path, &replacement).await?]
            {
                assert_problem(&refused, 409, "illegal-transition");
                assert_eq!(refused.body["allowed_transitions"], json!(next), "from {from} to {to}");
            }
        }
        assert_eq!(client.get(&path).await?.body, before.body, "a refused step left a trace");
        let long = client.patch(&path, &json!({ "status": from, "reason": "x".repeat(201) })).await?;
        assert_eq!(violations(&long), [("/reason".to_owned(), "too-long".to_owned())]);
        // To stay is no step.
        assert_eq!(client.patch(&path, &json!({ "status": from })).await?.status, 200);
        Ok(())
    }

    async fn delete(&self, client: &Client, id: &str, deletable: bool) -> anyhow::Result<()> {
        let path = format!("{}/{id}", self.path);
        let deleted = client.delete(&path).await?;
        if deletable {
            assert_eq!(deleted.status, 204, "{deleted:?}");
        } else {
            assert_problem(&deleted, 409, "not-deletable");
            assert_eq!(client.get(&path).await?.status, 200);
        }
        Ok(())
    }
}

/// They begin at any status and change freely between their two.
#[tokio::test(flavor = "multi_thread")]
async fn users_and_products_go_back_and_forth() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    for (path, body, other) in [(USERS, user("ann"), "suspended"), (PRODUCTS, product("lamp", 1), "archived")] {
        let created = create(&client, path, &body).await?;
        assert_eq!(created.body["status"], "active");
        let one = format!("{path}/{}", created.body["id"].as_str().unwrap_or_default());
        for status in [other, other, "active", "active", other] {
            let patched = client.patch(&one, &json!({ "status": status, "reason": format!("now {status}") })).await?;
            assert_eq!(patched.body["status"], status, "{patched:?}");
        }
        let replacement = with(with(body.clone(), "status", json!("active")), "reason", json!("now active"));
        let replaced = client.put(&one, &replacement).await?;
        assert_eq!(replaced.body["status"], "active", "{replaced:?}");
        assert_problem(&client.patch(&one, &json!({ "status": "gone" })).await?, 422, "validation-failed");
        assert_eq!(client.delete(&one).await?.status, 204);
        let again = with(body, "status", json!(other));
        assert_eq!(create(&client, path, &again).await?.body["status"], other);
    }
    for event in ledger::outbox(&stack).await?.iter().filter(|event| event.event_type.action == Action::Updated) {
        let data: Value = serde_json::from_str(event.data.get())?;
        let told = data["status"].as_str().map(|status| format!("now {status}"));
        assert_eq!(event.reason, told, "{}", event.subject);
    }
    api.stop().await?;
    stack.discard().await
}
