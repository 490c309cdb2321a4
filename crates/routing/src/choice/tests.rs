//! The order that each policy makes of a tier.

use std::collections::BTreeMap;

use meridian_types::model::Price;
use proptest::prelude::*;

use super::*;
use crate::TargetId;

fn entry(name: &str, weight: u32, price: Option<(u64, u64)>) -> Entry {
    Entry {
        target: TargetId { provider: name.parse().unwrap(), model: "m".parse().unwrap() },
        weight,
        jurisdiction: "US".parse().unwrap(),
        price: price.map(|(input, output)| Price { input_micro_usd: input, output_micro_usd: output }),
        prefill: None,
    }
}

/// SplitMix64: enough for counting.
fn generator(mut state: u64) -> impl FnMut() -> f64 {
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((z ^ (z >> 27)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How often each target comes first in 1000 orders, in parts of a thousand.
fn firsts(entries: &[Entry], choice: Choice, loads: &BTreeMap<&str, Load>, seed: u64) -> BTreeMap<String, u32> {
    let load = |entry: &Entry| loads.get(entry.target.provider.as_str()).copied().unwrap_or_default();
    let mut random = generator(seed);
    let mut counts = BTreeMap::new();
    for session in 0..1000 {
        let inputs = Inputs { choice, session: &|| session, load: &load };
        let first = order(entries.iter().collect(), &inputs, &mut random)[0];
        *counts.entry(first.target.provider.to_string()).or_default() += 1;
    }
    counts
}

fn load(first_token_ms: u32, in_flight: u32) -> Load {
    Load { first_token_ms: (first_token_ms > 0).then(|| f64::from(first_token_ms)), in_flight }
}

#[test]
fn priority_is_the_listed_order_and_weights_count_for_nothing() {
    let entries = [entry("a", 0, None), entry("b", 1000, None)];
    assert_eq!(firsts(&entries, Choice::Priority, &BTreeMap::new(), 1)["a"], 1000);
}

#[test]
fn the_cheaper_comes_first_equal_prices_share_and_unpriced_ones_come_last() {
    let entries = [
        entry("none", 100, None),
        entry("dear", 100, Some((9, 9))),
        entry("a", 100, Some((1, 3))),
        entry("b", 100, Some((2, 0))),
    ];
    let counts = firsts(&entries, Choice::LowestCost, &BTreeMap::new(), 1);
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["a", "b"], "3 + 3 = 6 + 0");
    assert!((400..600).contains(&counts["a"]), "{counts:?}");
}

#[test]
fn of_two_the_faster_and_less_busy_comes_first() {
    let entries = [entry("a", 100, None), entry("b", 100, None)];
    for (a, b, first) in
        [(load(100, 0), load(300, 0), "a"), (load(100, 9), load(300, 1), "b"), (load(200, 0), load(200, 3), "a")]
    {
        let counts = firsts(&entries, Choice::Fastest, &BTreeMap::from([("a", a), ("b", b)]), 1);
        assert_eq!(counts, BTreeMap::from([(first.to_owned(), 1000)]));
    }
}

#[test]
fn a_cold_target_gets_its_share_and_no_herd() {
    let entries = [entry("cold", 100, None), entry("fast", 100, None), entry("slow", 100, None)];
    let loads = BTreeMap::from([("cold", load(0, 0)), ("fast", load(100, 0)), ("slow", load(900, 0))]);
    let counts = firsts(&entries, Choice::Fastest, &loads, 1);
    assert!((250..420).contains(&counts["cold"]), "between the fast and the slow one: {counts:?}");
    let busy = BTreeMap::from([("cold", load(0, 4)), ("fast", load(100, 0)), ("slow", load(900, 0))]);
    assert!(firsts(&entries, Choice::Fastest, &busy, 1).get("cold").is_none_or(|count| *count < 50));
}

#[test]
fn a_session_keeps_its_target_and_sessions_spread_by_weight() {
    let entries = [entry("a", 300, None), entry("b", 100, None)];
    let once = firsts(&entries, Choice::Session, &BTreeMap::new(), 1);
    assert_eq!(once, firsts(&entries, Choice::Session, &BTreeMap::new(), 2), "chance has no part in it");
    assert!((700..800).contains(&once["a"]), "{once:?}");
}

proptest! {
    #[test]
    fn whatever_the_policy_every_target_is_kept_once_and_weight_zero_is_last_by_chance(
        weights in prop::collection::vec(0u32..3, 0..10),
        choice in prop::sample::select(vec![
            Choice::Weighted, Choice::Fastest, Choice::Priority, Choice::LowestCost, Choice::Session,
        ]),
        seed in any::<u64>(),
    ) {
        let entries: Vec<_> = weights.iter().enumerate().map(|(i, weight)| entry(&format!("p{i}"), *weight, None)).collect();
        let load = |entry: &Entry| load(entry.weight + 1, seed as u32 % 7);
        let inputs = Inputs { choice, session: &|| seed, load: &load };
        let out = order(entries.iter().collect(), &inputs, &mut generator(seed));
        let mut names: Vec<_> = out.iter().map(|entry| entry.target.clone()).collect();
        names.sort_unstable();
        let mut all: Vec<_> = entries.iter().map(|entry| entry.target.clone()).collect();
        all.sort_unstable();
        prop_assert_eq!(names, all);
        if choice != Choice::Priority {
            let first_zero = out.iter().position(|entry| entry.weight == 0).unwrap_or(out.len());
            prop_assert!(out[first_zero..].iter().all(|entry| entry.weight == 0));
        }
    }
}
