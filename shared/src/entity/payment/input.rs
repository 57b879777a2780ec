//! What clients send for payments.

use poem_openapi::{Object, types::Example};

use super::{CreatePayments, EditPayment, Payment, PaymentStatus};
use crate::{
    change::{ChangeError, Delete, Managed, Rules, Target, Wanted},
    entity::{Id, Patch, Version},
    money::{Amount, AmountInput, Currency},
    timestamp::Timestamp,
    violation::Violation,
};

/// What a client sends to create a payment, and to replace one.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct NewPayment {
    /// Made by the server where it is missing; in a replacement it may only repeat the path's.
    #[oai(default)]
    pub id: Option<Id>,
    /// It does not change afterwards.
    pub user_id: Id,
    /// An order of the same user. It does not change afterwards.
    #[oai(default)]
    pub order_id: Option<Id>,
    /// More than nothing. It does not change afterwards.
    pub amount: AmountInput,
    /// It does not change afterwards.
    pub currency: Currency,
    /// It does not change afterwards.
    #[oai(validator(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9_.-]+$"))]
    pub gateway: String,
    /// What the gateway calls it. Never a card's number.
    #[oai(default, validator(min_length = 1, max_length = 200, pattern = r"^[!-~]+$"))]
    pub gateway_reference: Option<String>,
    /// A new payment is `pending`.
    #[oai(default)]
    pub status: Option<PaymentStatus>,
    /// Why the status changes; in the event and the audit trail.
    #[oai(default, validator(max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub reason: Option<String>,
}

/// What a client sends to change a payment.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct ChangePayment {
    #[oai(default)]
    pub status: Option<PaymentStatus>,
    /// What the gateway calls it, 1 to 200 visible ASCII characters; null takes it away.
    pub gateway_reference: Patch<String>,
    /// Why; in the event and the audit trail.
    #[oai(default, validator(max_length = 200, pattern = r"^[^\x00-\x1F\x7F-\x9F]*$"))]
    pub reason: Option<String>,
}

impl Example for NewPayment {
    fn example() -> Self {
        Self {
            id: None,
            user_id: Id::example(),
            order_id: None,
            amount: AmountInput(rust_decimal::Decimal::new(10050, 2)),
            currency: Currency::example(),
            gateway: "stripe".to_owned(),
            gateway_reference: None,
            status: None,
            reason: None,
        }
    }
}

impl Example for ChangePayment {
    fn example() -> Self {
        Self { status: Some(PaymentStatus::Processing), gateway_reference: Patch::Keep, reason: None }
    }
}

impl NewPayment {
    /// The amount that it names, in its currency.
    pub(super) fn amount(&self, at: &str) -> Result<Amount, Violation> {
        let pointer = format!("{at}/amount");
        let amount = Amount::of(self.amount.0, self.currency).map_err(|error| error.violation(&pointer))?;
        if amount.is_zero() {
            return Err(Violation::at(&pointer, "out-of-range", "more than nothing is paid".to_owned()));
        }
        Ok(amount)
    }

    fn checked(self, at: &str) -> Result<Payment, Vec<Violation>> {
        let mut found = Vec::new();
        if self.status.is_some_and(|status| status != PaymentStatus::default()) {
            let rule = format!("a new payment is {}", PaymentStatus::default());
            found.push(Violation::at(&format!("{at}/status"), "not-allowed", rule));
        }
        let amount = match self.amount(at) {
            Ok(amount) if found.is_empty() => amount,
            Ok(_) => return Err(found),
            Err(violation) => {
                found.push(violation);
                return Err(found);
            }
        };
        let now = Timestamp::now();
        Ok(Payment {
            id: self.id.unwrap_or_else(Id::generate),
            user_id: self.user_id,
            order_id: self.order_id,
            amount,
            currency: self.currency,
            gateway: self.gateway,
            gateway_reference: self.gateway_reference,
            status: PaymentStatus::default(),
            version: Version::FIRST,
            created_at: now,
            updated_at: now,
        })
    }
}

fn check_changes(changes: &ChangePayment) -> Vec<Violation> {
    match &changes.gateway_reference {
        Patch::Set(reference)
            if !(1..=200).contains(&reference.len()) || !reference.bytes().all(|it| it.is_ascii_graphic()) =>
        {
            let rule = "1 to 200 visible ASCII characters".to_owned();
            vec![Violation::at("/gateway_reference", "invalid-format", rule)]
        }
        _ => Vec::new(),
    }
}

impl Managed for Payment {
    const PATH: &'static str = "/api/v1/payments";
    const HEADING: &'static str = "Payments";
    const ABOUT: &'static str = "What users pay.";
    type New = NewPayment;
    type Changes = ChangePayment;
    type Create = CreatePayments;
    type Edit = EditPayment;
    type Delete = Delete<Self>;

    fn brought_id(new: &NewPayment) -> Option<&Id> {
        new.id.as_ref()
    }

    fn set_id(new: &mut NewPayment, id: Id) {
        new.id = Some(id);
    }

    fn create(items: Vec<NewPayment>, _rules: Rules) -> Result<CreatePayments, Vec<Violation>> {
        let (mut payments, mut violations) = (Vec::new(), Vec::new());
        for (index, new) in items.into_iter().enumerate() {
            match new.checked(&format!("/items/{index}")) {
                Ok(payment) => payments.push(payment),
                Err(found) => violations.extend(found),
            }
        }
        if violations.is_empty() { Ok(CreatePayments(payments)) } else { Err(violations) }
    }

    fn edit(target: Target, wanted: Wanted<Self>, _rules: Rules) -> Result<EditPayment, Vec<Violation>> {
        let violations = match &wanted {
            Wanted::Replacement(new) => new.amount("").err().into_iter().collect(),
            Wanted::Changes(changes) => check_changes(changes),
        };
        if violations.is_empty() { Ok(EditPayment { target, wanted }) } else { Err(violations) }
    }

    fn delete(target: Target) -> Delete<Self> {
        Delete::new(target).only_if(|payment: &Self| {
            if payment.status.is_deletable() {
                return Ok(());
            }
            Err(ChangeError::NotDeletable { status: payment.status.to_string() })
        })
    }
}
