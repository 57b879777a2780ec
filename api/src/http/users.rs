//! Users over HTTP.

use shared::entity::{ChangeUser, Id, NewUser, User};

use super::crud::{ApiTags, Resource};

impl Resource for User {
    const PATH: &'static str = "/api/v1/users";
    const TAG: ApiTags = ApiTags::Users;
    type New = NewUser;
    type Changes = ChangeUser;

    fn new(new: NewUser) -> Self {
        Self::new(new)
    }

    fn id_of(new: &NewUser) -> Option<&Id> {
        new.id.as_ref()
    }

    fn replace(&mut self, new: NewUser) {
        self.replace(new);
    }

    fn change(&mut self, changes: ChangeUser) {
        self.change(changes);
    }
}
