//! The indexes of the documents and of the audit trail. To make one that exists changes nothing.

use std::time::Duration;

use mongodb::{
    Database,
    bson::{Document, doc},
};
use shared::{
    entity::{Entity, Field, Kind, Visitor},
    lifecycle::Lifecycle,
    telemetry::one_line,
};
use strum::VariantArray;

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Makes them, however often it takes. The projector does not wait for it: without indexes reads are slow, and only
/// the full-text search finds nothing.
pub(super) async fn make(database: Database, lifecycle: Lifecycle) {
    while !lifecycle.is_stopping() {
        // The driver does not bear being dropped in the middle, so an attempt is not given up. The server says at once
        // whether it builds, and who asks again waits for the same build.
        match make_all(&database).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(error = one_line(&error), "the indexes of the documents are not made yet"),
        }
        lifecycle.pause(PAUSE).await;
    }
}

async fn make_all(database: &Database) -> mongodb::error::Result<()> {
    let audit = named(&doc! { "entity": 1, "entity_id": 1, "version": 1 });
    database.run_command(doc! { "createIndexes": "audit_log", "indexes": [audit] }).await?;
    for kind in Kind::VARIANTS {
        let mut indexes: Vec<Document> = kind.visit(Keys).iter().map(named).collect();
        if *kind == Kind::Product {
            indexes.push(full_text());
        }
        database.run_command(doc! { "createIndexes": kind.plural(), "indexes": indexes }).await?;
    }
    Ok(())
}

/// The keys by which documents of a kind are sorted and filtered, as MySQL has them.
struct Keys;

impl Visitor for Keys {
    type Output = Vec<Document>;

    fn visit<E: Entity>(self) -> Vec<Document> {
        let of = |field: &E::Field| {
            let (path, facts) = (field.document_path(), field.facts());
            let created_at = E::Field::CREATED_AT.document_path();
            match (facts.sortable, facts.filterable) {
                // It has an index of its own.
                _ if *field == E::Field::ID => None,
                (true, _) => Some(doc! { path: 1, "_id": 1 }),
                (false, true) => Some(doc! { path: 1, created_at: 1, "_id": 1 }),
                (false, false) => None,
            }
        };
        E::Field::VARIANTS.iter().filter_map(of).collect()
    }
}

/// Named as servers name it themselves.
fn named(key: &Document) -> Document {
    let name = key.keys().map(|field| format!("{field}_1")).collect::<Vec<_>>().join("_");
    doc! { "key": key, "name": name }
}

/// A word in the name says more of a product than one of its description. No field of a document names its language.
fn full_text() -> Document {
    doc! {
        "key": { "name": "text", "description": "text", "category": "text" },
        "name": "full_text",
        "weights": { "name": 10, "category": 5, "description": 1 },
        "default_language": "english",
        "language_override": "text_language",
    }
}
