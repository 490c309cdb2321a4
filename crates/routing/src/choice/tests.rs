//! The order that each policy makes of a tier.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_types::model::Price;
use proptest::prelude::*;

use super::*;
use crate::{Pace, PeakEwma, TargetId};

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

/// Sampled just now, or never.
fn load(ms: u32, in_flight: u32) -> Load {
    Load { pace: (ms > 0).then(|| Pace { ms: f64::from(ms), weight: 1.0 }), in_flight }
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

/// What is known of a target whose only sample, in milliseconds, is so old.
fn sampled(ms: u64, ago: Duration, in_flight: u32) -> Load {
    let mut average = PeakEwma::default();
    average.observe(Duration::from_millis(ms), Duration::ZERO);
    Load { pace: average.pace(ago), in_flight }
}

#[test]
fn one_slow_answer_is_paid_for_by_less_and_less_and_a_minute_later_both_share() {
    let entries = [entry("a", 100, None), entry("b", 100, None)];
    // Since the slow answer of `b`, how many requests in flight at `a` make `b` the better one.
    for (seconds, enough) in [(0, 100), (10, 37), (20, 14), (29, 6)] {
        for (in_flight, first) in [(enough - 2, "a"), (enough + 1, "b")] {
            let a = load(200, in_flight);
            let b = sampled(20_000, Duration::from_secs(seconds), 0);
            let counts = firsts(&entries, Choice::Fastest, &BTreeMap::from([("a", a), ("b", b)]), 1);
            assert_eq!(counts, BTreeMap::from([(first.to_owned(), 1000)]), "{seconds} {in_flight}");
        }
    }
    let a_minute = sampled(20_000, Duration::from_secs(60), 0);
    let counts = firsts(&entries, Choice::Fastest, &BTreeMap::from([("a", load(200, 0)), ("b", a_minute)]), 1);
    assert!((450..550).contains(&counts["a"]), "{counts:?}");
}

#[test]
fn what_comes_back_after_a_minute_gets_its_share_and_no_herd() {
    const STEP: Duration = Duration::from_millis(10);
    let entries = [entry("a", 100, None), entry("b", 100, None)];
    let mut random = generator(1);
    // A hundred requests a second; `a` takes 20 steps, and `b`, of which nothing is known any more, will take 2000.
    let mut ends: [Vec<u32>; 2] = Default::default();
    let mut asked = [0; 2];
    for step in 0..500 {
        for open in &mut ends {
            open.retain(|end| *end > step);
        }
        let in_flight = |which: usize| u32::try_from(ends[which].len()).unwrap();
        let b = sampled(20_000, Duration::from_secs(60) + STEP * step, in_flight(1));
        let loads = BTreeMap::from([("a", load(200, in_flight(0))), ("b", b)]);
        let of = |entry: &Entry| loads[entry.target.provider.as_str()];
        let inputs = Inputs { choice: Choice::Fastest, session: &|| 0, load: &of };
        let first = order(entries.iter().collect(), &inputs, &mut random)[0].target.provider.to_string();
        let which = usize::from(first == "b");
        asked[which] += 1;
        ends[which].push(step + [20, 2000][which]);
    }
    // `a` has about 20 in flight, and `b` is given as many until its first answer tells.
    assert!((5..=21).contains(&asked[1]), "{asked:?}");
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
