//! Entities as HTTP shows them.

use poem_openapi::{
    Tags,
    registry::{MetaTag, Registry},
    types::{ParseFromJSON, ToJSON, Type},
};
use shared::change::Managed;

/// What has no entity of its own in the document.
#[derive(Tags)]
pub(crate) enum ApiTags {
    /// The stores behind the entities: queries, and the cache.
    Repositories,
    /// How the service is.
    Health,
}

/// An entity that clients manage over HTTP: every one whose forms are in the document.
pub(crate) trait Resource:
    Managed<New: Type + ParseFromJSON + ToJSON, Changes: ParseFromJSON> + Type + ToJSON + ParseFromJSON
{
    const TAG: EntityTag = EntityTag { name: Self::HEADING, description: Self::ABOUT };
}

impl<E> Resource for E where
    E: Managed<New: Type + ParseFromJSON + ToJSON, Changes: ParseFromJSON> + Type + ToJSON + ParseFromJSON
{
}

/// Under which heading the document gathers an entity's operations.
pub(crate) struct EntityTag {
    name: &'static str,
    description: &'static str,
}

impl Tags for EntityTag {
    fn register(&self, registry: &mut Registry) {
        registry.create_tag(MetaTag { name: self.name, description: Some(self.description), external_docs: None });
    }

    fn name(&self) -> &'static str {
        self.name
    }
}
