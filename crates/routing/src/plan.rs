//! Candidate planning: which targets a request may try, in order.

use std::collections::BTreeSet;
use std::time::Duration;

use meridian_types::{Jurisdiction, ModelName};

use crate::table::Entry;
use crate::{Constraints, Table, TargetId, choice};

/// Whether a target would be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It would.
    Available,
    /// It failed or is under pressure, and is left alone for that much longer.
    Cooling(Duration),
    /// It has itself named the time for which it is to be left alone; that much is left.
    Resting(Duration),
}

/// One target to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub target: TargetId,
    /// The public model it serves here: the one asked for, or a fallback.
    pub model: ModelName,
    /// It cools down, and is tried only because every other one does too.
    pub last_resort: bool,
    /// It has asked to be left alone for longer.
    pub asked_for_rest: bool,
}

/// Why nothing may be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such model, or not for this caller. One text for both: names are not to be guessed.
    #[error("the model does not exist or you do not have access to it")]
    ModelNotFound,
    /// The model exists, but none of its places is allowed.
    #[error("no target of the model lies in an allowed jurisdiction: it is served in {served}; allowed: {allowed}")]
    Residency {
        /// Where its targets are.
        served: String,
        /// Where the caller's data may go.
        allowed: String,
    },
}

impl Table {
    /// Every target that may serve the request, in the order in which to try them: the model's tiers, then those of
    /// its fallbacks; within a tier at random by weight. Targets that cool down are left out; if all do, the one that
    /// is nearest to its end stands alone, so that a total outage does not multiply attempts.
    ///
    /// # Errors
    /// When the model is unknown or not allowed, or residency leaves no target.
    pub fn plan(
        &self,
        model: &str,
        constraints: &Constraints,
        availability: &dyn Fn(&TargetId) -> Availability,
        random: &mut dyn FnMut() -> f64,
    ) -> Result<Vec<Candidate>, Refusal> {
        let known = self.routes.get_key_value(model).filter(|(name, _)| constraints.allows_model(name));
        if known.is_none() {
            return Err(Refusal::ModelNotFound);
        }
        let mut served = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut ready = Vec::new();
        let mut cooling: Option<(Duration, Candidate)> = None;
        for (name, route) in self.chain(model, constraints) {
            for tier in &route.tiers {
                let allowed = tier.iter().filter(|entry| {
                    served.insert(&entry.jurisdiction);
                    constraints.allows_jurisdiction(&entry.jurisdiction)
                });
                let weighted = allowed.map(|entry| (entry.weight, entry)).collect();
                for Entry { target, .. } in choice::shuffle(weighted, random) {
                    if !seen.insert(target) {
                        continue;
                    }
                    let candidate = |last_resort, asked_for_rest| Candidate {
                        target: target.clone(),
                        model: name.clone(),
                        last_resort,
                        asked_for_rest,
                    };
                    let (left, asked) = match availability(target) {
                        Availability::Available => {
                            ready.push(candidate(false, false));
                            continue;
                        }
                        Availability::Cooling(left) => (left, false),
                        Availability::Resting(left) => (left, true),
                    };
                    if cooling.as_ref().is_none_or(|(least, _)| left < *least) {
                        cooling = Some((left, candidate(true, asked)));
                    }
                }
            }
        }
        if ready.is_empty() {
            ready.extend(cooling.map(|(_, candidate)| candidate));
        }
        if ready.is_empty() {
            return Err(Refusal::Residency { served: list(served), allowed: allowed(constraints) });
        }
        Ok(ready)
    }
}

fn allowed(constraints: &Constraints) -> String {
    constraints.jurisdictions().map_or_else(|| "anywhere".to_owned(), list)
}

fn list<'a>(places: impl IntoIterator<Item = &'a Jurisdiction>) -> String {
    let names: Vec<_> = places.into_iter().map(Jurisdiction::as_str).collect();
    if names.is_empty() { "nowhere".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests;
