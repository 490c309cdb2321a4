//! Models.

use std::collections::BTreeSet;

use meridian_types::model::Target;
use meridian_types::region::{DEFAULT_WEIGHT, MAX_WEIGHT};
use meridian_types::{ErrorCode, Kind, Mistake, Model, ModelName};

use super::reader::Reader;
use crate::resources::v1 as wire;

/// Tiers, targets in a tier, and fallbacks at most: a request tries a handful, a longer list is a slip.
const MAX_LIST: usize = 32;

/// Checks a model.
pub fn model(message: &wire::Model) -> Result<Model, Vec<Mistake>> {
    let mut reader = Reader::new(Kind::Model, &message.name);
    let name: Option<ModelName> = reader.text("name", &message.name);
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
        fallbacks.extend(reader.text::<ModelName>(&format!("fallbacks[{i}]"), fallback));
    }
    reader.finish(name.map(|name| Model { name, tiers, fallbacks }))
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
        let provider = reader.text(&format!("{path}.provider"), &target.provider);
        let upstream = match target.model.as_str() {
            "" => model.cloned(),
            text => reader.text(&format!("{path}.model"), text),
        };
        let weight = target.weight.unwrap_or(DEFAULT_WEIGHT);
        let weight = reader.in_range(&format!("{path}.weight"), weight, 0..=MAX_WEIGHT);
        let Some((provider, model)) = provider.zip(upstream) else { continue };
        let target = Target { provider, model, weight };
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
