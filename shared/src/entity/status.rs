//! Status machines: which step may follow which.

use std::fmt::Display;

use strum::VariantArray;

use crate::change::ChangeError;

/// The status of an entity and the steps it may take.
pub trait Status: Copy + Eq + Display + VariantArray + Send + Sync + 'static {
    /// The statuses that may follow this one.
    fn next(self) -> &'static [Self];

    /// Takes the step, or stays where it is.
    ///
    /// # Errors
    /// [`ChangeError::IllegalTransition`] if the machine has no such step.
    fn step(self, to: Self) -> Result<Self, ChangeError> {
        if to == self || self.next().contains(&to) {
            return Ok(to);
        }
        Err(ChangeError::IllegalTransition {
            from: self.to_string(),
            to: to.to_string(),
            allowed: self.next().iter().map(ToString::to_string).collect(),
        })
    }
}
