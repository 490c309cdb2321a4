//! A random order by weight, without replacement.

/// Orders `items` so that each place goes to a remaining item with a chance proportional to its weight; items of
/// weight 0 come last, in random order. `random` gives uniform values in `[0, 1)`.
///
/// Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): sorting by `-ln(u)/w` draws
/// without replacement.
pub(crate) fn shuffle<T>(items: Vec<(u32, T)>, random: &mut dyn FnMut() -> f64) -> Vec<T> {
    let mut keyed: Vec<((bool, f64), T)> = items
        .into_iter()
        .map(|(weight, item)| {
            let draw = -(1.0 - random()).ln();
            let key = if weight == 0 { draw } else { draw / f64::from(weight) };
            ((weight == 0, key), item)
        })
        .collect();
    keyed.sort_by(|(a, _), (b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    keyed.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>): enough for counting.
    fn generator(mut state: u64) -> impl FnMut() -> f64 {
        move || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    #[test]
    fn the_first_place_goes_by_weight() {
        let mut random = generator(7);
        let rounds = 20_000;
        let firsts = (0..rounds).filter(|_| shuffle(vec![(300, 'a'), (100, 'b'), (0, 'c')], &mut random)[0] == 'a');
        let share = firsts.count() as f64 / f64::from(rounds);
        assert!((0.73..0.77).contains(&share), "{share}");
    }

    proptest! {
        #[test]
        fn everything_is_kept_once_and_weight_zero_comes_last(weights in prop::collection::vec(0u32..4, 0..12), seed in any::<u64>()) {
            let items: Vec<_> = weights.iter().copied().enumerate().map(|(i, w)| (w, (i, w))).collect();
            let out = shuffle(items, &mut generator(seed));
            let mut seen: Vec<_> = out.iter().map(|(i, _)| *i).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..weights.len()).collect::<Vec<_>>());
            let first_zero = out.iter().position(|(_, w)| *w == 0).unwrap_or(out.len());
            prop_assert!(out[first_zero..].iter().all(|(_, w)| *w == 0));
        }
    }
}
