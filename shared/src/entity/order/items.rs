//! The items of an order in MySQL.

use serde::Deserialize;
use sqlx::{MySql, MySqlConnection, QueryBuilder, Row, mysql::MySqlRow, types::Json};

use super::{Item, Order};
use crate::{
    entity::Id,
    money::{Amount, Currency},
};

/// As the subquery of [`Order`]'s `SELECT` gathers them, in no order.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "line")]
    number: u32,
    product_id: Id,
    quantity: u32,
    unit_price: Amount,
}

pub(super) fn from_row(row: &MySqlRow, currency: Currency) -> sqlx::Result<Vec<Item>> {
    let Json(mut lines): Json<Vec<Line>> = row.try_get("items")?;
    lines.sort_unstable_by_key(|line| line.number);
    let items = lines.into_iter().map(|Line { product_id, quantity, unit_price, .. }| {
        let unit_price = Amount::of(unit_price.decimal(), currency);
        let unit_price = unit_price.map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Item { product_id, quantity, unit_price })
    });
    items.collect()
}

/// Inserts the items of new orders, whose rows and whose products' rows are held.
pub(super) async fn insert(connection: &mut MySqlConnection, orders: &[Order]) -> sqlx::Result<()> {
    for order in orders {
        let mut insert: QueryBuilder<MySql> =
            QueryBuilder::new("INSERT INTO order_items (order_id, line, product_id, quantity, unit_price) ");
        insert.push_values(order.items.iter().zip(0_u32..), |mut row, (item, line)| {
            row.push_bind(&order.id)
                .push_bind(line)
                .push_bind(&item.product_id)
                .push_bind(item.quantity)
                .push_bind(item.unit_price.decimal());
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}
