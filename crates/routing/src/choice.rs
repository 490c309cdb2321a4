//! The order within one tier, by the model's policy.

use meridian_types::model::Choice;

use crate::table::Entry;
use crate::{Load, rendezvous, shuffle};

/// What an order may depend on.
pub(crate) struct Inputs<'a> {
    pub(crate) choice: Choice,
    /// What identifies the request's session.
    pub(crate) session: &'a dyn Fn() -> u64,
    /// What each target is doing.
    pub(crate) load: &'a dyn Fn(&Entry) -> Load,
}

/// Orders the targets of one tier. `random` gives uniform values in `[0, 1)`. Every target is kept once.
pub(crate) fn order<'a>(
    entries: Vec<&'a Entry>,
    inputs: &Inputs<'_>,
    random: &mut dyn FnMut() -> f64,
) -> Vec<&'a Entry> {
    match inputs.choice {
        Choice::Weighted => by_weight(entries, random),
        Choice::Fastest => fastest(by_weight(entries, random), inputs),
        Choice::Priority => entries,
        Choice::LowestCost => {
            // Sorting keeps the order of equals.
            let mut entries = by_weight(entries, random);
            entries.sort_by_key(|entry| cost(entry));
            entries
        }
        Choice::Session => {
            let named = entries.into_iter().map(|entry| (entry.weight, entry.target.to_string(), entry)).collect();
            rendezvous::order((inputs.session)(), named)
        }
    }
}

fn by_weight<'a>(entries: Vec<&'a Entry>, random: &mut dyn FnMut() -> f64) -> Vec<&'a Entry> {
    shuffle::shuffle(entries.into_iter().map(|entry| (entry.weight, entry)).collect(), random)
}

/// Without a price: last.
fn cost(entry: &Entry) -> u64 {
    entry.price.map_or(u64::MAX, |price| price.weighed())
}

/// Of the first two of a random order the better one comes first, and so on: two choices are nearly as good as all,
/// and a herd that looks at the same numbers is spread.
fn fastest<'a>(mut entries: Vec<&'a Entry>, inputs: &Inputs<'_>) -> Vec<&'a Entry> {
    let loads: Vec<Load> = entries.iter().map(|entry| (inputs.load)(entry)).collect();
    let mut costs: Vec<f64> =
        expected_ms(&loads).zip(&loads).map(|(ms, load)| ms.max(1.0) * (f64::from(load.in_flight) + 1.0)).collect();
    for place in 1..entries.len() {
        // What is used last stays last.
        let same_kind = |a: usize, b: usize| match (entries.get(a), entries.get(b)) {
            (Some(a), Some(b)) => (a.weight == 0) == (b.weight == 0),
            _ => false,
        };
        if same_kind(place - 1, place) && costs.get(place) < costs.get(place - 1) {
            entries.swap(place - 1, place);
            costs.swap(place - 1, place);
        }
    }
    entries
}

/// How long each may be expected to take. What is known of one fades with its age into the best that is known, so that one
/// slow answer is paid for by waiting and not for ever. A target of which nothing is known, or no more, counts as the mean
/// of the others: it is neither shunned nor overrun.
fn expected_ms(loads: &[Load]) -> impl Iterator<Item = f64> {
    let known = || loads.iter().filter_map(|load| load.pace).map(|pace| pace.ms);
    let count = known().count();
    let mean = if count == 0 { 1.0 } else { known().sum::<f64>() / count as f64 };
    let best = known().fold(f64::INFINITY, f64::min);
    loads.iter().map(move |load| load.pace.map_or(mean, |pace| best + (pace.ms - best) * pace.weight))
}

#[cfg(test)]
mod tests;
