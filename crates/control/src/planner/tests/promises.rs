//! Broken plans are told from good ones, and do not take their place.

use super::*;
use crate::planner::check::{Promise, again, broken, objection};

type Break = fn(&mut Plan);

fn shares(of: &[(&str, u32)]) -> meridian_types::Shares {
    of.iter().map(|(name, share)| (region(name), *share)).collect()
}

/// `eu` spills to `us`, `ap` is down, and `us` may not send to `ap`'s jurisdiction.
fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    fleet.set("eu", |eu| eu.demand = Some(100.0));
    fleet.set("us", |us| us.overflow = vec!["EU".parse().unwrap()]);
    fleet.state("ap", RegionState::Down);
    fleet.run(Duration::from_secs(10));
    fleet
}

fn found(fleet: &Fleet, change: Break) -> Option<(Promise, String)> {
    let mut plan = fleet.plan().clone();
    change(&mut plan);
    broken(&fleet.inputs, fleet.memory.origins(), &plan).map(|broken| (broken.promise, broken.what))
}

fn of<'p>(plan: &'p mut Plan, name: &str) -> &'p mut meridian_types::RegionPlan {
    plan.regions.get_mut(name).unwrap()
}

#[test]
fn each_broken_promise_is_found_and_named() {
    let fleet = fleet();
    assert_eq!(found(&fleet, |_| {}), None);
    let cases: [(Break, Promise, &str); 10] = [
        (|plan| plan.regions.clear(), Promise::Whole, "the plan names no region"),
        (|plan| of(plan, "us").weight += 1, Promise::Whole, "the weights add up to 1001, not to 1000"),
        (|plan| drop(plan.contingencies.remove("us")), Promise::Whole, "not every region has a contingency"),
        (
            |plan| of(plan, "us").placement = shares(&[("ap", 1000)]),
            Promise::Fence,
            "now, clients of us go to ap, where they may not",
        ),
        (
            |plan| {
                plan.contingencies
                    .get_mut("eu")
                    .unwrap()
                    .placements
                    .get_mut("us")
                    .unwrap()
                    .clone_from(&shares(&[("ap", 1000)]))
            },
            Promise::Fence,
            "without eu, clients of us go to ap, where they may not",
        ),
        (
            |plan| of(plan, "eu").placement = shares(&[("eu", 990), ("ap", 10)]),
            Promise::Closed,
            "now, clients of eu go to ap, which takes no traffic",
        ),
        (
            |plan| (of(plan, "us").weight, of(plan, "ap").weight) = (of(plan, "us").weight - 1, 1),
            Promise::Closed,
            "now, ap has a weight and takes no traffic",
        ),
        (
            |plan| plan.contingencies.get_mut("us").unwrap().weights = shares(&[("us", 1000)]),
            Promise::Closed,
            "without us, us has a weight and takes no traffic",
        ),
        (
            |plan| of(plan, "eu").settled.as_mut().unwrap().placement = shares(&[("eu", 1000)]),
            Promise::Room,
            "after the ramp, eu is to carry more than it should, and there is room elsewhere",
        ),
        (
            |plan| {
                let rows = &mut plan.contingencies.get_mut("ap").unwrap().placements;
                *rows.get_mut("eu").unwrap() = shares(&[("eu", 1000)]);
            },
            Promise::Room,
            "without ap, eu is to carry more than it should, and there is room elsewhere",
        ),
    ];
    for (change, promise, what) in cases {
        assert_eq!(found(&fleet, change), Some((promise, what.to_owned())));
    }
}

#[test]
fn what_does_not_fit_breaks_no_promise() {
    let mut fleet = fleet();
    fleet.set("eu", |eu| eu.overflow = vec!["EU".parse().unwrap()]);
    fleet.run(Duration::from_secs(40));
    assert!(fleet.reason("eu").contains("would be shed"), "{}", fleet.reason("eu"));
    assert_eq!(found(&fleet, |_| {}), None);
}

#[test]
fn a_broken_plan_does_not_take_the_place_of_a_good_one_and_a_lesser_evil_does_of_a_greater() {
    let mut fleet = fleet();
    let good = fleet.plan().clone();
    let with = |change: Break| {
        let mut plan = good.clone();
        change(&mut plan);
        plan
    };
    let overloads = with(|plan| of(plan, "eu").settled.as_mut().unwrap().placement = shares(&[("eu", 1000)]));
    let crosses = with(|plan| of(plan, "us").placement = shares(&[("ap", 1000)]));
    let refuses = |fleet: &Fleet, previous: Option<&Plan>, plan: &Plan| {
        objection(&fleet.inputs, fleet.memory.origins(), previous, plan).map(|broken| broken.promise)
    };
    assert_eq!(refuses(&fleet, Some(&good), &good), None);
    assert_eq!(refuses(&fleet, Some(&good), &overloads), Some(Promise::Room));
    assert_eq!(refuses(&fleet, Some(&overloads), &overloads), Some(Promise::Room));
    // No plan at all is worse than too much load in one place, and than nothing else.
    assert_eq!(refuses(&fleet, None, &overloads), None);
    assert_eq!(refuses(&fleet, None, &crosses), Some(Promise::Fence));
    // So is one that sends clients to the dead; but nothing excuses a crossed fence.
    let before = with(|plan| of(plan, "eu").placement = shares(&[("ap", 1000)]));
    assert_eq!(refuses(&fleet, Some(&before), &overloads), None);
    assert_eq!(refuses(&fleet, Some(&before), &crosses), Some(Promise::Fence));

    // What stays is told under a number of its own.
    let why = broken(&fleet.inputs, fleet.memory.origins(), &overloads).unwrap();
    fleet.inputs.replica = "cp-2".to_owned();
    let stays = again(&fleet.inputs, &good, &why);
    assert_eq!((stays.id.number, stays.made_by.as_str()), (good.id.number + 1, "cp-2"));
    assert_eq!((&stays.regions, &stays.contingencies), (&good.regions, &good.contingencies));
    assert_eq!(
        stays.reason,
        "the plan before stays: the next one would break a promise: after the ramp, eu is to carry more than it should, \
         and there is room elsewhere"
    );
}
