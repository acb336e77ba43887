//! Checks that models go together, and that a new model can replace one in service.
//!
//! Input: contracts and setups. Output: nothing, or the first conflict. Pure.

use super::ReloadError;
use super::Role;
use crate::model::Contract;
use crate::stream::StreamSetup;

/// What the models in service must agree on.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelSlot<'a> {
    pub role: &'a Role,
    pub name: &'a str,
    pub setup: &'a StreamSetup,
}

/// Checks that the names of serving models differ, and that shadows have the windows of the default model.
///
/// # Errors
/// [`ReloadError::SameName`] and [`ReloadError::OtherWindows`].
pub(super) fn check(slots: &[ModelSlot<'_>]) -> Result<(), ReloadError> {
    let (serving, shadows): (Vec<&ModelSlot<'_>>, Vec<&ModelSlot<'_>>) =
        slots.iter().partition(|slot| *slot.role == Role::Serving);
    for (index, slot) in serving.iter().enumerate() {
        if serving[..index].iter().any(|earlier| earlier.name == slot.name) {
            return Err(ReloadError::SameName(slot.name.to_owned()));
        }
    }
    let Some(of) = serving.first().map(|default| default.setup.geometry.span()) else { return Ok(()) };
    match shadows.iter().find(|shadow| shadow.setup.geometry.span() != of) {
        None => Ok(()),
        Some(shadow) => {
            let its = shadow.setup.geometry.span();
            Err(ReloadError::OtherWindows { shadow: shadow.name.to_owned(), its, of })
        }
    }
}

/// Returns what the streams of a model depend on: a model of equal shape can replace another while its streams are open.
pub(super) fn shape(contract: &Contract) -> impl PartialEq + use<> {
    let Contract { labels, values, input, sample_rate_hz, window, frames, mfcc, .. } = contract.clone();
    (labels, values, input, sample_rate_hz, window, frames, mfcc)
}
