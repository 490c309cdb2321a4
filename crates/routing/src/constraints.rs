//! What a caller may use. Constraints only ever narrow.

use std::collections::BTreeSet;

use meridian_types::{Jurisdiction, ModelName, Tenant};

/// Models and places that a request may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Constraints {
    /// `None`: every model.
    models: Option<BTreeSet<ModelName>>,
    /// `None`: anywhere. An empty set is nowhere.
    jurisdictions: Option<BTreeSet<Jurisdiction>>,
}

impl Constraints {
    /// What the tenant's account says; empty lists there mean no limit.
    #[must_use]
    pub fn of(tenant: &Tenant) -> Self {
        Self { models: limit(&tenant.allowed_models), jurisdictions: limit(&tenant.allowed_jurisdictions) }
    }

    /// As before, but only in `jurisdictions`: what the tenant may not use stays out.
    #[must_use]
    pub fn narrowed_to(mut self, jurisdictions: BTreeSet<Jurisdiction>) -> Self {
        self.jurisdictions = Some(match self.jurisdictions {
            Some(allowed) => allowed.intersection(&jurisdictions).cloned().collect(),
            None => jurisdictions,
        });
        self
    }

    /// Whether the model may be used.
    #[must_use]
    pub fn allows_model(&self, model: &ModelName) -> bool {
        self.models.as_ref().is_none_or(|models| models.contains(model))
    }

    /// Whether data may be processed there.
    #[must_use]
    pub fn allows_jurisdiction(&self, jurisdiction: &Jurisdiction) -> bool {
        self.jurisdictions.as_ref().is_none_or(|allowed| allowed.contains(jurisdiction))
    }

    /// The allowed places, for messages; `None`: anywhere.
    pub(crate) fn jurisdictions(&self) -> Option<&BTreeSet<Jurisdiction>> {
        self.jurisdictions.as_ref()
    }
}

fn limit<T: Ord + Clone>(listed: &[T]) -> Option<BTreeSet<T>> {
    (!listed.is_empty()).then(|| listed.iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use meridian_types::TenantName;

    use super::*;

    fn places(names: &[&str]) -> Vec<Jurisdiction> {
        names.iter().map(|name| Jurisdiction::new(name).unwrap()).collect()
    }

    #[track_caller]
    fn check(tenant: &[&str], header: &[&str], allowed: &[&str]) {
        let tenant = Tenant {
            name: TenantName::new("t").unwrap(),
            allowed_jurisdictions: places(tenant),
            allowed_models: Vec::new(),
            class: meridian_types::Class::Default,
        };
        let narrowed = Constraints::of(&tenant).narrowed_to(places(header).into_iter().collect());
        for place in places(&["US", "EU", "CN"]) {
            assert_eq!(narrowed.allows_jurisdiction(&place), allowed.contains(&place.as_str()), "{place}");
        }
    }

    #[test]
    fn a_header_narrows_and_never_widens() {
        check(&[], &["EU"], &["EU"]);
        check(&["EU", "US"], &["EU"], &["EU"]);
        check(&["EU"], &["US"], &[]);
        check(&["EU"], &["US", "EU", "CN"], &["EU"]);
    }
}
