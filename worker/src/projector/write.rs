//! The two writes to MongoDB. Both may be done again and then change nothing.

use mongodb::{
    Database,
    bson::{Bson, Document, doc},
    error::{ErrorKind, InsertManyError},
};

use super::ProjectError;

/// A document or index entry of the same key exists.
const DUPLICATE_KEY: i32 = 11000;
/// How often documents are tried again whose first writers met.
const ATTEMPTS: usize = 10;

/// Records audit entries. They never change: one that exists was recorded by an earlier delivery, whose times stand.
pub(super) async fn audit(database: Database, entries: Vec<Document>) -> Result<(), ProjectError> {
    let inserted = database.collection::<Document>("audit_log").insert_many(entries).ordered(false).await;
    match inserted {
        Err(error) if !all_recorded(error.kind.as_ref()) => Err(error.into()),
        _ => Ok(()),
    }
}

fn all_recorded(error: &ErrorKind) -> bool {
    let ErrorKind::InsertMany(InsertManyError { write_errors: Some(errors), write_concern_error: None, .. }) = error
    else {
        return false;
    };
    errors.iter().all(|error| error.code == DUPLICATE_KEY)
}

/// Replaces documents that are older, at most one per `_id`.
///
/// The guard is inside the update. As a filter beside an upsert it would lose the newest where first writers race.
/// Sent as a command, as the driver's own bulk write needs a newer server than the product does.
pub(super) async fn documents(
    database: Database,
    collection: &'static str,
    mut documents: Vec<Document>,
) -> Result<(), ProjectError> {
    for _ in 0..ATTEMPTS {
        let updates: Vec<Bson> = documents.iter().map(|document| Bson::Document(guarded(document))).collect();
        // A command does not take over the write concern of its database.
        let command = doc! {
            "update": collection, "updates": updates, "ordered": false, "writeConcern": { "w": "majority" },
        };
        let reply = database.run_command(command).await?;
        if let Ok(error) = reply.get_document("writeConcernError") {
            return Err(ProjectError::Refused { collection, code: error.get_i32("code").unwrap_or_default() });
        }
        let Ok(errors) = reply.get_array("writeErrors") else { return Ok(()) };
        let mut again = Vec::new();
        for error in errors.iter().filter_map(Bson::as_document) {
            let code = error.get_i32("code").unwrap_or_default();
            let failed = error.get_i32("index").ok().and_then(|index| documents.get(usize::try_from(index).ok()?));
            match failed {
                // Two first writers met and the other's document may be the older one.
                Some(document) if code == DUPLICATE_KEY => again.push(document.clone()),
                _ => return Err(ProjectError::Refused { collection, code }),
            }
        }
        if again.is_empty() {
            return Ok(());
        }
        documents = again;
    }
    Err(ProjectError::Contended { collection })
}

fn guarded(document: &Document) -> Document {
    let (id, version) = (document.get("_id"), document.get("version"));
    let is_older = doc! { "$lt": [{ "$ifNull": ["$version", 0] }, version] };
    doc! {
        "q": { "_id": id },
        "u": [{ "$replaceWith": { "$cond": [is_older, { "$literal": document }, "$$ROOT"] } }],
        "upsert": true,
    }
}
