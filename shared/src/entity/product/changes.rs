//! What clients send for products, and what is done with it.

use poem_openapi::{Object, types::Example};

use super::{MOST_STOCK, Product, ProductStatus};
use crate::{
    change::{Amend, ChangeError, Create, Delete, Edit, Managed, Rules, Target, Wanted},
    entity::{Attributes, Id, Patch, Version},
    money::{Amount, AmountInput, Currency},
    store::Change,
    timestamp::Timestamp,
    unit_of_work::UnitOfWork,
    violation::Violation,
};

/// What a client sends to create a product, and to replace one.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct NewProduct {
    /// Made by the server where it is missing; in a replacement it may only repeat the path's.
    #[oai(default)]
    pub id: Option<Id>,
    #[oai(validator(min_length = 1, max_length = 64, pattern = r"^[!-~]+$"))]
    pub sku: String,
    #[oai(validator(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub name: String,
    #[oai(default, validator(max_length = 5000, pattern = r"^[^\x00-\x08\x0B-\x1F\x7F]*$"))]
    pub description: Option<String>,
    #[oai(validator(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9_-]+$"))]
    pub category: String,
    pub price: AmountInput,
    pub currency: Currency,
    /// Where it is missing: none of a new product, of a replaced one what it was.
    #[oai(default, validator(maximum(value = "1000000000")))]
    pub stock: Option<u32>,
    /// Where it is missing: `active` for a new product, of a replaced one what it was.
    #[oai(default)]
    pub status: Option<ProductStatus>,
    #[oai(default)]
    pub attributes: Option<Attributes>,
    /// Why the status changes; in the event and the audit trail.
    #[oai(default, validator(max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub reason: Option<String>,
}

/// What a client sends to change a product: only the members that change (RFC 7396).
#[derive(Clone, Debug, Default, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct ChangeProduct {
    #[oai(default, validator(min_length = 1, max_length = 64, pattern = r"^[!-~]+$"))]
    pub sku: Option<String>,
    #[oai(default, validator(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub name: Option<String>,
    /// Null takes it away. At most 5,000 characters.
    pub description: Patch<String>,
    #[oai(default, validator(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9_-]+$"))]
    pub category: Option<String>,
    #[oai(default)]
    pub price: Option<AmountInput>,
    #[oai(default)]
    pub currency: Option<Currency>,
    /// Needs `If-Match`; `POST …/stock` moves it without.
    #[oai(default, validator(maximum(value = "1000000000")))]
    pub stock: Option<u32>,
    #[oai(default)]
    pub status: Option<ProductStatus>,
    /// Merged; a member that is null is taken away.
    #[oai(default)]
    pub attributes: Option<Attributes>,
    /// Why; in the event and the audit trail.
    #[oai(default, validator(max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub reason: Option<String>,
}

impl Example for NewProduct {
    fn example() -> Self {
        Self {
            id: None,
            sku: "SHOE-RED-42".to_owned(),
            name: "Running shoe".to_owned(),
            description: Some("Light, for long distances.".to_owned()),
            category: "shoes".to_owned(),
            price: AmountInput(rust_decimal::Decimal::new(8990, 2)),
            currency: Currency::example(),
            stock: Some(25),
            status: None,
            attributes: None,
            reason: None,
        }
    }
}

impl Example for ChangeProduct {
    fn example() -> Self {
        Self { price: Some(AmountInput(rust_decimal::Decimal::new(7990, 2))), ..Self::default() }
    }
}

impl Product {
    fn new(new: NewProduct) -> Result<Self, Vec<Violation>> {
        let now = Timestamp::now();
        Ok(Self {
            id: new.id.unwrap_or_else(Id::generate),
            sku: new.sku,
            name: new.name,
            description: new.description,
            category: new.category,
            price: price(new.price, new.currency)?,
            currency: new.currency,
            stock: new.stock.unwrap_or_default(),
            status: new.status.unwrap_or_default(),
            attributes: new.attributes.unwrap_or_default(),
            version: Version::FIRST,
            created_at: now,
            updated_at: now,
        })
    }

    /// Takes so many pieces from the stock, or puts them there; None where that cannot be.
    #[must_use]
    pub(crate) fn moved(mut self, delta: i64) -> Option<Self> {
        self.stock = u32::try_from(i64::from(self.stock).checked_add(delta)?).ok()?;
        Some(self)
    }
}

fn price(input: AmountInput, currency: Currency) -> Result<Amount, Vec<Violation>> {
    Amount::of(input.0, currency).map_err(|error| vec![error.violation("/price")])
}

fn check_new(new: &NewProduct, at: &str) -> Vec<Violation> {
    let price = Amount::of(new.price.0, new.currency).err().map(|error| error.violation(&format!("{at}/price")));
    let attributes = new.attributes.iter().flat_map(|it| it.check(&format!("{at}/attributes")));
    price.into_iter().chain(attributes).collect()
}

fn check_changes(changes: &ChangeProduct) -> Vec<Violation> {
    let mut found: Vec<_> = changes.attributes.iter().flat_map(|it| it.check("/attributes")).collect();
    if let Patch::Set(description) = &changes.description {
        if description.chars().count() > 5000 {
            found.push(Violation::at("/description", "too-long", "at most 5000 characters".to_owned()));
        }
        if description.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t') {
            let rule = "no control characters but line feeds and tabs".to_owned();
            found.push(Violation::at("/description", "invalid-format", rule));
        }
    }
    found
}

impl Managed for Product {
    const PATH: &'static str = "/api/v1/products";
    const HEADING: &'static str = "Products";
    const ABOUT: &'static str = "What is ordered.";
    type New = NewProduct;
    type Changes = ChangeProduct;
    type Create = Create<Self>;
    type Edit = Edit<Self>;
    type Delete = Delete<Self>;

    fn brought_id(new: &NewProduct) -> Option<&Id> {
        new.id.as_ref()
    }

    fn set_id(new: &mut NewProduct, id: Id) {
        new.id = Some(id);
    }

    fn create(items: Vec<NewProduct>, _rules: Rules) -> Result<Create<Self>, Vec<Violation>> {
        let checked = items.iter().enumerate().flat_map(|(index, new)| check_new(new, &format!("/items/{index}")));
        let violations: Vec<_> = checked.collect();
        if !violations.is_empty() {
            return Err(violations);
        }
        Ok(Create(items.into_iter().map(Self::new).collect::<Result<_, _>>()?))
    }

    fn edit(target: Target, wanted: Wanted<Self>, rules: Rules) -> Result<Edit<Self>, Vec<Violation>> {
        let violations = match &wanted {
            Wanted::Replacement(new) => check_new(new, ""),
            Wanted::Changes(changes) => check_changes(changes),
        };
        if violations.is_empty() { Ok(Edit { target, wanted, rules }) } else { Err(violations) }
    }

    fn delete(target: Target) -> Delete<Self> {
        Delete::new(target)
    }
}

impl Amend for Product {
    fn amend(&mut self, wanted: &Wanted<Self>, edit: &Edit<Self>) -> Result<(), ChangeError> {
        let before = self.stock;
        match wanted.clone() {
            Wanted::Replacement(new) => self.replace(new),
            Wanted::Changes(changes) => self.change(changes),
        }
        .map_err(ChangeError::Invalid)?;
        // A product that sells all day: who overwrites its stock must have seen it.
        if self.stock != before && edit.target.expected.is_none() {
            return Err(ChangeError::VersionRequired);
        }
        Ok(())
    }

    fn reason(wanted: &Wanted<Self>) -> Option<&str> {
        match wanted {
            Wanted::Replacement(new) => new.reason.as_deref(),
            Wanted::Changes(changes) => changes.reason.as_deref(),
        }
    }
}

impl Product {
    fn replace(&mut self, new: NewProduct) -> Result<(), Vec<Violation>> {
        let (stock, status) = (new.stock.unwrap_or(self.stock), new.status.unwrap_or(self.status));
        let replaced = Self::new(new)?;
        let (id, version, created_at, updated_at) = (self.id.clone(), self.version, self.created_at, self.updated_at);
        *self = Self { id, stock, status, version, created_at, updated_at, ..replaced };
        Ok(())
    }

    fn change(&mut self, changes: ChangeProduct) -> Result<(), Vec<Violation>> {
        if let Some(sku) = changes.sku {
            self.sku = sku;
        }
        if let Some(name) = changes.name {
            self.name = name;
        }
        changes.description.apply(&mut self.description);
        if let Some(category) = changes.category {
            self.category = category;
        }
        self.currency = changes.currency.unwrap_or(self.currency);
        let input = changes.price.unwrap_or(AmountInput(self.price.decimal()));
        self.price = price(input, self.currency)?;
        self.stock = changes.stock.unwrap_or(self.stock);
        self.status = changes.status.unwrap_or(self.status);
        if let Some(patch) = changes.attributes {
            self.attributes.merge(patch);
            let violations = self.attributes.check("/attributes");
            if !violations.is_empty() {
                return Err(violations);
            }
        }
        Ok(())
    }
}

/// Takes pieces from the stock of a product, or puts them there.
pub struct MoveStock {
    pub target: Target,
    pub delta: i64,
    /// At most 200 characters; in the event and the audit trail.
    pub reason: Option<String>,
}

impl Change for MoveStock {
    type Output = Product;
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<Product, ChangeError> {
        let product: Product = self.target.lock(work).await?;
        let stock = product.stock;
        match product.moved(self.delta) {
            Some(moved) if moved.stock <= MOST_STOCK => Ok(work.update(moved, self.reason.as_deref()).await?),
            None if self.delta < 0 => {
                let detail = format!("{stock} pieces are in stock");
                Err(ChangeError::InsufficientStock(vec![Violation::at("/delta", "insufficient-stock", detail)]))
            }
            _ => Err(ChangeError::invalid("/delta", "out-of-range", format!("at most {MOST_STOCK} pieces are kept"))),
        }
    }
}
