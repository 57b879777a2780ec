//! What belongs to users: orders and payments, and the lists of one user's.

use poem_openapi::{OpenApi, param::Path};
use shared::{
    entity::{Entity, Order, OrderField, Payment, PaymentField, Value},
    specification::{Specification, Test},
};

use crate::repositories::MySql;

use super::{
    State,
    lists::{Listed, Listing},
    problem::Problem,
    resource::Resource,
};

/// An entity that belongs to a user.
pub(super) trait Owned: Resource {
    const USER_ID: <Self as Entity>::Field;
}

impl Owned for Order {
    const USER_ID: OrderField = OrderField::UserId;
}

impl Owned for Payment {
    const USER_ID: PaymentField = PaymentField::UserId;
}

pub(super) struct OwnedRoutes<E> {
    repository: MySql<E>,
}

impl<E: Owned> OwnedRoutes<E> {
    pub(super) fn new(state: &State) -> Self {
        Self { repository: state.repositories.mysql() }
    }
}

#[OpenApi(prefix_path = E::PATH, tag = "E::TAG")]
impl<E: Owned> OwnedRoutes<E> {
    /// List those of a user, newest first
    #[oai(path = "/user/:user_id", method = "get")]
    async fn of_user(
        &self,
        /// The user's id.
        user_id: Path<String>,
        listing: Listing<E>,
    ) -> Result<Listed<E>, Problem> {
        let scope = Specification::is(E::USER_ID, Test::Eq(Value::Text(user_id.0.into())));
        listing.answer(&self.repository, Some(scope)).await
    }
}
