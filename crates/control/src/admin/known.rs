//! Whether what an operator names is configured: a misspelt name must not look as if it did something.

use meridian_types::Configuration;
use tonic::Status;

use super::listed;
use crate::scope::Scope;

/// Every name that is given is one of the configuration.
///
/// # Errors
/// `NOT_FOUND` with those that there are.
pub(super) fn check(configuration: &Configuration, scope: Scope<'_>) -> Result<(), Status> {
    let unknown = |what: &str, name: &str, known: &mut dyn Iterator<Item = &str>| {
        Status::not_found(format!("there is no {what} {name}; there are: {}", listed(known)))
    };
    if !scope.region.is_empty() && !configuration.regions.keys().any(|name| name.as_str() == scope.region) {
        return Err(unknown("region", scope.region, &mut configuration.regions.keys().map(AsRef::as_ref)));
    }
    if !scope.provider.is_empty() && !configuration.providers.keys().any(|name| name.as_str() == scope.provider) {
        return Err(unknown("provider", scope.provider, &mut configuration.providers.keys().map(AsRef::as_ref)));
    }
    let targets = || {
        let targets = configuration.models.values().flat_map(|model| model.tiers.iter().flatten());
        targets.filter(|target| target.provider.as_str() == scope.provider).map(|target| target.model.as_str())
    };
    if !scope.model.is_empty() && !targets().any(|model| model == scope.model) {
        return Err(unknown(&format!("target of {} with the model", scope.provider), scope.model, &mut targets()));
    }
    Ok(())
}
