//! The routes that are the same for every entity.

use std::marker::PhantomData;

use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi, Tags,
    param::{Header, Path, Query},
    payload::Json,
    types::{ParseFromJSON, ToJSON, Type},
};
use shared::{
    change::{Create, Delete, Edit},
    entity::{Entity, Id, Version},
    repository::{MySqlRepository, Window},
    store::Store,
};

use super::{
    input::Input,
    problem::{Code, Problem},
    request::RequestContext,
};

#[derive(Tags)]
pub(crate) enum ApiTags {
    Users,
    /// How the service is.
    Health,
}

/// An entity as HTTP shows it.
pub(crate) trait Resource: Entity + Type + ToJSON {
    /// `/api/v1/users`
    const PATH: &'static str;
    const TAG: ApiTags;
    /// What a client sends to create an entity, and to replace one.
    type New: ParseFromJSON + Clone + Send + Sync + 'static;
    /// What a client sends to change one.
    type Changes: ParseFromJSON + Clone + Send + Sync + 'static;

    fn new(new: Self::New) -> Self;
    /// The id that a client brings, if it does.
    fn id_of(new: &Self::New) -> Option<&Id>;
    fn replace(&mut self, new: Self::New);
    fn change(&mut self, changes: Self::Changes);
}

/// A part of a list, newest first.
#[derive(Object)]
pub(crate) struct Page<E: Type + ToJSON + ParseFromJSON> {
    items: Vec<E>,
    /// Whether there are items after these.
    has_more: bool,
    limit: u32,
    offset: u32,
}

#[derive(ApiResponse)]
pub(crate) enum Found<E: Resource> {
    /// The entity.
    #[oai(status = 200)]
    Entity(
        Json<E>,
        /// The version, in quotes.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(crate) enum Created<E: Resource> {
    /// The entity as it was stored.
    #[oai(status = 201)]
    Entity(
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
pub(crate) enum Deleted {
    /// It is deleted.
    #[oai(status = 204)]
    Done,
}

pub(crate) struct Crud<E> {
    store: Store,
    repository: MySqlRepository<E>,
    entity: PhantomData<fn() -> E>,
}

impl<E: Resource> Crud<E> {
    pub(crate) fn new(store: Store) -> Self {
        Self { repository: MySqlRepository::new(store.pool().clone()), store, entity: PhantomData }
    }
}

#[OpenApi(prefix_path = E::PATH, tag = "E::TAG")]
impl<E: Resource + ParseFromJSON> Crud<E> {
    /// Create
    ///
    /// The server makes an id where none is brought. An id that was deleted may be used again: its versions go on.
    #[oai(path = "/", method = "post")]
    async fn create(&self, context: Data<&RequestContext>, input: Input<E::New>) -> Result<Created<E>, Problem> {
        let created = self.store.transact(context.origin(), Create(E::new(input.0))).await?;
        let location = format!("{}/{}", E::PATH, created.id());
        Ok(Created::Entity(Json(created.clone()), etag(created.version()), location))
    }

    /// List, newest first
    #[oai(path = "/", method = "get")]
    async fn list(
        &self,
        /// How many at the most.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<u32>,
        /// How many to pass over.
        #[oai(default, validator(maximum(value = "10000")))]
        offset: Query<u32>,
    ) -> Result<Json<Page<E>>, Problem> {
        let window = Window { limit: limit.0, offset: offset.0 };
        let page = self.repository.list(window).await?;
        Ok(Json(Page { items: page.items, has_more: page.has_more, limit: window.limit, offset: window.offset }))
    }

    /// Get by id
    #[oai(path = "/:id", method = "get")]
    async fn get(&self, id: Path<String>) -> Result<Found<E>, Problem> {
        let found = self.repository.get(&known(&id.0)?).await?;
        found.map(shown).ok_or_else(|| Problem::new(Code::NotFound))
    }

    /// Replace
    #[oai(path = "/:id", method = "put")]
    async fn replace(
        &self,
        context: Data<&RequestContext>,
        id: Path<String>,
        input: Input<E::New>,
        /// The version that is to be replaced, in quotes. Without it any.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Result<Found<E>, Problem> {
        let id = known(&id.0)?;
        if E::id_of(&input.0).is_some_and(|brought| *brought != id) {
            return Err(Problem::another_id());
        }
        let expected = expected_version(if_match.0.as_deref())?;
        let edit = Edit::new(id, expected, move |entity: &mut E| entity.replace(input.0.clone()));
        Ok(shown(self.store.transact(context.origin(), edit).await?))
    }

    /// Change
    ///
    /// Only what is sent changes (RFC 7396).
    #[oai(path = "/:id", method = "patch")]
    async fn change(
        &self,
        context: Data<&RequestContext>,
        id: Path<String>,
        input: Input<E::Changes>,
        /// The version that is to be changed, in quotes. Without it any.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Result<Found<E>, Problem> {
        let expected = expected_version(if_match.0.as_deref())?;
        let edit = Edit::new(known(&id.0)?, expected, move |entity: &mut E| entity.change(input.0.clone()));
        Ok(shown(self.store.transact(context.origin(), edit).await?))
    }

    /// Delete
    #[oai(path = "/:id", method = "delete")]
    async fn delete(
        &self,
        context: Data<&RequestContext>,
        id: Path<String>,
        /// The version that is to be deleted, in quotes. Without it any.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Result<Deleted, Problem> {
        let expected = expected_version(if_match.0.as_deref())?;
        self.store.transact(context.origin(), Delete::<E>::new(known(&id.0)?, expected)).await?;
        Ok(Deleted::Done)
    }
}

fn default_limit() -> u32 {
    20
}

fn shown<E: Resource>(entity: E) -> Found<E> {
    let etag = etag(entity.version());
    Found::Entity(Json(entity), etag)
}

fn etag(version: Version) -> String {
    format!("\"{version}\"")
}

/// What cannot be an id is an id that nobody has.
fn known(id: &str) -> Result<Id, Problem> {
    id.parse().map_err(|_| Problem::new(Code::NotFound))
}

/// The version that `If-Match` names; None where any will do.
fn expected_version(if_match: Option<&str>) -> Result<Option<Version>, Problem> {
    let Some(text) = if_match.map(str::trim).filter(|text| *text != "*") else { return Ok(None) };
    let digits = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(version) => Ok(Some(Version(version))),
        None => Err(Problem::invalid_parameter("If-Match", "must be one version in quotes, or *".to_owned())),
    }
}
