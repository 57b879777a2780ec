//! Products over HTTP.

use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
    types::{Example, ToJSON},
};
use shared::{
    change::{Managed, Target},
    entity::{MoveStock, Product, ProductField, ProductStatus, Value},
    idempotency::Answer,
    money::Amount,
    search::{ProductQuery, ProductSearch},
    specification::{Specification, Test},
    store::Store,
};

use crate::repositories::MySql;

use super::{
    State,
    answered::{Answered, Asked},
    crud::known,
    input::Input,
    lists::{Listed, Listing},
    preconditions::{etag, expected_version},
    problem::Problem,
    request::RequestContext,
    resource::Resource,
};

/// How the stock of a product moves.
#[derive(Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
struct StockMove {
    /// How many pieces come, or with a minus go.
    #[oai(validator(minimum(value = "-1000000000"), maximum(value = "1000000000")))]
    delta: i64,
    /// Why; in the event and the audit trail.
    #[oai(default, validator(max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    reason: Option<String>,
}

impl Example for StockMove {
    fn example() -> Self {
        Self { delta: -3, reason: Some("damaged".to_owned()) }
    }
}

/// Products that were found, the most relevant first.
#[derive(Object)]
struct FoundProducts {
    items: Vec<ProductHit>,
    /// Whether there are products after these.
    has_more: bool,
    /// How many products were found in each category, whatever `category` asked for; the most first.
    categories: Vec<CategoryCount>,
}

/// A product that was found.
#[derive(Object)]
struct ProductHit {
    /// How relevant it is, beside the others of this answer.
    score: f64,
    product: Product,
}

#[derive(Object)]
struct CategoryCount {
    category: String,
    count: u64,
}

pub(super) struct ProductRoutes {
    store: Store,
    repository: MySql<Product>,
    search: ProductSearch,
    require_version: bool,
}

impl ProductRoutes {
    pub(super) fn new(state: &State) -> Self {
        Self {
            store: state.store.clone(),
            repository: state.repositories.mysql(),
            search: state.search.clone(),
            require_version: state.rules.require_version,
        }
    }
}

#[OpenApi(prefix_path = Product::PATH, tag = "Product::TAG")]
impl ProductRoutes {
    /// List those of a category, newest first
    #[oai(path = "/category/:category", method = "get", operation_id = "listProductsByCategory")]
    async fn of_category(
        &self,
        /// The category.
        category: Path<String>,
        listing: Listing<Product>,
    ) -> Result<Listed<Product>, Problem> {
        let scope = Specification::is(ProductField::Category, Test::Eq(Value::Text(category.0.into())));
        listing.answer(&self.repository, Some(scope)).await
    }

    /// Search, the most relevant first
    ///
    /// Full text over name, description and category: any of the words; `"in quotes"` the whole phrase; `-word` none
    /// of this word. From the documents, which follow a change within moments.
    #[expect(clippy::too_many_arguments, reason = "one argument is one parameter of the request")]
    #[oai(path = "/search", method = "get", operation_id = "searchProducts")]
    async fn search(
        &self,
        /// Words, phrases, exclusions.
        #[oai(validator(min_length = 1, max_length = 500))]
        q: Query<String>,
        /// Only of this category.
        #[oai(validator(max_length = 64))]
        category: Query<Option<String>>,
        /// Only with this status.
        status: Query<Option<ProductStatus>>,
        /// Only at this price or more.
        min_price: Query<Option<Amount>>,
        /// Only at this price or less.
        max_price: Query<Option<Amount>>,
        /// How many at the most.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<u32>,
        /// How many to pass over.
        #[oai(default, validator(maximum(value = "10000")))]
        offset: Query<u32>,
    ) -> Result<Json<FoundProducts>, Problem> {
        let query = ProductQuery {
            text: q.0,
            category: category.0,
            status: status.0,
            min_price: min_price.0,
            max_price: max_price.0,
            limit: limit.0,
            offset: offset.0,
        };
        let found = self.search.run(&query).await?;
        let items = found.items.into_iter().map(|(score, product)| ProductHit { score, product }).collect();
        let count = |(category, count)| CategoryCount { category, count };
        let categories = found.categories.into_iter().map(count).collect();
        Ok(Json(FoundProducts { items, has_more: found.has_more, categories }))
    }

    /// Move the stock
    ///
    /// Whatever else changes meanwhile: pieces come, or go as far as there are any.
    #[oai(path = "/:id/stock", method = "post", operation_id = "moveProductStock")]
    async fn move_stock(
        &self,
        context: Data<&RequestContext>,
        /// The id.
        id: Path<String>,
        input: Input<StockMove>,
        /// Makes the request repeatable: the first answer is given again. Kept for a day.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        /// The version that is to be changed, in quotes. Without it any.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Result<Answered<Product, 200>, Problem> {
        let Input { value: StockMove { delta, reason }, fingerprint } = input;
        let expected = expected_version(if_match.0.as_deref(), self.require_version)?;
        let change = MoveStock { target: Target { id: known(&id.0)?, expected }, delta, reason };
        let asked = Asked { context: context.0, key: idempotency_key.0.as_deref(), fingerprint, only_item: false };
        let render = |product: &Product| Answer {
            status: 200,
            etag: Some(etag(product.version)),
            location: None,
            body: product.to_json_string().into_bytes(),
        };
        asked.perform(&self.store, change, render).await
    }
}

fn default_limit() -> u32 {
    20
}
