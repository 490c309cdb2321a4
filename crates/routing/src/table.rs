//! The model table: a configuration in the form in which requests ask it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use meridian_types::{Configuration, Jurisdiction, ModelName, ProviderName, model, served};

use crate::Constraints;

/// One place where requests are served. Its health and statistics outlive configurations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId {
    /// Which account.
    pub provider: ProviderName,
    /// What the provider calls the model.
    pub model: ModelName,
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// A target as one tier lists it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) target: TargetId,
    pub(crate) weight: u32,
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) price: Option<model::Price>,
    pub(crate) prefill: Option<model::Prefill>,
}

#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) tiers: Vec<Vec<Entry>>,
    pub(crate) fallbacks: Vec<ModelName>,
    pub(crate) choice: model::Choice,
}

/// Every model of one configuration.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub(crate) routes: BTreeMap<ModelName, Route>,
}

impl Table {
    /// From a configuration whose references hold; a target whose provider does not exist is left out.
    #[must_use]
    pub fn compile(configuration: &Configuration) -> Self {
        let entry = |target: &model::Target| {
            let provider = configuration.providers.get(&target.provider)?;
            let id = TargetId { provider: target.provider.clone(), model: target.model.clone() };
            let jurisdiction = provider.jurisdiction.clone();
            let (weight, price, prefill) = (target.weight, target.price, target.prefill);
            Some(Entry { target: id, weight, jurisdiction, price, prefill })
        };
        let route = |model: &meridian_types::Model| Route {
            tiers: model.tiers.iter().map(|tier| tier.iter().filter_map(entry).collect()).collect(),
            fallbacks: model.fallbacks.clone(),
            choice: model.policy.choice,
        };
        Self { routes: configuration.models.iter().map(|(name, model)| (name.clone(), route(model))).collect() }
    }

    /// Every target that some model names.
    #[must_use]
    pub fn targets(&self) -> BTreeSet<TargetId> {
        let entries = self.routes.values().flat_map(|route| route.tiers.iter().flatten());
        entries.map(|entry| entry.target.clone()).collect()
    }

    /// The targets of each tier of each model: peers, that could serve the same requests.
    pub fn tiers(&self) -> impl Iterator<Item = Vec<&TargetId>> {
        let tiers = self.routes.values().flat_map(|route| &route.tiers);
        tiers.map(|tier| tier.iter().map(|entry| &entry.target).collect())
    }

    /// Every target that may serve the caller's request for the model, whether or not it would be asked now.
    pub fn may_serve<'a>(
        &'a self,
        model: &str,
        constraints: &'a Constraints,
    ) -> impl Iterator<Item = &'a TargetId> + use<'a> {
        let entries = self.chain(model, constraints).flat_map(|(_, route)| route.tiers.iter().flatten());
        let allowed = entries.filter(|entry| constraints.allows_jurisdiction(&entry.jurisdiction));
        allowed.map(|entry| &entry.target)
    }

    /// Every model's way as it is kept here, sorted by name; `policy` tells how the model's requests are treated.
    pub fn routes<'a>(
        &'a self,
        policy: impl Fn(&ModelName) -> model::Policy + 'a,
    ) -> impl Iterator<Item = served::Route<'a>> {
        fn entry(entry: &Entry) -> served::Entry<'_> {
            let Entry { target, weight, jurisdiction, price, prefill } = entry;
            let TargetId { provider, model } = target;
            served::Entry { provider, model, weight: *weight, jurisdiction, price: *price, prefill: *prefill }
        }
        self.routes.iter().map(move |(name, route)| served::Route {
            model: name,
            tiers: route.tiers.iter().map(|tier| tier.iter().map(entry).collect()).collect(),
            fallbacks: &route.fallbacks,
            choice: route.choice,
            policy: policy(name),
        })
    }

    /// The models that the caller may name and that have a place where the caller's data may go, sorted.
    pub fn models<'a>(&'a self, constraints: &'a Constraints) -> impl Iterator<Item = &'a ModelName> {
        self.routes.keys().filter(move |name| {
            constraints.allows_model(name)
                && self.chain(name.as_str(), constraints).any(|(_, route)| {
                    route.tiers.iter().flatten().any(|entry| constraints.allows_jurisdiction(&entry.jurisdiction))
                })
        })
    }

    /// The model's route and then those of its fallbacks that the caller may use. Fallbacks of fallbacks are not
    /// followed: the list in the configuration is what the operator sees.
    pub(crate) fn chain<'a>(
        &'a self,
        model: &str,
        constraints: &'a Constraints,
    ) -> impl Iterator<Item = (&'a ModelName, &'a Route)> + use<'a> {
        let own = self.routes.get_key_value(model);
        let fallbacks = own.into_iter().flat_map(|(_, route)| &route.fallbacks);
        let fallbacks = fallbacks.filter(|name| constraints.allows_model(name));
        own.into_iter().chain(fallbacks.filter_map(|name| self.routes.get_key_value(name)))
    }
}
