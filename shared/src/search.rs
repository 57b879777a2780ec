//! Full-text search of products, on the text index of the documents.

mod text;

use mongodb::bson::{Bson, Document, doc};

use crate::{
    entity::{Entity, Product, ProductStatus},
    money::Amount,
    repository::{Documents, ReadError, entity_of},
};
use text::SearchText;

/// What is searched for.
#[derive(Clone, Debug)]
pub struct ProductQuery {
    /// Words, of which any is enough; `"phrases"`, which must be there; `-exclusions`, which must not.
    pub text: String,
    pub category: Option<String>,
    pub status: Option<ProductStatus>,
    pub min_price: Option<Amount>,
    pub max_price: Option<Amount>,
    pub limit: u32,
    pub offset: u32,
}

/// What was found, the most relevant first.
#[derive(Debug, Default)]
pub struct ProductHits {
    /// With their scores, which compare within one answer only.
    pub items: Vec<(f64, Product)>,
    pub has_more: bool,
    /// How many were found in each category, whatever category was asked for; the most first.
    pub categories: Vec<(String, u64)>,
}

#[derive(Clone)]
pub struct ProductSearch {
    documents: Documents,
}

impl ProductSearch {
    #[must_use]
    pub fn new(documents: Documents) -> Self {
        Self { documents }
    }

    pub async fn run(&self, query: &ProductQuery) -> Result<ProductHits, ReadError> {
        let text = SearchText::parse(&query.text);
        // Exclusions alone would find everything else on one server and nothing on another.
        if text.words.is_empty() {
            return Ok(ProductHits::default());
        }
        let everywhere = filter(query, &text);
        let mut here = everywhere.clone();
        if let Some(category) = &query.category {
            here.insert("category", category);
        }
        let page = vec![
            doc! { "$match": here },
            doc! { "$addFields": { "score": { "$meta": "textScore" } } },
            doc! { "$sort": { "score": -1, "_id": 1 } },
            doc! { "$skip": query.offset },
            doc! { "$limit": query.limit + 1 },
        ];
        let counts = vec![
            doc! { "$match": everywhere },
            doc! { "$group": { "_id": "$category", "count": { "$sum": 1 } } },
            doc! { "$sort": { "count": -1, "_id": 1 } },
            doc! { "$limit": 100 },
        ];
        let (found, counted) = tokio::try_join!(
            self.documents.aggregate(Product::PLURAL, page),
            self.documents.aggregate(Product::PLURAL, counts),
        )?;
        let has_more = found.len() > query.limit as usize;
        let items = found.into_iter().take(query.limit as usize).map(hit).collect::<Result<_, _>>()?;
        Ok(ProductHits { items, has_more, categories: counted.iter().filter_map(count).collect() })
    }
}

/// But for the category.
fn filter(query: &ProductQuery, text: &SearchText) -> Document {
    let mut filter = doc! { "$text": { "$search": text.words.join(" ") }, "deleted_at": null };
    if let Some(status) = query.status {
        filter.insert("status", status.to_string());
    }
    let bounds = [("$gte", query.min_price), ("$lte", query.max_price)];
    let bounds = bounds.into_iter().filter_map(|(operator, price)| Some((operator, decimal(price?)?)));
    let bounds: Document = bounds.map(|(operator, price)| (operator.to_owned(), price)).collect();
    if !bounds.is_empty() {
        filter.insert("price_decimal", bounds);
    }
    if !text.phrases.is_empty() {
        let somewhere = |phrase: &String| doc! { "$or": in_fields(phrase) };
        filter.insert("$and", text.phrases.iter().map(somewhere).collect::<Vec<_>>());
    }
    if !text.exclusions.is_empty() {
        filter.insert("$nor", text.exclusions.iter().flat_map(|phrase| in_fields(phrase)).collect::<Vec<_>>());
    }
    filter
}

fn decimal(amount: Amount) -> Option<Bson> {
    amount.to_string().parse().ok().map(Bson::Decimal128)
}

/// Servers differ in what a phrase or an exclusion of `$text` is, so these are conditions beside it.
fn in_fields(phrase: &str) -> Vec<Document> {
    let pattern = text::pattern(phrase);
    ["name", "description", "category"].map(|field| doc! { field: { "$regex": &pattern, "$options": "i" } }).into()
}

fn hit(mut document: Document) -> Result<(f64, Product), ReadError> {
    let score = document.remove("score").and_then(|score| score.as_f64()).unwrap_or_default();
    Ok((score, entity_of(document)?))
}

fn count(group: &Document) -> Option<(String, u64)> {
    let count = group.get("count")?;
    let count = count.as_i64().or_else(|| count.as_i32().map(i64::from))?;
    Some((group.get_str("_id").ok()?.to_owned(), count.cast_unsigned()))
}
