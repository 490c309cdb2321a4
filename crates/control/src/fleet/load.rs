//! Demand and latency of a region, from what its nodes report.

use std::time::Duration;

use super::Node;

/// A report older than this says nothing about now.
const REPORT_LIFE: Duration = Duration::from_secs(3);
/// Demand is believed nearly at once when it rises ...
const RISE: Duration = Duration::from_millis(500);
/// ... and slowly when it falls: load comes in waves.
const FALL: Duration = Duration::from_secs(10);
/// Latencies of two reports weigh about the same: one alone may hold a single request.
const LATENCY: Duration = Duration::from_secs(1);
/// Without requests the last latency is remembered for this long.
const LATENCY_LIFE: Duration = Duration::from_secs(30);

/// What the nodes of a region report now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct RegionLoad {
    /// Requests held now.
    pub(crate) in_flight: u32,
    /// Requests in flight that clients offer: admitted, and shed times how long each would have stayed. `None`: no
    /// node says anything.
    pub(crate) offered: Option<f64>,
    /// Median time to the first token, weighted by requests. `None`: no node had one.
    pub(crate) first_token_ms: Option<f64>,
}

impl RegionLoad {
    pub(crate) fn of<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        let mut load = Self::default();
        let (mut weighted, mut weight) = (0.0, 0.0);
        for node in nodes.into_iter().filter(|node| node.serves() && node.is_connected()) {
            load.in_flight = load.in_flight.saturating_add(node.in_flight);
            let mut offered = f64::from(node.in_flight);
            if let Some(report) = node.recent_report(REPORT_LIFE) {
                // Little's law: what was shed would have stayed for the mean duration.
                let window_ms = f64::from(report.window_ms.max(1));
                offered += report.requests_shed as f64 / window_ms * report.mean_duration_ms;
                if report.first_token_p50_ms > 0.0 {
                    let requests = report.requests_finished.max(1) as f64;
                    weighted += report.first_token_p50_ms * requests;
                    weight += requests;
                }
            }
            load.offered = Some(load.offered.unwrap_or(0.0) + offered);
        }
        load.first_token_ms = (weight > 0.0).then(|| weighted / weight);
        load
    }
}

/// Load over time, as the planner wants it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Smoothed {
    pub(crate) demand: Option<f64>,
    pub(crate) first_token_ms: Option<f64>,
    latency_at: Duration,
    at: Duration,
}

impl Smoothed {
    /// Takes what is reported at `now` (monotonic).
    pub(crate) fn update(&mut self, load: RegionLoad, now: Duration) {
        let past = now.saturating_sub(self.at);
        self.at = now;
        if let Some(offered) = load.offered {
            let held = self.demand.unwrap_or(offered);
            let time = if offered > held { RISE } else { FALL };
            self.demand = Some(held + (offered - held) * part(past, time));
        }
        match load.first_token_ms {
            Some(seen) => {
                let held = self.first_token_ms.unwrap_or(seen);
                self.first_token_ms = Some(held + (seen - held) * part(past, LATENCY));
                self.latency_at = now;
            }
            None if now.saturating_sub(self.latency_at) > LATENCY_LIFE => self.first_token_ms = None,
            None => {}
        }
    }
}

/// How much of the way an exponential average with this time constant goes.
fn part(past: Duration, time: Duration) -> f64 {
    1.0 - (-past.as_secs_f64() / time.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_rises_fast_and_falls_slowly_and_latency_is_forgotten() {
        let at = Duration::from_millis;
        let load = |offered, first_token_ms| RegionLoad { in_flight: 0, offered: Some(offered), first_token_ms };
        let mut smoothed = Smoothed::default();
        smoothed.update(load(10.0, Some(100.0)), at(0));
        assert_eq!((smoothed.demand, smoothed.first_token_ms), (Some(10.0), Some(100.0)));
        smoothed.update(load(100.0, None), at(1000));
        assert!(smoothed.demand.unwrap() > 80.0);
        smoothed.update(load(0.0, None), at(2000));
        assert!(smoothed.demand.unwrap() > 70.0);
        smoothed.update(load(0.0, None), at(29_000));
        assert!(smoothed.demand.unwrap() < 10.0);
        assert_eq!(smoothed.first_token_ms, Some(100.0));
        smoothed.update(RegionLoad::default(), at(31_000));
        assert_eq!(smoothed.first_token_ms, None);
        // Nobody reporting is not the same as no demand.
        assert!(smoothed.demand.is_some());
    }
}
