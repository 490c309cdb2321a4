//! Candidate planning: which targets a request may try, in order.

use std::collections::BTreeSet;
use std::time::Duration;

use meridian_types::model::{Prefill, Price};
use meridian_types::{Jurisdiction, ModelName};

use crate::availability::readmitted;
use crate::table::Entry;
use crate::{Availability, Cause, Constraints, Health, Table, TargetId, choice};

/// One target to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub target: TargetId,
    /// The public model it serves here: the one asked for, or a fallback.
    pub model: ModelName,
    /// It cools down, and is tried because too many others do too: breakers do not hold it back.
    pub last_resort: bool,
    /// How it is told to go on with an answer that has begun; `None`: as its codec's API does.
    pub prefill: Option<Prefill>,
    /// What it charges, if that is known.
    pub price: Option<Price>,
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
    /// its fallbacks; within a tier as the model's choice says, `session` giving what identifies the session. Targets that
    /// cool down are left out; if all do, the one that is nearest to its end stands alone, so that a total outage does not
    /// multiply attempts. Of those that are coming back some stand last, each request drawing its lot. Targets that are
    /// switched off, or have asked to be left alone, are as if they were not there; with nobody else the list is empty.
    ///
    /// # Errors
    /// When the model is unknown or not allowed, or residency leaves no target.
    pub fn plan(
        &self,
        model: &str,
        constraints: &Constraints,
        health: &dyn Fn(&TargetId) -> Health,
        session: &dyn Fn() -> u64,
        random: &mut dyn FnMut() -> f64,
    ) -> Result<Vec<Candidate>, Refusal> {
        let known = self.routes.get_key_value(model).filter(|(name, _)| constraints.allows_model(name));
        if known.is_none() {
            return Err(Refusal::ModelNotFound);
        }
        let mut served = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let (mut ready, mut later) = (Vec::new(), Vec::new());
        let mut cooling: Option<(Duration, Candidate)> = None;
        let mut some_are_out = false;
        for (name, route) in self.chain(model, constraints) {
            let mut ordered = Vec::new();
            for tier in &route.tiers {
                let allowed = tier.iter().filter(|entry| {
                    served.insert(&entry.jurisdiction);
                    constraints.allows_jurisdiction(&entry.jurisdiction)
                });
                let load = |entry: &Entry| health(&entry.target).load;
                let inputs = choice::Inputs { choice: route.choice, session, load: &load };
                let tier = choice::order(allowed.collect(), &inputs, random);
                ordered.extend(tier.into_iter().filter(|entry| seen.insert(&entry.target)));
            }
            let (mut asked, mut health_of) = (Vec::new(), Vec::new());
            for entry in ordered {
                let health = health(&entry.target);
                some_are_out |= health.is_off;
                if !health.is_off {
                    asked.push(entry);
                    health_of.push(health.availability);
                }
            }
            let back = readmitted(&health_of);
            for (place, (entry, health)) in asked.into_iter().zip(health_of).enumerate() {
                let candidate = |last_resort| Candidate {
                    target: entry.target.clone(),
                    model: name.clone(),
                    last_resort,
                    prefill: entry.prefill,
                    price: entry.price,
                };
                match health {
                    Availability::Available => ready.push(candidate(false)),
                    Availability::Ramping(share) if random() < share => ready.push(candidate(false)),
                    Availability::Ramping(_) => later.push(candidate(false)),
                    Availability::Cooling(..) if back.contains(&place) => ready.push(candidate(true)),
                    Availability::Cooling(_, Cause::Asked) => some_are_out = true,
                    Availability::Cooling(left, _) => {
                        if cooling.as_ref().is_none_or(|(least, _)| left < *least) {
                            cooling = Some((left, candidate(true)));
                        }
                    }
                }
            }
        }
        ready.append(&mut later);
        if ready.is_empty() {
            ready.extend(cooling.map(|(_, candidate)| candidate));
        }
        if ready.is_empty() && !some_are_out {
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
