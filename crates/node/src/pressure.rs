//! What makes a node take less work before it has no place left: lateness, and memory.

use meridian_ingress::Budget;

/// From this part of the byte budget on, work that can wait does: what is under way needs the rest for its answers.
const HIGH_PERCENT: i64 = 70;
/// From here on nearly nobody begins.
const EXTREME_PERCENT: i64 = 90;

/// How hard it is for the node to do what it has taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// Not at all.
    None,
    /// Work that can wait should.
    High,
    /// Nobody is served well any more.
    Extreme,
}

impl Pressure {
    /// Of the bytes that are held.
    pub(crate) fn of_memory(budget: &Budget) -> Self {
        match budget.percent() {
            EXTREME_PERCENT.. => Self::Extreme,
            HIGH_PERCENT.. => Self::High,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_third_of_the_budget_is_kept_for_what_is_under_way() {
        let budget = Budget::new(100);
        let mut share = budget.nothing();
        for (held, pressure) in [(69, Pressure::None), (70, Pressure::High), (90, Pressure::Extreme)] {
            assert!(budget.grow(&mut share, held));
            assert_eq!(Pressure::of_memory(&budget), pressure, "{held}");
        }
        drop(share);
        assert_eq!(Pressure::of_memory(&budget), Pressure::None);
    }
}
