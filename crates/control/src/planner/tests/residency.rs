//! Where load may go, and that it does not all go to one place by accident.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::properties::{config, regions, start};
use super::*;
use crate::planner::base;

/// `eu` and `us` are full neighbours; `pl` is farther from `eu` than `us` would be, were it not for the borders.
fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    let mut far = fleet.inputs.regions[&region("us")].clone();
    far.coordinates = Coordinates::new(-40.0, 170.0).unwrap();
    far.jurisdiction = "EU".parse().unwrap();
    fleet.inputs.regions.insert(region("pl"), far);
    fleet.inputs.regions.retain(|name, _| name.as_str() != "ap");
    start(fleet.inputs.regions)
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn load_goes_to_its_own_jurisdiction_first_however_far() {
    let mut fleet = fleet();
    fleet.run(LONG);
    fleet.set("eu", |eu| eu.demand = Some(100.0));
    fleet.run(LONG);
    assert_eq!(fleet.placement("eu"), [("eu", 850), ("pl", 150)]);
    // With no room left there, it crosses the border.
    fleet.set("pl", |pl| pl.demand = Some(85.0));
    fleet.set("eu", |eu| eu.demand = Some(110.0));
    fleet.run(LONG * 3);
    assert!(fleet.placement("eu").iter().any(|(to, _)| *to == "us"), "{:?}", fleet.placement("eu"));
}

#[test]
fn a_fenced_region_sheds_before_its_load_leaves_the_jurisdictions_that_it_names() {
    let mut fleet = fleet();
    fleet.set("eu", |eu| eu.overflow = vec!["EU".parse().unwrap()]);
    fleet.run(LONG);
    fleet.state("pl", RegionState::Down);
    fleet.set("eu", |eu| eu.demand = Some(150.0));
    fleet.run(LONG);
    assert_eq!(fleet.placement("eu"), [("eu", 1000)]);
    assert!(fleet.reason("eu").contains("would be shed"), "{}", fleet.reason("eu"));
    // Down with nowhere to go: its clients stay where they are told so.
    fleet.state("eu", RegionState::Down);
    fleet.run(LONG);
    assert_eq!(fleet.placement("eu"), [("eu", 1000)]);
    assert_eq!(fleet.plan().regions[&region("eu")].weight, 0);
    assert_eq!(fleet.plan().regions[&region("us")].weight, 1000);
    // A jurisdiction more, and it goes there.
    fleet.set("eu", |eu| eu.overflow.push("US".parse().unwrap()));
    fleet.set("eu", |eu| eu.reason = "may use US".to_owned());
    fleet.run(LONG * 2);
    assert_eq!(fleet.placement("eu"), [("us", 1000)]);
}

#[test]
fn a_fence_holds_from_the_next_plan_on() {
    let mut fleet = fleet();
    fleet.state("pl", RegionState::Down);
    fleet.set("eu", |eu| eu.demand = Some(150.0));
    fleet.run(LONG);
    assert!(fleet.placement("eu").iter().any(|(to, _)| *to == "us"), "{:?}", fleet.placement("eu"));
    fleet.set("eu", |eu| eu.overflow = vec!["EU".parse().unwrap()]);
    fleet.run(Duration::from_millis(200));
    assert_eq!(fleet.placement("eu"), [("eu", 1000)]);
}

#[test]
fn room_that_only_a_fenced_region_may_use_is_not_taken_by_one_that_may_go_elsewhere() {
    let mut fleet = fleet();
    // `aa` is as near to `pl` as can be and free to go; `eu` may go to `pl` alone, in another jurisdiction.
    let mut near = fleet.inputs.regions[&region("pl")].clone();
    (near.jurisdiction, near.demand) = ("NZ".parse().unwrap(), Some(135.0));
    fleet.inputs.regions.insert(region("aa"), near);
    fleet.set("pl", |pl| (pl.jurisdiction, pl.demand) = ("PL".parse().unwrap(), Some(35.0)));
    fleet.set("eu", |eu| (eu.overflow, eu.demand) = (vec!["PL".parse().unwrap()], Some(135.0)));
    let mut fleet = start(fleet.inputs.regions);
    fleet.run(LONG);
    assert_eq!(fleet.placement("eu"), [("eu", 630), ("pl", 370)]);
    assert!(!fleet.reason("eu").contains("shed"), "{}", fleet.reason("eu"));
}

#[test]
fn in_a_panic_a_closed_region_goes_to_where_it_may_though_nothing_is_declared_there() {
    let mut fleet = fleet();
    fleet.set("us", |us| (us.jurisdiction, us.weight, us.capacity) = ("EU".parse().unwrap(), 0, 1));
    fleet.set("pl", |pl| (pl.jurisdiction, pl.capacity) = ("PL".parse().unwrap(), 1));
    fleet.set("eu", |eu| (eu.overflow, eu.demand) = (vec!["EU".parse().unwrap()], Some(100.0)));
    fleet.state("eu", RegionState::Down);
    fleet.run(LONG);
    assert!(fleet.reason("us").contains("panic"), "{}", fleet.reason("us"));
    assert_eq!(fleet.placement("eu"), [("us", 1000)]);
}

#[test]
fn a_plan_names_two_regions_unless_somebody_said_otherwise() {
    let weights = |change: fn(&mut RegionInput)| {
        let mut fleet = Fleet::new();
        fleet.inputs.regions.retain(|name, _| name.as_str() != "ap");
        let mut fleet = start(fleet.inputs.regions);
        fleet.set("us", |us| (us.capacity, us.demand) = (10_000, Some(1.0)));
        fleet.set("eu", change);
        fleet.run(LONG * 3);
        fleet.weights()
    };
    // So small a region would be left with no share at all.
    assert_eq!(weights(|eu| (eu.capacity, eu.demand) = (1, Some(4_000.0))), [1, 999]);
    assert_eq!(weights(|eu| eu.weight = 0), [0, 1000]);
    assert_eq!(weights(|eu| eu.state = RegionState::Drained), [0, 1000]);
    assert_eq!(weights(|eu| eu.state = RegionState::Down), [0, 1000]);
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn no_share_of_a_fenced_region_crosses_its_fence(
        regions in regions(),
        fenced in proptest::collection::vec(any::<bool>(), 6),
    ) {
        let mut fleet = start(regions);
        for (region, fenced) in fleet.inputs.regions.values_mut().zip(fenced) {
            region.overflow = if fenced { vec![region.jurisdiction.clone()] } else { Vec::new() };
        }
        let rehearsed = crate::planner::target::settle(
            &fleet.inputs,
            &fleet.inputs.regions.iter().map(|(name, region)| (name.clone(), region.demand.unwrap_or(0.0))).collect(),
            &BTreeMap::new(),
            None,
        );
        let open: BTreeSet<_> = base::open(&fleet.inputs.regions).unwrap_or_default();
        for (origin, row) in &rehearsed.rows {
            prop_assert_eq!(row.values().sum::<u32>(), 1000);
            let from = &fleet.inputs.regions[origin];
            for to in row.keys() {
                prop_assert!(from.may_use(&fleet.inputs.regions[to]), "{} to {}", origin, to);
                let allowed = open.iter().any(|name| from.may_use(&fleet.inputs.regions[name]));
                prop_assert!(open.is_empty() || open.contains(to) || (to == origin && !allowed), "{} to {}", origin, to);
            }
        }
    }

    #[test]
    fn all_traffic_hangs_on_one_region_only_where_no_other_is_meant_to_have_any(regions in regions()) {
        let fleet = start(regions);
        let Some(open) = base::open(&fleet.inputs.regions) else { return Ok(()) };
        let rehearsed = rehearse(&fleet.inputs, None, &[]);
        let meant = open.iter().filter(|name| fleet.inputs.regions[*name].weight > 0).count();
        let named = rehearsed.regions.values().filter(|region| region.weight > 0).count();
        prop_assert!(named >= meant.min(2), "{} of {}", named, meant);
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn every_plan_of_a_fenced_history_keeps_every_promise(
        history in proptest::collection::vec((regions(), proptest::collection::vec(0u8..4, 6), 1u32..30), 1..4),
    ) {
        let mut fleet = start(history[0].0.clone());
        for (regions, fences, ticks) in history {
            fleet.inputs.regions = regions;
            for (region, fence) in fleet.inputs.regions.values_mut().zip(fences) {
                let areas = ["US", "EU"].into_iter().enumerate().filter(|(at, _)| fence & (1 << at) != 0);
                region.overflow = areas.map(|(_, area)| area.parse().unwrap()).collect();
            }
            // `run` holds every plan to every promise.
            fleet.run(Duration::from_millis(200) * ticks);
        }
    }
}
