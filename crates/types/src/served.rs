//! What requests are served from, in a form that both ends of the wire can make: nodes from the tables that are in use,
//! the control plane from the configuration that they should have come from.

use crate::model::{Choice, Policy, Prefill, Price, Target};
use crate::{Configuration, Digest, Jurisdiction, ModelName, Provider, ProviderName};

/// Of the form below. Digests of two forms say nothing about each other. A test holds the digest of a sample: whoever has
/// to change it raises this number.
pub const FORM: u32 = 3;

/// One place where requests for a model go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Which account.
    pub provider: &'a ProviderName,
    /// What the provider calls the model.
    pub model: &'a ModelName,
    /// Its share within the tier.
    pub weight: u32,
    /// Where the data goes.
    pub jurisdiction: &'a Jurisdiction,
    /// What it costs.
    pub price: Option<Price>,
    /// How it is told to go on with an answer.
    pub prefill: Option<Prefill>,
}

/// The way of requests for one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route<'a> {
    /// What clients send.
    pub model: &'a ModelName,
    /// In the order in which they are tried.
    pub tiers: Vec<Vec<Entry<'a>>>,
    /// What comes after them.
    pub fallbacks: &'a [ModelName],
    /// The order within a tier.
    pub choice: Choice,
    /// How its requests are treated.
    pub policy: Policy,
}

/// SHA-256 over every provider and every route, both sorted by name: of their `Debug` texts, which name every field.
pub fn digest<'a>(
    providers: impl IntoIterator<Item = &'a Provider>,
    routes: impl IntoIterator<Item = Route<'a>>,
) -> Digest {
    let providers = providers.into_iter().map(|provider| format!("{provider:?}"));
    let texts: Vec<String> = providers.chain(routes.into_iter().map(|route| format!("{route:?}"))).collect();
    Digest::of_parts(texts.iter().map(String::as_bytes))
}

/// What a node should serve from that was given the configuration. A target whose provider does not exist is left out, as
/// nodes do it.
pub fn expected(configuration: &Configuration) -> Digest {
    fn entry<'a>(configuration: &'a Configuration, target: &'a Target) -> Option<Entry<'a>> {
        let Target { provider, model, weight, price, prefill } = target;
        let jurisdiction = &configuration.providers.get(provider)?.jurisdiction;
        Some(Entry { provider, model, weight: *weight, jurisdiction, price: *price, prefill: *prefill })
    }
    let routes = configuration.models.values().map(|model| Route {
        model: &model.name,
        tiers: model.tiers.iter().map(|tier| tier.iter().filter_map(|to| entry(configuration, to)).collect()).collect(),
        fallbacks: &model.fallbacks,
        choice: model.policy.choice,
        policy: model.policy.clone(),
    });
    digest(configuration.providers.values(), routes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Model;
    use crate::provider::{CredentialRef, Deadlines, Probe, ProbeKind, TokenLimit};

    fn configuration() -> Configuration {
        let provider = Provider {
            name: ProviderName::new("acme").unwrap(),
            codec: "openai_compatible".to_owned(),
            base_url: "https://api.example.com/v1".to_owned(),
            credential: Some(CredentialRef::Env("ACME_KEY".to_owned())),
            jurisdiction: Jurisdiction::new("EU").unwrap(),
            max_in_flight: 7,
            deadlines: Deadlines::default(),
            probe: Some(Probe { interval: Duration::from_secs(5), kind: ProbeKind::Connect }),
            token_limit: Some(TokenLimit::MaxTokens),
        };
        let target = |provider: &str, weight| Target {
            provider: ProviderName::new(provider).unwrap(),
            model: ModelName::new("large").unwrap(),
            weight,
            price: Some(Price { input_micro_usd: 1, output_micro_usd: 2 }),
            prefill: None,
        };
        let model = Model {
            name: ModelName::new("chat").unwrap(),
            tiers: vec![vec![target("acme", 100), target("nobody", 1)]],
            fallbacks: vec![ModelName::new("small").unwrap()],
            policy: Policy::default(),
        };
        Configuration {
            providers: [(provider.name.clone(), provider)].into(),
            models: [(model.name.clone(), model)].into(),
            ..Configuration::default()
        }
    }

    #[test]
    fn every_change_of_what_is_served_changes_the_digest() {
        let changed = |change: fn(&mut Configuration)| {
            let mut configuration = configuration();
            change(&mut configuration);
            expected(&configuration)
        };
        fn chat(configuration: &mut Configuration) -> &mut Model {
            configuration.models.values_mut().next().unwrap()
        }
        let same = expected(&configuration());
        let digests = [
            same,
            changed(|c| c.providers.values_mut().for_each(|provider| provider.base_url.push('2'))),
            changed(|c| c.providers.values_mut().for_each(|provider| provider.jurisdiction = "US".parse().unwrap())),
            changed(|c| c.providers.values_mut().for_each(|provider| provider.token_limit = None)),
            changed(|c| chat(c).tiers[0][0].weight = 99),
            changed(|c| chat(c).tiers[0][0].prefill = Some(Prefill::No)),
            changed(|c| chat(c).tiers.push(Vec::new())),
            changed(|c| chat(c).fallbacks.clear()),
            changed(|c| chat(c).policy.reroute_refusals = true),
            changed(|c| c.models.clear()),
        ];
        let different: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(different.len(), digests.len());
        // What no node can serve is in nobody's tables.
        assert_eq!(changed(|c| drop(chat(c).tiers[0].remove(1))), same);
    }

    /// The sample, written by hand, as the form says: each part after its length in 8 bytes, big-endian.
    #[test]
    fn the_form_is_the_one_that_its_number_says() {
        let provider = "Provider { name: \"acme\", codec: \"openai_compatible\", base_url: \"https://api.example.com/v1\", \
             credential: Some(Env(\"ACME_KEY\")), jurisdiction: \"EU\", max_in_flight: 7, deadlines: Deadlines { \
             connect: 2s, response_headers: 30s, first_token: 30s, idle: 30s, total: 600s, min_bytes_per_s: 16 }, \
             probe: Some(Probe { interval: 5s, kind: Connect }), token_limit: Some(MaxTokens) }";
        let route = "Route { model: \"chat\", tiers: [[Entry { provider: \"acme\", model: \"large\", weight: 100, jurisdiction: \
             \"EU\", price: Some(Price { input_micro_usd: 1, output_micro_usd: 2 }), prefill: None }]], fallbacks: \
             [\"small\"], choice: Weighted, policy: Policy { deadlines: Overrides { connect: None, \
             response_headers: None, first_token: None, idle: None, total: None, min_bytes_per_s: None }, choice: \
             Weighted, reroute_refusals: false, continue_streams: false, hedge: None } }";
        assert_eq!(expected(&configuration()), Digest::of_parts([provider, route].map(str::as_bytes)));
        // Of the same two texts, by Python's hashlib.
        let sample = "01057015af93696d40dde48c422dba8d82f751881cfbdd97667952d0fba0ba15";
        assert_eq!((FORM, expected(&configuration()).to_string().as_str()), (3, sample), "raise FORM with the sample");
    }
}
