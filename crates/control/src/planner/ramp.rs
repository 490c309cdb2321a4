//! One step from the shares of now towards the target.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_types::{RegionName, Shares};

use super::{WHOLE, shares};

/// A voluntary move shifts at most this much in one step.
pub(crate) const STEP: u32 = 100;
/// A drain shifts this much: an operator waits for it, and resolvers' caches spread what moves over their TTL anyway.
pub(crate) const DRAIN_STEP: u32 = 250;
/// Steps are at least this far apart: with [`STEP`], a third of all traffic moves in about 2 s, which is much faster
/// than DNS caches follow and slow enough to be stopped.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// The next shares. Regions in `whole` get their target at once; of the rest at most `step` permille move.
pub(crate) fn towards(current: &Shares, target: &Shares, whole: &BTreeSet<RegionName>, step: u32) -> Shares {
    let names: BTreeSet<&RegionName> = current.keys().chain(target.keys()).collect();
    let free: Vec<&RegionName> = names.iter().copied().filter(|name| !whole.contains(*name)).collect();
    let fixed: u32 = names.iter().filter(|name| whole.contains(**name)).map(|name| shares::of(target, name)).sum();
    let room = f64::from(WHOLE.saturating_sub(fixed));

    // First the free regions take up what the forced moves leave or need, preferring moves towards their targets.
    let mut next: BTreeMap<RegionName, f64> =
        free.iter().map(|name| ((*name).clone(), f64::from(shares::of(current, name)))).collect();
    let gap = room - next.values().sum::<f64>();
    let wanted = |name: &RegionName, value: f64| {
        let difference = f64::from(shares::of(target, name)) - value;
        if gap >= 0.0 { difference.max(0.0) } else { (-difference).max(0.0) }
    };
    let wants: f64 = next.iter().map(|(name, value)| wanted(name, *value)).sum();
    if wants >= gap.abs() && wants > 0.0 {
        next.iter_mut().for_each(|(name, value)| *value += gap * wanted(name, *value) / wants);
    } else if gap != 0.0 {
        // More has to move than the targets ask for; only rounding leads here, since both add up to the whole.
        next.iter_mut().for_each(|(name, value)| *value = f64::from(shares::of(target, name)));
    }

    // Then at most one step of voluntary moves.
    let moving: f64 = next.iter().map(|(name, value)| (f64::from(shares::of(target, name)) - value).max(0.0)).sum();
    let part = if moving <= f64::from(step) { 1.0 } else { f64::from(step) / moving };
    for (name, value) in &mut next {
        *value += (f64::from(shares::of(target, name)) - *value) * part;
    }
    for name in whole {
        next.insert(name.clone(), f64::from(shares::of(target, name)));
    }
    shares::proportional(&next).unwrap_or_else(|| target.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(parts: &[(&str, u32)]) -> Shares {
        parts.iter().map(|(name, share)| (RegionName::new(name).unwrap(), *share)).collect()
    }

    #[test]
    fn voluntary_moves_step_and_forced_ones_jump() {
        type Parts<'a> = &'a [(&'a str, u32)];
        let check = |current: Parts, target: Parts, whole: &[&str], expected: Parts| {
            let whole = whole.iter().map(|name| RegionName::new(name).unwrap()).collect();
            assert_eq!(towards(&shares(current), &shares(target), &whole, 50), shares(expected));
        };
        // A drain ramps.
        check(
            &[("a", 400), ("b", 300), ("c", 300)],
            &[("b", 500), ("c", 500)],
            &[],
            &[("a", 350), ("b", 325), ("c", 325)],
        );
        // A death does not; what it leaves goes where the target wants it.
        check(&[("a", 400), ("b", 300), ("c", 300)], &[("b", 600), ("c", 400)], &["a"], &[("b", 600), ("c", 400)]);
        // A death in the middle of another move forces only its own part.
        check(&[("a", 400), ("b", 300), ("c", 300)], &[("b", 900), ("c", 100)], &["a"], &[("b", 750), ("c", 250)]);
        // The last step arrives exactly.
        check(&[("a", 30), ("b", 970)], &[("b", 1000)], &[], &[("b", 1000)]);
        // A newcomer takes its part at once.
        check(&[("a", 1000)], &[("a", 500), ("b", 500)], &["b"], &[("a", 500), ("b", 500)]);
    }

    fn any_shares() -> impl Strategy<Value = Shares> {
        proptest::collection::btree_map("[a-e]", 1u32..100, 1..5).prop_map(|parts| {
            let parts =
                parts.into_iter().map(|(name, part)| (RegionName::new(&name).unwrap(), f64::from(part))).collect();
            shares::proportional(&parts).unwrap()
        })
    }

    proptest! {
        #[test]
        fn every_step_adds_up_and_ends_at_the_target(
            start in any_shares(),
            target in any_shares(),
            whole in proptest::collection::btree_set("[a-e]", 0..3),
        ) {
            let whole: BTreeSet<_> = whole.iter().map(|name| RegionName::new(name).unwrap()).collect();
            let mut current = start;
            for _ in 0..=WHOLE / STEP + 2 {
                current = towards(&current, &target, &whole, STEP);
                prop_assert_eq!(current.values().sum::<u32>(), WHOLE);
                for name in &whole {
                    prop_assert!(shares::of(&current, name).abs_diff(shares::of(&target, name)) <= 1);
                }
            }
            prop_assert_eq!(current, target);
        }
    }
}
