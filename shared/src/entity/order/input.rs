//! What clients send for orders.

use std::collections::HashSet;

use poem_openapi::{Object, types::Example};

use super::{DeleteOrder, EditOrder, Order, OrderStatus, PlaceOrders};
use crate::{
    change::{Managed, Rules, Target, Wanted},
    entity::Id,
    violation::Violation,
};

/// What a client sends to place an order, and to replace one: price and total are the server's.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct NewOrder {
    /// Made by the server where it is missing; in a replacement it may only repeat the path's.
    #[oai(default)]
    pub id: Option<Id>,
    /// It does not change afterwards.
    pub user_id: Id,
    /// They do not change afterwards. No product twice.
    #[oai(validator(min_items = 1, max_items = 100))]
    pub items: Vec<NewItem>,
    /// A new order is `pending`.
    #[oai(default)]
    pub status: Option<OrderStatus>,
    /// Why the status changes; in the event and the audit trail.
    #[oai(default, validator(max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub reason: Option<String>,
}

/// So many pieces of one product.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
#[oai(rename = "NewOrderItem", deny_unknown_fields)]
pub struct NewItem {
    pub product_id: Id,
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    pub quantity: u32,
}

/// What a client sends to change an order.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct ChangeOrder {
    #[oai(default)]
    pub status: Option<OrderStatus>,
    /// Why; in the event and the audit trail.
    #[oai(default, validator(max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub reason: Option<String>,
}

impl Example for NewOrder {
    fn example() -> Self {
        let item = |product: &str, quantity| Some(NewItem { product_id: product.parse().ok()?, quantity });
        Self {
            id: None,
            user_id: Id::example(),
            items: [item("shoes-1", 1), item("books-2", 2)].into_iter().flatten().collect(),
            status: None,
            reason: None,
        }
    }
}

impl Example for ChangeOrder {
    fn example() -> Self {
        Self { status: Some(OrderStatus::Confirmed), reason: None }
    }
}

impl NewOrder {
    /// What is wrong with its items, whatever is stored.
    fn check_items(&self, at: &str) -> Vec<Violation> {
        let mut known = HashSet::new();
        let twice = self.items.iter().enumerate().filter(|(_, item)| !known.insert(&item.product_id));
        let violation = |index| {
            let pointer = format!("{at}/items/{index}/product_id");
            Violation::at(&pointer, "duplicate", "a product is named once, with its quantity".to_owned())
        };
        twice.map(|(index, _)| violation(index)).collect()
    }

    fn check_new(&self, at: &str) -> Vec<Violation> {
        let mut found = self.check_items(at);
        if self.status.is_some_and(|status| status != OrderStatus::default()) {
            let rule = format!("a new order is {}", OrderStatus::default());
            found.push(Violation::at(&format!("{at}/status"), "not-allowed", rule));
        }
        found
    }
}

impl Managed for Order {
    const PATH: &'static str = "/api/v1/orders";
    const HEADING: &'static str = "Orders";
    const ABOUT: &'static str = "What users buy. An order holds stock while it is pending or confirmed.";
    type New = NewOrder;
    type Changes = ChangeOrder;
    type Create = PlaceOrders;
    type Edit = EditOrder;
    type Delete = DeleteOrder;

    fn brought_id(new: &NewOrder) -> Option<&Id> {
        new.id.as_ref()
    }

    fn set_id(new: &mut NewOrder, id: Id) {
        new.id = Some(id);
    }

    fn create(items: Vec<NewOrder>, _rules: Rules) -> Result<PlaceOrders, Vec<Violation>> {
        let checked = items.iter().enumerate().flat_map(|(index, new)| new.check_new(&format!("/items/{index}")));
        let violations: Vec<_> = checked.collect();
        if violations.is_empty() { Ok(PlaceOrders(items)) } else { Err(violations) }
    }

    fn edit(target: Target, wanted: Wanted<Self>, _rules: Rules) -> Result<EditOrder, Vec<Violation>> {
        let violations = match &wanted {
            Wanted::Replacement(new) => new.check_items(""),
            Wanted::Changes(_) => Vec::new(),
        };
        if violations.is_empty() { Ok(EditOrder { target, wanted }) } else { Err(violations) }
    }

    fn delete(target: Target) -> DeleteOrder {
        DeleteOrder { target }
    }
}
