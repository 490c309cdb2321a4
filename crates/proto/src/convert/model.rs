//! Models.

use std::collections::BTreeSet;

use meridian_types::model::{Choice, DEFAULT_HEDGE_PERCENT, Hedge, Policy, Prefill, Price, Target};
use meridian_types::region::{DEFAULT_WEIGHT, MAX_WEIGHT};
use meridian_types::{ErrorCode, Kind, Model, ModelName};

use super::STAND_IN;
use super::provider::deadlines;
use super::reader::{Reader, Reading};
use crate::resources::v1 as wire;

/// Tiers, targets in a tier, and fallbacks at most: a request tries a handful, a longer list is a slip.
const MAX_LIST: usize = 32;

/// Reads a model.
pub(super) fn read(message: &wire::Model) -> Reading<Model> {
    let mut reader = Reader::new(Kind::Model, &message.name);
    let name: Option<ModelName> = reader.text_or("name", &message.name, STAND_IN);
    limit(&mut reader, "tiers", message.tiers.len());
    limit(&mut reader, "fallbacks", message.fallbacks.len());
    if message.tiers.is_empty() {
        reader.mistake("tiers", ErrorCode::MissingField, "at least one tier with one target is required");
    }
    let mut tiers = Vec::new();
    for (t, tier) in message.tiers.iter().enumerate() {
        tiers.push(targets(&mut reader, &format!("tiers[{t}].targets"), tier, name.as_ref()));
    }
    let mut fallbacks = Vec::new();
    for (i, fallback) in message.fallbacks.iter().enumerate() {
        fallbacks.extend(reader.text_or::<ModelName>(&format!("fallbacks[{i}]"), fallback, STAND_IN));
    }
    let policy = Policy {
        deadlines: deadlines(&mut reader, message.deadlines.as_ref()),
        choice: choice(message.choice()),
        reroute_refusals: message.on_refusal() == wire::RefusalPolicy::OtherProvider,
        hedge: message.hedge.as_ref().map(|hedge| read_hedge(&mut reader, hedge)),
        continue_streams: message.mid_stream() == wire::MidStream::Continue,
    };
    reader.finish(name.map(|name| Model { name, tiers, fallbacks, policy }))
}

fn choice(choice: wire::Choice) -> Choice {
    match choice {
        wire::Choice::Unspecified | wire::Choice::ByWeight => Choice::Weighted,
        wire::Choice::Fastest => Choice::Fastest,
        wire::Choice::Priority => Choice::Priority,
        wire::Choice::LowestCost => Choice::LowestCost,
        wire::Choice::Session => Choice::Session,
    }
}

fn read_hedge(reader: &mut Reader, message: &wire::Hedge) -> Hedge {
    let budget = message.budget_percent.unwrap_or(DEFAULT_HEDGE_PERCENT);
    Hedge {
        // Beyond a half it would be load and no hedge.
        budget_percent: reader.in_range("hedge.budget_percent", budget, 1..=50),
        max_price_percent: message
            .max_price_percent
            .map(|percent| reader.in_range("hedge.max_price_percent", percent, 1..=10_000)),
    }
}

fn prefill(prefill: wire::Prefill) -> Option<Prefill> {
    match prefill {
        wire::Prefill::Unspecified => None,
        wire::Prefill::NoPrefill => Some(Prefill::No),
        wire::Prefill::LastMessage => Some(Prefill::LastMessage),
        wire::Prefill::PrefixField => Some(Prefill::PrefixField),
        wire::Prefill::PartialField => Some(Prefill::PartialField),
        wire::Prefill::ContinueFinalMessage => Some(Prefill::ContinueFinalMessage),
    }
}

fn targets(reader: &mut Reader, path: &str, tier: &wire::Tier, model: Option<&ModelName>) -> Vec<Target> {
    limit(reader, path, tier.targets.len());
    if tier.targets.is_empty() {
        reader.mistake(path, ErrorCode::MissingField, "at least one target is required");
    }
    let mut seen = BTreeSet::new();
    let mut targets = Vec::new();
    for (i, target) in tier.targets.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let provider = reader.text_or(&format!("{path}.provider"), &target.provider, STAND_IN);
        let upstream = match target.model.as_str() {
            "" => model.cloned(),
            text => reader.text_or(&format!("{path}.model"), text, STAND_IN),
        };
        let weight = target.weight.unwrap_or(DEFAULT_WEIGHT);
        let weight = reader.in_range(&format!("{path}.weight"), weight, 0..=MAX_WEIGHT);
        let Some((provider, model)) = provider.zip(upstream) else { continue };
        let price = target
            .price
            .as_ref()
            .map(|price| Price { input_micro_usd: price.input_micro_usd, output_micro_usd: price.output_micro_usd });
        let prefill = prefill(target.prefill());
        let target = Target { provider, model, weight, price, prefill };
        if !seen.insert((target.provider.clone(), target.model.clone())) {
            let text = format!("{} of {} stands twice in this tier", target.model, target.provider);
            reader.mistake(&path, ErrorCode::Duplicate, text);
        }
        targets.push(target);
    }
    targets
}

fn limit(reader: &mut Reader, path: &str, count: usize) {
    if count > MAX_LIST {
        reader.mistake(path, ErrorCode::InvalidField, format!("{count} entries; at most {MAX_LIST} are allowed"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_policy_is_read_and_what_is_left_out_changes_nothing() {
        let target = wire::Target { provider: "p".into(), ..Default::default() };
        let mut message = wire::Model {
            name: "chat".into(),
            tiers: vec![wire::Tier { targets: vec![target] }],
            ..Default::default()
        };
        assert_eq!(read(&message).checked().unwrap().policy, Policy::default());
        message.choice = wire::Choice::LowestCost.into();
        message.on_refusal = wire::RefusalPolicy::OtherProvider.into();
        message.mid_stream = wire::MidStream::Continue.into();
        message.hedge = Some(wire::Hedge { max_price_percent: Some(120), ..Default::default() });
        message.tiers[0].targets[0].prefill = wire::Prefill::PrefixField.into();
        message.tiers[0].targets[0].price = Some(wire::Price { input_micro_usd: 1, output_micro_usd: 2 });
        let first_token = Some(pbjson_types::Duration { seconds: 3, nanos: 0 });
        message.deadlines = Some(wire::Deadlines { first_token, ..Default::default() });
        let model = read(&message).checked().unwrap();
        assert_eq!((model.policy.choice, model.policy.reroute_refusals), (Choice::LowestCost, true));
        assert!(model.policy.continue_streams);
        assert_eq!(model.policy.hedge, Some(Hedge { budget_percent: 5, max_price_percent: Some(120) }));
        assert_eq!(model.tiers[0][0].prefill, Some(Prefill::PrefixField));
        assert_eq!(model.tiers[0][0].price, Some(Price { input_micro_usd: 1, output_micro_usd: 2 }));
        let base = meridian_types::provider::Deadlines::default();
        let deadlines = model.policy.deadlines.over(base);
        assert_eq!((deadlines.first_token, deadlines.idle), (Duration::from_secs(3), base.idle));
        message.deadlines = Some(wire::Deadlines { min_bytes_per_s: Some(u32::MAX), ..Default::default() });
        message.hedge = Some(wire::Hedge { budget_percent: Some(51), max_price_percent: Some(0) });
        let paths: Vec<_> = read(&message).mistakes.into_iter().map(|mistake| mistake.path).collect();
        assert_eq!(paths, ["deadlines.min_bytes_per_s", "hedge.budget_percent", "hedge.max_price_percent"]);
    }
}
