//! The same order for the same key, by weighted rendezvous hashing: when a target goes, only its own keys move.
//!
//! Source: Schindelhauer and Schomaker, "Weighted distributed hash tables" (2005): the highest `-w / ln(h)` wins, where
//! `h` is a hash of key and name as a number in `(0, 1)`.

/// Orders named, weighted items for a key; weight 0 comes last. Every node gives the same order.
pub(crate) fn order<T>(key: u64, items: Vec<(u32, String, T)>) -> Vec<T> {
    let mut scored: Vec<((bool, f64), T)> = items
        .into_iter()
        .map(|(weight, name, item)| {
            let unit = ((mix(hash(name.as_bytes()) ^ mix(key)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            let score = -unit.ln() / f64::from(weight.max(1));
            ((weight == 0, score), item)
        })
        .collect();
    scored.sort_by(|(a, _), (b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    scored.into_iter().map(|(_, item)| item).collect()
}

/// FNV-1a (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>): the same on every build, which the standard
/// library's hashes do not promise. Not for secrets.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>): FNV alone spreads short names badly.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(key: u64, items: &[(u32, &str)]) -> String {
        let items = items.iter().map(|(weight, name)| (*weight, (*name).to_owned(), (*name).to_owned())).collect();
        order(key, items).remove(0)
    }

    #[test]
    fn keys_spread_by_weight_and_stay_when_another_target_goes() {
        let all = [(300, "a"), (100, "b"), (100, "c"), (0, "d")];
        let mut counts = std::collections::BTreeMap::<String, u32>::new();
        for key in 0..10_000 {
            let with = first(key, &all);
            let without = first(key, &all[..2]);
            assert!(with == "c" || with == without, "only the keys of c move");
            *counts.entry(with).or_default() += 1;
        }
        assert!((5_700..6_300).contains(&counts["a"]), "{counts:?}");
        assert!((1_800..2_200).contains(&counts["b"]), "{counts:?}");
        assert!(!counts.contains_key("d"), "{counts:?}");
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
