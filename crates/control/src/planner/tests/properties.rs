//! What holds for every topology, demand and failure.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::planner::{shares, waterfall};

fn states() -> impl Strategy<Value = RegionState> {
    prop_oneof![
        4 => Just(RegionState::Serving),
        1 => Just(RegionState::Drained),
        1 => Just(RegionState::Down),
        1 => Just(RegionState::Empty),
    ]
}

prop_compose! {
    fn input()(
        latitude in -80.0..80.0f64,
        longitude in -179.0..179.0f64,
        weight in 0u32..300,
        state in states(),
        capacity in 1u32..200,
        demand in proptest::option::of(0.0..150.0f64),
        first_token_ms in proptest::option::of(1.0..3000.0f64),
        jurisdiction in prop_oneof![Just("US"), Just("EU")],
    ) -> RegionInput {
        let coordinates = Coordinates::new(latitude, longitude).unwrap();
        let addresses = vec!["192.0.2.1".parse().unwrap()];
        RegionInput {
            coordinates, jurisdiction: jurisdiction.parse().unwrap(), overflow: Vec::new(),
            weight, state, stops: false, reason: state.as_str().to_owned(), addresses, capacity, demand,
            first_token_ms,
        }
    }
}

pub(super) fn regions() -> impl Strategy<Value = BTreeMap<RegionName, RegionInput>> {
    proptest::collection::btree_map("[a-f]", input(), 1..6)
        .prop_map(|map| map.into_iter().map(|(name, input)| (region(&name), input)).collect())
}

pub(super) fn start(regions: BTreeMap<RegionName, RegionInput>) -> Fleet {
    let mut fleet = Fleet::new();
    fleet.inputs.regions = regions;
    fleet.memory = Memory::resume(None, &fleet.inputs);
    fleet.plan = None;
    fleet
}

/// So many cases, or `PROPTEST_CASES` if these are more. Not the default's own number, which is 256 where nobody asked.
pub(super) fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: cases.max(asked.unwrap_or(0)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn plans_are_whole_and_closed_regions_end_with_nothing(history in proptest::collection::vec(regions(), 1..5)) {
        let mut fleet = start(history[0].clone());
        for regions in history {
            fleet.inputs.regions = regions;
            // `run` holds every plan to every promise.
            fleet.run(Duration::from_secs(15));
            let plan = fleet.plan();
            prop_assert_eq!(plan.regions.len(), fleet.inputs.regions.len());
            let best = [RegionState::Serving, RegionState::Drained]
                .into_iter()
                .find(|state| plan.regions.values().any(|region| region.state == *state));
            let Some(best) = best else { continue };
            for (name, region) in plan.regions.iter().filter(|(_, region)| region.state != best) {
                prop_assert_eq!(region.weight, 0);
                for other in plan.regions.values() {
                    prop_assert_eq!(shares::of(&other.placement, name), 0);
                }
            }
        }
    }

    #[test]
    fn the_dead_get_nothing_from_the_very_next_plan(before in regions(), dead in any::<prop::sample::Index>()) {
        let mut fleet = start(before);
        fleet.run(Duration::from_secs(15));
        let names: Vec<_> = fleet.inputs.regions.keys().cloned().collect();
        let name = dead.get(&names).clone();
        fleet.state(name.as_str(), RegionState::Down);
        fleet.run(Duration::from_millis(200));
        let lives = |region: &RegionInput| matches!(region.state, RegionState::Serving | RegionState::Drained);
        if fleet.inputs.regions.values().any(lives) {
            prop_assert_eq!(fleet.plan().regions[&name].weight, 0);
        }
    }

    #[test]
    fn what_fits_is_planned_within_the_room_of_every_region(
        regions in regions(),
        demand in proptest::collection::vec(0.0..150.0f64, 6),
        penalties in proptest::collection::vec(prop_oneof![Just(0.0), Just(0.25), Just(0.5)], 6),
    ) {
        let open: BTreeSet<_> = regions.keys().take(regions.len().div_ceil(2)).cloned().collect();
        let of = |values: &[f64]| -> BTreeMap<RegionName, f64> {
            regions.keys().cloned().zip(values.iter().copied()).collect()
        };
        let placed = waterfall::place(&regions, &open, &of(&demand), &of(&penalties));
        let room: f64 = open.iter().map(|name| regions[name].room()).sum();
        // Every region counts for at least a hundredth of a request.
        let total: f64 = of(&demand).values().map(|demand| demand.max(0.01)).sum();
        let mut load: BTreeMap<&RegionName, f64> = BTreeMap::new();
        for (origin, row) in &placed.rows {
            let sum: f64 = row.values().sum();
            prop_assert!((sum - of(&demand)[origin].max(0.01)).abs() < 1e-6);
            for (to, part) in row {
                prop_assert!(open.contains(to));
                *load.entry(to).or_default() += part;
            }
        }
        if total <= room - 0.1 {
            prop_assert_eq!(placed.shed, 0.0);
            for (name, load) in load {
                prop_assert!(load <= regions[name].room() + 0.1, "{name}: {load}");
            }
        }
    }

    #[test]
    fn moves_are_minimal(regions in regions(), seed in any::<prop::sample::Index>()) {
        // A death changes only what pointed at the dead, when nothing else has to move.
        let mut regions = regions;
        for region in regions.values_mut() {
            region.state = RegionState::Serving;
            (region.demand, region.first_token_ms, region.capacity) = (Some(1.0), None, 200);
        }
        let mut fleet = start(regions);
        fleet.run(Duration::from_secs(15));
        let before = fleet.plan().clone();
        let names: Vec<_> = before.regions.keys().cloned().collect();
        let dead = seed.get(&names).clone();
        fleet.state(dead.as_str(), RegionState::Down);
        fleet.run(Duration::from_secs(15));
        for (name, region) in fleet.plan().regions.iter().filter(|(name, _)| **name != dead && names.len() > 1) {
            prop_assert_eq!(&region.placement, &before.regions[name].placement);
            prop_assert!(region.weight + 1 >= before.regions[name].weight);
        }
    }
}
