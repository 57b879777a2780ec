//! A small history in which all is right, to be broken.

use std::collections::BTreeMap;

use mongodb::bson::{self, Bson, DateTime, Document, doc};
use reqwest::Method;
use serde_json::{Value, json};
use shared::{
    entity::{Action, Kind, User},
    event::{CONTENT_TYPE, Event, TraceContext},
    lane::Lane,
};

use super::{History, Operation, Outcome, Write};
use crate::dump::{Dumps, Record};

pub(super) const PARTITIONS: u16 = 4;
const AT: &str = "2026-01-31T12:00:00.123Z";

pub(super) struct World {
    pub(super) history: History,
    pub(super) dumps: Dumps,
}

impl World {
    /// Four users, one of them gone and one come back; a lamp of which an order took two.
    pub(super) fn good() -> Self {
        let mut world = Self { history: History::default(), dumps: Dumps::default() };
        world.dumps.partitions = vec![PARTITIONS];
        world.ann();
        world.others();
        world.shop();
        world
    }

    fn ann(&mut self) {
        self.user(Method::POST, "ann", 1, "Ann", answered(201, 1));
        self.user(Method::PATCH, "ann", 2, "Ann B", answered(200, 2));
        // Done, and not answered.
        self.user(Method::PUT, "ann", 3, "Ann C", Outcome::Unknown);
        self.user(Method::PATCH, "ann", 4, "Ann D", answered(200, 4));
        // Neither done nor answered.
        self.note("cut", Method::PATCH, "ann", json!({ "name": "Nobody" }), Outcome::Unknown);
        self.note("refused", Method::PATCH, "nobody", json!({}), Outcome::Refused { status: Some(404) });
        self.note("unsent", Method::DELETE, "ann", Value::Null, Outcome::Refused { status: None });
    }

    fn others(&mut self) {
        self.user(Method::POST, "bob", 1, "Bob", Outcome::Unknown);
        let cut = self.history.operations.last_mut().unwrap();
        cut.write.idempotency_key = Some("key".to_owned());
        let again = Operation { request_id: "again".to_owned(), outcome: answered(201, 1), ..cut.clone() };
        self.history.operations.push(again);
        let deleted = Outcome::Acknowledged { status: 204, version: None };
        self.user(Method::DELETE, "bob", 2, "Bob", deleted);
        self.user(Method::POST, "bob", 3, "Bob again", answered(201, 3));
        self.user(Method::POST, "cat", 1, "Cat", answered(201, 1));
        self.user(Method::DELETE, "cat", 2, "Cat", deleted);
        let state = [("state", "gone"), ("version", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.dumps.cached.insert("user:cat".to_owned(), state.into());
    }

    fn shop(&mut self) {
        let lamp = |version: u64, stock: u32| {
            json!({
                "id": "lamp", "sku": "L1", "name": "Lamp", "category": "light", "price": "8.90", "currency": "USD",
                "stock": stock, "status": "active", "attributes": {}, "version": version, "created_at": AT,
                "updated_at": AT,
            })
        };
        let order = json!({
            "id": "o1", "user_id": "ann", "status": "pending",
            "items": [{ "product_id": "lamp", "quantity": 2, "unit_price": "8.90" }], "total_amount": "17.80",
            "currency": "USD", "version": 1, "created_at": AT, "updated_at": AT,
        });
        let price = decimal("8.90");
        let stored = |version: i64, stock: i64| {
            doc! {
                "_id": "lamp", "sku": "L1", "name": "Lamp", "category": "light", "price": "8.90",
                "price_decimal": price.clone(), "currency": "USD", "stock": stock, "status": "active",
                "attributes": {}, "version": version, "created_at": date(), "updated_at": date(),
            }
        };
        let item = doc! {
            "product_id": "lamp", "quantity": 2_i64, "unit_price": "8.90", "unit_price_decimal": price.clone(),
        };
        let ordered = doc! {
            "_id": "o1", "user_id": "ann", "status": "pending", "items": [item], "total_amount": "17.80",
            "total_amount_decimal": decimal("17.80"), "currency": "USD", "version": 1_i64, "created_at": date(),
            "updated_at": date(),
        };
        let create = Told { kind: Kind::Product, id: "lamp", version: 1, action: Action::Created, request: "lamp" };
        self.tell(create, 1, lamp(1, 10), stored(1, 10));
        let take = Told { version: 2, action: Action::Updated, request: "order", ..create };
        self.tell(take, 2, lamp(2, 8), stored(2, 8));
        let place = Told { kind: Kind::Order, id: "o1", request: "order", ..create };
        self.tell(place, 2, order, ordered);
        for (request_id, kind, id) in [("lamp", Kind::Product, "lamp"), ("order", Kind::Order, "o1")] {
            let write = Write::new(Method::POST, kind, id, json!({}));
            let outcome = answered(201, 1);
            self.history.operations.push(Operation { request_id: request_id.into(), write, outcome });
        }
    }

    /// A change of a user, wherever it leaves traces.
    fn user(&mut self, method: Method, id: &str, version: u64, name: &str, outcome: Outcome) {
        let request = format!("{id}-{version}");
        let is_deletion = method == Method::DELETE;
        let body = if is_deletion { Value::Null } else { json!({ "name": name }) };
        self.note(&request, method, id, body, outcome);
        let action = self.history.operations.last().unwrap().write.action();
        let data = json!({
            "id": id, "email": format!("{id}@example.com"), "name": name, "status": "active",
            "version": version - u64::from(is_deletion), "created_at": AT, "updated_at": AT,
        });
        let user: User = serde_json::from_value(data.clone()).unwrap();
        let mut document = Document::try_from(bson::serialize_to_raw_document_buf(&user).unwrap()).unwrap();
        let id_field = document.remove("id").unwrap();
        document.insert("_id", id_field);
        let told = Told { kind: Kind::User, id, version, action, request: &request };
        self.tell(told, 1, data, document);
    }

    fn note(&mut self, request_id: &str, method: Method, id: &str, body: Value, outcome: Outcome) {
        let write = Write::new(method, Kind::User, id, body);
        self.history.operations.push(Operation { request_id: request_id.to_owned(), write, outcome });
    }

    fn tell(&mut self, told: Told<'_>, size: usize, data: Value, document: Document) {
        let number = self.dumps.records.len() + 1;
        let event = told.event(number, size, &data);
        let record = record(&event, number);
        let (key, id) = (record.key.clone(), event.id.to_string());
        self.dumps.audit.insert(id, audit_entry(&record, &document));
        let is_deletion = told.action == Action::Deleted;
        if is_deletion {
            self.dumps.rows.remove(&key);
            self.dumps.retired.insert(key.clone(), told.version);
        } else {
            let entry =
                [("state", "live".into()), ("version", told.version.to_string()), ("payload", data.to_string())];
            let entry: BTreeMap<_, _> = entry.map(|(name, value)| (name.to_owned(), value)).into();
            self.dumps.cached.insert(key.clone(), entry);
            self.dumps.rows.insert(key.clone(), data);
        }
        let tombstone = doc! { "_id": told.id, "version": told.version.cast_signed(), "deleted_at": date() };
        self.dumps.documents.insert(key, if is_deletion { tombstone } else { document });
        self.dumps.records.push(record);
    }

    pub(super) fn operation(&mut self, request_id: &str) -> &mut Operation {
        self.history.operations.iter_mut().find(|operation| operation.request_id == request_id).unwrap()
    }

    pub(super) fn position(&self, key: &str, version: u64) -> usize {
        self.dumps.records.iter().position(|it| it.key == key && it.event.version.0 == version).unwrap()
    }

    pub(super) fn record(&mut self, key: &str, version: u64) -> &mut Record {
        let position = self.position(key, version);
        &mut self.dumps.records[position]
    }

    /// As if Kafka, and so MongoDB, had never heard of it.
    pub(super) fn lose(&mut self, key: &str, version: u64) -> Record {
        let lost = self.dumps.records.remove(self.position(key, version));
        self.dumps.audit.remove(&lost.event.id.to_string());
        lost
    }

    /// Lets the event, and so its record, say something else.
    pub(super) fn rewrite(&mut self, key: &str, version: u64, change: impl FnOnce(&mut Value)) {
        let record = self.record(key, version);
        let mut event = serde_json::from_str(&record.value).unwrap();
        change(&mut event);
        record.value = event.to_string();
        record.event = serde_json::from_str(&record.value).unwrap();
    }

    pub(super) fn audit(&mut self, key: &str, version: u64) -> &mut Document {
        let id = self.record(key, version).event.id.to_string();
        self.dumps.audit.get_mut(&id).unwrap()
    }
}

#[derive(Clone, Copy)]
struct Told<'a> {
    kind: Kind,
    id: &'a str,
    version: u64,
    action: Action,
    request: &'a str,
}

impl Told<'_> {
    fn event(self, number: usize, size: usize, data: &Value) -> Event {
        let Self { kind, id, version, action, request } = self;
        // Of a request all is one transaction.
        let transaction = request.bytes().fold(0_u128, |number, byte| number * 31 + u128::from(byte));
        let event = json!({
            "specversion": "1.0", "type": format!("{kind}_{action}"), "id": uuid::Uuid::from_u128(number as u128),
            "source": "/sluice", "subject": format!("{}/{id}", kind.plural()), "time": AT,
            "datacontenttype": "application/json", "entity": kind, "entityid": id, "entityversion": version,
            "requestid": request, "transactionid": uuid::Uuid::from_u128(transaction), "transactionsize": size,
            "data": data,
        });
        serde_json::from_str(&event.to_string()).unwrap()
    }
}

fn record(event: &Event, number: usize) -> Record {
    Record {
        key: event.key().to_string(),
        value: serde_json::to_string(event).unwrap(),
        event: event.clone(),
        trace: TraceContext::default(),
        content_type: CONTENT_TYPE.to_owned(),
        partition: Lane::of(&event.key()).partition(PARTITIONS),
        offset: i64::try_from(number).unwrap(),
        published_ms: i64::try_from(number).unwrap(),
    }
}

fn audit_entry(record: &Record, document: &Document) -> Document {
    let event = &record.event;
    let mut after = document.clone();
    let id = after.remove("_id").unwrap();
    after.insert("id", id);
    doc! {
        "_id": event.id.to_string(), "entity": event.kind.to_string(), "entity_id": event.entity_id.as_str(),
        "action": event.event_type.action.to_string(), "version": event.version.0.cast_signed(), "actor": Bson::Null,
        "request_id": event.request_id.as_deref(), "reason": Bson::Null, "trace_id": Bson::Null,
        "transaction_id": event.transaction_id.to_string(), "occurred_at": date(), "after": after,
    }
}

pub(super) fn answered(status: u16, version: u64) -> Outcome {
    Outcome::Acknowledged { status, version: Some(version) }
}

fn date() -> DateTime {
    DateTime::parse_rfc3339_str(AT).unwrap()
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().unwrap())
}
