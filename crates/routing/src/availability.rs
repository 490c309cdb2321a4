//! What is known of the targets' health, and whom of the ejected ones to ask all the same: pure.

use std::time::Duration;

use crate::Pace;

/// Whether a target would be asked now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Availability {
    /// It would.
    Available,
    /// It is coming back: this share of the requests that would go to it should, the others elsewhere if they can.
    Ramping(f64),
    /// It is left alone for that much longer.
    Cooling(Duration, Cause),
}

/// What a target is doing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// How long it took lately to begin answers of the request's kind, as [`crate::PeakEwma`] gives it; `None`: not known.
    pub pace: Option<Pace>,
    /// Attempts under way.
    pub in_flight: u32,
}

/// What is known of a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Health {
    /// Whether it would be asked.
    pub availability: Availability,
    /// An operator has switched it off: it is not asked at all.
    pub is_off: bool,
    /// What it is doing.
    pub load: Load,
}

/// Why a target is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It fails too often, but serves some: it is left alone only while enough others are there.
    Suspected,
    /// It is dead, or under pressure: it would most likely fail.
    Failed,
    /// It has itself named the time for which it is to be left alone: nobody asks it before.
    Asked,
}

/// Which of a model's targets are asked although they are suspected: at most half of the targets, and never fewer than
/// one, may be left alone for a suspicion; what is dead counts first. Those nearest to their end come back.
///
/// Gives the places in `targets` of those that come back.
pub(crate) fn readmitted(targets: &[Availability]) -> Vec<usize> {
    let dead = targets.iter().filter(|target| matches!(target, Availability::Cooling(_, Cause::Failed | Cause::Asked)));
    let mut suspected: Vec<(Duration, usize)> = targets
        .iter()
        .enumerate()
        .filter_map(|(place, target)| match target {
            Availability::Cooling(left, Cause::Suspected) => Some((*left, place)),
            _ => None,
        })
        .collect();
    suspected.sort_unstable();
    let may_stay_out = (targets.len() / 2).max(1).saturating_sub(dead.count());
    let back = suspected.len().saturating_sub(may_stay_out);
    suspected.into_iter().take(back).map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WELL: Availability = Availability::Available;
    const DEAD: Availability = Availability::Cooling(Duration::from_secs(1), Cause::Failed);

    fn suspected(seconds: u64) -> Availability {
        Availability::Cooling(Duration::from_secs(seconds), Cause::Suspected)
    }

    #[track_caller]
    fn check(targets: &[Availability], expected: &[usize]) {
        assert_eq!(readmitted(targets), expected, "{targets:?}");
    }

    #[test]
    fn at_most_half_and_never_fewer_than_one_may_be_suspected() {
        check(&[suspected(1)], &[]);
        check(&[suspected(1), WELL], &[]);
        check(&[suspected(5), suspected(1)], &[1]);
        check(&[suspected(5), suspected(1), WELL, WELL], &[]);
        check(&[suspected(5), suspected(1), suspected(3), WELL], &[1]);
        check(&[suspected(5), DEAD], &[0]);
        check(&[suspected(5), DEAD, WELL, WELL], &[]);
        check(&[DEAD, DEAD, DEAD], &[]);
    }

    proptest! {
        #[test]
        fn suspicion_alone_never_ejects_more_than_half(kinds in prop::collection::vec(0u8..3, 1..12)) {
            let targets: Vec<_> = kinds.iter().map(|kind| match kind {
                0 => WELL,
                1 => DEAD,
                _ => suspected(u64::from(*kind)),
            }).collect();
            let back = readmitted(&targets);
            let dead = targets.iter().filter(|target| **target == DEAD).count();
            let suspects = targets.iter().filter(|target| **target == suspected(2)).count();
            let out = suspects - back.len();
            prop_assert!(out == 0 || out + dead <= (targets.len() / 2).max(1));
        }
    }
}
