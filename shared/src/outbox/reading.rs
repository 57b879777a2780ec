//! Reading what is pending, without locks.

use chrono::NaiveDateTime;
use futures_util::TryStreamExt;
use sqlx::{FromRow, MySql, MySqlConnection, QueryBuilder};

use super::{Pending, RowId};
use crate::{database, lane::Lanes};

/// How much is read at once; whichever is reached first. At least one row is read, whatever its size.
#[derive(Clone, Copy, Debug)]
pub struct PageLimit {
    pub rows: u32,
    /// Of payloads.
    pub bytes: usize,
}

/// A row of a page.
#[derive(Debug, FromRow)]
pub struct PageRow {
    #[sqlx(flatten)]
    pub pending: Pending,
    /// Whether it was written later than [`Place::proven`]. Of one that was not, all earlier versions were committed by
    /// then: each holds the entity's row until its commit.
    pub young: bool,
}

/// Pending rows in the order of their ids.
#[derive(Debug, Default)]
pub struct Page {
    pub rows: Vec<PageRow>,
    /// The highest id in it whose row was inserted more than a second ago. What was inserted before it has an id below
    /// and is by now committed, or in a transaction that is open for more than a second.
    pub settled: u64,
    /// When it was read, by the database's clock; None where it has no rows.
    pub read_at: Option<NaiveDateTime>,
    /// Whether there was nothing beyond it.
    pub ended: bool,
    /// Whether it ended because of [`PageLimit::bytes`]. The connection is then in the middle of an answer and of no
    /// more use: reading the rest of it could be gigabytes.
    pub cut: bool,
}

/// What is read.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub lanes: Lanes,
    pub after: u64,
    /// Everything that was committed by then, by the database's clock, was seen; None for the instant of this read.
    pub proven: Option<NaiveDateTime>,
}

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    found: PageRow,
    settled: bool,
    read_at: NaiveDateTime,
}

/// Reads the rows with the lowest ids, without locks.
pub async fn page(connection: &mut MySqlConnection, place: Place, limit: PageLimit) -> sqlx::Result<Page> {
    let mut select: QueryBuilder<MySql> = QueryBuilder::new(
        "SELECT id, lane, event_id, kind, entity_id, version, headers, payload, crc32c, UTC_TIMESTAMP(6) AS read_at, \
         created_at < UTC_TIMESTAMP(6) - INTERVAL 1 SECOND AS settled, created_at >= COALESCE(",
    );
    select.push_bind(place.proven).push(", UTC_TIMESTAMP(6)) AS young FROM outbox_events WHERE id > ");
    select.push_bind(place.after);
    if place.lanes != Lanes::ALL {
        select.push(" AND lane IN ");
        database::push_list(&mut select, place.lanes.iter());
    }
    select.push(" ORDER BY id LIMIT ").push_bind(limit.rows);
    let mut found = select.build_query_as::<Row>().fetch(connection);
    let mut page = Page::default();
    let mut bytes = 0;
    while let Some(Row { found: row, settled, read_at }) = found.try_next().await? {
        if settled {
            page.settled = row.pending.id;
        }
        page.read_at = Some(read_at);
        bytes += row.pending.payload.len();
        page.rows.push(row);
        if bytes >= limit.bytes {
            page.cut = true;
            return Ok(page);
        }
    }
    page.ended = page.rows.len() < limit.rows as usize;
    Ok(page)
}

/// The row, unless it is gone.
pub async fn row(connection: &mut MySqlConnection, row: RowId) -> sqlx::Result<Option<Pending>> {
    sqlx::query_as(
        "SELECT id, lane, event_id, kind, entity_id, version, headers, payload, crc32c FROM outbox_events \
         WHERE lane = ? AND id = ? AND event_id = ?",
    )
    .bind(row.lane)
    .bind(row.id)
    .bind(row.event_id)
    .fetch_optional(connection)
    .await
}

/// Which server answers. Another one, after a fail-over, may give out ids again that its predecessor had given.
pub async fn server_uuid(connection: &mut MySqlConnection) -> sqlx::Result<String> {
    sqlx::query_scalar("SELECT @@server_uuid").fetch_one(connection).await
}
