//! Which regions this node left out of its DNS answers while nobody planned, for the control plane to tell when it is back.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use meridian_proto::fleet::v1 as fleet;
use meridian_types::RegionName;

/// What is remembered: a region that comes and goes more often than this within an hour has a longer story than anybody
/// reads.
const MAX_TOLD: usize = 8;
/// How long it is remembered after its end: somebody plans again long before.
const LIFE_MS: i64 = 3_600_000;

/// Oldest first.
#[derive(Default)]
pub(crate) struct LeftOut {
    told: Mutex<VecDeque<fleet::LeftOut>>,
}

impl LeftOut {
    fn told(&self) -> MutexGuard<'_, VecDeque<fleet::LeftOut>> {
        // Each entry is written whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these are.
    pub(crate) fn set(&self, gone: &BTreeSet<RegionName>, now_unix_ms: i64) {
        let mut told = self.told();
        for open in told.iter_mut().filter(|told| told.until_unix_ms == 0) {
            if !gone.iter().any(|region| region.as_str() == open.region) {
                // A clock that was set back must not leave it open for ever.
                open.until_unix_ms = now_unix_ms.max(open.since_unix_ms);
            }
        }
        for region in gone {
            if !told.iter().any(|told| told.until_unix_ms == 0 && told.region == region.as_str()) {
                let region = region.to_string();
                told.push_back(fleet::LeftOut { region, since_unix_ms: now_unix_ms, until_unix_ms: 0 });
            }
        }
        while told.len() > MAX_TOLD {
            told.pop_front();
        }
    }

    /// For the report.
    pub(crate) fn report(&self, now_unix_ms: i64) -> Vec<fleet::LeftOut> {
        let mut told = self.told();
        told.retain(|told| told.until_unix_ms == 0 || now_unix_ms.saturating_sub(told.until_unix_ms) < LIFE_MS);
        told.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(names: &[&str]) -> BTreeSet<RegionName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn seen(left_out: &LeftOut, now_unix_ms: i64) -> Vec<(String, i64, i64)> {
        let told = left_out.report(now_unix_ms).into_iter();
        told.map(|told| (told.region, told.since_unix_ms, told.until_unix_ms)).collect()
    }

    #[test]
    fn each_loss_is_told_with_its_begin_and_its_end_for_an_hour() {
        let left_out = LeftOut::default();
        left_out.set(&regions(&["eu"]), 1000);
        left_out.set(&regions(&["eu", "us"]), 2000);
        left_out.set(&regions(&["us"]), 3000);
        left_out.set(&regions(&["eu", "us"]), 4000);
        let (eu, us) = ("eu".to_owned(), "us".to_owned());
        let all = [(eu.clone(), 1000, 3000), (us.clone(), 2000, 0), (eu.clone(), 4000, 0)];
        assert_eq!(seen(&left_out, 5000), all);
        assert_eq!(seen(&left_out, 3000 + LIFE_MS), all[1..]);
        // A clock that was set back.
        left_out.set(&regions(&[]), 10);
        assert_eq!(seen(&left_out, 20), [(us, 2000, 2000), (eu, 4000, 4000)]);
    }

    #[test]
    fn what_comes_and_goes_without_end_is_told_of_its_last_times() {
        let left_out = LeftOut::default();
        for at in 0..100 {
            left_out.set(&regions(&["eu"]), 10 * at);
            left_out.set(&regions(&[]), 10 * at + 5);
        }
        let seen = seen(&left_out, 1000);
        assert_eq!((seen.len(), seen.last().unwrap().1), (MAX_TOLD, 990));
    }
}
