//! How long a steered answer holds.

use crate::rendezvous::Seed;
use crate::subnet::Unit;

/// The shortest TTL: many resolvers take less for this much. So long holds an answer that is about to change: the
/// planner's next step comes in less.
const FLOOR_S: u32 = 5;

/// One in so many of a TTL's seconds is given away at random, so that the caches that were filled together, after a
/// change, do not ask together for ever.
const JITTER_PARTS: u32 = 10;

/// The TTL of one name under one plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ttl {
    seconds: u32,
    /// Whether the next flip is so near that only the shortest TTL ends before it.
    pub(crate) is_moving: bool,
}

impl Ttl {
    pub(crate) fn new(configured_s: u32, is_moving: bool) -> Self {
        let seconds = if is_moving { configured_s.min(FLOOR_S) } else { configured_s };
        Self { seconds, is_moving }
    }

    /// At most that.
    pub(crate) fn longest(self) -> u32 {
        self.seconds
    }

    /// At least that.
    pub(crate) fn shortest(self) -> u32 {
        let parts = self.seconds.checked_div(JITTER_PARTS).unwrap_or(0);
        self.seconds.saturating_sub(parts).max(FLOOR_S.min(self.seconds))
    }

    /// For one client behind one resolver: the same on every authority, because nothing but who asks decides.
    pub(crate) fn of(self, client: Unit, resolver: Unit) -> u32 {
        let range = u64::from(self.longest().saturating_sub(self.shortest())).saturating_add(1);
        let chance = Seed::of_number(resolver.key()).with(client.key());
        // Below `range`, so it fits.
        self.longest().saturating_sub(chance.checked_rem(range).unwrap_or(0) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ttl_is_spread_downwards_by_a_tenth_and_never_below_the_floor() {
        let check = |configured_s: u32, is_moving: bool, shortest: u32, longest: u32| {
            let ttl = Ttl::new(configured_s, is_moving);
            let unit = |i: u32| Unit::of(std::net::Ipv4Addr::from_bits(i << 8).into());
            let found: std::collections::BTreeSet<u32> =
                (0..2_000).map(|i| ttl.of(unit(i), unit(i.wrapping_mul(7919)))).collect();
            let expected: std::collections::BTreeSet<u32> = (shortest..=longest).collect();
            assert_eq!(found, expected, "{configured_s} {is_moving}");
        };
        check(30, false, 27, 30);
        check(60, false, 54, 60);
        check(5, false, 5, 5);
        check(9, false, 9, 9);
        check(11, false, 10, 11);
        check(30, true, 5, 5);
        check(3600, true, 5, 5);
    }
}
