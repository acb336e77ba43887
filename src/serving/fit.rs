//! What must fit: models among each other, and a new model with the one whose place it takes.
//!
//! In: contracts and setups. Out: yes, or what does not fit. Pure.

use super::ReloadError;
use crate::config::Role;
use crate::model::Contract;
use crate::stream::StreamSetup;

/// What must fit among the members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub role: &'a Role,
    pub name: &'a str,
    pub setup: &'a StreamSetup,
}

/// Serving models have names of their own; shadows have the windows of the first of them.
pub(super) fn check(places: &[Place<'_>]) -> Result<(), ReloadError> {
    let (serving, shadows): (Vec<&Place<'_>>, Vec<&Place<'_>>) =
        places.iter().partition(|place| *place.role == Role::Serving);
    for (index, place) in serving.iter().enumerate() {
        if serving[..index].iter().any(|earlier| earlier.name == place.name) {
            return Err(ReloadError::SameName(place.name.to_owned()));
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

/// All that the streams of a model depend on.
pub(super) fn shape(contract: &Contract) -> impl PartialEq + use<> {
    let Contract { labels, values, input, sample_rate_hz, window, frames, mfcc, .. } = contract.clone();
    (labels, values, input, sample_rate_hz, window, frames, mfcc)
}
