//! A region whose first token comes far later than elsewhere gives up part of its share.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_types::RegionName;

use super::flaps::Flaps;
use super::{Inputs, inputs::RegionInput};

/// A region is slow from this multiple of the others' median ...
const SLOW_RATIO: f64 = 2.0;
/// ... and very slow from this one.
const VERY_SLOW_RATIO: f64 = 4.0;
/// Below this difference nobody notices; ratios of small numbers are noise.
const SLOW_EXTRA_MS: f64 = 200.0;
/// A slow region is well again below this multiple ...
const WELL_RATIO: f64 = 1.5;
/// ... or this difference.
const WELL_EXTRA_MS: f64 = 100.0;
/// A penalty is not lowered earlier, and later for a region that goes back and forth: it is faster *because* it lost
/// load.
const DWELL: Duration = Duration::from_secs(10);
/// What a slow region gives up, and a very slow one: never more than half, since the others may follow.
const SLOW_PENALTY: f64 = 0.25;
const VERY_SLOW_PENALTY: f64 = 0.5;

/// What a region gives up, and since when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Penalty {
    /// Part of its own demand.
    pub(crate) part: f64,
    /// Monotonic.
    pub(crate) since: Duration,
    /// For people, as it was when the penalty began.
    pub(crate) reason: String,
}

/// The penalties that hold now.
pub(crate) fn assess(
    held: &BTreeMap<RegionName, Penalty>,
    inputs: &Inputs,
    flaps: &Flaps,
) -> BTreeMap<RegionName, Penalty> {
    let now = inputs.now.monotonic;
    let mut penalties = BTreeMap::new();
    for (name, region) in inputs.regions.iter().filter(|(_, region)| region.state.takes_traffic()) {
        let before = held.get(name);
        let dwell = flaps.dwell(name, DWELL, now);
        let assessed = match (region.first_token_ms, others(inputs, name)) {
            (Some(own), Some(others)) => step(before, own, others, now, dwell),
            // Nothing to compare with any more: after the dwell it is tried again.
            _ => before.filter(|penalty| !is_over(penalty, now, dwell)).cloned(),
        };
        penalties.extend(assessed.map(|penalty| (name.clone(), penalty)));
    }
    penalties
}

fn step(before: Option<&Penalty>, own: f64, others: f64, now: Duration, dwell: Duration) -> Option<Penalty> {
    let (ratio, extra) = (own / others.max(1.0), own - others);
    let part = match () {
        () if extra <= SLOW_EXTRA_MS || ratio <= SLOW_RATIO => 0.0,
        () if ratio <= VERY_SLOW_RATIO => SLOW_PENALTY,
        () => VERY_SLOW_PENALTY,
    };
    let held = before.map_or(0.0, |penalty| penalty.part);
    if part > held {
        let reason = format!("first token {own:.0} ms, elsewhere {others:.0} ms");
        return Some(Penalty { part, since: now, reason });
    }
    let well = ratio < WELL_RATIO || extra < WELL_EXTRA_MS;
    before.filter(|penalty| !(well && is_over(penalty, now, dwell))).cloned()
}

fn is_over(penalty: &Penalty, now: Duration, dwell: Duration) -> bool {
    now.saturating_sub(penalty.since) >= dwell
}

/// Median of the other serving regions (the lower one of two).
fn others(inputs: &Inputs, name: &RegionName) -> Option<f64> {
    let serving = |(other, region): (&RegionName, &RegionInput)| {
        (other != name && region.state.takes_traffic()).then_some(region.first_token_ms).flatten()
    };
    let mut values: Vec<f64> = inputs.regions.iter().filter_map(serving).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_penalty_comes_at_once_and_goes_after_the_dwell() {
        let seconds = Duration::from_secs;
        let mut held = None;
        // (second, own first token, others', expected part)
        for (second, own, others, expected) in [
            (0, 300.0, 150.0, 0.0),
            (1, 390.0, 150.0, 0.25),
            (2, 250.0, 150.0, 0.25),
            (3, 2000.0, 150.0, 0.5),
            (4, 150.0, 150.0, 0.5),
            (12, 150.0, 150.0, 0.5),
            (13, 240.0, 100.0, 0.5),
            (14, 150.0, 150.0, 0.0),
            // Small numbers are noise.
            (15, 90.0, 10.0, 0.0),
        ] {
            held = step(held.as_ref(), own, others, seconds(second), DWELL);
            assert_eq!(held.as_ref().map_or(0.0, |penalty: &Penalty| penalty.part), expected, "second {second}");
        }
    }
}
