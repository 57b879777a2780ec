//! Aggregations as pipelines of MongoDB.

use mongodb::bson::{Bson, Document, doc};

use super::{MongoRepository, living};
use crate::{
    aggregation::{Aggregation, Function, Group, GroupRow, MOST_GROUPS, Period, RawRow},
    entity::{Entity, Field},
    repository::ReadError,
};

const DAY_MS: i64 = 86_400_000;

impl<E: Entity> MongoRepository<E> {
    /// The groups in the order of what they have in common, one more than [`MOST_GROUPS`] where there are so many.
    pub async fn aggregate(&self, aggregation: &Aggregation<E>) -> Result<Vec<GroupRow>, ReadError> {
        let groups = aggregation.groups().iter().enumerate();
        let key: Document = groups.map(|(index, group)| (format!("key{index}"), key(*group))).collect();
        let sort: Document = key.keys().map(|name| (format!("_id.{name}"), Bson::Int32(1))).collect();
        let mut group = doc! { "_id": key, "count": { "$sum": 1 } };
        for (index, (function, field)) in aggregation.asked().enumerate() {
            let operator = match function {
                Function::Min => "$min",
                Function::Max => "$max",
                Function::Count | Function::Sum | Function::Avg => "$sum",
            };
            group.insert(format!("value{index}"), doc! { operator: path(field) });
        }
        let mut pipeline =
            vec![doc! { "$match": living(aggregation.specification.to_bson()) }, doc! { "$group": group }];
        if !sort.is_empty() {
            pipeline.push(doc! { "$sort": sort });
        }
        pipeline.push(doc! { "$limit": MOST_GROUPS + 1 });
        let found = self.documents.aggregate(E::PLURAL, pipeline).await?;
        Ok(found.iter().map(|document| aggregation.row(&read(document, aggregation))).collect())
    }
}

fn path<F: Field>(field: F) -> String {
    format!("${}", field.document_path())
}

fn key<F: Field>(group: Group<F>) -> Bson {
    let path = path(group.field);
    // Only operators that are as old as the oldest server that is supported, and that all servers have alike.
    let (date, format) = match group.period {
        None => return doc! { "$ifNull": [path, Bson::Null] }.into(),
        Some(Period::Day) => (Bson::String(path), "%Y-%m-%d"),
        Some(Period::Month) => (Bson::String(path), "%Y-%m-01"),
        Some(Period::Week) => {
            let days_since_monday = doc! { "$subtract": [{ "$isoDayOfWeek": &path }, 1] };
            let since_monday = doc! { "$multiply": [days_since_monday, DAY_MS] };
            (doc! { "$subtract": [path, since_monday] }.into(), "%Y-%m-%d")
        }
    };
    doc! { "$dateToString": { "date": date, "format": format } }.into()
}

fn read<E: Entity>(document: &Document, aggregation: &Aggregation<E>) -> RawRow {
    let keys = document.get_document("_id").ok();
    let groups = 0..aggregation.groups().len();
    let count = document.get("count").and_then(text).and_then(|count| count.parse().ok());
    RawRow {
        keys: groups.map(|index| keys?.get(format!("key{index}")).and_then(text)).collect(),
        count: count.unwrap_or_default(),
        values: (0..aggregation.asked().count())
            .map(|index| document.get(format!("value{index}")).and_then(text))
            .collect(),
    }
}

fn text(value: &Bson) -> Option<String> {
    match value {
        Bson::String(text) => Some(text.clone()),
        Bson::Int32(number) => Some(number.to_string()),
        Bson::Int64(number) => Some(number.to_string()),
        Bson::Double(number) => Some(number.to_string()),
        Bson::Decimal128(decimal) => Some(decimal.to_string()),
        Bson::DateTime(date) => date.try_to_rfc3339_string().ok(),
        _ => None,
    }
}
