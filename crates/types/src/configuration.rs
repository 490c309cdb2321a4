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
            self.check_fence(zone, s, steered, mistakes);
            if let zone::AllDown::FailTo(region) = &steered.all_down
                && !self.regions.contains_key(region)
            {
                let path = format!("steered[{s}].all_down.fail_to");
                mistakes.push(unknown(Kind::Zone, zone.name.as_str(), path, region, "region", &known));
            }
        }
    }
}

impl Configuration {
    /// A fence that leaves no region, or not the one that is to be answered when all others are down, would answer
    /// nothing.
    fn check_fence(&self, zone: &Zone, s: usize, steered: &zone::SteeredName, mistakes: &mut Vec<Mistake>) {
        let outside = |region: &RegionName| {
            let declared = self.regions.get(region);
            declared.is_some_and(|region| !steered.jurisdictions.contains(&region.jurisdiction))
        };
        let mut mistake = |field: &str, text: String| {
            let (kind, name, code) = (Kind::Zone, zone.name.to_string(), ErrorCode::InvalidField);
            mistakes.push(Mistake { kind, name, path: format!("steered[{s}].{field}"), code, text });
        };
        if steered.jurisdictions.is_empty() {
            return;
        }
        if !steered.regions.is_empty() && steered.regions.iter().all(outside) {
            mistake("jurisdictions", "none of the name's regions is in one of them".to_owned());
        }
        if let zone::AllDown::FailTo(region) = &steered.all_down
            && outside(region)
        {
            mistake("all_down.fail_to", format!("{region} is in none of the name's jurisdictions"));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Coordinates, Jurisdiction};

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    /// Two regions, and a name that is steered with this fence and all-down policy.
    fn mistakes(fence: &str, regions: &[&str], all_down: zone::AllDown) -> Vec<String> {
        let mut configuration = Configuration::default();
        for (name, jurisdiction) in [("us-west", "US"), ("eu-west", "EU")] {
            let declared = Region {
                name: region(name),
                coordinates: Coordinates::new(0.0, 0.0).unwrap(),
                jurisdiction: Jurisdiction::new(jurisdiction).unwrap(),
                weight: 100,
                addresses: Vec::new(),
                overflow_jurisdictions: Vec::new(),
            };
            configuration.regions.insert(region(name), declared);
        }
        let apex = DomainName::new("gslb.example").unwrap();
        let steered = zone::SteeredName {
            name: apex.clone(),
            policy: zone::Policy::Nearest,
            regions: regions.iter().map(|name| region(name)).collect(),
            ttl: Duration::from_secs(30),
            max_addresses: 2,
            band_km: 0,
            jurisdictions: vec![Jurisdiction::new(fence).unwrap()],
            https: None,
            all_down,
        };
        let zone = Zone {
            name: apex.clone(),
            nameservers: vec![apex.clone()],
            hostmaster: apex.clone(),
            negative_ttl: Duration::from_secs(30),
            steered: vec![steered],
            records: Vec::new(),
            networks: vec![("192.0.2.0/24".parse().unwrap(), zone::ClientPlace::Region(region("eu-west")))],
        };
        configuration.zones.insert(apex, zone);
        configuration.check().into_iter().map(|mistake| format!("{}: {}", mistake.path, mistake.text)).collect()
    }

    #[test]
    fn a_fence_has_to_leave_something_to_answer() {
        let open = || zone::AllDown::FailOpen;
        assert_eq!(mistakes("EU", &["us-west", "eu-west"], open()), [""; 0]);
        assert_eq!(mistakes("EU", &["us-west", "eu-west"], zone::AllDown::FailTo(region("eu-west"))), [""; 0]);
        let nobody = "steered[0].jurisdictions: none of the name's regions is in one of them";
        assert_eq!(mistakes("EU", &["us-west"], open()), [nobody]);
        assert_eq!(mistakes("CN", &["us-west", "eu-west"], open()), [nobody]);
        let outside = "steered[0].all_down.fail_to: us-west is in none of the name's jurisdictions";
        assert_eq!(mistakes("EU", &["eu-west"], zone::AllDown::FailTo(region("us-west"))), [outside]);
    }
}
