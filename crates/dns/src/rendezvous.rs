//! Weighted rendezvous hashing: every client unit ranks the choices on its own, by a score that needs nothing but the
//! unit, the choice and its weight. So all authorities agree without talking, and shares follow the weights
//! (<https://www.snia.org/sites/default/files/SDC15_presentations/dist_sys/Jason_Resch_New_Consistent_Hashings_Rev.pdf>).
//!
//! When one choice's weight changes against all the others (a drain, a ramp, a loss), only units move that have to. When
//! weight goes from one choice to another, more do: at most 2d / (1 + d) of the units where d have to, which is the best
//! that any method without memory can promise (Angel and Spinka, "Pairwise optimal coupling of multiple random
//! variables", 2019).

use sha2::{Digest, Sha256};

/// A choice's name as 64 bits. SHA-256, because it has to be the same on every machine and in every version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) fn of(name: &[u8]) -> Self {
        let hash: [u8; 32] = Sha256::digest(name).into();
        let [a, b, c, d, e, f, g, h, ..] = hash;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// Of something that is a number already, and may be the unit's own.
    pub(crate) fn of_number(number: u64) -> Self {
        // Not the number as `with` mixes it: the two would cancel out.
        Self(mix(!number))
    }

    /// 64 bits that look random for each pair of seed and unit.
    pub(crate) fn with(self, unit: u64) -> u64 {
        mix(self.0 ^ mix(unit))
    }
}

/// How much the unit wants the choice; the highest wins. Zero weight never wins against a positive one.
pub(crate) fn score(seed: Seed, unit: u64, weight: u32) -> f64 {
    // 53 bits are what a double holds; the half keeps the number away from 0 and 1, where the logarithm has no use.
    let uniform = ((seed.with(unit) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    // -ln(u) is exponentially distributed; dividing it by the weight makes the chance to be the smallest
    // proportional to the weight.
    f64::from(weight) / -uniform.ln()
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neighbouring /24 networks: the least random units there are.
    const UNITS: u64 = 200_000;

    fn winners(weights: &[u32]) -> Vec<usize> {
        let seeds: Vec<Seed> = (0..weights.len()).map(|i| Seed::of(format!("region-{i}").as_bytes())).collect();
        let winner = |unit: u64| {
            let scores = seeds.iter().zip(weights).map(|(seed, weight)| score(*seed, unit << 8, *weight));
            scores.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0
        };
        (0..UNITS).map(winner).collect()
    }

    #[test]
    fn shares_follow_the_weights_within_one_percent() {
        for weights in [&[500u32, 300, 200][..], &[1000, 0, 0], &[900, 90, 10], &[1, 1, 1, 1, 1, 1, 1]] {
            let winners = winners(weights);
            let whole: u32 = weights.iter().sum();
            for (i, weight) in weights.iter().enumerate() {
                let wanted = f64::from(*weight) / f64::from(whole);
                let got = winners.iter().filter(|winner| **winner == i).count() as f64 / UNITS as f64;
                assert!((got - wanted).abs() < 0.01, "{weights:?}: {i} got {got}");
            }
        }
    }

    /// The share of units that move.
    fn moved(before: &[u32], after: &[u32]) -> f64 {
        let (old, new) = (winners(before), winners(after));
        old.iter().zip(&new).filter(|(a, b)| a != b).count() as f64 / UNITS as f64
    }

    #[test]
    fn a_change_of_one_weight_moves_what_it_must_and_nothing_else() {
        // The others keep their proportions: that is what a plan does when a region ramps, drains or dies.
        for (before, after, ideal) in [
            ([400, 300, 300], [200, 400, 400], 0.2),
            ([400, 300, 300], [0, 500, 500], 0.4),
            ([500, 300, 200], [600, 240, 160], 0.1),
        ] {
            let moved = moved(&before, &after);
            assert!((moved / ideal - 1.0).abs() < 0.02, "{before:?} {after:?} moved {moved}");
            let (old, new) = (winners(&before), winners(&after));
            let between_bystanders = old.iter().zip(&new).filter(|(a, b)| a != b && **a != 0 && **b != 0).count();
            assert_eq!(between_bystanders, 0, "{before:?} {after:?}");
        }
    }

    #[test]
    fn weight_that_goes_from_one_to_another_moves_no_more_than_the_bound() {
        let moved = moved(&[400, 300, 300], &[200, 500, 300]);
        assert!((0.2..=2.0 * 0.2 / 1.2).contains(&moved), "{moved}");
    }

    #[test]
    fn the_hash_never_changes() {
        // Authorities of different versions have to agree while a new version is rolled out.
        assert_eq!(Seed::of(b"eu-west").with(0xCB00_7100), 5_987_081_029_932_127_226);
    }
}
