//! Users over HTTP.

use poem_openapi::{Object, OpenApi, param::Query, payload::Json};
use shared::{
    change::Managed,
    entity::{User, search_users},
    repository::ReadError,
};
use sqlx::MySqlPool;

use super::{State, problem::Problem, resource::Resource};

/// Users that were found, by name and address.
#[derive(Object)]
struct FoundUsers {
    items: Vec<User>,
}

pub(super) struct UserRoutes {
    pool: MySqlPool,
}

impl UserRoutes {
    pub(super) fn new(state: &State) -> Self {
        Self { pool: state.store.pool().clone() }
    }
}

#[OpenApi(prefix_path = User::PATH, tag = "User::TAG")]
impl UserRoutes {
    /// Search
    ///
    /// Users whose name or address begins with the text, whatever its case: by name first, then by address.
    #[oai(path = "/search", method = "get", operation_id = "searchUsers")]
    async fn search(
        &self,
        /// How the name or the address begins.
        #[oai(validator(min_length = 1, max_length = 200))]
        q: Query<String>,
        /// How many at the most.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<u32>,
    ) -> Result<Json<FoundUsers>, Problem> {
        let found = search_users(&self.pool, &q.0, limit.0).await;
        Ok(Json(FoundUsers { items: found.map_err(ReadError::from)? }))
    }
}

fn default_limit() -> u32 {
    20
}
