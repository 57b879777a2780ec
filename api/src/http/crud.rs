//! The routes that are the same for every entity.

use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
    types::{ParseFromJSON, ToJSON, Type},
};
use shared::{
    audit::AuditLog,
    change::{Rules, Target, Wanted},
    entity::{Id, Version},
    idempotency::Answer,
    repository::Repository,
    store::Store,
};

use crate::repositories::MySql;

use super::{
    State,
    answered::{Answered, Asked},
    history::{self, History},
    input::Input,
    lists::{Listed, Listing},
    preconditions::{etag, expected_version, is_known},
    problem::{Code, Problem},
    request::RequestContext,
    resource::Resource,
};

/// A batch is larger than one entity.
const MOST_BATCH_BYTES: usize = 1 << 20;

/// Several to be created, all or none.
#[derive(Object)]
#[oai(deny_unknown_fields)]
struct Batch<N: Type + ParseFromJSON + ToJSON> {
    #[oai(validator(min_items = 1, max_items = 100))]
    items: Vec<N>,
}

/// Those that were created, in the order of the request.
#[derive(Object)]
struct CreatedBatch<E: Type + ParseFromJSON + ToJSON> {
    items: Vec<E>,
}

#[derive(ApiResponse)]
pub(super) enum Found<E: Resource> {
    /// The entity.
    #[oai(status = 200)]
    Entity(
        Json<E>,
        /// The version, in quotes.
        #[oai(header = "ETag")]
        String,
    ),
    /// It has the version that `If-None-Match` names.
    #[oai(status = 304)]
    NotModified(
        /// The version, in quotes.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Replaced<E: Resource> {
    /// The entity as it is now.
    #[oai(status = 200)]
    Changed(
        Json<E>,
        /// The version, in quotes.
        #[oai(header = "ETag")]
        String,
    ),
    /// There was none, and `If-None-Match: *` asked for a new one.
    #[oai(status = 201)]
    Created(
        Json<E>,
        /// The version, in quotes.
        #[oai(header = "ETag")]
        String,
        /// Where it is found.
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Changed<E: Resource> {
    /// The entity as it is now.
    #[oai(status = 200)]
    Entity(
        Json<E>,
        /// The version, in quotes.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Deleted {
    /// It is deleted.
    #[oai(status = 204)]
    Done,
}

pub(crate) struct Crud<E: Resource> {
    store: Store,
    repository: MySql<E>,
    audit: AuditLog,
    rules: Rules,
}

impl<E: Resource> Crud<E> {
    pub(crate) fn new(state: &State) -> Self {
        Self {
            store: state.store.clone(),
            repository: state.repositories.mysql(),
            audit: state.audit.clone(),
            rules: state.rules,
        }
    }
}

#[OpenApi(prefix_path = E::PATH, tag = "E::TAG")]
impl<E: Resource> Crud<E> {
    /// Create
    ///
    /// The server makes an id where none is brought. An id that was deleted may be used again: its versions go on.
    #[oai(path = "/", method = "post")]
    async fn create(
        &self,
        context: Data<&RequestContext>,
        input: Input<E::New>,
        /// Makes the request repeatable: the first answer is given again. Kept for a day.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
    ) -> Result<Answered<E, 201>, Problem> {
        let Input { value, fingerprint } = input;
        let create = E::create(vec![value], self.rules).map_err(|found| Problem::invalid(found).of_the_only_item())?;
        let asked = Asked { context: context.0, key: idempotency_key.0.as_deref(), fingerprint, only_item: true };
        asked.perform(&self.store, create, |created| created_one(&created[0])).await
    }

    /// Create several, all or none
    #[oai(path = "/batch", method = "post")]
    async fn create_batch(
        &self,
        context: Data<&RequestContext>,
        input: Input<Batch<E::New>, MOST_BATCH_BYTES>,
        /// Makes the request repeatable: the first answer is given again. Kept for a day.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
    ) -> Result<Answered<CreatedBatch<E>, 201>, Problem> {
        let Input { value: Batch { items }, fingerprint } = input;
        let twice = shared::change::ids_twice::<E>(&items);
        if !twice.is_empty() {
            return Err(Problem::invalid(twice));
        }
        let create = E::create(items, self.rules).map_err(Problem::invalid)?;
        let asked = Asked { context: context.0, key: idempotency_key.0.as_deref(), fingerprint, only_item: false };
        let render = |created: &Vec<E>| Answer {
            status: 201,
            etag: None,
            location: None,
            body: CreatedBatch { items: created.clone() }.to_json_string().into_bytes(),
        };
        asked.perform(&self.store, create, render).await
    }

    /// List, newest first
    ///
    /// By `after` (a cursor: `next` of the part before) nothing is shown twice or missed while others write; by
    /// `offset` it may be. Parameters named after fields are conditions, which all must hold.
    #[oai(path = "/", method = "get")]
    async fn list(&self, listing: Listing<E>) -> Result<Listed<E>, Problem> {
        listing.answer(&self.repository, None).await
    }

    /// Get by id
    #[oai(path = "/:id", method = "get")]
    async fn get(
        &self,
        /// The id.
        id: Path<String>,
        /// Versions, in quotes, that the client has.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
        /// Never answer an older version than this.
        #[oai(name = "X-Min-Version", validator(maximum(value = "9007199254740991")))]
        min_version: Header<Option<u64>>,
    ) -> Result<Found<E>, Problem> {
        let found = self.repository.get(&known(&id.0)?).await?;
        let found = found.filter(|entity| min_version.0.is_none_or(|least| entity.version() >= Version(least)));
        match found {
            Some(entity) if is_known(if_none_match.0.as_deref(), entity.version()) => {
                Ok(Found::NotModified(etag(entity.version())))
            }
            Some(entity) => {
                let etag = etag(entity.version());
                Ok(Found::Entity(Json(entity), etag))
            }
            None if min_version.0.is_some() => Err(Problem::new(Code::VersionNotReached)),
            None => Err(Problem::new(Code::NotFound)),
        }
    }

    /// Replace, or create at this id
    #[oai(path = "/:id", method = "put")]
    async fn replace(
        &self,
        context: Data<&RequestContext>,
        /// The id.
        id: Path<String>,
        input: Input<E::New>,
        /// The version that is to be replaced, in quotes. Without it any.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        /// `*`: create it, where there is none.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<Replaced<E>, Problem> {
        let mut new = input.value;
        match if_none_match.0.as_deref().map(str::trim) {
            None => {}
            Some("*") if if_match.0.is_none() => return self.create_at(context.0, &id.0, new).await,
            Some(_) => return Err(Problem::invalid_parameter("If-None-Match", "must be *, without If-Match")),
        }
        let id = known(&id.0)?;
        check_id::<E>(&new, &id)?;
        E::set_id(&mut new, id.clone());
        let changed = self.edit(context.0, id, if_match.0.as_deref(), Wanted::Replacement(new)).await?;
        let etag = etag(changed.version());
        Ok(Replaced::Changed(Json(changed), etag))
    }

    /// Change
    ///
    /// Only what is sent changes (RFC 7396).
    #[oai(path = "/:id", method = "patch")]
    async fn change(
        &self,
        context: Data<&RequestContext>,
        /// The id.
        id: Path<String>,
        input: Input<E::Changes>,
        /// The version that is to be changed, in quotes. Without it any.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Result<Changed<E>, Problem> {
        let wanted = Wanted::Changes(input.value);
        let changed = self.edit(context.0, known(&id.0)?, if_match.0.as_deref(), wanted).await?;
        let etag = etag(changed.version());
        Ok(Changed::Entity(Json(changed), etag))
    }

    /// Delete
    #[oai(path = "/:id", method = "delete")]
    async fn delete(
        &self,
        context: Data<&RequestContext>,
        /// The id.
        id: Path<String>,
        /// The version that is to be deleted, in quotes. Without it any.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Result<Deleted, Problem> {
        let expected = expected_version(if_match.0.as_deref(), self.rules.require_version)?;
        let target = Target { id: known(&id.0)?, expected };
        self.store.transact(context.origin(), E::delete(target)).await?;
        Ok(Deleted::Done)
    }

    /// What became of it
    ///
    /// Every change that is known, the newest first: who, when, and from what to what. Also of what was deleted.
    #[oai(path = "/:id/history", method = "get")]
    async fn history(
        &self,
        /// The id.
        id: Path<String>,
        /// How many changes at the most.
        #[oai(default = "history::default_limit", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<u32>,
        /// Only changes before this version.
        #[oai(validator(maximum(value = "9007199254740991")))]
        before: Query<Option<u64>>,
    ) -> Result<Json<History<E>>, Problem> {
        history::read(&self.audit, &self.repository, &known(&id.0)?, limit.0, before.0.map(Version)).await.map(Json)
    }
}

impl<E: Resource> Crud<E> {
    async fn edit(
        &self,
        context: &RequestContext,
        id: Id,
        if_match: Option<&str>,
        wanted: Wanted<E>,
    ) -> Result<E, Problem> {
        let expected = expected_version(if_match, self.rules.require_version)?;
        let edit = E::edit(Target { id, expected }, wanted, self.rules).map_err(Problem::invalid)?;
        Ok(self.store.transact(context.origin(), edit).await?)
    }

    async fn create_at(&self, context: &RequestContext, id: &str, mut new: E::New) -> Result<Replaced<E>, Problem> {
        let id: Id =
            id.parse().map_err(|error: shared::entity::IdError| Problem::invalid_parameter("id", error.to_string()))?;
        check_id::<E>(&new, &id)?;
        E::set_id(&mut new, id);
        let create = E::create(vec![new], self.rules).map_err(|found| Problem::invalid(found).of_the_only_item())?;
        let created = self.store.transact(context.origin(), create).await;
        let created = created.map_err(|error| match Problem::from(error).of_the_only_item() {
            // The condition was that there is none.
            problem if problem.code == Code::AlreadyExists && problem.is_about("/id") => {
                Problem::new(Code::VersionMismatch).with_detail("it exists")
            }
            problem => problem,
        })?;
        let Some(created) = created.into_iter().next() else { return Err(Problem::new(Code::Internal)) };
        let (etag, location) = (etag(created.version()), format!("{}/{}", E::PATH, created.id()));
        Ok(Replaced::Created(Json(created), etag, location))
    }
}

fn created_one<E: Resource>(created: &E) -> Answer {
    Answer {
        status: 201,
        etag: Some(etag(created.version())),
        location: Some(format!("{}/{}", E::PATH, created.id())),
        body: created.to_json_string().into_bytes(),
    }
}

/// The body may only repeat the path's id.
fn check_id<E: Resource>(new: &E::New, id: &Id) -> Result<(), Problem> {
    if E::brought_id(new).is_none_or(|brought| brought == id) {
        return Ok(());
    }
    let rule = "an id does not change: leave it out or repeat that of the path".to_owned();
    Err(Problem::invalid(vec![shared::violation::Violation::at("/id", "not-allowed", rule)]))
}

/// What cannot be an id is an id that nobody has.
pub(super) fn known(id: &str) -> Result<Id, Problem> {
    id.parse().map_err(|_| Problem::new(Code::NotFound))
}
