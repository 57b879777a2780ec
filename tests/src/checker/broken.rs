//! The checker tried on histories that were broken on purpose, each in one way.

use serde_json::json;
use uuid::Uuid;

use super::{
    Outcome, Rule, check,
    world::{World, answered},
};
use crate::dump::{Parked, Waiting};

fn violations(world: &World) -> Vec<(Rule, String)> {
    let verdict = check(Some(&world.history), &world.dumps);
    verdict.violations.into_iter().map(|violation| (violation.rule, violation.subject)).collect()
}

/// A way to break a world, the rule that does not hold then, and of what.
type Break = (Rule, &'static str, fn(&mut World));

fn assert_each_is_found(breaks: &[Break]) {
    for (number, (rule, subject, break_it)) in breaks.iter().enumerate() {
        let mut world = World::good();
        break_it(&mut world);
        assert_eq!(violations(&world), [(*rule, (*subject).to_owned())], "break {number}");
    }
}

/// The id of a world's nth event.
const FIRST: &str = "00000000-0000-0000-0000-000000000001";
const SECOND: &str = "00000000-0000-0000-0000-000000000002";

#[test]
fn what_is_right_is_not_blamed() {
    let world = World::good();
    let verdict = check(Some(&world.history), &world.dumps);
    assert!(verdict.violations.is_empty(), "{:?}", verdict.violations);
    assert_eq!((verdict.first_deliveries["user:ann"].len(), verdict.duplicates), (4, 0));
    assert!(check(None, &world.dumps).violations.is_empty());
}

#[test]
fn a_late_duplicate_is_allowed() {
    let mut world = World::good();
    let again = world.record("user:ann", 1).clone();
    world.dumps.records.push(again);
    let verdict = check(Some(&world.history), &world.dumps);
    assert!(verdict.violations.is_empty(), "{:?}", verdict.violations);
    assert_eq!((verdict.first_deliveries["user:ann"].len(), verdict.duplicates), (4, 1));
}

#[test]
fn what_clients_were_told_is_what_was_announced() {
    assert_each_is_found(&[
        (Rule::WriteIsAnnounced, "user:ann", |world| _ = world.lose("user:ann", 2)),
        // A deletion is answered without a version.
        (Rule::WriteIsAnnounced, "user:ann", |world| {
            let mut deletion = world.operation("bob-2").clone();
            deletion.request_id = "unheard".to_owned();
            deletion.write.id = "ann".to_owned();
            world.history.operations.push(deletion);
        }),
        (Rule::EventHasItsWrite, "user:ann", |world| {
            world.history.operations.retain(|operation| operation.request_id != "ann-2");
        }),
        (Rule::EventHasItsWrite, "user:ann", |world| {
            world.operation("ann-2").outcome = Outcome::Refused { status: Some(409) };
        }),
        (Rule::EventHasItsWrite, "user:ann", |world| {
            world.operation("ann-2").outcome = Outcome::Refused { status: None };
        }),
        (Rule::EventIsAsWritten, "user:ann", |world| world.operation("ann-4").outcome = answered(200, 3)),
        (Rule::EventIsAsWritten, "user:ann", |world| world.operation("ann-3").write.body = json!({ "name": "Eve" })),
        (Rule::EventIsAsWritten, "user:eve", |world| world.operation("ann-2").write.id = "eve".to_owned()),
        (Rule::EventIsAsWritten, "user:ann", |world| world.operation("ann-2").write.method = reqwest::Method::DELETE),
        (Rule::OneEffect, "user:ann", |world| {
            for request in ["ann-3", "ann-4"] {
                world.operation(request).write.idempotency_key = Some("once".to_owned());
            }
        }),
        (Rule::OneEffect, "user:ann", |world| {
            for version in [3, 4] {
                world.rewrite("user:ann", version, |event| event["requestid"] = json!("ann-4"));
                world.audit("user:ann", version).insert("request_id", "ann-4");
            }
        }),
    ]);
}

#[test]
fn first_deliveries_are_whole_and_in_order() {
    assert_each_is_found(&[
        (Rule::InOrder, "user:ann", |world| {
            let (second, third) = (world.position("user:ann", 2), world.position("user:ann", 3));
            world.dumps.records.swap(second, third);
        }),
        // Nobody was told that version 3 was written.
        (Rule::NoHole, "user:ann", |world| _ = world.lose("user:ann", 3)),
        (Rule::NoHole, "user:bob", |world| {
            world.lose("user:bob", 1);
            world.operation("again").outcome = Outcome::Unknown;
        }),
        (Rule::TransactionIsWhole, "00000000-0000-0000-0000-00000651874e", |world| {
            for (key, version) in [("product:lamp", 2), ("order:o1", 1)] {
                world.rewrite(key, version, |event| event["transactionsize"] = json!(3));
            }
        }),
    ]);
}

#[test]
fn duplicates_are_the_same() {
    assert_each_is_found(&[
        (Rule::DuplicateIsTheSame, FIRST, |world| {
            let again = world.record("user:ann", 1).clone();
            world.dumps.records.push(crate::dump::Record { key: "user:eve".to_owned(), ..again });
        }),
        (Rule::DuplicateIsTheSame, FIRST, |world| {
            let mut again = world.record("user:ann", 1).clone();
            again.value = again.value.replace("Ann", "Eve");
            world.dumps.records.push(again);
        }),
        (Rule::DuplicateIsTheSame, FIRST, |world| {
            let mut again = world.record("user:ann", 1).clone();
            again.partition += 1;
            world.dumps.records.push(again);
        }),
    ]);
}

#[test]
fn a_record_agrees_with_itself() {
    assert_each_is_found(&[
        (Rule::RecordAgrees, SECOND, |world| world.record("user:ann", 2).key = "user:eve".to_owned()),
        (Rule::RecordAgrees, SECOND, |world| world.record("user:ann", 2).partition += 1),
        (Rule::RecordAgrees, SECOND, |world| world.record("user:ann", 2).content_type = "text/plain".to_owned()),
        (Rule::RecordAgrees, SECOND, |world| {
            world.rewrite("user:ann", 2, |event| event["subject"] = json!("users/eve"));
        }),
        (Rule::RecordAgrees, SECOND, |world| {
            world.rewrite("user:ann", 2, |event| event["data"]["version"] = json!(1));
            world.audit("user:ann", 2).get_document_mut("after").unwrap().insert("version", 1_i64);
        }),
    ]);
}

#[test]
fn rows_are_what_was_told_last() {
    assert_each_is_found(&[
        (Rule::RowIsTold, "user:ann", |world| {
            let row = world.dumps.rows.get_mut("user:ann").unwrap();
            row["name"] = json!("Eve");
            let payload = row.to_string();
            world.dumps.cached.get_mut("user:ann").unwrap().insert("payload".to_owned(), payload);
        }),
        (Rule::RowIsTold, "user:ann", |world| {
            world.dumps.rows.remove("user:ann");
            world.dumps.cached.remove("user:ann");
        }),
        (Rule::RowIsTold, "user:eve", |world| {
            world.dumps.rows.insert("user:eve".to_owned(), json!({}));
        }),
        (Rule::DeletionIsRetired, "user:bob", |world| _ = world.dumps.retired.insert("user:bob".to_owned(), 1)),
        (Rule::DeletionIsRetired, "user:cat", |world| _ = world.dumps.retired.remove("user:cat")),
        (Rule::OutboxIsEmpty, "user:ann", |world| {
            let event_id = world.record("user:ann", 4).event.id;
            world.dumps.outbox.push(Waiting { event_id, key: "user:ann".to_owned(), version: 4 });
        }),
        (Rule::CacheIsFresh, "user:ann", |world| {
            world.dumps.cached.get_mut("user:ann").unwrap().insert("version".to_owned(), "3".to_owned());
        }),
        (Rule::CacheIsFresh, "user:cat", |world| {
            world.dumps.cached.get_mut("user:cat").unwrap().insert("state".to_owned(), "live".to_owned());
        }),
    ]);
}

#[test]
fn documents_are_the_fold_of_the_events() {
    assert_each_is_found(&[
        (Rule::DocumentIsFold, "user:ann", |world| {
            world.dumps.documents.get_mut("user:ann").unwrap().insert("version", 3_i64);
        }),
        (Rule::DocumentIsFold, "user:ann", |world| {
            world.dumps.documents.get_mut("user:ann").unwrap().insert("name", "Eve");
        }),
        (Rule::DocumentIsFold, "user:ann", |world| _ = world.dumps.documents.remove("user:ann")),
        (Rule::DocumentIsFold, "user:eve", |world| {
            let document = world.dumps.documents["user:ann"].clone();
            world.dumps.documents.insert("user:eve".to_owned(), document);
        }),
        (Rule::DocumentIsFold, "user:cat", |world| {
            world.dumps.documents.get_mut("user:cat").unwrap().insert("name", "Cat");
        }),
        (Rule::DocumentIsFold, "product:lamp", |world| {
            world.dumps.documents.get_mut("product:lamp").unwrap().insert("price_decimal", "8.90");
        }),
    ]);
}

#[test]
fn the_audit_log_has_each_event_once() {
    assert_each_is_found(&[
        (Rule::AuditIsWhole, FIRST, |world| _ = world.dumps.audit.remove(FIRST)),
        (Rule::AuditIsOnce, "00000000-0000-0000-0000-00000000ffff", |world| {
            let again = world.dumps.audit[FIRST].clone();
            world.dumps.audit.insert(Uuid::from_u128(0xffff).to_string(), again);
        }),
        (Rule::AuditIsTold, FIRST, |world| _ = world.audit("user:ann", 1).insert("action", "deleted")),
        (Rule::AuditIsTold, FIRST, |world| {
            world.audit("user:ann", 1).get_document_mut("after").unwrap().insert("name", "Eve");
        }),
    ]);
}

/// Wherever else the stock stands, all say the same.
#[test]
fn a_piece_that_vanished_is_missed() {
    assert_each_is_found(&[(Rule::StockAddsUp, "stock", |world| {
        world.rewrite("product:lamp", 2, |event| event["data"]["stock"] = json!(9));
        world.audit("product:lamp", 2).get_document_mut("after").unwrap().insert("stock", 9_i64);
        world.dumps.documents.get_mut("product:lamp").unwrap().insert("stock", 9_i64);
        let row = world.dumps.rows.get_mut("product:lamp").unwrap();
        row["stock"] = json!(9);
        let payload = row.to_string();
        world.dumps.cached.get_mut("product:lamp").unwrap().insert("payload".to_owned(), payload);
    })]);
}

/// Takes an event from where consumers find it, as parking does.
fn park(world: &mut World, version: u64, state: &str) -> Uuid {
    let lost = world.lose("user:ann", version);
    let event_id = lost.event.id;
    let action = lost.event.event_type.action;
    let state = state.to_owned();
    world.dumps.parked.push(Parked { event_id, key: lost.key, version, action, state, event: Some(lost.event) });
    event_id
}

#[test]
fn a_hole_is_allowed_for_what_an_operator_discarded() {
    let mut world = World::good();
    let event_id = park(&mut world, 2, "discarded");
    world.dumps.discarded.insert(event_id);
    assert_eq!(violations(&world), []);

    // Also where it was discarded because nobody can read it.
    world.dumps.parked[0].event = None;
    assert_eq!(violations(&world), []);
}

#[test]
fn a_hole_is_allowed_for_nothing_else() {
    assert_each_is_found(&[
        (Rule::NoHole, "user:ann", |world| {
            let event_id = park(world, 3, "discarded");
            world.dumps.discarded.insert(event_id);
            world.dumps.parked[0].version = 2;
        }),
        (Rule::NoHole, "user:ann", |world| {
            world.lose("user:ann", 3);
            world.dumps.discarded.insert(Uuid::from_u128(0xffff));
        }),
        (Rule::NothingIsParked, "user:ann", |world| {
            let event_id = park(world, 3, "parked");
            world.dumps.discarded.insert(event_id);
            // It was delivered all the same.
            let told = World::good().record("user:ann", 3).clone();
            world.dumps.audit.insert(told.event.id.to_string(), World::good().audit("user:ann", 3).clone());
            let position = world.position("user:ann", 4);
            world.dumps.records.insert(position, told);
        }),
    ]);
}

/// Lets a topic of two partitions grow to four, between the first and the second event of who moves then.
fn expand(world: &mut World) -> String {
    world.dumps.partitions = vec![2, 4];
    let mut moved = String::new();
    for record in &mut world.dumps.records {
        let lane = shared::lane::Lane::of(&record.event.key());
        let grew_apart = lane.partition(2) != lane.partition(4);
        if grew_apart && record.event.version.0 == 1 {
            record.partition = lane.partition(2);
        } else if grew_apart && record.event.version.0 == 2 && record.event.kind == shared::entity::Kind::User {
            moved.clone_from(&record.key);
        }
    }
    moved
}

#[test]
fn where_the_topic_grew_the_old_partition_comes_first() {
    let mut world = World::good();
    let moved = expand(&mut world);
    assert_eq!(violations(&world), []);
    // In the dump the new partition may come before the old one.
    world.dumps.records.sort_by_key(|record| std::cmp::Reverse(record.partition));
    assert_eq!(violations(&world), []);

    world.record(&moved, 1).published_ms = 1_000;
    assert_eq!(violations(&world), [(Rule::OldPartitionFirst, moved)]);
}
