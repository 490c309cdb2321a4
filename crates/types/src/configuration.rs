//! A whole configuration and the rules between its resources.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    DomainName, ErrorCode, Kind, Mistake, Model, ModelName, Provider, ProviderName, Region, RegionName, Zone, zone,
};

/// Everything that a commit declares; references hold if [`Configuration::check`] found nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Configuration {
    /// Regions.
    pub regions: BTreeMap<RegionName, Region>,
    /// Providers.
    pub providers: BTreeMap<ProviderName, Provider>,
    /// Models.
    pub models: BTreeMap<ModelName, Model>,
    /// Zones.
    pub zones: BTreeMap<DomainName, Zone>,
}

impl Configuration {
    /// Fills in what depends on the whole: a steered name that lists no region may be answered with any.
    pub fn complete(&mut self) {
        let all: Vec<RegionName> = self.regions.keys().cloned().collect();
        for steered in self.zones.values_mut().flat_map(|zone| &mut zone.steered) {
            if steered.regions.is_empty() {
                steered.regions.clone_from(&all);
            }
        }
    }

    /// Every reference that leads nowhere, every name that two resources claim.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for model in self.models.values() {
            self.check_model(model, &mut mistakes);
        }
        let mut claimed = BTreeSet::new();
        for zone in self.zones.values() {
            self.check_zone(zone, &mut claimed, &mut mistakes);
        }
        mistakes
    }

    fn check_model(&self, model: &Model, mistakes: &mut Vec<Mistake>) {
        for (t, tier) in model.tiers.iter().enumerate() {
            for (i, target) in tier.iter().enumerate() {
                if !self.providers.contains_key(&target.provider) {
                    let path = format!("tiers[{t}].targets[{i}].provider");
                    let known = list(self.providers.keys());
                    mistakes.push(unknown(
                        Kind::Model,
                        model.name.as_str(),
                        path,
                        &target.provider,
                        "provider",
                        &known,
                    ));
                }
            }
        }
        for (i, fallback) in model.fallbacks.iter().enumerate() {
            let path = format!("fallbacks[{i}]");
            if *fallback == model.name {
                mistakes.push(Mistake {
                    kind: Kind::Model,
                    name: model.name.to_string(),
                    path,
                    code: ErrorCode::InvalidField,
                    text: "a model cannot be its own fallback".to_owned(),
                });
            } else if !self.models.contains_key(fallback) {
                let known = list(self.models.keys());
                mistakes.push(unknown(Kind::Model, model.name.as_str(), path, fallback, "model", &known));
            }
        }
    }

    fn check_zone(&self, zone: &Zone, claimed: &mut BTreeSet<DomainName>, mistakes: &mut Vec<Mistake>) {
        let known = list(self.regions.keys());
        for (_, place) in &zone.networks {
            if let zone::ClientPlace::Region(region) = place
                && !self.regions.contains_key(region)
            {
                let path = "networks".to_owned();
                mistakes.push(unknown(Kind::Zone, zone.name.as_str(), path, region, "region", &known));
            }
        }
        for (s, steered) in zone.steered.iter().enumerate() {
            if !claimed.insert(steered.name.clone()) {
                mistakes.push(Mistake {
                    kind: Kind::Zone,
                    name: zone.name.to_string(),
                    path: format!("steered[{s}].name"),
                    code: ErrorCode::Duplicate,
                    text: format!("{} is steered twice", steered.name),
                });
            }
            for (i, region) in steered.regions.iter().enumerate() {
                if !self.regions.contains_key(region) {
                    let path = format!("steered[{s}].regions[{i}]");
                    mistakes.push(unknown(Kind::Zone, zone.name.as_str(), path, region, "region", &known));
                }
            }
            if let zone::AllDown::FailTo(region) = &steered.all_down
                && !self.regions.contains_key(region)
            {
                let path = format!("steered[{s}].all_down.fail_to");
                mistakes.push(unknown(Kind::Zone, zone.name.as_str(), path, region, "region", &known));
            }
        }
    }
}

fn unknown(
    kind: Kind,
    name: &str,
    path: String,
    reference: &impl std::fmt::Display,
    what: &str,
    known: &str,
) -> Mistake {
    let text = format!("there is no {what} {reference}; there are: {known}");
    Mistake { kind, name: name.to_owned(), path, code: ErrorCode::UnknownReference, text }
}

/// At most this many names are offered in a message: a reader looks for a slip of the pen, not for a catalogue.
const NAMES_OFFERED: usize = 12;

fn list<T: std::fmt::Display>(names: impl ExactSizeIterator<Item = T>) -> String {
    let count = names.len();
    let mut text = names.take(NAMES_OFFERED).map(|name| name.to_string()).collect::<Vec<_>>().join(", ");
    if count == 0 {
        text.push_str("none");
    } else if count > NAMES_OFFERED {
        text.push_str(", ...");
    }
    text
}
