//! Users by how their name or address begins.

use sqlx::{MySql, MySqlPool, QueryBuilder};

use super::User;
use crate::{entity::Entity, specification::like_literal};

/// Those whose name begins so, then those whose address does, whatever the case; each by ranges of an index.
pub async fn search_users(pool: &MySqlPool, beginning: &str, limit: u32) -> sqlx::Result<Vec<User>> {
    let pattern = format!("{}%", like_literal(beginning));
    let mut found: Vec<User> = Vec::new();
    for condition in [
        " WHERE name_search LIKE ? ORDER BY name_search, id LIMIT ?",
        " WHERE email_search LIKE ? ORDER BY email_search, id LIMIT ?",
    ] {
        let mut select: QueryBuilder<MySql> = QueryBuilder::new(User::SELECT);
        select.push(condition);
        let users: Vec<User> = select.build_query_as().bind(&pattern).bind(limit).fetch_all(pool).await?;
        for user in users {
            if !found.iter().any(|known| known.id == user.id) {
                found.push(user);
            }
        }
    }
    found.truncate(limit as usize);
    Ok(found)
}
