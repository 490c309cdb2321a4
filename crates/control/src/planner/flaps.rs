//! Regions whose traffic goes back and forth wait longer before it comes back: the flap penalty.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use meridian_types::RegionName;

/// Turns are counted over this time: longer than the longest dwell, which would otherwise forget itself while it lasts.
const WINDOW: Duration = Duration::from_secs(900);
/// So many turns in the window are still taken for news; each further one doubles the dwell ...
const FREE_TURNS: usize = 2;
/// ... up to this: a load that comes in waves of minutes is then carried elsewhere for good.
const LONGEST: Duration = Duration::from_secs(600);
/// Turns remembered: past these the dwell has long reached its limit.
const REMEMBERED: usize = 16;

/// When the traffic of each region last turned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flaps {
    turns: BTreeMap<RegionName, VecDeque<Duration>>,
}

impl Flaps {
    /// A region began or ceased to give up traffic.
    pub(crate) fn note(&mut self, name: &RegionName, now: Duration) {
        let turns = self.turns.entry(name.clone()).or_default();
        turns.push_back(now);
        while turns.len() > REMEMBERED || turns.front().is_some_and(|at| now.saturating_sub(*at) > WINDOW) {
            turns.pop_front();
        }
    }

    /// How long the region has to wait instead of `dwell`.
    pub(crate) fn dwell(&self, name: &RegionName, dwell: Duration, now: Duration) -> Duration {
        let recent = |at: &&Duration| now.saturating_sub(**at) <= WINDOW;
        let turns = self.turns.get(name).map_or(0, |turns| turns.iter().filter(recent).count());
        let doublings = u32::try_from(turns.saturating_sub(FREE_TURNS)).unwrap_or(u32::MAX).min(REMEMBERED as u32);
        dwell.saturating_mul(1 << doublings).min(LONGEST.max(dwell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dwell_doubles_with_each_turn_too_many_and_recovers_with_time() {
        let (name, seconds) = (RegionName::new("eu").unwrap(), Duration::from_secs);
        let mut flaps = Flaps::default();
        for (at, expected) in [(0, 30), (10, 30), (20, 60), (30, 120), (40, 240), (50, 480), (60, 600), (70, 600)] {
            flaps.note(&name, seconds(at));
            assert_eq!(flaps.dwell(&name, seconds(30), seconds(at)), seconds(expected), "{at}");
        }
        assert_eq!(flaps.dwell(&name, seconds(30), seconds(945)), seconds(60), "those at 50, 60 and 70 s are left");
        assert_eq!(flaps.dwell(&name, seconds(30), seconds(1000)), seconds(30));
    }
}
